"""`serve`: bind, say where and how to connect, and run until told to stop."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Callable, Sequence

from ..core import ConfigError
from ..gateway import Gateway
from .app import Application
from .exposure import check_exposure, is_loopback
from .listener import Listener
from .stop import Stop
from .times import Times
from .workers import Workers

BACKLOG = 2048


def serve(
    gateway: Gateway,
    *,
    host: str,
    port: int,
    announce: Callable[[str, str], None],
    inherited: int | None = None,
) -> None:
    """Runs until SIGINT or SIGTERM. `announce(url, key)` is called once it accepts connections; `key` is the key that
    was made because there was none, else ''.

    `inherited`: the descriptor of a socket that a parent process has bound. The parent holds the other end of standard
    input: when that closes, the parent is gone, and this ends.

    Raises ConfigError for a port that is taken, and for weak or missing keys on an address that others can reach.
    """
    own_key = check_exposure(gateway, host)
    listener = bind(host, port) if inherited is None else socket.socket(fileno=inherited)
    made = "" if own_key or inherited is not None else first_key(gateway)
    application = Application(gateway, own_key=own_key, is_local=is_loopback(host))
    url = url_of(host, listener)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(application, gateway, listener, lambda: announce(url, made), has_parent=inherited is not None))


async def _run(
    application: Application,
    gateway: Gateway,
    listener: socket.socket,
    started: Callable[[], None],
    *,
    has_parent: bool,
) -> None:
    spec = gateway.config.server
    stop = Stop()
    if has_parent:
        stop.with_parent()
    await application.open()
    try:
        server = Listener(application, Times(quiet=spec.keep_alive))
        await server.listen(listener)
        _tune_collector()
        started()
        await stop.told.wait()
        application.drain()
        await server.retire()
        await stop.sleep(spec.drain.grace if stop.is_polite else 0)
        await stop.wait_for(server.close(spec.drain.longest), server.hurry)
    finally:
        await application.close()


def _tune_collector() -> None:
    """What is there now stays, and calls leave next to no circles behind: to look for them seldom saves a tenth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def serve_with_workers(
    gateway: Gateway,
    *,
    host: str,
    port: int,
    announce: Callable[[str, str], None],
    command: Callable[[int], Sequence[str]],
) -> None:
    """As `serve`, by `gateway.config.server.workers` processes of their own. `command(fd)` is the program that calls
    `serve` with that inherited socket. Raises WorkerFailed, too."""
    own_key = check_exposure(gateway, host)
    listener = bind(host, port)
    made = "" if own_key else first_key(gateway)
    gateway.ledger.close()
    url = url_of(host, listener)

    async def run() -> None:
        workers = Workers(
            gateway.config.server.workers,
            command(listener.fileno()),
            socket=listener.fileno(),
            ready=lambda: announce(url, made),
        )
        await workers.run(Stop())

    with listener, asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())


def first_key(gateway: Gateway) -> str:
    """A key made because there is none yet; '' where there is one."""
    keys = gateway.ledger.keys
    if any(key.revoked is None for key in keys.list()):
        return ""
    text, _ = keys.create("first", scopes=("call", "read", "admin"))
    return text


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ConfigError."""
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


def url_of(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where there is one for this system."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
