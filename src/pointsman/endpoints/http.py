"""An endpoint over HTTP: one model at one provider, as an Ask."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import structs

from ..core import (
    Answer,
    AttemptError,
    Broken,
    BrokenReply,
    Call,
    Clock,
    Delta,
    Reply,
    Served,
    Timeouts,
    UpstreamFailed,
    UpstreamTimeout,
)
from ..dialects import Dialect, Quirk, StreamDecoder, Target
from ..dialects.failures import clean
from .deadline import Deadline
from .transport import Incoming, Transport

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_STREAM_BYTES = 256 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
ERROR_SECONDS = 2.0
LINGER_SECONDS = 0.1
DEFAULT_TIMEOUTS = Timeouts(connect=5, ttft=30, idle=30, total=600)


class HttpEndpoint:
    """Posts calls to one URL in one dialect.

    `model` is the name that the provider knows, `quirks` how it departs from the dialect there; `served` is what the
    ledger and the caller hear.
    """

    def __init__(
        self,
        served: Served,
        *,
        model: str,
        base_url: str,
        dialect: Dialect,
        transport: Transport,
        clock: Clock,
        key: str = "",
        quirks: frozenset[Quirk] = frozenset(),
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        """`timeouts` leaves none open."""
        self.served = served
        self._target = Target(model, quirks)
        self._dialect = dialect
        self._transport = transport
        self._clock = clock
        self._timeouts = timeouts
        self._key = key
        self._headers = {"content-type": "application/json", **(dialect.auth(key) if key else {}), **(headers or {})}
        self._urls = {stream: base_url.rstrip("/") + dialect.path(model, stream) for stream in (False, True)}

    def __call__(self, call: Call) -> Coroutine[Any, Any, Reply]:
        return self.send(call, self._clock.steady())

    async def send(self, call: Call, started: float) -> Reply:
        """As `__call__`, for an attempt that began at `started` (steady seconds): before a model was loaded, say."""
        body = self._encode(call)
        limit = self._limit(call)
        try:
            with Deadline(limit):
                incoming = await self._transport.send("POST", self._urls[call.stream], self._headers, body)
                try:
                    reply = await self._reply(call, incoming, started)
                except BaseException:
                    await incoming.close()
                    raise
                reply.headers = incoming.headers()
                return reply
        except TimeoutError:
            what = "first content" if call.stream else "whole answer"
            raise UpstreamTimeout(f"{self.served.endpoint} gave no {what} in {limit:.2g} s.") from None
        except AttemptError as error:
            self._blank_key(error)
            raise

    def _limit(self, call: Call) -> float:
        """Seconds until the commit point."""
        timeouts = call.timeouts.over(self._timeouts)
        limit = (timeouts.ttft if call.stream else timeouts.total) or math.inf
        if call.needs.max_latency is not None:
            limit = min(limit, call.needs.max_latency)
        return limit if call.tally.deadline is None else min(limit, call.tally.deadline - self._clock.steady())

    def _encode(self, call: Call) -> bytes:
        if call.body and call.dialect == self._dialect.name:
            target = self._target if call.cap is None else structs.replace(self._target, cap=call.cap)
            return self._dialect.pass_call(call.body, target, call.stream)
        chat = call.chat if call.cap is None else structs.replace(call.chat, max_tokens=call.cap)
        return self._dialect.encode_call(chat, self._target, call.stream)

    async def _reply(self, call: Call, incoming: Incoming, started: float) -> Reply:
        if incoming.status != 200:
            raise await self._refusal(incoming)
        kind = incoming.header("content-type").lower()
        if kind.startswith(("text/event-stream", "application/x-ndjson")):
            return await self._streamed(call, incoming, started)
        if kind.startswith("text/html"):
            raise BrokenReply("A page of HTML came instead of an answer: does `base_url` lead to the provider's API?")
        answer = self._dialect.decode_answer(await _read(incoming, MAX_ANSWER_BYTES))
        await incoming.close()
        return Reply(self.served, clock=self._clock, started=started, dialect=self._dialect.name, answer=answer)

    async def _refusal(self, incoming: Incoming) -> AttemptError:
        """What a status other than 200 means. It counts also where its body cannot be read."""
        status, headers = incoming.status, incoming.headers()
        if 300 <= status < 400:
            return UpstreamFailed(
                f"The upstream answered {status}, a redirect{_to(headers.get('location', ''))}. None is followed, "
                "since the key would go along: put the right address into `base_url`.",
                upstream_status=status,
            )
        if status < 300:
            return BrokenReply(f"The upstream answered {status}, without an answer.", upstream_status=status)
        return self._dialect.decode_error(status, headers, await _read_what_comes(incoming, MAX_ERROR_BYTES))

    async def _streamed(self, call: Call, incoming: Incoming, started: float) -> Reply:
        """Reads up to the commit point: the first content, or a finish without any."""
        batches = _Batches(incoming, self._dialect.decoder())
        head: list[Delta] = []
        committed = False
        while not committed:
            batch = await batches.next(MAX_ANSWER_BYTES)
            if batch is None:
                raise BrokenReply("The upstream's stream ended before it had said anything.")
            for item in batch:
                if isinstance(item, Broken):
                    raise item.error
                head.append(item)
                committed = committed or item.has_content or item.finish is not None
        rest = self._rest(call, incoming, batches, started)
        # A generator that was never begun cannot be closed: without this first step a reply that nobody reads would
        # leave its connection open.
        await anext(rest)
        reply = Reply(
            self.served,
            clock=self._clock,
            started=started,
            dialect=self._dialect.name,
            head=head,
            source=rest,
        )
        if call.stream:
            return reply
        # The caller wants one answer and the upstream streamed all the same: gather it here, before the commit point.
        answer: Answer = await reply.read()
        return Reply(self.served, clock=self._clock, started=started, answer=answer)

    async def _rest(
        self, call: Call, incoming: Incoming, batches: _Batches, started: float
    ) -> AsyncGenerator[Sequence[Delta | Broken], None]:
        timeouts = call.timeouts.over(self._timeouts)
        idle = timeouts.idle or math.inf
        deadline = min(started + (timeouts.total or math.inf), call.tally.deadline or math.inf)
        most = MAX_STREAM_BYTES if call.stream else MAX_ANSWER_BYTES
        batch: Sequence[Delta | Broken] | None
        try:
            yield ()
            while True:
                left = deadline - self._clock.steady()
                try:
                    if left <= 0:  # an upstream that never pauses is stopped, too
                        raise TimeoutError
                    with Deadline(min(idle, left)):
                        batch = await batches.next(most)
                except TimeoutError:
                    what = "did not end its answer in time" if left <= idle else "fell silent within its answer"
                    batch = [Broken(UpstreamTimeout(f"{self.served.endpoint} {what}."))]
                except AttemptError as error:
                    batch = [Broken(error)]
                if batch is None:
                    break
                last = batch[-1] if batch else None
                if isinstance(last, Broken):
                    self._blank_key(last.error)
                yield batch
                if isinstance(last, Broken):
                    return
            await _finish(incoming)
        finally:
            await incoming.close()

    def _blank_key(self, error: AttemptError) -> None:
        """Some upstreams quote the key that they refuse, whatever its form."""
        if self._key and self._key in error.message:
            error.message = error.message.replace(self._key, "[key]")
            error.args = (error.message,)


class _Batches:
    """What a stream gives, chunk by chunk."""

    __slots__ = ("_incoming", "_decoder", "_size")

    def __init__(self, incoming: Incoming, decoder: StreamDecoder) -> None:
        self._incoming = incoming
        self._decoder = decoder
        self._size = 0

    async def next(self, most: int) -> Sequence[Delta | Broken] | None:
        """The deltas of the next chunk that gives any; None when the stream has ended, and was whole. Broken past
        `most` bytes of it."""
        while not self._decoder.done:
            chunk = await self._incoming.chunk()
            if chunk is None:
                return self._decoder.end() or None
            self._size += len(chunk)
            if self._size > most:
                return [Broken(BrokenReply(f"The stream is longer than {most:,} bytes."))]
            if batch := self._decoder.feed(chunk):
                return batch
        return None


async def _finish(incoming: Incoming) -> None:
    """Read what follows the terminal event: a connection that was read to its end serves the next call, too."""
    with suppress(TimeoutError, AttemptError), Deadline(LINGER_SECONDS):
        while await incoming.chunk() is not None:
            pass


async def _read(incoming: Incoming, limit: int) -> bytes:
    """The whole body. Raises BrokenReply past `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    while (chunk := await incoming.chunk()) is not None:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise BrokenReply(f"The answer is larger than {limit:,} bytes.")
    return b"".join(chunks)


async def _read_what_comes(incoming: Incoming, limit: int) -> bytes:
    """The body as far as it can be had: an error's status counts, whatever its text."""
    body = b""
    with suppress(AttemptError, TimeoutError), Deadline(ERROR_SECONDS):
        while len(body) < limit and (chunk := await incoming.chunk()) is not None:
            body += chunk
    return body[:limit]


def _to(location: str) -> str:
    """The host that a redirect names: a path or a query may hold what is nobody's business."""
    host = clean(location.partition("://")[2].partition("/")[0].rpartition("@")[2], limit=100)
    return f" to {host}" if host else ""
