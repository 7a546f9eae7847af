"""The head of a reply that is known again: an upstream sends much the same one with every answer."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Mapping
from typing import Self

from .headers import LateHeaders, lower
from .transport import Sink, flow_by_chunks

MOST_BYTES = 4096
"""A longer head is no usual one."""


class Familiar:
    """A head that was parsed once, to be known again without: the same status, and the same names in the same order.
    Values may differ, but for those by which a parser, or a reader, decides how to go on."""

    __slots__ = ("names", "fixed", "_match")

    def __init__(self, pattern: bytes, names: tuple[str, ...], fixed: dict[str, str]) -> None:
        self.names = names
        self.fixed = fixed
        """The values that are always the same."""
        self._match = re.compile(pattern).match

    @classmethod
    def of(cls, data: bytes, headers: Mapping[str, bytes], body: bytes) -> Self | None:
        """`data`: a reply in which a parser has found these headers, this body, nothing else, and that the connection
        is kept. None for what is too unusual."""
        end = data.find(b"\r\n\r\n")
        first, *lines = data[:end].split(b"\r\n")
        if end > MOST_BYTES or first[9:12] != b"200":
            return None
        pattern = re.escape(first)
        names: list[str] = []
        for line in lines:
            written, _, value = line.partition(b":")
            name = lower(written)
            if name in names or name in _NEVER:
                return None
            names.append(name)
            fixed = rb"[ \t]*+" + re.escape(value.strip())
            known = fixed if name in _FIXED else _LENGTH if name == "content-length" else _ANY
            pattern += rb"\r\n%b:%b" % (re.escape(written), known)
        if "content-length" not in names:
            return None
        texts = {name: str(value, "latin-1").strip() for name, value in headers.items()}
        always = {name: texts[name] for name in names if name in _FIXED}
        familiar = cls(pattern + rb"\r\n\r\n", tuple(names), always)
        again = familiar.read(data)
        return familiar if again is not None and again.headers() == texts and again.whole() == body else None

    def read(self, data: bytes) -> WholeIncoming | None:
        """The reply, where `data` is all of it and begins with this head; None for anything else."""
        match = self._match(data)
        if match is None:
            return None
        end = match.end()
        is_sound = int(match[1]) == len(data) - end and data.count(b"\n", 0, end) == len(self.names) + 2
        return WholeIncoming(self, data, end) if is_sound else None


class WholeIncoming:
    """A reply that came in one piece, and has left its connection already."""

    __slots__ = ("_familiar", "_data", "_end", "_read")

    status = 200

    def __init__(self, familiar: Familiar, data: bytes, end: int) -> None:
        self._familiar = familiar
        self._data = data
        self._end = self._read = end
        """Of the head, and up to where it was read."""

    def header(self, name: str) -> str:
        value = self._familiar.fixed.get(name)
        return self.headers().get(name, "") if value is None else value

    def headers(self) -> Mapping[str, str]:
        return LateHeaders(self._familiar.names, self._data, self._end)

    def whole(self) -> bytes | None:
        return self._data[self._end :]

    async def chunk(self, until: float = math.inf) -> bytes | None:
        start, self._read = self._read, len(self._data)
        return self._data[start:] or None

    def flow(self, sink: Sink, until: float) -> Awaitable[None]:
        return flow_by_chunks(self, sink, until)

    async def close(self) -> None:
        pass


_NEVER = frozenset(("content-encoding", "transfer-encoding", "upgrade", "trailer"))
_FIXED = frozenset(("connection", "proxy-connection", "content-type"))
# Possessive, so that no head can be written that takes long to be found another one.
_LENGTH = rb"[ \t]*+([0-9]{1,8}+)"
_ANY = rb"[^\r]*+"
