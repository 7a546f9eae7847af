"""The journal as a file: rotation, large records, forged ones, newer ones."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from random import Random
from typing import get_args
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import NOON, entry
from msgspec import structs

from pointsman.core import Finish, LedgerError, Nanos, Usage, Weighed
from pointsman.ledger import Body, Entry, Ledger
from pointsman.ledger.journal import Journal, journals_in, read_journal, seed_of
from pointsman.ledger.records import HEADER_SIZE, MAX_PAYLOAD, frame, parse

WORDS = st.text(max_size=12)
COUNT = st.integers(0, 2**40)
AMOUNT = st.none() | st.integers(0, 2**53).map(Nanos)
REAL = st.floats(0, 1e9)
ENTRIES = st.builds(
    Entry,
    attempt_id=st.text(min_size=1, max_size=40) | st.binary(min_size=16, max_size=16).map(bytes.hex),
    call_id=WORDS,
    at=REAL,
    model=WORDS,
    endpoint=WORDS,
    provider=WORDS,
    status=st.sampled_from(["ok", "broken", "failed", "cancelled"]),
    seconds=REAL,
    ttft=st.none() | REAL,
    dialect=WORDS,
    op=WORDS,
    stream=st.booleans(),
    usage=st.none() | st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, st.booleans(), WORDS),
    cost=AMOUNT,
    list_cost=AMOUNT,
    error=WORDS,
    upstream_status=st.none() | st.integers(1, 999),
    retry=st.integers(0, 100),
    parent_id=WORDS,
    run_id=WORDS,
    stage=WORDS,
    task=WORDS,
    complexity=WORDS,
    strategy=WORDS,
    decision_id=WORDS,
    policy=WORDS,
    state_version=WORDS,
    key=WORDS,
    user=WORDS,
    session=WORDS,
    version=WORDS,
    deployment=WORDS,
    probability=st.none() | REAL,
    features=st.binary(max_size=256),
    candidates=st.lists(
        st.builds(Weighed, WORDS, st.none() | st.floats(0, 1, width=16), st.sampled_from([0.0, 0.1, 0.25, 1.0])),
        max_size=4,
    ).map(tuple),
    tags=st.lists(WORDS, max_size=3, unique=True).map(tuple),
    finish=st.sampled_from(["", *get_args(Finish)]),
)


@given(st.lists(ENTRIES, max_size=5))
def test_what_is_framed_is_parsed_again(entries: list[Entry]) -> None:
    """The journal would garble entries."""
    data = b"".join(frame(made, 5) for made in entries)
    batch = parse(data, 5, limit=100, at_end=True)
    assert (batch.records, batch.end, batch.damaged) == (tuple(entries), len(data), 0)


@given(st.binary(max_size=400), st.booleans())
def test_rubbish_never_parses_nor_raises(data: bytes, at_end: bool) -> None:
    """A damaged disk would stop the server."""
    assert parse(data, 5, limit=100, at_end=at_end).records == ()


def test_entries_come_back_from_sqlite_as_they_were(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Reports and replays would be made from other values than were recorded."""

    @given(st.lists(ENTRIES, min_size=1, max_size=4, unique_by=lambda made: made.attempt_id))
    def round_trip(entries: list[Entry]) -> None:
        with Ledger.open(tmp_path_factory.mktemp("home")) as ledger:
            for made in entries:
                ledger.record(made)
            ledger.flush()
            for made in entries:
                found = ledger.queries.get(made.attempt_id)
                assert found is not None
                assert [(w.model, w.probability) for w in found.candidates] == [
                    (w.model, w.probability) for w in made.candidates
                ]
                assert structs.replace(found, candidates=()) == structs.replace(made, candidates=())

    round_trip()


def test_the_journal_goes_on_to_new_files_and_each_is_drained(tmp_path: Path) -> None:
    """A long-lived server would fill the disk with one file, or lose what stood in the earlier ones."""
    journal = Journal(tmp_path / "journal", "1-1-aa", rotate_at=2000)
    made = [entry() for _ in range(40)]
    for one in made:
        journal.append(one)
    assert len(journals_in(tmp_path / "journal")) >= 5
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        assert [found.attempt_id for found in ledger.queries.entries()] == [one.attempt_id for one in made]
    assert journals_in(tmp_path / "journal") == [journal.path], "the one still open belongs to a living process"
    journal.close()


@pytest.mark.parametrize("seed", range(4))
def test_whoever_stores_a_record_it_is_stored_once_and_in_order(tmp_path: Path, seed: int) -> None:
    """What a process has at hand and what others read in its journal would be stored twice, or fall between the two."""
    dice = Random(seed)
    made: list[Entry] = []
    with Ledger.open(tmp_path, keep_bodies=True) as own, Ledger.open(tmp_path) as other:
        for number in range(300):
            made.append(entry(at=NOON + number))
            own.record(made[-1])
            if dice.random() < 0.1:
                own.record_body(Body(made[-1].attempt_id, NOON, b"prompt", "answer"))
            if dice.random() < 0.1:
                dice.choice((own, other)).flush()
        own.flush()
        assert list(other.queries.entries()) == made
        assert (own.damaged, other.damaged) == (0, 0)


def test_more_than_is_kept_at_hand_is_stored(tmp_path: Path) -> None:
    """After a long lock of the database everything past what memory holds would be missing."""
    made = [entry(at=NOON + number) for number in range(10_000)]
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            for one in made:
                ledger.record(one)
            locking.execute("ROLLBACK")
        ledger.flush()
        assert list(ledger.queries.entries()) == made


