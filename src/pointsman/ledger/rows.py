"""An Entry as a row of the ledger, and back."""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import chain
from operator import attrgetter
from typing import Final

import msgspec

from ..core import Nanos, Usage, Weighed
from .entries import Body, Entry, Status

Value = int | float | str | bytes | None

IDS: Final = ("attempt_id", "call_id", "parent_id", "run_id", "session", "decision_id")
NAMES: Final = (
    "model",
    "endpoint",
    "provider",
    "dialect",
    "op",
    "status",
    "error",
    "stage",
    "task",
    "complexity",
    "strategy",
    "policy",
    "state_version",
    "key",
    "user",
    "version",
    "deployment",
)
COUNTS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "estimated")
COLUMNS: Final = (
    *IDS,
    *NAMES,
    *("at", "seconds", "ttft", "probability"),
    *("stream", "retry", "upstream_status", "cost", "list_cost"),
    *COUNTS,
    *("tier", "tags", "features", "candidates", "rejected"),
)

AT_ONCE: Final = 64
"""Rows of one statement. SQLite works without Python's global lock while a statement runs, and takes it back after
each: row by row, that costs the thread which serves calls more than the rows themselves."""


def insert_entries(connection: sqlite3.Connection, rows: Sequence[Sequence[Value]]) -> None:
    """Rows of `entry_row`; those whose attempt is stored already are passed over."""
    whole = len(rows) - len(rows) % AT_ONCE
    for start in range(0, whole, AT_ONCE):
        connection.execute(_INSERT_MANY, list(chain.from_iterable(rows[start : start + AT_ONCE])))
    connection.executemany(_INSERT_ONE, rows[whole:])


_ROW = f"({', '.join('?' * len(COLUMNS))})"
_INSERT_ONE = f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES {_ROW} ON CONFLICT (attempt_id) DO NOTHING"
_INSERT_MANY = _INSERT_ONE.replace(_ROW, ", ".join([_ROW] * AT_ONCE))

INSERT_BODY: Final = (
    "INSERT INTO bodies (attempt_id, at, prompt, answer) VALUES (?, ?, ?, ?) ON CONFLICT (attempt_id) DO NOTHING"
)
SELECT_ENTRIES: Final = f"SELECT {', '.join(COLUMNS)} FROM entries"

_LARGEST = 2**53
"""Sums of a thousand numbers up to this one still fit SQLite's integers; no true count or price comes near it."""

_ids_of = attrgetter(*IDS)
_names_of = attrgetter(*NAMES)
_counts_of = attrgetter(*COUNTS)
_no_counts = (None,) * len(COUNTS)

_CANDIDATE = struct.Struct("<Iff")
"""names.id, score (NaN where it has none), probability: single precision is plenty, and half the room."""

