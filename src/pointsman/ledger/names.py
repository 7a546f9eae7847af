"""What many entries share lies in SQLite once, and has a number by which they name it.

Words and lists that callers make up (users, tags) lie in `names`; what was asked of which model, and how it went, in
`contexts`: a few hundred rows for millions of entries; the rejected candidates of a decision in `rejections`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence, Sized
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec

from ..core import Weighed

CONTEXT: Final = (
    *("model", "endpoint", "provider", "dialect", "op", "stream", "status", "error", "upstream_status", "retry"),
    *("stage", "task", "complexity", "strategy", "policy", "version", "deployment", "tier", "estimated", "finish"),
)
"""The columns of a context. None is NULL: '' stands for a word that does not apply, 0 for a number."""

_Key = TypeVar("_Key")

LARGEST: Final = 2**53
"""Sums of a thousand numbers up to this one still fit SQLite's integers; no true count or price comes near it."""

_encode = msgspec.msgpack.Encoder().encode
_decode_rejected = msgspec.msgpack.Decoder(tuple[tuple[str, str], ...]).decode

_FIND_CONTEXT = f"SELECT id FROM contexts WHERE ({', '.join(CONTEXT)}) = ({', '.join('?' * len(CONTEXT))})"
_ADD_CONTEXT = f"INSERT INTO contexts ({', '.join(CONTEXT)}) VALUES ({', '.join('?' * len(CONTEXT))})"


def whole(number: int | None) -> int | None:
    """A number that is absurd (past 2^53) becomes unknown."""
    return int(number) if number is not None and -LARGEST <= number <= LARGEST else None


class Names:
    """The numbers, looked up once for each connection; what is new is added.

    After a rollback they may be wrong: use a new one.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._forget()

    def contexts(self, columns: Sequence[Sequence[str | int | None]]) -> list[int]:
        """The numbers of what each of some entries shares with others: one for each row of these columns, which are
        those of CONTEXT, and not empty. Most of them bear the same word in all rows."""
        shared = [column[0] for column in columns]
        places = [place for place, column in enumerate(columns) if column.count(column[0]) < len(column)]
        if not places:
            return [self._contexts[tuple(shared)]] * len(columns[0])
        rows = list(zip(*(columns[place] for place in places), strict=True))
        numbers = {}
        for row in dict.fromkeys(rows):
            for place, value in zip(places, row, strict=True):
                shared[place] = value
            numbers[row] = self._contexts[tuple(shared)]
        return [numbers[row] for row in rows]

    def number(self, text: str) -> int:
        """The number of a word; 0 for ''."""
        return self._numbers[text]

    def numbers(self, texts: Iterable[str]) -> list[int]:
        """The numbers of words; 0 for ''."""
        return list(map(self._numbers.__getitem__, texts))

    def arrays(self, lists: Iterable[tuple[str, ...]]) -> list[int]:
        """The numbers of the JSON arrays of texts; 0 for an empty one."""
        return list(map(self._arrays.__getitem__, lists))

    def text(self, number: int | None) -> str:
        if not number:
            return ""
        if number not in self._texts:
            row = self._connection.execute("SELECT text FROM names WHERE id = ?", (number,)).fetchone()
            self._texts[number] = row[0] if row else ""
        return self._texts[number]

    def rejection(self, rejected: Sequence[Weighed]) -> int | None:
        """The number of a list of rejected candidates; None for an empty one."""
        if not rejected:
            return None
        encoded = _encode(rejected)
        found = self._rejections.get(encoded)
        if found is None:
            listed = _encode([(candidate.model, candidate.rejected) for candidate in rejected])
            digest = blake2b(listed, digest_size=16).digest()
            found = self._known(_FIND_REJECTION, _ADD_REJECTION, (digest,), (digest, listed))
            self._rejections[encoded] = found
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
        kept: tuple[Sized, ...] = (self._contexts, self._numbers, self._texts, self._rejections, self._listed)
        if sum(len(known) for known in kept) > 20_000:
            self._forget()

    def _forget(self) -> None:
        self._contexts: _Numbers[tuple[str | int | None, ...]] = _Numbers(self._context)
        self._numbers: _Numbers[str] = _Numbers(self._number, {"": 0})
        self._arrays: _Numbers[tuple[str, ...]] = _Numbers(self._array, {(): 0})
        self._texts: dict[int, str] = {}
        self._rejections: dict[bytes, int] = {}
        self._listed: dict[int, tuple[tuple[str, str], ...]] = {}

    def _context(self, shared: tuple[str | int | None, ...]) -> int:
        values = [whole(value) or 0 if value is None or isinstance(value, int) else value for value in shared]
        return self._known(_FIND_CONTEXT, _ADD_CONTEXT, tuple(values))

    def _number(self, text: str) -> int:
        return self._known(_FIND_NAME, _ADD_NAME, (text,))

    def _array(self, texts: tuple[str, ...]) -> int:
        return self.number(msgspec.json.encode(texts).decode())

    def _known(self, find: str, add: str, key: tuple[object, ...], values: tuple[object, ...] = ()) -> int:
        """The id of the row with that key; where there is none yet, of a new one with these values."""
        row = self._connection.execute(find, key).fetchone()
        if row is None:
            self._connection.execute(add, values or key)
            row = self._connection.execute(find, key).fetchone()
        return int(row[0])


class _Numbers(dict[_Key, int]):
    """Key → its number, looked up when it is first asked for."""

    def __init__(self, look_up: Callable[[_Key], int], known: dict[_Key, int] | None = None) -> None:
        super().__init__(known or {})
        self._look_up = look_up

    def __missing__(self, key: _Key) -> int:
        found = self[key] = self._look_up(key)
        return found


_FIND_NAME = "SELECT id FROM names WHERE text = ?"
_ADD_NAME = "INSERT INTO names (text) VALUES (?)"
_FIND_REJECTION = "SELECT id FROM rejections WHERE digest = ?"
_ADD_REJECTION = "INSERT INTO rejections (digest, listed) VALUES (?, ?)"
