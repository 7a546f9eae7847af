"""The server's side of HTTP/1.1, on asyncio and httptools: connections, and the exchanges that go on on them.

Our own for the same reasons as the client's side (`endpoints/http1.py`): a client that leaves ends its call at once, at
no cost, and a call costs half of what it does behind a general server. No request is begun before the one ahead of it
is answered, and whatever two parsers could read in two ways is refused.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from email.utils import formatdate
from typing import Any, NoReturn, cast

import httptools
import msgspec

from ..core import InvalidCall
from .exchange import STATUS_LINES, Exchange, SlowBody
from .familiar import Familiar
from .heads import MAX_HEAD, Heading, Refused, too_large
from .http import JSON_LINES
from .runner import Runner
from .times import Times

log = logging.getLogger("pointsman.server")

MAX_AHEAD = 64 * 1024
"""Bytes of later requests that wait unread while one is answered; past it the client is held back."""
MOST_AHEAD = 64
"""Requests in one packet, at most."""
MAX_UNSENT = 64 * 1024
"""Bytes that wait for a slow reader; past it the upstream is held back."""
MOST_STRANGERS = 8
"""Heads of one connection that were unlike the one before; past it none is kept any more."""
MAX_LINGER = 64 * 1024 * 1024
"""Bytes of a body that nobody wants."""

Handle = Callable[[Exchange], Coroutine[Any, Any, None] | None]
"""Answers an exchange: at once, or by what it gives back, which runs as a task of its own."""


class Site:
    """What all connections of one server share."""

    def __init__(self, handle: Handle, times: Times) -> None:
        self.handle = handle
        self.times = times
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.empty = asyncio.Event()
        """Set once it drains and no connection is left."""
        self.is_draining = False
        """Every answer says that its connection ends with it."""
        self.date = b""
        self.tick()

    def tick(self) -> None:
        """To be called about once a second: looks at all times that may have run out."""
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        now = self.loop.time()
        for connection in tuple(self.connections):
            connection.tick(now)


class Connection(asyncio.Protocol):
    """One connection: reads requests, and answers them one after the other."""

    __slots__ = (
        "is_lost",
        "is_held",
        "_site",
        "_transport",
        "_parser",
        "_deadline",
        "_heading",
        "_in_head",
        "_head_size",
        "_is_large",
        "_receiving",
        "_parsed",
        "_ahead",
        "_is_paused",
        "_current",
        "_runner",
        "_running",
        "_room",
        "_refusal",
        "_reads",
        "_is_leaving",
        "_is_advancing",
        "_to_discard",
        "_familiar",
        "_strangers",
    )

    def __init__(self, site: Site) -> None:
        self.is_lost = False
        self.is_held = False
        self._site = site
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._deadline = self.now() + self._site.times.idle
        """When this state has lasted too long; never while an answer is made."""
        self._heading = Heading()
        self._in_head = False
        self._head_size = 0
        self._is_large = False
        self._receiving: Exchange | None = None
        """Whose body comes now."""
        self._parsed: deque[Exchange] = deque()
        self._ahead = bytearray()
        self._is_paused = False
        self._current: Exchange | None = None
        self._runner: Runner | None = None
        self._running: Runner | None = None
        """What answers the current exchange, unless that was answered at once."""
        self._room: asyncio.Future[None] | None = None
        self._refusal: Refused | None = None
        """What is said once all requests before it are answered."""
        self._reads = True
        """False once nothing that comes may be read as a request any more."""
        self._is_leaving = False
        self._is_advancing = False
        self._to_discard = MAX_LINGER
        self._familiar: Familiar | None = None
        self._strangers = 0
        """Heads that were no more like the one before."""

    def now(self) -> float:
        return self._site.loop.time()

    def date(self) -> bytes:
        return self._site.date

    def future(self) -> asyncio.Future[None]:
        return self._site.loop.create_future()

    async def room(self) -> None:
        self._room = self._site.loop.create_future()
        await self._room

    def send(self, data: bytes) -> None:
        if not self.is_lost and self._transport is not None:
            self._transport.write(data)

    def soon(self, callback: Callable[[], None]) -> None:
        self._site.loop.call_soon(callback)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def may_go_on(self, exchange: Exchange) -> bool:
        """Whether another request may follow this one."""
        return exchange.is_whole and not self._site.is_draining and (self._reads or bool(self._parsed))

    def retire(self) -> None:
        """Closes it where nothing goes on; else it ends with the answer that is under way."""
        if self._current is None and not self._in_head and not self._parsed:
            self._close()

    def stop(self) -> None:
        """Ends the answer that is under way: its task is cancelled, and says so to the client."""
        if self._current is not None and self._running is not None:
            self._current.is_stopped = True
            self._running.cancel()

    def finished(self, exchange: Exchange, *, keeps: bool) -> None:
        """An answer was sent to its end."""
        if self._current is not exchange:
            return
        self._current = self._running = None
        if not exchange.is_whole:
            self._linger()
        elif not keeps or self._site.is_draining:
            self._close()
        elif self._parsed or self._ahead or self._refusal is not None or not self._reads:
            if not self._is_advancing:
                self._advance()
        else:
            self._deadline = self.now() + (self._site.times.head if self._in_head else self._site.times.idle)

    def tick(self, now: float) -> None:
        exchange = self._current
        if now >= self._deadline:
            self._late()
        elif exchange is not None and exchange.quiet is not None and not self.is_held:
            self._listen_for(exchange, exchange.quiet, now)

    def _listen_for(self, exchange: Exchange, quiet: Callable[[], None], now: float) -> None:
        if exchange.has_spoken:
            exchange.has_spoken = False
            exchange.silent_since = now
        elif now - exchange.silent_since >= self._site.times.quiet:
            exchange.silent_since = now
            quiet()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=MAX_UNSENT)
        self._site.connections.add(self)

    def data_received(self, data: bytes) -> None:
        familiar = self._familiar
        if familiar is not None and self._current is None and not self._in_head and self._reads:
            body = familiar.body(data)
            if body is not None:
                exchange = Exchange(self, familiar.head)
                exchange.receive(body)
                self._begin(exchange)
                return
        if not self._reads:
            self._throw_away(len(data))
            return
        if self._current is not None and self._receiving is not self._current:
            # Kept unread, but read off the socket: else nobody would notice that the client leaves.
            self._ahead += data
            if len(self._ahead) > MAX_AHEAD and self._transport is not None:
                self._is_paused = True
                self._transport.pause_reading()
            return
        is_first = not self._in_head and self._receiving is None
        self._feed(data)
        if is_first and self._strangers < MOST_STRANGERS:
            self._learn(data)
        if self._current is None:
            self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self._reads = False
        self._site.connections.discard(self)
        if self._site.is_draining and not self._site.connections:
            self._site.empty.set()
        self._parser = None  # it holds on to this connection
        self._parsed.clear()
        self._wake_writer()
        if self._runner is not None:
            self._runner.cancel()

    def pause_writing(self) -> None:
        self.is_held = True
        self._deadline = self.now() + self._site.times.stall

    def resume_writing(self) -> None:
        self.is_held = False
        if not self._is_leaving:
            self._deadline = math.inf if self._current is not None else self.now() + self._site.times.idle
        self._wake_writer()

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._in_head, self._head_size, self._heading = True, 0, Heading()
        if self._current is None:
            self._deadline = self.now() + self._site.times.head

    def on_url(self, url: bytes) -> None:
        self._heading.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer says nothing that counts
        try:
            self._heading.add(name, value)
        except Refused as refused:
            self._refuse(refused)

    def on_headers_complete(self) -> None:
        self._in_head = False
        parser = self._parser
        assert parser is not None, "who parses has a parser"
        try:
            head, length = self._heading.whole(
                parser.get_method(),
                parser.get_http_version(),
                keeps=parser.should_keep_alive(),
                may_be_large=self._is_large,
            )
        except Refused as refused:
            self._refuse(refused)
        if len(self._parsed) >= MOST_AHEAD:
            self._refuse(Refused(400, f"More than {MOST_AHEAD} requests came at once."))
        exchange = Exchange(self, head, length)
        self._parsed.append(exchange)
        self._receiving = exchange

    def on_body(self, data: bytes) -> None:
        if self._receiving is not None:
            self._receiving.feed(data)
            self._deadline = self.now() + self._site.times.body

    def on_message_complete(self) -> None:
        if self._receiving is not None:
            exchange, self._receiving = self._receiving, None
            exchange.complete()
            if exchange is self._current:
                self._deadline = math.inf

    # How it goes on.

    def _feed(self, data: bytes) -> None:
        assert self._parser is not None, "a connection that is there has a parser"
        continues = self._in_head
        self._is_large = continues or len(data) > MAX_HEAD
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reads = False  # this is served as what it is without the upgrade
        except httptools.HttpParserError as error:
            self._broken(str(error))
        if self._in_head and continues:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD and self._reads:
                self._reads, self._refusal = False, too_large()

    def _learn(self, data: bytes) -> None:
        """One request came, whole and at once: the next is likely to have the same head."""
        if len(self._parsed) != 1 or not self._parsed[0].is_whole or not self._reads:
            return
        head = self._parsed[0].head
        if head.method == "POST" and head.keeps and not head.expects and b"transfer-encoding" not in head.headers:
            self._familiar = Familiar.of(data, head)
            self._strangers += 1

    def _broken(self, reason: str) -> None:
        """What comes is no HTTP any more."""
        self._reads = False
        if self._receiving is not None and self._refusal is None:
            self._receiving.fail(InvalidCall(f"The body is not framed as HTTP wants it: {reason}."))
        else:
            self._refusal = self._refusal or Refused(400, f"This is not HTTP: {reason}.")

    def _refuse(self, refused: Refused) -> NoReturn:
        """Raised through the parser, which stops at it."""
        self._refusal = self._refusal or refused
        raise refused

    def _advance(self) -> None:
        """Goes on with what was read already, while nothing is under way."""
        self._is_advancing = True
        while self._current is None and not self._is_leaving and not self.is_lost:
            if self._parsed:
                exchange = self._parsed.popleft()
                if exchange is self._receiving and self._ahead:
                    self._read_on()
                self._begin(exchange)
            elif self._refusal is not None:
                self._say(self._refusal)
            elif not self._reads:
                self._close()
            elif self._ahead:
                self._read_on()
            else:
                self._deadline = self.now() + (self._site.times.head if self._in_head else self._site.times.idle)
                break
        self._is_advancing = False

    def _read_on(self) -> None:
        data, self._ahead = bytes(self._ahead), bytearray()
        self._resume()
        self._feed(data)

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        self._deadline = math.inf if exchange.is_whole else self.now() + self._site.times.body
        try:
            handling = self._site.handle(exchange)
        except Exception:
            self._crashed(exchange)
            return
        if handling is not None:
            runner = self._runner
            if runner is None or not runner.is_idle:
                if runner is not None:
                    runner.retire()
                runner = self._runner = Runner(self._site.loop, self._crashed)
            runner.run(exchange, handling)
            self._running = runner

    def _crashed(self, exchange: Exchange) -> None:
        """A fault of ours. The client hears no more of it than that."""
        log.exception("%s %r failed", exchange.method, exchange.path[:200])
        if exchange.is_begun:
            exchange.abort()
        else:
            exchange.respond(500, JSON_LINES, _told("error", "The server failed; its log says how."))

    def _late(self) -> None:
        """A state has lasted too long."""
        if self._is_leaving or self.is_held:
            self.abort()
        elif self._receiving is not None and self._receiving is self._current:
            self._deadline = math.inf
            self._reads = False
            self._receiving.fail(SlowBody(f"Nothing of the body came for {self._site.times.body:g} s."))
        elif self._in_head:
            self._say(Refused(408, f"The head was not whole after {self._site.times.head:g} s."))
        else:
            self._close()

    def _say(self, refused: Refused) -> None:
        """An answer to what is no request; then it is over."""
        body = _told("http", refused.message)
        lines = (STATUS_LINES[refused.status], JSON_LINES, self._site.date)
        self.send(b"".join((*lines, b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body), body)))
        self._linger(MAX_HEAD)

    def _linger(self, most: int = MAX_LINGER) -> None:
        """Ends our side, and lets the client end its own: what it still sends is thrown away."""
        self._reads, self._is_leaving = False, True
        self._deadline = self.now() + self._site.times.linger
        self._to_discard = most
        self._ahead.clear()
        self._resume()
        if self._transport is not None and not self.is_lost:
            with suppress(OSError, RuntimeError):  # it was closed in this very moment
                self._transport.write_eof()

    def _throw_away(self, size: int) -> None:
        self._to_discard -= size
        if self._is_leaving and self._to_discard < 0:
            self.abort()

    def _close(self) -> None:
        self._reads, self._is_leaving = False, True
        self._deadline = self.now() + self._site.times.linger
        if self._transport is not None:
            self._transport.close()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def _wake_writer(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


def _told(kind: str, message: str) -> bytes:
    """The body of an error, in a shape that clients of both APIs read."""
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})
