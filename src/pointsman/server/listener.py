"""Accepts connections, looks after their times, and drains: the life of a server between its start and its end."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from msgspec.structs import astuple

from .http1 import Connection, Handle, Site
from .times import Times

TICK = 1.0
"""Seconds between two looks at all connections."""
DEFAULT_TIMES = Times()
LAST_WORDS = 5.0
"""Seconds for what is told to stop to say so."""


class Listener:
    """Serves what comes in at one socket. Made within a running loop."""

    def __init__(self, handle: Handle, times: Times = DEFAULT_TIMES) -> None:
        self._site = Site(handle, times)
        self._tick = min(TICK, *(seconds / 4 for seconds in astuple(times)))
        self._ticking: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """`listener` is bound, and listens."""
        loop = asyncio.get_running_loop()
        self._ticking = loop.create_task(self._watch())
        self._server = await loop.create_server(lambda: Connection(self._site), sock=listener)

    def retire(self) -> None:
        """From now on every answer is the last of its connection; idle connections are closed."""
        self._site.is_draining = True
        for connection in tuple(self._site.connections):
            connection.retire()

    async def close(self, longest: float) -> None:
        """Takes no connection any more, and returns when all that goes on has ended: after `longest` seconds it is told
        to, as it is by `hurry`."""
        if self._server is not None:
            self._server.close()
        self.retire()
        if not await self._emptied(longest):
            self.hurry()
            await self._emptied(LAST_WORDS)
        for connection in tuple(self._site.connections):
            connection.abort()
        if self._ticking is not None:
            self._ticking.cancel()

    def hurry(self) -> None:
        """Ends what goes on; its clients are told."""
        for connection in tuple(self._site.connections):
            connection.stop()

    async def _emptied(self, within: float) -> bool:
        if self._site.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._site.empty.wait(), within)
        return not self._site.connections

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            self._site.tick()
