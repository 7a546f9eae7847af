"""Works that run at once on the event loop: what strategies are given for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Self


class LoopGroup:
    """A `strategies.Group` of tasks."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self._heard: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        if exc_info[0] is not None:
            return
        for task, result in zip(self._tasks, results, strict=True):
            if isinstance(result, Exception) and task not in self._heard:
                raise result

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._ended.put_nowait)

    async def next(self) -> None:
        task = await self._ended.get()
        self._heard.add(task)
        task.result()
