"""Clients that are slow, huge or idle, at a real server: the others do not notice, and memory stays bounded."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Running, configured
from serving import CHAT, ask, until

from upstream import SSE, Upstream, chunk, head, openai_chunk

SECONDS = 2.0
"""A good call takes some milliseconds; the machine of the tests may be busy."""
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Started from a shell that lets it open few files, as most do."""
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, own[1]))
    try:
        running = Running(tmp_path_factory.mktemp("clients") / "home", configured(upstream.url))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, own)
    with running:
        yield running


@pytest.fixture(autouse=True)
def still_well(server: Running) -> Iterator[None]:
    yield
    assert_served(server)
    assert "Traceback" not in server.stderr


def assert_served(server: Running) -> None:
    started = time.monotonic()
    assert ask(server).whole and ask(server, stream=True).whole
    assert time.monotonic() - started < SECONDS


def top(server: Running, *lines: str) -> bytes:
    stated = (f"POST {CHAT} HTTP/1.1", "host: localhost", f"authorization: Bearer {server.key}", *lines)
    return "\r\n".join((*stated, "content-type: application/json", "", "")).encode()


def memory(server: Running) -> int:
    """Resident bytes."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def connections(server: Running, count: int) -> Iterator[list[socket.socket]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 500)), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10)) for _ in range(count)
        ]


@pytest.mark.fault(64, "Others are served at once meanwhile.")
def test_requests_that_come_byte_by_byte_slow_nobody_down(server: Running) -> None:
    """A few hundred clients that send a byte now and then would stop the service."""
    begun = top(server, "content-length: 5000")
    with connections(server, 200) as slow:
        for position in range(40):
            for number, one in enumerate(slow):
                one.sendall(begun[position : position + 1] if number % 2 else (begun if position == 0 else b" "))
            if position % 10 == 0:
                assert_served(server)


@pytest.mark.fault(65, "Memory does not grow with what is sent on.")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_50_mb_is_never_held(server: Running, chunked: bool) -> None:
    """Anybody with a key could fill the memory."""
    assert_served(server)
    before, most = memory(server), 0
    piece = b" " * 65_536
    framed = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(top(server, "transfer-encoding: chunked" if chunked else f"content-length: {50 * MEGABYTE}"))
        with contextlib.suppress(ConnectionError):
            for _ in range(50 * MEGABYTE // len(piece)):
                sock.sendall(framed)
                most = max(most, memory(server))
        with contextlib.suppress(ConnectionError, TimeoutError):
            assert b" 413 " in sock.recv(65_536)[:20]
    assert most - before < 20 * MEGABYTE


@pytest.mark.fault(73, "The upstream is read no faster than the client reads, others are served meanwhile.")
def test_a_slow_reader_holds_its_upstream_back(server: Running, upstream: Upstream) -> None:
    """A client on a bad line would fill the memory with its answer."""
    word = chunk(openai_chunk({"content": "x" * 10_000}))
    upstream.plans["long"] = [head(200, SSE), *[word] * 20_000, chunk(b"")]  # 200 MB
    body = b'{"model": "mine/long", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'
    assert_served(server)
    before = memory(server)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(top(server, f"content-length: {len(body)}") + body)
        received = upstream.last("long")
        for _ in range(20):
            assert sock.recv(4_096)
            time.sleep(0.05)
            assert memory(server) - before < 30 * MEGABYTE
        assert_served(server)
        assert received.left_at is None
    received.left()
    until(lambda: server.newest("mine/long").status == "cancelled")


@pytest.mark.fault(74, "Each costs a few kilobytes; calls are served as ever.")
def test_a_thousand_idle_connections_cost_little(server: Running) -> None:
    """Clients that connect and say nothing would lock out the others."""
    assert_served(server)
    before = memory(server)
    with connections(server, 1_000) as idle:
        for one in idle[::2]:
            one.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        for _ in range(5):
            assert_served(server)
        assert memory(server) - before < 40 * MEGABYTE
