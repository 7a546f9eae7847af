"""HTTP/1.1 to a real socket: whatever an upstream does, a call ends, and ends as what it was."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import AsyncIterator

import pytest
import uvloop

from pointsman.core import BrokenReply, Busy, Unreachable, UpstreamTimeout
from pointsman.endpoints.connection import MAX_HEAD
from pointsman.endpoints.http1 import Http1Transport
from pointsman.endpoints.proxied import ProxiedTransport
from upstream import Upstream, chunk, head, whole

BODY = b'{"a": 1}'
LENGTH = head(length=len(BODY)) + BODY
CHUNKED = head() + chunk(BODY[:3]) + chunk(BODY[3:]) + chunk(b"")
TO_THE_END = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + BODY


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    transport = Http1Transport(connect_timeout=2)
    yield transport
    await transport.close()


async def ask(transport: Http1Transport, upstream: Upstream, model: str) -> tuple[int, bytes]:
    """Status and body of one call."""
    call = json.dumps({"model": model}).encode()
    incoming = await transport.send("POST", upstream.url + "/v1/x", {"content-type": "application/json"}, call)
    try:
        pieces = [piece async for piece in pieces_of(incoming)]
    finally:
        await incoming.close()
    return incoming.status, b"".join(pieces)


async def pieces_of(incoming) -> AsyncIterator[bytes]:
    while (piece := await incoming.chunk()) is not None:
        yield piece


@pytest.mark.parametrize("reply", [LENGTH, CHUNKED, TO_THE_END])
async def test_a_reply_is_whole_however_it_is_framed_and_cut(
    transport: Http1Transport, upstream: Upstream, reply: bytes
) -> None:
    """Replies of some servers would be cut, or never end."""
    for size in (len(reply), 7, 1):
        pieces = [reply[at : at + size] for at in range(0, len(reply), size)]
        ending = ["close"] if reply is TO_THE_END else []
        upstream.plans["framed"] = [step for piece in pieces for step in (piece, 0.0)] + ending
        assert await ask(transport, upstream, "framed") == (200, BODY)


@pytest.mark.parametrize("reply", [LENGTH, CHUNKED, CHUNKED.replace(b"chunked", b"Chunked")])
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_reply_that_is_cut_at_any_byte_is_broken(
    transport: Http1Transport, upstream: Upstream, reply: bytes, end: str
) -> None:
    """Half a reply would pass for a whole one."""
    for cut in range(len(reply)):
        upstream.plans["cut"] = [reply[:cut], 0.001, end] if cut else [end]
        with pytest.raises(BrokenReply):
            await ask(transport, upstream, "cut")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01" * 100,
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * (MAX_HEAD + 100_000),
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"a" * MAX_HEAD + b"\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 103 Hints\r\nx: y\r\n\r\n" * 5000,
        head() + chunk(BODY) + b"0\r\n" + b"x: y\r\n" * 50_000,
        b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nxx",
    ],
)
async def test_what_is_not_http_is_a_broken_reply(
    transport: Http1Transport, upstream: Upstream, rubbish: bytes
) -> None:
    """The server would die of it, or hang."""
    upstream.plans["rubbish"] = [rubbish, "hang"]
    with pytest.raises(BrokenReply):
        async with asyncio.timeout(10):
            await ask(transport, upstream, "rubbish")


def test_it_runs_on_uvloop_as_well(upstream: Upstream) -> None:
    """The server runs on uvloop, whose transports are of a kind of their own."""

    async def twice() -> list[tuple[int, bytes]]:
        transport = Http1Transport(connect_timeout=2)
        answers = [await ask(transport, upstream, "on-uvloop") for _ in range(2)]
        await transport.close()
        return answers

    upstream.plans["on-uvloop"] = [CHUNKED]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(twice()) == [(200, BODY)] * 2


async def test_interim_replies_are_passed_over(transport: Http1Transport, upstream: Upstream) -> None:
    """An early hint would be taken for the answer."""
    upstream.plans["hints"] = [b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 0.01, LENGTH]
    assert await ask(transport, upstream, "hints") == (200, BODY)


async def test_a_connection_serves_many_calls(transport: Http1Transport, upstream: Upstream) -> None:
    """Each call would pay for a new connection."""
    upstream.plans["many"] = lambda received: [CHUNKED if len(upstream.of("many")) % 2 else LENGTH]
    for _ in range(50):
        assert await ask(transport, upstream, "many") == (200, BODY)
    assert len({received.connection for received in upstream.of("many")}) == 1


async def test_connections_are_not_kept_where_that_is_switched_off(upstream: Upstream) -> None:
    """A server that closes after each reply without saying so would fail every second call."""
    transport = Http1Transport(connect_timeout=2, pooled=False)
    upstream.plans["single"] = [LENGTH]
    for _ in range(3):
        assert await ask(transport, upstream, "single") == (200, BODY)
    assert len({received.connection for received in upstream.of("single")}) == 3


@pytest.mark.fault(11, "A kept connection that was closed is replaced once, where nothing of a reply has come.")
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_kept_connection_that_was_closed_costs_no_call(
    transport: Http1Transport, upstream: Upstream, how: str
) -> None:
    """Upstreams close idle connections whenever they like."""
    upstream.plans["idle"] = [LENGTH, how]
    for pause in (0, 0, 0.01, 0.001) * 5:
        assert await ask(transport, upstream, "idle") == (200, BODY)
        await asyncio.sleep(pause)


@pytest.mark.fault(11, "A call of whose reply anything has come is not sent again by the transport.")
async def test_a_call_that_was_seen_is_not_sent_twice(transport: Http1Transport, upstream: Upstream) -> None:
    """One call would be billed twice."""
    upstream.plans["once"] = lambda received: [LENGTH] if len(upstream.of("once")) == 1 else [b"HTTP/1.1", "close"]
    await ask(transport, upstream, "once")
    with pytest.raises(BrokenReply):
        await ask(transport, upstream, "once")
    assert len(upstream.of("once")) == 2


@pytest.mark.fault(11, "A fresh connection that fails in the same way is not replaced again.")
async def test_a_dead_connection_is_replaced_once(transport: Http1Transport, upstream: Upstream) -> None:
    """A server that dies of a call would be given it again and again."""
    upstream.plans["deadly"] = lambda received: [LENGTH] if len(upstream.of("deadly")) == 1 else ["close"]
    await ask(transport, upstream, "deadly")
    with pytest.raises(BrokenReply):
        await ask(transport, upstream, "deadly")
    assert len(upstream.of("deadly")) == 3


@pytest.mark.fault(13, "The other host is not asked, so it sees neither key nor prompt.")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(transport: Http1Transport, upstream: Upstream, status: int) -> None:
    """Whoever can make a provider redirect would be sent the key."""
    with Upstream() as other:
        upstream.plans["moved"] = whole(b"", status, {"location": f"{other.url}/v1/x"})
        for way in (transport, ProxiedTransport(connect_timeout=2, proxy=upstream.url)):
            incoming = await way.send("POST", upstream.url, {"authorization": "Bearer key"}, b'{"model": "moved"}')
            assert incoming.status == status
            await incoming.close()
            await way.close()
        assert other.received == []


@pytest.mark.fault(83, "A call for which no socket is left is refused as `busy`; no endpoint is blamed.")
async def test_no_socket_left_is_our_trouble_and_not_the_upstream_s(
    transport: Http1Transport, upstream: Upstream
) -> None:
    """Every endpoint would be taken for dead, one after the other."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as free:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free.fileno() + 1, most[1]))
        try:
            with pytest.raises(Busy):
                await transport.send("POST", upstream.url, {}, b"{}")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)


