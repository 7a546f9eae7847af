"""Entries that are stored together: none of them changes what another one becomes."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from budget_samples import purses
from ledger_samples import NOON, busy_entry, entry
from msgspec import structs

from pointsman.core import Nanos, Usage, Weighed
from pointsman.ledger import Entry, Feedback, Ledger, verify
from pointsman.ledger.names import Names
from pointsman.ledger.queries import Queries
from pointsman.ledger.rows import AT_ONCE, insert_entries
from pointsman.ledger.store import Store

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"usage": None, "cost": None, "ttft": None, "status": "failed", "error": "timeout", "upstream_status": 504},
    {"cost": None, "list_cost": Nanos(0)},
    {"cost": Nanos(-7), "list_cost": Nanos(2**53)},
    {"usage": Usage(input=2, cache_read=3, output=5, reasoning=7)},
    {"usage": Usage(cache_write=2**52, cache_write_1h=1, estimated=True, service_tier="flex")},
    {"probability": 0.0},
    {"probability": 0.5, "decision_id": "d" * 32, "features": b"\x01\x02", "task": "coding"},
    {"candidates": (Weighed("a/b", 0.5, 0.25), Weighed("c/d", rejected="no key"))},
    {"state_version": "17"},
    {"holds": ("server::day", "key:k:month"), "held": Nanos(9), "key": "k"},
    {"holds": ("server::day",), "held": None},
    {"user": "ann", "tags": ("team", "prod"), "session": "s" * 40},
    {"parent_id": "p" * 32, "run_id": "0" * 32, "stage": "second", "retry": 3, "stream": True},
    {"call_id": "AB" * 16},
    {"call_id": "ab " * 10 + "ab"},
    {"call_id": ""},
    {"seconds": 0.0, "ttft": 0.0, "at": 0.0},
    {"finish": "length"},
    {"conversation": "0123456789abcdef", "decision_id": "d" * 32},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "ledger.sqlite")


@pytest.fixture
def connection(store: Store) -> Iterator[sqlite3.Connection]:
    with closing(store.connect()) as opened:
        yield opened


def back(store: Store, made: Entry) -> Entry | None:
    """What is stored of it; its candidates as they were, since scores lose digits."""
    found = Queries(store).get(made.attempt_id)
    return found and structs.replace(found, candidates=made.candidates)


@pytest.mark.parametrize("count", [1, 2, AT_ONCE, 3 * AT_ONCE + 5])
@pytest.mark.parametrize("seed", range(4))
def test_entries_of_any_kinds_are_stored_together(
    store: Store, connection: sqlite3.Connection, count: int, seed: int
) -> None:
    """One cancelled call would change the bills of those that ended in the same moment."""
    dice = Random(seed)
    kinds = dice.sample(KINDS, dice.randrange(1, 6))
    made = [entry(**{"at": NOON + number, **dice.choice(kinds)}) for number in range(count)]
    assert insert_entries(connection, made, Names(connection)) == count
    assert [back(store, one) for one in made] == made


def test_entries_that_use_everything_are_stored_beside_plain_ones(store: Store, connection: sqlite3.Connection) -> None:
    """A routed call's decision would be lost, or be written to the call beside it."""
    made = [busy_entry(Random(number), number) if number % 3 else entry() for number in range(2 * AT_ONCE + 1)]
    insert_entries(connection, made, Names(connection))
    assert [back(store, one) for one in made] == made


@pytest.mark.parametrize(
    ("absurd", "known"),
    [
        ({"usage": Usage(input=2**53, cache_read=1)}, {"usage": None}),
        ({"usage": Usage(output=2**60)}, {"usage": None}),
        ({"cost": Nanos(2**53 + 1)}, {"cost": None}),
        ({"list_cost": Nanos(-(2**62))}, {"list_cost": None}),
        ({"seconds": float("inf"), "ttft": float("nan")}, {"seconds": 0.0, "ttft": None}),
        ({"at": float("-inf")}, {"at": 0.0}),
        ({"probability": float("nan")}, {"probability": None}),
    ],
)
def test_an_absurd_number_is_unknown_and_no_other_is(
    store: Store, connection: sqlite3.Connection, absurd: dict[str, Any], known: dict[str, Any]
) -> None:
    """An upstream's absurd count would make unknown what others cost, or add up to nonsense."""
    made = [entry(**(absurd if number == 5 else {})) for number in range(AT_ONCE)]
    insert_entries(connection, made, Names(connection))
    expected = [structs.replace(one, **known) if number == 5 else one for number, one in enumerate(made)]
    assert [back(store, one) for one in made] == expected


