"""A key and a prompt that no byte may show: not the logs, not the ledger, not the files of the home, not an error."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from running import PROVIDER_KEY, Running, configured
from serving import CHAT, ask, status_of, until

from upstream import SSE, Plan, Upstream, chunk, error, head, openai_answer, openai_chunk, openai_events, stream, whole

PROMPT = "canary-4f0c-whom-nobody-may-hear"
ANSWER = "canary-91ab-what-was-answered"
MESSAGES = "/v1/messages"
QUOTING = f"Your prompt {PROMPT} with the key {PROVIDER_KEY} is refused."
SPOKEN = [head(200, SSE), chunk(openai_chunk({"content": ANSWER}))]
PLANS: dict[str, Plan] = {
    "says": whole(openai_answer(ANSWER)),
    "streams": stream(openai_events([ANSWER, PROMPT])),
    "refuses": error(400, QUOTING),
    "rejects": error(401, QUOTING),
    "knows-nothing": error(404, QUOTING, headers={"x-request-id": PROVIDER_KEY}),
    "limits": error(429, QUOTING),
    "fails": error(500, QUOTING),
    "html": whole(QUOTING.encode(), headers={"content-type": "text/html"}),
    "rubbish": whole(QUOTING.encode()),
    "redirects": whole(b"", 307, {"location": f"http://127.0.0.1:9/{PROVIDER_KEY}/{PROMPT}"}),
    "no-head": [f"{QUOTING}\r\n\r\n".encode(), "close"],
    "cut": [head(200, length=900) + json.dumps(openai_answer(ANSWER)).encode(), "close"],
    "breaks": [*SPOKEN, chunk(b"data: " + QUOTING.encode() + b"\n\n"), chunk(b"")],
    "says-error": [*SPOKEN, chunk(b'data: {"error": {"message": "' + QUOTING.encode() + b'"}}\n\n'), chunk(b"")],
    "resets": [*SPOKEN, 0.05, "reset"],
    "endless": [*SPOKEN, "hang"],
    "silent": ["hang"],
}


@pytest.fixture
def session(upstream: Upstream, home: Path) -> Iterator[Running]:
    """A server in Python's development mode, which says all that it can."""
    upstream.plans |= PLANS
    environment = {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1", "MINE": PROVIDER_KEY}
    config = configured(upstream.url).replace(f"api_key: {PROVIDER_KEY}", "api_key: {env: MINE}")
    with Running(home, config, environment) as server:
        yield server


def every_call(server: Running, upstream: Upstream) -> bytes:
    """Good, failing, streamed, cancelled and nonsensical calls. All that was answered."""
    said = []
    for path in (CHAT, MESSAGES):
        for model in PLANS:
            if model not in ("endless", "silent"):
                for streamed in (False, True):
                    said.append(ask(server, f"mine/{model}", stream=streamed, prompt=PROMPT, path=path).body)
                    said.append(ask(server, f"claude/{model}", stream=streamed, prompt=PROMPT, path=path).body)
        for model in ("auto", "fast", "careful", "fake/echo", "dead/any", "hasty/silent", "sealed", f"no-{PROMPT}"):
            said.append(ask(server, model, prompt=PROMPT, path=path, stream=True).body)
        for header in ("x_pointsman_quality", "x_pointsman_budget_usd", "content_type", "authorization", "x_session"):
            said.append(ask(server, "small", prompt=PROMPT, path=path, **{header: f"{PROVIDER_KEY} {PROMPT}"}).body)
        for body in (PROMPT, f'{{"model": "small", "messages": "{PROMPT}"}}', f'{{"messages": [{{"{PROMPT}": [[['):
            said.append(raw(server, path, body.encode()))
        cancelled(server, upstream, path, "endless")
        cancelled(server, upstream, path, "silent")
    return b"".join(said)


def raw(server: Running, path: str, body: bytes) -> bytes:
    with closing(connected(server, path, body)) as sock:
        return sock.recv(65536)


def cancelled(server: Running, upstream: Upstream, path: str, model: str) -> None:
    """A client that leaves without a word in the middle of an answer, or before it."""
    call = {"model": f"mine/{model}", "max_tokens": 9, "stream": True}
    before = len(upstream.of(model))
    sock = connected(server, path, json.dumps({**call, "messages": [{"role": "user", "content": PROMPT}]}).encode())
    until(lambda: len(upstream.of(model)) > before)
    if model == "endless":
        assert sock.recv(65536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    upstream.of(model)[-1].left()


def connected(server: Running, path: str, body: bytes) -> socket.socket:
    top = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    sock.sendall(top.encode() + body)
    return sock


def showing(secret: str, home: Path, *others: bytes) -> list[str]:
    """Which files of the home, or other bytes, hold a secret as it stands or in another writing."""
    plain = secret.encode()
    writings = {plain, plain.hex().encode(), base64.b64encode(plain).rstrip(b"="), secret.encode("utf-16-le")}
    found = {path.name: path.read_bytes() for path in home.rglob("*") if path.is_file() and not path.is_symlink()}
    found |= {f"other {number}": other for number, other in enumerate(others)}
    return [name for name, content in found.items() if any(writing in content for writing in writings)]


@pytest.mark.fault(104, "No byte of answers, logs, ledger, journal or state shows a key, whatever is done to a call.")
@pytest.mark.fault(109, "No byte of logs, ledger, journal or state shows a prompt or an answer.")
def test_no_byte_that_is_written_shows_a_key_or_a_prompt(session: Running, upstream: Upstream) -> None:
    """Whoever reads a log or a backup could call in another's name, or read what was asked."""
    answered = every_call(session, upstream)
    assert ANSWER.encode() in answered, "the calls were really served"
    assert any(PROVIDER_KEY in call.headers.get("authorization", "") for call in upstream.of("says")), "with the key"
    assert status_of(session, "/ready") == 200
    own = session.key.removeprefix("pm-")  # it may hold a dash itself
    for moment in ("running", "stopped"):
        assert "ledger.sqlite" in " ".join(showing("mine/says", session.home)), "what is written is looked at"
        assert showing(PROVIDER_KEY, session.home, answered) == [], moment
        assert showing(own, session.home, answered) == [], moment
        assert showing(PROMPT, session.home) == [], moment
        assert showing(ANSWER, session.home) == [], moment
        if moment == "running":
            assert session.stop() == 0
    assert "Traceback" not in session.stderr


@pytest.mark.fault(104, "Nor does anything that the command line prints, tracebacks included.")
@pytest.mark.fault(109, "The command line prints no prompt but in an answer, tracebacks included.")
def test_no_command_prints_a_key_or_logs_a_prompt(upstream: Upstream, home: Path) -> None:
    """A terminal's history, or a log of a job, would hold the key."""
    upstream.plans |= PLANS
    file = home / "config.yaml"
    config = configured(upstream.url).replace(f"api_key: {PROVIDER_KEY}", "api_key: {env: MINE}")
    config = config.replace("timeouts: {connect: 1", f"api_key: {PROVIDER_KEY}, timeouts: {{connect: 1")
    file.write_text(config)
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "POINTSMAN_HOME": str(home), "MINE": PROVIDER_KEY}

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = (sys.executable, "-X", "dev", "-m", "pointsman", "--debug", *arguments)
        return subprocess.run(command, env=variables, cwd=home, capture_output=True, timeout=60, check=False)

    asked = [run("ask", PROMPT, "--model", f"mine/{model}") for model in ("says", "fails", "rejects", "breaks", "cut")]
    assert [done.returncode for done in asked] == [0, 1, 1, 1, 1]
    assert PROMPT.encode() not in asked[0].stderr
    others = (
        ("doctor",),
        ("config", "show"),
        ("config", "check"),
        ("ledger", "show", "--json"),
        ("ledger", "export"),
        ("models", "--json"),
        ("cost", "--json"),
        ("keys", "list", "--json"),
    )
    told = [run(*command) for command in others]
    written = [stream for done in (*asked, *told) for stream in (done.stdout, done.stderr)]
    file.unlink()  # where the user wrote the key
    assert showing(PROVIDER_KEY, home, *written) == []
    assert showing(PROMPT, home, *(done.stdout + done.stderr for done in told)) == []
    assert showing(ANSWER, home, *(done.stdout + done.stderr for done in told)) == []
