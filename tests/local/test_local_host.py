"""The model host, with real processes and a real model."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from local_environments import python_without
from pyreqwest.client import ClientBuilder

from pointsman.core import ModelGone, Unreachable, UpstreamTimeout
from pointsman.endpoints.local import MODELS, Lease, LocalHost
from pointsman.endpoints.local.memory import available_memory, shortage
from pointsman.endpoints.local.protocol import Address, read_address, write_address

MODEL = "local/smollm2-135m"


async def test_a_leased_model_answers_a_chat_call(home: Path) -> None:
    """Without this no local model ever answers."""
    async with await LocalHost(home).lease(MODEL) as lease:
        status, body = await _chat(lease, "Say hello.")
    assert status == 200
    assert body["choices"][0]["message"]["content"]
    assert body["model"] == MODEL


async def test_a_prompt_beyond_the_reported_context_is_refused_and_not_cut(home: Path) -> None:
    """A silently truncated prompt would get a confident answer to half a question."""
    async with await LocalHost(home).lease(MODEL) as lease:
        assert lease.context == MODELS["smollm2-135m"].context
        fits, _ = await _chat(lease, "word " * (lease.context // 8))
        status, body = await _chat(lease, "word " * (lease.context + 10))
    assert fits == 200
    assert status == 400
    assert body["error"]["n_ctx"] == lease.context


async def test_a_call_without_the_leased_key_is_refused(home: Path) -> None:
    """Any other user of the machine could use the model and read what it was asked."""
    async with await LocalHost(home).lease(MODEL) as lease:
        status, _ = await _chat(lease, "hi", key="guessed")
    assert status == 401


async def test_clients_that_come_at_once_share_one_host_and_one_process(home: Path) -> None:
    """Each `ask` beside a `serve` would load the model again and fill the memory."""
    leases = await asyncio.gather(*(LocalHost(home).lease(MODEL) for _ in range(5)))
    other, pid = await asyncio.to_thread(_lease_in_another_process, home)
    try:
        status = await LocalHost(home).status()
        assert {lease.pid for lease in leases} | {pid} == {leases[0].pid}
        assert status is not None and [model.leases for model in status.models] == [6]
    finally:
        _kill(other)
        for lease in leases:
            lease.close()


async def test_the_host_and_its_models_end_when_nobody_has_leased_for_a_while(home: Path) -> None:
    """A gigabyte of memory would stay taken for ever after one question."""
    host = LocalHost(home, idle=1.0)
    lease = await host.lease(MODEL)
    status = await host.status()
    assert status is not None
    await asyncio.sleep(2.5)
    assert _runs(status.pid) and lease.alive, "a lease keeps it up, however long"
    lease.close()
    await _until(lambda: not _runs(status.pid) and not _runs(lease.pid))
    assert await host.status() is None
    assert read_address(home) is None


async def test_a_model_that_was_killed_is_started_again_by_the_next_lease(home: Path) -> None:
    """One crash of the engine would end local models until somebody restarts something."""
    host = LocalHost(home)
    lease = await host.lease(MODEL)
    os.kill(lease.pid, signal.SIGKILL)
    await _until(lambda: not lease.alive)
    async with await host.lease(MODEL) as again:
        assert again.pid != lease.pid
        assert (await _chat(again, "hi"))[0] == 200
    lease.close()


async def test_a_killed_host_leaves_no_model_behind_and_is_replaced(home: Path) -> None:
    """Orphaned models would hold the memory, and their port would be known to nobody."""
    host = LocalHost(home)
    lease = await host.lease(MODEL)
    status = await host.status()
    assert status is not None
    os.kill(status.pid, signal.SIGKILL)
    await _until(lambda: not _runs(lease.pid) and not lease.alive)
    lease.close()
    async with await host.lease(MODEL) as again:
        assert (await _chat(again, "hi"))[0] == 200


async def test_a_killed_client_gives_its_lease_back(home: Path) -> None:
    """The host would wait for ever for a client that is dead."""
    client, _ = await asyncio.to_thread(_lease_in_another_process, home)
    host = LocalHost(home)
    assert await _leases(host) == 1
    _kill(client)
    for _ in range(100):
        if await _leases(host) == 0:
            break
        await asyncio.sleep(0.05)
    assert await _leases(host) == 0


async def test_a_lease_that_is_cancelled_while_loading_is_given_back(home: Path) -> None:
    """A user who presses Ctrl-C during the start would keep the host alive."""
    host = LocalHost(home)
    loading = asyncio.Event()
    asking = asyncio.create_task(host.lease(MODEL, on_loading=loading.set))
    await loading.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with await host.lease(MODEL):
        assert await _leases(host) == 1


async def test_a_start_that_takes_too_long_is_a_timeout(home: Path) -> None:
    """A caller with a deadline would hang on a slow start."""
    with pytest.raises(UpstreamTimeout, match="was not ready in 0 s"):
        await LocalHost(home).lease(MODEL, timeout=0.01)


async def test_rubbish_on_its_socket_does_not_hurt_the_host(home: Path) -> None:
    """Any program that scans ports would end everybody's models."""
    host = LocalHost(home)
    async with await host.lease(MODEL):
        address = read_address(home)
        assert address is not None
        silent = socket.create_connection(("127.0.0.1", address.port))
        whole = msgspec.json.encode({"token": address.token, "op": "lease", "model": MODEL}) + b"\n"
        cuts = [whole[:size] for size in range(0, len(whole), 7)]
        rubbish = [
            b"\x00\xff" * 9000,
            b"\n",
            b"null\n",
            b"[[[[[[\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"{}\n",
            "ü\n".encode("latin-1"),
        ]
        unknown = [msgspec.json.encode({"token": token, "op": "stop"}) + b"\n" for token in ("", "x", "ü", "\x00")]
        for sent in [*cuts, *rubbish, *unknown]:
            assert await asyncio.to_thread(_say, address.port, sent) == b""
        assert await _leases(host) == 1
        silent.close()


