"""A Reply: what an Ask gives. It is iterated or read, and it is recorded when it fails too.

    async with await ask(call) as reply:      # the await is the commit point
        async for delta in reply: ...         # or: answer = await reply.read()

`await ask(call)` returns at the first content, tool or refusal delta, or with the whole answer. A failure before that
raises, and may be retried or fall back. A failure after it is the last item of the iteration, a `Broken`: never a clean
end. Leaving the `async with` closes the upstream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, Self, runtime_checkable

from msgspec import Struct

from .answers import Answer, Broken, Delta, Finish, Gathered, Usage, as_delta
from .calls import Call
from .clock import Clock
from .errors import AttemptError

Taker = Callable[[Sequence[Delta | Broken]], Callable[[], Awaitable[None]] | None]
"""Takes items of a reply as they come. Where it can take no more for now it gives what waits until it can."""


class Served(Struct, frozen=True, gc=False):
    """Who serves a reply."""

    model: str
    """The name in our catalogue or config, such as 'gpt-5-mini' or 'local/smollm2-135m'."""
    endpoint: str
    """The endpoint that was called, such as 'openai/gpt-5-mini'."""
    provider: str
    """The provider that really served, where an aggregator tells; else the one that was called."""


class Provenance(Struct, frozen=True, gc=False):
    """How it came that this reply serves the call."""

    decision_id: str = ""
    """Of the route that chose; '' for a call that named its model."""
    quality_met: bool | None = None
    """Whether the model has the quality that was asked for. None: none was, or nobody knows."""
    agreed: tuple[int, int] | None = None
    """Of a consensus: how many say the same as this reply, of how many that were asked."""


NAMED = Provenance()


class Ending(Struct, frozen=True):
    """How a reply ended; given once to each `on_end` hook."""

    status: Literal["ok", "broken", "cancelled"]
    seconds: float
    """From the start of the attempt to its end."""
    ttft: float | None
    """From the start of the attempt to its first content; None where none came, or where it came whole: nobody saw
    its first token."""
    usage: Usage | None
    error: AttemptError | None
    finish: Finish | None
    chars: int
    """Characters of text, reasoning and tool arguments that were passed on."""
    answer: Answer | None = None
    """What was passed on, where it came whole, or the reply was told to keep it."""
    begun: bool = True
    """False for an attempt that ended before there was a reply."""
    sent: bool = True
    """False for one that was cancelled before anything had gone out."""


class Source(Protocol):
    """What a reply reads its deltas from, in batches. An async generator is one."""

    def __anext__(self) -> Awaitable[Sequence[Delta | Broken]]:
        """Raises StopAsyncIteration at a clean end; a Broken is the last of all."""
        ...

    def aclose(self) -> Awaitable[None]:
        """Closes the upstream: also where nothing was read, and where all was."""
        ...


@runtime_checkable
class Spring(Source, Protocol):
    """A source that hands its batches over as they come, without a step of its reader for each."""

    def pour(self, take: Taker) -> Awaitable[None]:
        """To the end, clean or a Broken. What `take` raises comes out of it."""
        ...


class Reply:
    """An answer that has begun (or is whole already).

    Exactly one of `answer` (whole) and `source` (batches of deltas, `head` read already) is given. `started` is the
    steady time at which the attempt began. Hooks are called once, synchronously, before the reader sees the end (the
    end of the iteration, or the Broken), so a reply is in the ledger before its last byte leaves.
    """

    __slots__ = (
        "served",
        "dialect",
        "provenance",
        "attempt_id",
        "headers",
        "_answer",
        "_pending",
        "_source",
        "_clock",
        "_started",
        "_ttft",
        "_hooks",
        "_usage",
        "_finish",
        "_chars",
        "_kept",
        "_most_kept",
        "_ending",
        "_reading",
    )

    def __init__(
        self,
        served: Served,
        *,
        clock: Clock,
        started: float,
        dialect: str = "",
        answer: Answer | None = None,
        head: Sequence[Delta | Broken] = (),
        source: Source | None = None,
    ) -> None:
        self.served = served
        self.dialect = dialect
        """The wire format of `raw` in the deltas and the answer."""
        self.attempt_id = ""
        """Of its entry in the ledger, once it is there."""
        self.provenance = NAMED
        """Set by what chose who serves."""
        self.headers: Mapping[str, str] = {}
        """The upstream's, names in lower case: what they say of its limits is learnt from."""
        self._answer = answer
        self._pending: list[Delta | Broken] = list(reversed(head)) if head else []
        self._source = source
        self._clock = clock
        self._started = started
        self._ttft: float | None = None
        self._hooks: list[Callable[[Ending], None]] = []
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._chars = 0
        self._kept: Gathered | None = None
        self._most_kept: int | None = None
        self._ending: Ending | None = None
        self._reading = False
        if answer is None:
            self._ttft = clock.steady() - started
        else:
            self._usage, self._finish = answer.usage, answer.finish
            self._chars = len(answer.text) + len(answer.reasoning)
            for tool in answer.tools:
                self._chars += len(tool.arguments)
            self._end("ok", None)

    @property
    def answer(self) -> Answer | None:
        """Of a reply that came whole, or was read: it has ended, and there is nothing left to close. Else None."""
        return self._answer

    @property
    def ending(self) -> Ending | None:
        """None while the reply is under way."""
        return self._ending

    @property
    def ttft(self) -> float | None:
        """Seconds from the start of the attempt to its first content; None for an answer that came whole."""
        return self._ttft

    def on_end(self, hook: Callable[[Ending], None]) -> None:
        """Call `hook` when this reply ends, or at once where it has ended."""
        if self._ending is not None:
            hook(self._ending)
        else:
            self._hooks.append(hook)

    def keep(self, most: int | None = None) -> None:
        """Let the ending bear what is passed on: all of it, or nothing once it has more than `most` characters. Told
        before the first item is taken."""
        if self._answer is None:
            self._kept, self._most_kept = Gathered(), most

    async def read(self) -> Answer:
        """The whole answer. Raises the AttemptError of a reply that broke, and RuntimeError where nothing is left to
        read: it was iterated to its end, or closed."""
        if self._answer is not None:
            return self._answer
        if self._ending is not None:
            raise self._ending.error or RuntimeError("This reply was iterated to its end, or closed: nothing is left.")
        gathered = Gathered()
        async for delta in self:
            if isinstance(delta, Broken):
                raise delta.error
            gathered.add(delta)
        self._answer = gathered.answer()
        return self._answer

    def __aiter__(self) -> AsyncIterator[Delta | Broken]:
        return self if self._source is not None or self._answer is None else _once(as_delta(self._answer))

    async def __anext__(self) -> Delta | Broken:
        if not self._pending:
            self._pending = list(reversed(await self._next()))
            if not self._pending:
                raise StopAsyncIteration
        item = self._pending.pop()
        try:
            self._count(item)
        finally:
            if isinstance(item, Broken):
                await self.aclose()
        return item

    async def pour(self, take: Taker) -> None:
        """Hands all items to `take`, to the end: for whoever passes on many."""
        if self._source is None and self._answer is not None:
            take((as_delta(self._answer),))
            return
        spring = self._source if isinstance(self._source, Spring) else None
        items: Sequence[Delta | Broken] = self._pending[::-1]
        self._pending = []
        if not items and spring is None:
            items = await self._next()
        while items:
            wait = self._hand(items, take)
            if isinstance(items[-1], Broken):
                await self.aclose()
            if wait is not None:
                await wait()
            items = () if spring is not None else await self._next()
        if spring is not None and self._source is spring:  # no Broken came before
            await self._pour(spring, take)

    async def _pour(self, spring: Spring, take: Taker) -> None:
        self._begin_reading()
        try:
            await spring.pour(lambda items: self._hand(items, take))
            self._end("ok", None)
        finally:
            self._reading = False
            await self.aclose()

    def _hand(self, items: Sequence[Delta | Broken], take: Taker) -> Callable[[], Awaitable[None]] | None:
        for item in items:
            self._count(item)
        return take(items)

    async def _next(self) -> Sequence[Delta | Broken]:
        """What the source gives next; () when it has ended."""
        source = self._source
        if source is None:
            return ()
        self._begin_reading()
        try:
            items: Sequence[Delta | Broken] = ()
            while not items:
                items = await source.__anext__()
            return items
        except StopAsyncIteration:
            self._source = None
            self._end("ok", None)
            return ()
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._reading = False

    def _begin_reading(self) -> None:
        if self._reading:
            raise RuntimeError("A reply has one reader: this one is being read already.")
        self._reading = True

    def _count(self, item: Delta | Broken) -> None:
        """An item is handed to the reader; of a Broken the hooks hear first."""
        if isinstance(item, Broken):
            self._usage = item.usage or self._usage
            self._end("broken", item.error)
            return
        self._chars += len(item.text) + len(item.reasoning)
        for piece in item.tools:
            self._chars += len(piece.arguments)
        if self._kept is not None:
            self._keep(item)
        if item.usage is not None:
            self._usage = item.usage
        if item.finish is not None:
            self._finish = item.finish

    def _keep(self, delta: Delta) -> None:
        assert self._kept is not None, "it was told to keep"
        if self._most_kept is not None and self._chars > self._most_kept:
            self._kept = None
        else:
            self._kept.add(delta)

    async def aclose(self) -> None:
        """Stop here: closes the upstream. A reply whose finish was not seen is recorded as cancelled."""
        source, self._source = self._source, None
        self._pending.clear()
        try:
            self._end("cancelled" if self._finish is None else "ok", None)
        finally:
            if source is not None:
                await source.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _end(self, status: Literal["ok", "broken", "cancelled"], error: AttemptError | None) -> None:
        if self._ending is not None:
            return
        steady = self._clock.steady
        seconds = steady() - self._started
        answer = self._answer if self._kept is None else self._kept.answer()
        self._ending = Ending(status, seconds, self._ttft, self._usage, error, self._finish, self._chars, answer)
        if self._hooks:
            hooks, self._hooks = self._hooks, []
            _tell(iter(hooks), self._ending)


Ask = Callable[[Call], Awaitable[Reply]]
"""The one shape: an endpoint, a pool, a route, a strategy, a mode and the gateway itself."""


def _tell(hooks: Iterator[Callable[[Ending], None]], ending: Ending) -> None:
    """Each hook is called, whatever the one before it raised: a pool must hear of an end that could not be recorded."""
    for hook in hooks:
        try:
            hook(ending)
        except BaseException:
            _tell(hooks, ending)
            raise


async def _once(delta: Delta) -> AsyncIterator[Delta | Broken]:
    yield delta
