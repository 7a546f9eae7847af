"""Entries as rows of the ledger, and back.

Entries come by the hundred, and are turned over into columns: what Python does for a whole column costs next to
nothing, what it does for each entry costs more than SQLite does.

Most of what a row costs SQLite is to be handed its values. So what entries share is one number (`context`), what hardly
any query asks for is packed (`details`), and a column in which no entry at hand has anything is left to the statement.
Python's sqlite3 takes int, float, str and bytearray as they are; to find out that it can take None or bytes costs it
ten times as much. So what does not apply is 0 or empty, and a number that nobody knows is handed over as NaN, which
SQLite stores as NULL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite, nan
from operator import add
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from ..core import Finish, Nanos, Usage, Weighed
from .candidates import pack_choices, pack_estimates, unpack_candidates
from .entries import Body, Entry, Status
from .names import CONTEXT, LARGEST, Names, whole

Value = int | float | str | bytes | bytearray | None
Column = Sequence[Value]

IDS: Final = ("attempt_id", "call_id", "parent_id", "run_id", "session", "decision_id")
COLUMNS: Final = (
    *IDS,
    *("at", "context", "key", "user", "tags", "seconds", "ttft"),
    *("input_tokens", "output_tokens", "cost", "list_cost", "holds", "held", "features", "details"),
)
_LINKS = IDS[2:]
_ABSENT: Final = {
    **dict.fromkeys(_LINKS, "''"),
    **dict.fromkeys(("key", "user", "tags", "holds", "held"), "0"),
    **dict.fromkeys(("features", "details"), "x''"),
}
"""What the statement puts into a column that it is not given."""

AT_ONCE: Final = 16
"""Rows of one statement. By itself a row takes SQLite a third longer; among more than 16 it takes no less."""


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
    """Those that could be chosen, 12 bytes each: see candidates.py."""
    rejected: int | None = None
    """rejections.id"""
    estimates: bytes = b""
    """What was expected of those in `candidates`, 10 bytes each: see candidates.py. Empty where nothing was."""
    conversation: str = ""


def insert_entries(connection: sqlite3.Connection, entries: Sequence[Entry], names: Names) -> int:
    """Those whose attempt is stored already are passed over. Gives the number of new ones."""
    if not entries:
        return 0
    columns = entry_columns(entries, names)
    given, width = tuple(columns), len(columns)
    values: list[Value] = [None] * (width * len(entries))
    for place, column in enumerate(columns.values()):
        values[place::width] = column
    many = len(values) - len(values) % (width * AT_ONCE)
    before = connection.total_changes
    insert_many = _insert(given, AT_ONCE)
    for start in range(0, many, width * AT_ONCE):
        connection.execute(insert_many, values[start : start + width * AT_ONCE])
    rest = [values[start : start + width] for start in range(many, len(values), width)]
    connection.executemany(_insert(given, 1), rest)
    return connection.total_changes - before


@lru_cache(maxsize=64)
def _insert(given: tuple[str, ...], rows: int) -> str:
    left = {column: value for column, value in _ABSENT.items() if column not in given}
    row = f"({', '.join((*'?' * len(given), *left.values()))})"
    columns = ", ".join((*given, *left))
    return f"INSERT INTO entries ({columns}) VALUES {', '.join([row] * rows)} ON CONFLICT (attempt_id) DO NOTHING"


INSERT_BODY: Final = (
    "INSERT INTO bodies (attempt_id, at, prompt, answer) VALUES (?, ?, ?, ?) ON CONFLICT (attempt_id) DO NOTHING"
)
SELECT_ENTRIES: Final = (
    f"SELECT {', '.join((*COLUMNS, *CONTEXT))} FROM entries CROSS JOIN contexts ON contexts.id = entries.context"
)
"""For `row_entry`. CROSS: contexts are looked up for entries, never the other way round."""

_encode = msgspec.msgpack.Encoder().encode
_decode_details = msgspec.msgpack.Decoder(Details).decode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


def entry_columns(entries: Sequence[Entry], names: Names) -> dict[str, Column]:
    """Column → its value for each of `entries`, of which there is at least one. Of `_ABSENT` only those columns in
    which one of them has something. A number that is absurd (infinite, or past 2^53) becomes unknown."""
    field = _turned_over(Entry, entries)
    usages = field["usage"]
    count = _turned_over(Usage, usages if all(usages) else [usage or Usage() for usage in usages])
    field |= {"tier": count["service_tier"], "estimated": count["estimated"]}
    read, written = _totals(usages, count)
    columns: dict[str, Column] = {
        "attempt_id": _packed_ids(field["attempt_id"]),
        "call_id": _packed_ids(field["call_id"]),
        "at": _finite(field["at"], 0.0),
        "context": names.contexts([field[name] for name in CONTEXT]),
        "seconds": _finite(field["seconds"], _UNKNOWN),
        "ttft": _finite(field["ttft"], _UNKNOWN),
        "input_tokens": read,
        "output_tokens": written,
        "cost": _whole(field["cost"]),
        "list_cost": _whole(field["list_cost"]),
    }
    for name in _LINKS:
        if _differ(field[name], ""):
            columns[name] = _packed_ids(field[name])
    for name in ("key", "user"):
        if _differ(field[name], ""):
            columns[name] = names.numbers(field[name])
    if _differ(field["tags"], ()):
        columns["tags"] = names.arrays(tuple(dict.fromkeys(tags)) for tags in field["tags"])
    if _differ(field["holds"], ()):
        columns["holds"] = names.arrays(field["holds"])
    if _differ(field["held"], None):
        columns["held"] = [whole(held) or 0 for held in field["held"]]
    if _differ(field["features"], b""):
        columns["features"] = [bytearray(features) if features else _NOTHING for features in field["features"]]
    weighed = [field[name] for name in ("probability", "state_version", "candidates", "conversation")]
    counted = [count[name] for name in ("cache_read", "cache_write", "cache_write_1h", "reasoning")]
    if any(map(_differ, (*counted, *weighed), _NO_DETAILS)):
        columns["details"] = [
            _NOTHING if detail == _NO_DETAILS else _details(names, *detail)
            for detail in zip(*counted, *weighed, strict=True)
        ]
    return columns


_UNKNOWN = nan
_NOTHING = bytearray()
_NO_DETAILS = (0, 0, 0, 0, None, "", (), "")


def _turned_over(kind: type[Struct], structs: Sequence[Struct]) -> dict[str, Sequence[Any]]:
    """Field → its value in each of `structs`, which are of that kind, and at least one."""
    return dict(zip(kind.__struct_fields__, zip(*map(astuple, structs), strict=True), strict=True))


def _differ(values: Sequence[object], usual: object) -> bool:
    """Whether there are others than the usual one."""
    return values.count(usual) < len(values)


def _packed_ids(texts: Sequence[str]) -> Column:
    """As `pack_id` packs them, three times as fast where all are of the kind that we make."""
    if set(map(len, texts)) == {32}:
        try:
            packed = list(map(bytearray.fromhex, texts))
        except ValueError:
            pass
        else:
            if bytearray().join(packed).hex() == "".join(texts):
                return packed
    return [pack_id(text) for text in texts]


def _finite(numbers: Sequence[float | None], other: float) -> Column:
    """With `other` in place of what is unknown or infinite."""
    try:
        if isfinite(sum(numbers)):  # type: ignore[arg-type]
            return numbers
    except TypeError:  # some are None
        pass
    return [other if number is None or not isfinite(number) else number for number in numbers]


def _whole(numbers: Sequence[int | None]) -> Column:
    """With _UNKNOWN in place of what is unknown or absurd."""
    try:
        total = sum(numbers)  # type: ignore[arg-type]
        if min(numbers) >= 0 and total <= LARGEST and isinstance(total, int):  # type: ignore[type-var,operator]
            return numbers
    except TypeError:  # some are None
        pass
    return [_UNKNOWN if (known := whole(number)) is None else known for number in numbers]


def _totals(usages: Sequence[Usage | None], count: dict[str, Sequence[Any]]) -> tuple[Column, Column]:
    """All tokens that went in, and all that came out; unknown both where either is."""
    read, written = count["input"], count["output"]
    for name in ("cache_read", "cache_write", "cache_write_1h"):
        if _differ(count[name], 0):
            read = list(map(add, read, count[name]))
    if _differ(count["reasoning"], 0):
        written = list(map(add, written, count["reasoning"]))
    if all(usages) and _whole(read) is read and _whole(written) is written:
        return read, written
    known = [
        usage is not None and None not in (whole(went_in), whole(came_out))
        for usage, went_in, came_out in zip(usages, read, written, strict=True)
    ]
    return _where(known, read), _where(known, written)


def _where(known: Sequence[bool], numbers: Sequence[int]) -> Column:
    return [number if is_known else _UNKNOWN for is_known, number in zip(known, numbers, strict=True)]


def _details(
    names: Names,
    cache_read: int,
    cache_write: int,
    cache_write_1h: int,
    reasoning: int,
    probability: float | None,
    state_version: str,
    candidates: Sequence[Weighed],
    conversation: str,
) -> bytearray:
    choosable = [candidate for candidate in candidates if not candidate.rejected]
    rejected = [candidate for candidate in candidates if candidate.rejected]
    details = Details(
        cache_read=cache_read,
        cache_write=cache_write,
        cache_write_1h=cache_write_1h,
        reasoning=reasoning,
        probability=probability if probability is not None and isfinite(probability) else None,
        state_version=state_version,
        candidates=pack_choices(choosable, names),
        rejected=names.rejection(rejected),
        estimates=pack_estimates(choosable),
        conversation=conversation,
    )
    return bytearray(_encode(details))


def settled_amount(entry: Entry) -> int:
    """What its purses pay for it: the cost as it is stored, or what was reserved where nobody knows the cost."""
    cost: int | None = entry.cost
    if cost is None or not 0 <= cost <= LARGEST:
        cost = whole(cost)
    return max(0, (whole(entry.held) or 0) if cost is None else cost)


SETTLED_AMOUNT: Final = "max(0, coalesce(cost, held, 0))"
"""The same in SQL."""


def row_entry(row: Sequence[Value], names: Names) -> Entry:
    """The entry that SELECT_ENTRIES gives as `row`."""
    value = dict(zip((*COLUMNS, *CONTEXT), row, strict=True))
    details = read_details(_bytes(value["details"])) or Details()
    holds = _decode_tags(names.text(_number(value["holds"])) or "[]")
    ids = {name: unpack_id(value[name]) for name in IDS}
    words = {name: str(value[name]) for name in _WORDS}
    return Entry(
        **ids,
        **words,
        status=msgspec.convert(value["status"], Status),
        finish=msgspec.convert(value["finish"], Finish | Literal[""]),
        at=_real(value["at"]) or 0.0,
        seconds=_real(value["seconds"]) or 0.0,
        ttft=_real(value["ttft"]),
        probability=details.probability,
        state_version=details.state_version,
        conversation=details.conversation,
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
        candidates=unpack_candidates(details.candidates, details.estimates, names.rejected(details.rejected), names),
        holds=holds,
        held=_nanos(value["held"]) if holds else None,
    )


def read_details(packed: bytes) -> Details | None:
    """None where they were damaged: the rest of the entry stands by itself."""
    try:
        return _decode_details(packed) if packed else Details()
    except msgspec.DecodeError:
        return None


_PLAIN = _encode(Details())
_OTHERS = ("status", "stream", "upstream_status", "retry", "tier", "estimated", "finish")
_WORDS = tuple(name for name in CONTEXT if name not in _OTHERS)


def body_row(body: Body) -> tuple[Value, ...]:
    return pack_id(body.attempt_id), body.at if isfinite(body.at) else 0.0, body.prompt, body.answer


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


def _number(value: Value) -> int | None:
    return int(value) if isinstance(value, int) else None


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


def _real(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _nanos(value: Value) -> Nanos | None:
    return Nanos(value) if isinstance(value, int) else None
