"""The ledger's SQLite file: opened privately, checked to be ours, and brought up to date."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ..core import LedgerError
from .migrations import MIGRATIONS

APPLICATION_ID = 0x504D4C47  # "PMLG"

Migration = Callable[[sqlite3.Connection], None]


class Store:
    """Gives connections to the ledger at `path`, which is made or migrated when the first one is asked for."""

    def __init__(self, path: Path, *, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self.path = path
        self._migrations = migrations

    def connect(self, *, patience: float = 5.0) -> sqlite3.Connection:
        """A connection in autocommit; the caller closes it. `patience`: seconds to wait for another's lock.

        Raises LedgerError when the file cannot be opened, is not ours, or was written by a newer pointsman.
        """
        with self.explaining("opened"):
            create_privately(self.path)
            connection = sqlite3.connect(
                self.path, timeout=patience, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            try:
                if not self._is_current(connection):
                    self._migrate(connection)
                connection.execute("PRAGMA synchronous=NORMAL")
            except BaseException:
                connection.close()
                raise
            return connection

    @contextmanager
    def explaining(self, done: str) -> Iterator[None]:
        """Raises what SQLite and the file system say as a LedgerError: 'could not be `done`'."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"The ledger {self.path} could not be {done}: {error}. {_advice(error)}") from error

    def _is_current(self, connection: sqlite3.Connection) -> bool:
        """In this order: both are set in one transaction, which may end between the two looks."""
        return (
            _pragma(connection, "user_version") == len(self._migrations)
            and _pragma(connection, "application_id") == APPLICATION_ID
        )

    def version(self, connection: sqlite3.Connection) -> int:
        """The schema's version, 0 for an empty file; nobody may be migrating. Raises LedgerError for a file that is
        not a ledger of ours, or is of a newer version."""
        version = _pragma(connection, "user_version")
        application = _pragma(connection, "application_id")
        if application != APPLICATION_ID:
            if application or version or connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise LedgerError(
                    f"{self.path} is a database, but not a ledger of pointsman; it was left as it is. Move it away, or "
                    "let POINTSMAN_HOME name another directory."
                )
            return 0
        if version > len(self._migrations):
            raise LedgerError(
                f"The ledger {self.path} has schema {version}; this pointsman knows it up to {len(self._migrations)}. "
                "It was left as it is: upgrade pointsman, or let POINTSMAN_HOME name another directory."
            )
        return version

    def _migrate(self, connection: sqlite3.Connection) -> None:
        with alone(self.path.with_suffix(".lock")):
            found = self.version(connection)
            if found == len(self._migrations):
                return
            if found:
                self._back_up(connection, found)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN EXCLUSIVE")
            try:
                for migrate in self._migrations[found:]:
                    migrate(connection)
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={len(self._migrations)}")
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def _back_up(self, connection: sqlite3.Connection, version: int) -> None:
        kept = self.path.with_name(f"{self.path.stem}.v{version}.backup")
        partial = kept.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        create_privately(partial)
        with closing(sqlite3.connect(partial)) as copy:
            connection.backup(copy)
        partial.replace(kept)


def create_privately(path: Path) -> None:
    """Makes an empty file that only its owner can read. An existing one is not touched, nor even opened: closing it
    would drop the locks that SQLite holds on it in this process."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While it lasts, no other process is in here with the same lock file."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction, which nobody else's comes between: all that is written in it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _advice(error: sqlite3.Error | OSError) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return "Another process holds it: try again when that is done."
    if "not a database" in text or "malformed" in text:
        return "Move the file away (a new one is made), or put a backup in its place."
    if "full" in text or "No space" in text:
        return "Free some space there."
    return "Check that its directory exists and can be written, or let POINTSMAN_HOME name another one."
