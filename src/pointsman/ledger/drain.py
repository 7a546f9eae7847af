"""Moves journals into SQLite: each batch and the place up to which it reached in one transaction."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..core import LedgerError
from .entries import Entry
from .journal import Tail, is_written, journals_in, read_batch, seed_of
from .names import Names
from .purses import process_of, reclaim, settle
from .records import Batch
from .rows import INSERT_BODY, body_row, insert_entries, unpack_id
from .store import Store

BATCH = 512
MUCH = 4 * 1024 * 1024
"""Bytes written ahead, past which they are moved into the ledger's file."""
_BREATH = 0.001
"""Seconds between two batches, for whoever waits for the lock: SQLite lets nobody stand in line."""
_PATIENCE = 2.0
"""Seconds to wait for another process's lock: the journal can wait longer than whoever asked for a flush."""

_PLACE = (
    "INSERT INTO journals (name, drained) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET drained = excluded.drained"
)


class Drainer:
    """Drains the journals of one directory. It belongs to one thread at a time.

    Any number of them, in any processes, may drain the same journals: what one has stored the others pass over.
    """

    def __init__(self, store: Store, directory: Path) -> None:
        self._store = store
        self._directory = directory
        self._connection: sqlite3.Connection | None = None
        self._names: Names | None = None
        self._places: dict[str, int] = {}
        self._patience = _PATIENCE
        self.damaged = 0
        """Stretches that could not be read. Their journals are kept in the directory 'damaged'."""

    def drain(self, *, own: Tail | None = None, living: bool = False) -> int:
        """Stores what is new in `own`, in the journals of dead processes (which are then removed) and, if `living`, in
        those of other processes too. Gives the number of records; raises LedgerError, and then nothing is lost."""
        stored = 0
        newer: list[Path] = []
        try:
            with self._store.explaining("written"):
                self._wait_for_others(_PATIENCE)
                for path in journals_in(self._directory):
                    tail = own if own is not None and own.path == path else None
                    stored += self._drain_file(path, living or tail is not None, tail, newer)
                self._checkpoint()
        except LedgerError:
            self.close()
            raise
        if newer:
            raise LedgerError(
                f"The journal {newer[0]} was written by a newer pointsman. It was left as it is: upgrade to store it."
            )
        return stored

    def drain_tail(self, tail: Tail, limit: int) -> int:
        """Stores up to `limit` of the entries that this process recorded last, and waits for nobody. 0 where there are
        none; and where the file must be read, another process is writing, or anything else is in the way: that is for
        `drain`."""
        connection, names = self._connection, self._names
        if connection is None or names is None or not tail:
            return 0
        try:
            self._wait_for_others(0.0)
            batch = self._store_batch(tail.path, lambda place: tail.take(place, limit))
        except (sqlite3.Error, *_UNSOUND):
            return 0
        return len(batch.records)

    def close(self) -> None:
        connection, self._connection, self._names = self._connection, None, None
        self._places.clear()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _drain_file(self, path: Path, wanted: bool, tail: Tail | None, newer: list[Path]) -> int:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0  # another process has drained it since it was listed
        try:
            dead = _lock(file)
            if not (dead or wanted) or (dead and not os.fstat(file).st_nlink):
                return 0
            stored, is_newer, damaged = self._read(file, path, tail, dead)
            self.damaged += damaged
            if is_newer:
                newer.append(path)
            elif dead:
                self._remove(path)
            return stored
        finally:
            os.close(file)

    def _read(self, file: int, path: Path, tail: Tail | None, dead: bool) -> tuple[int, bool, int]:
        """(records stored, whether a newer pointsman wrote what comes next, damaged stretches)"""
        stored = damaged = 0
        size = os.fstat(file).st_size  # room that is made meanwhile has to wait, or a busy process's journal has no end
        while (place := self._places.get(path.name, 0)) < size and (dead or is_written(file, place)):
            if stored:
                time.sleep(_BREATH)
            from_file = partial(self._from_file, file, path)
            try:
                batch = self._store_batch(path, partial(self._at_hand, tail, from_file))
            except _UNSOUND:  # of an entry that no file holds as it is: what the file holds of it is what counts
                batch = self._store_batch(path, from_file)
            stored += len(batch.records)
            if batch.damaged:
                damaged += batch.damaged
                self._keep_copy(path)
            if batch.newer or not batch.end:
                return stored, batch.newer, damaged
        return stored, False, damaged

    def _from_file(self, file: int, path: Path, place: int) -> Batch:
        return read_batch(file, seed_of(path), place, BATCH)

    def _at_hand(self, tail: Tail | None, from_file: Callable[[int], Batch], place: int) -> Batch:
        batch = tail.take(place, BATCH) if tail is not None else _NOTHING
        return batch if batch.records else from_file(place)

    def _store_batch(self, path: Path, read: Callable[[int], Batch]) -> Batch:
        """`read` gives the records from a place on."""
        connection, names = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute("SELECT drained FROM journals WHERE name = ?", (path.name,)).fetchone()
            place = row[0] if row else 0
            batch = read(place)
            _store(connection, names, batch, process_of(path))
            if batch.end:
                connection.execute(_PLACE, (path.name, place + batch.end))
            connection.execute("COMMIT")
        except BaseException:
            self._names = None
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        self._places[path.name] = place + batch.end
        names.trim()
        return batch

    def _connected(self) -> tuple[sqlite3.Connection, Names]:
        if self._connection is None:
            self._connection = self._store.connect(patience=_PATIENCE)
            self._patience = _PATIENCE
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `_checkpoint`
            self._forget_removed(self._connection)
        if self._names is None:
            self._names = Names(self._connection)
        return self._connection, self._names

    def _wait_for_others(self, seconds: float) -> None:
        """From now on, where another process is writing."""
        if self._connection is not None and seconds != self._patience:
            self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            self._patience = seconds

    def _forget_removed(self, connection: sqlite3.Connection) -> None:
        for (name,) in connection.execute("SELECT name FROM journals").fetchall():
            if not (self._directory / name).exists():
                connection.execute("DELETE FROM journals WHERE name = ?", (name,))
        reclaim(connection, self._directory)

    def _checkpoint(self) -> None:
        """Moves what SQLite has written ahead into its file, once that is much. It waits for the disk."""
        if self._connection is not None and _size(self._store.path.with_name(f"{self._store.path.name}-wal")) > MUCH:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _keep_copy(self, path: Path) -> None:
        """A second name for a damaged journal, under which it outlives its removal."""
        kept = self._directory / "damaged"
        kept.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.link(path, kept / path.name)

    def _remove(self, path: Path) -> None:
        """The file first: were its place forgotten before, a crash between would store everything once more, and bring
        back what was erased since."""
        path.unlink(missing_ok=True)
        self._places.pop(path.name, None)
        connection, _ = self._connected()
        connection.execute("DELETE FROM journals WHERE name = ?", (path.name,))
        reclaim(connection, self._directory)


