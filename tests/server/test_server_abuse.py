"""Rubbish at the doors: every answer says what is wrong, in the caller's format, and the server lives on."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator

import pytest
from running import PROVIDER_KEY, Running

from pointsman.gateway import Gateway
from pointsman.ledger import Ledger
from pointsman.server import Application
from upstream import Upstream

DOORS = ("/v1/chat/completions", "/v1/messages")
HELLO = {"role": "user", "content": "hello"}


def post(server: Running, path: str, body: bytes, **headers: str) -> tuple[int, dict]:
    """Status and JSON of one call."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    stated = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request("POST", path, body, {**stated, **given})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def call(**fields: object) -> bytes:
    return json.dumps({"model": "small", "max_tokens": 10, "messages": [HELLO], **fields}).encode()


def raw(server: Running, data: bytes, *, wait: float = 10) -> bytes:
    """Everything that the server answers to these bytes until it closes, or goes silent for half a second."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while piece := sock.recv(65536):
                answer += piece
                sock.settimeout(0.5)
        return answer


def top(path: str, *lines: str, key: str = "", method: str = "POST") -> bytes:
    stated = [f"{method} {path} HTTP/1.1", "host: localhost", "content-type: application/json"]
    return "\r\n".join([*stated, *([f"authorization: Bearer {key}"] if key else []), *lines, "", ""]).encode()


@pytest.fixture(autouse=True)
def still_alive(server: Running) -> Iterator[None]:
    """After each test the server serves a good client at once, and has said nothing of an error of its own."""
    yield
    started = time.monotonic()
    assert post(server, DOORS[0], call())[0] == 200
    assert time.monotonic() - started < 5
    assert "Traceback" not in server.stderr


@pytest.mark.fault(66, "400 in the caller's dialect; no upstream sees it.")
@pytest.mark.fault(67, "400 in the caller's dialect; no upstream sees it.")
@pytest.mark.fault(68, "400 in the caller's dialect; no upstream sees it.")
@pytest.mark.fault(69, "400 in the caller's dialect, or left to the upstream whose dialect it is.")
@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"model": "small"}',
        call()[:-1],
        call() + b"x",
        call(messages=[]),
        call(messages="hello"),
        call(messages=[None]),
        call(messages=[{"role": "user"}, 5]),
        call(messages=[{"role": "emperor", "content": "hello"}]),
        call(messages=[{"role": "user", "content": 5}]),
        call(messages=[{"role": "user", "content": [{"type": "telepathy"}]}]),
        call(model=None),
        call(model=5),
        call(model=["small"]),
        call(stream="yes"),
        call(max_tokens=-1),
        call(max_tokens=0),
        call(max_tokens=10**18),
        call(max_tokens=1e308),
        call(max_tokens="5"),
        call(max_tokens=1.5),
        call(temperature="hot"),
        call(tools={}),
        call(tools=[{"type": "function"}]),
        b'{"model":"small","max_tokens":10,"messages":[{"role":"user","content":"a"}],"temperature":NaN}',
        b'{"model":"small","max_tokens":10,"messages":[{"role":"user","content":"a"}],"x":Infinity}',
        b'{"model":"small","max_tokens":10,"messages":[{"role":"user","content":"\xff\xfe"}]}',
        b'{"model":"small","max_tokens":10,"x":"\xc3","messages":[{"role":"user","content":"a"}]}',
        b'{"model":"small","max_tokens":10,"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"small","max_tokens":10,"messages":[{"role":"user","content":"a"}],"x":' + b'{"a":' * 100_000,
        b"\x00" * 1000,
        b"\xef\xbb\xbf" + b"{}",
    ],
)
@pytest.mark.parametrize("model", ["small", "auto", "opus", "fake/echo"])
def test_a_body_that_is_no_call_is_refused_in_the_callers_format(
    server: Running, upstream: Upstream, path: str, body: bytes, model: str
) -> None:
    """A mistake in a program would be sent on and billed, or would look like a fault of the server."""
    before = len(upstream.received)
    status, answer = post(server, path, body.replace(b'"small"', b'"%s"' % model.encode()))
    if status == 200:  # what its own upstream is to judge goes through
        assert model in ("small", "opus")
        assert (path == DOORS[0]) == (model == "small")
    else:
        assert status in (400, 502) and answer["error"]["message"]
        assert ("type" in answer) == (path == DOORS[1])
        assert status == 400 and len(upstream.received) == before


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data"])
def test_only_json_is_taken(server: Running, path: str, kind: str) -> None:
    """A page in a browser could make calls to a server on its own machine without asking."""
    assert post(server, path, call(), content_type=kind)[0] == 400


@pytest.mark.fault(65, "413 before any of it is read, where its length is declared.")
@pytest.mark.parametrize("path", DOORS)
def test_a_body_past_the_cap_is_refused_before_it_is_sent(server: Running, path: str) -> None:
    """Anybody could fill the memory."""
    answer = raw(server, top(path, "content-length: 900000000", key=server.key))
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.fault(65, "413 at the cap, where it is not.")
@pytest.mark.parametrize("path", DOORS)
def test_a_chunked_body_past_the_cap_is_refused_on_the_way(server: Running, path: str) -> None:
    """Without a declared length the cap would not hold."""
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = raw(server, top(path, "transfer-encoding: chunked", key=server.key) + piece * 40)
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.fault(65, "A client that goes on sending reads the refusal.")
def test_a_body_past_the_cap_reaches_a_real_client_as_such(server: Running) -> None:
    """The client would see a broken connection instead of the reason."""
    status, answer = post(server, DOORS[0], call(messages=[{"role": "user", "content": "x" * 2_000_000}]))
    assert (status, "bytes" in answer["error"]["message"]) == (413, True)


def test_no_key_no_reading(server: Running) -> None:
    """Strangers could make the server read and parse whatever they send."""
    answer = raw(server, top(DOORS[0], "content-length: 1000000"))
    assert answer.startswith(b"HTTP/1.1 401")


@pytest.mark.fault(70, "400, and the connection is closed: what follows is not read as a request.")
@pytest.mark.parametrize(
    "request_bytes",
    [
        top("/health", "content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        top("/health", "transfer-encoding: chunked", "content-length: 5") + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        top("/health", "content-length: 5", "content-length: 6") + b"hello",
        top("/health", "content-length: -5"),
        top("/health", "content-length: 5, 5") + b"hello",
        top("/health", "transfer-encoding: xchunked") + b"0\r\n\r\n",
        top("/health", "transfer-encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n",
        top("/health", "bad header"),
        top("/health", "x: a\x00b"),
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 1000,
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET http://elsewhere/v1/models HTTP/1.1\r\nhost: elsewhere\r\n\r\n",
        b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere\r\n\r\n",
        b"GET /console/../v1/models HTTP/1.1\r\nhost: here\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nhost: here\r\n\r\n",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: here\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
    ],
)
def test_broken_http_and_smuggling_get_nowhere(server: Running, request_bytes: bytes) -> None:
    """Behind a proxy, one client could slip a request into another's connection."""
    answer = raw(server, request_bytes)
    statuses = [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert all(400 <= status < 500 or (status == 200 and b"upgrade" in request_bytes) for status in statuses)
    assert len(statuses) <= 1 and b"root:" not in answer


def test_a_head_without_end_is_cut_off(server: Running) -> None:
    """Anybody could fill the memory before showing a key."""
    before = memory(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nx: ")
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 100_000_000:
                sent += sock.send(b"x" * 65536)
    assert sent < 20_000_000
    assert memory(server) - before < 20_000_000


def memory(server: Running) -> int:
    """Resident bytes of the server."""
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.fault(71, "No header comes of it.")
@pytest.mark.parametrize(
    "model", ["mine/a\r\nx-evil: 1", "mine/a\nb", "mine/\x00", "mine/é\u2028☃", "mine/" + "a" * 9000]
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_models_name_cannot_write_headers(server: Running, model: str, streaming: bool) -> None:
    """A caller could forge headers or a second answer: response splitting."""
    body = call(model=model, stream=streaming)
    answer = raw(server, top(DOORS[0], f"content-length: {len(body)}", "connection: close", key=server.key) + body)
    head = answer.split(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 ") and b"\nx-evil" not in head and b"\x00" not in head
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.fault(69, "A need in a header that cannot be read is a 400.")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("local-only", "maybe"),
        ("local-only", ""),
        ("priority", "fast"),
        ("budget-usd", "NaN"),
        ("budget-usd", "-1"),
        ("budget-usd", "a lot"),
        ("budget-usd", "1e400"),
        ("max-latency", "nan"),
        ("max-latency", "-5"),
        ("max-latency", "inf"),
        ("quality", "2"),
        ("quality", "-inf"),
        ("task", "cooking"),
    ],
)
def test_needs_that_cannot_be_read_are_refused(server: Running, name: str, value: str) -> None:
    """A budget that is not understood would be no budget, or its caller would look for the fault elsewhere."""
    status, answer = post(server, DOORS[0], call(model="auto"), **{f"x-pointsman-{name}": value})
    assert status == 400 and name in answer["error"]["message"]


@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=" + "9" * 5000, "limit=x", "limit=", "limit=%00", "limit=1&limit=y"]
)
def test_a_limit_that_is_no_number_is_refused(server: Running, query: str) -> None:
    """A typo would be an error of the server."""
    assert get_status(server, f"/api/decisions?{query}", server.key) in (200, 400)


@pytest.mark.parametrize(
    "query", ["since=x", "since=nan", "since=" + "9" * 30 + "d", "by=secret", "by='--", "since=9999-99-99"]
)
def test_a_question_about_costs_that_makes_no_sense_is_refused(server: Running, query: str) -> None:
    """A typo would be an error of the server, or reach the database."""
    assert get_status(server, f"/api/costs?{query}", server.key) == 400


def get_status(server: Running, path: str, key: str, method: str = "GET", *headers: str) -> int:
    answer = raw(server, top(path, "connection: close", "content-length: 0", *headers, key=key, method=method))
    return int(answer.split()[1])


OPEN = {"/", "/console.css", "/console.js", "/favicon.ico", "/health", "/ready"}


@pytest.fixture(scope="module")
def routes(server: Running) -> list[tuple[str, str]]:
    """Every method and path that the application answers."""
    gateway = Gateway(server.home / "config-of-test.yaml")
    application = Application(gateway)
    assert {path for _, path in application.routes} >= OPEN
    return sorted(application.routes)


@pytest.mark.fault(110, "No header of a proxy replaces a key.")
def test_every_route_but_the_open_ones_wants_a_good_key(server: Running, routes: list[tuple[str, str]]) -> None:
    """One forgotten check opens a door to everybody."""
    with Ledger.open(server.home) as ledger:
        revoked, known = ledger.keys.create("revoked", scopes=("call", "read", "admin"))
        expired, _ = ledger.keys.create("expired", scopes=("call", "read"), expires=time.time() - 1)
        ledger.keys.revoke(known.id)
    halved, longer = server.key[: len(server.key) // 2], server.key + "x"
    injected = "pm-' OR 1=1 --"
    for method, path in routes:
        if path in OPEN:
            assert get_status(server, path, "", method) == 200
            continue
        for key in ("", "x", "pm-", "pm--", "Bearer", halved, longer, revoked, expired, injected, PROVIDER_KEY, "é☃"):
            assert get_status(server, path, key.encode().decode("latin-1"), method) == 401, (path, key)
        assert get_status(server, f"{path}?key={server.key}&api_key={server.key}", "", method) == 401
        for trick in (
            "x-forwarded-for: 127.0.0.1",
            "x-original-url: /health",
            f"cookie: key={server.key}",
        ):
            assert get_status(server, path, "", method, trick) == 401, trick
        assert get_status(server, path, server.key, method, "host: 127.0.0.1") == 400, "two hosts"


def test_a_key_does_only_what_it_may(server: Running, routes: list[tuple[str, str]]) -> None:
    """Whoever may read the bills could run them up, and the other way round."""
    with Ledger.open(server.home) as ledger:
        keys = {scope: ledger.keys.create(f"only {scope}", scopes=(scope,))[0] for scope in ("call", "read")}
    for method, path in routes:
        if path not in OPEN:
            allowed = {scope for scope, key in keys.items() if get_status(server, path, key, method) != 403}
            assert allowed == ({"call"} if path.startswith("/v1/") else {"read"}), path


def test_a_path_or_method_that_there_is_not_is_told(server: Running, routes: list[tuple[str, str]]) -> None:
    """A wrong base URL would be hard to find."""
    for path in ("/v1", "/v1/chat/completions/", "//v1/models", "/V1/models", "/v1/models?x#y", "/admin", "/.env"):
        assert get_status(server, path, server.key) in (200, 404) and (
            "?" in path or get_status(server, path, server.key) == 404
        )
    for method, path in routes:
        for other in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} - {method}:
            assert get_status(server, path, server.key, other) == 405


@pytest.mark.fault(67, "Other clients are served meanwhile.")
async def test_good_clients_do_not_notice_the_bad_ones(server: Running) -> None:
    """One abuser would slow everybody down."""
    stop = asyncio.Event()

    async def abuse(body: bytes) -> None:
        while not stop.is_set():
            await asyncio.to_thread(post, server, DOORS[0], body)

    async def good() -> list[float]:
        took = []
        for _ in range(60):
            started = time.monotonic()
            assert (await asyncio.to_thread(post, server, DOORS[0], call()))[0] == 200
            took.append(time.monotonic() - started)
        return sorted(took)

    deep = b'{"model":"small","messages":' + b"[" * 100_000
    abusers = [asyncio.create_task(abuse(body)) for body in (deep, b"{" * 500_000, b'{"a":"\xff' + b"x" * 900_000)]
    among = await good()
    stop.set()
    await asyncio.gather(*abusers)
    assert among[-1] < 2


def test_hundreds_of_idle_connections_leave_room(server: Running) -> None:
    """Clients that connect and say nothing would lock out the others."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert post(server, DOORS[0], call())[0] == 200
