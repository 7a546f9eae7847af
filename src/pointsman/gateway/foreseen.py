"""What would be chosen for a call, without calling anybody; and how programs are told, on the command line and over
HTTP alike."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs

from ..core import Call, Nanos, to_usd
from ..routing import Considered, Decision, Prompt, Together
from .gateway import Gateway


class CandidateJson(Struct, frozen=True):
    model: str
    deployment: str
    rejected: str | None
    """Why it was filtered out; null for one that could be chosen."""
    score: float | None
    probability: float
    quality: float | None
    expected_cost_usd: str | None
    expected_seconds: float | None
    score_sd: float
    quality_sd: float | None
    """Standard deviations: how far off the figure may well be."""
    cost_sd_usd: str | None
    seconds_sd: float | None
    quality_source: str | None
    """assumed, stated, measured or learned; so is `seconds_source`."""
    seconds_source: str | None
    terms: dict[str, float]
    """What the score is the sum of."""


class TogetherJson(Struct, frozen=True):
    """What is asked at once."""

    way: str
    """race or consensus."""
    models: tuple[str, ...]
    """One that is asked several times stands there as often."""
    first: int
    """How many of them are asked at once; the others follow where these do not agree."""


class RouteJson(Struct, frozen=True):
    """What `route --json` prints, and `POST /api/route` answers."""

    task: str
    complexity: str
    tasks: dict[str, float]
    """Each with its probability, the most probable first; so are complexities."""
    complexities: dict[str, float]
    chosen: str | None
    """Null when nothing is left; for a pool the pool, whose member is only chosen when it is called."""
    reason: str
    together: TogetherJson | None
    """Null where one model after the other is asked."""
    policy: str
    candidates: tuple[CandidateJson, ...]


def foresee(gateway: Gateway, call: Call, *, learned: bool = True) -> Decision:
    """What would be chosen for a call. A pool shares its calls out without weighing them: its members are the
    candidates, without scores, and what is chosen is the pool. `learned`: as for `Gateway.decide`."""
    # What earlier processes were told, by a 429 say, holds for this one, too.
    gateway.gates.refresh()
    decision = gateway.decide(call, learned=learned)
    pool = gateway.config.pools.get(call.model)
    if pool is None:
        return decision
    members = tuple(structs.replace(one, score=None, probability=0.0) for one in decision.candidates)
    ready = [one.model for one in members if not one.rejected]
    what = f"{call.model} is a pool ({pool.balance})"
    return structs.replace(
        decision,
        policy=f"pool:{pool.balance}",
        plan=(call.model,) if ready else (),
        candidates=members,
        reason=f"{what}: each call goes to one of {', '.join(ready)}."
        if ready
        else f"{what}: none of its {len(members)} members may serve this call.",
    )


def asked_quality(gateway: Gateway, call: Call) -> float | None:
    """The caller's word, else that of the mode which he named."""
    mode = gateway.config.modes.get(call.model)
    return call.needs.min_quality if call.needs.min_quality is not None or mode is None else mode.min_quality


def route_json(decision: Decision) -> RouteJson:
    read = Prompt.decode(decision.features)
    return RouteJson(
        task=decision.task,
        complexity=decision.complexity,
        tasks=likeliest(read.tasks),
        complexities=likeliest(read.complexities),
        chosen=decision.plan[0] if decision.plan else None,
        reason=decision.reason,
        together=_together(decision.together),
        policy=decision.policy,
        candidates=tuple(map(_candidate, decision.candidates)),
    )


def _together(together: Together | None) -> TogetherJson | None:
    return None if together is None else TogetherJson(together.way, together.models, together.first)


def likeliest(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Three digits each, the most probable first."""
    ordered = sorted(probabilities, key=lambda name: (-probabilities[name], name))
    return {name: round(probabilities[name], 3) for name in ordered}


def _candidate(considered: Considered) -> CandidateJson:
    return CandidateJson(
        model=considered.model,
        deployment=considered.deployment,
        rejected=considered.rejected or None,
        score=considered.score,
        probability=considered.probability,
        quality=None if considered.quality is None else considered.quality.value,
        expected_cost_usd=None if considered.expected_cost is None else to_usd(considered.expected_cost),
        expected_seconds=considered.expected_seconds,
        score_sd=considered.score_sd,
        quality_sd=None if considered.quality is None else considered.quality.sd,
        cost_sd_usd=None if considered.cost is None else to_usd(Nanos(round(considered.cost.sd))),
        seconds_sd=None if considered.seconds is None else considered.seconds.sd,
        quality_source=None if considered.quality is None else considered.quality.source,
        seconds_source=None if considered.seconds is None else considered.seconds.source,
        terms=dict(considered.terms),
    )
