"""The third step of a fit: the forests, and how far what they say is to be trusted."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .arrays import Floats, Ints
from .contrasts import Contrasts
from .settings import Settings
from .simple import CostSteps, Rows
from .trees import Forest, grow_forest, side_by_side

COST_LEAF = 10
HALF_TREES = 12

LEAST_TRUST = 0.1
"""With few rows the slope cannot be told from nothing; the order of the prompts is worth something all the same, and
so little of it changes no choice for the worse."""


class Plan(NamedTuple):
    """How the three forests are grown, and how much each counts."""

    trees: tuple[int, int, int]
    leaf: tuple[int, int, int]
    weight: tuple[float, float, float]
    calm: float


def plan_forests(n: int, settings: Settings) -> Plan:
    """With few rows the forest of outcomes is the best one: its splits see what is hard for all. And the forests then
    lean on the networks."""
    usual = np.array(settings.weight) / sum(settings.weight)
    first = max(float(usual[0]), settings.few_weight * min(1.0, settings.few_rows / n) ** 2)
    others = usual[1:] * (1 - first) / (1 - usual[0])
    few = first > 0.5
    return Plan(
        trees=settings.few_trees if few else settings.trees,
        leaf=(settings.few_leaf if few else settings.leaf[0], *settings.leaf[1:]),
        weight=(first, float(others[0]), float(others[1])),
        calm=0.5 * min(1.0, settings.calm_rows / n) ** 2,
    )


def grow_forests(
    seen: Floats, deviations: Floats, contrasts: Contrasts, cost: CostSteps, plan: Plan, settings: Settings, seed: int
) -> Forest:
    targets = [deviations @ part for part in (contrasts.outcomes, contrasts.between, contrasts.weighted)]
    forests = [
        grow_forest(seen, target, trees=trees, leaf=leaf, tries=settings.tries, seed=[seed, number])
        for number, (target, trees, leaf) in enumerate(zip(targets, plan.trees, plan.leaf, strict=True))
    ]
    varies = float(np.abs(cost.targets).max()) > 1e-6
    trees, leaf = (settings.cost_trees, COST_LEAF) if varies else (1, len(seen))
    forests.append(grow_forest(seen, cost.targets, trees=trees, leaf=leaf, tries=settings.tries, seed=[seed, 3]))
    return side_by_side(forests)


class Halved(NamedTuple):
    """What small forests, each grown on one half of the rows, say of the other."""

    contrasts: Floats
    """(n, models)"""
    common: Floats
    """(n, 1)"""


def tell_each_half(
    seen: Floats, rows: Rows, contrasts: Contrasts, halves: Ints, settings: Settings, seed: int
) -> Halved:
    told = Halved(np.zeros_like(rows.deviations), np.zeros((len(seen), 1), np.float32))
    weighted, outcomes = rows.deviations @ contrasts.weighted, rows.deviations @ contrasts.outcomes
    for half in (0, 1):
        here, rest = halves == half, halves != half

        def tell(targets: Floats, leaf: int, number: int, here: Ints = here, rest: Ints = rest) -> Floats:
            forest = grow_forest(
                seen[rest], targets[rest], trees=HALF_TREES, leaf=leaf, tries=settings.tries, seed=[seed, number]
            )
            return forest.predict(seen[here])

        told.contrasts[here] = tell(weighted, settings.leaf[2], 5 + half) @ contrasts.weighted_back
        common = tell(outcomes, settings.leaf[0], 7 + half) @ contrasts.outcomes.T
        told.common[here] = common.mean(1, keepdims=True)
    return told


def trust_in(said: Floats, true: Floats) -> float:
    """LEAST_TRUST to 1: twice (the slope of the true contrasts (n, components) on the told ones, less its error)."""
    product, square = (said * true).sum(1), (said * said).sum(1)
    total = max(float(square.sum()), 1e-9)
    slope = float(product.sum()) / total
    error = math.sqrt(float(((product - slope * square) ** 2).sum())) / total
    return float(np.clip(2 * (slope - error), LEAST_TRUST, 1))
