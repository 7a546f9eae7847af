"""The gateway: what a program, the command line and the server all ask.

    async with Gateway() as gateway:
        reply = await gateway.ask("Write a haiku about points and trains.")
        async for delta in reply: ...

It is an Ask itself: `await gateway(call)`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Literal, Self

import uuid_utils
from msgspec import structs

from ..catalog import Price, PriceBook, shipped_catalog
from ..core import (
    NO_NEEDS,
    NO_TIMEOUTS,
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
    OverBudget,
    Priority,
    Reply,
    Text,
    Timeouts,
    from_usd,
)
from ..endpoints.gate import guarded
from ..endpoints.local import MODELS as LOCAL_MODELS
from ..endpoints.local import installed
from ..ledger import REAL_CLOCK, Entry, Key, Ledger, SharedState
from ..ledger.budgets import Budgets
from ..routing import NO_FORECAST, Complexity, Decision, RouteState
from ..strategies import Retries
from .alerting import Alerting
from .attempts import Attempts
from .beliefs import Belief, beliefs
from .config import read_config
from .connections import Connections
from .conversations import Conversations
from .directory import Directory, Listed
from .discovery import ollama_models
from .elected import Elected
from .environment import Environment, read_environment
from .forecasts import Forecasts
from .gates import Gates, tokens_of
from .learning import Learning
from .outcomes import Outcomes
from .roster import Model, Roster
from .specs import Config
from .spending import Spending
from .tending import Tending

TOTAL_SECONDS = 600.0
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
        workers: int | None = None,
    ) -> None:
        """Opens no file but the configuration, and no socket. Raises ConfigError.

        `workers`: in how many processes this runs, where that is not as the configuration says.
        """
        rng = rng or Random()
        self.environment = environment or read_environment()
        self.configuration = read_config(config, self.environment)
        self.config = self.configuration.config
        if workers is not None:
            self.config = structs.replace(self.config, server=structs.replace(self.config.server, workers=workers))
        self.clock = clock
        self.ledger = Ledger.open(self.environment.home, keep_bodies=self.config.ledger.bodies)
        self.prices = PriceBook(shipped_catalog().providers, cache=self.environment.home / "cache")
        self.roster = Roster(self.config, shipped_catalog(), self.prices, self.environment, local=self._local_contexts)
        self.configuration.check(self.roster)
        self._connections = Connections(
            self.config, self.roster.providers, home=self.environment.home, clock=self.clock
        )
        self._alerting = Alerting(self.config.alerts.webhook or "", self._connections.transport)
        self.budgets = Budgets(self.ledger, (), clock=clock, tell=self._alerting.tell)
        self._spending = Spending(self.budgets, self.config.budgets)
        self._outcomes = Outcomes(self.ledger, clock.steady)
        self._forecasts = Forecasts(
            self.environment.home, clock, enabled=self.config.learning.enabled, warn=self._alerting.warn
        )
        self._attempts = Attempts(
            self.ledger,
            self._spending,
            clock=clock,
            new_id=new_id,
            reference=lambda: self.reference_price,
            keep_features=self.config.ledger.features,
            outcomes=self._outcomes,
            vector=self._forecasts.vector,
            must_wait=lambda: self._forecasts.is_loading,
        )
        self.learning = Learning(
            self.ledger,
            clock,
            expects=lambda name, prompt: self._directory.expected(name, prompt),
            router=self._forecasts.in_use,
            warn=self._alerting.warn,
            outcomes=self._outcomes,
            enabled=self.config.learning.enabled,
        )
        self._attempts.counters.append(self.learning.add)
        self.state = SharedState(self.environment.home / "state.sqlite", clock)
        self.gates = Gates(self.roster, self.state, clock)
        self._tending = Tending(self.ledger, self.gates, self._connections.answers, self._attempts.tell, self._study)
        self.elected = Elected(self.state)
        self._directory = Directory(
            self.config,
            self.roster,
            self.gates,
            self._guarded,
            retries=Retries(
                clock=clock,
                sleep=asyncio.sleep,
                uniform=rng.uniform,
                total=self.config.timeouts.total or TOTAL_SECONDS,
                most_attempts=self.config.retries.attempts,
                most_rounds=self.config.retries.rounds,
            ),
            ready=self.ready,
            state=self._learnt,
            forecasts=self._forecasts,
            conversations=Conversations(self.state, clock),
            elected=self.elected,
            clock=clock,
            rng=rng,
            new_id=new_id,
        )

    async def open(self) -> Self:
        """Looks for the Ollama of this machine. Everything else waits for its first use."""
        await self.refresh()
        self.gates.refresh()
        self._tending.start()
        return self

    async def close(self) -> None:
        await self._tending.stop()
        await self._record_outcomes()
        self.budgets.close()
        await self._alerting.close()
        await self._connections.close()
        self.state.close()
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
                lambda: self._connections.transport(provider=provider),
            )
            self.roster.found_ollama(found)
        self._directory.forget()

    def meet(self, key: Key) -> None:
        """A key that calls are made with: from now on its budgets hold."""
        self._spending.meet(key)

    async def probe(self) -> None:
        """Ask the providers of endpoints that are out of order, by what costs nothing, whether they are back. It is
        done every ten seconds while the gateway is open."""
        await self._tending.probe()

    async def __call__(self, call: Call) -> Reply:
        """Serve a call. Raises UnknownModel, NoCandidate, OverBudget, or the AttemptError of the last attempt."""
        try:
            return await self._directory.find(call.model, call.needs)(call)
        except OverBudget as error:
            if error.at_limit == "refuse":
                raise
            needs = _costless(call.needs, error.at_limit)
            return await self._directory.find("auto", needs)(call.with_needs(needs, task=call.task))

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
        timeout: float | None = None,
    ) -> Reply:
        """Ask in plain words. `budget`: US dollars for this call, as a decimal string; `max_latency`: seconds, by which
        models are chosen; `timeout`: seconds after which the whole call fails; `quality`: 0 to 1."""
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
            timeout=timeout,
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
        timeout: float | None = None,
    ) -> Call:
        """A Call of our own making. `timeout`: seconds for all of it."""
        if timeout is not None and not 0 < timeout < math.inf:
            raise InvalidCall(f"The timeout is {timeout!r}: seconds, more than 0.", param="timeout")
        return Call(
            id=new_id(),
            model=model,
            chat=chat,
            stream=stream,
            needs=needs or Needs(),
            task=task,
            caller=caller or Caller(),
            timeouts=NO_TIMEOUTS if timeout is None else Timeouts(total=timeout),
        )

    async def ready(self) -> None:
        """Reads in a thread what must be read from files before a call is routed, some 0.1 s. From then on calls that
        name their model are recorded with what learners read in their prompts, too."""
        await self._forecasts.ready()
        await self.learning.ready()

    def find(self, name: str) -> Ask:
        """The Ask behind a name for `model:`. Raises UnknownModel, or NoCandidate where it cannot serve."""
        return self._directory.find(name, NO_NEEDS)

    def decide(self, call: Call, *, learned: bool = True) -> Decision:
        """What would be chosen for a call, among all models that its name stands for. Calls nothing.

        Without `learned` by what is stated of models alone, which is loaded already: that says who may serve a call
        whose choice nothing depends on."""
        return self._directory.decide(call, learned=learned)

    def is_weighed(self, call: Call) -> bool:
        """Whether what is expected of models has a say in who serves a call: not where it names its model, or pool."""
        return self._directory.is_weighed(call)

    def read_vectors(self) -> None:
        """From now on calls that name their model are recorded with what learners read in their prompts, as they are
        after `ready`; but nothing waits for it: what that takes is loaded in a thread, until the first of them ends."""
        if self.config.ledger.features:
            self._forecasts.load_beside()

    def route(
        self, task_type: str, complexity: Complexity, budget: str | None = None, *, local_only: bool = False
    ) -> str:
        """The model for a task whose type is known: the first one along its chain that may serve now. Simple tasks go
        to this machine, then to free tiers, then to what is paid; others the other way round. A task without a chain
        (coding, say) has in each tier the models of `auto`, by what is stated of them for it. `budget`: US dollars a
        call; with "0" nothing is paid. Raises InvalidCall for what is no task, and NoCandidate."""
        needs = Needs(max_cost=None if budget is None else _dollars(budget), local_only=local_only)
        return self._directory.along_chain(task_type, complexity, needs)

    def beliefs(self, task: str = "") -> dict[str, Belief]:
        """What is believed of every model over all prompts, or all of one task. Reads the ledger the first time."""
        state, is_fitted = self._learnt(), self._forecasts.in_use().digest
        forecast = self._forecasts.recall(None) if is_fitted else NO_FORECAST
        candidates = [model.candidate for model in self.roster.everyone()]
        return beliefs(candidates, task, forecast, state, self.learning.fell_at)

    def observe(self, observer: Callable[[Entry], None]) -> None:
        """Call `observer` with every entry, as it is recorded."""
        self._attempts.observers.append(observer)

    def count(self, counter: Callable[[Sequence[Entry]], None]) -> None:
        """Call `counter` with all entries since the last time: ten times a second while the gateway is open, and on
        `tell`."""
        self._attempts.counters.append(counter)

    def tell(self) -> None:
        """Tells those that `count` what they have not heard yet."""
        self._attempts.tell()

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

    def _guarded(self, model: Model) -> Ask:
        """The endpoint of a model: what passes its gate is recorded."""
        recorded = self._attempts.recorded(self._connections.endpoint(model), model)
        return guarded(recorded, self.gates.of(model), tokens_of)

    async def _record_outcomes(self) -> None:
        """Those that nobody has studied yet: most programs end before."""
        if not self._outcomes.is_idle:
            with suppress(LedgerError):  # what cannot be recorded now is lost: it says less than what a person says
                await asyncio.to_thread(self._outcomes.record_all)

    async def _study(self) -> None:
        for model in await asyncio.to_thread(self.learning.study):
            self._alerting.tell_change(model)

    def _learnt(self) -> RouteState:
        self._attempts.tell()
        return self.learning.state

    def _local_contexts(self) -> Mapping[str, int]:
        return {name: LOCAL_MODELS[name].context for name in installed(self.environment.home)}


def new_id() -> str:
    """A UUIDv7 as 32 hexadecimal digits: unique, and in order of time."""
    return uuid_utils.uuid7().hex


def _costless(needs: Needs, at_limit: Literal["free", "local"]) -> Needs:
    """What is left to a caller whose money is spent."""
    return structs.replace(needs, max_cost=Nanos(0), tier="local" if at_limit == "local" else needs.tier)


def _dollars(text: str) -> Nanos:
    try:
        budget = from_usd(text)
    except ValueError as error:
        raise InvalidCall(f"The budget cannot be read: {error}.", param="budget") from None
    if budget < 0:
        raise InvalidCall(f"The budget is {text}, which is less than nothing.", param="budget")
    return budget


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
