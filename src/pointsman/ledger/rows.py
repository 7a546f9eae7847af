"""An Entry as a row of the ledger, and back.

Most of what a row costs is to hand its values to SQLite. So what entries share is one number (`context`), and what
hardly any query asks for is packed (`details`). None and bytes take Python's sqlite3 ten times as long as int, float,
str and bytearray do: what does not apply is 0 or empty, and only a number that nobody knows is NULL.
"""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec
from msgspec import Struct

from ..core import Nanos, Usage, Weighed
from .entries import Body, Entry, Status
from .names import CONTEXT, Names, whole

Value = int | float | str | bytes | bytearray | None

IDS: Final = ("attempt_id", "call_id", "parent_id", "run_id", "session", "decision_id")
COLUMNS: Final = (
    *IDS,
    *("at", "context", "key", "user", "tags", "seconds", "ttft"),
    *("input_tokens", "output_tokens", "cost", "list_cost", "holds", "held", "features", "details"),
)

AT_ONCE: Final = 64
"""Rows of one statement. SQLite works without Python's global lock while a statement runs, and takes it back after
each: row by row, that costs the thread which serves calls more than the rows themselves."""


class Details(Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """What is packed into the column `details`, which is empty where nothing of it applies. As in a journal, a field is
    known by its place: new ones go to the end, with a default."""

    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    probability: float | None = None
    state_version: str = ""
    candidates: bytes = b""
    """Those that could be chosen, 12 bytes each: names.id (u32), score (f32, NaN for none), probability (f32)."""
    rejected: int | None = None
    """rejections.id"""


def insert_entries(connection: sqlite3.Connection, rows: Sequence[Sequence[Value]]) -> int:
    """Rows of `entry_row`; those whose attempt is stored already are passed over. Gives the number of new ones."""
    before = connection.total_changes
    many = len(rows) - len(rows) % AT_ONCE
    for start in range(0, many, AT_ONCE):
        connection.execute(_INSERT_MANY, list(chain.from_iterable(rows[start : start + AT_ONCE])))
    connection.executemany(_INSERT_ONE, rows[many:])
    return connection.total_changes - before


_ROW = f"({', '.join('?' * len(COLUMNS))})"
_INSERT_ONE = f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES {_ROW} ON CONFLICT (attempt_id) DO NOTHING"
_INSERT_MANY = _INSERT_ONE.replace(_ROW, ", ".join([_ROW] * AT_ONCE))

INSERT_BODY: Final = (
    "INSERT INTO bodies (attempt_id, at, prompt, answer) VALUES (?, ?, ?, ?) ON CONFLICT (attempt_id) DO NOTHING"
)
SELECT_ENTRIES: Final = (
    f"SELECT {', '.join((*COLUMNS, *CONTEXT))} FROM entries CROSS JOIN contexts ON contexts.id = entries.context"
)
"""For `row_entry`. CROSS: contexts are looked up for entries, never the other way round."""

_CANDIDATE = struct.Struct("<Iff")

_encode = msgspec.msgpack.Encoder().encode
_decode_details = msgspec.msgpack.Decoder(Details).decode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


def entry_row(entry: Entry, names: Names) -> tuple[Value, ...]:
    """The values of COLUMNS. A number that is absurd (infinite, or past 2^53) becomes unknown."""
    usage, tags = entry.usage, entry.tags
    return (
        pack_id(entry.attempt_id),
        pack_id(entry.call_id),
        entry.parent_id and pack_id(entry.parent_id),
        entry.run_id and pack_id(entry.run_id),
        entry.session and pack_id(entry.session),
        entry.decision_id and pack_id(entry.decision_id),
        _finite(entry.at) or 0.0,
        names.context(entry),
        names.number(entry.key),
        names.number(entry.user),
        names.array(tuple(dict.fromkeys(tags))) if tags else 0,
        _finite(entry.seconds),
        _finite(entry.ttft),
        *(_totals(usage) if usage else _UNKNOWN),
        whole(entry.cost),
        whole(entry.list_cost),
        names.array(entry.holds),
        whole(entry.held) or 0,
        bytearray(entry.features) if entry.features else _NOTHING,
        _details(entry, usage or _NO_USAGE, names),
    )


_NO_USAGE = Usage()
_UNKNOWN = (None, None)


def _totals(usage: Usage) -> tuple[int | None, int | None]:
    """All tokens that went in, and all that came out; None for both where either is absurd."""
    read = whole(usage.input + usage.cache_read + usage.cache_write + usage.cache_write_1h)
    written = whole(usage.output + usage.reasoning)
    return _UNKNOWN if read is None or written is None else (read, written)


def _details(entry: Entry, usage: Usage, names: Names) -> bytearray:
    candidates = entry.candidates
    if not (
        candidates
        or usage.cache_read
        or usage.cache_write
        or usage.cache_write_1h
        or usage.reasoning
        or entry.probability is not None
        or entry.state_version
    ):
        return _NOTHING
    packed, rejected = [], []
    for candidate in candidates:
        if candidate.rejected:
            rejected.append(candidate)
        else:
            packed.append(_packed(candidate, names))
    details = Details(
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        cache_write_1h=usage.cache_write_1h,
        reasoning=usage.reasoning,
        probability=_finite(entry.probability),
        state_version=entry.state_version,
        candidates=b"".join(packed),
        rejected=names.rejection(rejected),
    )
    return bytearray(_encode(details))


_NOTHING = bytearray()


def settled_amount(entry: Entry) -> int:
    """What its purses pay for it: the cost as it is stored, or what was reserved where nobody knows the cost."""
    cost = whole(entry.cost)
    return max(0, (whole(entry.held) or 0) if cost is None else cost)


SETTLED_AMOUNT: Final = "max(0, coalesce(cost, held, 0))"
"""The same in SQL."""


def row_entry(row: Sequence[Value], names: Names) -> Entry:
    """The entry that SELECT_ENTRIES gives as `row`."""
    value = dict(zip((*COLUMNS, *CONTEXT), row, strict=True))
    details = _decode_details(_bytes(value["details"]) or _NO_DETAILS)
    holds = _decode_tags(names.text(_number(value["holds"])) or "[]")
    ids = {name: unpack_id(value[name]) for name in IDS}
    words = {name: str(value[name]) for name in _WORDS}
    return Entry(
        **ids,
        **words,
        status=msgspec.convert(value["status"], Status),
        at=_real(value["at"]) or 0.0,
        seconds=_real(value["seconds"]) or 0.0,
        ttft=_real(value["ttft"]),
        probability=details.probability,
        state_version=details.state_version,
        stream=bool(value["stream"]),
        retry=_number(value["retry"]) or 0,
        upstream_status=_number(value["upstream_status"]) or None,
        cost=_nanos(value["cost"]),
        list_cost=_nanos(value["list_cost"]),
        usage=_usage(value, details),
        key=names.text(_number(value["key"])),
        user=names.text(_number(value["user"])),
        tags=_decode_tags(names.text(_number(value["tags"])) or "[]"),
        features=_bytes(value["features"]),
        candidates=_candidates(details, names),
        holds=holds,
        held=_nanos(value["held"]) if holds else None,
    )


_NO_DETAILS = _encode(Details())
_WORDS = tuple(
    name for name in CONTEXT if name not in ("status", "stream", "upstream_status", "retry", "tier", "estimated")
)


def body_row(body: Body) -> tuple[Value, ...]:
    return pack_id(body.attempt_id), _finite(body.at) or 0.0, body.prompt, body.answer


def pack_id(text: str) -> bytearray | str:
    """32 lower-case hexadecimal digits as 16 bytes; any other id as it is."""
    if len(text) == 32:
        try:
            packed = bytearray.fromhex(text)
        except ValueError:
            return text
        return packed if packed.hex() == text else text
    return text


def unpack_id(value: Value) -> str:
    return value.hex() if isinstance(value, bytes) else str(value or "")


def _usage(value: dict[str, Value], details: Details) -> Usage | None:
    read, written = _number(value["input_tokens"]), _number(value["output_tokens"])
    if read is None or written is None:
        return None
    return Usage(
        input=read - details.cache_read - details.cache_write - details.cache_write_1h,
        cache_read=details.cache_read,
        cache_write=details.cache_write,
        cache_write_1h=details.cache_write_1h,
        output=written - details.reasoning,
        reasoning=details.reasoning,
        estimated=bool(value["estimated"]),
        service_tier=str(value["tier"]),
    )


def _packed(candidate: Weighed, names: Names) -> bytes:
    score = math.nan if candidate.score is None else candidate.score
    number = names.number(candidate.model)
    try:
        return _CANDIDATE.pack(number, score, candidate.probability)
    except OverflowError:  # past what single precision holds
        return _CANDIDATE.pack(number, math.nan, 0.0)


def _candidates(details: Details, names: Names) -> tuple[Weighed, ...]:
    return (
        *(
            Weighed(names.text(number), _seven_digits(score), _seven_digits(probability) or 0.0)
            for number, score, probability in _CANDIDATE.iter_unpack(details.candidates)
        ),
        *(Weighed(model, rejected=why) for model, why in names.rejected(details.rejected)),
    )


def _seven_digits(number: float) -> float | None:
    """A number of single precision as it was written down: 0.1, not 0.10000000149."""
    return float(f"{number:.7g}") if math.isfinite(number) else None


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _number(value: Value) -> int | None:
    return int(value) if isinstance(value, int) else None


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


def _real(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _nanos(value: Value) -> Nanos | None:
    return Nanos(value) if isinstance(value, int) else None
