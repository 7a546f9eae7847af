"""What is believed of each model at this moment, over all prompts: as a router begins, before it reads one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from ..routing import Candidate, Estimate, Evidence, Forecast, RouteState, qualities


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
    priors = [prior for prior, _ in qualities(candidates, task, forecast, RouteState())]
    found = {}
    for candidate, prior in zip(candidates, priors, strict=True):
        name = candidate.name
        evidence = state.evidence.get(name, Evidence())
        quality = prior if name in forecast.quality else None
        if evidence.grades and (gain := _gain(name, task, evidence, state)) is not None:
            quality = Estimate(min(max(prior.value + gain.value, 0.0), 1.0), gain.sd, "learned")
        found[name] = Belief(quality, evidence.grades, evidence.epoch, fell_at.get(name))
    return found


def _gain(name: str, task: str, evidence: Evidence, state: RouteState) -> Estimate | None:
    """How much better or worse than its prior it does: on prompts of the task, or on such as it was graded on. None
    for grades that an older reading of prompts was learned with: routes do not use them either."""
    from ..routing.contexts import KINDS, context_of  # late: numpy, and in most homes nothing was graded

    unread = context_of(None, None)
    if state.beliefs is None or len(evidence.moment) != len(unread):
        return None
    of_task = (*unread[: -len(KINDS)], *(float(task in kind) for kind in KINDS))
    return state.beliefs.about(of_task if task else _mean_context(evidence), [name])[0]


def _mean_context(evidence: Evidence) -> tuple[float, ...]:
    """Of the calls that were graded: the first row of the sums holds Σ w·φ, and Σ w, since every φ begins with 1."""
    weight = evidence.gram[0]
    return tuple(total / weight for total in evidence.gram[: len(evidence.moment)])
