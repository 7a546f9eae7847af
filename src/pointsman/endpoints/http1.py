"""The way to an upstream: HTTP/1.1 on asyncio and httptools, with a warm pool, without a proxy.

Its own for two reasons. A call that is cancelled closes its connection at once, also while the head of the reply is
awaited: other clients let such a request run on, and a model writes, and bills, a whole answer for nobody. And it costs
a third less CPU than the fastest client there is, since no second thread takes part.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import cast
from urllib.parse import quote, urlsplit

import httptools
import truststore
from msgspec import Struct

from ..core import AttemptError, BrokenReply, Busy, Unreachable, UpstreamTimeout
from .coding import uncoded
from .egress import Egress, Resolve, connect, system_addresses
from .transport import Incoming

MAX_HEAD = 64 * 1024
"""Bytes of a reply's head, at most."""

MAX_WAITING = 1024 * 1024
"""Bytes of a reply that wait for their reader before the upstream is held back."""

MAX_IDLE = 64
"""Connections that are kept for each server."""

MOST_HEADS = 1024

IDLE_SECONDS = 60.0
"""After so long a kept connection is not trusted any more."""


class Http1Transport:
    """A Transport that knows no proxy and follows no redirect, and goes only where `egress` allows.

    `pooled`: keep connections for the next call. `private_network`: a public name may lead to a private address.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        pooled: bool = True,
        private_network: bool = False,
        resolve: Resolve = system_addresses,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._egress = Egress(private_network=private_network, resolve=resolve)
        self._pooled = pooled
        self._idle: dict[tuple[str, int, bool], list[_Connection]] = {}
        self._trusted: ssl.SSLContext | None = None
        self._heads: dict[tuple[str, str], tuple[Mapping[str, str], _Server, bytes]] = {}

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Incoming:
        """Raises UpstreamTimeout, Unreachable or BrokenReply; Busy where this machine has no socket left."""
        server, head = self._head(method, url, headers)
        request = head + (b"\r\n" if body is None else b"content-length: %d\r\n\r\n%b" % (len(body), body))
        kept = self._take(server)
        if kept is not None:
            with suppress(_Stale):  # it was closed while it was idle: once more, on a fresh one
                return await self._ask(kept, server, request)
        return await self._ask(await self._connect(server), server, request)

    async def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[_Server, bytes]:
        """An endpoint posts with the same headers again and again: they are written once."""
        known = self._heads.get((method, url))
        if known is not None and known[0] is headers:
            return known[1], known[2]
        server = _Server.of(url)
        head = _write_head(method, server, headers)
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[method, url] = (headers, server, head)
        return server, head

    async def _ask(self, connection: _Connection, server: _Server, request: bytes) -> Incoming:
        try:
            await connection.ask(request)
        except BaseException:
            connection.abort()
            raise
        return uncoded(_Http1Incoming(connection, self, server))

    async def _connect(self, server: _Server) -> _Connection:
        """One deadline for all of it: the look-up, the connection, the handshake."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await self._open(server)
        except TimeoutError:
            raise UpstreamTimeout(f"{server.name} did not take the connection in time.") from None
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise Busy("This machine has no socket left for another call: try again soon.") from None
            raise Unreachable(f"{server.name} cannot be reached ({_reason(error)}).") from None

    async def _open(self, server: _Server) -> _Connection:
        sock = await connect(await self._egress.addresses(server.host), server.port)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(server),
                sock=sock,
                ssl=self._trust() if server.tls else None,
                # The address was chosen by us; the certificate is the name's.
                server_hostname=server.host if server.tls else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    def _trust(self) -> ssl.SSLContext:
        """The authorities that the operating system trusts, on each system in its own way; made once."""
        if self._trusted is None:
            self._trusted = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return self._trusted

    def _take(self, server: _Server) -> _Connection | None:
        loop = asyncio.get_running_loop()
        connections = self._idle.get(server.place, [])
        while connections:
            connection = connections.pop()
            if connection.loop is loop and connection.is_open and loop.time() - connection.since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def keep(self, connection: _Connection, server: _Server) -> None:
        """Takes back a connection whose reply was read to its end."""
        connections = self._idle.setdefault(server.place, [])
        if self._pooled and len(connections) < MAX_IDLE:
            connections.append(connection)
        else:
            connection.abort()


def _reason(error: OSError) -> str:
    """asyncio writes an address in the place of the reason."""
    if error.errno is None or isinstance(error, socket.gaierror | ssl.SSLError):
        return error.strerror or str(error)
    return os.strerror(error.errno)


