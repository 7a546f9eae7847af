"""Every name that `model:` may take, and the Ask behind it: modes, pools, models."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from random import Random
from typing import get_args

from msgspec import Struct, structs

from ..core import (
    NO_NEEDS,
    Ask,
    Call,
    Clock,
    InvalidCall,
    Needs,
    NoCandidate,
    Priority,
    Reply,
    UnknownModel,
    from_usd,
)
from ..endpoints.load import Load
from ..endpoints.pool import Member, Pool, measured
from ..routing import (
    PRIORITIES,
    TASKS,
    Candidate,
    Chain,
    Complexity,
    Decision,
    Deployment,
    Exploration,
    Objective,
    Prompt,
    RouteState,
    Weights,
    preset_bounds,
    preset_chains,
    qualities,
    quality_of,
    reason_against,
    route,
)
from ..routing.complexity import COMPLEXITIES
from ..strategies import Choice, Retries, single
from .at_once import LoopGroup
from .conversations import Conversations
from .elected import Elected
from .forecasts import Forecasts
from .gates import Gates
from .roster import LOCAL, Model, Roster
from .route import Defaults, Route
from .specs import Config, LearningSpec, MemberSpec, ModeSpec, PoolSpec, WeightsSpec

REFRESH_SECONDS = 30
"""How long a list of candidates holds before it is made anew: prices are dated, and models come and go."""

MOST_NAMES = 1024
"""Names come from callers (`provider/anything`), so what is kept of them is bounded."""


class Listed(Struct, frozen=True):
    """A name for `model:`, for a list of models. Tokens; None where nobody knows."""

    name: str
    owner: str
    context: int | None
    max_output: int | None


class Directory:
    """Finds the Ask behind a name, and makes it on first use. `connect` gives the recorded endpoint of a model."""

    def __init__(
        self,
        config: Config,
        roster: Roster,
        gates: Gates,
        connect: Callable[[Model], Ask],
        *,
        retries: Retries,
        ready: Callable[[], Awaitable[None]],
        state: Callable[[], RouteState],
        forecasts: Forecasts,
        conversations: Conversations,
        elected: Elected,
        clock: Clock,
        rng: Random,
        new_id: Callable[[], str],
    ) -> None:
        self._config = config
        self._roster = roster
        self._gates = gates
        self._connect = connect
        self._retries = retries
        self._ready = ready
        self._state = state
        self._forecasts = forecasts
        self._conversations = conversations
        self._elected = elected
        self._clock = clock
        self._rng = rng
        self._new_id = new_id
        self._asks: dict[str, Ask] = {}
        self._bound_asks: dict[str, Ask] = {}
        """Of calls with hard needs."""
        self._choices: dict[str, Choice] = {}
        self._available: dict[str, tuple[float, list[Candidate]]] = {}
        self.modes = _modes(config)

    def find(self, name: str, needs: Needs) -> Ask:
        """The Ask behind a name. Raises UnknownModel with the nearest names, or NoCandidate for a model that is known
        and cannot serve.

        Whatever stands behind the name, needs are kept: a pool's members, or the one model, are then routed among.
        """
        asks = self._bound_asks if needs is not NO_NEEDS and needs.are_hard else self._asks
        ask = asks.get(name)
        if ask is None:
            ask = self._make(name, needs)
            if len(asks) >= MOST_NAMES:
                asks.clear()
            asks[name] = ask
        return ask

    def decide(self, call: Call, *, learned: bool = True) -> Decision:
        """What would be chosen for a call, those that cannot serve listed with their reasons. Calls nothing."""
        return self._route(call.model).decide(call, self._gates.open_among(self._behind(call.model)), learned=learned)

    def is_weighed(self, call: Call) -> bool:
        """Whether what is expected of models has a say in who serves a call: not where it names its model, or pool."""
        return call.model in self.modes or call.needs.are_hard

    def along_chain(self, task: str, complexity: Complexity, needs: Needs) -> str:
        """The first model of a task's chain that may serve a usual call now. Raises InvalidCall for what is no task or
        no complexity, and NoCandidate."""
        if complexity not in COMPLEXITIES:
            raise InvalidCall(f"{complexity!r} is none of {', '.join(COMPLEXITIES)}.", param="complexity")
        chain = self._chains.get(task) or self._best_at(task)
        order = route(chain, complexity, needs.max_cost)
        found = [model.candidate for name in order if (model := self._roster.find(name)) is not None]
        candidates = {one.name: one for one in self._gates.open_among(found)}
        reasons: dict[str, str] = {}
        for name in order:
            one = candidates.get(name)
            reasons[name] = "is no model that is known here" if one is None else reason_against(one, needs)
            if not reasons[name]:
                return name
        raise NoCandidate(f"No model of the chain of {task!r} may serve:", reasons)

    def _best_at(self, task: str) -> Chain:
        """For a task that has no chain: in each tier all that `auto` chooses among, by what is stated of them for it.
        Raises InvalidCall for what is no task."""
        if task not in TASKS:
            names = ", ".join(dict.fromkeys((*self._chains, *TASKS)))
            raise InvalidCall(f"No chain is named for {task!r}, and it is none of the tasks: {names}.", param="task")
        best = sorted(self._behind("auto"), key=lambda one: (-quality_of(one, task), one.output_price or 0))
        local, free, paid = ([one.name for one in best if one.deployment == tier] for tier in get_args(Deployment))
        return Chain(tuple(local), tuple(free), tuple(paid))

    def expected(self, name: str, prompt: Prompt | None) -> float | None:
        """The quality, 0 to 1, that is expected of a model on a prompt that was read earlier (None: on any), without
        what grades have taught. None for a model that is not known (any more). May be asked from any thread."""
        model = self._roster.find(name)
        if model is None:
            return None
        forecast = self._forecasts.recall(prompt)
        known = (self._roster.find(other) for other in forecast.usual if other != name)
        candidates = [model.candidate, *(other.candidate for other in known if other is not None)]
        prior, _ = qualities(candidates, prompt.task if prompt else "", forecast, RouteState())[0]
        return prior.value

    def listed(self) -> list[Listed]:
        """Every name that can serve now: modes first, then pools, then models."""
        models = {model.name: model for model in self._roster.everyone() if not model.unavailable}
        return [
            *(Listed(name, "pointsman", _context(self._serving(name), max), None) for name in self.modes),
            *(Listed(name, "pointsman", _context(self._behind(name), min), None) for name in self._config.pools),
            *(Listed(m.name, m.provider, m.candidate.context, m.candidate.max_output) for m in models.values()),
        ]

    def forget(self) -> None:
        """The models of this machine have changed: look anew."""
        self._available.clear()
        self._choices.clear()

    def _make(self, name: str, needs: Needs) -> Ask:
        if name in self._config.pools:
            return self._pool(self._config.pools[name])
        if name in self.modes:
            return self._route(name)
        model = self._model(name)
        # Ollama cuts what does not fit its context without a word, so its models are routed to, as by a need.
        if needs.are_hard or model.provider == "ollama":
            return self._route(name)
        reason = model.unavailable if model.provider == LOCAL else self._roster.providers[model.provider].unavailable
        if reason:
            raise NoCandidate(f"{name} cannot serve:", {name: reason})
        alone, last = [self._choice(model)], self._takeovers(named=True)
        full = alone + last
        return single(lambda call: full if call.tally.plans == 1 else alone, self._retries)

    def _pool(self, spec: PoolSpec) -> Ask:
        members = [self._member(member) for member in spec.members]
        choices = {member.name: Choice(member.name, member.ask) for member in members}
        pool = Pool(members, balance=spec.balance, rng=self._rng)
        last = self._takeovers(named=True)

        def plan(call: Call) -> list[Choice]:
            order = [choices[member.name] for member in pool.order()]
            return order + last if call.tally.plans == 1 else order

        ask = single(plan, self._retries)
        if spec.timeouts is None:
            return ask
        timeouts = spec.timeouts.value

        async def bounded(call: Call) -> Reply:
            return await ask(call.within(timeouts))

        return bounded

    def _member(self, member: str | MemberSpec) -> Member:
        name, weight = (member, 1) if isinstance(member, str) else (member.model, member.weight)
        ask = self._found_late(name)
        if name in self._config.pools or name in self.modes:
            load = Load(self._clock.steady)
            return Member(name, measured(ask, load), load, weight=weight)
        gate = self._gates.of(self._model(name))
        return Member(name, ask, gate.load, is_healthy=lambda: gate.is_open, weight=weight)

    def _choice(self, model: Model) -> Choice:
        door = model.name if model.provider == LOCAL else model.provider
        return Choice(model.name, self._connect(model), door, model.candidate.context)

    def _choice_of(self, name: str) -> Choice:
        """As `_choice`, kept for as long as the candidates are: a route needs several for each call."""
        choice = self._choices.get(name)
        if choice is None:
            choice = self._choices[name] = self._choice(self._model(name))
        return choice

    def _takeovers(self, *, named: bool = False, is_auto: bool = False) -> list[Choice]:
        """Who takes over when a route, or what a call names, has failed: of the outermost plan alone."""
        spec = self._config.fallback
        if named and not spec.named:
            return []
        tiers = [(tier, name) for tier in ("premium", "speed", "research") for name in getattr(spec, tier)]
        choices = [Choice(name, self._staged(self._found_late(name), tier)) for tier, name in tiers]
        if spec.any_model and not is_auto:
            choices.append(Choice("auto", self._staged(self._found_late("auto"), "any")))
        return choices

    def _staged(self, ask: Ask, tier: str) -> Ask:
        """`ask`, its attempts recorded as those of a fallback."""

        async def attempt(call: Call) -> Reply:
            return await ask(call.traced(structs.replace(call.trace, stage=f"fallback:{tier}")))

        return attempt

    def _found_late(self, member: str) -> Ask:
        """A pool's member, found when it is asked: with the needs of that call, and as it can serve then."""

        async def ask(call: Call) -> Reply:
            return await self.find(member, call.needs)(call)

        return ask

    def _route(self, name: str) -> Route:
        mode = self.modes.get(name, ModeSpec())
        policies = {priority: self._objective(priority, mode) for priority in PRIORITIES}
        unstated: Priority = "balanced" if mode.rules == "bounds" else "frugal"
        default = mode.priority or self._config.route.priority or unstated
        is_mode = name in self.modes
        return Route(
            lambda call: policies[call.needs.priority or default],
            lambda: self._gates.open_among(self._serving(name)),
            self._choice_of,
            self._retries,
            everyone=lambda: self._behind(name),
            fallback=lambda: self._takeovers(named=not is_mode, is_auto=name == "auto"),
            ready=self._ready,
            state=self._state,
            forecasts=self._forecasts,
            conversations=self._conversations,
            elected=self._elected,
            rng=self._rng,
            new_id=self._new_id,
            at_once=LoopGroup,
            defaults=_defaults(mode),
        )

    def _objective(self, priority: Priority, mode: ModeSpec) -> Objective:
        return Objective(
            priority,
            self._chains,
            weights=_weights(priority, self._config.route.weights, mode.weights),
            exploration=_exploration(self._config.learning),
            bounds=preset_bounds() if mode.rules == "bounds" else None,
        )

    @cached_property
    def _chains(self) -> Mapping[str, Chain]:
        """By task, in the names that candidates have: a chain may name a model by an alias or by an endpoint."""
        chains = {**preset_chains(), **self._config.route.chains}
        return {
            task: Chain(*(tuple(map(self._own_name, tier)) for tier in chain.tiers)) for task, chain in chains.items()
        }

    def _own_name(self, name: str) -> str:
        model = self._roster.find(name)
        return model.name if model else name

    def _serving(self, name: str) -> Sequence[Candidate]:
        """The candidates behind a name that can serve now, kept for half a minute."""
        made, candidates = self._available.get(name, (-math.inf, []))
        if self._clock.steady() - made > REFRESH_SECONDS:
            candidates = [one for one in self._behind(name) if name not in self.modes or not one.unavailable]
            self._available[name] = (self._clock.steady(), candidates)
            self._choices.clear()
        return candidates

    def _behind(self, name: str) -> list[Candidate]:
        """Every candidate that a name stands for, those that cannot serve too. Raises UnknownModel."""
        found: dict[str, Candidate] = {}
        open_names, seen = [name], {name}
        while open_names:
            one = open_names.pop(0)
            if one in self._config.pools:
                members = [member for member in self._config.pools[one].names if member not in seen]
                open_names += members
                seen |= set(members)
            else:
                models = self._eligible(self.modes[one]) if one in self.modes else [self._model(one)]
                found |= {model.name: model.candidate for model in models}
                self._gates.know(model for model in models if not model.unavailable)
        return list(found.values())

    def _eligible(self, mode: ModeSpec) -> list[Model]:
        """The models that a mode chooses among: those that it names, by pattern or outright; else all that are not
        superseded."""
        everyone = [model for model in self._roster.everyone() if not model.is_legacy]
        if mode.candidates:
            everyone = [one for one in everyone if any(fnmatchcase(one.name, name) for name in mode.candidates)]
        own_chains = (name for chain in self._config.route.chains.values() for tier in chain.tiers for name in tier)
        named = (self._roster.find(name) for name in (mode.candidates or own_chains))
        return [*(model for model in named if model is not None), *everyone]

    def _model(self, name: str) -> Model:
        model = self._roster.find(name)
        if model is None:
            known = [*self.modes, *self._config.pools, *(model.name for model in self._roster.everyone())]
            raise UnknownModel(name, get_close_matches(name, known, 3))
        return model


