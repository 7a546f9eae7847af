"""One connection to an upstream, and the replies that come on it: HTTP/1.1 by httptools, on asyncio."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Mapping
from typing import Protocol, cast

import httptools

from ..core import AttemptError, BrokenReply
from .coding import uncoded
from .familiar import Familiar
from .headers import Headers, lower
from .transport import Incoming, Sink
from .watch import Watch

MAX_HEAD = 64 * 1024
"""Bytes of a reply's head, at most; and of its trailers."""

MAX_WAITING = 1024 * 1024
"""Bytes of a reply that wait for their reader before the upstream is held back."""


class Stale(Exception):
    """A kept connection was closed before anything of a reply came."""


class Keeper(Protocol):
    """Where connections come from, and go back to."""

    name: str
    """Of the server, for messages."""
    familiar: Familiar | None
    """How its replies begin."""
    idle: list[Connection]
    """Those whose reply was read to its end, and that may be used again."""
    most_idle: int

    def learn(self, data: bytes, headers: Mapping[str, bytes], body: bytes) -> None:
        """A reply that did not look familiar was sound, and is whole."""
        ...


class Connection(asyncio.Protocol):
    """It asks, and reads, one thing at a time."""

    __slots__ = (
        "loop",
        "since",
        "until",
        "turn",
        "is_open",
        "is_complete",
        "waiting",
        "_keeper",
        "_watch",
        "_parser",
        "_transport",
        "_error",
        "_is_over",
        "_is_kept",
        "_keeps",
        "_is_held",
        "_asked",
        "_reader",
        "_sink",
        "_has_head",
        "_head_bytes",
        "_headers",
        "_fields",
        "_pieces",
        "on_header",
        "on_body",
    )

    def __init__(self, keeper: Keeper, watch: Watch) -> None:
        self.loop = watch.loop
        self.since = 0.0
        """When it was last given back."""
        self.until = math.inf
        self.turn = 0
        """Counts what was asked."""
        self.is_open = False
        """A request may be sent."""
        self.is_complete = True
        """Nothing more of a reply is awaited."""
        self.waiting = 0
        """Bytes that came since the reader took any."""
        self._keeper = keeper
        self._watch = watch
        self._transport: asyncio.Transport
        self._error: AttemptError | None = None
        self._is_over = True
        """Nothing more comes: the reply is complete, or failed."""
        self._is_kept = False
        """It has served before."""
        self._keeps = False
        """The upstream keeps the connection after its last reply."""
        self._is_held = False
        self._asked: asyncio.Future[Incoming] | None = None
        """Who waits for a head."""
        self._reader: asyncio.Future[bytes | None] | None = None
        """Who waits for more of a body."""
        self._sink: Sink | None = None
        """What takes it meanwhile."""
        self._has_head = True
        self._head_bytes = 0
        """Of the head, or the trailers, that come now."""
        self._headers: dict[str, bytes] = {}
        self._fields: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        # What only stores is called by the parser without a step of Python between. The first of two headers counts.
        self.on_header = self._fields.setdefault
        self.on_body = self._pieces.append
        self._parser = httptools.HttpResponseParser(self)

    def ask(self, request: bytes, until: float) -> asyncio.Future[Incoming]:
        """Sends a request. The reply, when its head is there; fails with Stale, TimeoutError or BrokenReply."""
        self.turn += 1
        self.until = until
        self.is_complete = self._is_over = self._has_head = False
        asked = self._asked = asyncio.Future()
        watch = self._watch
        watch.busy.add(self)
        if not watch.is_awake:
            watch.wake()
        if self.is_open:
            self._transport.write(request)
        else:
            asked.set_exception(self._failure())
        return asked

    def read(self, until: float) -> asyncio.Future[bytes | None]:
        """What has come of the body, or comes next; None at its end. Fails with TimeoutError, or with BrokenReply when
        the connection ends before the body does."""
        self.until = until
        reader = self._reader = asyncio.Future()
        if until <= self._watch.now:
            self.expire()
        elif self._pieces or self._is_over:
            self._tell(reader)
        return reader

    def flow(self, sink: Sink, until: float) -> asyncio.Future[bytes | None]:
        """As `Incoming.flow`."""
        self.until = until
        reader = self._reader = asyncio.Future()
        self._sink = sink
        if self._pieces or self._is_over:
            self._pour(reader, sink)
        return reader

    def take(self) -> bytes:
        """What has come of the body; b'' where nothing has."""
        self.waiting = 0
        if self._is_held:
            self._is_held = False
            self._transport.resume_reading()
        pieces = self._pieces
        if len(pieces) == 1:
            return pieces.pop()
        data = b"".join(pieces)
        pieces.clear()
        return data

    def release(self) -> None:
        """The reply is not read any further: keeps the connection, or closes it where something may still come."""
        if self.is_complete and self._keeps and not self._pieces:
            self._rest()
        else:
            self.abort()

    def abort(self) -> None:
        self._watch.busy.discard(self)
        self.is_open = False
        self._transport.abort()

    def expire(self) -> None:
        waiter: asyncio.Future[bytes | None] | asyncio.Future[Incoming] | None
        waiter = self._reader if self._has_head else self._asked
        if waiter is not None and not waiter.done():
            waiter.set_exception(TimeoutError())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        begins = False
        if not self._has_head:
            begins = not self._head_bytes
            if begins and self._is_familiar(data):
                return
            self._head_bytes += len(data)
        elif self._fields:  # trailers
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("sent what is not HTTP")
        if self._head_bytes > MAX_HEAD:
            self._fail(f"sent a head of more than {MAX_HEAD:,} bytes")
        reader, pieces, sink = self._reader, self._pieces, self._sink
        if reader is None:
            self._unread(data, begins)
        elif sink is not None:
            self._pour(reader, sink)
        elif len(pieces) == 1 and not reader.done():  # as it mostly is
            self._reader = None
            reader.set_result(pieces.pop())
        else:
            self._tell(reader)

    def eof_received(self) -> None:
        self.is_open = False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._is_over = True
        if not self._has_head:
            self._refuse()
        elif not self._is_framed and error is None and self._error is None:
            self.is_complete = True  # a reply without a length ends with its connection
        if self._reader is not None and self._sink is not None:
            self._pour(self._reader, self._sink)
        elif self._reader is not None:
            self._tell(self._reader)

    @property
    def _is_framed(self) -> bool:
        return "content-length" in self._headers or b"chunked" in self._headers.get("transfer-encoding", b"").lower()

    def on_message_begin(self) -> None:
        if self.is_complete:
            self._fail("sent a reply that nobody asked for")
            raise _Enough

    def on_headers_complete(self) -> None:
        fields, size, self._head_bytes = self._fields, self._head_bytes, 0
        if size > MAX_HEAD and sum(map(len, fields)) + sum(map(len, fields.values())) > MAX_HEAD:
            self._fail(f"sent a head of more than {MAX_HEAD:,} bytes")
            raise _Enough
        status = self._parser.get_status_code()
        if status < 200:  # an interim reply: the real one follows
            self._head_bytes = size
        else:
            # Backwards, since the first of two spellings counts.
            self._headers = dict(zip(map(lower, reversed(fields)), reversed(fields.values()), strict=True))
            self._has_head = True
            asked, self._asked = self._asked, None
            if asked is not None and not asked.done():
                asked.set_result(uncoded(Http1Incoming(self, status, self._headers)))
        fields.clear()

    def on_message_complete(self) -> None:
        if self._has_head:
            self.is_complete = self._is_over = True
            # What the parser may remember of trailers is not worth a thought.
            self._keeps = not self._fields and self._parser.should_keep_alive()

    def _is_familiar(self, data: bytes) -> bool:
        """The usual case: all of the reply in one piece, with a head like that of the last one."""
        familiar, asked = self._keeper.familiar, self._asked
        reply = None if familiar is None else familiar.read(data)
        if reply is None or asked is None or asked.done():
            return False
        self._asked = None
        asked.set_result(reply)
        self.is_complete = self._has_head = True
        self._rest()
        return True

    def _rest(self) -> None:
        """The reply was read to its end."""
        keeper = self._keeper
        if not self.is_open or len(keeper.idle) >= keeper.most_idle:
            self.abort()
            return
        self._watch.busy.discard(self)
        self._is_kept = True
        self.since = self.loop.time()
        keeper.idle.append(self)

    def _pour(self, reader: asyncio.Future[bytes | None], sink: Sink) -> None:
        """Gives the sink what there is; the reader hears of the end, and of a sink that wants no more."""
        if reader.done():
            return
        pieces = self._pieces
        try:
            if pieces:
                self.until = sink(pieces.pop() if len(pieces) == 1 and not self.waiting else self.take())
        except Exception as error:
            self._sink = self._reader = None
            reader.set_exception(error)
            return
        if not self.until:
            self._sink = self._reader = None
            reader.set_result(None)
        elif self._is_over:
            self._sink = None
            self._tell(reader)

    def _tell(self, reader: asyncio.Future[bytes | None]) -> None:
        """Gives the reader what there is; nothing where nothing is."""
        if reader.done():
            return
        if self._pieces:
            reader.set_result(self.take())
        elif self.is_complete:
            reader.set_result(None)
        elif self._is_over:
            reader.set_exception(self._failure())
        else:
            return
        self._reader = None

    def _unread(self, data: bytes, begins: bool) -> None:
        """Nobody waits for what has come."""
        if begins and self.is_complete and self._keeps and len(self._pieces) == 1:
            self._keeper.learn(data, self._headers, self._pieces[0])
            return
        self.waiting = self.waiting + len(data) if self._pieces else 0
        if self.waiting >= MAX_WAITING and not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def _fail(self, what: str) -> None:
        self._error = self._error or BrokenReply(f"{self._keeper.name} {what}.")
        self._is_over = True
        if not self._has_head:
            self._refuse()
        self.abort()

    def _refuse(self) -> None:
        """There will be no head."""
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(self._failure())

    def _failure(self) -> Exception:
        if self._error is not None:
            return self._error
        if self._is_kept and not self._has_head and not self._head_bytes:
            return Stale()
        return BrokenReply(f"The connection to {self._keeper.name} ended before the reply did.")


class Http1Incoming:
    """A reply on a connection, which it leaves when it is closed."""

    __slots__ = ("_connection", "_headers", "status")

    def __init__(self, connection: Connection, status: int, headers: Mapping[str, bytes]) -> None:
        self._connection: Connection | None = connection
        self._headers = headers
        self.status = status

    def header(self, name: str) -> str:
        return str(self._headers.get(name, b""), "latin-1").strip()

    def headers(self) -> Mapping[str, str]:
        return Headers(self._headers)

    def whole(self) -> bytes | None:
        connection = self._connection
        if connection is None or not connection.is_complete:
            return None
        self._connection = None
        body = connection.take()
        connection.release()
        return body

    def chunk(self, until: float = math.inf) -> Awaitable[bytes | None]:
        return _nothing() if self._connection is None else self._connection.read(until)

    async def flow(self, sink: Sink, until: float) -> None:
        if self._connection is not None:
            await self._connection.flow(sink, until)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def __del__(self) -> None:
        connection = self._connection
        if connection is not None and not connection.loop.is_closed():
            connection.loop.call_soon_threadsafe(connection.abort)


class _Enough(Exception):
    """Stops the parser, which may have much more of it, and never leaves it."""


async def _nothing() -> None:
    return None
