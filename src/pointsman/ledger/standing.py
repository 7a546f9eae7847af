"""How budgets stand: read from SQLite, for the command line, the server and the console."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing

import msgspec
from msgspec import Struct

from ..core import Nanos
from .alerts import told
from .periods import Period, period_at, zone_named
from .rows import SETTLED_AMOUNT
from .rules import BudgetRule
from .store import Store

_DAY = 86_400


class BudgetStatus(Struct, frozen=True):
    """One purse as SQLite has it; what calls spent in the last quarter of a second may still lie in a journal."""

    rule: BudgetRule
    who: str
    period: str
    resets: float
    """Unix seconds."""
    limit: Nanos
    spent: Nanos
    lost: Nanos
    """The part of `spent` that no entry tells of: reserved by processes that were killed while attempts ran."""
    leased: Nanos
    """By processes that run: reserved for calls, or at hand for them."""
    left: Nanos
    """The limit less what is spent; not less than 0."""
    burn_per_hour: Nanos
    """What entries of the last 24 hours cost, in this period and the one before, divided by 24."""
    forecast: Nanos
    """`spent` + `burn_per_hour` × the hours until the period ends."""
    alerts: tuple[float, ...]
    """Shares that were told."""


def standings(store: Store, rules: Iterable[BudgetRule], now: float) -> list[BudgetStatus]:
    """Every purse of the current periods; a rule for the server, or for somebody in particular, also where nothing was
    spent yet. Raises LedgerError. A ledger that is not there yet is not made."""
    lasting = [rule for rule in rules if rule.window != "request"]
    if not lasting:
        return []
    if not store.path.exists():
        return [_status(rule, _NOTHING, (), 0, now) for rule in lasting if _is_one_purse(rule)]
    with store.explaining("read"), closing(store.connect()) as connection:
        connection.execute("BEGIN")
        burnt = _burnt(connection, now - _DAY)
        return [status for rule in lasting for status in _of_rule(connection, rule, burnt, now)]


def _of_rule(
    connection: sqlite3.Connection, rule: BudgetRule, burnt: dict[tuple[str, str, str], int], now: float
) -> list[BudgetStatus]:
    rows = connection.execute(_PURSES, (rule.id, rule.scope, rule.window, _period(rule, now).name)).fetchall()
    rows = [row for row in rows if rule.who in ("", row[1])]
    if not rows and _is_one_purse(rule):
        rows = [(0, rule.who, 0, 0, 0)]
    return [
        _status(rule, row, told(connection, row[0]), burnt.get((rule.id, rule.scope, row[1]), 0), now) for row in rows
    ]


def _status(
    rule: BudgetRule, row: tuple[int, str, int, int, int], told_shares: tuple[float, ...], burnt: int, now: float
) -> BudgetStatus:
    _, who, spent, lost, leased = row
    period = _period(rule, now)
    burn = burnt // 24
    return BudgetStatus(
        rule=rule,
        who=who or rule.who,
        period=period.name,
        resets=period.end,
        limit=rule.limit,
        spent=Nanos(spent),
        lost=Nanos(lost),
        leased=Nanos(leased),
        left=Nanos(max(0, rule.limit - spent)),
        burn_per_hour=Nanos(burn),
        forecast=Nanos(spent + round(burn * max(0.0, period.end - now) / 3600)),
        alerts=told_shares,
    )


def _burnt(connection: sqlite3.Connection, since: float) -> dict[tuple[str, str, str], int]:
    """(rule, scope, who) → what entries since then took from its purses."""
    purses = {name: (rule, scope, who) for name, rule, scope, who in connection.execute(_OWNERS)}
    sums: dict[tuple[str, str, str], int] = {}
    for names, amount in connection.execute(_BURNT, (since,)):
        for name in msgspec.json.decode(names, type=tuple[str, ...]):
            owner = purses.get(name, ("", "", ""))
            sums[owner] = sums.get(owner, 0) + amount
    return sums


def _period(rule: BudgetRule, now: float) -> Period:
    assert rule.window != "request", "a request has no period"
    return period_at(rule.window, zone_named(rule.timezone), now)


def _is_one_purse(rule: BudgetRule) -> bool:
    return bool(rule.who) or rule.scope == "server"


_NOTHING = (0, "", 0, 0, 0)
_PURSES = """
SELECT number, who, spent, lost, (SELECT coalesce(sum(max(amount, 0)), 0) FROM leases WHERE purse = number)
FROM purses WHERE rule = ? AND scope = ? AND span = ? AND period = ? ORDER BY who
"""
_OWNERS = "SELECT name, rule, scope, who FROM purses"
_BURNT = f"""
SELECT names.text, sum({SETTLED_AMOUNT}) FROM entries JOIN names ON names.id = entries.holds
WHERE at >= ? AND holds != 0 GROUP BY holds
"""