def test_what_is_stored_already_is_told_from_what_is_new(store: Store, connection: sqlite3.Connection) -> None:
    """What was drained twice would be taken from a budget twice."""
    names = Names(connection)
    first = [entry(user=f"user-{number}") for number in range(AT_ONCE)]
    assert insert_entries(connection, first, names) == AT_ONCE
    again = [*first, *(entry(user=f"new-{number}", model=f"new-{number}") for number in range(3)), first[0]]
    assert insert_entries(connection, again, names) == 3
    assert insert_entries(connection, [], names) == 0


def test_entries_that_come_twice_beside_new_ones_are_settled_once(tmp_path: Path) -> None:
    """Two processes that drain one journal would empty a budget twice as fast as it is spent."""
    holds = ("server::day", "key:k:month")
    first = [entry(holds=holds, held=Nanos(50), cost=Nanos(number)) for number in range(40)]
    unpaid = [entry() for _ in range(3)]
    new = [entry(holds=holds[:1], held=Nanos(50), cost=None, user=f"new-{number}") for number in range(2)]
    with Ledger.open(tmp_path) as ledger:
        for one in (*first, *unpaid):
            ledger.record(one)
        ledger.flush()
        for one in (first[3], *new, unpaid[0], *first, new[1]):
            ledger.record(one)
        ledger.flush()
    spent = {name: row[1] for name, row in purses(tmp_path).items()}
    assert spent == {"server::day": sum(range(40)) + 100, "key:k:month": sum(range(40))}


def test_whoever_stores_beside_calls_waits_for_nobody_and_a_flush_waits(tmp_path: Path) -> None:
    """A second process that writes would stop all calls of the first; or each collision would fail a flush."""
    with Ledger.open(tmp_path) as ledger:
        ledger.record(entry())
        ledger.flush()
        with closing(
            sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None, check_same_thread=False)
        ) as other:
            for _ in range(3):
                other.execute("BEGIN IMMEDIATE")
                ledger.record(entry())
                begun = time.monotonic()
                ledger.help(64)
                assert time.monotonic() - begun < 1.5, "the patience of a flush is 2 s"
                freeing = threading.Timer(0.3, lambda: other.execute("COMMIT"))
                freeing.start()
                ledger.flush()
                freeing.join()
        assert len(ledger.queries.recent()) == 4


def test_a_name_that_was_rolled_back_is_made_again(tmp_path: Path) -> None:
    """After one failed batch entries would bear the number of a name that there is not: nobody's bill."""
    with Ledger.open(tmp_path) as ledger:
        ledger.record(entry(user="ann", model="new", seconds="soon"))
        ledger.record(entry(user="ann", model="new"))
        ledger.flush()
        assert [row.group for row in ledger.queries.cost("user")] == ["ann"]


def test_an_entry_of_before_conversations_were_recorded_is_read(tmp_path: Path) -> None:
    """Whoever updates would lose what was decided, and with it what replay and learning have to go by."""
    made = entry(candidates=(Weighed("a/b", 0.5, 0.25),), state_version="17", probability=0.25)
    with Ledger.open(tmp_path) as ledger:
        ledger.record(structs.replace(made, conversation="0123456789abcdef"))
        ledger.flush()
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file, file:
            ((details,),) = file.execute("SELECT details FROM entries").fetchall()
            before = msgspec.msgpack.encode(msgspec.msgpack.decode(details)[:-1])
            file.execute("UPDATE entries SET details = ?", (before,))
        assert ledger.queries.recent() == [made]
        assert verify(ledger).ok


@pytest.mark.parametrize("damage", [b"\x01", b"\xc1" * 20, b"\x91\xa3abc"])
def test_an_entry_whose_details_are_damaged_is_read_without_them(tmp_path: Path, damage: bytes) -> None:
    """One bad row would keep everybody from everything: lists, exports, learning, and the calls that wait for it."""
    made = entry(candidates=(Weighed("a/b", 0.5, 0.25),), state_version="17", features=b"\x02")
    with Ledger.open(tmp_path) as ledger:
        ledger.record(made)
        ledger.flush()
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file:
            file.execute("UPDATE entries SET details = ?", (damage,))
            file.commit()
        (read,) = ledger.queries.recent()
        ledger.feedback.add(Feedback(made.call_id, NOON, 1.0))
        (graded,) = ledger.feedback.graded()
        assert "1 entries have details" in verify(ledger).findings[0].found
    assert read == graded.entry
    assert (read.call_id, read.cost, read.candidates) == (made.call_id, made.cost, ())