class _Server(Struct, frozen=True):
    name: str
    """Host and port as the URL states them."""
    host: str
    port: int
    tls: bool
    path: str

    @property
    def place(self) -> tuple[str, int, bool]:
        return self.host, self.port, self.tls

    @classmethod
    def of(cls, url: str) -> _Server:
        """Raises Unreachable for what is no address of a server."""
        try:
            parts = urlsplit(url)
            tls = parts.scheme == "https"
            port = parts.port or (443 if tls else 80)
            host = parts.hostname or ""
            if not host.isascii():
                host = host.encode("idna").decode()
        except ValueError as error:
            shown = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
            raise Unreachable(f"{shown or 'The base_url'} is no address of a server ({error}).") from None
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{parts.query}" if parts.query else "")
        name = parts.netloc.rpartition("@")[2]
        return cls(name if name.isascii() else f"{host}:{port}", host, port, tls, path)


def _write_head(method: str, server: _Server, headers: Mapping[str, str]) -> bytes:
    """All of a request's head but its length and the empty line."""
    fields = {"host": server.name, "accept": "*/*", "accept-encoding": "identity", **headers}
    lines = [f"{method} {server.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any(not line.isprintable() or not line.isascii() for line in lines):
        raise Unreachable(f"A header for {server.name} has signs that no header may have: is its key whole?")
    return "\r\n".join([*lines, ""]).encode()


class _Stale(Exception):
    """A kept connection was closed before anything of a reply came."""


class _HeadTooLarge(Exception):
    """Never leaves the parser."""


class _Connection(asyncio.Protocol):
    """One connection, and the reply that comes on it now."""

    def __init__(self, server: _Server) -> None:
        self.loop = asyncio.get_running_loop()
        self.since = 0.0
        """When it was last given back."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_complete = False
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._lost = False
        self._error: AttemptError | None = None
        self._used = 0
        self._held = False
        self._waiter: asyncio.Future[None] | None = None
        self._begin()

    @property
    def is_open(self) -> bool:
        return not self._lost and self._transport is not None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """The reply was read to its end, and the upstream keeps the connection."""
        return self.is_open and self.is_complete and self._keeps and self._error is None and not self._chunks

    async def ask(self, request: bytes) -> None:
        """Returns when the head of the reply is there."""
        self._begin()
        self._used += 1
        if self._transport is not None:
            self._transport.write(request)
        while not self._has_head:
            if self._lost and self._used > 1 and not self._head_bytes:
                raise _Stale
            await self._more()

    async def chunk(self) -> bytes | None:
        """The next piece of the body; None at its end. Raises BrokenReply when the connection fails before."""
        while not self._chunks:
            if self.is_complete:
                return None
            await self._more()
        chunk = self._chunks.popleft()
        self._waiting -= len(chunk)
        if self._held and self._waiting < MAX_WAITING and self._transport is not None:
            self._held = False
            self._transport.resume_reading()
        return chunk

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers, self.is_complete = 0, {}, False
        self._has_head = False
        self._head_bytes = 0
        self._fields_bytes = 0
        self._keeps = True
        self._chunks: deque[bytes] = deque()
        self._waiting = 0

    async def _more(self) -> None:
        """Waits for news. Raises when there can be none."""
        if self._error is not None:
            raise self._error
        if self._lost:
            raise BrokenReply(f"The connection to {self._server.name} ended before the reply did.")
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("sent what is not HTTP")
        if not self._has_head and self._head_bytes > MAX_HEAD:
            self._fail(f"sent a head of more than {MAX_HEAD:,} bytes")
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "")
        if self._has_head and not framed and error is None:
            self.is_complete = True  # a reply without a length ends with its connection
        self._wake()

    def _fail(self, what: str) -> None:
        self._error = self._error or BrokenReply(f"{self._server.name} {what}.")
        self.abort()

    def on_message_begin(self) -> None:
        if self.is_complete:
            self._fail("sent a reply that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields_bytes += len(name) + len(value)
        if self._fields_bytes > MAX_HEAD:
            self._fail(f"sent a head of more than {MAX_HEAD:,} bytes")
            raise _HeadTooLarge  # stops the parser: the rest of it may be here already
        if self._has_head:
            return  # a trailer says nothing that counts
        self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers = {}  # an interim reply: the real one follows
            return
        self.status, self._has_head = status, True

    def on_body(self, data: bytes) -> None:
        if self.is_complete:
            return
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting >= MAX_WAITING and not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if not self._has_head:
            return
        self._keeps = self._keeps and self._parser.should_keep_alive()
        self.is_complete = True


class _Http1Incoming:
    __slots__ = ("_connection", "_transport", "_server", "_closed", "status")

    def __init__(self, connection: _Connection, transport: Http1Transport, server: _Server) -> None:
        self._connection = connection
        self._transport = transport
        self._server = server
        self._closed = False
        self.status = connection.status

    def header(self, name: str) -> str:
        return self._connection.headers.get(name.lower(), "")

    def headers(self) -> Mapping[str, str]:
        return self._connection.headers

    async def chunk(self) -> bytes | None:
        return None if self._closed else await self._connection.chunk()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._connection.is_reusable:
            self._connection.since = self._connection.loop.time()
            self._transport.keep(self._connection, self._server)
        else:
            self._connection.abort()
