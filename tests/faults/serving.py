"""A real server whose machine is made to fail, and a client that counts what was acknowledged."""

from __future__ import annotations

import http.client
import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from running import Running

from pointsman.ledger import Ledger

CHAT = "/v1/chat/completions"
BROKEN_DISK = Path(__file__).with_name("broken_disk")


class Said:
    """One answer: `status` is 0 where none came, and `whole` says whether it came to its proper end."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def call(self) -> str:
        return self.headers.get("x-pointsman-call", "")

    @property
    def whole(self) -> bool:
        streamed = "event-stream" in self.headers.get("content-type", "")
        return self.status == 200 and (not streamed or b"data: [DONE]" in self.body)


def ask(
    server: Running,
    model: str = "small",
    *,
    stream: bool = False,
    prompt: str = "hello",
    path: str = CHAT,
    within: float = 30,
    **headers: str,
) -> Said:
    """Asks once, over a connection of its own."""
    call = {"model": model, "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    stated = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=within)) as connection:
        body = b""
        try:
            connection.request("POST", path, json.dumps(call), {**stated, **given})
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException):
            return Said(0, {}, b"")
        with suppress(OSError, http.client.HTTPException):
            body = answer.read()
        return Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)


def status_of(server: Running, path: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def until(condition: Callable[[], bool], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


@contextmanager
def limited(server: Running, limit: int, most: int) -> Iterator[None]:
    """While it lasts, the running server has no more than `most` of a resource."""
    _, hard = before = resource.prlimit(server.process.pid, limit)
    resource.prlimit(server.process.pid, limit, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, limit, before)


def stored(home: Path) -> list[str]:
    """The calls that ended well, from the ledger, after whoever was killed has been drained."""
    with Ledger.open(home) as ledger:
        ledger.flush()
        return [entry.call_id for entry in ledger.queries.entries() if entry.status == "ok"]


class BreakingDisk:
    """A disk whose system calls fail once `break_now` was called. `variables` are for the process that is to see it;
    broken_disk/sitecustomize.py is how."""

    def __init__(self, folder: Path, calls: str, error: str) -> None:
        self._when = folder / "broken.now"
        self.variables = {
            "PYTHONPATH": str(BROKEN_DISK),
            "BROKEN_WHEN": str(self._when),
            "BROKEN_CALLS": calls,
            "BROKEN_WITH": error,
        }

    def break_now(self) -> None:
        """Whether or not the process runs already."""
        self._when.touch()

    @property
    def is_broken(self) -> bool:
        """The process has begun to fail."""
        return self._when.with_suffix(".done").exists()
