"""The policy: hard needs rule out, what is left gets a score, and one of the scored is taken.

What a score is the sum of: `terms.py`. Each term has its uncertainty, and so has the score (`Considered.score_sd`).
Which of the scored candidates is taken: `choosing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from msgspec import Struct, structs

from ..core import Call, Priority
from .bounds import Bounds, Several, bounded
from .chains import Chain, preferred
from .choosing import EXPLORATION, Exploration, choose
from .decision import (
    NO_FORECAST,
    Candidate,
    Considered,
    Conversation,
    Decision,
    Estimate,
    Forecast,
    RouteState,
)
from .expectations import Expense, expenses_of, qualities
from .filters import rejection
from .prompt import Prompt
from .terms import (
    FLOORS,
    PRIORITIES,
    Weights,
    cost_sd,
    cost_term,
    latency_sd,
    latency_term,
    quality_slope,
    quality_terms,
    quota_term,
    share_failing,
)
from .together import led_by, together


class Objective(Struct, frozen=True):
    """The policy as a value: call it to decide."""

    priority: Priority
    chains: Mapping[str, Chain] = {}
    weights: Weights | None = None
    exploration: Exploration | None = EXPLORATION
    """None: nothing is tried out."""
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
        asked = self._asked(call, prompt, state, forecast, conversation)
        considered = _best_first(candidates, asked)
        several = self._several(asked)
        selection = choose(
            considered,
            floor=asked.floor,
            is_asked_for=call.needs.min_quality is not None,
            exploration=None if several else self._exploration(asked),
            conversation=conversation,
            switch=asked.weights.switch,
            rng=rng,
        )
        reason = _reason(self.priority, asked, selection.considered, selection.plan) + selection.why
        at_once = None
        if several is not None and selection.plan:
            at_once, why = together(several, selection, call.needs.max_cost)
            if at_once is None:
                reason = f"{reason} {why}"
            else:
                reason = f"{_what_is_asked(self.priority, prompt)}: {why}"
                selection = led_by(selection, at_once)
        return Decision(
            policy=self.name,
            state_version=state.version,
            plan=selection.plan,
            candidates=selection.considered,
            task=prompt.task,
            complexity=prompt.complexity,
            reason=reason,
            explored=selection.explored,
            features=structs.replace(prompt, vector=forecast.vector).encode() if forecast.vector else prompt.encode(),
            together=at_once,
        )

    def _several(self, asked: _Asked) -> Several | None:
        """The rule by which this call is put to several at once. Never to others than the one that awaits the result
        of a tool."""
        if self.bounds is None or asked.prompt.in_tool_loop:
            return None
        needs = asked.call.needs
        return next((rule for rule in self.bounds.several if rule.fits(needs, self.priority)), None)

    def _asked(
        self, call: Call, prompt: Prompt, state: RouteState, forecast: Forecast, conversation: Conversation | None
    ) -> _Asked:
        weights, needs = self.weights or PRIORITIES[self.priority], call.needs
        return _Asked(
            call=call,
            prompt=prompt,
            task=weights.task or prompt.task,
            floor=FLOORS[prompt.complexity] if needs.min_quality is None else needs.min_quality,
            weights=weights,
            chain=preferred(self.chains, prompt.task, prompt.complexity, needs.max_cost),
            first=() if self.bounds is None else bounded(self.bounds, prompt, needs),
            state=state,
            forecast=forecast,
            conversation=conversation,
        )

    def _exploration(self, asked: _Asked) -> Exploration | None:
        """How this call may be used to learn; None for one on which nothing may be tried."""
        state = asked.state
        if self.exploration is None or state.beliefs is None or not asked.forecast.context:
            return None
        if asked.call.needs.local_only or asked.prompt.in_tool_loop:
            return None
        is_spent = state.explored > self.exploration.most_cost * state.spent
        return structs.replace(self.exploration, dearer=False) if is_spent else self.exploration


class _Asked(Struct, frozen=True):
    """What is the same for all candidates of a decision."""

    call: Call
    prompt: Prompt
    task: str
    floor: float
    weights: Weights
    chain: Sequence[str]
    first: Sequence[str]
    state: RouteState
    forecast: Forecast
    conversation: Conversation | None


def _best_first(candidates: Sequence[Candidate], asked: _Asked) -> list[Considered]:
    """All of them, the rejected ones last; equals in the order in which they came."""
    expected = qualities(candidates, asked.task, asked.forecast, asked.state)
    expenses = _expenses(candidates, asked)
    considered = [
        _consider(candidate, prior, gain, expenses.get(candidate.name), asked)
        for candidate, (prior, gain) in zip(candidates, expected, strict=True)
    ]
    limit = asked.call.needs.max_latency
    if limit is not None and any(one.has_known_speed and not one.rejected for one in considered):
        considered = [_unless_unknown(one, limit) for one in considered]
    return sorted(considered, key=lambda one: -math.inf if one.score is None else one.score, reverse=True)


def _expenses(candidates: Sequence[Candidate], asked: _Asked) -> dict[str, Expense]:
    """By model, of those that are available: most are not, where all that has a name is weighed."""
    available = [candidate for candidate in candidates if not candidate.unavailable]
    expenses = expenses_of(
        available,
        asked.prompt,
        asked.state,
        max_tokens=asked.call.chat.max_tokens,
        forecast=asked.forecast,
        conversation=asked.conversation,
    )
    return {candidate.name: expense for candidate, expense in zip(available, expenses, strict=True)}


def _consider(
    candidate: Candidate, prior: Estimate, gain: Estimate | None, expense: Expense | None, asked: _Asked
) -> Considered:
    """`expense`: None of one that is not available."""
    quality = _learned(prior, gain)
    if expense is None:
        return Considered(
            candidate.name, candidate.deployment, candidate.unavailable, quality=quality, prior=prior.value
        )
    considered = Considered(
        model=candidate.name,
        deployment=candidate.deployment,
        rejected=rejection(candidate, asked.prompt, asked.call.needs, expense, asked.call.chat.max_tokens),
        quality=quality,
        prior=prior.value,
        cost=expense.cost,
        worst=expense.worst,
        seconds=expense.seconds,
    )
    if considered.rejected:
        return considered
    terms = _terms(candidate, quality, prior, expense, asked)
    slope = quality_slope(quality.value, asked.floor, asked.weights)
    return structs.replace(
        considered,
        score=sum(terms.values()),
        score_sd=_score_sd(slope * quality.sd, expense, asked.weights),
        learnable_sd=0.0 if gain is None else slope * gain.sd,
        terms=terms,
    )


def _learned(prior: Estimate, gain: Estimate | None) -> Estimate:
    """The prior, and what graded calls add to it."""
    if gain is None:
        return prior
    return Estimate(min(max(prior.value + gain.value, 0.0), 1.0), gain.sd, "learned")


def _terms(
    candidate: Candidate, quality: Estimate, prior: Estimate, expense: Expense, asked: _Asked
) -> dict[str, float]:
    name, weights = candidate.name, asked.weights
    terms = quality_terms(quality.value, asked.floor, weights)
    if failing := share_failing(asked.state.seen.get(name)):
        terms["failures"] = -weights.quality * quality.value * failing
    if candidate.deployment == "free":
        terms["quota"] = quota_term(candidate.quota_left, weights)
    else:
        terms["cost"] = cost_term(None if expense.cost is None else expense.cost.value, weights)
    terms["latency"] = latency_term(None if expense.seconds is None else expense.seconds.value, weights)
    if name in asked.chain:
        terms["chain"] = 0.06 / (1 + asked.chain.index(name))
    if name in asked.first:
        terms["bounds"] = 10.0 - asked.first.index(name)
    if weights.risk and asked.forecast.quality and name != asked.forecast.best_single:
        terms["doubt"] = -weights.risk * prior.sd
    return terms


def _score_sd(quality_sd: float, expense: Expense, weights: Weights) -> float:
    """`quality_sd`: of the terms of quality."""
    spread = [quality_sd]
    if expense.cost is not None:
        spread.append(cost_sd(expense.cost, weights))
    if expense.seconds is not None:
        spread.append(latency_sd(expense.seconds, weights))
    return math.hypot(*spread)


def _unless_unknown(considered: Considered, max_latency: float) -> Considered:
    """A need is not met by what nobody knows, as long as another is known to meet it."""
    if considered.rejected or considered.has_known_speed:
        return considered
    reason = f"has no known speed, and others are known to keep the limit of {max_latency:g} s"
    return structs.replace(considered, rejected=reason, score=None, score_sd=0.0, learnable_sd=0.0, terms={})


def _reason(priority: Priority, asked: _Asked, considered: Sequence[Considered], plan: Sequence[str]) -> str:
    what = f"{asked.prompt.complexity} {asked.prompt.task}"
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
    return f"{_what_is_asked(priority, asked.prompt)}: {best.model} {why}."


def _what_is_asked(priority: Priority, prompt: Prompt) -> str:
    return f"{prompt.complexity} {prompt.task}, priority {priority}".capitalize()


def _what_has_more(considered: Sequence[Considered], floor: float) -> str:
    enough = (one for one in considered if not one.rejected and one.quality and one.quality.value >= floor)
    if (other := next(enough, None)) is None:
        return "which no candidate reaches"
    return f"and {other.model}, which reaches it, costs too much more"
