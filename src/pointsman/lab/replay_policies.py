"""The policies that recorded traffic can be decided by anew. Each sees what was weighed, and gives probabilities."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from msgspec import Struct, structs

from ..core import Priority, Weighed
from ..routing.terms import FLOORS, PRIORITIES, Weights, cost_term, latency_term, quality_terms
from .traffic import Recorded

Decide = Callable[[Recorded], Mapping[str, float]]
"""Model → the probability with which it would be chosen; those that are not named have none. Empty: what was decided
then stands."""

NOT_RECORDED = (
    "Each decision is taken by itself, and nothing is tried out. Chains, quotas, a model's doubtfulness and what the "
    "model of a conversation is ahead of others count for nothing here: they are not recorded."
)
_UNSEEN_WEIGHTS: Final = ("quota", "risk", "switch", "task")
"""Weights of terms that no record holds."""


class ReplayPolicy(Struct, frozen=True):
    name: str
    decide: Decide
    remarks: tuple[str, ...] = ()
    """What whoever reads the result must know of it."""


def logged() -> ReplayPolicy:
    """What was in force: the same probabilities."""
    return ReplayPolicy("logged", lambda decision: {})


def by_priority(priority: Priority) -> ReplayPolicy:
    """The objective under one of its priorities, on what was expected then."""
    task = PRIORITIES[priority].task
    by_task = f"{priority} judges models by their {task}: recorded is how they were judged by each prompt's own task."
    return ReplayPolicy(
        priority,
        lambda decision: _best_under(PRIORITIES[priority], decision.candidates, decision.complexity),
        (NOT_RECORDED, *([by_task] if task else [])),
    )


def by_weights(name: str, weights: Weights, models: Collection[str] = ()) -> ReplayPolicy:
    """The objective under weights of one's own; with `models` it may choose among these alone."""
    ignored = [field for field in _UNSEEN_WEIGHTS if getattr(weights, field) != _DEFAULTS[field]]
    counted_for_nothing = f"The weights {', '.join(ignored)} count for nothing here: no record holds their terms."
    remarks = (NOT_RECORDED, *([counted_for_nothing] if ignored else []))
    return ReplayPolicy(
        name,
        lambda decision: _best_under(weights, _among(decision.candidates, models), decision.complexity),
        remarks,
    )


def always(model: str) -> ReplayPolicy:
    """One model wherever it could serve."""

    def decide(decision: Recorded) -> dict[str, float]:
        return {model: 1.0} if any(one.model == model for one in decision.candidates) else {}

    return ReplayPolicy(f"always:{model}", decide, (f"Where {model} could not serve, what was decided then stands.",))


def cheapest() -> ReplayPolicy:
    """Whatever was expected to cost least; the first of equals."""

    def decide(decision: Recorded) -> dict[str, float]:
        priced = [(one.cost, place) for place, one in enumerate(decision.candidates) if one.cost is not None]
        return {decision.candidates[min(priced)[1]].model: 1.0} if priced else {}

    return ReplayPolicy("cheapest", decide, ("Models whose cost is unknown are never the cheapest.",))


def _best_under(weights: Weights, weighed: Sequence[Weighed], complexity: str) -> dict[str, float]:
    """What the record does not hold (chains, quotas, conversations) counts for nothing. Empty where nothing could be
    chosen. Raises ValueError for a decision whose estimates were not recorded."""
    floor = FLOORS.get(complexity, FLOORS["moderate"])
    scores = {one.model: _score(one, floor, weights) for one in weighed if not one.rejected}
    if not scores:
        return {}
    best = max(scores, key=scores.__getitem__)
    return {model: float(model == best) for model in scores}


def _score(one: Weighed, floor: float, weights: Weights) -> float:
    if one.quality is None:
        raise ValueError(f"What was expected of {one.model} was not recorded.")
    return sum(
        (
            *quality_terms(one.quality, floor, weights).values(),
            cost_term(one.cost, weights),
            latency_term(one.seconds, weights),
        )
    )


def _among(candidates: tuple[Weighed, ...], models: Collection[str]) -> tuple[Weighed, ...]:
    return tuple(one for one in candidates if one.model in models) if models else candidates


_DEFAULTS: Final = structs.asdict(Weights())
