"""What goes on beside the calls: storing their entries, hearing what other processes found out, and asking endpoints
that are out of order, by what costs nothing, whether they are back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..ledger import Ledger
from .gates import Gates

EVERY = 0.1
"""Seconds between two turns, in which entries are stored."""
PIECE = 256
"""Entries that are stored at once. Of 64 each takes half as long again, since a transaction costs as much as 20."""
MOST_PIECES = 16
REFRESH_EVERY = 0.5
"""Seconds between two looks at what others found out."""
STUDY_EVERY = 2.0
"""Seconds between two looks at what was graded."""
PROBE_EVERY = 10.0
"""Seconds between two questions to an endpoint that is out of order. One that works, or lies idle, is never asked."""


class Tending:
    """A task for as long as the gateway is open. `answers(provider)` asks for its list of models, which is free; `tell`
    lets those who count entries hear of them; `study` learns from grades."""

    def __init__(
        self,
        ledger: Ledger,
        gates: Gates,
        answers: Callable[[str], Awaitable[bool]],
        tell: Callable[[], None],
        study: Callable[[], Awaitable[None]],
    ) -> None:
        self._ledger = ledger
        self._gates = gates
        self._answers = answers
        self._tell = tell
        self._study = study
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._tend(), name="pointsman-tending")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _tend(self) -> None:
        turns = 0
        while True:
            await asyncio.sleep(EVERY)
            turns += 1
            self._tell()
            await self._store()
            if turns % round(REFRESH_EVERY / EVERY) == 0:
                self._gates.refresh()
            if turns % round(STUDY_EVERY / EVERY) == 0:
                await self._study()
            if turns % round(PROBE_EVERY / EVERY) == 0:
                await self.probe()

    async def _store(self) -> None:
        """What has gathered since the last turn, in pieces of a millisecond: calls come first."""
        for _ in range(MOST_PIECES):
            if self._ledger.help(PIECE) < PIECE:
                return
            await asyncio.sleep(0)

    async def probe(self) -> None:
        """Each provider that has an endpoint out of order is asked once; where it answers, the next call may try."""
        out_of_order = [gate for gate in self._gates.everyone() if gate.breaker.is_open]
        for provider in {gate.name.partition("/")[0] for gate in out_of_order}:
            if await self._answers(provider):
                for gate in out_of_order:
                    if gate.name.startswith(f"{provider}/"):
                        gate.probed()
