"""Budgets as the tests need them, and what SQLite says of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from ledger_samples import entry

from pointsman.core import Clock, Nanos
from pointsman.ledger import REAL_CLOCK, Alert, BudgetRule, Budgets, Entry, Hold, Ledger

CHILD = Path(__file__).with_name("budget_child.py")
LIMIT = 10**12 + 7


def rule(**changes: Any) -> BudgetRule:
    """A key's month; each key on its own."""
    plain: dict[str, Any] = {"id": "team", "scope": "key", "who": "", "limit": Nanos(LIMIT), "window": "month"}
    return BudgetRule(**(plain | changes))


def budgets_of(
    ledger: Ledger,
    rules: Iterable[BudgetRule],
    *,
    clock: Clock = REAL_CLOCK,
    tell: Callable[[Alert], None] = lambda alert: None,
) -> Budgets:
    return Budgets(ledger, rules, clock=clock, tell=tell)


def paid(hold: Hold, cost: int | None, **changes: Any) -> Entry:
    """The entry of an attempt for which `hold` was reserved."""
    return entry(holds=hold.purses, held=hold.amount, cost=None if cost is None else Nanos(cost), **changes)


def purses(home: Path) -> dict[str, tuple[int, int, int, int]]:
    """name → limit, spent, lost, leased"""
    sql = """SELECT name, most, spent, lost, (SELECT coalesce(sum(amount), 0) FROM leases WHERE purse = number)
        FROM purses"""
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        return {name: (most, spent, lost, leased) for name, most, spent, lost, leased in connection.execute(sql)}


def settled(home: Path) -> dict[str, int]:
    """name → what the stored entries took from the purse"""
    sums: dict[str, int] = {}
    for stored in Ledger.open(home).queries.entries():
        for name in stored.holds:
            amount = stored.held if stored.cost is None else stored.cost
            sums[name] = sums.get(name, 0) + (amount or 0)
    return sums
