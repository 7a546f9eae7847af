"""An endpoint over HTTP: one model at one provider, as an Ask."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

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
    UpstreamTimeout,
)
from ..dialects import Dialect, StreamDecoder
from .deadline import Deadline
from .transport import Incoming, Transport

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
LINGER_SECONDS = 0.1


class Timeouts(Struct, frozen=True):
    """Seconds. `ttft` bounds the wait for a stream's first content, `idle` the gap between two chunks after it,
    `total` the whole of a reply."""

    ttft: float = 30
    idle: float = 30
    total: float = 600


class HttpEndpoint:
    """Posts calls to one URL in one dialect.

    `model` is the name that the provider knows; `served` is what the ledger and the caller hear.
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
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.served = served
        self._model = model
        self._dialect = dialect
        self._transport = transport
        self._clock = clock
        self._timeouts = timeouts or Timeouts()
        self._key = key
        self._headers = {"content-type": "application/json", **(dialect.auth(key) if key else {}), **(headers or {})}
        self._urls = {stream: base_url.rstrip("/") + dialect.path(model, stream) for stream in (False, True)}

    async def __call__(self, call: Call) -> Reply:
        return await self.send(call, self._clock.steady())

    async def send(self, call: Call, started: float) -> Reply:
        """As `__call__`, for an attempt that began at `started` (steady seconds): before a model was loaded, say."""
        body = self._encode(call)
        limit = self._timeouts.ttft if call.stream else self._timeouts.total
        if call.needs.max_latency is not None:
            limit = min(limit, call.needs.max_latency)
        try:
            with Deadline(limit):
                incoming = await self._transport.send("POST", self._urls[call.stream], self._headers, body)
                try:
                    return await self._reply(call, incoming, started)
                except BaseException:
                    await incoming.close()
                    raise
        except TimeoutError:
            what = "first content" if call.stream else "whole answer"
            raise UpstreamTimeout(f"{self.served.endpoint} gave no {what} in {limit:g} s.") from None
        except AttemptError as error:
            self._blank_key(error)
            raise

    def _encode(self, call: Call) -> bytes:
        if call.body and call.dialect == self._dialect.name:
            return self._dialect.pass_call(call.body, self._model, call.stream)
        return self._dialect.encode_call(call.chat, self._model, call.stream)

    async def _reply(self, call: Call, incoming: Incoming, started: float) -> Reply:
        if incoming.status != 200:
            body = await _read(incoming, MAX_ERROR_BYTES, cut=True)
            raise self._dialect.decode_error(incoming.status, incoming.headers(), body)
        kind = incoming.header("content-type").lower()
        if kind.startswith(("text/event-stream", "application/x-ndjson")):
            return await self._streamed(call, incoming, started)
        answer = self._dialect.decode_answer(await _read(incoming, MAX_ANSWER_BYTES))
        await incoming.close()
        return Reply(self.served, clock=self._clock, started=started, dialect=self._dialect.name, answer=answer)

    async def _streamed(self, call: Call, incoming: Incoming, started: float) -> Reply:
        """Reads up to the commit point: the first content, or an end without any."""
        decoder = self._dialect.decoder()
        head: list[Delta] = []
        committed = False
        while not committed and not decoder.done:
            batch = await _next_batch(incoming, decoder)
            if batch is None:
                break
            for item in batch:
                if isinstance(item, Broken):
                    raise item.error
                head.append(item)
                committed = committed or item.has_content or item.finish is not None
        rest = self._rest(incoming, decoder, started)
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
        self, incoming: Incoming, decoder: StreamDecoder, started: float
    ) -> AsyncGenerator[Sequence[Delta | Broken], None]:
        deadline = started + self._timeouts.total
        try:
            yield ()
            while not decoder.done:
                left = min(self._timeouts.idle, deadline - self._clock.steady())
                try:
                    with Deadline(left):
                        batch = await _next_batch(incoming, decoder)
                except TimeoutError:
                    yield [Broken(UpstreamTimeout(f"{self.served.endpoint} fell silent in the middle of its answer."))]
                    return
                except AttemptError as error:
                    batch = [Broken(error)]
                if batch is None:
                    return
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


async def _next_batch(incoming: Incoming, decoder: StreamDecoder) -> Sequence[Delta | Broken] | None:
    """The deltas of the next chunk that gives any; None when the connection has ended and the stream was whole."""
    while True:
        chunk = await incoming.chunk()
        if chunk is None:
            return decoder.end() or None
        batch = decoder.feed(chunk)
        if batch or decoder.done:
            return batch


async def _finish(incoming: Incoming) -> None:
    """Read what follows the terminal event: a connection that was read to its end serves the next call, too."""
    with suppress(TimeoutError, AttemptError), Deadline(LINGER_SECONDS):
        while await incoming.chunk() is not None:
            pass


async def _read(incoming: Incoming, limit: int, *, cut: bool = False) -> bytes:
    """The whole body; past `limit` bytes it is cut, or refused."""
    chunks: list[bytes] = []
    size = 0
    while (chunk := await incoming.chunk()) is not None:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            if cut:
                break
            raise BrokenReply(f"The answer is larger than {limit:,} bytes.")
    return b"".join(chunks)[:limit]
