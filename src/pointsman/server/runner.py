"""What answers the exchanges of one connection, as a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .exchange import ClientGone, Exchange


class Runner:
    """One task for all exchanges that come one after the other: to wake it costs a third of what a new one does.

    `crashed` is told of an exchange that ran into a fault of ours. Used while it is idle only: who answers may still
    have something to put in order after the last byte.
    """

    __slots__ = ("is_idle", "_is_last", "_loop", "_crashed", "_task", "_exchange", "_handling", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, crashed: Callable[[Exchange], None]) -> None:
        self.is_idle = True
        self._is_last = False
        self._loop = loop
        self._crashed = crashed
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._handling: Coroutine[Any, Any, None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def run(self, exchange: Exchange, handling: Coroutine[Any, Any, None]) -> None:
        self.is_idle = False
        self._exchange, self._handling = exchange, handling
        waiter = self._waiter
        if waiter is not None:
            waiter.set_result(None)
        else:
            self._task = self._loop.create_task(self._run())

    def retire(self) -> None:
        """What it is busy with is its last: another goes on."""
        self._is_last = True

    def cancel(self) -> None:
        """Ends what is going on, and with its connection gone all of it."""
        if self._handling is not None and self._exchange is not None:  # not begun yet
            self._handling.close()
            self._exchange.abort()
            self._exchange = self._handling = None
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            exchange, handling = self._exchange, self._handling
            assert exchange is not None and handling is not None, "it was woken for one"
            self._exchange = self._handling = None
            await self._answer(exchange, handling)
            if exchange.is_gone or self._is_last:
                return
            del exchange, handling  # an idle connection holds on to nothing
            self._waiter = self._loop.create_future()
            self.is_idle = True
            await self._waiter

    async def _answer(self, exchange: Exchange, handling: Coroutine[Any, Any, None]) -> None:
        try:
            await handling
        except ClientGone:
            return
        except asyncio.CancelledError:
            if not exchange.is_gone and not exchange.is_stopped:
                raise
        except Exception:
            self._crashed(exchange)
        finally:
            if not exchange.is_done:
                exchange.abort()
