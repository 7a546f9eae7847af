"""What the tests of the command line share: an OpenAI-compatible provider on a loopback socket, and its key."""

import json
import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

CANARY = "sk-canary-5b0e9c1d7f3a4862-never-to-be-printed"
"""The key of the test's provider. Wherever it turns up, a key has leaked."""

RUDE = "\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 done"

Run = Callable[..., subprocess.CompletedProcess[str]]


class Upstream(BaseHTTPRequestHandler):
    """An OpenAI-compatible provider. What it does goes by the name of the model."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        authorised = self.headers.get("authorization") == f"Bearer {CANARY}"
        self._whole(200 if authorised else 401, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model, prompt = body["model"], body["messages"][-1]["content"]
        self.server.seen.append(body)  # type: ignore[attr-defined]
        if model == "failing":
            self._whole(500, {"error": {"message": f"no luck with {self.headers['authorization']}"}})
            return
        if model == "slow":
            self.server.asked.set()  # type: ignore[attr-defined]
            self.server.released.wait(30)  # type: ignore[attr-defined]
        self._stream(model, RUDE if model == "rude" else f"you said: {prompt}")

    def _stream(self, model: str, text: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        # Piece by piece, so that escape sequences are cut in the middle.
        for start in range(0, len(text), 3):
            self._event(model, {"content": text[start : start + 3]})
            if model == "breaking" and start >= 6:
                self.close_connection = True
                return
        self._event(model, {}, finish="length" if model == "short" else "stop")
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        self._send({"id": "1", "object": "chat.completion.chunk", "model": model, "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, model: str, delta: dict[str, str], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self._send({"id": "1", "object": "chat.completion.chunk", "model": model, "choices": [choice]})

    def _send(self, event: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.wfile.flush()

    def _whole(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def in_a_terminal(variables: dict[str, str], *arguments: str, columns: int = 80) -> str:
    """What the program writes where both outputs are a terminal of so many columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    process = subprocess.Popen(
        [sys.executable, "-m", "pointsman", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={"TERM": "xterm", **variables},
    )
    os.close(theirs)
    out = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            out += os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other end is closed.
            break
    os.close(ours)
    process.wait(30)
    return out.decode()
