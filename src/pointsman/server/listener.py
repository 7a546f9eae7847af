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
AT_ONCE = 64
"""Connections that are taken in one turn of the loop: the others may be another process's."""
PAUSE = 0.1
"""Seconds for which none is taken when this process has no descriptor left."""
LAST_WORDS = 5.0
"""Seconds for what is told to stop to say so."""
TURNS = 3
"""Of the loop, after which what lay in a socket was read. Else a request that came while this process was busy would be
taken for none, and its connection reset."""


class Listener:
    """Serves what comes in at one socket. Made within a running loop."""

    def __init__(self, handle: Handle, times: Times = DEFAULT_TIMES) -> None:
        self._site = Site(handle, times)
        self._tick = min(TICK, *(seconds / 4 for seconds in astuple(times)))
        self._ticking: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._beginning: set[asyncio.Task[None]] = set()

    async def listen(self, listener: socket.socket) -> None:
        """`listener` is bound, and listens."""
        loop = self._site.loop
        self._ticking = loop.create_task(self._watch())
        listener.setblocking(False)
        self._socket = listener
        loop.add_reader(listener, self._accept)

    async def retire(self) -> None:
        """From now on every answer is the last of its connection; idle connections are closed."""
        self._site.is_draining = True
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for connection in tuple(self._site.connections):
            connection.retire()

    async def close(self, longest: float) -> None:
        """Takes no connection any more, and returns when all that goes on has ended: after `longest` seconds it is told
        to, as it is by `hurry`."""
        self._accept()  # who came before the end is told of it, and not cut off
        listener, self._socket = self._socket, None
        if listener is not None:
            self._site.loop.remove_reader(listener)
            listener.close()
        if self._beginning:
            await asyncio.wait(self._beginning)
        await self.retire()
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

    def _accept(self) -> None:
        """Takes all who wait. The loop's own server takes one in each of its turns: under a load of streams, whose
        pieces make each turn long, newcomers would wait for seconds."""
        for _ in range(AT_ONCE):
            if self._socket is None:
                return
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._site.loop.remove_reader(self._socket)
                self._site.loop.call_later(PAUSE, self._accept_again)
                return
            beginning = self._site.loop.create_task(self._begin(accepted))
            self._beginning.add(beginning)
            beginning.add_done_callback(self._beginning.discard)

    def _accept_again(self) -> None:
        if self._socket is not None:
            self._site.loop.add_reader(self._socket, self._accept)

    async def _begin(self, accepted: socket.socket) -> None:
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._site.loop.connect_accepted_socket(lambda: Connection(self._site), accepted)
        except OSError:  # it has gone already
            accepted.close()

    async def _emptied(self, within: float) -> bool:
        if self._site.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._site.empty.wait(), within)
        return not self._site.connections

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            self._site.tick()
