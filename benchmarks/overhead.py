"""What a call through pointsman costs, as a ratio to a bare echo server in the same run: `make bench`.

An upstream and the load run in this process; the servers under test run in processes of their own, and their CPU time
is read from /proc (Linux). A ratio hardly moves with the machine; the microseconds beside it do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

CONNECTIONS = 20
ANSWER = json.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 80}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 24, "completion_tokens": 80, "total_tokens": 104},
    }
).encode()
CALL = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 100}
).encode()

ECHO = f"""
import asyncio, httptools, uvloop
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: {len(ANSWER)}\\r\\n\\r\\n"
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)
    def data_received(self, data):
        self.parser.feed_data(data)
    def on_header(self, name, value):
        pass
    def on_message_complete(self):
        self.transport.write(HEAD + {ANSWER!r})
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", PORT)
    await server.serve_forever()
uvloop.run(main())
"""


class Server:
    """A process under test."""

    def __init__(self, name: str, command: list[str], port: int, key: str = "", home: Path | None = None) -> None:
        self.name, self.port = name, port
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self.request = f"{head}authorization: Bearer {key}\r\ncontent-length: {len(CALL)}\r\n\r\n".encode() + CALL
        self.micros: list[float] = []
        started = time.perf_counter()
        variables = {**os.environ, **({"POINTSMAN_HOME": str(home)} if home else {})}
        self.process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
        self._until_ready()
        self.start_seconds = time.perf_counter() - started
        self.idle_mib = self.rss_mib()

    def _until_ready(self) -> None:
        for _ in range(1000):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise SystemExit(f"{self.name} did not start")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def load(server: Server, seconds: float) -> None:
    """Saturate a server, and note its CPU time a call."""
    deadline, done, before = time.monotonic() + seconds, 0, server.cpu_seconds()

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while time.monotonic() < deadline:
            writer.write(server.request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{server.name}: {head[:200]!r}")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            done += 1
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    server.micros.append((server.cpu_seconds() - before) / done * 1e6)


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    """Answers every call at once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
        )
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
                writer.write(reply)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()  # the other side is done, or the run is

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def main(rounds: int, seconds: float, at_most: float) -> None:
    key = "pm-benchmark-" + "0123456789abcdefghijklmnop"
    with tempfile.TemporaryDirectory() as folder:
        async with upstream() as port:
            config = Path(folder) / "config.yaml"
            provider = f'{{dialect: openai, base_url: "http://127.0.0.1:{port}/v1", api_key: none}}'
            config.write_text(
                f"providers: {{mine: {provider}}}\nmodels: {{m: {{provider: mine, price: {{input: 1, output: 2}}}}}}\n"
                f"local: {{enabled: false}}\nserver: {{key: {key}}}\n"
                # All that a call may have to pass, none of which may stop it here.
                "limits: {keys: {requests_per_minute: 1000000000, tokens_per_minute: 1000000000000}}\n"
                "budgets: [{scope: server, usd: 1000000}]\n"
            )
            serve = [sys.executable, "-m", "pointsman", "serve", "--quiet", "--port", "18484", "--config", str(config)]
            servers = [
                Server("bare echo", [sys.executable, "-c", ECHO.replace("PORT", "18483")], 18483),
                Server("pointsman", serve, 18484, key, Path(folder) / "home"),
            ]
            try:
                for server in servers * (rounds + 1):
                    await load(server, seconds)
            finally:
                for server in servers:
                    server.process.terminate()
                    server.process.wait()
    ratio = report(servers)
    if ratio > at_most:
        raise SystemExit(f"A call costs {ratio:.1f} times what the echo does; {at_most:g} is the most.")


def report(servers: list[Server]) -> float:
    """Prints the table, and gives the last server's ratio to the first. The least of the rounds counts: what else runs
    on a machine only ever adds."""
    echo = min(servers[0].micros[1:])
    print("| server | CPU µs a call, least (median) | ratio to the echo | start s | idle MiB |")
    print("| --- | --- | --- | --- | --- |")
    for server in servers:
        least, median = min(server.micros[1:]), statistics.median(server.micros[1:])
        figures = (f"{least:.0f} ({median:.0f})", f"{least / echo:.1f}", f"{server.start_seconds:.2f}")
        print(f"| {server.name} | {' | '.join(figures)} | {server.idle_mib:.0f} |")
    return min(servers[-1].micros[1:]) / echo


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--at-most", type=float, default=math.inf, help="fail where the ratio is above this")
    chosen = arguments.parse_args()
    asyncio.run(main(chosen.rounds, chosen.seconds, chosen.at_most))
