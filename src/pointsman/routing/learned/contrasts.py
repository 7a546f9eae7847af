"""What the forest predicts: what all models have in common on a prompt, and what sets them apart.

Only contrasts between models that are ever chosen decide anything, so the principal components of the contrasts are
taken with the weight with which each model would be chosen over a range of prices on cost. What all have in common
chooses nothing, but it is learnt first and tells contrasts apart, so it counts a little.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import Floats


class Axes(NamedTuple):
    """What turns scores beyond the models' means into what the forest predicts, and its answers back."""

    out: Floats
    """(models, axes): the common part first, then the main contrasts"""
    back: Floats
    """(axes, models)"""


def axes_of(deviations: Floats, use: Floats, components: int, common: float) -> Axes:
    """deviations (n, models): scores beyond the models' means. use (models,): how often each is chosen; sums to 1.
    common: the weight of the common part against the contrasts."""
    models = deviations.shape[1]
    weight = 0.9 * use + 0.1 / models
    stretch = np.sqrt(weight * models)
    to_contrasts = (np.eye(models) - np.outer(weight, np.ones(models))) * stretch
    main = np.linalg.svd(deviations @ to_contrasts, full_matrices=False)[2].T[:, : min(components, models - 1)]
    of_common = common * np.sqrt(models)
    return Axes(
        out=np.concatenate([of_common * weight[:, None], to_contrasts @ main], 1).astype(np.float32),
        back=np.concatenate([np.full((1, models), 1 / of_common), main.T / stretch]).astype(np.float32),
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
