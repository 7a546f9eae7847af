"""`GET /api/replay`: recorded traffic decided anew by another policy, as `pointsman replay --json` tells it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ..core import Busy, InvalidCall
from ..gateway import Gateway
from ..gateway.replaying import named_policy, replayed
from ..lab.replay_json import replay_json
from ..ledger import Key, parse_since
from .exchange import Exchange
from .http import JSON_LINES, parameter, success, whole_number

MOST_SECONDS: Final = 5.0
"""Of the thread that a replay runs in: calls that are served meanwhile wait for it now and then."""
MOST_SHOWN: Final = 200
"""Changed decisions in one answer."""
RETRY_AFTER: Final = 2.0
LARGEST_SEED: Final = 2**32 - 1


class ReplayDoor:
    """One replay at a time: each takes a thread, and turns with the one that serves."""

    def __init__(self, gateway: Gateway, *, authorise: Callable[[Exchange, str], Key]) -> None:
        self._gateway = gateway
        self._authorise = authorise
        self._under_way = threading.Lock()

    async def take(self, exchange: Exchange) -> None:
        self._authorise(exchange, "read")
        asked = _read(exchange, self._gateway.clock.wall())
        is_over = threading.Event()
        try:
            body = await asyncio.to_thread(self._replay, asked, is_over)
        finally:
            is_over.set()  # whoever asked has left
        exchange.respond(200, JSON_LINES, body)

    def _replay(self, asked: _Asked, is_over: threading.Event) -> bytes:
        """Raises Busy, LedgerError, and InvalidCall for what takes too long."""
        if not self._under_way.acquire(blocking=False):
            raise Busy("Another replay is under way: one at a time.", retry_after=RETRY_AFTER)
        try:
            result = replayed(
                self._gateway,
                lambda models: named_policy(asked.policy, models),
                since=asked.begin,
                until=asked.end,
                seed=asked.seed,
                show=asked.show,
                going_on=_patience(is_over),
            )
            return success(replay_json(result, asked.since, asked.until))
        finally:
            self._under_way.release()


class _Asked(Struct, frozen=True):
    policy: str
    since: str
    until: str | None
    begin: float
    """Unix seconds, as `end` is."""
    end: float | None
    seed: int
    show: int


def _read(exchange: Exchange, now: float) -> _Asked:
    """What the query asks for. Raises InvalidCall."""
    policy, since, until = (
        parameter(exchange, "policy"),
        parameter(exchange, "since", "30d"),
        parameter(exchange, "until"),
    )
    if not policy:
        raise InvalidCall("`policy` is missing: `?policy=frugal`, say.", param="policy")
    if policy.endswith((".yaml", ".yml")) and not policy.startswith("always:"):
        raise InvalidCall(
            "A policy of one's own is a file, and files are read by `pointsman replay` alone.", param="policy"
        )
    named_policy(policy, ())
    return _Asked(
        policy=policy,
        since=since,
        until=until or None,
        begin=parse_since(since, now),
        end=parse_since(until, now) if until else None,
        seed=whole_number(exchange, "seed", 0, most=LARGEST_SEED),
        show=whole_number(exchange, "show", 0, most=MOST_SHOWN),
    )


def _patience(is_over: threading.Event) -> Callable[[], None]:
    """What raises InvalidCall once it has taken too long, or nobody waits any more. Made in the thread itself."""
    until = time.thread_time() + MOST_SECONDS

    def going_on() -> None:
        if is_over.is_set() or time.thread_time() > until:
            raise InvalidCall(
                f"So much traffic would take longer than the {MOST_SECONDS:g} s that a server has for it. Ask for a "
                "shorter time (`since`, `until`), or run `pointsman replay`, which takes as long as it must.",
                param="since",
            )

    return going_on