async def test_trailers_change_no_header(transport: Http1Transport, upstream: Upstream) -> None:
    """What comes after the body could turn a reply that was read into another."""
    upstream.plans["trailing"] = [head() + chunk(BODY) + b"0\r\ncontent-encoding: gzip\r\n\r\n"]
    assert await ask(transport, upstream, "trailing") == (200, BODY)


async def test_bytes_after_a_reply_spoil_the_connection_and_not_the_next_call(
    transport: Http1Transport, upstream: Upstream
) -> None:
    """One caller could be given the answer of another."""
    upstream.plans["more"] = [LENGTH + LENGTH.replace(b"1}", b"2}")]
    for _ in range(5):
        assert await ask(transport, upstream, "more") == (200, BODY)
    connections = [received.connection for received in upstream.of("more")]
    assert len(set(connections)) == len(connections)


@pytest.mark.parametrize(
    ("phase", "plan"),
    [
        ("head-awaited", ["hang"]),
        ("head-begun", [b"HTTP/1.1 200", "hang"]),
        ("body-awaited", [head(), "hang"]),
        ("body-begun", [head(), chunk(b"x"), "hang"]),
    ],
)
async def test_a_cancelled_call_closes_its_connection(
    transport: Http1Transport, upstream: Upstream, phase: str, plan: list
) -> None:
    """A local model would write a whole answer for nobody."""
    upstream.plans[phase] = plan
    task = asyncio.create_task(ask(transport, upstream, phase))
    received = await asyncio.to_thread(upstream.last, phase)
    await asyncio.sleep(0.05)
    cancelled = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(received.left) - cancelled < 1