def test_a_record_of_the_wrong_type_stops_nothing(tmp_path: Path) -> None:
    """One slip in a number's type would keep all that follows out of the ledger until the process ends."""
    sound = entry()
    with Ledger.open(tmp_path) as ledger:
        ledger.record(entry(seconds="soon"))
        ledger.record(sound)
        ledger.flush()
        assert (ledger.queries.recent(), ledger.damaged, ledger.problem) == ([sound], 1, None)


def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    """A late reply would be acknowledged unrecorded."""
    journal = Journal(tmp_path, "1-1-aa")
    journal.close()
    journal.close()
    with pytest.raises(LedgerError, match="closed"):
        journal.append(entry())


def test_a_closed_journal_is_as_long_as_what_it_holds(tmp_path: Path) -> None:
    """Room that nobody needs would lie on the disk until somebody drains it."""
    journal = Journal(tmp_path, "1-1-aa", rotate_at=300_000)
    records = [entry(), Body("b" * 32, NOON, os.urandom(200_000), "answer"), entry()]
    for record in records + records:
        journal.append(record)
    journal.close()
    paths = journals_in(tmp_path)
    assert [path.stat().st_size for path in paths] == [
        sum(len(frame(record, 0)) for record in held) for held in (records + records[:1], records[1:])
    ]
    assert [record for path in paths for record in read_journal(path)] == records + records


def test_threads_that_record_at_once_lose_nothing(tmp_path: Path) -> None:
    """Calls of several threads would write over each other's records."""
    journal = Journal(tmp_path, "1-1-aa", rotate_at=100_000)
    made = [[entry() for _ in range(400)] for _ in range(4)]

    def record(entries: list[Entry]) -> None:
        for one in entries:
            journal.append(one)

    threads = [threading.Thread(target=record, args=(entries,)) for entries in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    found = [record for path in journals_in(tmp_path) for record in read_journal(path)]
    assert len(found) == 1600
    for entries in made:
        mine = {one.attempt_id for one in entries}
        assert [one for one in found if one.attempt_id in mine] == entries


def test_large_bodies_are_read_back_and_too_large_ones_refused(tmp_path: Path) -> None:
    """A long conversation would block everything behind it in the journal."""
    journal = Journal(tmp_path, "1-1-aa")
    large = Body("b" * 32, NOON, os.urandom(3_500_000), "answer")
    records = [entry(), large, entry()]
    for record in records:
        journal.append(record)
    with pytest.raises(LedgerError, match="too large"):
        journal.append(Body("c" * 32, NOON, bytes(MAX_PAYLOAD), ""))
    journal.close()
    assert list(read_journal(journal.path)) == records


def test_a_prompt_cannot_forge_a_record(tmp_path: Path) -> None:
    """Who writes a record's bytes into a prompt would write entries into the bill once the journal is damaged."""
    journal = Journal(tmp_path, "1-1-aa")
    forged = b"".join(frame(entry(attempt_id="f" * 32), seed) for seed in (0, 1, seed_of(Path("1.journal"))))
    last = entry()
    journal.append(Body("b" * 32, NOON, forged, "answer"))
    journal.append(last)
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[20] ^= 0xFF
    journal.path.write_bytes(content)
    assert list(read_journal(journal.path)) == [last]


def test_what_no_file_can_hold_is_recorded_without_it(tmp_path: Path) -> None:
    """Half a surrogate pair in a user's name, or an upstream's absurd count, would make its call unrecordable."""
    odd = entry(user="a\ud800", usage=Usage(input=2**70), cost=Nanos(2**80), at=float("inf"), seconds=float("nan"))
    absurd = entry(usage=Usage(output=2**62), cost=Nanos(2**62), upstream_status=2**63, tags=("x", "x"))
    with Ledger.open(tmp_path) as ledger:
        ledger.record(odd)
        ledger.record(absurd)
        ledger.flush()
        first, second = ledger.queries.get(odd.attempt_id), ledger.queries.get(absurd.attempt_id)
        rows = ledger.queries.cost("model")
    assert first is not None and second is not None
    assert (first.user, first.usage, first.cost, second.usage, second.cost) == ("a?", None, None, None, None)
    assert rows[0].unknown_costs == 2


def test_a_record_of_a_newer_pointsman_is_left_for_it(tmp_path: Path) -> None:
    """A downgrade would delete what the newer version had recorded."""
    path = tmp_path / "journal" / "1-1-aa-000001.journal"
    path.parent.mkdir()
    front, seed = entry(), seed_of(path)
    newer = b"\xc1P\x01\x63" + (3).to_bytes(4, "little") + crc32(b"new", seed).to_bytes(4, "little")
    content = frame(front, seed) + newer + crc32(newer, seed).to_bytes(4, "little") + b"new"
    path.write_bytes(content)
    with Ledger.open(tmp_path) as ledger:
        with pytest.raises(LedgerError, match="newer pointsman"):
            ledger.flush()
        assert [found.attempt_id for found in ledger.queries.entries()] == [front.attempt_id]
        assert ledger.problem is not None
    assert path.read_bytes() == content


def test_a_record_of_an_older_pointsman_is_read() -> None:
    """What a server wrote before it was upgraded, and had not stored yet, would be lost."""
    made = entry(held=Nanos(7))
    older = frame(made, 5)[HEADER_SIZE:]
    fields = msgspec.msgpack.decode(older)
    assert fields.pop() == ""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Entry) == made


def test_a_vector_past_256_bytes_is_refused() -> None:
    """Rows would grow without anybody noticing."""
    with pytest.raises(ValueError, match="257 bytes"):
        entry(features=bytes(257))


def test_a_living_journal_is_locked(tmp_path: Path) -> None:
    """Another process would take it for a dead one's, and delete it under its writer."""
    journal = Journal(tmp_path, "1-1-aa")
    with journal.path.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        journal.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
