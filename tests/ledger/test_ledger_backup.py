"""The ledger is checked, copied while it runs, and put back."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from budget_samples import budgets_of, paid, purses, rule
from ledger_samples import NOON, busy_entry, child, entry, finish, recorded
from msgspec import structs

from pointsman.core import Caller, LedgerError, Nanos
from pointsman.ledger import Entry, Ledger, back_up, restore, verify
from pointsman.ledger.migrations import MIGRATIONS
from pointsman.ledger.store import Store

ANN = Caller(key="ann")


async def filled(home: Path, count: int = 20) -> list[str]:
    """A ledger with entries, a budget and a key; the ids of its attempts."""
    with Ledger.open(home) as ledger:
        budgets = budgets_of(ledger, [rule()])
        ids = []
        for _ in range(count):
            hold = await budgets.reserve(ANN, Nanos(100))
            made = paid(hold, 60)
            ledger.record(made)
            hold.settle(Nanos(60))
            ids.append(made.attempt_id)
        ledger.keys.create("mine")
        budgets.close()
    return ids


def found(home: Path) -> list[str]:
    with Ledger.open(home) as ledger:
        return [f"{one.level}: {one.found} {one.todo}" for one in verify(ledger).findings]


def ids_in(home: Path) -> set[str]:
    with Ledger.open(home) as ledger:
        return {one.attempt_id for one in ledger.queries.entries()}


async def test_a_sound_ledger_is_found_sound(tmp_path: Path) -> None:
    """A check that cries wolf is switched off."""
    ids = await filled(tmp_path)
    with Ledger.open(tmp_path) as ledger:
        ledger.start()
        ledger.record(entry())
        result = verify(ledger)
        assert result.ok and result.findings == ()
        assert result.entries in (len(ids), len(ids) + 1), "the last one may still wait in the journal"
        assert (result.keys, result.purses, result.journals) == (1, 1, 1)
    assert found(tmp_path / "none") == [f"note: There is no ledger {tmp_path / 'none' / 'ledger.sqlite'} yet. "]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE purses SET spent = spent + 1", "wrong: The purse key:ann:month"),
        ("DELETE FROM purses", "wrong: Entries took .* from the purse"),
        ("UPDATE purses SET most = 5", "note: The purse .* limit was lowered"),
        ("INSERT INTO leases VALUES (1, 'gone', 500)", "note: .*leased to the process gone"),
        ("DROP INDEX entries_by_time", "wrong: entries_by_time is missing"),
        ("CREATE TABLE more (x)", "wrong: more is not ours"),
    ],
)
async def test_what_does_not_add_up_is_found(tmp_path: Path, damage: str, says: str) -> None:
    """Money would be missing, and nobody would know."""
    await filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as connection:
        connection.execute(damage)
    (finding,) = found(tmp_path)
    assert re.match(says, finding)


def test_what_a_killed_process_left_is_no_damage(tmp_path: Path) -> None:
    """The user would restore a backup after every crash."""
    acknowledged = finish(child("record_and_die", tmp_path, 10)).split()
    with Ledger.open(tmp_path) as ledger:
        result = verify(ledger)
    assert (result.ok, result.journals, result.waiting) == (True, 1, len(acknowledged))


@pytest.mark.fault(80, "`pointsman ledger verify` finds it.")
async def test_damaged_files_are_found(tmp_path: Path) -> None:
    """The user would learn of a broken disk when it is too late."""
    await filled(tmp_path, 300)
    acknowledged = finish(child("record_and_die", tmp_path, 10)).split()
    (journal,) = (tmp_path / "journal").glob("*.journal")
    content = bytearray(recorded(journal))
    content[len(content) // 2] ^= 0xFF
    journal.write_bytes(content)
    (tmp_path / "keys.pepper").unlink()
    findings = found(tmp_path)
    assert len(findings) == 2
    assert "1 stretches that cannot be read" in findings[0] and "1 keys can't be verified" in findings[1]
    with Ledger.open(tmp_path) as ledger:
        assert verify(ledger).waiting == len(acknowledged) - 1
    path = tmp_path / "ledger.sqlite"
    pages = bytearray(path.read_bytes())
    pages[8192:16384] = Random(3).randbytes(8192)
    path.write_bytes(pages)
    assert any("damaged" in one or "malformed" in one for one in found(tmp_path))
    assert any("restore" in one for one in found(tmp_path))


def test_a_backup_is_taken_while_the_ledger_runs_and_put_back(tmp_path: Path) -> None:
    """A backup would be half a ledger, or keys would be void after it was put back."""
    home, file = tmp_path / "home", tmp_path / "backup.sqlite"
    ledger = Ledger.open(home)
    text, _ = ledger.keys.create("mine")
    stop = threading.Event()
    recorded: list[str] = []

    def record() -> None:
        while not stop.is_set():
            made = entry()
            ledger.record(made)
            recorded.append(made.attempt_id)
            time.sleep(0.001)

    thread = threading.Thread(target=record)
    thread.start()
    time.sleep(0.3)
    before = list(recorded)
    taken = back_up(ledger, file)
    stop.set()
    thread.join()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [file.name]
    with pytest.raises(LedgerError, match="stop"):
        restore(home, file)
    ledger.close()

    other = tmp_path / "other"
    assert restore(other, file).entries == taken.entries
    assert set(before) <= ids_in(other) <= set(recorded)
    assert found(other) == []
    with Ledger.open(other) as restored, closing(restored.key_ring()) as ring:
        assert ring.verify(text) is not None
    with closing(sqlite3.connect(other / "ledger.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    (home / "ledger.sqlite").write_text("ruined")
    kept = restore(home, file).kept
    assert kept is not None and kept.read_text() == "ruined"
    assert ids_in(home) == ids_in(other)
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in other.rglob("*")}
    assert modes == {0}


@pytest.mark.fault(
    80, "`pointsman ledger restore` puts a backup in its place, keeps the damaged file, and stores the journals again."
)
async def test_a_restore_keeps_the_old_ledger_and_stores_journals_again(tmp_path: Path) -> None:
    """Restoring the wrong file would be the end of the right one."""
    home, file = tmp_path / "home", tmp_path / "backup.sqlite"
    old = await filled(home)
    with Ledger.open(home) as ledger:
        back_up(ledger, file)
    newer = await filled(home)
    late = finish(child("record_and_die", home, 5)).split()
    kept = restore(home, file).kept
    assert kept is not None
    with Ledger.open(home) as ledger:
        ledger.flush()
    assert ids_in(home) == {*old, *late}
    assert found(home) == []
    restore(home, kept)
    assert {*old, *newer} <= ids_in(home)


@pytest.mark.parametrize("kind", ["missing", "text", "cut", "page", "foreign", "newer"])
async def test_what_is_no_backup_is_refused_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    """A ledger would be replaced by rubbish."""
    home, file = tmp_path / "home", tmp_path / "backup.sqlite"
    await filled(home, 300)
    with Ledger.open(home) as ledger:
        back_up(ledger, file)
    content = bytearray(file.read_bytes())
    if kind == "missing":
        file.unlink()
    elif kind == "text":
        file.write_text("Dear diary, " * 1000)
    elif kind == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif kind == "page":
        content[8192:12288] = Random(1).randbytes(4096)
        file.write_bytes(content)
    elif kind == "foreign":
        file.unlink()
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
    else:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version=99")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(LedgerError):
        restore(home, file)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


async def test_a_ledger_that_another_process_has_open_is_not_replaced(tmp_path: Path) -> None:
    """The other one would go on writing into a file that is gone."""
    home, file = tmp_path / "home", tmp_path / "backup.sqlite"
    await filled(home)
    with Ledger.open(home) as ledger:
        back_up(ledger, file)
    with closing(sqlite3.connect(home / "ledger.sqlite")) as reader:
        reader.execute("SELECT count(*) FROM entries").fetchone()
        with pytest.raises(LedgerError, match="open: stop it"):
            restore(home, file)
    process = child("record_until_killed", home)
    assert process.stdout is not None and process.stdout.readline()
    with pytest.raises(LedgerError, match="stop the server"):
        restore(home, file)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    restore(home, file)


async def test_a_backup_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    """A full disk would cost the ledger's last copy."""
    home, file = tmp_path / "home", tmp_path / "backup.sqlite"
    await filled(home, 300)
    with Ledger.open(home) as ledger:
        back_up(ledger, file)
        before = file.read_bytes()
        with pytest.raises(LedgerError, match="backup"):
            back_up(ledger, tmp_path / "no" / "such" / "directory" / "file")
        finish(child("back_up_in_little_room", home, file, 20_000))
    assert file.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["backup.sqlite", "home"]