async def test_a_slow_reader_holds_the_upstream_back(transport: Http1Transport, upstream: Upstream) -> None:
    """One slow client could fill the memory with the answer of a fast model."""
    megabytes = 60
    upstream.plans["flood"] = [head(), *[chunk(b"x" * 1_000_000)] * megabytes, chunk(b"")]
    incoming = await transport.send("POST", upstream.url, {}, b'{"model": "flood"}')
    await asyncio.sleep(0.5)
    assert incoming._connection.waiting < 4_000_000
    size = 0
    while (piece := await incoming.chunk()) is not None:
        size += len(piece)
    assert size == megabytes * 1_000_000
    await incoming.close()


async def test_heads_without_bodies_do_not_count_as_waiting(transport: Http1Transport, upstream: Upstream) -> None:
    """A connection would stand still after some thousand calls."""
    large = b"x: " + b"y" * (MAX_HEAD - 100) + b"\r\n\r\n"
    upstream.plans["bodiless"] = [b"HTTP/1.1 204 No Content\r\n" + large]
    upstream.plans["apart"] = [b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n" + large, 0.01, BODY]
    for _ in range(20):
        assert await ask(transport, upstream, "bodiless") == (204, b"")
        assert await ask(transport, upstream, "apart") == (200, BODY)
    assert len({received.connection for received in upstream.of("bodiless")}) == 1


async def test_nobody_there_and_nobody_listening_are_told_apart(transport: Http1Transport) -> None:
    """`doctor` and the fallback could not tell a dead server from a slow one."""
    with pytest.raises(Unreachable, match="refused"):
        await transport.send("GET", "http://127.0.0.1:9/", {}, None)
    with pytest.raises(Unreachable):
        await transport.send("GET", "http://name.invalid/", {}, None)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        hasty = Http1Transport(connect_timeout=0.3)
        with pytest.raises(UpstreamTimeout):
            await hasty.send("GET", f"http://127.0.0.1:{full.getsockname()[1]}/", {}, None)
        for filler in fillers:
            filler.close()


async def test_a_secure_address_is_never_spoken_to_in_the_clear(transport: Http1Transport, upstream: Upstream) -> None:
    """A key would go over the wire for everybody to read."""
    before = len(upstream.received)
    with pytest.raises((Unreachable, UpstreamTimeout)):
        await transport.send("POST", upstream.url.replace("http:", "https:"), {"authorization": "Bearer k"}, b"{}")
    assert len(upstream.received) == before


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "ключ", "a\x00"])
async def test_a_key_cannot_write_headers(transport: Http1Transport, upstream: Upstream, value: str) -> None:
    """A key with a line break, from a file, would change the request; and it must not be shown."""
    with pytest.raises(Unreachable) as caught:
        await transport.send("POST", upstream.url, {"authorization": value}, b"{}")
    assert value not in caught.value.message


async def test_an_error_status_and_a_body_without_content_are_replies(
    transport: Http1Transport, upstream: Upstream
) -> None:
    """What the upstream says of its failure would be lost."""
    upstream.plans["failing"] = whole(b"no", 503)
    assert await ask(transport, upstream, "failing") == (503, b"no")
    upstream.plans["nothing"] = [b"HTTP/1.1 204 No Content\r\n\r\n"]
    assert await ask(transport, upstream, "nothing") == (204, b"")
