"""The thread that drains this process's journal, and those of dead processes, while calls go on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..core import LedgerError
from .drain import Drainer
from .journal import Tail

INTERVAL = 0.25
LONGEST_PAUSE = 5.0


class Writer:
    """Drains every quarter of a second; while that fails, ever more rarely, and the journal keeps what comes."""

    def __init__(self, drainer: Drainer, own: Callable[[], Tail | None]) -> None:
        self._drainer = drainer
        self._own = own
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
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
                self._drain(living=False)
                pause = INTERVAL
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
