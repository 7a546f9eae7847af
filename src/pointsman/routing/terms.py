"""What a score is the sum of, and what each term counts.

    score = quality − failures − cost_weight·cost − latency_weight·latency − quota_weight·quota
            − shortfall_weight·shortfall + chain + bounds − risk·doubt

* quality: 0 to 1. What the learned router expects of a model that it knows; else the rubric of the task, else the
  profile, else 0.5; of these, beside a learned router, what the demand of the prompt leaves. To it comes what graded
  calls have taught (`bandit.py`). Under `frugal` it counts only up to the floor that the complexity asks for (the
  cheapest that is good enough), plus a twentieth as tie-break, and what falls short of the floor counts so much that a
  tenth of quality is worth some cents.
* failures: the quality times the share of the model's latest calls that failed, some good ones added.
* cost: log10(1 + usd/0.00001)/5, so $0 is 0, a tenth of a cent 0.4, a dollar 1. Unknown counts as a dollar.
* latency: log10(1 + 10·seconds)/3, so 100 ms is 0.1 and 100 s is 1. Unknown counts as 5 s.
* quota, of a free tier alone: 0.1, and up to 0.4 more as its limit is used up. So equal candidates go local → free →
  paid, and what is scarce is kept for later.
* shortfall: how far quality lies below the floor.
* chain: up to 0.06 for a model that the chain of the task names (`chains.py`).
* bounds: 10, and 1 less for each place, for a model that the bounds of the call's limits name (`bounds.py`).
* doubt: beside a learned router, how uncertain the quality of a model is, against the one that does best over all
  prompts: on prompts unlike those it learned from, that one is kept.

The weights belong to a priority and can be replaced (`Objective(weights=…)`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct

from ..core import Priority, from_usd
from .decision import Estimate, Seen


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """How much each term counts, in points of quality: what weighs 1 counts as much as all of quality."""

    quality: float = 1.0
    cost: float = 0.5
    latency: float = 0.15
    quota: float = 0.5
    shortfall: float = 2.0
    """Of quality that is missing to the floor."""
    risk: float = 0.0
    """Standard deviations by which a model must be better than the one that does best over all prompts."""
    switch: float = 0.05
    """What a conversation's model is ahead of the others."""
    capped: bool = False
    """Quality above the floor counts for nothing but a tie-break."""
    task: str = ""
    """Quality is judged by the rubric of this task, whatever the prompt's own."""


PRIORITIES: Mapping[Priority, Weights] = {
    "performance": Weights(cost=0.02, latency=0.1, quota=0.02, risk=1.0),
    "balanced": Weights(cost=0.5, latency=0.15, quota=0.5, risk=0.5),
    "frugal": Weights(cost=1.2, latency=0.1, quota=1.2, shortfall=10.0, capped=True),
    "creative": Weights(cost=0.02, latency=0.02, quota=0.02, task="writing"),
    "analytical": Weights(cost=0.02, latency=0.02, quota=0.02, risk=1.0, task="analysis"),
}

FLOORS: Mapping[str, float] = {"simple": 0.3, "moderate": 0.5, "complex": 0.7}
"""The quality that is good enough, by complexity."""

UNKNOWN_SECONDS = 5.0
ONE_DOLLAR = from_usd(1)
GOOD_CALLS = 20
"""With so many good calls every model begins."""


def quality_terms(quality: float, floor: float, weights: Weights) -> dict[str, float]:
    """`quality`, and `shortfall` where there is one."""
    counted = min(quality, floor) + quality / 20 if weights.capped else quality
    terms = {"quality": weights.quality * counted}
    if quality < floor:
        terms["shortfall"] = -weights.shortfall * (floor - quality)
    return terms


def quality_slope(quality: float, floor: float, weights: Weights) -> float:
    """By how much the score changes with the quality."""
    if quality < floor:
        return weights.quality * (1.05 if weights.capped else 1.0) + weights.shortfall
    return weights.quality * (0.05 if weights.capped else 1.0)


def share_failing(seen: Seen | None) -> float:
    """The share of calls that may fail, from those that did: one of a few says little."""
    return 0.0 if seen is None else seen.failed / (seen.calls + GOOD_CALLS)


def cost_term(nanos: float | None, weights: Weights) -> float:
    return -weights.cost * (math.log10(1 + (ONE_DOLLAR if nanos is None else nanos) / 10_000) / 5)


def cost_sd(cost: Estimate, weights: Weights) -> float:
    """How uncertain the term is."""
    return weights.cost * cost.sd / (cost.value + 10_000) / math.log(10) / 5


def quota_term(left: float | None, weights: Weights) -> float:
    """`left`: the share of its scarcest limit, all of it where nobody knows."""
    return -weights.quota * (0.1 + 0.4 * (1 - (1.0 if left is None else left)))


def latency_term(seconds: float | None, weights: Weights) -> float:
    return -weights.latency * (math.log10(1 + 10 * (UNKNOWN_SECONDS if seconds is None else seconds)) / 3)


def latency_sd(seconds: Estimate, weights: Weights) -> float:
    """How uncertain the term is."""
    return weights.latency * seconds.sd / (seconds.value + 0.1) / math.log(10) / 3
