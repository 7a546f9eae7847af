"""HTTP/1.1 as raw bytes: framing, order, bounds and times of the server's own protocol."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing

import pytest

from pointsman.core import PointsmanError
from pointsman.server.exchange import Exchange, lines
from pointsman.server.http1 import MOST_AHEAD
from pointsman.server.listener import Listener
from pointsman.server.times import Times

Ask = Callable[..., Awaitable[bytes]]
HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
"""uvloop serves; where there is none, asyncio's own loop does."""
LIMIT = 100_000
TEXT = lines((b"content-type", b"text/plain"))


class Handler:
    """Answers with what it was asked; by the path otherwise."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.cancelled = asyncio.Event()
        self.written = 0
        self.signs = 0

    def __call__(self, exchange: Exchange):
        if exchange.path == "/now":
            exchange.respond(200, TEXT, b"now")
            return None
        if exchange.path == "/refused":
            exchange.respond(401, TEXT, b"no")
            return None
        return getattr(self, exchange.path[1:].partition("/")[0] or "echo", self.echo)(exchange)

    async def echo(self, exchange: Exchange) -> None:
        try:
            body = await exchange.body(LIMIT)
        except PointsmanError as error:
            exchange.respond(error.status, TEXT, error.message.encode())
            return
        self.seen.append((exchange.method, exchange.path, body))
        exchange.respond(200, TEXT, exchange.path.encode() + b":" + body)

    async def slow(self, exchange: Exchange) -> None:
        try:
            await asyncio.sleep(0.2)
            exchange.respond(200, TEXT, exchange.path.encode())
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def hang(self, exchange: Exchange) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            if exchange.is_stopped:
                exchange.respond(503, TEXT, b"stopping")
                return
            raise

    async def stream(self, exchange: Exchange) -> None:
        exchange.start(200, TEXT)
        for word in (b"one", b"two"):
            exchange.write(word)
            await asyncio.sleep(0.01)
        exchange.end(b"three")

    async def flood(self, exchange: Exchange) -> None:
        exchange.start(200, TEXT)
        try:
            for _ in range(10_000):
                is_held = exchange.write(b"x" * 10_000)
                self.written += 10_000
                if is_held:
                    await exchange.drained()
            exchange.end()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def quiet(self, exchange: Exchange) -> None:
        def sign() -> None:
            if not exchange.is_begun:
                exchange.start(200, TEXT)
            exchange.write(b"sign")
            self.signs += 1

        exchange.listen(sign)
        await asyncio.sleep(1)
        exchange.end(b"done")

    async def crash(self, exchange: Exchange) -> None:
        raise KeyError("oops")

    async def crash_late(self, exchange: Exchange) -> None:
        exchange.start(200, TEXT)
        exchange.write(b"half")
        raise KeyError("oops")

    async def split(self, exchange: Exchange) -> None:
        exchange.respond(200, lines((b"x-name", b"a\r\nx-evil: 1")), b"")


class Serving:
    """A listener on a port, and raw clients of it."""

    def __init__(self, listener: Listener, handler: Handler, port: int) -> None:
        self.listener = listener
        self.handler = handler
        self.port = port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, data: bytes, *, pieces: int = 0, pause: float = 0.0, within: float = 0.4) -> bytes:
        """All that comes back until the server closes, or says nothing for `within` seconds."""
        reader, writer = await self.open()
        size = pieces or max(len(data), 1)
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
            await asyncio.sleep(pause)
        said = b""
        try:
            while piece := await asyncio.wait_for(reader.read(65536), within):
                said += piece
        except (TimeoutError, ConnectionError):
            pass
        writer.close()
        return said


@asynccontextmanager
async def serving(times: Times | None = None) -> AsyncIterator[Serving]:
    handler = Handler()
    listener = Listener(handler, times or Times())
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    await listener.listen(sock)
    try:
        yield Serving(listener, handler, sock.getsockname()[1])
    finally:
        await listener.close(0)


@pytest.fixture
async def site() -> AsyncIterator[Serving]:
    async with serving() as running:
        yield running


def post(path: str, body: bytes, *lines: str) -> bytes:
    head = "\r\n".join([f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *lines, "", ""])
    return head.encode() + body


def chunked(path: str, data: bytes, *lines: str) -> bytes:
    head = "\r\n".join([f"POST {path} HTTP/1.1", "host: x", "transfer-encoding: chunked", *lines, "", ""])
    return head.encode() + data


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", said)]


@pytest.mark.fault(64, "Where it comes in time it is served.")
async def test_a_request_may_come_in_pieces_of_any_size(site: Serving) -> None:
    """Calls over slow lines would fail, by chance."""
    for size in (1, 2, 3, 7, 50):
        said = await site.ask(post("/a?b=c", b"hello") + HEAD, pieces=size)
        assert statuses(said) == [200, 200] and b"/a:hello" in said


async def test_bodies_come_by_length_and_in_chunks(site: Serving) -> None:
    """Clients that stream their calls would be lost."""
    parts = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-trailer: t\r\n\r\n"
    for size in (0, 1, 5):
        said = await site.ask(chunked("/c", parts) + post("/l", b"xyz"), pieces=size)
        assert b"/c:abcde" in said and b"/l:xyz" in said


async def test_requests_that_come_together_leave_no_task_behind(site: Serving) -> None:
    """A server that clients send several requests at once would fill with tasks that wait for nothing."""
    before = len(asyncio.all_tasks())
    for _ in range(3):
        assert statuses(await site.ask(post("/a", b"1") + post("/b", b"2") + post("/c", b"3"))) == [200] * 3
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == before


async def test_a_crowd_is_let_in_together(site: Serving) -> None:
    """Newcomers would wait for seconds behind the pieces of streams, one of them let in with each turn of the loop."""
    turns = 0
    clients = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(100)]
    for client in clients:
        client.sendall(b"GET /now HTTP/1.1\r\nhost: x\r\n\r\n")
        client.setblocking(False)
    waiting = set(clients)
    while waiting and turns < 60:
        turns += 1
        await asyncio.sleep(0)
        waiting = {client for client in waiting if not _answered(client)}
    for client in clients:
        client.close()
    assert not waiting


def _answered(client: socket.socket) -> bool:
    try:
        return b" 200 " in client.recv(65536)
    except BlockingIOError:
        return False


async def test_requests_of_one_connection_are_answered_in_their_order(site: Serving) -> None:
    """A client would take one answer for another's."""
    paths = ["/slow/1", "/now", "/slow/2", "/echo/3", "/now"]
    data = b"".join(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode() for path in paths)
    said = await site.ask(data, within=1)
    assert [part for part in (b"/slow/1", b"now", b"/slow/2", b"/echo/3:") if part in said]
    assert said.index(b"/slow/1") < said.index(b"now") < said.index(b"/slow/2") < said.index(b"/echo/3:")
    assert statuses(said) == [200] * 5
    said = await site.ask(data, pieces=30, pause=0.01, within=1)
    assert said.index(b"/slow/1") < said.index(b"now") < said.index(b"/slow/2") < said.index(b"/echo/3:")


