"""A route: decides which model serves a call, then sends it there. An Ask like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import TypeVar

from msgspec import Struct, structs

from ..core import Call, Nanos, NoCandidate, OverBudget, Reply, Trace, Unservable, Weighed, show_usd
from ..routing import (
    NO_FORECAST,
    Candidate,
    Considered,
    Decision,
    Forecaster,
    Policy,
    RouteState,
    Together,
    read_prompt,
)
from ..strategies import AtOnce, Choice, Retries, consensus, race, single
from .conversations import Conversations, conversation_id
from .elected import Elected
from .quality import Quality

N = TypeVar("N", int, float, Nanos)

MOST_CHOICES = 5
"""The chosen model and up to four fallbacks: past that, what fails is not the model."""


class Defaults(Struct, frozen=True):
    """What a mode states where its caller does not."""

    task: str = ""
    max_cost: Nanos | None = None
    max_latency: float | None = None
    min_quality: float | None = None
    local_only: bool = False


class Route:
    """Chooses among `candidates` by `policy`; `choice` gives the way to a candidate by its name, `fallback` those that
    take over in the end; `everyone` are the candidates, and those that cannot serve at all. After `ready`, `state` and
    `forecasts` take no time worth a thread."""

    def __init__(
        self,
        policy: Callable[[Call], Policy],
        candidates: Callable[[], Sequence[Candidate]],
        choice: Callable[[str], Choice],
        retries: Retries,
        *,
        everyone: Callable[[], Sequence[Candidate]],
        fallback: Callable[[], Sequence[Choice]] = tuple,
        ready: Callable[[], Awaitable[None]],
        state: Callable[[], RouteState],
        forecasts: Forecaster,
        conversations: Conversations,
        elected: Elected,
        rng: Random,
        new_id: Callable[[], str],
        at_once: AtOnce,
        defaults: Defaults | None = None,
    ) -> None:
        self._policy = policy
        self._candidates = candidates
        self._choice = choice
        self._retries = retries
        self._everyone = everyone
        self._fallback = fallback
        self._ready = ready
        self._state = state
        self._forecasts = forecasts
        self._conversations = conversations
        self._elected = elected
        self._rng = rng
        self._new_id = new_id
        self._at_once = at_once
        self._defaults = defaults or Defaults()

    async def __call__(self, call: Call) -> Reply:
        """Raises NoCandidate, with each candidate's reason, when nothing is left."""
        call = self._with_defaults(call)
        await self._ready()
        candidates, conversation = self._candidates(), conversation_id(call)
        decision = self._decide(call, candidates, conversation)
        if not decision.plan:
            raise _refusal(call, candidates, decision, self._everyone)
        plan = self._planned(decision, call)
        if not call.tally.plans:
            planned = {choice.name for choice in plan}
            plan += [choice for choice in self._fallback() if choice.name not in planned]
        reply = await single(lambda _: plan, self._retries)(call.traced(_trace(decision, conversation, call.trace)))
        met = Quality(call.needs.min_quality, decision.candidates).is_met(reply.served.model)
        reply.provenance = structs.replace(reply.provenance, decision_id=decision.id, quality_met=met)
        if reply.provenance.agreed is not None:
            self._elected.remember(call.id, reply.attempt_id)
        self._conversations.remember(conversation, call, reply.served.model)
        return reply

    def _planned(self, decision: Decision, call: Call) -> list[Choice]:
        """What is asked at once is one choice, the first."""
        members = () if decision.together is None else decision.together.models
        names = [name for name in _shortened(decision) if name not in members]
        plan = [self._choice(name) for name in names]
        if decision.together is not None:
            plan.insert(0, self._joined(decision.together))
        most = call.needs.max_cost
        if most is None:
            return plan
        worst = {one.model: one.worst for one in decision.candidates}
        costs = [worst[name] for name in names]
        if members:
            costs.insert(0, _sum(worst[name] for name in members))
        return [_while_affordable(choice, cost, most, call) for choice, cost in zip(plan, costs, strict=True)]

    def _joined(self, together: Together) -> Choice:
        """As many of them as the call may still make attempts; the strongest alone where that is one."""
        everyone = [self._choice(name) for name in together.models]

        async def ask(call: Call) -> Reply:
            choices = everyone[: max(1, self._retries.most_attempts - call.tally.attempts)]
            if len(choices) == 1:
                return await choices[0].ask(call)
            named = call.traced(structs.replace(call.trace, strategy=together.way))
            if together.way == "race":
                return await race(choices, self._at_once)(named)
            return await consensus(choices, first=together.first, at_once=self._at_once, clock=self._retries.clock)(
                named
            )

        if together.way == "race":
            return structs.replace(everyone[0], ask=ask)
        return Choice(f"a consensus of {', '.join(together.models)}", ask)

    def decide(self, call: Call, candidates: Sequence[Candidate] | None = None, *, learned: bool = True) -> Decision:
        """What `__call__` would do, without doing it. `candidates` replaces the route's own; without `learned` they are
        weighed by what is stated of them alone."""
        call = self._with_defaults(call)
        candidates = self._candidates() if candidates is None else candidates
        return self._decide(call, candidates, conversation_id(call), learned=learned)

    def _decide(
        self, call: Call, candidates: Sequence[Candidate], conversation: str, *, learned: bool = True
    ) -> Decision:
        prompt = read_prompt(call.chat, call.task)
        decision = self._policy(call)(
            call,
            prompt,
            candidates,
            self._state() if learned else RouteState(),
            self._rng,
            forecast=self._forecasts(prompt) if learned else NO_FORECAST,
            conversation=self._conversations.find(conversation, call, prompt),
        )
        return structs.replace(decision, id=self._new_id())

    def _with_defaults(self, call: Call) -> Call:
        """The caller's needs, filled in by the mode's; of two limits the stricter holds, and of a budget what is
        left after the attempts that were made before this route was asked."""
        ours, theirs = self._defaults, call.needs
        max_cost = _stricter(theirs.max_cost, ours.max_cost)
        needs = structs.replace(
            theirs,
            max_cost=None if max_cost is None else Nanos(max(0, max_cost - call.tally.cost)),
            max_latency=_stricter(theirs.max_latency, ours.max_latency),
            min_quality=theirs.min_quality if theirs.min_quality is not None else ours.min_quality,
            local_only=theirs.local_only or ours.local_only,
        )
        return call.with_needs(needs, task=call.task or ours.task)


