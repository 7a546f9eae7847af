"""The ledger as the other rooms see it: record attempts, ask what happened, keep keys."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..core import Clock, LedgerError
from .drain import Drainer
from .entries import Body, Entry
from .feedback import Feedbacks
from .journal import Journal, Tail
from .keys import KeyRing, Keys
from .queries import Queries
from .states import States
from .store import Store
from .writer import Writer

REAL_CLOCK = Clock(wall=time.time, steady=time.monotonic)


class Ledger:
    """Everything under one home: `ledger.sqlite`, `keys.pepper`, and the journals. Opening it touches no file.

    with Ledger.open(home) as ledger:
        ledger.record(entry)          # in the journal when this returns
        ledger.flush()                # in SQLite too
        ledger.queries.cost("model")
    """

    @classmethod
    def open(
        cls,
        home: Path,
        *,
        keep_bodies: bool = False,
        clock: Clock = REAL_CLOCK,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        return cls(home, keep_bodies=keep_bodies, clock=clock, random_bytes=random_bytes)

    def __init__(self, home: Path, *, keep_bodies: bool, clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        self.home = home
        self.keep_bodies = keep_bodies
        self._clock = clock
        self._random_bytes = random_bytes
        self.store = Store(home / "ledger.sqlite")
        self._pepper = home / "keys.pepper"
        self._journal: Journal | None = None
        self._stem = ""
        self._starting = threading.Lock()
        self._writer = Writer(Drainer(self.store, self.journals), self._own_journal)
        self.queries = Queries(self.store)
        self.feedback = Feedbacks(self.store)
        self.states = States(self.store)
        self.keys = Keys(self.store, self._pepper, wall=clock.wall, random_bytes=random_bytes)

    @property
    def problem(self) -> str | None:
        """Why entries do not reach SQLite at present (they wait in the journal); None while all is well."""
        return self._writer.problem

    @property
    def damaged(self) -> int:
        """Stretches of journals that this process could not read: kept in `journal/damaged` to be looked at."""
        return self._writer.damaged

    @property
    def journals(self) -> Path:
        """The directory in which every process has its journals."""
        return self.home / "journal"

    @property
    def pepper(self) -> Path:
        return self._pepper

    @property
    def process(self) -> str:
        """What the names of this process's journals begin with; '' before `start`."""
        return self._stem

    def start(self) -> None:
        """Makes the journal and starts to drain, once; the first record does it else. Raises LedgerError."""
        if self._journal is not None:
            return
        with self._starting:
            if self._journal is None:
                self._stem = f"{int(self._clock.wall())}-{os.getpid()}-{self._random_bytes(8).hex()}"
                self._journal = Journal(self.journals, self._stem)
                self._writer.start()

    def record(self, entry: Entry) -> None:
        """When this returns, the entry survives the death of the process. Raises LedgerError when it could not be
        written: then the call must not be acknowledged."""
        self._append(entry)

    def record_body(self, body: Body) -> None:
        """Does nothing unless the ledger was opened with `keep_bodies`."""
        if self.keep_bodies:
            self._append(body)

    def help(self, most: int) -> int:
        """Store up to `most` entries here and now, where that needs no waiting; gives their number. A server calls this
        between calls, since the thread that does it else gets in their way."""
        return self._writer.help(most)

    def flush(self) -> int:
        """Drains all journals, those of other processes too, and gives the number of records. Raises LedgerError."""
        return self._writer.flush()

    def key_ring(self) -> KeyRing:
        """For a server: verifies keys in memory. The caller closes it."""
        return KeyRing(self.store, self._pepper, self._clock)

    def close(self) -> None:
        """Drains once more. Where that fails the entries stay in the journal, and the next process stores them."""
        journal = self._journal
        if journal is not None:
            journal.close()
            with suppress(LedgerError):
                self._writer.flush()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _own_journal(self) -> Tail | None:
        return self._journal.tail if self._journal else None

    def _append(self, record: Entry | Body) -> None:
        if self._journal is None:
            self.start()
        assert self._journal is not None, "start() makes it"
        self._journal.append(record)
