"""The head of a request that is known again: a client sends the same with every call."""

from __future__ import annotations

import re

from .heads import Head


class Familiar:
    """A head as it came, to be known again without being parsed. All of it must be the same to the byte, but for the
    digits that say how long the body is."""

    __slots__ = ("head", "_front", "_back")

    def __init__(self, head: Head, front: bytes, back: bytes) -> None:
        self.head = head
        self._front = front
        """Up to the digits."""
        self._back = back
        """From behind them to the end of the head."""

    @classmethod
    def of(cls, data: bytes, head: Head) -> Familiar | None:
        """`data`: a whole request that was found to be sound."""
        end = data.find(b"\r\n\r\n") + 4
        stated = list(_LENGTH.finditer(data, 0, end))
        return cls(head, data[: stated[0].start(1)], data[stated[0].end(1) : end]) if len(stated) == 1 else None

    def body(self, data: bytes) -> bytes | None:
        """The body of a request with this head that is whole in `data`, and all there is; None for anything else."""
        front, back = self._front, self._back
        if not data.startswith(front):
            return None
        start = len(front)
        end = data.find(b"\r", start, start + 9)
        if end < 0 or not data.startswith(back, end):
            return None
        digits, body = data[start:end], data[end + len(back) :]
        return body if digits.isdigit() and int(digits) == len(body) else None


_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,8})(?=\r\n)", re.IGNORECASE)
