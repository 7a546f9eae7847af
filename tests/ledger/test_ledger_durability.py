"""No acknowledged attempt is lost or doubled, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from ledger_samples import busy_entry, child, entry, finish, recorded

from pointsman.core import LedgerError
from pointsman.ledger import Ledger
from pointsman.ledger.journal import journals_in, read_batch, read_journal, seed_of


def stored_ids(home: Path) -> list[str]:
    """Attempt ids in SQLite after all journals were drained."""
    with Ledger.open(home) as ledger:
        ledger.flush()
        return [found.attempt_id for found in ledger.queries.entries()]


def journals(home: Path) -> list[Path]:
    return sorted((home / "journal").glob("*.journal"))


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def start_recording(home: Path, said: Path) -> subprocess.Popen[str]:
    """A process that records without end and writes each acknowledged id to `said`; returns after the first one."""
    with said.open("w") as out:
        process = child("record_until_killed", home, stdout=out)
    deadline = time.monotonic() + 30
    while not said.stat().st_size and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    return process


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that holds the ledger's write lock."""
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        ledger.queries.recent()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@pytest.mark.fault(81, "No acknowledged attempt is lost or doubled.")
def test_every_acknowledged_attempt_survives_kill_9(tmp_path: Path) -> None:
    """A crash would lose bills of calls that callers were served."""
    rng = Random(7)
    acknowledged: list[str] = []
    for number in range(8):
        said = tmp_path / f"said-{number}"
        process = start_recording(tmp_path, said)
        time.sleep(rng.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        acknowledged += [line for line in said.read_text().split("\n")[:-1] if line]
    stored = stored_ids(tmp_path)
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert len(stored) <= len(acknowledged) + 8, "at most the one in flight at each kill is more than acknowledged"
    assert journals(tmp_path) == []


def test_a_kill_in_the_midst_of_records_loses_no_acknowledged_one(tmp_path: Path) -> None:
    """A crash under load would lose what was recorded last, or take it for damage."""
    rng = Random(11)
    counter = tmp_path / "counter"
    expected: list[str] = []
    with Ledger.open(tmp_path) as ledger:
        for number in range(6):
            counter.write_bytes(bytes(8))
            process = child("record_without_pause", tmp_path, counter, number * 10**9, 500_000)
            until(lambda: any(counter.read_bytes()))
            time.sleep(rng.random() * 0.2)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=30)
            ledger.flush()
            stored = [found.attempt_id for found in ledger.queries.entries()][len(expected) :]
            (acknowledged,) = struct.unpack("<q", counter.read_bytes())
            assert len(stored) - acknowledged in (0, 1), "at most the one in flight is more than acknowledged"
            expected += [f"{number * 10**9 + one:032x}" for one in range(len(stored))]
        assert [found.attempt_id for found in ledger.queries.entries()] == expected
        assert ledger.damaged == 0
    assert journals(tmp_path) == []


def test_a_reader_never_takes_a_record_that_is_being_written_for_damage(tmp_path: Path) -> None:
    """It would pass over a call that a moment later was whole, if the next one was whole before that."""
    process = child("append_large_and_small", tmp_path, 600, 150_000)
    until(lambda: bool(journals_in(tmp_path)))
    (path,) = journals_in(tmp_path)
    records = place = 0
    with path.open("rb") as opened:
        is_ended = False
        while not is_ended:
            is_ended = process.poll() is not None
            while (batch := read_batch(opened.fileno(), seed_of(path), place, 500)).end:
                assert (batch.damaged, batch.newer) == (0, False)
                records += len(batch.records)
                place += batch.end
    finish(process)
    assert (records, place) == (1200, path.stat().st_size)
    path.unlink()


def test_both_sides_of_a_fork_record(tmp_path: Path) -> None:
    """A library in a process that forks would write over calls that were acknowledged."""
    said = finish(child("record_on_both_sides_of_a_fork", tmp_path, 500)).replace("\n", "")  # lines may run together
    acknowledged = [said[place : place + 32] for place in range(0, len(said), 32)]
    assert len(acknowledged) == 1001
    assert sorted(stored_ids(tmp_path)) == sorted(acknowledged)
    assert journals(tmp_path) == []


