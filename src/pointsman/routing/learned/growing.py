"""The third step of a fit: the forest, and how far what it says is to be trusted."""

from __future__ import annotations

import math

import numpy as np

from .arrays import Floats, Ints
from .contrasts import Axes
from .settings import Settings
from .trees import Forest, grow_forest

HALF_TREES = 12

LEAST_TRUST = 0.1
"""With few rows the slope cannot be told from nothing; the order of the prompts is worth something all the same, and
so little of it changes no choice for the worse."""


def grow(seen: Floats, scores: Floats, costs: Floats, settings: Settings, seed: int) -> Forest:
    """Splits tell the scores apart, on their axes; the costs of the rows in a leaf are averaged with them."""
    targets = np.concatenate([scores, costs], 1)
    return grow_forest(
        seen,
        targets,
        guiding=scores.shape[1],
        trees=settings.trees,
        leaf=settings.leaf,
        tries=settings.tries,
        seed=[seed, 0],
    )


def tell_each_half(seen: Floats, deviations: Floats, axes: Axes, halves: Ints, settings: Settings, seed: int) -> Floats:
    """(n, models): what small forests, each grown on one half of the rows, say of the other."""
    told, targets = np.zeros_like(deviations), deviations @ axes.out
    for half in (0, 1):
        here, rest = halves == half, halves != half
        forest = grow_forest(
            seen[rest],
            targets[rest],
            trees=HALF_TREES,
            leaf=settings.leaf,
            tries=settings.tries,
            seed=[seed, 1 + half],
        )
        told[here] = forest.predict(seen[here]) @ axes.back
    return told


def trust_in(said: Floats, true: Floats) -> float:
    """LEAST_TRUST to 1: twice (the slope of the true contrasts (n, models) on the told ones, less its error)."""
    product, square = (said * true).sum(1), (said * said).sum(1)
    total = max(float(square.sum()), 1e-9)
    slope = float(product.sum()) / total
    error = math.sqrt(float(((product - slope * square) ** 2).sum())) / total
    return float(np.clip(2 * (slope - error), LEAST_TRUST, 1))
