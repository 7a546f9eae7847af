"""The SQLite file: made once, migrated once, never taken over from somebody else."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from ledger_samples import busy_entry, child, entry, finish

from pointsman.core import LedgerError
from pointsman.ledger import Ledger
from pointsman.ledger.migrations import MIGRATIONS
from pointsman.ledger.store import Store

MIGRATE = """
import sys
from pathlib import Path
from pointsman.ledger.migrations import MIGRATIONS
from pointsman.ledger.store import Store

def add_table(connection):
    connection.execute("CREATE TABLE later (at REAL)")
    connection.execute("INSERT INTO later VALUES (1)")

path = Path(sys.argv[1])
while not (path.parent / "go").exists():
    pass
with_more = (*MIGRATIONS, add_table) if sys.argv[2] == "more" else MIGRATIONS
Store(path, migrations=with_more).connect().close()
"""


def add_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE later (at REAL)")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE half (at REAL)")
    connection.execute("SELECT nonsense")


@pytest.mark.fault(87, "One migrates, the others wait for it.")
@pytest.mark.parametrize("what", ["first", "budgets", "more"])
def test_processes_that_start_at_once_migrate_once(tmp_path: Path, what: str) -> None:
    """Two workers that start after an upgrade would both change the schema, and one of them would fail."""
    path = tmp_path / "ledger.sqlite"
    if what != "first":
        Store(path, migrations=MIGRATIONS if what == "more" else MIGRATIONS[:1]).connect().close()
    started = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, str(path), what], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    assert [process.communicate(timeout=60)[1] for process in started] == [""] * 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        if what == "more":
            assert connection.execute("SELECT count(*) FROM later").fetchone() == (1,)


def test_a_migration_keeps_a_backup_and_the_data(tmp_path: Path) -> None:
    """An upgrade that goes wrong would take the ledger along."""
    with Ledger.open(tmp_path) as ledger:
        ledger.record(entry(attempt_id="a" * 32))
    path = tmp_path / "ledger.sqlite"
    with closing(Store(path, migrations=(*MIGRATIONS, add_table)).connect()) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    backup = tmp_path / f"ledger.v{len(MIGRATIONS)}.backup"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with closing(Store(backup).connect()) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The ledger would be left between two versions, of use to neither."""
    path = tmp_path / "ledger.sqlite"
    Store(path).connect().close()
    with pytest.raises(LedgerError, match="nonsense"):
        Store(path, migrations=(*MIGRATIONS, fail)).connect()
    with closing(Store(path).connect()) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'half'").fetchone() is None


@pytest.mark.fault(86, "It is refused with both versions, and left as it is.")
def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    """A downgrade would write rows that the newer version cannot read."""
    path = tmp_path / "ledger.sqlite"
    Store(path, migrations=(*MIGRATIONS, add_table)).connect().close()
    before = path.read_bytes()
    with Ledger.open(tmp_path) as ledger:
        known = len(MIGRATIONS)
        with pytest.raises(LedgerError, match=rf"schema {known + 1}.*up to {known}.*upgrade"):
            ledger.queries.cost()
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["sqlite", "text"])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, kind: str) -> None:
    """Another program's database would get our tables, or be overwritten."""
    path = tmp_path / "ledger.sqlite"
    if kind == "sqlite":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
            connection.commit()
    else:
        path.write_text("Dear diary, " * 100)
    before = path.read_bytes()
    with Ledger.open(tmp_path) as ledger:
        with pytest.raises(LedgerError, match="not a"):
            ledger.queries.recent()
        ledger.record(entry())
        with pytest.raises(LedgerError, match="not a"):
            ledger.flush()
        assert ledger.problem is not None
    assert path.read_bytes() == before


@pytest.mark.fault(80, "It is told as damaged, with what to do.")
def test_a_damaged_page_is_told_as_such(tmp_path: Path) -> None:
    """A traceback from SQLite would leave the user without a way out."""
    with Ledger.open(tmp_path) as ledger:
        for number in range(300):
            ledger.record(busy_entry(Random(number), number))
    path = tmp_path / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    content[8192 : len(content)] = Random(3).randbytes(len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="malformed.*backup"):
        Ledger.open(tmp_path).queries.recent()


def test_rows_are_small(tmp_path: Path) -> None:
    """A million calls a day would fill the disk with what is said over and over."""
    count = 4000
    with Ledger.open(tmp_path) as ledger:
        rng = Random(5)
        for number in range(count):
            ledger.record(busy_entry(rng, number))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (tmp_path / "ledger.sqlite").stat().st_size / count
    assert size <= 500, f"{size:.0f} bytes a row"


def test_what_entries_share_is_stored_once(tmp_path: Path) -> None:
    """Every call would write the same two dozen words, and the calls would wait for it."""
    with Ledger.open(tmp_path) as ledger:
        for number in range(100):
            ledger.record(
                entry(user=f"user-{number}", session=f"session-{number}", status=("ok", "failed")[number % 2])
            )
        ledger.flush()
        with closing(ledger.store.connect()) as connection:
            found = connection.execute("SELECT model, status FROM contexts ORDER BY status").fetchall()
    assert found == [("gpt-5-mini", "failed"), ("gpt-5-mini", "ok")]


def test_opening_touches_no_file(tmp_path: Path) -> None:
    """`pointsman --help` would leave a directory behind, and fail on a read-only machine."""
    home = tmp_path / "home"
    Ledger.open(home).close()
    assert not home.exists()


def test_a_ledger_drained_by_one_process_is_read_by_another(tmp_path: Path) -> None:
    """`pointsman cost` would show nothing of what `pointsman ask` did."""
    acknowledged = finish(child("record", tmp_path, 5)).split()
    found = Ledger.open(tmp_path).queries.recent()
    assert sorted(one.attempt_id for one in found) == sorted(acknowledged)