def test_processes_that_write_and_drain_at_once_store_each_attempt_once(tmp_path: Path) -> None:
    """Several workers of one server would count money twice, or not at all."""
    writers = [child("record", tmp_path, 1500) for _ in range(2)]
    drainers = [child("drain", tmp_path, 40) for _ in range(2)]
    acknowledged = [line for process in writers for line in finish(process).splitlines()]
    for process in drainers:
        finish(process)
    assert sorted(stored_ids(tmp_path)) == sorted(acknowledged)
    assert len(acknowledged) == 3000


def test_a_reader_sees_what_a_living_process_has_recorded(tmp_path: Path) -> None:
    """`pointsman cost` would lag behind the server."""
    process = start_recording(tmp_path, tmp_path / "said")
    try:
        first = (tmp_path / "said").read_text().split("\n")[:-1]
        assert set(first) <= set(stored_ids(tmp_path))
        assert journals(tmp_path), "the living process keeps its journal"
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.fault(81, "A journal that was cut at any byte gives every whole record.")
def test_a_journal_cut_at_any_byte_gives_every_whole_record(tmp_path: Path) -> None:
    """A torn last record would take the calls before it along."""
    acknowledged = finish(child("record_and_die", tmp_path, 3)).split()
    (journal,) = journals(tmp_path)
    whole = recorded(journal)
    size = len(whole) // 3
    for cut in range(0, len(whole) + 1, 7):
        home = tmp_path / f"cut-{cut}"
        (home / "journal").mkdir(parents=True)
        room = bytes(5000) if cut % 2 else b""
        (home / "journal" / journal.name).write_bytes(whole[:cut] + room)
        with Ledger.open(home) as ledger:
            ledger.flush()
            assert [found.attempt_id for found in ledger.queries.entries()] == acknowledged[: cut // size]
            assert ledger.damaged == 0
        assert journals(home) == []


def test_damage_in_the_middle_costs_only_what_was_damaged(tmp_path: Path) -> None:
    """One bad block would lose the rest of the journal; and the evidence must not be deleted."""
    acknowledged = finish(child("record_and_die", tmp_path, 10)).split()
    (journal,) = journals(tmp_path)
    content = bytearray(recorded(journal))
    size = len(content) // 10
    content[4 * size + size // 2] ^= 0xFF
    content[7 * size + 5] ^= 0xFF  # in the length
    journal.write_bytes(content)
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        stored = [found.attempt_id for found in ledger.queries.entries()]
        assert ledger.damaged == 2
    assert stored == acknowledged[:4] + acknowledged[5:7] + acknowledged[8:]
    assert (tmp_path / "journal" / "damaged" / journal.name).read_bytes() == content
    assert journals(tmp_path) == []


def test_a_block_that_was_never_written_costs_only_its_records(tmp_path: Path) -> None:
    """After a loss of power zeros may stand where records were: what follows them would be taken for empty room."""
    acknowledged = finish(child("record_and_die", tmp_path, 40)).split()
    (journal,) = journals(tmp_path)
    content = bytearray(recorded(journal))
    size = len(content) // 40
    content[10 * size : 20 * size] = bytes(10 * size)
    journal.write_bytes(content + bytes(70_000))
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        stored = [found.attempt_id for found in ledger.queries.entries()]
        assert ledger.damaged == 1
    assert stored == acknowledged[:10] + acknowledged[20:]
    assert journals(tmp_path) == []


def test_rubbish_in_place_of_a_journal_is_survived(tmp_path: Path) -> None:
    """A stray file would keep the ledger from draining anything."""
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "0.journal").write_bytes(Random(1).randbytes(3_000_000))
    (tmp_path / "journal" / "1.journal").write_bytes(b"")
    with Ledger.open(tmp_path) as ledger:
        ledger.record(entry(attempt_id="a" * 32))
        ledger.flush()
        assert [found.attempt_id for found in ledger.queries.entries()] == ["a" * 32]


@pytest.mark.fault(77, "Nothing is acknowledged that is not written; what was stays whole.")
@pytest.mark.parametrize("room", [10_000, 100_000, 300_000])
def test_a_full_disk_refuses_and_keeps_what_was_acknowledged(tmp_path: Path, room: int) -> None:
    """A full disk would pass calls unrecorded, or garble the journal for good; or be called full before it is."""
    process = child("record_in_little_room", tmp_path, room)
    acknowledged = finish(process).split()
    (journal,) = journals(tmp_path)
    size = len(recorded(journal)) // len(acknowledged)
    assert len(acknowledged) >= room // size
    assert sorted(stored_ids(tmp_path)) == sorted(acknowledged)


def test_a_journal_goes_on_where_a_new_one_finds_no_room(tmp_path: Path) -> None:
    """Calls would be refused while there is room for them; or each would leave an empty file."""
    assert finish(child("rotate_in_little_room", tmp_path)) == "1 2"
    assert [len(list(read_journal(path))) for path in journals_in(tmp_path)] == [40, 1]


@pytest.mark.fault(78, "A home that cannot be written is told, with what to do.")
def test_a_directory_that_cannot_be_written_is_refused_clearly(tmp_path: Path) -> None:
    """A server would start that records nothing."""
    (tmp_path / "file").write_text("not a directory")
    ledger = Ledger.open(tmp_path / "file" / "home")
    with pytest.raises(LedgerError, match="POINTSMAN_HOME"):
        ledger.record(entry())
    with pytest.raises(LedgerError, match="POINTSMAN_HOME"):
        ledger.queries.cost()
    ledger.close()


@pytest.mark.fault(79, "Calls are recorded in the journal, and stored when it is free.")
def test_a_locked_database_delays_nothing_and_is_told(tmp_path: Path, locked: sqlite3.Connection) -> None:
    """A backup or a stray shell that holds the database would stop every call."""
    ledger = Ledger.open(tmp_path)
    begun = time.monotonic()
    for number in range(200):
        ledger.record(busy_entry(Random(number), number))
    assert time.monotonic() - begun < 1.9, "the writer waits for the lock; the callers must not"
    with pytest.raises(LedgerError, match="locked"):
        ledger.flush()
    assert ledger.problem is not None and "locked" in ledger.problem
    locked.execute("ROLLBACK")
    ledger.flush()
    assert ledger.problem is None
    assert len(ledger.queries.recent(1000)) == 200
    ledger.close()


def test_where_nothing_is_new_a_locked_database_is_no_matter(tmp_path: Path) -> None:
    """Each look at an idle server would wait for the database, and each idle server keep it busy."""
    with Ledger.open(tmp_path) as own, Ledger.open(tmp_path) as other:
        own.record(entry())
        own.flush()
        other.flush()
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            assert (own.flush(), other.flush()) == (0, 0)


def test_the_writer_drains_by_itself(tmp_path: Path) -> None:
    """The console would show nothing until the server ends."""
    with Ledger.open(tmp_path) as ledger:
        ledger.record(entry())
        deadline = time.monotonic() + 20
        while not ledger.queries.recent() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(ledger.queries.recent()) == 1


def test_an_entry_that_comes_twice_is_stored_once(tmp_path: Path) -> None:
    """A retry of the writer would bill twice."""
    with Ledger.open(tmp_path) as ledger:
        twice = entry()
        ledger.record(twice)
        ledger.record(twice)
        ledger.flush()
        ledger.record(twice)
        ledger.flush()
        assert ledger.queries.recent() == [twice]


def test_only_the_owner_can_read_what_is_written(tmp_path: Path) -> None:
    """Another user of the machine would read who asked what, and the keys' digests."""
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        with Ledger.open(home) as ledger:
            ledger.record(entry())
            ledger.keys.create("mine")
            ledger.flush()
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [home, *home.rglob("*")]}
    finally:
        os.umask(before)
    assert len(modes) > 5
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.fault(109, "A prompt is on disk only when that was asked for (`ledger.bodies`).")
@pytest.mark.parametrize("keep", ["keep", "drop"])
def test_a_prompt_is_on_disk_only_when_asked_for(tmp_path: Path, keep: str) -> None:
    """Private prompts would be stored by default."""
    canary = "canary-7f3a-prompt"
    finish(child("bodies", tmp_path, keep, canary))
    stored_ids(tmp_path)
    found = any(canary.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert found == (keep == "keep")
