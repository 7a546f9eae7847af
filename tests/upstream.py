"""An upstream that misbehaves on demand: a real HTTP server on 127.0.0.1, in a thread of its own.

    with Upstream() as upstream:
        upstream.plans["slow"] = [head(200), 0.5, b"…", "reset"]
        …  # point a provider at upstream.url and call the model "slow"
        upstream.last("slow").headers["authorization"]

What it does is chosen by the `model` of each call: a plan is the bytes to write, seconds to wait, and how to end. A
model without a plan gets a good answer in the format of the path, streamed where that was asked.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self

Step = bytes | float | Literal["close", "half-close", "reset", "hang"]
"""Bytes to write; seconds to wait; close the connection, or only our side of it; reset it; wait until the client
leaves."""
Plan = Sequence[Step]

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
ANSWER = "Points set, train passed."
"""What a model without a plan says."""


class Received:
    """One request as it came, and what became of its connection."""

    def __init__(self, connection: int, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.at = time.monotonic()
        self.connection = connection
        self.path = path
        self.headers = headers
        """Names in lower case."""
        self.body = body
        self.left_at: float | None = None
        """When the client closed before the plan was played to its end (monotonic seconds)."""

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}

    @property
    def model(self) -> str:
        """Google's format has it in the path."""
        _, _, in_path = self.path.partition("/models/")
        try:
            return str(self.json.get("model", "")) or in_path.partition(":")[0]
        except (ValueError, AttributeError):
            return ""

    def left(self, within: float = 5.0) -> float:
        """When the client left; waits for it. Fails when it does not leave in time."""
        deadline = time.monotonic() + within
        while self.left_at is None:
            assert time.monotonic() < deadline, f"the client of {self.model!r} was still there after {within} s"
            time.sleep(0.002)
        return self.left_at


