"""The gateway: what a program, the command line and the server all ask.

    async with Gateway() as gateway:
        reply = await gateway.ask("Write a haiku about points and trains.")
        async for delta in reply: ...

It is an Ask itself: `await gateway(call)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Self

import uuid_utils

from ..catalog import Price, PriceBook, shipped_catalog
from ..core import (
    NO_NEEDS,
    Ask,
    Call,
    Caller,
    Chat,
    Clock,
    InvalidCall,
    LedgerError,
    Message,
    Nanos,
    Needs,
    Priority,
    Reply,
    Text,
    from_usd,
)
from ..endpoints.local import MODELS as LOCAL_MODELS
from ..endpoints.local import installed
from ..ledger import REAL_CLOCK, Entry, Ledger
from ..routing import Decision, Outcome, RouteState, Seen, learn
from .attempts import Attempts
from .config import read_config
from .connections import Connections
from .directory import Directory, Listed
from .discovery import ollama_models
from .environment import Environment, read_environment
from .roster import Model, Roster
from .specs import Config

MOST_OUTCOMES = 256
REFERENCE_MODEL = "gpt-5.5"
"""By the list price of this model the ledger says what local and free answers would have cost."""


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
        self._state: RouteState | None = None
        self._outcomes: list[Outcome] = []
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
        self._directory = Directory(
            self.config,
            self.roster,
            lambda model: self._attempts.recorded(self._connections.endpoint(model), model),
            state=self._learnt,
            clock=clock,
            rng=rng or Random(),
            new_id=new_id,
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
                lambda: self._connections.transport(self.config.timeouts.connect, proxy=provider.proxy),
            )
            self.roster.found_ollama(found)
        self._directory.forget()

    async def __call__(self, call: Call) -> Reply:
        """Serve a call. Raises UnknownModel, NoCandidate, or the AttemptError of the last attempt."""
        return await self._directory.find(call.model, call.needs)(call)

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
                max_cost=None if budget is None else _dollars(budget),
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
        """The Ask behind a name for `model:`. Raises UnknownModel, or NoCandidate where it cannot serve."""
        return self._directory.find(name, NO_NEEDS)

    def decide(self, call: Call) -> Decision:
        """What would be chosen for a call, among all models that its name stands for. Calls nothing."""
        return self._directory.decide(call)

    def observe(self, observer: Callable[[Entry], None]) -> None:
        """Call `observer` with every entry, as it is recorded."""
        self._attempts.observers.append(observer)

    def listed(self) -> list[Listed]:
        """Every name that `model:` may take and that can serve now: modes first, then pools, then models."""
        return self._directory.listed()

    @property
    def reference_price(self) -> Price | None:
        model = self._reference
        return model.quote.listed if model else None

    @cached_property
    def _reference(self) -> Model | None:
        return self.roster.find(REFERENCE_MODEL)

    def _learn(self, outcome: Outcome) -> None:
        """Kept until somebody asks for the state: most calls name their model, and nobody does."""
        self._outcomes.append(outcome)
        if len(self._outcomes) >= MOST_OUTCOMES:
            self._learnt()

    def _learnt(self) -> RouteState:
        if self._state is None:
            self._state = _remembered(self.ledger)
        if self._outcomes:
            self._state, self._outcomes = learn(self._state, self._outcomes), []
        return self._state

    def _local_contexts(self) -> Mapping[str, int]:
        return {name: LOCAL_MODELS[name].context for name in installed(self.environment.home)}


def new_id() -> str:
    """A UUIDv7 as 32 hexadecimal digits: unique, and in order of time."""
    return uuid_utils.uuid7().hex


def _remembered(ledger: Ledger) -> RouteState:
    """What earlier processes saw. A ledger that cannot be read now is no reason not to serve."""
    try:
        speeds = ledger.queries.speeds()
    except LedgerError:
        return RouteState()
    return RouteState(
        seen={
            speed.model: Seen(
                calls=speed.attempts,
                failed=speed.failed,
                ttft=speed.ttft,
                seconds=speed.seconds,
                timed=speed.ok,
                output_tokens=speed.output_tokens,
            )
            for speed in speeds
        }
    )


def _dollars(text: str) -> Nanos:
    try:
        return from_usd(text)
    except ValueError as error:
        raise InvalidCall(f"The budget cannot be read: {error}.", param="budget") from None


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
