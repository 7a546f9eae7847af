"""Which attempt answered a call, found without an index of calls: every row would pay for one, and few are asked for.

Our ids are UUIDv7 and bear the time at which they were made; an attempt begins at once after its call was given an id,
or some seconds later where others failed before it. So it lies near that time in the index by time, and is looked for
in wider and wider spans of it. Ids of other kinds are found among the latest entries, or as new ones come.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from msgspec import structs

from .entries import Entry
from .names import Names
from .rows import SELECT_ENTRIES, pack_id, row_entry

MOST_LOOKED_AT: Final = 100_000
"""Entries of one span: so much of a busy server's day is looked through, and no more."""
LATEST: Final = 2_000
_SPANS: Final = ((-0.1, 1.0), (-5.0, 60.0), (-5.0, 86_400.0))
"""Seconds after the call's id was made. Before it: a clock that was set back meanwhile."""

ANSWERED: Final = """(
    contexts.strategy != 'consensus'
    AND (contexts.status = 'ok' OR contexts.status = 'cancelled' AND entries.ttft IS NOT NULL)
)"""
"""SQL: whoever stopped an answer has seen a part of it. What broke off says nothing of its model; nor does what several
models answered together say of any one of them, unless that very attempt is named."""


def find_answer(connection: sqlite3.Connection, call_id: str, attempt_id: str = "") -> int:
    """The number of the entry that answered a call, the last of several at once; or of that very attempt where one is
    named, however it went. 0 where there is none."""
    call = pack_id(call_id)
    if attempt_id:
        row = connection.execute(_ATTEMPT, (pack_id(attempt_id), call)).fetchone()
        return int(row[0]) if row else 0
    made = time_in(call_id)
    for begin, end in _SPANS if made is not None else ():
        row = connection.execute(_IN_SPAN, (made + begin, made + end, call)).fetchone()  # type: ignore[operator]
        if row:
            return int(row[0])
    row = connection.execute(_AMONG_LATEST, (call,)).fetchone()
    return int(row[0]) if row else 0


def read_entry(connection: sqlite3.Connection, number: int, names: Names) -> Entry | None:
    """The entry with its decision: what a fallback was chosen from stands with the first attempt of its call."""
    row = connection.execute(f"{SELECT_ENTRIES} WHERE entries.number = ?", (number,)).fetchone()
    if row is None:
        return None
    entry = row_entry(row, names)
    if not entry.retry or not entry.decision_id or entry.candidates:
        return entry
    made = time_in(entry.call_id)
    begin = entry.at - _SPANS[1][1] if made is None else made + _SPANS[1][0]
    ids = (pack_id(entry.call_id), pack_id(entry.decision_id))
    first = connection.execute(_DECIDED, (begin, entry.at, *ids)).fetchone()
    return entry if first is None else structs.replace(entry, candidates=row_entry(first, names).candidates)


def time_in(call_id: str) -> float | None:
    """Unix seconds at which a UUIDv7 was made; None for an id of another kind."""
    if len(call_id) != 32 or call_id[12] != "7":
        return None
    try:
        return int(call_id[:12], 16) / 1000
    except ValueError:
        return None


_ATTEMPT = "SELECT number FROM entries WHERE attempt_id = ? AND call_id = ?"

_BEST = f"""
JOIN contexts ON contexts.id = entries.context
WHERE call_id = ? AND {ANSWERED} ORDER BY contexts.status = 'ok' DESC, contexts.retry DESC, entries.number DESC LIMIT 1
"""
_IN_SPAN = f"""
SELECT entries.number FROM (
    SELECT number, call_id, context, ttft FROM entries WHERE at >= ? AND at < ? ORDER BY at LIMIT {MOST_LOOKED_AT}
) AS entries {_BEST}
"""
_AMONG_LATEST = f"""
SELECT entries.number FROM (
    SELECT number, call_id, context, ttft FROM entries ORDER BY number DESC LIMIT {LATEST}
) AS entries {_BEST}
"""
_DECIDED = f"""
{SELECT_ENTRIES} WHERE at >= ? AND at <= ? AND call_id = ? AND decision_id = ? AND retry = 0 ORDER BY at LIMIT 1
"""
