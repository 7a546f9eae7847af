"""Time limits of a call: whatever an upstream does, it ends when it should, not before, and is left at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import pytest

from pointsman.core import (
    Broken,
    Call,
    Chat,
    Clock,
    Delta,
    KeyRejected,
    Message,
    Reply,
    Served,
    Text,
    Timeouts,
    UpstreamTimeout,
)
from pointsman.dialects import DIALECTS
from pointsman.endpoints.http import HttpEndpoint
from pointsman.endpoints.http1 import Http1Transport
from pointsman.endpoints.proxied import ProxiedTransport
from pointsman.endpoints.stream import Stream
from pointsman.endpoints.transport import Sink, Transport, flow_by_chunks
from upstream import SPOKEN, SSE, Step, Upstream, chunk, error, head, openai_chunk, openai_events, stream, whole

LIMIT = 0.2
LATE = 2.0
"""Seconds: this machine may be busy. A twentieth of one is meant."""

PING = chunk(b": ping\n\n")
WORD = chunk(openai_chunk({"content": " word"}))


@pytest.fixture(params=["direct", "through a proxy"])
async def transport(request: pytest.FixtureRequest, upstream: Upstream) -> AsyncIterator[Transport]:
    direct = request.param == "direct"
    transport = Http1Transport(connect_timeout=2) if direct else ProxiedTransport(connect_timeout=2, proxy=upstream.url)
    yield transport
    await transport.close()


Read = Callable[..., Awaitable[list[Delta | Broken]]]


async def iterated(reply: Reply, pause: float = 0.0) -> list[Delta | Broken]:
    items = []
    async for item in reply:
        await asyncio.sleep(pause)
        items.append(item)
    return items


async def poured(reply: Reply, pause: float = 0.0) -> list[Delta | Broken]:
    items: list[Delta | Broken] = []

    def take(batch: Sequence[Delta | Broken]) -> Callable[[], Awaitable[None]] | None:
        items.extend(batch)
        return partial(asyncio.sleep, pause) if pause else None

    await reply.pour(take)
    return items


both_ways = pytest.mark.parametrize("read", [iterated, poured])


def endpoint(upstream: Upstream, model: str, transport: Transport, **timeouts: float) -> HttpEndpoint:
    return HttpEndpoint(
        Served(model, f"mine/{model}", "mine"),
        model=model,
        base_url=f"{upstream.url}/v1",
        dialect=DIALECTS["openai"],
        transport=transport,
        clock=Clock(wall=time.time, steady=time.monotonic),
        timeouts=Timeouts(**{"connect": 2.0, "ttft": 30.0, "idle": 30.0, "total": 60.0, **timeouts}),
    )


def call(*, streams: bool) -> Call:
    return Call(id="1", model="m", chat=Chat((Message("user", (Text("Hi"),)),)), stream=streams)


def slowly(data: bytes, pause: float = 0.01) -> list[Step]:
    """One byte after the other, for ever so long."""
    return [step for byte in data * 100 for step in (bytes((byte,)), pause)]


UNHEARD: dict[str, tuple[bool, list[Step]]] = {
    "nothing": (False, ["hang"]),
    "half-a-head": (False, [b"HTTP/1.1 200", "hang"]),
    "a-head-in-drops": (False, [b"HTTP/1.1 200 OK\r\nx: ", *slowly(b"y")]),
    "a-head": (False, [head(length=9), "hang"]),
    "half-a-body": (False, [head(length=900), b"{", "hang"]),
    "a-body-in-drops": (False, [head(length=900), *slowly(b" ")]),
    "no-head-of-a-stream": (True, ["hang"]),
    "no-word": (True, [head(200, SSE), "hang"]),
    "pings": (True, [head(200, SSE), *[PING, 0.01] * 1000]),
    "pings-without-a-pause": (True, [head(200, SSE), *[PING * 100] * 10_000, "hang"]),
}


@pytest.mark.parametrize("how", UNHEARD)
async def test_an_upstream_that_says_nothing_is_left_in_time(
    upstream: Upstream, transport: Transport, how: str
) -> None:
    """A call would hang, or never get to the next endpoint; or a slow model would be given up too soon."""
    streams, upstream.plans[how] = UNHEARD[how]
    hasty = endpoint(upstream, how, transport, **{"ttft" if streams else "total": LIMIT})
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout, match="first content" if streams else "whole answer"):
        await hasty(call(streams=streams))
    assert LIMIT <= time.monotonic() - began < LIMIT + LATE
    if isinstance(transport, Http1Transport):  # the other way leaves a call before its head to itself
        await asyncio.to_thread(upstream.last(how).left)


ONCE_BEGUN: dict[str, tuple[str, str, list[Step]]] = {
    "silence": ("idle", "fell silent", [*SPOKEN, "hang"]),
    "half-an-event": ("idle", "fell silent", [*SPOKEN, chunk(b"data: {"), *[chunk(b" "), 0.01] * 1000]),
    "words-for-ever": ("total", "did not end", [*SPOKEN, *[WORD, 0.01] * 1000]),
    "words-without-a-pause": ("total", "did not end", [*SPOKEN, *[WORD * 20] * 20_000, "hang"]),
    "pings-for-ever": ("total", "did not end", [*SPOKEN, *[PING, 0.01] * 1000]),
}


@both_ways
@pytest.mark.parametrize("how", ONCE_BEGUN)
async def test_a_stream_that_has_begun_ends_in_time(
    upstream: Upstream, transport: Transport, how: str, read: Read
) -> None:
    """A client would wait for ever for the rest of its answer, or be given half of it as a whole one."""
    limit, told, upstream.plans[how] = ONCE_BEGUN[how]
    began = time.monotonic()
    async with await endpoint(upstream, how, transport, **{limit: LIMIT})(call(streams=True)) as reply:
        items = await read(reply)
    assert LIMIT <= time.monotonic() - began < LIMIT + LATE
    *before, last = items
    assert before and all(isinstance(item, Delta) for item in before)
    assert isinstance(last, Broken) and isinstance(last.error, UpstreamTimeout) and told in last.error.message
    await asyncio.to_thread(upstream.last(how).left)


@both_ways
async def test_pauses_shorter_than_the_limit_end_nothing(upstream: Upstream, transport: Transport, read: Read) -> None:
    """A slow model's answers would be cut, and paid for all the same."""
    upstream.plans["slow"] = stream(openai_events(), pause=0.05)
    began = time.monotonic()
    async with await endpoint(upstream, "slow", transport, ttft=LIMIT, idle=LIMIT)(call(streams=True)) as reply:
        items = await read(reply)
    assert not any(isinstance(item, Broken) for item in items)
    assert time.monotonic() - began > LIMIT


