"""The server from its start to its end: drain, signs of life, workers, and the times that a caller states."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import anthropic
import openai
import pytest
from running import Running, configured

from upstream import SPOKEN, SSE, Upstream, chunk, head, openai_events

DOORS = {"/v1/chat/completions": b": keep-alive\n\n", "/v1/messages": b'event: ping\ndata: {"type": "ping"}\n\n'}


def lively(upstream: Upstream, grace: float = 0, longest: float = 60) -> str:
    """A configuration whose streams are never quiet for more than some tenths of a second."""
    drain = f"drain: {{grace: {grace}, longest: {longest}}}"
    return configured(upstream.url).replace("drain: {grace: 0}", f"{drain}, keep_alive: 0.5")


@pytest.fixture
def own(upstream: Upstream, tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "home", lively(upstream, longest=0.5)) as running:
        yield running


async def ask(
    server: Running, model: str, path: str = "/v1/chat/completions", *lines: str, streaming: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    message = {"role": "user", "content": "hello"}
    body = json.dumps({"model": model, "max_tokens": 50, "messages": [message], "stream": streaming}).encode()
    stated = [
        f"POST {path} HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {server.key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *lines,
    ]
    writer.write("\r\n".join([*stated, "", ""]).encode() + body)
    return reader, writer


def get(server: Running, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    stated = {"authorization": f"Bearer {server.key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, headers=stated)
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.parametrize("path", DOORS)
async def test_a_stream_that_is_not_begun_gives_signs_of_life(own: Running, upstream: Upstream, path: str) -> None:
    """A proxy between would cut a call whose model thinks for half a minute."""
    events = openai_events()
    upstream.plans["thinks"] = [head(200, SSE), 1.6, *(chunk(event) for event in events), chunk(b"")]
    reader, writer = await ask(own, "mine/thinks", path)
    said = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10)
    writer.close()
    top, body = said.split(b"\r\n\r\n", 1)
    assert b" 200 " in top and b"text/event-stream" in top and b"x-pointsman-call: " in top
    assert body.index(DOORS[path]) < body.index(b"Points")
    assert b"[DONE]" in body or b"message_stop" in body


@pytest.mark.parametrize("path", DOORS)
async def test_a_stream_that_pauses_gives_signs_of_life(own: Running, upstream: Upstream, path: str) -> None:
    """As above, in the middle."""
    events = [chunk(event) for event in openai_events()]
    upstream.plans["pauses"] = [head(200, SSE), *events[:3], 1.6, *events[3:], chunk(b"")]
    reader, writer = await ask(own, "mine/pauses", path)
    said = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10)
    writer.close()
    assert DOORS[path] in said[said.index(b"Points") :]


@pytest.mark.parametrize("path", DOORS)
async def test_a_failure_after_a_sign_of_life_is_an_error_event(own: Running, upstream: Upstream, path: str) -> None:
    """The head says 200 by then: a clean end would look like an empty answer."""
    upstream.plans["fails"] = [1.6, "close"]
    reader, writer = await ask(own, "mine/fails", path, "x-pointsman-timeout: 3")
    said = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 15)
    writer.close()
    assert b" 200 " in said[:20] and DOORS[path] in said and b'"error"' in said
    assert b"[DONE]" not in said and b"message_stop" not in said


def test_clients_take_signs_of_life(own: Running, upstream: Upstream) -> None:
    """The signs would be read as a part of the answer."""
    events = [chunk(event) for event in openai_events()]
    upstream.plans["slow"] = [head(200, SSE), 1.5, *events[:3], 1.5, *events[3:], chunk(b"")]
    said = ""
    with openai.OpenAI(base_url=f"{own.url}/v1", api_key=own.key, max_retries=0) as client:
        for event in client.chat.completions.create(
            model="mine/slow", messages=[{"role": "user", "content": "hello"}], stream=True
        ):
            said += (event.choices[0].delta.content or "") if event.choices else ""
    assert said == "Points set, train passed."
    with (
        anthropic.Anthropic(base_url=own.url, api_key=own.key, max_retries=0) as client,
        client.messages.stream(
            model="mine/slow", max_tokens=50, messages=[{"role": "user", "content": "hello"}]
        ) as stream,
    ):
        assert "".join(stream.text_stream) == "Points set, train passed."


async def test_in_its_grace_it_serves_and_is_not_ready(upstream: Upstream, tmp_path: Path) -> None:
    """A load balancer would send calls to a door that is shut."""
    with Running(tmp_path / "home", lively(upstream, grace=1.5)) as server:
        idle, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await idle.readuntil(b"}")
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(idle.read(), 1) == b""
        writer.close()
        status, body, headers = await asyncio.to_thread(get, server, "/ready")
        assert (status, headers["connection"]) == (503, "close") and b"stopping" in body
        assert (await asyncio.to_thread(get, server, "/health"))[0] == 200
        reader, writer = await ask(server, "mine/last", streaming=False)
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert b" 200 " in said[:20] and b"connection: close" in said
        assert await asyncio.to_thread(server.process.wait, 20) == 0
        assert time.monotonic() - started > 1.4


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("streaming", [True, False])
async def test_what_runs_too_long_is_told_that_the_server_stops(
    own: Running, upstream: Upstream, path: str, streaming: bool
) -> None:
    """A client would see a torn connection, or take half an answer for a whole one; the bill would miss it."""
    name = f"endless{path.replace('/', '-')}-{streaming}"
    upstream.plans[name] = [*SPOKEN, "hang"] if streaming else ["hang"]
    reader, writer = await ask(own, f"mine/{name}", path, streaming=streaming)
    if streaming:
        await asyncio.wait_for(reader.readuntil(b"Points"), 5)
    else:
        await asyncio.to_thread(upstream.last, name)
    assert await asyncio.to_thread(own.stop) == 0
    said = await reader.read()
    writer.close()
    assert b"is stopping" in said and b"[DONE]" not in said and b"message_stop" not in said
    assert said.endswith(b"\r\n0\r\n\r\n") if streaming else b" 503 " in said[:20]
    assert own.newest(f"mine/{name}").status == "cancelled"


@pytest.mark.parametrize("is_known", [True, False], ids=["kept alive", "new"])
async def test_what_came_before_the_end_and_was_not_read_is_answered(
    upstream: Upstream, tmp_path: Path, is_known: bool
) -> None:
    """A server that is busy when it is told to stop would reset connections whose request it has, unread."""
    with Running(tmp_path / "home", lively(upstream, longest=5)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        if is_known:
            writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readuntil(b"}")
        server.process.send_signal(signal.SIGSTOP)
        if not is_known:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        said = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert said.startswith(b"HTTP/1.1 200 ")
        assert await asyncio.to_thread(server.process.wait, 20) == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(upstream: Upstream, tmp_path: Path, first: signal.Signals) -> None:
    """Whoever waits at a terminal would reach for kill -9."""
    upstream.plans["endless"] = [*SPOKEN, "hang"]
    with Running(tmp_path / "home", lively(upstream, grace=60)) as server:
        reader, writer = await ask(server, "mine/endless")
        await asyncio.wait_for(reader.readuntil(b"Points"), 5)
        server.process.send_signal(first)
        await asyncio.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(server.process.wait, 5) == 0
        assert b"is stopping" in await reader.read()
        writer.close()
        assert server.newest("mine/endless").status == "cancelled"


@pytest.mark.parametrize(
    ("value", "plan", "streaming"),
    [("0.4", ["hang"], False), ("ttft=0.4", ["hang"], True), ("idle=0.4, total=9", [*SPOKEN, "hang"], True)],
)
async def test_a_caller_states_how_long_it_waits(
    server: Running, upstream: Upstream, value: str, plan: list, streaming: bool
) -> None:
    """A client with a deadline would wait for the server's."""
    upstream.plans["late"] = plan
    started = time.monotonic()
    reader, writer = await ask(
        server, "mine/late", "/v1/messages", f"x-pointsman-timeout: {value}", "connection: close", streaming=streaming
    )
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert b"timeout" in said and time.monotonic() - started < 8


