"""An endpoint over HTTP: one model at one provider, as an Ask."""

from __future__ import annotations

import math
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal

from msgspec import structs

from ..core import (
    NO_TIMEOUTS,
    Answer,
    AttemptError,
    BrokenReply,
    Call,
    Clock,
    Reply,
    Served,
    Timeouts,
    UpstreamFailed,
    UpstreamTimeout,
)
from ..dialects import Dialect, Quirk, Target
from ..dialects.failures import clean
from .stream import Stream
from .transport import Incoming, Transport

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_STREAM_BYTES = 256 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
ERROR_SECONDS = 2.0
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
        """`timeouts` leaves none open. `clock.steady` is time.monotonic, by which a Transport waits."""
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
        now = self._clock.steady()
        until = now + self._limit(call, now)
        try:
            incoming = await self._transport.send("POST", self._urls[call.stream], self._headers, body, until)
            reply = self._at_once(incoming, started)
            if reply is None:
                try:
                    reply = await self._reply(call, incoming, started, until)
                except BaseException:
                    await incoming.close()
                    raise
            reply.headers = incoming.headers()
            return reply
        except TimeoutError:
            what = "first content" if call.stream else "whole answer"
            raise UpstreamTimeout(f"{self.served.endpoint} gave no {what} in {until - now:.2g} s.") from None
        except AttemptError as error:
            self._blank_key(error)
            raise

    def _limit(self, call: Call, now: float) -> float:
        """Seconds until the commit point."""
        timeouts = self._timeouts if call.timeouts is NO_TIMEOUTS else call.timeouts.over(self._timeouts)
        limit = (timeouts.ttft if call.stream else timeouts.total) or math.inf
        if call.needs.max_latency is not None:
            limit = min(limit, call.needs.max_latency)
        deadline = call.tally.deadline
        if deadline is not None and deadline - now < limit:
            limit = deadline - now
        return limit

    def _encode(self, call: Call) -> bytes:
        if call.body and call.dialect == self._dialect.name:
            target = self._target if call.cap is None else structs.replace(self._target, cap=call.cap)
            return self._dialect.pass_call(call.body, target, call.stream)
        chat = call.chat if call.cap is None else structs.replace(call.chat, max_tokens=call.cap)
        return self._dialect.encode_call(chat, self._target, call.stream)

    def _at_once(self, incoming: Incoming, started: float) -> Reply | None:
        """The usual case: an answer that came in one piece with its head. None for all others."""
        if incoming.status != 200 or _kind(incoming.header("content-type")) != "answer":
            return None
        body = incoming.whole()
        if body is None:
            return None
        answer = self._dialect.decode_answer(body)
        return Reply(self.served, clock=self._clock, started=started, dialect=self._dialect.name, answer=answer)

    async def _reply(self, call: Call, incoming: Incoming, started: float, until: float) -> Reply:
        if incoming.status != 200:
            raise await self._refusal(incoming, until)
        kind = _kind(incoming.header("content-type"))
        if kind == "stream":
            return await self._streamed(call, incoming, started, until)
        if kind == "page":
            raise BrokenReply("A page of HTML came instead of an answer: does `base_url` lead to the provider's API?")
        answer = self._dialect.decode_answer(await self._read(incoming, until))
        await incoming.close()
        return Reply(self.served, clock=self._clock, started=started, dialect=self._dialect.name, answer=answer)

    async def _read(self, incoming: Incoming, until: float) -> bytes:
        """The whole body. Raises BrokenReply past MAX_ANSWER_BYTES."""
        chunks: list[bytes] = []
        size = 0
        while (chunk := await incoming.chunk(until)) is not None:
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise BrokenReply(f"The answer is larger than {MAX_ANSWER_BYTES:,} bytes.")
            if self._clock.steady() >= until:  # one that never pauses
                raise TimeoutError
        return b"".join(chunks)

    async def _refusal(self, incoming: Incoming, until: float) -> AttemptError:
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
        until = min(until, self._clock.steady() + ERROR_SECONDS)
        return self._dialect.decode_error(status, headers, await _read_what_comes(incoming, MAX_ERROR_BYTES, until))

    async def _streamed(self, call: Call, incoming: Incoming, started: float, until: float) -> Reply:
        """Reads up to the commit point: the first content, or a finish without any."""
        timeouts = call.timeouts.over(self._timeouts)
        total = min(started + (timeouts.total or math.inf), call.tally.deadline or math.inf)
        stream = Stream(
            incoming,
            self._dialect.decoder(),
            name=self.served.endpoint,
            steady=self._clock.steady,
            idle=timeouts.idle or math.inf,
            until=total if call.stream else until,
            most=MAX_STREAM_BYTES if call.stream else MAX_ANSWER_BYTES,
            tidy=self._blank_key,
        )
        reply = Reply(
            self.served,
            clock=self._clock,
            started=started,
            dialect=self._dialect.name,
            head=await stream.head(until),
            source=stream,
        )
        if call.stream:
            return reply
        # The caller wants one answer and the upstream streamed all the same: gather it here, before the commit point.
        answer: Answer = await reply.read()
        return Reply(self.served, clock=self._clock, started=started, answer=answer)

    def _blank_key(self, error: AttemptError) -> None:
        """Some upstreams quote the key that they refuse, whatever its form."""
        if self._key and self._key in error.message:
            error.message = error.message.replace(self._key, "[key]")
            error.args = (error.message,)


async def _read_what_comes(incoming: Incoming, limit: int, until: float) -> bytes:
    """The body as far as it can be had: an error's status counts, whatever its text."""
    body = b""
    with suppress(AttemptError, TimeoutError):
        while len(body) < limit and (chunk := await incoming.chunk(until)) is not None:
            body += chunk
    return body[:limit]


@lru_cache(64)
def _kind(content_type: str) -> Literal["answer", "stream", "page"]:
    kind = content_type.lower()
    if kind.startswith(("text/event-stream", "application/x-ndjson")):
        return "stream"
    return "page" if kind.startswith("text/html") else "answer"


def _to(location: str) -> str:
    """The host that a redirect names: a path or a query may hold what is nobody's business."""
    host = clean(location.partition("://")[2].partition("/")[0].rpartition("@")[2], limit=100)
    return f" to {host}" if host else ""