def _modes(config: Config) -> Mapping[str, ModeSpec]:
    """`auto`, the priorities, `private` and `bounds` are ready modes; those of the configuration win."""
    auto = ModeSpec(candidates=config.route.candidates, priority=config.route.priority)
    return {
        "auto": auto,
        **{priority: structs.replace(auto, priority=priority) for priority in PRIORITIES},
        "private": structs.replace(auto, local_only=True),
        "bounds": structs.replace(auto, candidates=preset_bounds().models, rules="bounds"),
        **config.modes,
    }


def _exploration(learning: LearningSpec) -> Exploration | None:
    if not (learning.explore or learning.spread):
        return None
    return Exploration(floor=learning.explore, spread=learning.spread, most_cost=learning.most_cost)


def _weights(priority: Priority, *stated: WeightsSpec) -> Weights:
    """Those of the priority, where nothing else is stated; what is stated last wins."""
    weights = PRIORITIES[priority]
    for spec in stated:
        own = {name: value for name in spec.__struct_fields__ if (value := getattr(spec, name)) is not None}
        weights = structs.replace(weights, **own)
    return weights


def _defaults(mode: ModeSpec) -> Defaults:
    return Defaults(
        task=mode.task or "",
        max_cost=None if mode.max_cost is None else from_usd(str(mode.max_cost)),
        max_latency=mode.max_latency,
        min_quality=mode.min_quality,
        local_only=mode.local_only,
    )


def _context(candidates: Sequence[Candidate], choose: Callable[[Iterable[int]], int]) -> int | None:
    """A route passes over models whose context is too small, so its largest counts; a pool may take any member."""
    known = [candidate.context for candidate in candidates if candidate.context]
    return choose(known) if known else None
