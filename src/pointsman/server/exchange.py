"""One request and its answer, as whoever answers sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from ..core import CallError, CallTooLarge
from .heads import Head

BODILESS = frozenset((204, 304))
STATUS_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
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
        "head",
        "quiet",
        "has_spoken",
        "silent_since",
        "is_begun",
        "is_done",
        "is_stopped",
        "is_whole",
        "_connection",
        "_keeps",
        "_is_plain",
        "_length",
        "_body",
        "_size",
        "_limit",
        "_fault",
        "_waiter",
        "_top",
    )

    def __init__(self, connection: Line, head: Head, length: int | None = None) -> None:
        """`length`: of the body, where it is known before it has come."""
        self.head = head
        self.quiet: Callable[[], None] | None = None
        """Called when nothing was sent for some seconds."""
        self.has_spoken = False
        """Something was sent since this was last set back: by whoever counts the seconds."""
        self.silent_since = 0.0
        self.is_begun = False
        """The head of the answer was sent."""
        self.is_done = False
        self.is_stopped = False
        self.is_whole = False
        """The request was read to its end."""
        self._connection = connection
        self._keeps = head.keeps
        self._is_plain = head.knows_chunks and head.method != "HEAD"
        self._length = length
        self._body: bytes | bytearray = b""
        self._size = 0
        self._limit = UNASKED
        self._fault: CallError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._top = b""
        """The head of the answer, until it is sent."""

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def query(self) -> str:
        return self.head.query

    @property
    def headers(self) -> dict[bytes, bytes]:
        return self.head.headers

    @property
    def is_gone(self) -> bool:
        """The client has left."""
        return self._connection.is_lost

    def header(self, name: bytes) -> str:
        value = self.head.headers.get(name)
        return "" if value is None else value.decode("latin-1")

    def at_hand(self, limit: int) -> bytes | None:
        """The body, where it is here already; None where `body` must be asked for it."""
        if self.is_whole and self._size <= limit and self._size <= UNASKED and self._fault is None:
            return bytes(self._body)
        return None

    async def body(self, limit: int) -> bytes:
        """Raises CallTooLarge past `limit` bytes (for a declared length before any is read), InvalidCall for broken
        framing, SlowBody, ClientGone."""
        if self._length is not None and self._length > limit:
            raise CallTooLarge(f"The body has {self._length:,} bytes; at most {limit:,} are taken.")
        if self._size > self._limit:
            raise CallTooLarge("The body came before anybody asked for it.")
        self._limit = limit
        if self.head.expects and not self.is_whole:
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

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer, in one write. `headers`: as `lines` writes them."""
        length = b"" if status in BODILESS else b"content-length: %d\r\n" % len(body)
        top = self._head(status, headers, length)
        self._connection.send(top if self.head.method == "HEAD" or not length else top + body)
        self._finish()

    def start(self, status: int, headers: bytes) -> None:
        """The head of an answer whose body follows in pieces."""
        self.has_spoken = True
        top = self._head(status, headers, b"transfer-encoding: chunked\r\n" if self.head.knows_chunks else b"")
        self._connection.soon(self._flush)
        self._top = top

    def listen(self, quiet: Callable[[], None]) -> None:
        """`quiet` is called each time that nothing was sent for some seconds."""
        self.silent_since = self._connection.now()
        self.quiet = quiet

    def write(self, data: bytes) -> bool:
        """A piece of the body, sent at once: each is a system call and a packet, so what is there together is written
        together. True: wait for `drained` before more."""
        self.has_spoken = True
        connection = self._connection
        if self._top or not self._is_plain:
            self._send(data, b"")
        else:
            connection.send(b"%x\r\n%b\r\n" % (len(data), data))
        return connection.is_held

    async def drained(self) -> None:
        """Returns when there is room for more: the client does not read as fast as we write."""
        while self._connection.is_held and not self.is_gone:
            await self._connection.room()

    def end(self, data: bytes = b"") -> None:
        """The last piece, and the end of the body."""
        self._send(data, b"0\r\n\r\n" if self.head.knows_chunks else b"")
        self._finish()

    def abort(self) -> None:
        """Cuts the connection: what was sent of a body must not look whole."""
        self.is_done = True
        self._connection.abort()

    def receive(self, body: bytes) -> None:
        """All of the body, at once."""
        self._body, self._size, self.is_whole = body, len(body), True

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

    def _send(self, data: bytes, last: bytes) -> None:
        head = self.head
        if head.method == "HEAD":
            data = last = b""
        if data and head.knows_chunks:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._top or last:
            data, self._top = self._top + data + last, b""
        if data:
            self._connection.send(data)

    def _flush(self) -> None:
        """The head goes out also where nothing follows it soon."""
        if self._top:
            self._send(b"", b"")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _head(self, status: int, headers: bytes, framing: bytes) -> bytes:
        connection = self._connection
        if self._keeps and not connection.may_go_on(self):
            self._keeps = False
        closing = b"" if self._keeps else b"connection: close\r\n"
        self.is_begun = True
        return b"%b%b%b%b%b\r\n" % (STATUS_LINES[status], headers, framing, connection.date(), closing)

    def _finish(self) -> None:
        self.is_done = True
        self.quiet = None
        self._connection.finished(self, keeps=self._keeps)


def lines(*headers: Header) -> bytes:
    """Headers as they are sent. Raises ValueError for one that would end its line."""
    written = b"".join([b"%b: %b\r\n" % header for header in headers])
    if written.count(b"\n") != len(headers) or written.count(b"\r") != len(headers) or b"\x00" in written:
        raise ValueError("A header of an answer holds a line break.")
    return written