_encode = msgspec.msgpack.Encoder().encode
_decode_rejected = msgspec.msgpack.Decoder(tuple[tuple[str, str], ...]).decode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class Names:
    """The words behind the numbers: looked up once for each connection, added where they are new.

    After a rollback its numbers may be wrong: use a new one.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._forget()

    def number(self, text: str) -> int | None:
        """The number of `text`, which is added to the ledger if need be; None for ''."""
        return self.numbers((text,))[0]

    def numbers(self, texts: Iterable[str]) -> list[int | None]:
        known = self._numbers
        try:
            return [known[text] for text in texts]
        except KeyError:
            return [known[text] if text in known else self._add(text) for text in texts]

    def text(self, number: int | None) -> str:
        if number is None:
            return ""
        if number not in self._texts:
            row = self._connection.execute("SELECT text FROM names WHERE id = ?", (number,)).fetchone()
            self._texts[number] = row[0] if row else ""
        return self._texts[number]

    def rejection(self, rejected: Sequence[Weighed]) -> int | None:
        """The number of a list of rejected candidates; None for an empty one."""
        if not rejected:
            return None
        listed = _encode([(candidate.model, candidate.rejected) for candidate in rejected])
        found = self._rejections.get(listed)
        if found is None:
            digest = blake2b(listed, digest_size=16).digest()
            found = self._known("rejections", "digest", digest, listed)
            self._rejections[listed] = found
        return found

    def rejected(self, number: int | None) -> tuple[tuple[str, str], ...]:
        """(model, reason) of each rejected candidate."""
        if number is None:
            return ()
        if number not in self._listed:
            row = self._connection.execute("SELECT listed FROM rejections WHERE id = ?", (number,)).fetchone()
            self._listed[number] = _decode_rejected(row[0]) if row else ()
        return self._listed[number]

    def trim(self) -> None:
        """Forgets everything once it is much: callers may make up new users and tags without end."""
        if len(self._numbers) + len(self._texts) + len(self._rejections) + len(self._listed) > 20_000:
            self._forget()

    def _forget(self) -> None:
        self._numbers: dict[str, int | None] = {"": None}
        self._texts: dict[int, str] = {}
        self._rejections: dict[bytes, int] = {}
        self._listed: dict[int, tuple[tuple[str, str], ...]] = {}

    def _add(self, text: str) -> int:
        found = self._numbers[text] = self._known("names", "text", text, text)
        return found

    def _known(self, table: str, unique: str, key: str | bytes, value: str | bytes) -> int:
        select = f"SELECT id FROM {table} WHERE {unique} = ?"
        row = self._connection.execute(select, (key,)).fetchone()
        if row is None and table == "names":
            self._connection.execute("INSERT INTO names (text) VALUES (?)", (value,))
        elif row is None:
            self._connection.execute("INSERT INTO rejections (digest, listed) VALUES (?, ?)", (key, value))
        return int((row or self._connection.execute(select, (key,)).fetchone())[0])


def entry_row(entry: Entry, names: Names) -> tuple[Value, ...]:
    """The values of COLUMNS. A number that is absurd (infinite, or past 2^53) becomes unknown."""
    usage = entry.usage
    counts = _counts_of(usage) if usage else _no_counts
    if usage and not (min(counts) >= -_LARGEST and max(counts) <= _LARGEST):
        counts = _no_counts
    tags = tuple(dict.fromkeys(entry.tags)) if entry.tags else ()
    candidates = entry.candidates
    return (
        *[pack_id(text) if text else None for text in _ids_of(entry)],
        *names.numbers(_names_of(entry)),
        *(_finite(entry.at) or 0.0, _finite(entry.seconds), _finite(entry.ttft), _finite(entry.probability)),
        *(int(entry.stream), _whole(entry.retry), _whole(entry.upstream_status)),
        *(_whole(entry.cost), _whole(entry.list_cost)),
        *counts,
        names.number(usage.service_tier) if usage else None,
        names.number(msgspec.json.encode(tags).decode()) if tags else None,
        entry.features or None,
        b"".join([_packed(one, names) for one in candidates if not one.rejected]) or None if candidates else None,
        names.rejection([one for one in candidates if one.rejected]) if candidates else None,
    )


def row_entry(row: Sequence[Value], names: Names) -> Entry:
    """The entry that SELECT_ENTRIES gives as `row`."""
    value = dict(zip(COLUMNS, row, strict=True))
    ids = {name: unpack_id(value[name]) for name in IDS}
    texts = {name: names.text(_number(value[name])) for name in NAMES}
    status: Status = msgspec.convert(texts.pop("status"), Status)
    return Entry(
        **ids,
        **texts,
        status=status,
        at=_real(value["at"]) or 0.0,
        seconds=_real(value["seconds"]) or 0.0,
        ttft=_real(value["ttft"]),
        probability=_real(value["probability"]),
        stream=bool(value["stream"]),
        retry=_number(value["retry"]) or 0,
        upstream_status=_number(value["upstream_status"]),
        cost=_nanos(value["cost"]),
        list_cost=_nanos(value["list_cost"]),
        usage=_usage(value, names),
        tags=_decode_tags(names.text(_number(value["tags"])) or "[]"),
        features=value["features"] if isinstance(value["features"], bytes) else b"",
        candidates=_candidates(value, names),
    )


def body_row(body: Body) -> tuple[Value, ...]:
    return pack_id(body.attempt_id), _finite(body.at) or 0.0, body.prompt, body.answer


def pack_id(text: str) -> bytes | str | None:
    """32 lower-case hexadecimal digits as 16 bytes; '' as None; any other id as it is."""
    if not text:
        return None
    if len(text) == 32:
        try:
            packed = bytes.fromhex(text)
        except ValueError:
            return text
        return packed if packed.hex() == text else text
    return text


def unpack_id(value: Value) -> str:
    return value.hex() if isinstance(value, bytes) else str(value or "")


def _usage(value: dict[str, Value], names: Names) -> Usage | None:
    if value["input"] is None:
        return None
    counts = {name: _number(value[name]) or 0 for name in COUNTS if name != "estimated"}
    return Usage(**counts, estimated=bool(value["estimated"]), service_tier=names.text(_number(value["tier"])))


def _packed(candidate: Weighed, names: Names) -> bytes:
    score = math.nan if candidate.score is None else candidate.score
    number = names.number(candidate.model) or 0
    try:
        return _CANDIDATE.pack(number, score, candidate.probability)
    except OverflowError:  # past what single precision holds
        return _CANDIDATE.pack(number, math.nan, 0.0)


def _candidates(value: dict[str, Value], names: Names) -> tuple[Weighed, ...]:
    packed = value["candidates"]
    weighed = _CANDIDATE.iter_unpack(packed) if isinstance(packed, bytes) else ()
    return (
        *(
            Weighed(names.text(number or None), _seven_digits(score), _seven_digits(probability) or 0.0)
            for number, score, probability in weighed
        ),
        *(Weighed(model, rejected=why) for model, why in names.rejected(_number(value["rejected"]))),
    )


def _seven_digits(number: float) -> float | None:
    """A number of single precision as it was written down: 0.1, not 0.10000000149."""
    return float(f"{number:.7g}") if math.isfinite(number) else None


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _whole(number: int | None) -> int | None:
    return int(number) if number is not None and -_LARGEST <= number <= _LARGEST else None


def _number(value: Value) -> int | None:
    return int(value) if isinstance(value, int) else None


def _real(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _nanos(value: Value) -> Nanos | None:
    return Nanos(value) if isinstance(value, int) else None
