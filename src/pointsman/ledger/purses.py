"""Purses in SQLite: what of each budget is spent, and which process has leased how much of the rest.

A purse is one rule × one of those whom it binds × one period. At every commit `spent` and all leases together are at
most its limit, unless the limit was lowered since, or an attempt cost more than was reserved for it.

Whoever drains a journal settles in the transaction that stores the entries (`settle`); a lease less what was settled
of it is what its process has left, has reserved, or has recorded in a journal that is not drained yet.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from ..core import Nanos
from .alerts import claim, reached
from .entries import Entry
from .intents import forget_intents, read_intents, stems_with_intents
from .journal import SUFFIX as JOURNAL
from .rows import settled_amount

SLICES = 32
"""A process leases at least this part of what is free, so leases are rare while a purse is full, and small when it
empties: of n processes, n - 1 can keep at most so many parts from the last."""


class Purse(Struct, frozen=True):
    name: str
    """`scope:who:window:period:rule`. Entries hold it, so it never changes."""
    rule: str
    scope: str
    who: str
    window: str
    period: str
    limit: Nanos


class Order(Struct, frozen=True):
    """What a process wants of one purse. Amounts in nano-dollars."""

    purse: Purse
    giving: int = 0
    """Of its lease; less than 0 is a debt, and makes the lease larger."""
    least: int = 0
    """With less than this nothing is served; 0: nothing is wanted."""
    wanted: int = 0
    alerts: tuple[float, ...] = ()


class Answer(Struct, frozen=True):
    number: int
    granted: int
    lease: int
    """Of this process, after this order."""
    spent: int
    free: int
    """Neither spent nor leased, after this order."""
    alerts: tuple[float, ...]
    """Shares that are to be told now."""


def trade(
    connection: sqlite3.Connection, directory: Path, process: str, orders: Sequence[Order], now: float
) -> list[Answer]:
    """All orders in one transaction. `process`: the stem of its journal, which must exist."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        answers = [_answer(connection, directory, process, order, now) for order in orders]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return answers


def settle(connection: sqlite3.Connection, process: str, entries: Iterable[Entry]) -> None:
    """Moves what `entries` cost from the leases of their process to what is spent. In the caller's transaction."""
    of_entries: dict[tuple[str, ...], int] = {}
    for entry in entries:
        of_entries[entry.holds] = of_entries.get(entry.holds, 0) + settled_amount(entry)
    sums: dict[str, int] = {}
    for names, amount in of_entries.items():
        for name in names:
            sums[name] = sums.get(name, 0) + amount
    if sums:
        connection.executemany(_SPEND, sums.items())
        connection.executemany(_LESSEN, [(amount, name, process) for name, amount in sums.items()])


def reclaim(connection: sqlite3.Connection, directory: Path) -> None:
    """Gives back the leases of processes whose journals are all drained and removed. What they had reserved for
    attempts that ran when they died counts as spent, for it may be billed; so does all they had, where a part of their
    journal could not be read. In a transaction of its own, unless the caller has one."""
    # In this order: a process makes its journal first, then leases; and its journal is the last to be removed.
    leasing = {stem for (stem,) in connection.execute("SELECT DISTINCT process FROM leases")}
    stems = leasing | stems_with_intents(directory)
    if not stems:
        return
    living = {process_of(path) for path in directory.glob("*" + JOURNAL)}
    for stem in stems - living:
        _bury(connection, directory, stem)


def process_of(journal: Path) -> str:
    """The stem of a journal's name: one for each process, which may have several journals."""
    return journal.name.rpartition("-")[0]


def _answer(connection: sqlite3.Connection, directory: Path, process: str, order: Order, now: float) -> Answer:
    purse = order.purse
    number, spent, free = _looked_up(connection, purse)
    if order.giving:
        connection.execute(_LEASE, (number, process, -order.giving))
        number, spent, free = _looked_up(connection, purse)
    if order.least > free:
        reclaim(connection, directory)
        number, spent, free = _looked_up(connection, purse)
    granted = min(free, max(order.wanted, free // SLICES)) if 0 < order.least <= free else 0
    if granted:
        connection.execute(_LEASE, (number, process, granted))
    # Money that others have only leased may come back: then a refusal does not mean that the purse is spent.
    refused = order.least > free and spent + order.least > purse.limit
    shares = reached(order.alerts, spent=spent, limit=purse.limit, refused=refused)
    told = claim(connection, number, shares, now) if shares else ()
    lease = connection.execute(_OWN, (number, process)).fetchone()
    return Answer(number, granted, lease[0] if lease else 0, spent, free - granted, told)


def _looked_up(connection: sqlite3.Connection, purse: Purse) -> tuple[int, int, int]:
    """(number, spent, free); the purse is made where it is new, and told its limit where that changed."""
    row = connection.execute(_LOOK, (purse.name,)).fetchone()
    if row is None or row[1] != purse.limit or row[2] != purse.rule:
        values = (purse.name, purse.rule, purse.scope, purse.who, purse.window, purse.period, purse.limit)
        connection.execute(_DESCRIBE, values)
        row = connection.execute(_LOOK, (purse.name,)).fetchone()
    number, limit, _, spent, leased = row
    return number, spent, limit - spent - leased


def _bury(connection: sqlite3.Connection, directory: Path, stem: str) -> None:
    reserved = read_intents(directory, stem)
    damaged = any((directory / "damaged").glob(f"{stem}-*{JOURNAL}"))
    whole = not connection.in_transaction
    if whole:
        connection.execute("BEGIN IMMEDIATE")
    try:
        for purse, amount in connection.execute(
            "SELECT purse, amount FROM leases WHERE process = ?", (stem,)
        ).fetchall():
            lost = max(amount, 0) if damaged else min(max(amount, 0), reserved.get(purse, 0))
            if lost:
                connection.execute(
                    "UPDATE purses SET spent = spent + ?1, lost = lost + ?1 WHERE number = ?2", (lost, purse)
                )
        connection.execute("DELETE FROM leases WHERE process = ?", (stem,))
        if whole:
            connection.execute("COMMIT")
    except BaseException:
        if whole and connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if whole:
        forget_intents(directory, stem)


_LOOK = """
SELECT number, most, rule, spent, (SELECT coalesce(sum(max(amount, 0)), 0) FROM leases WHERE purse = number)
FROM purses WHERE name = ?
"""
_DESCRIBE = """
INSERT INTO purses (name, rule, scope, who, span, period, most) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET rule = excluded.rule, scope = excluded.scope, who = excluded.who, span = excluded.span,
    period = excluded.period, most = excluded.most
"""
_LEASE = """
INSERT INTO leases (purse, process, amount) VALUES (?, ?, ?)
ON CONFLICT (purse, process) DO UPDATE SET amount = amount + excluded.amount
"""
_OWN = "SELECT amount FROM leases WHERE purse = ? AND process = ?"
_SPEND = """
INSERT INTO purses (name, spent) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET spent = spent + excluded.spent
"""
_LESSEN = (
    "UPDATE leases SET amount = amount - ? WHERE purse = (SELECT number FROM purses WHERE name = ?) AND process = ?"
)
