"""The policy: one readable objective over what hard needs have left.

    score = quality − failures − cost_weight·cost − latency_weight·latency − quota_weight·quota
            − shortfall_weight·shortfall + chain − risk·doubt

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
* doubt: beside a learned router, how uncertain the quality of a model is, against the one that does best over all
  prompts: on prompts unlike those it learned from, that one is kept.

Each term has its uncertainty, and so has the score (`Considered.score_sd`). The weights belong to a priority and can be
replaced (`Objective(weights=…)`). Which of the scored candidates is taken: `choosing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from msgspec import Struct, structs

from ..core import Call, Priority, Weighed, from_usd
from .bounds import Bounds, bounded
from .chains import Chain, preferred
from .choosing import EXPLORATION, Exploration, choose
from .complexity import Complexity
from .decision import (
    NO_FORECAST,
    Candidate,
    Considered,
    Conversation,
    Decision,
    Estimate,
    Forecast,
    RouteState,
    Seen,
)
from .expectations import expense_of, measured, qualities
from .filters import rejection
from .prompt import Prompt


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


class Objective(Struct, frozen=True):
    """The policy as a value: call it to decide."""

    priority: Priority
    chains: Mapping[str, Chain] = {}
    weights: Weights | None = None
    exploration: Exploration = EXPLORATION
    bounds: Bounds | None = None
    """What they name for the limits of a call goes before everything else."""

    @property
    def name(self) -> str:
        return f"{'bounds' if self.bounds else 'objective'}:{self.priority}"

    def __call__(
        self,
        call: Call,
        prompt: Prompt,
        candidates: Sequence[Candidate],
        state: RouteState,
        rng: Random,
        *,
        forecast: Forecast = NO_FORECAST,
        conversation: Conversation | None = None,
    ) -> Decision:
        weights = self.weights or PRIORITIES[self.priority]
        asked = _Asked(
            call=call,
            prompt=prompt,
            task=weights.task or prompt.task,
            floor=FLOORS[prompt.complexity] if call.needs.min_quality is None else call.needs.min_quality,
            weights=weights,
            chain=preferred(self.chains, prompt.task, _as_complexity(prompt.complexity), call.needs.max_cost),
            first=() if self.bounds is None else bounded(self.bounds, prompt, call.needs),
            forecast=forecast,
            conversation=conversation,
        )
        known = [measured(candidate, state) for candidate in candidates]
        expected = qualities(known, asked.task, forecast, state)
        considered = [
            _consider(candidate, prior, gain, asked, state)
            for candidate, (prior, gain) in zip(known, expected, strict=True)
        ]
        if call.needs.max_latency is not None and any(one.seconds and not one.rejected for one in considered):
            considered = [_unless_unknown(one, call.needs.max_latency) for one in considered]
        # A stable sort: equal scores stay in the order in which the candidates were given.
        considered.sort(key=lambda c: -math.inf if c.score is None else c.score, reverse=True)
        choice = choose(
            considered,
            floor=asked.floor,
            exploration=self.exploration,
            may_explore=state.beliefs is not None
            and bool(forecast.context)
            and not (call.needs.local_only or prompt.in_tool_loop),
            dearer_is_barred=state.explored > self.exploration.most_cost * state.spent,
            conversation=conversation,
            switch=weights.switch,
            rng=rng,
        )
        return Decision(
            policy=self.name,
            state_version=state.version,
            plan=choice.plan,
            candidates=choice.considered,
            task=prompt.task,
            complexity=prompt.complexity,
            reason=_reason(self.priority, asked, choice.considered, choice.plan) + choice.why,
            explored=choice.explored,
            features=structs.replace(prompt, vector=forecast.vector).encode() if forecast.vector else prompt.encode(),
        )


def reweigh(weighed: Sequence[Weighed], weights: Priority | Weights, complexity: str) -> dict[str, float]:
    """Model → the probability with which it would be chosen under other weights, from what was recorded of a decision.

    What the record does not hold (chains, quotas, conversations) counts for nothing. Empty where nothing could be
    chosen. Raises ValueError for a decision whose estimates were not recorded.
    """
    if not isinstance(weights, Weights):
        weights = PRIORITIES[weights]
    floor = FLOORS.get(complexity, FLOORS["moderate"])
    scores: dict[str, float] = {}
    for one in weighed:
        if one.rejected:
            continue
        if one.quality is None:
            raise ValueError(f"What was expected of {one.model} was not recorded.")
        terms = {
            **_quality_terms(Estimate(one.quality), floor, weights),
            "cost": -weights.cost * _cost_term(one.cost),
            "latency": -weights.latency * _latency_term(one.seconds),
        }
        scores[one.model] = sum(terms.values())
    if not scores:
        return {}
    best = max(scores, key=scores.__getitem__)
    return {model: float(model == best) for model in scores}


class _Asked(Struct, frozen=True):
    """What is the same for all candidates of a decision."""

    call: Call
    prompt: Prompt
    task: str
    floor: float
    weights: Weights
    chain: Sequence[str]
    first: Sequence[str]
    forecast: Forecast
    conversation: Conversation | None


def _consider(
    candidate: Candidate, prior: Estimate, gain: Estimate | None, asked: _Asked, state: RouteState
) -> Considered:
    call, prompt, weights = asked.call, asked.prompt, asked.weights
    max_tokens = call.chat.max_tokens
    quality = prior
    if gain is not None:
        quality = Estimate(min(max(prior.value + gain.value, 0.0), 1.0), gain.sd, "learned")
    if candidate.unavailable:  # most are, where all that has a name is weighed
        return Considered(
            candidate.name, candidate.deployment, candidate.unavailable, quality=quality, prior=prior.value
        )
    expense = expense_of(
        candidate, prompt, state, max_tokens=max_tokens, forecast=asked.forecast, conversation=asked.conversation
    )
    cost, seconds = expense.cost, expense.seconds
    rejected = rejection(candidate, prompt, call.needs, expense, max_tokens)
    considered = Considered(
        model=candidate.name,
        deployment=candidate.deployment,
        rejected=rejected,
        quality=quality,
        prior=prior.value,
        cost=cost,
        seconds=seconds,
    )
    if rejected:
        return considered
    terms = _quality_terms(quality, asked.floor, weights)
    if failing := _failing(state.seen.get(candidate.name)):
        terms["failures"] = -weights.quality * quality.value * failing
    if candidate.deployment == "free":
        terms["quota"] = -weights.quota * (0.1 + 0.4 * (1 - _or_all(candidate.quota_left)))
    else:
        terms["cost"] = -weights.cost * _cost_term(None if cost is None else cost.value)
    terms["latency"] = -weights.latency * _latency_term(None if seconds is None else seconds.value)
    if candidate.name in asked.chain:
        terms["chain"] = 0.06 / (1 + asked.chain.index(candidate.name))
    if candidate.name in asked.first:
        terms["bounds"] = 10.0 - asked.first.index(candidate.name)
    if weights.risk and asked.forecast.quality and candidate.name != asked.forecast.best_single:
        terms["doubt"] = -weights.risk * prior.sd
    slope = _slope(quality.value, asked.floor, weights)
    spread = [slope * quality.sd]
    if cost is not None:
        spread.append(weights.cost * cost.sd / (cost.value + 10_000) / math.log(10) / 5)
    if seconds is not None:
        spread.append(weights.latency * seconds.sd / (seconds.value + 0.1) / math.log(10) / 3)
    return structs.replace(
        considered,
        score=sum(terms.values()),
        score_sd=math.hypot(*spread),
        learnable_sd=0.0 if gain is None else slope * gain.sd,
        terms=terms,
    )


def _unless_unknown(considered: Considered, max_latency: float) -> Considered:
    """A need is not met by what nobody knows, as long as another is known to meet it."""
    if considered.rejected or considered.seconds is not None:
        return considered
    reason = f"has no known speed, and others are known to keep the limit of {max_latency:g} s"
    return structs.replace(considered, rejected=reason, score=None, score_sd=0.0, learnable_sd=0.0, terms={})


def _quality_terms(quality: Estimate, floor: float, weights: Weights) -> dict[str, float]:
    value = quality.value
    counted = min(value, floor) + value / 20 if weights.capped else value
    terms = {"quality": weights.quality * counted}
    if value < floor:
        terms["shortfall"] = -weights.shortfall * (floor - value)
    return terms


def _slope(quality: float, floor: float, weights: Weights) -> float:
    """By how much the score changes with the quality."""
    if quality < floor:
        return weights.quality * (1.05 if weights.capped else 1.0) + weights.shortfall
    return weights.quality * (0.05 if weights.capped else 1.0)


def _failing(seen: Seen | None) -> float:
    """The share of calls that may fail, from those that did: one of a few says little."""
    return 0.0 if seen is None else seen.failed / (seen.calls + GOOD_CALLS)


def _cost_term(nanos: float | None) -> float:
    return math.log10(1 + (ONE_DOLLAR if nanos is None else nanos) / 10_000) / 5


def _latency_term(seconds: float | None) -> float:
    return math.log10(1 + 10 * (UNKNOWN_SECONDS if seconds is None else seconds)) / 3


def _or_all(share: float | None) -> float:
    return 1.0 if share is None else share


def _reason(priority: Priority, asked: _Asked, considered: Sequence[Considered], plan: Sequence[str]) -> str:
    prompt = asked.prompt
    what = f"{prompt.complexity} {prompt.task}"
    if not considered:
        return f"There is no model to choose from for {what}."
    if not plan:
        who = "The one candidate may not" if len(considered) == 1 else f"None of {len(considered)} candidates may"
        return f"{who} serve this call ({what})."
    # Of the best score: why another one was taken is said after it.
    best = next(one for one in considered if not one.rejected)
    quality = best.quality.value if best.quality else 0.0
    floor = asked.floor
    enough = (
        f"is good enough ({quality:.2f} ≥ {floor:.2f})"
        if quality >= floor
        else f"has {quality:.2f} of the quality {floor:.2f}, {_what_has_more(considered, floor)}"
    )
    why = {
        "performance": f"has the best balance of quality before speed and cost (quality {quality:.2f})",
        "balanced": f"has the best balance of quality and cost (quality {quality:.2f})",
        "frugal": f"is {best.deployment} and {enough}",
        "creative": f"writes best of those that may (quality {quality:.2f} by {asked.task})",
        "analytical": f"analyses best of those that may (quality {quality:.2f} by {asked.task})",
    }[priority]
    if best.model in asked.first:
        why = "is what the bounds on cost and latency name"
    return f"{what.capitalize()}, priority {priority}: {best.model} {why}."


def _what_has_more(considered: Sequence[Considered], floor: float) -> str:
    enough = (one for one in considered if not one.rejected and one.quality and one.quality.value >= floor)
    if (other := next(enough, None)) is None:
        return "which no candidate reaches"
    return f"and {other.model}, which reaches it, costs too much more"


def _as_complexity(name: str) -> Complexity:
    return "simple" if name == "simple" else "moderate" if name == "moderate" else "complex"