@both_ways
async def test_a_slow_reader_is_no_silent_upstream(upstream: Upstream, transport: Transport, read: Read) -> None:
    """A client that takes its time would be told that the model has failed."""
    upstream.plans["quick"] = stream(openai_events())
    async with await endpoint(upstream, "quick", transport, idle=LIMIT)(call(streams=True)) as reply:
        items = await read(reply, LIMIT / 2)
    assert len(items) > 2 and not any(isinstance(item, Broken) for item in items)


async def test_an_error_whose_text_never_ends_is_known_by_its_status(upstream: Upstream, transport: Transport) -> None:
    """A key that is refused would look like a slow upstream, and be tried again and again."""
    upstream.plans["refusing"] = [error(401)[0][:-2], "hang"]  # type: ignore[index]
    with pytest.raises(KeyRejected):
        await endpoint(upstream, "refusing", transport, ttft=LIMIT)(call(streams=True))


async def test_a_stream_that_is_dropped_unread_is_left(upstream: Upstream) -> None:
    """A model would write, and bill, a whole answer for nobody."""
    upstream.plans["dropped"] = [*SPOKEN, "hang"]
    direct = Http1Transport(connect_timeout=2)
    reply = await endpoint(upstream, "dropped", direct)(call(streams=True))
    del reply
    await asyncio.to_thread(upstream.last("dropped").left)
    await direct.close()


async def test_a_call_that_is_cancelled_harms_no_other(upstream: Upstream) -> None:
    """Whoever leaves in the very moment of an answer would take the connection of the next call along."""
    upstream.plans["answer"] = whole({"choices": [{"message": {"content": "Yes"}}]})
    direct = Http1Transport(connect_timeout=2)
    asked = endpoint(upstream, "answer", direct)
    for _ in range(3):
        await asked(call(streams=False))
    for _ in range(20):
        leaving = asyncio.ensure_future(asked(call(streams=False)))
        await asyncio.sleep(0)
        for _ in range(1_000_000):
            if leaving._fut_waiter.done():  # type: ignore[attr-defined]
                break
            await asyncio.sleep(0)
        leaving.cancel()
        reply = await asked(call(streams=False))
        assert reply.answer is not None and reply.answer.text == "Yes"
        assert leaving.cancelled()
    await direct.close()
    assert len({received.connection for received in upstream.of("answer")}) == 1


class Flood:
    """An Incoming that always has more, at once."""

    status = 200

    def __init__(self, data: bytes) -> None:
        self.data = data

    def header(self, name: str) -> str:
        return ""

    def headers(self) -> dict[str, str]:
        return {}

    def whole(self) -> None:
        return None

    async def chunk(self, until: float = math.inf) -> bytes:
        return self.data

    def flow(self, sink: Sink, until: float) -> Awaitable[None]:
        return flow_by_chunks(self, sink, until)

    async def close(self) -> None:
        pass


def flooded(data: bytes) -> Stream:
    return Stream(
        Flood(data),
        DIALECTS["openai"].decoder(),
        name="mine/flood",
        steady=time.monotonic,
        idle=30,
        until=time.monotonic() + LIMIT,
        most=2**40,
        tidy=lambda error: None,
    )


async def test_what_never_pauses_is_stopped_before_it_has_said_anything() -> None:
    """A flood of signs of life would hold the call, and the whole server with it, for ever."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await flooded(b": ping\n\n").head(began + LIMIT)
    assert LIMIT <= time.monotonic() - began < LIMIT + LATE


@pytest.mark.parametrize("pours", [False, True])
async def test_what_never_pauses_is_stopped_in_the_middle_of_its_answer(pours: bool) -> None:
    """A flood of words would never end."""
    began = time.monotonic()
    stream = flooded(openai_chunk({"content": " word"}))
    items = list(await stream.head(began + LIMIT))
    if pours:
        await stream.pour(items.extend)
    while isinstance(items[-1], Delta):
        items += await anext(stream)
    assert isinstance(items[-1].error, UpstreamTimeout) and "did not end" in items[-1].error.message
    assert LIMIT <= time.monotonic() - began < LIMIT + LATE