@pytest.mark.parametrize("value", ["", "soon", "0", "-1", "nan", "inf", "1e9", "total=", "connect=5", "total=5,x=1"])
async def test_a_time_that_cannot_be_read_is_refused(server: Running, value: str) -> None:
    """A deadline that is not understood would be no deadline."""
    reader, writer = await ask(server, "small", "/v1/messages", f"x-pointsman-timeout: {value}", streaming=False)
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()


def test_one_model_is_listed_by_its_name(server: Running) -> None:
    """Clients that look their model up before they call would stop there."""
    for name in ("small", "auto"):
        status, body, _ = get(server, f"/v1/models/{name}")
        assert (status, json.loads(body)["id"]) == (200, name)
        status, body, _ = get(server, f"/v1/models/{name}", anthropic_version="2023-06-01")
        assert (status, json.loads(body)["type"]) == (200, "model")
    status, body, _ = get(server, "/v1/models/nothing%2Fof-the-kind")
    assert status == 404 and b"nothing/of-the-kind" in body
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        assert client.models.retrieve("small").id == "small"


def test_head_is_answered_wherever_get_is(server: Running) -> None:
    """Monitors and link checkers ask that way."""
    for path in ("/health", "/ready", "/", "/v1/models", "/metrics", "/v1/models/small"):
        status, body, headers = get(server, path, "HEAD")
        assert (status, body) == (200, b"") and int(headers["content-length"]) > 0
    assert get(server, "/v1/messages", "HEAD")[0] == 405


