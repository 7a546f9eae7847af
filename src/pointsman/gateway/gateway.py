"""The gateway: what a program, the command line and the server all ask.

    async with Gateway() as gateway:
        reply = await gateway.ask("Write a haiku about points and trains.")
        async for delta in reply: ...

It is an Ask itself: `await gateway(call)`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Self

import uuid_utils
from msgspec import Struct, structs

from ..catalog import Price, PriceBook, shipped_catalog
from ..core import (
    Ask,
    Call,
    Caller,
    Chat,
    Clock,
    Message,
    Needs,
    Priority,
    Reply,
    Text,
    UnknownModel,
    from_usd,
)
from ..endpoints.local import MODELS as LOCAL_MODELS
from ..endpoints.local import installed
from ..endpoints.pool import Member, Pool
from ..ledger import Entry, Ledger
from ..routing import Candidate, Decision, Objective, Outcome, RouteState, learn, preset_chains
from .attempts import Attempts
from .config import read_config
from .connections import Connections
from .discovery import ollama_models
from .environment import Environment, read_environment
from .roster import Model, Roster
from .route import Defaults, Route
from .specs import Config, ModeSpec

REAL_CLOCK = Clock(wall=time.time, steady=time.monotonic)
REFERENCE_MODEL = "gpt-5.5"
"""By the list price of this model the ledger says what local and free answers would have cost."""
REFRESH_SECONDS = 30
"""How long a list of candidates holds before it is made anew: prices are dated, and models come and go."""


class Gateway:
    """Everything put together from a configuration. Used in `async with`, or `open` and `close`."""

    def __init__(
        self,
        config: Config | Path | str | None = None,
        *,
        environment: Environment | None = None,
        clock: Clock = REAL_CLOCK,
        rng: Random | None = None,
    ) -> None:
        """Opens no file but the configuration, and no socket. Raises ConfigError."""
        self.environment = environment or read_environment()
        self.configuration = read_config(config, self.environment)
        self.config = self.configuration.config
        self.clock = clock
        self.ledger = Ledger.open(self.environment.home, keep_bodies=self.config.ledger.bodies)
        self._rng = rng or Random()
        self._state = RouteState()
        self._asks: dict[str, Ask] = {}
        self._names_seen = 0
        self._candidates: tuple[float, list[Candidate]] = (-1e9, [])
        self.prices = PriceBook(shipped_catalog().providers, cache=self.environment.home / "cache")
        self.roster = Roster(self.config, shipped_catalog(), self.prices, self.environment, local=self._local_contexts)
        self.configuration.check(self.roster)
        self._connections = Connections(
            self.config, self.roster.providers, home=self.environment.home, clock=self.clock
        )
        self._attempts = Attempts(
            self.ledger,
            clock=clock,
            new_id=new_id,
            learn=self._learn,
            reference=lambda: self.reference_price,
            keep_features=self.config.ledger.features,
        )

    async def open(self) -> Self:
        """Looks for the Ollama of this machine. Everything else waits for its first use."""
        await self.refresh()
        return self

    async def close(self) -> None:
        await self._connections.close()
        self.ledger.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def refresh(self) -> None:
        """Look again for what may have come or gone on this machine."""
        if self.config.local.ollama and self.config.local.enabled:
            provider = self.roster.providers["ollama"]
            found = await ollama_models(
                provider.base_url,
                lambda: self._connections.transport(self.config.timeouts.connect, direct=provider.is_on_this_machine),
            )
            self.roster.found_ollama(found)
        self._candidates = (-1e9, [])

    async def __call__(self, call: Call) -> Reply:
        """Serve a call. Raises UnknownModel, NoCandidate, or the AttemptError of the last attempt."""
        return await self.find(call.model)(call)

    async def ask(
        self,
        prompt: str | Chat | Sequence[Message],
        *,
        model: str = "auto",
        system: str = "",
        max_tokens: int | None = None,
        temperature: float | None = None,
        stream: bool = True,
        priority: Priority | None = None,
        budget: str | None = None,
        max_latency: float | None = None,
        quality: float | None = None,
        local_only: bool = False,
        task: str = "",
        caller: Caller | None = None,
    ) -> Reply:
        """Ask in plain words. `budget`: US dollars for this call, as a decimal string; `max_latency`: seconds;
        `quality`: 0 to 1."""
        call = self.call(
            as_chat(prompt, system=system, max_tokens=max_tokens, temperature=temperature),
            model=model,
            stream=stream,
            needs=Needs(
                priority=priority,
                max_cost=None if budget is None else from_usd(budget),
                max_latency=max_latency,
                min_quality=quality,
                local_only=local_only,
            ),
            task=task,
            caller=caller,
        )
        return await self(call)

    def call(
        self,
        chat: Chat,
        *,
        model: str = "auto",
        stream: bool = True,
        needs: Needs | None = None,
        task: str = "",
        caller: Caller | None = None,
    ) -> Call:
        """A Call of our own making."""
        return Call(
            id=new_id(),
            model=model,
            chat=chat,
            stream=stream,
            needs=needs or Needs(),
            task=task,
            caller=caller or Caller(),
        )

    def find(self, name: str) -> Ask:
        """The Ask behind a name for `model:`. Raises UnknownModel with the nearest names."""
        ask = self._asks.get(name)
        if ask is None:
            if len(self._asks) >= MOST_NAMES:
                self._asks.clear()
            ask = self._asks[name] = self._make(name)
        return ask

    def decide(self, call: Call) -> Decision:
        """What would be chosen for a call, among all models that have a name here. Calls nothing."""
        route = self.find(call.model)
        if isinstance(route, Route):
            everyone = [model.candidate for model in self._among(self.roster.everyone(), self._patterns(call.model))]
            return route.decide(call, everyone)
        return self._route(_EMPTY_MODE, lambda: [self._model(call.model).candidate]).decide(call)

    def observe(self, observer: Callable[[Entry], None]) -> None:
        """Call `observer` with every entry, as it is recorded."""
        self._attempts.observers.append(observer)

    def listed(self) -> list[Listed]:
        """Every name that `model:` may take and that can serve now: modes first, then pools, then models."""
        models = {model.name: model for model in self.roster.everyone() if not model.unavailable}
        modes = [
            Listed(name, "pointsman", _widest(self._among(models.values(), mode.candidates)), None)
            for name, mode in self.modes.items()
        ]
        pools = [Listed(name, "pointsman", None, None) for name in self.config.pools]
        return [
            *modes,
            *pools,
            *(Listed(m.name, m.provider, m.candidate.context, m.candidate.max_output) for m in models.values()),
        ]

    @cached_property
    def modes(self) -> Mapping[str, ModeSpec]:
        """`auto`, the priorities and `private` as ready modes; those of the configuration win."""
        auto = ModeSpec(candidates=self.config.route.candidates, priority=self.config.route.priority)
        ready = {
            "auto": auto,
            **{name: structs.replace(auto, priority=name) for name in ("performance", "balanced", "frugal")},
            "private": structs.replace(auto, local_only=True),
        }
        return {**ready, **self.config.modes}

    @property
    def reference_price(self) -> Price | None:
        model = self._reference
        return model.quote.listed if model else None

    @cached_property
    def _reference(self) -> Model | None:
        return self.roster.find(REFERENCE_MODEL)

    def _make(self, name: str) -> Ask:
        if name in self.config.pools:
            return self._pool(name)
        if name in self.modes:
            mode = self.modes[name]
            return self._route(mode, lambda: self._available(mode.candidates))
        model = self._model(name)
        return self._attempts.recorded(self._connections.endpoint(model), model)

    def _model(self, name: str) -> Model:
        model = self.roster.find(name)
        if model is None:
            known = [*self.modes, *self.config.pools, *(model.name for model in self.roster.everyone())]
            raise UnknownModel(name, get_close_matches(name, known, 3))
        return model

    def _pool(self, name: str) -> Pool:
        spec = self.config.pools[name]
        members = [Member(member, self.find(member)) for member in spec.members]
        return Pool(name, members, balance=spec.balance, rng=self._rng)

    def _route(self, mode: ModeSpec, candidates: Callable[[], Sequence[Candidate]]) -> Route:
        chains = {**preset_chains(), **self.config.route.chains}
        default: Priority = mode.priority or self.config.route.priority or "frugal"
        policies: dict[Priority, Objective] = {
            priority: Objective(priority, chains) for priority in ("performance", "balanced", "frugal")
        }
        return Route(
            lambda call: policies[call.needs.priority or default],
            candidates,
            self.find,
            state=lambda: self._state,
            rng=self._rng,
            new_id=new_id,
            defaults=Defaults(
                task=mode.task or "",
                max_cost=None if mode.max_cost is None else from_usd(str(mode.max_cost)),
                max_latency=mode.max_latency,
                min_quality=mode.min_quality,
                local_only=mode.local_only,
            ),
        )

    def _available(self, patterns: Sequence[str]) -> list[Candidate]:
        """The candidates that can serve now; made anew every half minute."""
        made, everyone = self._candidates
        if self.clock.steady() - made > REFRESH_SECONDS:
            everyone = [model.candidate for model in self.roster.everyone() if not model.unavailable]
            self._candidates = (self.clock.steady(), everyone)
        if not patterns:
            return everyone
        return [candidate for candidate in everyone if _matches(candidate.name, patterns)]

    def _among(self, models: Iterable[Model], patterns: Sequence[str]) -> list[Model]:
        return [model for model in models if not patterns or _matches(model.name, patterns)]

    def _patterns(self, name: str) -> Sequence[str]:
        mode = self.modes.get(name)
        return mode.candidates if mode else ()

    def _learn(self, outcome: Outcome) -> None:
        self._state = learn(self._state, [outcome])

    def _local_contexts(self) -> Mapping[str, int]:
        return {name: LOCAL_MODELS[name].context for name in installed(self.environment.home)}


class Listed(Struct, frozen=True):
    """A name for `model:`, for a list of models. Tokens; None where nobody knows."""

    name: str
    owner: str
    context: int | None
    max_output: int | None


MOST_NAMES = 1024
"""Names come from callers (`provider/anything`), so what is kept of them is bounded."""

_EMPTY_MODE = ModeSpec()


def new_id() -> str:
    """A UUIDv7 as 32 hexadecimal digits: unique, and in order of time."""
    return uuid_utils.uuid7().hex


def as_chat(
    prompt: str | Chat | Sequence[Message],
    *,
    system: str = "",
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> Chat:
    """A prompt in any of its shapes as a Chat; `system` goes before everything else."""
    if isinstance(prompt, Chat):
        return prompt
    messages = (Message("user", (Text(prompt),)),) if isinstance(prompt, str) else tuple(prompt)
    if system:
        messages = (Message("system", (Text(system),)), *messages)
    return Chat(messages=messages, max_tokens=max_tokens, temperature=temperature)


def _widest(models: Sequence[Model]) -> int | None:
    """The largest context of these: a route passes over models whose context is too small."""
    return max((model.candidate.context or 0 for model in models), default=0) or None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