def _shortened(decision: Decision) -> Sequence[str]:
    """The first few of the plan. A model of this machine is always among them where there is one: when the network is
    down, or the money is spent, it serves."""
    first, rest = decision.plan[:MOST_CHOICES], decision.plan[MOST_CHOICES:]
    local = {one.model for one in decision.candidates if one.deployment == "local"}
    if local.isdisjoint(first):
        return (*first, *[name for name in rest if name in local][:1])
    return first


def _stricter(theirs: N | None, ours: N | None) -> N | None:
    if theirs is None or ours is None:
        return ours if theirs is None else theirs
    return min(theirs, ours)


def _refusal(
    call: Call, candidates: Sequence[Candidate], decision: Decision, everyone: Callable[[], Sequence[Candidate]]
) -> NoCandidate:
    """A candidate that cannot serve now may come back, and so may a model of this machine."""
    here_to_stay = candidates and not any(candidate.unavailable for candidate in candidates)
    kind = Unservable if here_to_stay and not call.needs.local_only else NoCandidate
    reasons = decision.reasons or {one.name: one.unavailable for one in everyone() if one.unavailable}
    asked = " What was asked and why each was left out:" if reasons else ""
    return kind(decision.reason + asked, reasons)


def _while_affordable(choice: Choice, worst: Nanos | None, most: Nanos, decided: Call) -> Choice:
    """The choice, which is not asked where attempts since the decision have left too little for it."""
    before = decided.tally.cost

    async def ask(call: Call) -> Reply:
        spent = call.tally.cost - before
        if spent and worst != 0 and (worst is None or spent + worst > most):
            raise OverBudget(
                f"{choice.name} may cost {'nobody knows what' if worst is None else show_usd(worst)}, and of the "
                f"call's budget of {show_usd(most)} its other attempts have taken {show_usd(spent)}."
            )
        return await choice.ask(call)

    return structs.replace(choice, ask=ask)


def _sum(costs: Iterable[Nanos | None]) -> Nanos | None:
    total = 0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return Nanos(total)


def _trace(decision: Decision, conversation: str, outer: Trace) -> Trace:
    """The decision, within the run or strategy that the call came from."""
    return Trace(
        task=decision.task,
        complexity=decision.complexity,
        strategy=outer.strategy or "single",
        decision_id=decision.id,
        policy=decision.policy,
        state_version=str(decision.state_version),
        features=decision.features,
        candidates=tuple(map(_weighed, decision.candidates)),
        run_id=outer.run_id,
        stage=outer.stage,
        conversation=conversation,
    )


def _weighed(one: Considered) -> Weighed:
    if one.rejected:
        return Weighed(one.model, rejected=one.rejected)
    return Weighed(
        one.model,
        one.score,
        one.probability,
        quality=None if one.quality is None else one.quality.value,
        cost=None if one.cost is None else one.cost.value,
        seconds=one.expected_seconds,
        prior=one.prior,
    )