FIXED = "learning: {enabled: false}\n"
"""Nothing is drawn: of `route`'s candidates a new question goes to `small`."""


@contextlib.contextmanager
def workers(upstream: Upstream, home: Path, count: int = 2) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    """The parent, its URL and a key."""
    home.mkdir()
    file = home / "config.yaml"
    file.write_text(lively(upstream).replace("modes:\n", "modes:\n  second: {candidates: [twin]}\n") + FIXED)
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "POINTSMAN_HOME": str(home)}
    command = (sys.executable, "-m", "pointsman", "serve", "--json", "--port", "0", "--workers", str(count))
    with subprocess.Popen(
        (*command, "--config", str(file)), env=variables, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            announced = json.loads(process.stdout.readline())
            yield process, announced["url"], announced["key"]
        finally:
            process.kill()


def children(process: subprocess.Popen[bytes]) -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in found]


def until(condition, within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_served(url: str) -> bool:
    host, port = re.findall(r"//(.*):(\d+)", url)[0]
    try:
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=5)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
    except OSError:
        return False


def served_by(url: str, key: str, model: str, *messages: dict[str, Any]) -> str | None:
    """The model that answers; over a connection of its own, so any worker may serve it."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    body = json.dumps({"model": model, "messages": messages}).encode()
    with urlopen(Request(f"{url}/v1/chat/completions", body, headers), timeout=30) as answer:
        return answer.headers["x-pointsman-model"]


def asked_and_answered(question: str) -> list[dict[str, Any]]:
    """A question, the tool's call, and its result."""
    used = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [used]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]


def test_workers_share_socket_and_conversations_and_one_that_dies_is_replaced(
    upstream: Upstream, tmp_path: Path
) -> None:
    """One crash would take a part of the server away for good; and a tool's result would go to a model that never
    called the tool."""
    with workers(upstream, tmp_path / "home") as (parent, url, key):
        assert key.startswith("pm-")
        before = children(parent)
        assert len(before) == 2
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            for _ in range(5):
                answer = client.chat.completions.create(
                    model="fake/echo", messages=[{"role": "user", "content": "hello"}]
                )
                assert answer.choices[0].message.content == "simulated: hello"
        for number in range(12):
            question, *used = asked_and_answered(f"What is the answer to question {number}?")
            assert served_by(url, key, "second", question) == "twin"
            assert served_by(url, key, "auto", question, *used) == "twin"
        assert served_by(url, key, "auto", *asked_and_answered("What was never asked here?")) == "small"
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(set(children(parent)) - {before[0]}) == 2)
        assert all(is_served(url) for _ in range(10))
        parent.send_signal(signal.SIGTERM)
        said, errors = parent.communicate(timeout=20)
        assert parent.returncode == 0 and said == b""
        assert b"Traceback" not in errors and b"started again" in errors


def test_workers_end_with_their_parent(upstream: Upstream, tmp_path: Path) -> None:
    """A port would be held by processes that nobody knows of."""
    with workers(upstream, tmp_path / "home") as (parent, url, _):
        parent.kill()
        parent.wait()
        until(lambda: not is_served(url))


def test_workers_that_cannot_start_are_not_tried_for_ever(upstream: Upstream, tmp_path: Path) -> None:
    """A supervisor would believe that all is well."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text("server: {workers: 2, key: {env: NOT_THERE}}\n")
    done = subprocess.run(
        (sys.executable, "-m", "pointsman", "serve", "--port", "0", "--config", str(home / "config.yaml")),
        env={"PATH": os.environ["PATH"], "HOME": str(home), "POINTSMAN_HOME": str(home)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2 and b"NOT_THERE" in done.stderr
