"""A key that an upstream quotes goes no further, whatever it looks like."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from pointsman.core import Broken, Call, Chat, Clock, KeyRejected, Message, Served, Text
from pointsman.dialects import DIALECTS
from pointsman.endpoints.http import HttpEndpoint
from pointsman.endpoints.http1 import Http1Transport
from upstream import Upstream, error, stream

KEY = "Quite an unusual key: 17 blue swans"
CLOCK = Clock(wall=time.time, steady=time.monotonic)


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    transport = Http1Transport(connect_timeout=2)
    yield transport
    await transport.close()


def endpoint(upstream: Upstream, model: str, transport: Http1Transport) -> HttpEndpoint:
    return HttpEndpoint(
        Served(model, f"mine/{model}", "mine"),
        model=model,
        base_url=f"{upstream.url}/v1",
        dialect=DIALECTS["openai"],
        transport=transport,
        clock=CLOCK,
        key=KEY,
    )


def call(model: str) -> Call:
    return Call(id="1", model=model, chat=Chat((Message("user", (Text("Hi"),)),)), stream=True)


async def test_a_key_in_an_error_is_blanked(upstream: Upstream, transport: Http1Transport) -> None:
    """The provider's key would be shown to every caller who meets a 401."""
    upstream.plans["rude"] = error(401, f"Incorrect key {KEY} provided.")
    with pytest.raises(KeyRejected) as refused:
        await endpoint(upstream, "rude", transport)(call("rude"))
    assert KEY not in str(refused.value) and KEY not in refused.value.message


async def test_a_key_in_a_broken_stream_is_blanked(upstream: Upstream, transport: Http1Transport) -> None:
    """The same, where the error comes in the middle of an answer."""
    spoken = b'data: {"choices":[{"index":0,"delta":{"content":"One"}}]}\n\n'
    upstream.plans["late"] = stream([spoken, b'data: {"error":{"message":"%b is spent"}}\n\n' % KEY.encode()])
    async with await endpoint(upstream, "late", transport)(call("late")) as reply:
        items = [item async for item in reply]
    assert isinstance(items[-1], Broken)
    assert KEY not in items[-1].error.message
