"""One request and its answer, as whoever answers sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

from ..core import CallError, CallTooLarge

BODILESS = frozenset((204, 304))
STATUS_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MOST_GATHERED = 64 * 1024
"""Bytes that are gathered before they are sent."""
UNASKED = 512 * 1024
"""Bytes of a body that are kept before anybody has asked for it."""

Header = tuple[bytes, bytes]


class ClientGone(Exception):
    """The client has closed its connection: there is nobody to answer."""


class SlowBody(CallError):
    """The rest of a body does not come."""

    kind = "slow"
    status = 408


class Line(Protocol):
    """As much of a connection as an exchange needs."""

    is_lost: bool
    is_held: bool

    def now(self) -> float: ...

    def date(self) -> bytes: ...

    def future(self) -> asyncio.Future[None]: ...

    async def room(self) -> None: ...

    def send(self, data: bytes) -> None: ...

    def soon(self, callback: Callable[[], None]) -> None: ...

    def abort(self) -> None: ...

    def may_go_on(self, exchange: Exchange) -> bool: ...

    def finished(self, exchange: Exchange, *, keeps: bool) -> None: ...


class Exchange:
    """One request and its answer. The task that answers is cancelled when the client leaves (then `is_gone`), and when
    the server cannot wait any longer (then `is_stopped`)."""

    __slots__ = (
        "method",
        "path",
        "query",
        "headers",
        "quiet",
        "touched",
        "is_begun",
        "is_done",
        "is_stopped",
        "is_whole",
        "_connection",
        "_keeps",
        "_chunked",
        "_expects",
        "_body",
        "_size",
        "_limit",
        "_fault",
        "_waiter",
        "_top",
        "_pieces",
        "_unsent",
    )

    def __init__(self, connection: Line, method: str, target: bytes, headers: dict[bytes, bytes]) -> None:
        path, _, query = target.partition(b"?")
        self.method = method
        self.path = path.decode("latin-1") if b"%" not in path else unquote(path.decode("latin-1"))
        self.query = query.decode("latin-1")
        self.headers = headers
        """Names in lower case; of a header that comes twice the last counts."""
        self.quiet: Callable[[], None] | None = None
        """Called when nothing was sent for some seconds."""
        self.touched = connection.now()
        self.is_begun = False
        """The head of the answer was sent."""
        self.is_done = False
        self.is_stopped = False
        self.is_whole = False
        """The request was read to its end."""
        self._connection = connection
        self._keeps = True
        self._chunked = True
        self._expects = False
        self._body: bytes | bytearray = b""
        self._size = 0
        self._limit = UNASKED
        self._fault: CallError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._top = b""
        """The head, until it is sent."""
        self._pieces: list[bytes] = []
        self._unsent = 0

    @property
    def is_gone(self) -> bool:
        """The client has left."""
        return self._connection.is_lost

    @property
    def is_held(self) -> bool:
        """The client does not read as fast as we write: whoever writes more waits for `drained` first."""
        return self._connection.is_held

    def header(self, name: bytes) -> str:
        value = self.headers.get(name)
        return "" if value is None else value.decode("latin-1")

    async def body(self, limit: int) -> bytes:
        """Raises CallTooLarge past `limit` bytes (for a declared length before any is read), InvalidCall for broken
        framing, SlowBody, ClientGone."""
        declared = self.headers.get(b"content-length")
        if declared is not None and int(declared) > limit:
            raise CallTooLarge(f"The body has {int(declared):,} bytes; at most {limit:,} are taken.")
        if self._size > self._limit:
            raise CallTooLarge("The body came before anybody asked for it.")
        self._limit = limit
        if self._expects and not self.is_whole:
            self._connection.send(CONTINUE)
        while not self.is_whole and self._size <= limit and self._fault is None:
            if self.is_gone:
                raise ClientGone
            self._waiter = self._connection.future()
            await self._waiter
        if self._fault is not None:
            raise self._fault
        if self._size > limit:
            raise CallTooLarge(f"The body is larger than {limit:,} bytes.")
        return bytes(self._body)

    def respond(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        """A whole answer, in one write."""
        length = b"" if status in BODILESS else b"content-length: %d\r\n" % len(body)
        head = self._head(status, headers, length)
        self._connection.send(head if self.method == "HEAD" or not length else head + body)
        self._finish()

    def start(self, status: int, headers: Iterable[Header]) -> None:
        """The head of an answer whose body follows in pieces."""
        head = self._head(status, headers, b"transfer-encoding: chunked\r\n" if self._chunked else b"")
        self._connection.soon(self._flush)
        self._top = head

    def write(self, data: bytes) -> None:
        """A piece of the body. What is written in one turn of the loop goes out at once: each write that is spared is a
        system call, and a packet."""
        self.touched = self._connection.now()
        if not self._pieces and not self._top:
            self._connection.soon(self._flush)
        self._pieces.append(data)
        self._unsent += len(data)
        if self._unsent > MOST_GATHERED:
            self._flush()

    async def drained(self) -> None:
        """Returns when there is room for more."""
        while self.is_held and not self.is_gone:
            await self._connection.room()

    def end(self, data: bytes = b"") -> None:
        """The last piece, and the end of the body."""
        self._pieces.append(data)
        self._flush(b"0\r\n\r\n" if self._chunked else b"")
        self._finish()

    def abort(self) -> None:
        """Cuts the connection: what was sent of a body must not look whole."""
        self.is_done = True
        self._connection.abort()

    def expect(self, *, keeps: bool, chunked: bool, body: bool) -> None:
        """What the request's head says of its answer: whether the connection lives on, whether the client knows chunks,
        whether it waits for a word before it sends its body."""
        self._keeps, self._chunked, self._expects = keeps, chunked, body

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            self._body = b""  # whoever waits for it refuses it
            self._wake()
        elif not self._body:
            self._body = data
        else:
            if not isinstance(self._body, bytearray):
                self._body = bytearray(self._body)
            self._body += data

    def complete(self) -> None:
        self.is_whole = True
        if self._waiter is not None:
            self._wake()

    def fail(self, fault: CallError) -> None:
        """The rest of the body will not come."""
        self._fault = fault
        self._wake()

    def _flush(self, last: bytes = b"") -> None:
        data = b"".join(self._pieces)
        if self.method == "HEAD":
            data = last = b""
        elif self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        top, self._top, self._unsent = self._top, b"", 0
        self._pieces.clear()
        if out := top + data + last:
            self._connection.send(out)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _head(self, status: int, headers: Iterable[Header], framing: bytes) -> bytes:
        self._keeps = self._keeps and self._connection.may_go_on(self)
        closing = b"" if self._keeps else b"connection: close\r\n"
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = b"".join((STATUS_LINES[status], *lines, framing, self._connection.date(), closing, b"\r\n"))
        breaks = len(lines) + 3 + (framing != b"") + (closing != b"")
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\x00" in head:
            raise ValueError("A header of an answer holds a line break.")
        self.is_begun = True
        self.touched = self._connection.now()
        return head

    def _finish(self) -> None:
        self.is_done = True
        self.quiet = None
        self._connection.finished(self, keeps=self._keeps)
