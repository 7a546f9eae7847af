"""When a process of the server is to end: signals, and the end of the parent."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class Stop:
    """What signals ask for. The first ends politely, the second at once. Made within a running loop."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.at_once = asyncio.Event()
        self.is_polite = True
        """Told by a supervisor, and not by somebody who waits at a terminal."""
        loop = asyncio.get_running_loop()
        # A terminal that is closed must not cut streams short, either.
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(sign, self._tell, sign)

    def with_parent(self) -> None:
        """The end of the parent, which holds our standard input, counts as a signal, too."""
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._parent_gone)

    async def sleep(self, seconds: float) -> None:
        """Less, where a second signal comes."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.at_once.wait(), seconds)

    async def wait_for(self, ending: Coroutine[Any, Any, None], hurry: Callable[[], None]) -> None:
        """Waits for the end; a second signal hurries it."""
        end = asyncio.create_task(ending)
        signalled = asyncio.create_task(self.at_once.wait())
        await asyncio.wait((end, signalled), return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            hurry()
        signalled.cancel()
        await end

    def _tell(self, sign: signal.Signals) -> None:
        if self.told.is_set():
            self.at_once.set()
        else:
            self.is_polite = sign is not signal.SIGINT
            self.told.set()

    def _parent_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if not self.told.is_set():
            self._tell(signal.SIGTERM)