class Upstream:
    """The server. `url` is its root; the formats live under `/v1`."""

    def __init__(self) -> None:
        self.plans: dict[str, Plan | Callable[[Received], Plan]] = {}
        self.received: list[Received] = []
        self._connections = itertools.count(1)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def of(self, model: str) -> list[Received]:
        """The calls of one model, the oldest first."""
        return [received for received in self.received if received.model == model]

    def last(self, model: str, within: float = 5.0) -> Received:
        """The newest call of a model; waits for the first."""
        deadline = time.monotonic() + within
        while not (found := self.of(model)):
            assert time.monotonic() < deadline, f"no call of {model!r} came in {within} s"
            time.sleep(0.002)
        return found[-1]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._listener, limit=2**26))
        self._loop.run_forever()
        server.close()
        for writer in self._open:
            writer.transport.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = next(self._connections)
        self._open.add(writer)
        try:
            while (received := await _receive(reader, connection)) is not None:
                self.received.append(received)
                plan = self.plans.get(received.model, good)
                if not await _play(plan(received) if callable(plan) else plan, received, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled: the server stops
        finally:
            self._open.discard(writer)
            writer.close()


async def _receive(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        top = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request_line, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(connection, request_line.split(" ")[1], headers, body)


async def _play(plan: Plan, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection goes on."""
    for step in plan:
        if isinstance(step, bytes):
            writer.write(step)
            try:
                await writer.drain()
            except ConnectionError:
                received.left_at = time.monotonic()
                return False
        elif step == "close":
            return False
        elif step == "half-close":
            writer.write_eof()
        elif step == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        elif await _client_leaves(reader, None if step == "hang" else float(step)):
            received.left_at = time.monotonic()
            return False
    return True


async def _client_leaves(reader: asyncio.StreamReader, within: float | None) -> bool:
    try:
        async with asyncio.timeout(within):
            return await reader.read(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def head(status: int = 200, headers: Mapping[str, str] = JSON, *, length: int | None = None) -> bytes:
    """The head of a reply: of `length` bytes, or else chunked."""
    framing = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in {**headers, **framing}.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body; b'' is the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(body: object, status: int = 200, headers: Mapping[str, str] = JSON) -> Plan:
    """A whole reply; what is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [head(status, headers, length=len(data)) + data]


def stream(events: Iterable[bytes], *, headers: Mapping[str, str] = SSE, pause: float = 0.0) -> list[Step]:
    """A stream that ends as it should, one chunk an event."""
    steps: list[Step] = [head(200, headers)]
    for event in events:
        steps += [chunk(event), pause] if pause else [chunk(event)]
    return [*steps, chunk(b"")]


def good(received: Received) -> Plan:
    """A good answer in the format of the path."""
    anthropic = received.path.endswith("/messages")
    if received.json.get("stream"):
        return stream(anthropic_events() if anthropic else openai_events())
    return whole(anthropic_answer() if anthropic else openai_answer())


def error(status: int, message: str = "no", *, headers: Mapping[str, str] | None = None, type: str = "error") -> Plan:
    """An error in the shape that OpenAI and Anthropic share."""
    body = {"type": "error", "error": {"type": type, "message": message, "code": None}}
    return whole(body, status, {**JSON, **(headers or {})})


def openai_answer(text: str = ANSWER, **message: object) -> dict[str, Any]:
    """The body of a whole reply in OpenAI's format."""
    finish = "tool_calls" if "tool_calls" in message else "stop"
    said = {"role": "assistant", "content": text or None, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "upstream-model",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": OPENAI_USAGE,
    }


OPENAI_USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}


def openai_chunk(delta: Mapping[str, object] | None, finish: str | None = None, **fields: object) -> bytes:
    """One event of a stream in OpenAI's format; no `delta`, no choice."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "upstream-model"}
    return b"data: " + json.dumps({**frame, "choices": choices, **fields}).encode() + b"\n\n"


def openai_events(
    words: Sequence[str] = tuple(ANSWER.split()), *, tools: Sequence[Mapping[str, Any]] = ()
) -> list[bytes]:
    """A whole stream in OpenAI's format: a role, words, pieces of tool calls, finish, usage, the end."""
    return [
        openai_chunk({"role": "assistant", "content": ""}),
        *(openai_chunk({"content": word if i == 0 else " " + word}) for i, word in enumerate(words)),
        *(openai_chunk({"tool_calls": [piece]}) for piece in tools),
        openai_chunk({}, "tool_calls" if tools else "stop"),
        openai_chunk(None, usage=OPENAI_USAGE),
        b"data: [DONE]\n\n",
    ]


def anthropic_answer(*content: Mapping[str, object], stop_reason: str = "end_turn") -> dict[str, Any]:
    """The body of a whole reply in Anthropic's format."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "upstream-model",
        "content": list(content) or [{"type": "text", "text": ANSWER}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 5},
    }


def anthropic_event(type: str, **fields: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (type.encode(), json.dumps({"type": type, **fields}).encode())


def anthropic_events(*content: Mapping[str, Any], stop_reason: str = "end_turn") -> list[bytes]:
    """A whole stream in Anthropic's format, with a ping; each block in several pieces."""
    usage = {"input_tokens": 9, "output_tokens": 1}
    start = anthropic_answer() | {"content": [], "stop_reason": None, "usage": usage}
    events = [anthropic_event("message_start", message=start), anthropic_event("ping")]
    for index, block in enumerate(content or ({"type": "text", "text": ANSWER},)):
        events += _block_events(index, block)
    stop = {"stop_reason": stop_reason, "stop_sequence": None}
    events.append(anthropic_event("message_delta", delta=stop, usage={"output_tokens": 5}))
    return [*events, anthropic_event("message_stop")]


def _block_events(index: int, block: Mapping[str, Any]) -> list[bytes]:
    empty: dict[str, Any]
    pieces: list[dict[str, Any]]
    match block["type"]:
        case "text":
            empty = {"type": "text", "text": ""}
            pieces = [{"type": "text_delta", "text": piece} for piece in _halves(block["text"])]
        case "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            pieces = [{"type": "thinking_delta", "thinking": piece} for piece in _halves(block["thinking"])]
            pieces.append({"type": "signature_delta", "signature": block["signature"]})
        case _:
            empty = {**block, "input": {}}
            written = json.dumps(block["input"])
            pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in _halves(written)]
    return [
        anthropic_event("content_block_start", index=index, content_block=empty),
        *(anthropic_event("content_block_delta", index=index, delta=piece) for piece in pieces),
        anthropic_event("content_block_stop", index=index),
    ]


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


SPOKEN = [head(200, SSE), *(chunk(event) for event in openai_events()[:3])]
"""A stream that has begun to speak, and has not ended."""
