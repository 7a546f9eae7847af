"""The thread that drains this process's journal, and those of dead processes, while calls go on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..core import LedgerError
from .drain import Drainer
from .journal import Tail

INTERVAL = 0.25
HELPED_INTERVAL = 1.0
"""Seconds between two drains while somebody stores beside the calls."""
LONGEST_PAUSE = 5.0


class Writer:
    """Drains every quarter of a second; while that fails, ever more rarely, and the journal keeps what comes.

    A thread of Python takes turns with the one that serves calls, and each turn costs both. So whoever serves may call
    `help` between calls: a few entries take less time than the turns that storing them here would take. Then the thread
    is left with what waits: for locks, for the disk, for the journals of the dead.
    """

    def __init__(self, drainer: Drainer, own: Callable[[], Tail | None]) -> None:
        self._drainer = drainer
        self._own = own
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_helped = False
        self.problem: str | None = None
        """Why the last drain failed; None when it did not."""

    @property
    def damaged(self) -> int:
        return self._drainer.damaged

    def start(self) -> None:
        """Once; the thread ends with the process, at any moment: the journal is whole without it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pointsman-ledger", daemon=True)
            self._thread.start()

    def help(self, most: int) -> int:
        """Stores up to `most` entries here and now, and gives their number; 0 where that would mean to wait."""
        self._is_helped = True
        tail = self._own()
        if tail is None or not self._lock.acquire(blocking=False):
            return 0
        try:
            return self._drainer.drain_tail(tail, most)
        finally:
            self._lock.release()

    def flush(self) -> int:
        """Drains everything, the journals of other living processes too, and gives the number of records. Raises
        LedgerError."""
        return self._drain(living=True)

    def close(self) -> None:
        """Stops the thread. Whatever is not drained yet stays in the journals."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._drainer.close()

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self._is_helped = False
                self._drain(living=False)
                pause = HELPED_INTERVAL if self._is_helped else INTERVAL
            except LedgerError:
                pause = min(2 * max(pause, INTERVAL), LONGEST_PAUSE)

    def _drain(self, *, living: bool) -> int:
        with self._lock:
            try:
                stored = self._drainer.drain(own=self._own(), living=living)
            except LedgerError as error:
                self.problem = error.message
                raise
            self.problem = None
            return stored
