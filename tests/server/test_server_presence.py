"""A client that leaves, and upstreams that stall: nothing goes on for nobody, nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from running import Running

from upstream import SPOKEN, SSE, Upstream, chunk, head, openai_chunk, openai_events, stream

SOON = 1.0
"""Seconds. It takes some milliseconds; the machine of the tests may be busy."""

FIRST_WORD = openai_events()[1]


def call_bytes(server: Running, model: str, *, streaming: bool, path: str = "/v1/chat/completions") -> bytes:
    message = {"role": "user", "content": "hello " * 20}
    body = json.dumps({"model": model, "max_tokens": 50, "messages": [message], "stream": streaming}).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {server.key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def ask(server: Running, model: str, *, streaming: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(call_bytes(server, model, streaming=streaming))
    await writer.drain()
    return reader, writer


@pytest.mark.fault(72, "The upstream is closed within a second; the ledger says `cancelled`, with what was delivered.")
@pytest.mark.parametrize(
    ("phase", "streaming", "plan"),
    [
        ("before-the-head", True, ["hang"]),
        ("before-the-head-whole", False, ["hang"]),
        ("before-the-first-word", True, [head(200, SSE), chunk(openai_events()[0]), "hang"]),
        ("in-the-middle", True, [*SPOKEN, "hang"]),
        ("in-the-middle-of-a-whole-answer", False, [head(200), chunk(b'{"id":'), "hang"]),
        ("while-words-come", True, [*SPOKEN, *[chunk(FIRST_WORD), 0.01] * 2000]),
    ],
)
async def test_a_client_that_leaves_closes_its_upstream(
    server: Running, upstream: Upstream, phase: str, streaming: bool, plan: list
) -> None:
    """A model would go on writing, and billing, for nobody."""
    upstream.plans[phase] = plan
    reader, writer = await ask(server, f"mine/{phase}", streaming=streaming)
    received = await asyncio.to_thread(upstream.last, phase)
    spoken = plan[:3] == SPOKEN[:3]
    await asyncio.sleep(0.2)
    left = time.monotonic()
    writer.transport.abort()
    closed = await asyncio.to_thread(received.left)
    assert closed - left < SOON
    entry = await asyncio.to_thread(server.newest, f"mine/{phase}")
    assert entry.status == "cancelled"
    if spoken:
        assert entry.usage is not None and entry.usage.estimated
        assert entry.usage.input_tokens > 0 and entry.usage.output_tokens > 0


async def test_a_polite_farewell_is_noticed_too(server: Running, upstream: Upstream) -> None:
    """Most clients close with a FIN and not with a reset."""
    upstream.plans["farewell"] = [*SPOKEN, "hang"]
    reader, writer = await ask(server, "mine/farewell", streaming=True)
    await reader.readuntil(b"Points")
    left = time.monotonic()
    writer.close()
    received = await asyncio.to_thread(upstream.last, "farewell")
    assert await asyncio.to_thread(received.left) - left < SOON


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("silent", ["hang"]),
        ("slow-head", [step for sign in head()[:60] for step in (bytes([sign]), 0.05)]),
        ("only-pings", [head(200, SSE), *[chunk(b": ping\n\n"), 0.05] * 200]),
        ("only-a-role", [head(200, SSE), chunk(openai_chunk({"role": "assistant"})), "hang"]),
        ("only-empty-words", [head(200, SSE), *[chunk(openai_chunk({"content": ""})), 0.05] * 200]),
    ],
)
async def test_an_upstream_that_never_says_anything_times_out(
    server: Running, upstream: Upstream, name: str, plan: list, streaming: bool
) -> None:
    """A call would wait for ever: signs of life are no words."""
    upstream.plans[name] = plan
    reader, writer = await ask(server, f"hasty/{name}", streaming=streaming)
    started = time.monotonic()
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 15)
    assert b" 504 " in answer
    assert time.monotonic() - started < 8
    writer.close()
    assert (await asyncio.to_thread(server.newest, f"hasty/{name}")).error == "timeout"
    await asyncio.to_thread(upstream.last(name).left)


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("stalls", [*SPOKEN, "hang"]),
        ("drips", [*SPOKEN, *[b"1", 0.2, b"\r\n:", 0.2, b"\r\n", 0.2] * 40]),
    ],
)
async def test_a_stream_that_stalls_ends_as_broken(server: Running, upstream: Upstream, name: str, plan: list) -> None:
    """A client would hang in the middle of an answer, or take its half for the whole."""
    upstream.plans[name] = plan
    reader, writer = await ask(server, f"hasty/{name}", streaming=True)
    said = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 15)
    writer.close()
    assert b'"error"' in said and b"timeout" in said
    assert b"[DONE]" not in said and b'finish_reason":"' not in said.replace(b" ", b"")
    entry = await asyncio.to_thread(server.newest, f"hasty/{name}")
    assert (entry.status, entry.error) == ("broken", "timeout")
    assert entry.usage is not None and entry.usage.estimated and entry.usage.output_tokens > 0


async def test_a_broken_stream_counts_as_one_answer(server: Running, upstream: Upstream) -> None:
    """The rate of failures on a dashboard would be wrong."""
    upstream.plans["counted"] = [*SPOKEN, "close"]
    before = answers(server)
    for _ in range(5):
        reader, writer = await ask(server, "mine/counted", streaming=True)
        await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()
    assert answers(server) - before == 5


def answers(server: Running) -> int:
    lines = server.text("/metrics").splitlines()
    return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith("pointsman_answers_total"))


async def test_a_stream_cut_at_any_byte_never_looks_whole(server: Running, upstream: Upstream) -> None:
    """Truncation that looks complete is the worst that a gateway can do."""
    events = openai_events()
    data = b"".join(events)
    finish = data.index(b'"finish_reason": "stop"')
    for cut in range(0, finish, 37):
        upstream.plans["any-byte"] = [head(200, SSE), chunk(data[:cut]) if cut else b"", chunk(b"")]
        reader, writer = await ask(server, "mine/any-byte", streaming=True)
        said = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        if b" 200 " in said[:20]:
            said += await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10)
            assert b'"error"' in said, cut
        else:
            assert b" 502 " in said[:20], cut
        assert b"[DONE]" not in said, cut
        writer.close()


async def test_connections_to_an_upstream_are_used_again(server: Running, upstream: Upstream) -> None:
    """Each call would pay for a new connection, and for TLS."""
    upstream.plans["apart"] = [
        step for event in stream(openai_events()) for step in ([event, 0.005] if isinstance(event, bytes) else [event])
    ]
    for model, streaming in (("reused", True), ("reused", False), ("apart", True)):
        for _ in range(50):
            reader, writer = await ask(server, f"mine/{model}", streaming=streaming)
            await reader.readuntil(b"\r\n0\r\n\r\n" if streaming else b"}]")
            writer.close()
    for model in ("reused", "apart"):
        used = {received.connection for received in upstream.of(model)}
        assert len(used) <= 5


async def test_a_connection_that_the_upstream_has_closed_is_not_a_failed_call(
    server: Running, upstream: Upstream
) -> None:
    """Upstreams close idle connections whenever they like."""
    upstream.plans["closing"] = [*stream(openai_events()), "close"]
    for _ in range(20):
        reader, writer = await ask(server, "mine/closing", streaming=True)
        said = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10)
        assert b"[DONE]" in said
        writer.close()
