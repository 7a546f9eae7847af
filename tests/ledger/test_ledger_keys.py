"""Virtual keys: what is stored is of no use to a thief, and what is revoked stops working."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from ledger_samples import NOON, child, entry, finish

from pointsman.core import InvalidCall, LedgerError, ManualClock, Nanos
from pointsman.ledger import Key, KeyRing, Ledger
from pointsman.ledger.keys import MOST_A_MINUTE, MOST_PATTERNS
from pointsman.ledger.migrations import MIGRATIONS
from pointsman.ledger.store import Store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def ledger(tmp_path: Path, clock: ManualClock) -> Iterator[Ledger]:
    with Ledger.open(tmp_path, clock=clock.clock) as opened:
        yield opened


@pytest.fixture
def ring(ledger: Ledger) -> Iterator[KeyRing]:
    opened = ledger.key_ring()
    yield opened
    opened.close()


def test_a_new_key_works_at_once(ledger: Ledger, ring: KeyRing) -> None:
    """`pointsman keys create` would print a key that the running server refuses."""
    assert ring.verify("pm-nothing-yet") is None
    for name in ("first", "second"):
        text, made = ledger.keys.create(name)
        assert text.startswith(f"pm-{made.id}-") and len(text) >= 3 + 8 + 1 + 43
        found = ring.verify(text)
        assert found == made and found.scopes == {"call", "read"}


def test_a_key_of_another_process_works_at_once(tmp_path: Path, ring: KeyRing) -> None:
    """The key made in a second terminal would need a restart of the server."""
    ring.verify("pm-nothing-yet")
    key_id, text = finish(child("make_key", tmp_path, "other")).split()
    found = ring.verify(text)
    assert found is not None and found.id == key_id


def test_a_revoked_key_stops_within_two_seconds(ledger: Ledger, ring: KeyRing, clock: ManualClock) -> None:
    """A stolen key would go on spending until the server restarts."""
    text, made = ledger.keys.create("stolen")
    assert ring.verify(text) is not None
    assert ledger.keys.revoke(made.id).revoked == NOON
    clock.advance(1.5)
    assert ring.verify(text) is None


def test_an_expired_key_is_refused(ledger: Ledger, ring: KeyRing, clock: ManualClock) -> None:
    """A key lent for a day would work for ever."""
    text, _ = ledger.keys.create("guest", expires=NOON + 10)
    clock.advance(9)
    assert ring.verify(text) is not None
    clock.advance(1)
    assert ring.verify(text) is None


def test_every_wrong_key_is_refused(ledger: Ledger, ring: KeyRing) -> None:
    """A guess that comes near, or an injection, would be let in."""
    text, made = ledger.keys.create("mine")
    other, _ = ledger.keys.create("other")
    assert ring.verify(text) is not None
    changed = text[:-1] + ("A" if text[-1] != "A" else "B")
    rubbish = [
        "",
        "pm-",
        "pm--",
        f"pm-{made.id}",
        f"pm-{made.id}-",
        text[:-1],
        text + "A",
        text.upper(),
        text[3:],
        changed,
    ]
    rubbish += ["' OR 1=1 --", f"pm-{made.id}-' OR '1'='1", f"pm-{made.id}-{other[12:]}", "pm-\ud800-x", "\0" * 50]
    rubbish += [text + "\n", " " + text, "Bearer " + text, "ключ", "pm-" + "a" * 100_000]
    assert [wrong for wrong in rubbish if ring.verify(wrong) is not None] == []


def test_no_secret_is_on_disk(tmp_path: Path, ledger: Ledger) -> None:
    """Who copies the database would hold every key."""
    text, made = ledger.keys.create("mine")
    ledger.record(entry(key=made.id))
    ledger.flush()
    secret = text.removeprefix(f"pm-{made.id}-")
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret not in repr(ledger.keys.list())
    assert stat.S_IMODE((tmp_path / "keys.pepper").stat().st_mode) == 0o600


def test_keys_made_by_two_processes_at_once_both_work(tmp_path: Path, ring: KeyRing) -> None:
    """Each process would make a pepper of its own, and one of the keys would be dead from the start."""
    started = [child("make_key", tmp_path, f"key-{number}") for number in range(4)]
    made = [finish(process).split()[1] for process in started]
    assert all(ring.verify(text) is not None for text in made)
    assert sorted(path.name for path in tmp_path.glob("keys.*")) == ["keys.pepper"]


def test_a_lost_pepper_is_told_and_never_replaced_under_living_keys(tmp_path: Path, ledger: Ledger) -> None:
    """All keys would be refused without a word, and a backup of the pepper would be of no use any more."""
    _, made = ledger.keys.create("mine")
    (tmp_path / "keys.pepper").unlink()
    fresh = ledger.key_ring()
    with pytest.raises(LedgerError, match="backup"):
        fresh.verify("pm-abcdefgh-x")
    fresh.close()
    with pytest.raises(LedgerError, match="backup"):
        ledger.keys.create("another")
    ledger.keys.revoke(made.id)
    text, _ = ledger.keys.create("another")
    fresh = ledger.key_ring()
    assert fresh.verify(text) is not None
    fresh.close()
    (tmp_path / "keys.pepper").write_bytes(b"short")
    with pytest.raises(LedgerError, match="damaged"):
        ledger.keys.create("third")


def test_a_ring_that_cannot_read_the_ledger_refuses(tmp_path: Path, ledger: Ledger, clock: ManualClock) -> None:
    """A revoked key would work for as long as the disk is broken."""
    text, _ = ledger.keys.create("mine")
    ring = ledger.key_ring()
    assert ring.verify(text) is not None
    ring.close()
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    (tmp_path / "ledger.sqlite").write_text("no database" * 500)
    clock.advance(1.5)
    assert ring.verify(text) is not None
    clock.advance(1)
    with pytest.raises(LedgerError, match="not a database"):
        ring.verify(text)


def test_keys_are_listed_and_revoked_by_id_or_by_name(ledger: Ledger, clock: ManualClock) -> None:
    """Nobody could tell which key to revoke, or the wrong one would be."""
    _, first = ledger.keys.create("mine")
    clock.advance(1)
    _, second = ledger.keys.create("mine", scopes=["admin"])
    assert ledger.keys.list() == [first, second]
    with pytest.raises(InvalidCall, match="2 keys are named"):
        ledger.keys.revoke("mine")
    with pytest.raises(InvalidCall, match="no key"):
        ledger.keys.revoke("yours")
    ledger.keys.revoke(first.id)
    clock.advance(1)
    assert ledger.keys.revoke("mine").id == second.id
    assert ledger.keys.revoke(first.id).revoked == NOON + 1, "the first time counts"
    assert [key.revoked for key in ledger.keys.list()] == [NOON + 1, NOON + 2]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31mred", "x" * 101])
def test_names_that_would_garble_a_terminal_are_refused(ledger: Ledger, name: str) -> None:
    """A list of keys would hide one behind escape codes."""
    with pytest.raises(InvalidCall, match="no name"):
        ledger.keys.create(name)


@pytest.mark.parametrize("scopes", [[], ["root"], ["call", "everything"]])
def test_scopes_that_there_are_not_are_refused(ledger: Ledger, scopes: list[str]) -> None:
    """A misspelt scope would make a key that can do nothing, or be read as a wider one later."""
    with pytest.raises(InvalidCall, match="call, read, admin"):
        ledger.keys.create("mine", scopes=scopes)  # type: ignore[arg-type]


RIGHTS: dict[str, Any] = {
    "models": ("gpt-4o*", "fast"),
    "requests_per_minute": 60,
    "tokens_per_minute": MOST_A_MINUTE,
    "budget": Nanos(5_000_000_000),
    "budget_window": "day",
    "user": "ann",
}


def test_the_rights_of_a_key_are_kept(ledger: Ledger, ring: KeyRing) -> None:
    """A key that was made for one model and five dollars would be one for everything."""
    text, made = ledger.keys.create("guest", scopes=("call",), expires=NOON + 9, **RIGHTS)
    plain, free = ledger.keys.create("plain")
    assert ring.verify(text) == made and ring.verify(plain) == free
    assert {right: getattr(made, right) for right in RIGHTS} == RIGHTS
    assert (free.models, free.requests_per_minute, free.tokens_per_minute, free.budget, free.user) == (
        (),
        None,
        None,
        None,
        "",
    )
    assert ledger.keys.revoke(made.id).models == RIGHTS["models"]


def test_keys_made_before_there_were_rights_work_as_they_did(tmp_path: Path, clock: ManualClock) -> None:
    """An upgrade would lose the keys of everybody, or shut them out."""
    scopes, digest = "call read", b"x" * 32
    with closing(Store(tmp_path / "ledger.sqlite", migrations=MIGRATIONS[:2]).connect()) as old:
        old.execute("INSERT INTO keys VALUES ('abcdefgh', 'old', ?, ?, 1.5, NULL, NULL)", (digest, scopes))
    with Ledger.open(tmp_path, clock=clock.clock) as ledger:
        assert ledger.keys.list() == [Key("abcdefgh", "old", 1.5, frozenset({"call", "read"}))]


@given(
    patterns=some.lists(some.text("ab*?[]!-/.", min_size=1, max_size=6), min_size=1, max_size=4),
    model=some.text("ab-/.\n", max_size=6),
)
def test_a_pattern_means_what_it_means_in_a_shell(patterns: list[str], model: str) -> None:
    """A pattern would let through what its writer did not mean."""
    key = Key("abcdefgh", "a", 1.0, frozenset({"call"}), models=tuple(patterns))
    assert key.may_name(model) == any(fnmatchcase(model, pattern) for pattern in patterns)


def test_a_key_without_patterns_may_name_everything() -> None:
    """Every key that there is would be shut out."""
    key = Key("abcdefgh", "a", 1.0, frozenset({"call"}))
    assert all(key.may_name(model) for model in ("", "auto", "x" * 10_000))


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": ("",)},
        {"models": ("a", " b")},
        {"models": ("a\x1b[2J",)},
        {"models": ("x" * 101,)},
        {"models": tuple(f"m{number}" for number in range(MOST_PATTERNS + 1))},
        {"requests_per_minute": 0},
        {"requests_per_minute": -1},
        {"tokens_per_minute": 0},
        {"tokens_per_minute": MOST_A_MINUTE + 1},
        {"budget": Nanos(-1)},
        {"budget": Nanos(2**63)},
        {"budget_window": "year"},
        {"user": " "},
        {"user": "a\nb"},
    ],
    ids=str,
)
def test_rights_that_mean_nothing_are_refused(ledger: Ledger, wrong: dict[str, Any]) -> None:
    """A slip would make a key that can do nothing, or everything."""
    with pytest.raises(InvalidCall) as refused:
        ledger.keys.create("mine", **wrong)
    assert refused.value.param == next(iter(wrong))
    assert ledger.keys.list() == []


@pytest.mark.fault(111, "In a key's name it is text.")
def test_sql_in_what_a_key_is_made_of_is_only_text(ledger: Ledger, ring: KeyRing) -> None:
    """A name could make a key wider, or throw the keys away."""
    odd = "x', 'admin'); DROP TABLE keys; --"
    text, made = ledger.keys.create(odd, scopes=("read",), user=odd, models=(odd, "']') --"))
    assert ring.verify(text) == made and made.scopes == {"read"} and made.user == odd
    for trick in ("' OR 1=1 --", "%", f"{made.id}' --", odd + "'"):
        with pytest.raises(InvalidCall, match="no key"):
            ledger.keys.revoke(trick)
    assert ledger.keys.list() == [made]


@pytest.mark.parametrize(
    "damage", ["models = 'everything'", "models = '{}'", "scopes = 'call root'", "budget = 'x'", "budget_window = ''"]
)
def test_rights_that_cannot_be_read_let_nobody_in(tmp_path: Path, ledger: Ledger, ring: KeyRing, damage: str) -> None:
    """A damaged row would be read as a key without bounds."""
    text, _ = ledger.keys.create("guest", **RIGHTS)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute(f"UPDATE keys SET {damage}")
        connection.commit()
    with pytest.raises(LedgerError, match="damaged"):
        ring.verify(text)
