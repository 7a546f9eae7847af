"""What whoever runs the server relies on: health, metrics, a clean end, and silence about keys and prompts."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from running import PROVIDER_KEY, Running, configured

from upstream import SSE, Upstream, chunk, error, head, openai_events, stream, whole

PROMPT = "canary-prompt-7f3a"
ANSWERED = "canary-answer-91bc"


def post(server: Running, model: str, *, streaming: bool = False, text: str = "hello") -> tuple[int, bytes, str]:
    """Status, body and headers of one call."""
    body = json.dumps({"model": model, "stream": streaming, "messages": [{"role": "user", "content": text}]})
    headers = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), str(answer.headers)


@pytest.fixture
def own(upstream: Upstream, tmp_path: Path) -> Iterator[Running]:
    """A server for one test, which may break it."""
    with Running(tmp_path / "home", configured(upstream.url)) as running:
        yield running


def parse(text: str) -> dict[str, float]:
    """Prometheus' text format, strictly: each sample by its name and labels."""
    samples: dict[str, float] = {}
    kinds: dict[str, str] = {}
    label = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"'
    sample = re.compile(rf"([a-zA-Z_:][\w:]*)(\{{{label}(?:,{label})*\}})? (\S+)")
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# TYPE "):
            _, _, name, kinds[name] = line.split(" ")
        elif not line.startswith("# HELP "):
            match = sample.fullmatch(line)
            assert match, line
            assert match[1] + (match[2] or "") not in samples, line
            assert match[1] in kinds or re.sub("_(bucket|sum|count)$", "", match[1]) in kinds, line
            samples[match[1] + (match[2] or "")] = float(match[3])
    return samples


def test_metrics_are_what_prometheus_reads_and_count_right(own: Running) -> None:
    """A scrape would fail as a whole, or a dashboard would lie."""
    odd = 'mine/a"b\\c d{e}☃'
    assert [post(own, model)[0] for model in ("small", "small", odd, "dead/x", "nothing")] == [200, 200, 200, 502, 404]
    found = parse(own.text("/metrics"))
    assert found["pointsman_ready"] == 1
    assert found['pointsman_answers_total{door="openai",status="200"}'] == 3
    assert found['pointsman_answers_total{door="openai",status="404"}'] == 1
    assert found['pointsman_answers_total{door="openai",status="502"}'] == 1
    assert found['pointsman_attempts_total{model="small",outcome="ok"}'] == 2
    assert found['pointsman_attempts_total{model="dead/x",outcome="unreachable"}'] == 1
    assert found['pointsman_tokens_total{model="small",direction="input"}'] == 18
    assert found['pointsman_cost_usd_total{model="small"}'] == pytest.approx(0.000038)
    assert found['pointsman_attempt_seconds_count{model="small"}'] == 2
    assert found['pointsman_attempt_seconds_bucket{model="small",le="+Inf"}'] == 2


def test_names_from_callers_do_not_fill_the_metrics(own: Running, upstream: Upstream) -> None:
    """Each made-up name would cost memory for ever, here and in Prometheus."""
    for number in range(700):
        post(own, f"mine/made-up-{number}")
    models = set(re.findall(r'model="([^"]*)"', own.text("/metrics")))
    assert "other" in models and len(models) <= 501


def status_of(server: Running, path: str) -> int:
    try:
        with urlopen(server.url + path, timeout=10) as answer:
            return int(answer.status)
    except HTTPError as failed:
        with failed:
            return failed.code


def test_a_server_whose_ledger_is_broken_lives_but_is_not_ready(own: Running) -> None:
    """A load balancer would go on sending calls to a server that cannot record them."""
    assert (status_of(own, "/health"), status_of(own, "/ready")) == (200, 200)
    post(own, "small")
    with contextlib.closing(sqlite3.connect(own.home / "ledger.sqlite")) as connection:
        connection.execute("DROP TABLE entries")
        connection.commit()
    post(own, "small")
    deadline = time.monotonic() + 10
    while status_of(own, "/ready") != 503 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (status_of(own, "/health"), status_of(own, "/ready")) == (200, 503)
    assert parse(own.text("/metrics"))["pointsman_ready"] == 0


async def test_a_running_stream_is_finished_after_the_signal_to_stop(own: Running, upstream: Upstream) -> None:
    """Every deployment would cut answers in the middle."""
    events = openai_events()
    upstream.plans["long"] = stream(events, pause=0.15)
    task = asyncio.create_task(asyncio.to_thread(post, own, "mine/long", streaming=True))
    await asyncio.to_thread(upstream.last, "long")
    await asyncio.sleep(0.2)
    stopped = asyncio.create_task(asyncio.to_thread(own.stop))
    status, body, _ = await task
    assert status == 200 and body.rstrip().endswith(b"data: [DONE]")
    assert await stopped == 0
    assert own.newest("mine/long").status == "ok"


