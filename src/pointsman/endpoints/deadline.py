"""A time limit on an await: asyncio.timeout at a third of its cost, since every chunk of a stream has one."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from .alarm import set_alarm


class Deadline:
    """`with Deadline(seconds): await …` raises TimeoutError when the time is over before the block is.

    The await inside is cancelled. A cancellation that came from outside goes on as what it is.
    """

    __slots__ = ("_seconds", "_task", "_alarm", "_expired", "_cancelling")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "a deadline is for code that awaits"
        self._task = task
        self._cancelling = task.cancelling()
        self._alarm = set_alarm(self._seconds, self._expire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._alarm.cancel()
        # As in asyncio.timeout: only our own cancellation becomes a TimeoutError, and it is taken back.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
