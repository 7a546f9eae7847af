"""`POST /api/route`: what would be chosen, and why, as `pointsman route` tells it. Nothing is called or recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from ..core import Call, Caller, CallTooLarge, InvalidCall, to_usd
from ..dialects.wire import ABSENT, read_call
from ..gateway import Gateway, as_chat
from ..gateway.foreseen import RouteJson, foresee, route_json
from ..ledger import Key
from ..routing import Complexity
from .admission import check_name
from .door import ModelDoor, Terms
from .exchange import Exchange
from .http import JSON_LINES, json_body, success

MOST_PROMPTS: Final = 256
"""In one body: an answer has some kilobytes for each."""
AUTO: Final = "auto"
"""What `model` is where none is stated."""
PAUSE: Final = 0.005
"""Seconds before each of many: a call that is served meanwhile gets through in one of them, and else would wait for a
decision at each of its own steps."""


class Asked(Struct, frozen=True):
    """The body: one of `prompt`, `prompts`, `messages` (then it is a whole call, in the caller's dialect) and
    `task_type`. Needs are headers, as those of calls are."""

    prompt: str | None = None
    prompts: tuple[str, ...] | None = None
    messages: Raw = ABSENT
    task_type: str | None = None
    """As `Gateway.route` takes it, with `complexity` and `budget`."""
    model: str = AUTO
    max_tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    complexity: Complexity | None = None
    budget: str | float | None = None
    """US dollars."""

    @property
    def what(self) -> str:
        """The field that says what is to be routed. Raises InvalidCall for none, or several."""
        found = [name for name in ("prompt", "prompts", "task_type") if getattr(self, name) is not None]
        if self.messages is not ABSENT:
            found.append("messages")
        if len(found) != 1:
            raise InvalidCall(
                "The body has one of `prompt`, `prompts`, `messages` (a whole call) and `task_type`; it has "
                f"{' and '.join(found) or 'none'}."
            )
        return found[0]


class ChainJson(Struct, frozen=True):
    """What `task_type` is answered with: the first model along its chain that may serve."""

    task: str
    complexity: str
    chosen: str


class RouteDoor:
    def __init__(
        self,
        gateway: Gateway,
        doors: Mapping[str, ModelDoor],
        *,
        authorise: Callable[[Exchange, str], Key],
        dialect: Callable[[Exchange], str],
        max_body: int,
    ) -> None:
        """`doors`, by dialect, read whole calls; `dialect` says which one a caller speaks."""
        self._gateway = gateway
        self._doors = doors
        self._authorise = authorise
        self._dialect = dialect
        self._max_body = max_body

    async def take(self, exchange: Exchange) -> None:
        key = self._authorise(exchange, "read")
        terms = Terms.of(exchange)
        body = await json_body(exchange, self._max_body)
        asked = read_call(_decoder, body)
        match asked.what:
            case "task_type":
                check_name(key, AUTO)  # no model is named
                told: object = self._along_chain(asked, terms)
            case "messages":
                call = self._doors[self._dialect(exchange)].call("", key, terms, body)
                check_name(key, call.model)
                told = await self._foreseen(call)
            case "prompt":
                told = await self._foreseen(self._call(asked.prompt or "", asked, key, terms))
            case _:
                told = [
                    await self._foreseen(self._call(prompt, asked, key, terms), after=PAUSE)
                    for prompt in _bounded(asked.prompts or ())
                ]
        exchange.respond(200, JSON_LINES, success(told))

    async def _foreseen(self, call: Call, *, after: float = 0.0) -> RouteJson:
        """`after`: seconds."""
        await self._gateway.ready()
        await asyncio.sleep(after)
        return route_json(foresee(self._gateway, call))

    def _call(self, prompt: str, asked: Asked, key: Key, terms: Terms) -> Call:
        check_name(key, asked.model)
        return self._gateway.call(
            as_chat(prompt, max_tokens=asked.max_tokens),
            model=asked.model,
            needs=terms.needs,
            task=terms.task,
            caller=Caller(key.id, key.user, terms.session, terms.tags),
        )

    def _along_chain(self, asked: Asked, terms: Terms) -> ChainJson:
        """Raises InvalidCall where no chain is named for the task, and NoCandidate."""
        task, complexity, needs = asked.task_type or "", asked.complexity, terms.needs
        if complexity is None:
            raise InvalidCall(
                '`task_type` needs a `complexity`: "simple", "moderate" or "complex".', param="complexity"
            )
        budget = None if needs.max_cost is None else to_usd(needs.max_cost)
        if asked.budget is not None:
            budget = str(asked.budget)
        chosen = self._gateway.route(task, complexity, budget, local_only=needs.local_only)
        return ChainJson(task, complexity, chosen)


_decoder = msgspec.json.Decoder(Asked)


def _bounded(prompts: tuple[str, ...]) -> tuple[str, ...]:
    if not prompts:
        raise InvalidCall("`prompts` is empty.", param="prompts")
    if len(prompts) > MOST_PROMPTS:
        raise CallTooLarge(f"`prompts` has {len(prompts):,} of them; at most {MOST_PROMPTS} are taken at once.")
    return prompts
