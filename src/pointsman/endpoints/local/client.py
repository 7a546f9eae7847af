"""The client's side of the model host: find it or start it, and lease a model from it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ...core import ModelGone, UnknownModel, Unreachable, UpstreamTimeout
from .models import find_model
from .protocol import (
    HELD_BY_ANOTHER,
    LINE_LIMIT,
    Event,
    Failed,
    Loading,
    Ready,
    Request,
    Status,
    Stopping,
    line,
    logs_folder,
    read_address,
    read_event,
)

_FIRST_EVENT_SECONDS = 5.0
_NEXT_EVENT_SECONDS = 20.0
"""The host speaks every second; a longer silence means that it hangs."""
_START_SECONDS = 30.0
_RETRY_SECONDS = 0.05
_LOG_LIMIT = 1 << 20


class Lease:
    """A running model, ours until closed. Close it on every way out; `async with` does."""

    def __init__(self, model: str, ready: Ready, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.model = model
        """Its id, which is also what to name in a call's `model`."""
        self.url = ready.url
        self.base_url = ready.url + "/v1"
        """Where it speaks OpenAI's dialect."""
        self.api_key = ready.api_key
        self.context = ready.context
        """Tokens that prompt and answer may have together."""
        self.pid = ready.pid
        self._reader = reader
        self._writer = writer

    @property
    def alive(self) -> bool:
        """False once it was closed, or the model's process or the host has died."""
        return not self._writer.is_closing() and not self._reader.at_eof()

    def close(self) -> None:
        """Give it back. Never waits; may be called twice."""
        self._writer.close()

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalHost:
    """The model host of a home. Making one does nothing: the host is started by the first lease.

    `idle` (seconds without a lease after which it ends), `threads` and `slots` are for the host that this starts; one
    that runs already keeps its own.
    """

    def __init__(self, home: Path, *, idle: float = 300.0, threads: int = 1, slots: int = 2) -> None:
        self._home = home
        self._idle = idle
        self._threads = threads
        self._slots = slots

    async def lease(
        self, model: str, *, timeout: float = 120.0, on_loading: Callable[[], None] = lambda: None
    ) -> Lease:
        """The model, started if it is not running; `on_loading` is called about once a second until it is.

        Raises ModelGone (no such local model), Unreachable (it is not here, will not start, there is no engine for it,
        too little memory) or UpstreamTimeout (not ready in `timeout` seconds).
        """
        try:
            known = find_model(model)
        except UnknownModel as error:
            raise ModelGone(error.message) from error
        try:
            async with asyncio.timeout(timeout):
                return await self._lease(known.id, known.name, on_loading)
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"{known.id} was not ready in {timeout:.0f} s. `pointsman doctor` may tell why."
            ) from error

    async def status(self) -> Status | None:
        """What the host runs; None where there is no host. Starts nothing."""
        event = await self._ask_once("status")
        return event if isinstance(event, Status) else None

    async def stop(self) -> bool:
        """End the host and its models, whoever uses them. False where there was none."""
        return isinstance(await self._ask_once("stop"), Stopping)

    async def _lease(self, model_id: str, name: str, on_loading: Callable[[], None]) -> Lease:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            conversation = await self._converse(Request(token="", op="lease", model=name))
            if conversation is not None:
                reader, writer, event = conversation
                try:
                    ready = await _until_ready(reader, event, on_loading)
                except BaseException:
                    writer.close()
                    raise
                if ready is not None:
                    return Lease(model_id, ready, reader, writer)
                writer.close()
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"The model host does not answer, though one holds the lock of {self._home}. "
                    f"`pointsman doctor` may tell why; its log is in {logs_folder(self._home)}."
                )
            await asyncio.to_thread(self._start)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _ask_once(self, op: str) -> Event | None:
        request = Request(token="", op="stop" if op == "stop" else "status")
        conversation = await self._converse(request)
        if conversation is None:
            return None
        _, writer, event = conversation
        writer.close()
        return event

    async def _converse(self, request: Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Event] | None:
        """Connect, ask, and get the first event. None where no host of ours answers (any more)."""
        address = read_address(self._home)
        if address is None:
            return None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", address.port, limit=LINE_LIMIT)
        except OSError:
            return None
        try:
            writer.write(line(Request(address.token, request.op, request.model)))
            event = await _next_event(reader, _FIRST_EVENT_SECONDS)
        except BaseException:
            writer.close()
            raise
        if event is None:
            # It ended as we came, or another program has its port now.
            writer.close()
            return None
        return reader, writer, event

    def _start(self) -> None:
        """Start a host, which goes into the background; nothing happens where one holds the lock."""
        logs_folder(self._home).mkdir(parents=True, exist_ok=True)
        path = logs_folder(self._home) / "host.log"
        command = [sys.executable, "-P", "-m", f"{__package__}.host", "--home", str(self._home.absolute())]
        command += ["--idle", str(self._idle), "--threads", str(self._threads), "--slots", str(self._slots)]
        with path.open("ab") as log:
            if log.tell() > _LOG_LIMIT:
                log.truncate(0)
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, check=False
            )
        if done.returncode not in (0, HELD_BY_ANOTHER):
            tail = path.read_bytes()[-800:].decode(errors="replace")
            raise Unreachable(f"The model host did not start (exit status {done.returncode}). {path} ends:\n{tail}")


async def _until_ready(
    reader: asyncio.StreamReader, event: Event | None, on_loading: Callable[[], None]
) -> Ready | None:
    """None where the host ended before the model was ready. Raises Unreachable for what the host cannot mend."""
    while isinstance(event, Loading):
        on_loading()
        event = await _next_event(reader, _NEXT_EVENT_SECONDS)
    match event:
        case Ready():
            return event
        case Failed(message):
            raise Unreachable(message)
        case _:
            return None


async def _next_event(reader: asyncio.StreamReader, seconds: float) -> Event | None:
    """None at the end, for rubbish, and after too long a silence."""
    try:
        return read_event(await asyncio.wait_for(reader.readline(), seconds))
    except (TimeoutError, ConnectionError, ValueError):
        return None