def _store(connection: sqlite3.Connection, names: Names, batch: Batch, process: str) -> None:
    entries = [record for record in batch.records if isinstance(record, Entry)]
    stored = insert_entries(connection, entries, names)
    if len(entries) < len(batch.records):
        bodies = [body_row(record) for record in batch.records if not isinstance(record, Entry)]
        connection.executemany(INSERT_BODY, bodies)
    paid = [entry for entry in entries if entry.holds]
    if paid and stored < len(entries):
        paid = _newest(connection, paid, stored)
    settle(connection, process, paid)


def _newest(connection: sqlite3.Connection, entries: list[Entry], stored: int) -> list[Entry]:
    """Those of `entries` that are among the `stored` last ones, each attempt once: the others were settled when they
    were stored."""
    rows = connection.execute("SELECT attempt_id FROM entries ORDER BY number DESC LIMIT ?", (stored,))
    new = {unpack_id(attempt_id) for (attempt_id,) in rows}
    first = {entry.attempt_id: entry for entry in reversed(entries)}
    return [entry for entry in first.values() if entry.attempt_id in new]


_NOTHING = Batch((), 0)
_UNSOUND = (TypeError, ValueError, OverflowError, AttributeError)


def is_dead(journal: Path) -> bool:
    """Whether nobody writes to a journal any more, nor drains it."""
    try:
        file = os.open(journal, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return _lock(file)
    finally:
        os.close(file)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _lock(file: int) -> bool:
    """Whether the journal's process is dead, and nobody else drains it: then it is ours until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
