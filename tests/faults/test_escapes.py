"""Names that callers and upstreams make up, with sequences that move a cursor: seen by whoever reads logs or bills."""

from __future__ import annotations

import http.client
import json
import os
import pty
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from running import Running, configured
from serving import CHAT, until

from upstream import Upstream, error, openai_answer, whole

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\nroot: all is well\x9b31m"
ESCAPES = ("\x1b", "\x07", "\x9b", "\r")


def send(server: Running, method: str, path: str, body: object = None, **headers: str) -> bytes:
    stated = {"content-type": "application/json", "authorization": f"Bearer {server.key}", **headers}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), stated)
        return connection.getresponse().read()


def printed(home: Path, *arguments: str) -> str:
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "POINTSMAN_HOME": str(home), "FORCE_COLOR": ""}
    command = (sys.executable, "-m", "pointsman", *arguments)
    done = subprocess.run(command, env=variables, cwd=home, capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, 1, 2), done.stderr
    return (done.stdout + done.stderr).decode()


def on_a_terminal(home: Path, *arguments: str) -> str:
    """What a terminal without colours is sent, but for the line ends that it makes itself."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "POINTSMAN_HOME": str(home), "NO_COLOR": "1"}
    ours, theirs = pty.openpty()
    command = (sys.executable, "-m", "pointsman", *arguments)
    with subprocess.Popen(command, env=variables, cwd=home, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        pieces = []
        with suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 65_536):
                pieces.append(piece)
        os.close(ours)
        assert process.wait() == 0
    return b"".join(pieces).decode().replace("\r\n", "\n")


@pytest.mark.fault(108, "No log line of the server and no table of the command line bears one that a caller wrote.")
def test_what_callers_write_moves_no_cursor(upstream: Upstream, home: Path) -> None:
    """Whoever looks at a log or at a bill would see what an attacker wants to be seen, or run it."""
    upstream.plans[HOSTILE] = error(500, HOSTILE, type=HOSTILE)
    upstream.plans["says"] = whole({**openai_answer(HOSTILE), "model": HOSTILE, "service_tier": HOSTILE})
    messages = [{"role": "user", "content": HOSTILE}]
    with Running(home, configured(upstream.url), {"PYTHONDEVMODE": "1"}) as server:
        for model in (f"mine/{HOSTILE}", HOSTILE, "mine/says", "small"):
            for streamed in (False, True):
                call = {"model": model, "messages": messages, "user": HOSTILE, "stream": streamed, "max_tokens": 9}
                send(server, "POST", CHAT, call)
                send(server, "POST", "/v1/messages", {**call, "metadata": {"user_id": HOSTILE}})
        for path in (
            "/v1/models/%1b%5b2J%0d%0aroot",
            "/%1b%5b2J",
            "/api/costs?by=%1b%5b2J",
            "/api/decisions?limit=%1b",
        ):
            send(server, "GET", path)
            send(server, "POST", path, {})
        until(lambda: server.newest("mine/says").status == "ok")
        assert server.stop() == 0
        assert not any(sign in server.stderr for sign in ESCAPES)
    for command in (
        ("ledger", "show"),
        ("cost", "--by", "user"),
        ("cost", "--by", "model"),
        ("cost", "--by", "user", "--json"),
        ("ledger", "verify"),
        ("ask", HOSTILE.replace("\x00", ""), "--model", f"no-{HOSTILE}"),
        ("config", "check", "--config", f"{home}/{HOSTILE}"),
        ("keys", "create", HOSTILE),
        ("keys", "revoke", HOSTILE),
        ("models", "pull", HOSTILE),
        (HOSTILE,),
    ):
        told = printed(home, *command)
        assert [sign for sign in ESCAPES if sign in told] == [], command
    for command in (("ledger", "export"), ("ledger", "export", "--format", "csv"), ("ledger", "show", "--json")):
        told = on_a_terminal(home, *command)
        assert "owned" in told and [sign for sign in ESCAPES if sign in told] == [], command
