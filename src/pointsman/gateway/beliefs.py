"""What is believed of each model at this moment, over all prompts: as a router begins, before it reads one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from ..routing import Candidate, Estimate, Evidence, Forecast, RouteState, qualities

_NOTHING = Evidence()


class Belief(Struct, frozen=True):
    """What is expected of one model's answers, once more than its profile speaks for it."""

    quality: Estimate | None
    """0 to 1: by grades of its answers, or by a router that was fitted on it; None while all is as stated."""
    grades: int = 0
    """That it rests on, without those that a fitted router has learned from. What lay before a fall is not counted."""
    falls: int = 0
    """How often it was found to do worse than it did."""
    fell_at: float | None = None
    """Unix seconds of the last time; None where it never was, or nobody knows when."""


def beliefs(
    candidates: Sequence[Candidate], task: str, forecast: Forecast, state: RouteState, fell_at: Mapping[str, float]
) -> dict[str, Belief]:
    """By model. `forecast`: of no prompt in particular; `task`: '' for all."""
    expected = qualities(candidates, task, structs.replace(forecast, context=_level(state)), state)
    found = {}
    for candidate, (prior, gain) in zip(candidates, expected, strict=True):
        name = candidate.name
        evidence = state.evidence.get(name, _NOTHING)
        quality = prior if name in forecast.quality else None
        if gain is not None and evidence.grades:
            quality = Estimate(min(max(prior.value + gain.value, 0.0), 1.0), gain.sd, "learned")
        found[name] = Belief(quality, evidence.grades, evidence.epoch, fell_at.get(name))
    return found


def _level(state: RouteState) -> tuple[float, ...]:
    """The context of no prompt in particular: what a model does over all of them."""
    size = max((len(evidence.moment) for evidence in state.evidence.values()), default=0)
    return (1.0, *[0.0] * (size - 1)) if size else ()
