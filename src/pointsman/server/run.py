"""`serve`: bind, say where and how to connect, and run until told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import signal
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..core import ConfigError
from ..gateway import Gateway
from .app import Application

KEEP_ALIVE_SECONDS = 75
DRAIN_SECONDS = 60
BACKLOG = 2048
MAX_HEAD = 64 * 1024
"""Bytes of a request's head, at most, beside those of its first packet."""
WEAK_KEYS = frozenset({"sk-1234", "changeme", "password", "secret", "test", "admin", "master", "key"})


def serve(
    gateway: Gateway,
    *,
    host: str,
    port: int,
    announce: Callable[[str, str], None],
) -> None:
    """Runs until SIGINT or SIGTERM. `announce(url, key)` is called once it accepts connections; `key` is the key that
    was made because there was none, else ''.

    Raises ConfigError for a port that is taken, and for weak or missing keys on an address that others can reach.
    """
    own_key = gateway.environment.secret(gateway.config.server.key, where="server.key")
    check_exposure(host, own_key)
    listener = _bind(host, port)
    made = "" if own_key else first_key(gateway)
    url = f"http://{_shown(host)}:{listener.getsockname()[1]}"
    server = _Server(
        uvicorn.Config(
            Application(gateway, own_key=own_key),
            loop="uvloop",
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            date_header=True,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        ),
        started=lambda: announce(url, made),
    )
    # uvicorn restores these handlers when it has drained and raises the signal again: being told to stop is no failure.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, server.handle_exit)
    server.run(sockets=[listener])


def first_key(gateway: Gateway) -> str:
    """A key made because there is none yet; '' where there is one."""
    keys = gateway.ledger.keys
    if any(key.revoked is None for key in keys.list()):
        return ""
    text, _ = keys.create("first", scopes=("call", "read", "admin"))
    return text


def check_exposure(host: str, own_key: str) -> None:
    """Raises ConfigError for a weak key of the user's own on an address that other machines can reach."""
    if not own_key or is_loopback(host):
        return
    weakness = _weakness(own_key)
    if weakness:
        raise ConfigError(
            f"`server.key` {weakness}, and {host} can be reached from other machines. Use a key that "
            "`pointsman keys create` makes, or bind 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _weakness(key: str) -> str:
    """What makes a key guessable; '' for a good one."""
    if key.lower() in WEAK_KEYS:
        return "is a key that everybody knows"
    if len(key) < 24:
        return f"has {len(key)} characters, and 24 are the least"
    counts = Counter(key)
    entropy = -sum(count / len(key) * math.log2(count / len(key)) for count in counts.values()) * len(key)
    return "" if entropy >= 72 else "repeats itself too much to be random"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        # At once: two programs may bind one address, and only one of them may listen.
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{host}:{port} cannot be used ({error.strerror or error}). `--port 0` takes any free one."
        ) from None
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _Server(uvicorn.Server):
    """Tells when it accepts connections."""

    def __init__(self, config: uvicorn.Config, *, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()


class _Protocol(HttpToolsProtocol):
    """Refuses a head without end, which would fill the memory before anybody has shown a key. Writes what belongs
    together at once."""

    _in_head = False
    _head = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, _Cork(cast(asyncio.Transport, transport))))

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()


class _Cork:
    """A transport that gathers what is written in one turn of the loop: head and body of an answer, events that came
    together. Each write that is spared is a system call, and a packet."""

    __slots__ = ("_transport", "_loop", "_pending")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._pending: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            self._transport.write(b"".join(pending))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
