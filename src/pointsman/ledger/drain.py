"""Moves journals into SQLite: each batch and the place up to which it reached in one transaction."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from ..core import LedgerError
from .entries import Entry
from .journal import journals_in, read_batch, seed_of
from .records import Batch
from .rows import INSERT_BODY, Names, body_row, entry_row, insert_entries
from .store import Store

BATCH = 500
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
        self.damaged = 0
        """Stretches that could not be read. Their journals are kept in the directory 'damaged'."""

    def drain(self, *, own: Path | None = None, living: bool = False) -> int:
        """Stores what is new in `own`, in the journals of dead processes (which are then removed) and, if `living`, in
        those of other processes too. Gives the number of records; raises LedgerError, and then nothing is lost."""
        stored = 0
        newer: list[Path] = []
        try:
            with self._store.explaining("written"):
                for path in journals_in(self._directory):
                    stored += self._drain_file(path, living or path == own, newer)
        except LedgerError:
            self.close()
            raise
        if newer:
            raise LedgerError(
                f"The journal {newer[0]} was written by a newer pointsman. It was left as it is: upgrade to store it."
            )
        return stored

    def close(self) -> None:
        connection, self._connection, self._names = self._connection, None, None
        self._places.clear()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _drain_file(self, path: Path, wanted: bool, newer: list[Path]) -> int:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0  # another process has drained it since it was listed
        try:
            dead = _lock(file)
            if not (dead or wanted) or (dead and not os.fstat(file).st_nlink):
                return 0
            stored, is_newer, damaged = self._read(file, path)
            self.damaged += damaged
            if is_newer:
                newer.append(path)
            elif dead:
                self._remove(path)
            return stored
        finally:
            os.close(file)

    def _read(self, file: int, path: Path) -> tuple[int, bool, int]:
        """(records stored, whether a newer pointsman wrote what comes next, damaged stretches)"""
        stored = damaged = 0
        while os.fstat(file).st_size != self._places.get(path.name, 0):
            batch = self._store_batch(file, path)
            stored += len(batch.records)
            if batch.damaged:
                damaged += batch.damaged
                self._keep_copy(path)
            if batch.newer or not batch.end:
                return stored, batch.newer, damaged
        return stored, False, damaged

    def _store_batch(self, file: int, path: Path) -> Batch:
        connection, names = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute("SELECT drained FROM journals WHERE name = ?", (path.name,)).fetchone()
            place = row[0] if row else 0
            batch = read_batch(file, seed_of(path), place, BATCH)
            entries = [entry_row(record, names) for record in batch.records if isinstance(record, Entry)]
            bodies = [body_row(record) for record in batch.records if not isinstance(record, Entry)]
            insert_entries(connection, entries)
            connection.executemany(INSERT_BODY, bodies)
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
            self._forget_removed(self._connection)
        if self._names is None:
            self._names = Names(self._connection)
        return self._connection, self._names

    def _forget_removed(self, connection: sqlite3.Connection) -> None:
        for (name,) in connection.execute("SELECT name FROM journals").fetchall():
            if not (self._directory / name).exists():
                connection.execute("DELETE FROM journals WHERE name = ?", (name,))

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


def _lock(file: int) -> bool:
    """Whether the journal's process is dead, and nobody else drains it: then it is ours until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
