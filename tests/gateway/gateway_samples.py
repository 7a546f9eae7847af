"""A small upstream on a real socket, and environments that know nothing of this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pointsman.core import Answer, Broken, Delta, ManualClock, Reply
from pointsman.gateway import Environment, Gateway
from pointsman.ledger import Entry
from prices import with_prices

NO_OLLAMA = "local: {ollama: false}\nretries: {rounds: 0}\n"
MODEL_LIST = {"models": [{"name": "tiny:1b"}, {"name": "mistral:7b-instruct-q4_K_M"}]}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Upstream:
    """Speaks OpenAI's format. What it does goes by the model's name: see `_way`."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        """(path, headers, body) of each call."""
        self.left = asyncio.Event()
        """The other side closed its connection while we were still answering."""
        self.base_url = ""

    @property
    def models(self) -> list[str]:
        """The models that were asked for, in order."""
        return [json.loads(body)["model"] for _, _, body in self.seen if body]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            path = line.split()[1].decode()
            headers: dict[str, str] = {}
            while (header := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.seen.append((path, headers, body))
            if not await self._answer(path, body, reader, writer):
                break

    async def _answer(self, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        if path in ("/v1/models", "/hook"):
            return await _whole(writer, 200, {"object": "list", "data": []})
        if path == "/api/tags":
            return await _whole(writer, 200, MODEL_LIST)
        asked = json.loads(body)
        model = asked["model"]
        if model.startswith("status-"):
            status = int(model.removeprefix("status-"))
            return await _whole(writer, status, {"error": {"message": f"No: {status}."}})
        if model == "too-long":
            error = {"message": "This is longer than the maximum context length.", "code": "context_length_exceeded"}
            return await _whole(writer, 400, {"error": error})
        if model == "silent":
            await asyncio.sleep(30)
            return False
        if not asked.get("stream"):
            message = {"role": "assistant", "content": f"I am {model}."}
            answer = {"id": "x", "model": model, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            used_up = "x-ratelimit-limit-requests: 2\r\nx-ratelimit-remaining-requests: 0\r\n"
            more = used_up + "x-ratelimit-reset-requests: 55s\r\n" if model == "last-one" else ""
            return await _whole(writer, 200, answer if model == "no-usage" else {**answer, "usage": USAGE}, more)
        return await self._stream(model, reader, writer)

    async def _stream(self, model: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for word in ("I ", "am ", f"{model}."):
            await _event(writer, {"choices": [{"index": 0, "delta": {"content": word}}]})
            if model == "breaks":
                return False
        if model == "endless":
            await reader.read(1)
            self.left.set()
            return False
        await _event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if model != "no-usage":
            await _event(writer, {"choices": [], "usage": USAGE})
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        return False


async def _whole(writer: asyncio.StreamWriter, status: int, content: object, more: str = "") -> bool:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True


async def _event(writer: asyncio.StreamWriter, content: object) -> None:
    writer.write(b"data: " + json.dumps(content).encode() + b"\n\n")
    await writer.drain()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on a port of its own; gives its address. Whatever is still connected in the end is cut off."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    speaking = Upstream()
    async with serving(speaking.serve) as speaking.base_url:
        yield speaking


def environment(home: Path, config: str = "", variables: Mapping[str, str] | None = None) -> Environment:
    """A machine where only these variables are set. `config` is written to a file beside the home."""
    path = None
    if config:
        with_prices(home)
        path = home.parent / "config.yaml"
        path.write_text(config, "utf-8")
    return Environment(home=home, variables=dict(variables or {}), config_file=path)


def gateway(
    folder: Path,
    config: str = NO_OLLAMA,
    variables: Mapping[str, str] | None = None,
    *,
    clock: ManualClock | None = None,
) -> Gateway:
    found = environment(folder / "home", config, variables)
    return Gateway(environment=found, clock=clock.clock) if clock is not None else Gateway(environment=found)


def entries(asked: Gateway) -> list[Entry]:
    """What the ledger holds, in order."""
    asked.ledger.flush()
    return sorted(asked.ledger.queries.entries(), key=lambda entry: (entry.at, entry.retry))


async def text_of(reply: Reply) -> str:
    answer: Answer = await reply.read()
    return answer.text


async def items(reply: Reply) -> list[Delta | Broken]:
    return [item async for item in reply]
