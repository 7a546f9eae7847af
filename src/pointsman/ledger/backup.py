"""The ledger checked, copied while it runs, and put back.

A backup is one SQLite file, for its owner only, with the pepper of the keys in it: without it every key would be void,
and keys of 256 random bits cannot be guessed from their digests with a pepper or without. Entries that lie in journals
are stored first, so that a backup holds what was acknowledged before it was begun.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from ..core import LedgerError
from .drain import is_dead
from .journal import journals_in
from .keys import read_pepper
from .ledger import Ledger
from .store import Store, alone, create_privately


class Backup(Struct, frozen=True):
    path: Path
    bytes: int
    entries: int


class Restored(Struct, frozen=True):
    entries: int
    kept: Path | None
    """Where the ledger lies that was replaced; None where there was none."""


def back_up(ledger: Ledger, file: Path) -> Backup:
    """A copy of the ledger at `file`, whole or not at all; one that is there is replaced. Raises LedgerError."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    with _explaining(file, "written"):
        if not file.parent.is_dir():
            raise LedgerError(f"The backup {file} cannot be written: there is no directory {file.parent}.")
        ledger.flush()
        try:
            partial.unlink(missing_ok=True)
            create_privately(partial)
            with closing(ledger.store.connect()) as source, closing(_opened(partial)) as copy:
                source.backup(copy)
                copy.execute("CREATE TABLE backup (at REAL NOT NULL, pepper BLOB)")
                copy.execute("INSERT INTO backup VALUES (?, ?)", (time.time(), read_pepper(ledger.pepper)))
                entries = _count(copy)
            _to_disk(partial)
            partial.replace(file)
            _to_disk(file.parent)
        finally:
            partial.unlink(missing_ok=True)
    return Backup(file, file.stat().st_size, entries)


def restore(home: Path, file: Path) -> Restored:
    """Puts a backup in the place of the ledger under `home`, which is kept beside it with its pepper.

    `file` is checked first. What was recorded after the backup is only in the ledger that is kept, but for what still
    lies in journals, which is stored again. Raises LedgerError: then nothing was changed.
    """
    path, pepper = home / "ledger.sqlite", home / "keys.pepper"
    partial = home / f".restore.{os.getpid()}.partial"
    with _explaining(file, "restored"):
        if not file.is_file():
            raise LedgerError(f"There is no backup {file}.")
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            partial.unlink(missing_ok=True)
            create_privately(partial)
            shutil.copyfile(file, partial)
            entries, kept_pepper = _checked(partial, file)
            _to_disk(partial)
            with alone(path.with_suffix(".lock")), _unused(home, path):
                kept = _kept_beside(path) if path.exists() else None
                if kept_pepper is not None:
                    _put_pepper(pepper, kept_pepper, kept)
                partial.replace(path)
                _to_disk(home)
        finally:
            partial.unlink(missing_ok=True)
    return Restored(entries, kept)


def _checked(partial: Path, file: Path) -> tuple[int, bytes | None]:
    """(entries, pepper) of a copy of a backup, which is made into a ledger. Raises LedgerError for anything else."""
    try:
        with closing(_opened(partial)) as copy:
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise LedgerError(f"The backup {file} is damaged ({found}); nothing was changed. Try an older one.")
            Store(file).version(copy)
            pepper = None
            if copy.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'backup'").fetchone()[0]:
                pepper = copy.execute("SELECT pepper FROM backup").fetchone()[0]
                copy.execute("DROP TABLE backup")
            copy.execute("PRAGMA journal_mode=WAL")
            return _count(copy), pepper
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"The backup {file} cannot be read ({error}); nothing was changed. Try an older one."
        ) from error


@contextmanager
def _unused(home: Path, path: Path) -> Iterator[None]:
    """While it lasts nobody else can write to the ledger. Raises LedgerError where another process has it open."""
    for journal in journals_in(home / "journal"):
        if not is_dead(journal):
            raise LedgerError(f"A process records into {journal}: stop the server and whatever else uses {home} first.")
    if not path.exists():
        yield
        return
    with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
        try:
            # Only whoever is alone may leave WAL mode; the WAL is then in the file, and the file is all there is.
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise LedgerError(f"Another process has {path} open: stop it first.") from error
            raise
        except sqlite3.DatabaseError:
            pass  # damaged: that is why it is to be replaced
        yield


def _kept_beside(path: Path) -> Path:
    """A second name for the ledger that is replaced; what belongs to it moves along."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    kept, number = path.with_name(f"{path.stem}.before-{stamp}.sqlite"), 1
    while kept.exists():
        kept, number = path.with_name(f"{path.stem}.before-{stamp}-{number}.sqlite"), number + 1
    os.link(path, kept)
    for ending in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).replace(kept.with_name(kept.name + ending))
    return kept


def _put_pepper(pepper: Path, content: bytes, kept: Path | None) -> None:
    if pepper.exists():
        if pepper.read_bytes() == content:
            return
        pepper.replace(kept.with_suffix(".pepper") if kept else pepper.with_suffix(".before"))
    partial = pepper.with_name(f"{pepper.name}.partial")
    partial.unlink(missing_ok=True)
    create_privately(partial)
    partial.write_bytes(content)
    _to_disk(partial)
    partial.replace(pepper)


@contextmanager
def _explaining(file: Path, done: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"The backup {file} could not be {done}: {error}. Nothing was changed.") from error


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])


def _to_disk(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