async def test_what_is_sent_ahead_is_bounded(site: Serving) -> None:
    """One client could fill the memory while its first call is answered."""
    reader, writer = await site.open()
    writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.05)
    body = b"x" * 90_000
    writer.write(post("/a", body) + post("/b", body) + HEAD)
    said = b""
    while not said.endswith(b"/:"):
        said += await asyncio.wait_for(reader.read(65536), 5)
    assert statuses(said) == [200] * 4
    writer.close()
    assert len(statuses(await site.ask(HEAD * 500))) <= MOST_AHEAD


async def test_head_gives_the_head_alone(site: Serving) -> None:
    """The bytes of a body would be read as the next answer."""
    said = await site.ask(b"HEAD /now HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD)
    first, rest = said.split(b"\r\n\r\n", 1)
    assert b"content-length: 3" in first and rest.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/now", "/stream"])
async def test_old_clients_are_served_and_their_connection_is_closed(site: Serving, path: str) -> None:
    """A client of HTTP/1.0 knows no chunks, and waits for the end of the connection."""
    said = await asyncio.wait_for(site.ask(f"GET {path} HTTP/1.0\r\n\r\n".encode(), within=5), 5)
    head, body = said.split(b"\r\n\r\n", 1)
    assert b"connection: close" in head and b"chunked" not in head
    assert body == (b"now" if path == "/now" else b"onetwothree")


async def test_a_client_that_wants_no_more_is_closed(site: Serving) -> None:
    """It would wait for the end."""
    said = await asyncio.wait_for(site.ask(b"GET /now HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", within=9), 5)
    assert b"connection: close" in said


async def test_a_stream_is_framed_in_chunks(site: Serving) -> None:
    """A client could not tell a whole answer from a torn one."""
    said = await site.ask(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD)
    assert b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\nHTTP/1.1 200" in said


async def test_whoever_waits_for_a_word_before_the_body_gets_it(site: Serving) -> None:
    """curl would wait a second before each large call."""
    reader, writer = await site.open()
    writer.write(post("/e", b"", "expect: 100-continue").replace(b"length: 0", b"length: 5"))
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hello")
    assert b"/e:hello" in await asyncio.wait_for(reader.readuntil(b"hello"), 5)
    writer.close()
    refused = post("/e", b"", "expect: 100-continue").replace(b"length: 0", b"length: 900000")
    assert statuses(await site.ask(refused)) == [413]


async def test_a_refusal_before_the_body_is_seen_by_who_still_sends(site: Serving) -> None:
    """The client would see a broken connection instead of the reason, and try again."""
    said = await site.ask(post("/e", b"x" * 5_000_000))
    assert statuses(said) == [413] and b"connection: close" in said
    said = await site.ask(post("/refused", b"x" * 5_000_000))
    assert statuses(said) == [401]
    many = b"".join(b"8000\r\n" + b"x" * 0x8000 + b"\r\n" for _ in range(100))
    assert statuses(await site.ask(chunked("/e", many + b"0\r\n\r\n"))) == [413]


MISLEADING = {
    "two lengths": post("/", b"hello", "content-length: 6"),
    "the same length twice": post("/", b"hello", "content-length: 5"),
    "length and chunks": chunked("/", b"0\r\n\r\n", "content-length: 5"),
    "chunks and length": post("/", b"0\r\n\r\n", "transfer-encoding: chunked"),
    "another coding": chunked("/", b"0\r\n\r\n").replace(b": chunked", b": gzip, chunked"),
    "coding twice": chunked("/", b"0\r\n\r\n", "transfer-encoding: chunked"),
    "identity": chunked("/", b"0\r\n\r\n").replace(b": chunked", b": identity"),
    "a space in the coding": chunked("/", b"0\r\n\r\n").replace(b"encoding: chunked", b"encoding : chunked"),
    "chunks of old": chunked("/", b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a signed length": post("/", b"hello").replace(b": 5", b": +5"),
    "a list of lengths": post("/", b"hello").replace(b": 5", b": 5, 5"),
    "bare line feeds": b"GET / HTTP/1.1\nhost: x\n\n",
    "one bare line feed": b"GET / HTTP/1.1\r\nhost: x\nx: y\r\n\r\n",
    "a bare return": b"GET / HTTP/1.1\r\nhost: x\rx: y\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nhost: x\r\nx: y\r\n z\r\n\r\n",
    "a null": b"GET / HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
    "two keys": b"GET / HTTP/1.1\r\nhost: x\r\nauthorization: a\r\nAuthorization: b\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a new version": b"GET / HTTP/2.0\r\nhost: x\r\n\r\n",
}


@pytest.mark.fault(70, "Whatever can be read in two ways is refused.")
@pytest.mark.parametrize("data", MISLEADING.values(), ids=MISLEADING.keys())
async def test_what_can_be_read_in_two_ways_is_refused(site: Serving, data: bytes) -> None:
    """Behind a proxy that reads it otherwise, one client could slip a request into another's connection."""
    for size in (0, 1):
        said = await site.ask(data + b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n", pieces=size)
        assert statuses(said) == [400], said
        assert b"connection: close" in said
    assert not [path for _, path, _ in site.handler.seen if path == "/smuggled"]


@pytest.mark.parametrize("size", [b"zz", b"-1", b"+5", b"0x5", b" 5", b"5 ", b"", b"f" * 20])
async def test_a_chunk_of_no_size_is_refused(site: Serving, size: bytes) -> None:
    """As above; here the request has begun."""
    said = await site.ask(chunked("/", size + b"\r\nhello\r\n0\r\n\r\n" + HEAD))
    assert statuses(said) == [400] and b"connection: close" in said


async def test_heads_are_bounded(site: Serving) -> None:
    """Anybody could fill the memory before showing a key."""
    long = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 70_000 + b"\r\n\r\n"
    many = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"x-%d: y\r\n" % i for i in range(200)) + b"\r\n"
    same = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 200 + b"\r\n"
    target = b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    for data in (long, many, same, target):
        assert statuses(await site.ask(data)) == [431]
        assert statuses(await site.ask(data, pieces=5_000, pause=0.001)) == [431]
    full = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"y" * 400) for i in range(120)) + b"\r\n"
    assert statuses(await site.ask(full)) == [200]


