"""`serve --workers N`: a parent that holds the socket, and N children that serve from it.

The children are whole programs of their own: nothing is shared but the socket and the files of the home. Each holds one
end of a pipe (its standard input) whose other end is the parent's, so that none outlives it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence

from ..core import PointsmanError
from .stop import Stop

log = logging.getLogger("pointsman.server")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before a worker that died is started again; they double each time."""
STEADY_SECONDS = 60.0
"""One that lived so long has had bad luck, and the pauses begin anew."""


class WorkerFailed(PointsmanError):
    """A worker could not start. It has said why."""

    kind = "worker"


class Workers:
    """So many children, kept alive until a signal comes."""

    def __init__(self, count: int, command: Sequence[str], *, socket: int, ready: Callable[[], None]) -> None:
        """`command` writes a line to standard output once it serves. `ready` is called once all of them do."""
        self._count = count
        self._command = command
        self._socket = socket
        self._ready = ready
        self._children: dict[int, asyncio.subprocess.Process] = {}
        self._serving: set[int] = set()
        self._was_ready = False
        self._failed = False
        self._stopped = asyncio.Event()

    async def run(self, stop: Stop) -> None:
        """Returns once all have ended. Raises WorkerFailed when one cannot even start."""
        keepers = [asyncio.create_task(self._keep(number)) for number in range(self._count)]
        told = asyncio.create_task(self._pass_on(stop))
        await asyncio.gather(*keepers)
        told.cancel()
        if self._failed:
            raise WorkerFailed("A worker could not start; it has said why.")

    async def _pass_on(self, stop: Stop) -> None:
        await stop.told.wait()
        self._stop(signal.SIGTERM if stop.is_polite else signal.SIGINT)
        await stop.at_once.wait()
        self._stop(signal.SIGINT)

    def _stop(self, sign: signal.Signals) -> None:
        self._stopped.set()
        for child in self._children.values():
            if child.returncode is None:
                child.send_signal(sign)

    async def _keep(self, number: int) -> None:
        pause = FIRST_PAUSE
        while not self._stopped.is_set():
            started = asyncio.get_running_loop().time()
            status = await self._live(number)
            if self._stopped.is_set():
                return
            if not self._was_ready:
                self._failed = True
                self._stop(signal.SIGTERM)
                return
            lived = asyncio.get_running_loop().time() - started
            pause = FIRST_PAUSE if lived > STEADY_SECONDS else min(pause * 2, LONGEST_PAUSE)
            log.warning("Worker %d ended with %d, and is started again in %g s.", number + 1, status, pause)
            await self._sleep(pause)

    async def _live(self, number: int) -> int:
        """One life of a child; its exit status."""
        child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._socket,),
            # Ctrl-C at a terminal is told to the whole group: it is ours to pass on.
            start_new_session=True,
        )
        self._children[number] = child
        if self._stopped.is_set():
            child.terminate()
        assert child.stdout is not None, "it is piped"
        if await child.stdout.readline():
            self._serves(number)
        return await child.wait()

    def _serves(self, number: int) -> None:
        self._serving.add(number)
        if len(self._serving) == self._count and not self._was_ready:
            self._was_ready = True
            self._ready()

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return
