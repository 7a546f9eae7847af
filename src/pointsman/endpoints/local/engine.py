"""One model as the host sees it: a worker process that is started, watched, counted and ended."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import deque
from pathlib import Path

import msgspec

from .memory import available_memory, resident, shortage
from .models import LocalModel
from .protocol import ModelStatus, Ready
from .worker import HTTP_THREADS, NO_ENGINE, Listening, Settings

_STARTS = 3
_START_SECONDS = 120.0
_HEALTH_SECONDS = 10.0
_HEALTH_ANSWER_SECONDS = 5.0
_HEALTH_FAILURES = 3
_END_SECONDS = 2.0
_LOG_LIMIT = 1 << 20
_TAIL_LINES = 20


class CannotStart(Exception):
    """The model will not run; the text is for the client."""


class Engine:
    """A model of the host. `leases` counts who uses it now; `idle_since` is when the last of them left.

    Belongs to one event loop. Times are seconds of the steady clock.
    """

    def __init__(self, model: LocalModel, file: Path, log: Path, *, slots: int, threads: int) -> None:
        self.model = model
        self.leases = 0
        self.idle_since = time.monotonic()
        self._file = file
        self._log = log
        self._slots = slots
        self._threads = threads
        self._worker: _Worker | None = None
        self._starting: asyncio.Task[_Worker] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._starting is not None or (self._worker is not None and not self._worker.ended.is_set())

    async def ready(self) -> tuple[Ready, asyncio.Event]:
        """The running model, started if it is not, and the event of its end. Raises CannotStart.

        However many wait, it is started once; one that stops waiting does not stop it for the others.
        """
        if self._worker is not None and not self._worker.ended.is_set():
            return self._worker.ready, self._worker.ended
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        worker = await asyncio.shield(self._starting)
        return worker.ready, worker.ended

    def leave(self) -> None:
        self.leases -= 1
        self.idle_since = time.monotonic()

    def status(self) -> ModelStatus | None:
        """None unless it serves."""
        worker = self._worker
        if worker is None or worker.ended.is_set():
            return None
        return ModelStatus(
            model=self.model.name,
            pid=worker.ready.pid,
            leases=self.leases,
            rss=resident(worker.ready.pid),
            uptime=time.monotonic() - worker.since,
        )

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        # Forgotten first: whoever comes while it ends gets a new one.
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    def _started(self, task: asyncio.Task[_Worker]) -> None:
        self._starting = None
        if not task.cancelled() and task.exception() is None:
            self._worker = task.result()
            self._watching = asyncio.create_task(self._watch_health(self._worker))
            self.idle_since = time.monotonic()

    async def _watch_health(self, worker: _Worker) -> None:
        """Kill a process that lives but no longer answers: the next lease starts another."""
        failures = 0
        while not worker.ended.is_set() and failures < _HEALTH_FAILURES:
            await asyncio.sleep(_HEALTH_SECONDS)
            # With so many calls in hand, no thread may be left to say that it is well.
            crowded = self.leases >= HTTP_THREADS
            failures = 0 if crowded or await is_healthy(worker.ready.url) else failures + 1
        worker.kill()

    async def _start(self) -> _Worker:
        short = shortage(self.model, available_memory())
        if short:
            raise CannotStart(short)
        settings = Settings(
            path=str(self._file),
            id=self.model.id,
            api_key=secrets.token_urlsafe(24),
            context=self.model.context,
            slots=self._slots,
            threads=self._threads,
        )
        for attempt in range(_STARTS):
            await asyncio.sleep(0.3 * attempt)
            worker = await _Worker.spawn(settings, self._log)
            if worker.serves:
                return worker
            await worker.stop()
            if worker.status == NO_ENGINE:
                raise CannotStart(
                    f'{self.model.id} needs the engine for local models: pip install "pointsman[local]"\n{worker.tail}'
                )
        raise CannotStart(
            f"{self.model.id} did not start in {_STARTS} tries (exit status {worker.status}). "
            f"The end of its log, {self._log}:\n{worker.tail}"
        )


class _Worker:
    """A running process. `ended` is set when it is gone, `ready` says where it serves."""

    def __init__(self, process: asyncio.subprocess.Process, settings: Settings, log: _Log) -> None:
        self.ended = asyncio.Event()
        self.since = time.monotonic()
        self.ready = Ready(url="", api_key=settings.api_key, context=settings.context, pid=process.pid)
        self._process = process
        self._log = log
        self._watching = [asyncio.create_task(self._watch_log()), asyncio.create_task(self._watch_end())]

    @staticmethod
    async def spawn(settings: Settings, log: Path) -> _Worker:
        """Start a process, and wait until its model answers or it ends."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", f"{__package__}.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        worker = _Worker(process, settings, _Log(log))
        try:
            await asyncio.wait_for(worker._come_up(settings), _START_SECONDS)
        except TimeoutError:
            await worker.stop()
        except asyncio.CancelledError:
            worker._process.kill()
            raise
        return worker

    @property
    def serves(self) -> bool:
        return bool(self.ready.url) and not self.ended.is_set()

    @property
    def status(self) -> int | None:
        return self._process.returncode

    @property
    def tail(self) -> str:
        return self._log.tail

    async def stop(self) -> None:
        """Let it end by itself, then make it."""
        assert self._process.stdin is not None, "it was spawned with pipes"
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self.ended.wait(), _END_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self.ended.wait()

    async def _come_up(self, settings: Settings) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None, "it was spawned with pipes"
        self._process.stdin.write(msgspec.json.encode(settings) + b"\n")
        said = await self._process.stdout.readline()
        try:
            url = msgspec.json.decode(said, type=Listening).url
        except msgspec.DecodeError:
            await self.ended.wait()
            return
        while not await is_healthy(url):
            if self.ended.is_set():
                return
            await asyncio.sleep(0.1)
        self.ready = msgspec.structs.replace(self.ready, url=url)

    async def _watch_log(self) -> None:
        assert self._process.stderr is not None, "it was spawned with pipes"
        while chunk := await self._process.stderr.read(1 << 16):
            self._log.write(chunk)

    async def _watch_end(self) -> None:
        await self._process.wait()
        await self._watching[0]
        self._log.close()
        self.ended.set()

    def kill(self) -> None:
        if not self.ended.is_set():
            self._process.kill()


async def is_healthy(url: str) -> bool:
    """One GET of /health: not worth a client library in a process that stays."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        async with asyncio.timeout(_HEALTH_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET /health HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False


class _Log:
    """A log that never grows beyond twice its limit, and whose end is at hand."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab")
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)

    @property
    def tail(self) -> str:
        return "\n".join(self._lines)

    def write(self, chunk: bytes) -> None:
        self._lines.extend(chunk.decode(errors="replace").splitlines())
        self._file.write(chunk)
        self._file.flush()
        if self._file.tell() > _LOG_LIMIT:
            self._file.close()
            self._path.replace(self._path.with_suffix(".log.1"))
            self._file = self._path.open("ab")

    def close(self) -> None:
        self._file.close()