async def test_a_client_that_never_reads_does_not_stop_the_others(home: Path) -> None:
    """One frozen process would block every other one on the machine."""
    async with await LocalHost(home).lease(MODEL):
        address = read_address(home)
        assert address is not None
        asked = msgspec.json.encode({"token": address.token, "op": "lease", "model": MODEL}) + b"\n"
        frozen = [socket.create_connection(("127.0.0.1", address.port)) for _ in range(20)]
        for connection in frozen:
            connection.sendall(asked)
        async with await LocalHost(home).lease(MODEL) as lease:
            assert (await _chat(lease, "hi"))[0] == 200
        for connection in frozen:
            connection.close()


async def test_an_address_left_by_a_dead_host_is_not_believed(home: Path) -> None:
    """After a crash, another program on the old port would be taken for the host."""
    foreign = socket.create_server(("127.0.0.1", 0))
    (home / "run").mkdir()
    write_address(home, Address(pid=os.getpid(), port=foreign.getsockname()[1], token="old"))
    answering = asyncio.create_task(asyncio.to_thread(_answer_once, foreign, b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    async with await LocalHost(home).lease(MODEL) as lease:
        assert (await _chat(lease, "hi"))[0] == 200
    await answering
    foreign.close()


async def test_the_address_is_readable_to_its_owner_only(home: Path) -> None:
    """The token in it lets anybody end the host."""
    async with await LocalHost(home).lease(MODEL):
        assert (home / "run" / "host.json").stat().st_mode & 0o077 == 0


async def test_stopping_the_host_ends_leases_that_are_held(home: Path) -> None:
    """`stop` would leave clients waiting for a model that is gone."""
    host = LocalHost(home)
    lease = await host.lease(MODEL)
    assert await host.stop()
    await _until(lambda: not lease.alive and not _runs(lease.pid))
    lease.close()
    assert not await host.stop()


async def test_a_model_that_is_not_pulled_names_the_command_that_brings_it(home: Path) -> None:
    """A newcomer would not know what to do next."""
    with pytest.raises(Unreachable, match=r"pointsman models pull qwen2\.5-coder-0\.5b"):
        await LocalHost(home).lease("local/qwen2.5-coder-0.5b")


async def test_a_model_that_does_not_exist_is_gone_with_the_nearest_names(home: Path) -> None:
    """A typo would look like a broken machine."""
    with pytest.raises(ModelGone, match="smollm2-135m"):
        await LocalHost(home).lease("local/smolm2-135m")


async def test_a_file_that_is_no_model_fails_with_the_end_of_the_log(home: Path) -> None:
    """A damaged file would be reported as a timeout, with nothing to go by."""
    model = MODELS["smollm2-135m"]
    model.path(home).unlink()
    with model.path(home).open("wb") as file:
        file.truncate(model.size)
    with pytest.raises(Unreachable, match=r"did not start in 3 tries[\s\S]*failed to load model"):
        await LocalHost(home).lease(MODEL)


def test_without_the_engine_the_message_names_the_extra(home: Path, tmp_path: Path) -> None:
    """Whoever installed without the extra would see a traceback instead of the command to run."""
    python = python_without(tmp_path / "env", "xllamacpp")
    said = subprocess.run([python, "-c", _LEASE, str(home)], capture_output=True, text=True, check=False)
    assert 'pip install "pointsman[local]"' in said.stderr


def test_too_little_memory_is_said_before_it_kills(tmp_path: Path) -> None:
    """The kernel would end some process of the user's in the middle of an answer."""
    model = MODELS["qwen2.5-coder-0.5b"]
    (tmp_path / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable:  400000 kB\n")
    assert "needs about 900 MB of memory and 410 MB" in shortage(
        model, available_memory(tmp_path / "meminfo", tmp_path)
    )
    assert shortage(model, None) == ""


def test_the_memory_left_in_a_container_counts_where_it_is_less(tmp_path: Path) -> None:
    """In a container with a limit, the machine's free memory says nothing."""
    (tmp_path / "meminfo").write_text("MemAvailable:  4000000 kB\n")
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    assert available_memory(tmp_path / "meminfo", tmp_path) == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(tmp_path / "meminfo", tmp_path) == 4_000_000 * 1024
    assert available_memory(tmp_path / "none", tmp_path / "none") is None


_LEASE = """
import asyncio, sys
from pathlib import Path
from pointsman.endpoints.local import LocalHost

async def main() -> None:
    async with await LocalHost(Path(sys.argv[1]), idle=2).lease("local/smollm2-135m") as lease:
        print(lease.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def _chat(lease: Lease, prompt: str, key: str = "") -> tuple[int, Any]:
    body = {"model": lease.model, "max_tokens": 8, "messages": [{"role": "user", "content": prompt}]}
    async with ClientBuilder().no_proxy().build() as client:
        call = client.post(lease.base_url + "/chat/completions").bearer_auth(key or lease.api_key).body_json(body)
        reply = await call.build().send()
        return reply.status, msgspec.json.decode(await reply.bytes())


async def _leases(host: LocalHost) -> int:
    status = await host.status()
    assert status is not None
    return sum(model.leases for model in status.models)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if holds():
                return
            await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether the process lives; one that is dead and not yet buried does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _lease_in_another_process(home: Path) -> tuple[subprocess.Popen[str], int]:
    """A client in a process of its own, once it has its lease, and the pid of the model."""
    client = subprocess.Popen([sys.executable, "-c", _LEASE, str(home)], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    return client, int(client.stdout.readline())


def _kill(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.communicate()


def _say(port: int, sent: bytes) -> bytes:
    """What the host answers before it hangs up; half of the conversation is closed after `sent`."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        answer = b""
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(4096):
                answer += chunk
        except ConnectionError:
            pass
        return answer


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)
