"""What sets models apart: the principal components of their outcomes, which the forests predict.

Only contrasts between models that are ever chosen decide anything, so one set of components gives each model the weight
with which it would be chosen over a range of prices on cost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import Floats


class Contrasts(NamedTuple):
    """For each forest: what turns outcomes into its targets, and its answers back into outcomes."""

    outcomes: Floats
    """(models, components); its transpose leads back"""
    between: Floats
    """(models, models): the contrasts, all of them; `back` leads back"""
    back: Floats
    weighted: Floats
    """(models, components)"""
    weighted_back: Floats
    """(components, models)"""


def contrasts_of(deviations: Floats, use: Floats, components: int) -> Contrasts:
    """deviations (n, models): scores beyond the models' means. use (models,): how often each is chosen; sums to 1."""
    models = deviations.shape[1]
    count = min(components, models)
    weight = 0.9 * use + 0.1 / models
    stretch = np.sqrt(weight * models)
    to_weighted = (np.eye(models) - np.outer(weight, np.ones(models))) * stretch
    weighted = _directions(deviations @ to_weighted)[:, :count]
    to_contrasts = np.eye(models) - 1 / models
    between = _directions(deviations @ to_contrasts)
    return Contrasts(
        outcomes=_directions(deviations)[:, :count].astype(np.float32),
        between=(to_contrasts @ between).astype(np.float32),
        back=between.T.astype(np.float32),
        weighted=(to_weighted @ weighted).astype(np.float32),
        weighted_back=(weighted.T / stretch).astype(np.float32),
    )


def use_by_price(chances: Floats, mean_costs: Floats) -> Floats:
    """(models,), summing to 1: how often each model has the best chance less price times cost, over 21 prices."""
    models = chances.shape[1]
    chosen = np.zeros(models)
    for price in [0.0, *np.logspace(-2.5, 1, 20)]:
        best = (chances - price * mean_costs / mean_costs.max()).argmax(1)
        chosen += np.bincount(best, minlength=models)
    use: Floats = chosen / chosen.sum()
    return use


def _directions(rows: Floats) -> Floats:
    """(columns, columns): the right singular vectors."""
    directions: Floats = np.linalg.svd(rows, full_matrices=False)[2].T
    return directions
