"""The first policy: one readable objective over what hard needs have left.

    score = quality − cost_weight·cost − latency_weight·latency − 2·shortfall + preference

* quality: 0 to 1, the rubric of the task where there is one, else the profile, else 0.5. Under `frugal` it counts only
  up to the floor that the complexity asks for (the cheapest that is good enough), plus a twentieth as tie-break.
* cost: log10(1 + usd/0.00001)/5, so $0 is 0, a tenth of a cent 0.4, a dollar 1. Unknown counts as a dollar. A free tier
  counts as 0.1, since its quota is scarce: so equal candidates go local → free → paid.
* latency: log10(1 + 10·seconds)/3, so 100 ms is 0.1 and 100 s is 1. Unknown counts as 5 s.
* shortfall: how far quality lies below the floor.
* preference: up to 0.06 for a model that the chain of the task names (`chains.py`).

The weights belong to a priority and can be replaced (`Objective(weights=…)`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from msgspec import Struct, structs

from ..core import Call, Priority, from_usd
from .chains import Chain, preferred
from .decision import Candidate, Considered, Decision, RouteState
from .filters import expected_cost, expected_seconds, output_tokens, rejection
from .prompt import Complexity, Prompt


class Weights(Struct, frozen=True):
    cost: float
    latency: float
    capped: bool
    """Quality above the floor counts for nothing but a tie-break."""


PRIORITIES: Mapping[Priority, Weights] = {
    "performance": Weights(cost=0.02, latency=0.1, capped=False),
    "balanced": Weights(cost=0.5, latency=0.15, capped=False),
    "frugal": Weights(cost=1.2, latency=0.1, capped=True),
}

FLOORS: Mapping[str, float] = {"simple": 0.3, "moderate": 0.5, "complex": 0.7}
"""The quality that is good enough, by complexity."""

UNKNOWN_QUALITY = 0.5
UNKNOWN_SECONDS = 5.0
ONE_DOLLAR = from_usd(1)
SEEN_ENOUGH = 3
"""From so many timed calls on, what was measured replaces what was stated."""


class Objective(Struct, frozen=True):
    """The policy as a value: call it to decide."""

    priority: Priority
    chains: Mapping[str, Chain] = {}
    weights: Weights | None = None

    @property
    def name(self) -> str:
        return f"objective:{self.priority}"

    def __call__(
        self, call: Call, prompt: Prompt, candidates: Sequence[Candidate], state: RouteState, rng: Random
    ) -> Decision:
        weights = self.weights or PRIORITIES[self.priority]
        floor = FLOORS[prompt.complexity] if call.needs.min_quality is None else call.needs.min_quality
        max_tokens = call.chat.max_tokens
        chain = preferred(self.chains, prompt.task, _as_complexity(prompt.complexity), call.needs.max_cost)
        considered = [
            _consider(_measured(candidate, state), prompt, call, max_tokens, floor, weights, chain)
            for candidate in candidates
        ]
        # A stable sort: equal scores stay in the order in which the candidates were given.
        considered.sort(key=lambda c: -math.inf if c.score is None else c.score, reverse=True)
        plan = tuple(c.model for c in considered if not c.rejected)
        if plan:
            considered[0] = structs.replace(considered[0], probability=1.0)
        return Decision(
            policy=self.name,
            state_version=state.version,
            plan=plan,
            candidates=tuple(considered),
            task=prompt.task,
            complexity=prompt.complexity,
            reason=_reason(self.priority, prompt, considered, floor),
            features=prompt.encode(),
        )


def quality_of(candidate: Candidate, task: str) -> float:
    """0 to 1: the rubric of the task, else the profile, else one half."""
    rubric = candidate.rubrics.get(task)
    if rubric is not None:
        return rubric.performance / 10
    return UNKNOWN_QUALITY if candidate.quality is None else candidate.quality


def _measured(candidate: Candidate, state: RouteState) -> Candidate:
    seen = state.seen.get(candidate.name)
    if seen is None or seen.timed < SEEN_ENOUGH:
        return candidate
    writing = seen.seconds - seen.ttft
    return structs.replace(
        candidate,
        ttft=seen.ttft / seen.timed,
        output_rate=seen.output_tokens / writing if writing > 0 and seen.output_tokens else candidate.output_rate,
    )


def _consider(
    candidate: Candidate,
    prompt: Prompt,
    call: Call,
    max_tokens: int | None,
    floor: float,
    weights: Weights,
    chain: Sequence[str],
) -> Considered:
    tokens = output_tokens(max_tokens)
    cost = expected_cost(candidate, prompt, tokens)
    seconds = expected_seconds(candidate, tokens)
    quality = quality_of(candidate, prompt.task)
    rejected = rejection(candidate, prompt, call.needs, max_tokens)
    score = None
    if not rejected:
        counted = min(quality, floor) + quality / 20 if weights.capped else quality
        if candidate.deployment == "free":
            cost_term = 0.1
        else:
            cost_term = math.log10(1 + (ONE_DOLLAR if cost is None else cost) / 10_000) / 5
        latency_term = math.log10(1 + 10 * (UNKNOWN_SECONDS if seconds is None else seconds)) / 3
        preference = 0.06 / (1 + chain.index(candidate.name)) if candidate.name in chain else 0.0
        shortfall = max(0.0, floor - quality)
        score = counted - weights.cost * cost_term - weights.latency * latency_term - 2 * shortfall + preference
    return Considered(
        model=candidate.name,
        deployment=candidate.deployment,
        rejected=rejected,
        score=score,
        quality=quality,
        expected_cost=cost,
        expected_seconds=seconds,
    )


def _reason(priority: Priority, prompt: Prompt, considered: Sequence[Considered], floor: float) -> str:
    what = f"{prompt.complexity} {prompt.task}"
    if not considered:
        return f"There is no model to choose from for {what}."
    best = considered[0]
    if best.rejected:
        who = "The one candidate may not" if len(considered) == 1 else f"None of {len(considered)} candidates may"
        return f"{who} serve this call ({what})."
    quality = best.quality or 0.0
    enough = (
        f"is good enough ({quality:.2f} ≥ {floor:.2f})"
        if quality >= floor
        else (f"comes nearest: no candidate reaches the quality {floor:.2f} at a fitting price (it has {quality:.2f})")
    )
    why = {
        "performance": f"has the best balance of quality before speed and cost (quality {quality:.2f})",
        "balanced": f"has the best balance of quality and cost (quality {quality:.2f})",
        "frugal": f"is {best.deployment} and {enough}",
    }[priority]
    return f"{what.capitalize()}, priority {priority}: {best.model} {why}."


def _as_complexity(name: str) -> Complexity:
    return "simple" if name == "simple" else "moderate" if name == "moderate" else "complex"
