"""The way to an upstream: HTTP/1.1 on asyncio and httptools, with a warm pool, without a proxy.

Its own for two reasons. A call that is cancelled closes its connection at once, also while the head of the reply is
awaited: other clients let such a request run on, and a model writes, and bills, a whole answer for nobody. And it costs
a third less CPU than the fastest client there is, since no second thread takes part.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
import ssl
import time
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import truststore
from msgspec import Struct

from ..core import UNSENT, Busy, Unreachable, UpstreamTimeout
from .connection import Connection, Stale
from .egress import Egress, Resolve, connect, system_addresses
from .familiar import Familiar
from .transport import Incoming
from .watch import Watch

MAX_IDLE = 64
"""Connections that are kept for each server."""

MOST_HEADS = 1024

LESSON = 100
"""Of so many replies that begin in an unknown way one is learnt, since learning costs as much as a call."""

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
        self._most_idle = MAX_IDLE if pooled else 0
        self._servers: dict[tuple[str, int, bool], _Server] = {}
        self._trusted: ssl.SSLContext | None = None
        self._heads: dict[tuple[str, str], _Head] = {}
        self._watch: Watch | None = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, until: float = math.inf
    ) -> Incoming:
        """Raises UpstreamTimeout, Unreachable or BrokenReply; Busy where this machine has no socket left."""
        head = self._heads.get((method, url))
        if head is None or head.headers is not headers:
            head = self._head(method, url, headers)
        request = (
            b"%bcontent-length: %d\r\n\r\n%b" % (head.written, len(body), body)
            if body is not None
            else (head.written + b"\r\n")
        )
        connection = head.server.take() or await self._first(head.server, until)
        asked, turn = connection.ask(request, until), connection.turn
        try:
            try:
                return await asked
            except Stale:  # it was closed while it was idle: once more, on a fresh one
                connection = await self._connect(head.server, until)
                asked, turn = connection.ask(request, until), connection.turn
                return await asked
        except BaseException:
            if connection.turn == turn:  # else the reply came all the same, and it serves the next
                connection.abort()
            raise

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> _Head:
        """An endpoint posts with the same headers again and again: they are written once."""
        address = _Address.of(url)
        server = self._servers.get(address.place)
        if server is None:
            server = self._servers[address.place] = _Server(address, self._most_idle)
        head = _Head(headers, server, _write_head(method, address, headers))
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[method, url] = head
        return head

    async def _first(self, server: _Server, until: float) -> Connection:
        """A connection for what was not sent on another one before."""
        try:
            return await self._connect(server, until)
        except asyncio.CancelledError as cancelled:
            cancelled.add_note(UNSENT)
            raise

    async def _connect(self, server: _Server, until: float) -> Connection:
        """One deadline for all of it: the look-up, the connection, the handshake."""
        try:
            async with asyncio.timeout(min(self._connect_timeout, until - time.monotonic())):
                return await self._open(server)
        except TimeoutError:
            if time.monotonic() >= until:
                raise
            raise UpstreamTimeout(f"{server.name} did not take the connection in time.") from None
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise Busy("This machine has no socket left for another call: try again soon.") from None
            raise Unreachable(f"{server.name} cannot be reached ({_reason(error)}).") from None

    async def _open(self, server: _Server) -> Connection:
        loop = asyncio.get_running_loop()
        if self._watch is None or self._watch.loop is not loop:
            self._watch = Watch(loop)
        watch = self._watch
        sock = await connect(await self._egress.addresses(server.host), server.port)
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(server, watch),
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


class _Server:
    """Where connections lead, and those of them that are kept."""

    __slots__ = ("name", "host", "port", "tls", "familiar", "idle", "most_idle", "_strange")

    def __init__(self, address: _Address, most_idle: int) -> None:
        self.name = address.name
        self.host, self.port, self.tls = address.place
        self.familiar: Familiar | None = None
        self.idle: list[Connection] = []
        self.most_idle = most_idle
        self._strange = 0

    def take(self) -> Connection | None:
        """A kept connection that can be used: the one that served last."""
        idle = self.idle
        if not idle:
            return None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while idle:
            connection = idle.pop()
            if connection.is_open and connection.loop is loop and now - connection.since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def learn(self, data: bytes, headers: Mapping[str, bytes], body: bytes) -> None:
        if self._strange % LESSON == 0:
            self.familiar = Familiar.of(data, headers, body) or self.familiar
        self._strange += 1

    def close(self) -> None:
        while self.idle:
            self.idle.pop().abort()


class _Head(Struct, frozen=True):
    """All of a request's head but its length and the empty line."""

    headers: Mapping[str, str]
    """What it was written from."""
    server: _Server
    written: bytes


def _reason(error: OSError) -> str:
    """asyncio writes an address in the place of the reason."""
    if error.errno is None or isinstance(error, socket.gaierror | ssl.SSLError):
        return error.strerror or str(error)
    return os.strerror(error.errno)


class _Address(Struct, frozen=True):
    """What a URL says."""

    name: str
    """Host and port as they are stated."""
    place: tuple[str, int, bool]
    """Host, port, whether by TLS."""
    path: str

    @classmethod
    def of(cls, url: str) -> _Address:
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
        return cls(name if name.isascii() else f"{host}:{port}", (host, port, tls), path)


def _write_head(method: str, address: _Address, headers: Mapping[str, str]) -> bytes:
    fields = {"host": address.name, "accept": "*/*", "accept-encoding": "identity", **headers}
    lines = [f"{method} {address.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any(not line.isprintable() or not line.isascii() for line in lines):
        raise Unreachable(f"A header for {address.name} has signs that no header may have: is its key whole?")
    return "\r\n".join([*lines, ""]).encode()
