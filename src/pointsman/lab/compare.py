"""One prompt to many engines at once. None of them can spoil the others: each has its own time, task and result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from ..core import (
    Ask,
    Broken,
    Call,
    Caller,
    CallError,
    Chat,
    Clock,
    Finish,
    Gathered,
    Nanos,
    PointsmanError,
    Reply,
    Trace,
    Usage,
)
from ..judging import Agreement, agreement
from ..routing import read_prompt

Status = Literal["ok", "broken", "failed", "timeout", "stopped"]
"""broken: cut off after it had begun. failed: nothing came. stopped: the comparison was, before this one was done."""

MOST_CHARS = 1_000_000
"""Characters of one answer, past which it is cut off and counts as broken."""
GRACE_SECONDS = 2.0
"""How long an engine may take to let go once it was told to."""


class Engine(Struct, frozen=True):
    """Whatever answers a call, under the name that the report gives it."""

    name: str
    ask: Ask


class Failure(Struct, frozen=True):
    """`kind` is an error's stable word (core/errors.py), or the name of an exception that is none of ours."""

    kind: str
    message: str


class EngineResult(Struct, frozen=True):
    """What one engine gave. Times in seconds from when it was asked, the loading of a model included."""

    name: str
    status: Status
    seconds: float
    model: str = ""
    """The model that served, '' where none did."""
    endpoint: str = ""
    text: str = ""
    """The answer, or the refusal; of an answer that was cut off, what had come."""
    finish: Finish | None = None
    """None where the end was not seen."""
    ttft: float | None = None
    usage: Usage | None = None
    cost: Nanos | None = None
    """None: not known."""
    error: Failure | None = None


class Comparison(Struct, frozen=True):
    run_id: str
    at: str
    """ISO 8601, UTC: when the engines were asked."""
    prompt: Chat
    timeout: float
    engines: tuple[EngineResult, ...]
    """In the order given."""
    agreement: Agreement
    """Of the answers that are whole and not empty."""

    @property
    def succeeded(self) -> int:
        return sum(engine.status == "ok" for engine in self.engines)

    @property
    def stopped(self) -> bool:
        return any(engine.status == "stopped" for engine in self.engines)


class Progress(Struct, frozen=True):
    """How far one engine is: 'asked', then 'writing' with every piece that comes, then its status."""

    engine: str
    stage: Literal["asked", "writing"] | Status
    seconds: float
    ttft: float | None
    tokens: int
    """Of the answer so far; an estimate until the engine has counted them."""


async def compare(
    prompt: Chat,
    engines: Mapping[str, Ask] | Sequence[Engine],
    *,
    timeout: float,
    clock: Clock,
    new_id: Callable[[], str],
    progress: Callable[[Progress], None] = lambda progress: None,
    stop: asyncio.Event | None = None,
    caller: Caller | None = None,
) -> Comparison:
    """Ask all at once, each for at most `timeout` seconds, and tell how they did. Raises for none of them.

    Setting `stop` ends it early, with what has come so far. Each call bears the run's id and, as its stage, the name
    of its engine, so recorded engines can be found in the ledger.
    """
    if not isinstance(engines, Mapping):
        engines = {engine.name: engine.ask for engine in engines}
    run_id, at = new_id(), clock.wall()
    read = read_prompt(prompt)
    runs = []
    for name, ask in engines.items():
        trace = Trace(task=read.task, complexity=read.complexity, strategy="compare", run_id=run_id, stage=name)
        call = Call(id=new_id(), model=name, chat=prompt, stream=True, caller=caller or Caller(), trace=trace)
        runs.append(_Run(name, ask, call, clock, progress))
    await _all_of([asyncio.create_task(run.go(timeout)) for run in runs], timeout + GRACE_SECONDS, stop)
    results = tuple(run.result() for run in runs)
    return Comparison(
        run_id=run_id,
        at=datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        prompt=prompt,
        timeout=timeout,
        engines=results,
        agreement=agreement([(r.name, r.text) for r in results if r.status == "ok" and r.text.strip()]),
    )