def test_a_version_1_ledger_migrates_with_its_rows(tmp_path: Path) -> None:
    """An upgrade would lose the bills of the past, or the keys."""
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(Path(__file__).with_name("ledger_v1.sql").read_text())
    path.chmod(0o600)
    with Ledger.open(tmp_path) as ledger:
        stored = {one.attempt_id: one for one in ledger.queries.entries()}
        assert len(stored) == 4
        for number in range(3):
            made = busy_entry(Random(number), number)
            read = stored[made.attempt_id]
            assert structs.replace(read, candidates=()) == structs.replace(made, candidates=())
            assert [one.model for one in read.candidates] == [one.model for one in made.candidates]
            assert read.candidates[4:] == made.candidates[4:], "the rejected ones"
        assert ledger.queries.body("a" * 32) is not None
        assert [key.name for key in ledger.keys.list()] == ["mine"]
        ledger.record(entry(holds=("x",), held=Nanos(7), cost=None))
        ledger.flush()
        assert {numbers[1] for numbers in purses(tmp_path).values()} == {7}
        assert len(ledger.queries.recent()) == 5
    assert (tmp_path / "ledger.v1.backup").exists()


def test_a_version_3_ledger_migrates_with_unknown_numbers_and_purses(tmp_path: Path) -> None:
    """An upgrade would take unknown costs for free, or forget what was taken from a budget."""
    path = tmp_path / "ledger.sqlite"
    with closing(Store(path, migrations=MIGRATIONS[:3]).connect()) as connection:
        for word in ("a", "ok", "failed", '["x"]'):
            connection.execute("INSERT INTO names (text) VALUES (?)", (word,))
        insert = (
            "INSERT INTO entries (attempt_id, at, model, status, seconds, holds, held) VALUES (?, ?, 1, ?, 1.5, ?, ?)"
        )
        connection.execute(insert, ("first", NOON, 3, 4, 7))
        connection.execute(insert, ("second", NOON + 1, 2, None, None))
    with Ledger.open(tmp_path) as ledger:
        first, second = ledger.queries.entries()
        (row,) = ledger.queries.cost("model")
    plain = Entry(
        attempt_id="first",
        call_id="",
        at=NOON,
        model="a",
        endpoint="",
        provider="",
        status="failed",
        seconds=1.5,
        op="",
    )
    assert first == structs.replace(plain, holds=("x",), held=Nanos(7))
    assert second == structs.replace(plain, attempt_id="second", at=NOON + 1, status="ok")
    assert (row.group, row.calls, row.attempts, row.ok, row.unknown_costs) == ("a", 0, 2, 1, 2)