def test_it_ends_with_success_when_told_to_and_lets_go_of_everything(own: Running) -> None:
    """A supervisor would take each stop for a crash, and calls of the last moment would be missing on the bill."""
    for _ in range(20):
        post(own, "small")
    assert own.stop() == 0
    with contextlib.closing(sqlite3.connect(own.home / "ledger.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (20,)
    assert own.stderr == ""


@pytest.mark.parametrize("bodies", [False, True])
def test_keys_are_shown_nowhere_and_prompts_only_where_they_are_asked_for(
    upstream: Upstream, tmp_path: Path, bodies: bool
) -> None:
    """A provider's key or a private prompt would leak into logs, errors, the ledger or answers."""
    upstream.plans |= {
        "echoes-key": lambda received: error(401, f"Incorrect API key provided: {received.headers['authorization']}"),
        "echoes-all": lambda received: error(400, f"bad: {received.headers} {received.body!r}"),
        "page": lambda received: whole(f"<html>{received.headers}".encode(), 502, {"content-type": "text/html"}),
        "in-200": lambda received: whole({"error": {"message": f"key {received.headers['authorization']}"}}),
        "in-stream": lambda received: stream(
            [*openai_events([ANSWERED])[:2], b'data: {"error":{"message":"key %s"}}\n\n' % PROVIDER_KEY.encode()]
        ),
        "broken": [head(200, SSE), *(chunk(event) for event in openai_events([ANSWERED])[:2]), 0.1, "reset"],
        "says": stream(openai_events([ANSWERED])),
    }
    models = ["echoes-key", "page", "in-200", "in-stream", "broken", "says"]
    said = b""
    with Running(tmp_path / "home", configured(upstream.url, bodies=bodies)) as server:
        for model in models:
            for streaming in (False, True):
                status, body, headers = post(server, f"mine/{model}", streaming=streaming, text=PROMPT)
                said += body + headers.encode()
        said += post(server, "mine/echoes-all", text="hello")[1]
        said += post(server, "sealed", text=PROMPT)[1] + post(server, "nothing", text=PROMPT)[1]
        for path in ("/metrics", "/api/decisions", "/api/costs", "/api/performance/metrics", "/v1/models", "/"):
            said += server.text(path).encode()
        server_key = server.key.encode()
        assert server.stop() == 0
        written = b"".join(
            path.read_bytes() for path in server.home.rglob("*") if path.is_file() and "config-of-test" not in path.name
        )
    assert PROVIDER_KEY.encode() not in said + written
    assert server_key not in said + written
    assert PROMPT.encode() not in said
    assert (PROMPT.encode() in written) == bodies
    assert (ANSWERED.encode() in written) == bodies


def test_a_second_server_has_no_new_key_to_show(upstream: Upstream, tmp_path: Path) -> None:
    """A key that is made at each start would fill the list, and old ones would seem lost."""
    with Running(tmp_path / "home", configured(upstream.url)) as first:
        assert first.key.startswith("pm-")
    with Running(tmp_path / "home", configured(upstream.url)) as second:
        assert second.key == ""
        second.key = first.key
        assert post(second, "small")[0] == 200


def test_files_of_the_server_are_for_its_user_only(own: Running) -> None:
    """Other users of the machine could read the bills, or the pepper of the keys."""
    post(own, "small")
    private = [own.home / "keys.pepper", *own.home.glob("ledger.sqlite*"), *own.home.glob("journal/**/*")]
    assert len(private) > 3
    for path in private:
        assert os.stat(path).st_mode & 0o077 == 0, path


def first_to_end(processes: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    for _ in range(600):
        for process in processes:
            if process.poll() is not None:
                return process
        time.sleep(0.05)
    raise AssertionError("both still run")


def test_of_two_servers_started_at_once_on_one_port_one_says_so(upstream: Upstream, tmp_path: Path) -> None:
    """The other would claim to serve, and serve nobody."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    file = tmp_path / "config.yaml"
    file.write_text(configured(upstream.url))
    variables = {**os.environ, "POINTSMAN_HOME": str(tmp_path / "home")}
    command = (sys.executable, "-m", "pointsman", "serve", "--json", "--port", str(port), "--config", str(file))
    both = [subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    try:
        refused = first_to_end(both)
        said, _ = refused.communicate(timeout=10)
        assert refused.returncode == 2 and b"cannot be used" in said
        assert [one.poll() for one in both if one is not refused] == [None]
    finally:
        for one in both:
            one.kill()
            one.communicate()