class _Run:
    """One engine at work. What has come so far can be taken from it at any moment."""

    def __init__(self, name: str, ask: Ask, call: Call, clock: Clock, progress: Callable[[Progress], None]) -> None:
        self._name = name
        self._ask = ask
        self._call = call
        self._clock = clock
        self._progress = progress
        self._started = clock.steady()
        self._seconds: float | None = None
        self._ttft: float | None = None
        self._reply: Reply | None = None
        self._gathered = Gathered()
        self._chars = 0
        self._status: Status = "stopped"
        self._error: Failure | None = None

    async def go(self, timeout: float) -> None:
        self._started = self._clock.steady()
        self._tell("asked")
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                await self._take()
        except Exception as error:
            # Whatever one engine raises, even a fault of its program, stands in the report, and the others go on.
            if scope.expired():
                self._end("timeout", Failure("timeout", f"It was not done in {timeout:g} s."))
            else:
                self._end("broken" if self._reply else "failed", _failure(error))
        finally:
            # The time up to here, also of one that is being stopped.
            self._seconds = self._clock.steady() - self._started
            self._tell(self._status)

    async def _take(self) -> None:
        reply = self._reply = await self._ask(self._call)
        self._ttft = self._clock.steady() - self._started
        async with reply:
            async for item in reply:
                if isinstance(item, Broken):
                    self._end("broken", _failure(item.error))
                    return
                self._gathered.add(item)
                self._chars += len(item.text) + len(item.reasoning) + len(item.refusal)
                if self._chars > MOST_CHARS:
                    self._end("broken", Failure("too_long", f"It wrote more than {MOST_CHARS:,} characters."))
                    return
                self._tell("writing")
        self._end("ok", None)

    def result(self) -> EngineResult:
        answer, reply = self._gathered.answer(), self._reply
        seconds = self._clock.steady() - self._started if self._seconds is None else self._seconds
        return EngineResult(
            name=self._name,
            status=self._status,
            seconds=seconds,
            model=reply.served.model if reply else "",
            endpoint=reply.served.endpoint if reply else "",
            text=_in_utf8(answer.text or answer.refusal),
            finish=answer.finish if self._status == "ok" else None,
            ttft=self._ttft,
            usage=self._usage,
            cost=self._cost(),
            error=self._error,
        )

    @property
    def _usage(self) -> Usage | None:
        ending = self._reply.ending if self._reply else None
        return ending.usage if ending else None

    def _cost(self) -> Nanos | None:
        """Unknown where the engine is not recorded, or has not let go yet; nothing where no attempt was made."""
        tally = self._call.tally
        if self._seconds is None:
            return None
        return tally.total if tally.attempts or self._refused else None

    @property
    def _refused(self) -> bool:
        """The call was turned away before any attempt: it cost nothing."""
        return self._error is not None and self._error.kind in _BEFORE_ANY_ATTEMPT

    def _end(self, status: Status, error: Failure | None) -> None:
        self._status, self._error = status, error

    def _tell(self, stage: Literal["asked", "writing"] | Status) -> None:
        seconds = self._clock.steady() - self._started
        tokens = self._usage.output_tokens if self._usage else self._chars // 4
        self._progress(Progress(self._name, stage, seconds, self._ttft, tokens))


_BEFORE_ANY_ATTEMPT = frozenset(kind.kind for kind in CallError.__subclasses__())


async def _all_of(tasks: Sequence[asyncio.Task[None]], seconds: float, stop: asyncio.Event | None) -> None:
    """Until all are done, `stop` is set, or `seconds` are over: for one that does not heed its own time."""
    stopping = asyncio.create_task((stop or asyncio.Event()).wait())
    waiting: set[asyncio.Task[None] | asyncio.Task[bool]] = {*tasks, stopping}
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        while waiting - {stopping} and not stopping.done():
            left = deadline - asyncio.get_running_loop().time()
            done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.wait({*tasks, stopping}, timeout=GRACE_SECONDS)


def _failure(error: Exception) -> Failure:
    if isinstance(error, PointsmanError):
        return Failure(error.kind, _in_utf8(error.message))
    return Failure(type(error).__name__, _in_utf8(str(error)) or "It gave no reason.")


def _in_utf8(text: str) -> str:
    """A lone surrogate, which JSON can carry and no file can hold, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