@pytest.mark.fault(71, "An answer with such a header is never sent.")
async def test_headers_of_an_answer_cannot_be_split(site: Serving) -> None:
    """A name that a caller chose could write a second answer."""
    said = await site.ask(b"GET /split HTTP/1.1\r\nhost: x\r\n\r\n")
    assert statuses(said) == [500] and b"x-evil" not in said


async def test_a_crash_is_told_and_half_an_answer_never_looks_whole(site: Serving) -> None:
    """A fault of ours would hang the client, or pass for an answer."""
    assert statuses(await site.ask(b"GET /crash HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD)) == [500, 200]
    said = await site.ask(b"GET /crash_late HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD)
    assert statuses(said) in ([200], []) and not said.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("path", ["/hang", "/flood"])
@pytest.mark.parametrize("polite", [True, False])
async def test_a_client_that_leaves_ends_its_task_at_once(site: Serving, path: str, polite: bool) -> None:
    """A model would go on writing for nobody."""
    _, writer = await site.open()
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode() + HEAD)
    await asyncio.sleep(0.1)
    if polite:
        writer.close()
    else:
        writer.transport.abort()
    await asyncio.wait_for(site.handler.cancelled.wait(), 0.5)


@pytest.mark.fault(73, "What is held for it is bounded.")
async def test_a_reader_that_does_not_read_holds_the_writer_back(site: Serving) -> None:
    """Each slow client would cost the memory of a whole answer."""
    reader, writer = await site.open()
    writer.write(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.5)
    before = site.handler.written
    await asyncio.sleep(0.3)
    assert before == site.handler.written < 20_000_000
    read = 0
    while read < 100_000_000:
        read += len(await asyncio.wait_for(reader.read(2**20), 5))
    assert site.handler.written == 100_000_000
    writer.close()


SHORT = Times(idle=0.4, head=0.3, body=0.3, stall=0.4, linger=0.3, quiet=0.2)


async def ends(serving: Serving, data: bytes) -> bytes:
    """What is said until the server closes the connection, which it does soon."""
    return await asyncio.wait_for(serving.ask(data, within=5), 3)


@pytest.mark.fault(64, "It is cut off: after 20 s for a head, or 30 s without a byte of a body.")
async def test_whoever_sends_slowly_is_cut_off() -> None:
    """A few clients that send a byte now and then would hold every connection."""
    async with serving(SHORT) as site:
        assert await ends(site, b"") == b""
        assert statuses(await ends(site, b"GET / HT")) == [408]
        assert statuses(await ends(site, HEAD + b"GET / HTTP/1.1\r\nho")) == [200, 408]
        assert statuses(await ends(site, HEAD)) == [200]
        assert statuses(await ends(site, post("/", b"hello")[:-1])) == [408]
        assert statuses(await ends(site, post("/refused", b"hello")[:-1])) == [401]


@pytest.mark.fault(73, "One that never reads is cut off, and its upstream closed.")
async def test_whoever_never_reads_is_cut_off() -> None:
    """A client that is gone without a word would hold its call for ever."""
    async with serving(SHORT) as site:
        _, writer = await site.open()
        writer.write(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(site.handler.cancelled.wait(), 5)
        writer.close()


async def test_a_quiet_stream_gives_signs_of_life() -> None:
    """Proxies cut connections on which nothing moves."""
    async with serving(SHORT) as site:
        said = await site.ask(b"GET /quiet HTTP/1.1\r\nhost: x\r\n\r\n", within=1.5)
    assert 2 <= site.handler.signs <= 5
    assert said.count(b"sign") == site.handler.signs and b"4\r\ndone\r\n0\r\n\r\n" in said


async def test_a_thousand_idle_connections_cost_nobody_anything(site: Serving) -> None:
    """Clients that connect and say nothing would lock out the others."""
    idle = [await site.open() for _ in range(400)]
    assert statuses(await site.ask(HEAD)) == [200]
    for _, writer in idle:
        writer.close()


async def test_draining_ends_idle_connections_at_once_and_others_with_their_answer(site: Serving) -> None:
    """A restart would cut calls, or wait for clients that are asleep."""
    idle_reader, idle = await site.open()
    idle.write(HEAD)
    await asyncio.wait_for(idle_reader.readuntil(b"/:"), 5)
    reader, writer = await site.open()
    writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.05)
    await site.listener.retire()
    assert await asyncio.wait_for(idle_reader.read(), 0.15) == b""
    late = await site.ask(HEAD)
    assert statuses(late) == [200] and b"connection: close" in late
    await asyncio.wait_for(site.listener.close(5), 2)
    said = await reader.read()
    assert statuses(said) == [200] and b"connection: close" in said
    writer.close()
    idle.close()
    with closing(socket.socket()) as sock:
        assert sock.connect_ex(("127.0.0.1", site.port)) != 0


async def test_draining_does_not_wait_for_a_client_that_could_ask_again(site: Serving) -> None:
    """A stream that was begun before the signal would hold the server until its client closes."""
    reader, writer = await site.open()
    writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"one"), 5)
    await asyncio.wait_for(site.listener.close(5), 2)
    assert (await reader.read()).endswith(b"0\r\n\r\n")
    writer.close()


async def test_what_does_not_end_is_told_to(site: Serving) -> None:
    """A stream without end would keep a server from stopping."""
    reader, writer = await site.open()
    writer.write(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.05)
    await asyncio.wait_for(site.listener.close(0.1), 2)
    assert b"stopping" in await reader.read()
    writer.close()
