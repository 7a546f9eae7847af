"""Alerts at shares of a budget: what one says, and that it is told once, by whichever process comes first."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from msgspec import Struct

from ..core import Nanos

NEARLY = 0.95
"""From this share on a purse that must refuse a call counts as spent: what is left may never fit a call."""


class Alert(Struct, frozen=True):
    """A purse has reached a share of its limit. Told once for each purse and share; it is written down before it is
    told, so a process that dies in between tells nobody."""

    rule: str
    scope: str
    who: str
    window: str
    period: str
    share: float
    limit: Nanos
    spent: Nanos


def reached(shares: Sequence[float], *, spent: int, limit: int, refused: bool) -> list[float]:
    """The shares of `limit` that are spent; the whole of it too when a call was refused for what is left."""
    share = spent / limit if limit > 0 else 1.0
    if refused and share >= NEARLY:
        share = max(share, 1.0)
    return [one for one in sorted(shares) if one <= share]


def claim(connection: sqlite3.Connection, purse: int, shares: Sequence[float], at: float) -> tuple[float, ...]:
    """Those of `shares` that nobody has told yet; from now on (once the transaction is committed) they are told."""
    sql = "INSERT INTO alerts (purse, share, at) VALUES (?, ?, ?) ON CONFLICT (purse, share) DO NOTHING"
    return tuple(share for share in shares if connection.execute(sql, (purse, share, at)).rowcount == 1)


def told(connection: sqlite3.Connection, purse: int) -> tuple[float, ...]:
    rows = connection.execute("SELECT share FROM alerts WHERE purse = ? ORDER BY share", (purse,))
    return tuple(share for (share,) in rows)
