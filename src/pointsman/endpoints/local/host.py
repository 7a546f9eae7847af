"""The model host: the one process of a home that runs models, for everybody who leases one.

`python -m pointsman.endpoints.local.host --home DIR` puts itself into the background, or ends at once with status 3
where another host holds the lock. It ends by itself when nobody has leased anything for `--idle` seconds. A model that
nobody leases for so long is ended too, while the others stay.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from .engine import CannotStart, Engine
from .locks import try_lock
from .models import MODELS, PREFIX, installed
from .protocol import (
    HEARTBEAT_SECONDS,
    HELD_BY_ANOTHER,
    LINE_LIMIT,
    Address,
    Event,
    Failed,
    Loading,
    Request,
    Status,
    Stopping,
    address_path,
    line,
    lock_path,
    logs_folder,
    read_request,
    write_address,
)

_FIRST_LINE_SECONDS = 5.0
_CONNECTIONS = 512
_UNREAD_LIMIT = 1 << 16
"""Bytes that a client may leave unread before it is let go."""


class HostOptions(Struct, frozen=True):
    """`idle` in seconds; `threads` compute for each model, on `slots` answers at a time."""

    home: Path
    idle: float = 300.0
    threads: int = 1
    slots: int = 2


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    for folder in (lock_path(options.home).parent, logs_folder(options.home)):
        folder.mkdir(parents=True, exist_ok=True)
    if try_lock(lock_path(options.home)) is None:
        return HELD_BY_ANOTHER
    # The child shares the lock; whoever started us learns by our end that it is held.
    if os.fork():
        return 0
    asyncio.run(Host(options).run())
    return 0


class Host:
    """Answers clients and keeps the engines. Belongs to one event loop."""

    def __init__(self, options: HostOptions) -> None:
        self._options = options
        self._engines: dict[str, Engine] = {}
        self._token = secrets.token_urlsafe(32)
        self._connections: set[asyncio.Task[None]] = set()
        self._leases = 0
        self._last_used = self._since = time.monotonic()
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Serve until idle, told to stop, or signalled."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._ending.set)
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=LINE_LIMIT)
        port = server.sockets[0].getsockname()[1]
        write_address(self._options.home, Address(os.getpid(), port, self._token))
        try:
            while not self._ending.is_set():
                await self._end_what_is_idle()
                await _wait(self._ending, min(1.0, self._options.idle / 4))
        finally:
            address_path(self._options.home).unlink(missing_ok=True)
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*(engine.stop() for engine in self._engines.values()))

    async def _end_what_is_idle(self) -> None:
        now = time.monotonic()
        for engine in list(self._engines.values()):
            if engine.running and not engine.leases and now - engine.idle_since > self._options.idle:
                await engine.stop()
        if not self._leases and now - self._last_used > self._options.idle:
            self._ending.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server runs this as a task"
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # Either the client has gone, or we are ending: both are the end of this conversation.
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _first_line(reader)
        if request is None or not hmac.compare_digest(request.token.encode(), self._token.encode()):
            return
        if self._ending.is_set():
            return  # A client that is told nothing starts another host.
        if len(self._connections) > _CONNECTIONS:
            writer.write(line(Failed(f"The model host has {_CONNECTIONS} connections open already: try again later.")))
        elif request.op == "status":
            writer.write(line(self._status()))
        elif request.op == "stop":
            writer.write(line(Stopping()))
            self._ending.set()
        else:
            await self._lease(request.model.removeprefix(PREFIX), reader, writer)

    def _status(self) -> Status:
        models = [status for engine in self._engines.values() if (status := engine.status())]
        return Status(pid=os.getpid(), uptime=time.monotonic() - self._since, models=tuple(models))

    async def _lease(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count a client in until its connection ends."""
        engine = self._engine(name)
        if isinstance(engine, Failed):
            writer.write(line(engine))
            return
        engine.leases += 1
        self._leases += 1
        gone = asyncio.create_task(_until_gone(reader))
        try:
            await self._serve(engine, gone, writer)
        finally:
            gone.cancel()
            engine.leave()
            self._leases -= 1
            self._last_used = time.monotonic()

    def _engine(self, name: str) -> Engine | Failed:
        model = MODELS.get(name)
        if model is None:
            return Failed(f"There is no local model {PREFIX}{name}. Known are {', '.join(MODELS)}.")
        file = installed(self._options.home).get(name)
        if file is None:
            return Failed(f"{model.id} is not on this machine. `pointsman models pull {name}` brings it.")
        if name not in self._engines:
            log = logs_folder(self._options.home) / f"local-{name}.log"
            self._engines[name] = Engine(model, file, log, slots=self._options.slots, threads=self._options.threads)
        return self._engines[name]

    async def _serve(self, engine: Engine, gone: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        starting = asyncio.create_task(engine.ready())
        try:
            while not starting.done() and not gone.done():
                _send(writer, Loading())
                await asyncio.wait([starting, gone], timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return
            ready, ended = starting.result()
        except CannotStart as error:
            _send(writer, Failed(str(error)))
            return
        finally:
            starting.cancel()
        _send(writer, ready)
        dying = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait([dying, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            dying.cancel()


async def _first_line(reader: asyncio.StreamReader) -> Request | None:
    """What the client asks; None for rubbish, for too long a line, and for silence."""
    try:
        async with asyncio.timeout(_FIRST_LINE_SECONDS):
            return read_request(await reader.readline())
    except (TimeoutError, ValueError):
        return None


async def _until_gone(reader: asyncio.StreamReader) -> None:
    """A client says nothing more: whatever comes, its end most likely, ends the lease."""
    with suppress(ConnectionError):
        await reader.read(1)


def _send(writer: asyncio.StreamWriter, event: Event) -> None:
    if writer.transport.get_write_buffer_size() > _UNREAD_LIMIT:
        raise ConnectionResetError("the client does not read")
    writer.write(line(event))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _options(arguments: list[str] | None) -> HostOptions:
    parser = argparse.ArgumentParser(prog="pointsman.endpoints.local.host", description="Runs local models.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--idle", type=float, default=300.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slots", type=int, default=2)
    found = parser.parse_args(arguments)
    return HostOptions(home=found.home, idle=found.idle, threads=found.threads, slots=found.slots)


if __name__ == "__main__":
    sys.exit(main())
