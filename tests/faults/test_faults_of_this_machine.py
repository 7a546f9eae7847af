"""The disk, the database, memory and files fail under a real server: nothing is acknowledged that is not recorded."""

from __future__ import annotations

import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random

import pytest
from running import Running, configured
from serving import BreakingDisk, Said, ask, limited, status_of, stored, until

from pointsman.ledger import Ledger
from upstream import SSE, Upstream, chunk, head, openai_events

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(upstream: Upstream, home: Path) -> Iterator[Running]:
    with Running(home, configured(upstream.url)) as running:
        yield running


def pointsman(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    variables |= {"PATH": os.environ["PATH"], "HOME": str(home), "POINTSMAN_HOME": str(home)}
    command = (sys.executable, "-m", "pointsman", *arguments)
    return subprocess.run(command, env=variables, cwd=home, capture_output=True, text=True, timeout=60, check=False)


def both(server: Running) -> list[Said]:
    return [ask(server), ask(server, stream=True)]


def opened_again(server: Running, upstream: Upstream) -> Running:
    """A new process over the same home, which has a key already: that of the first."""
    again = Running(server.home, configured(upstream.url))
    again.key = server.key
    return again


@pytest.mark.fault(77, "A server answers 503 in the caller's dialect, a stream without its end, and is not ready.")
def test_a_server_whose_disk_is_full_acknowledges_nothing(server: Running) -> None:
    """Calls would be paid that no ledger knows of; or the server would have to be started again by hand."""
    good = [*both(server), *both(server)]
    [journal] = (server.home / "journal").glob("*.journal")
    with limited(server, resource.RLIMIT_FSIZE, journal.stat().st_size + 100):
        while (said := ask(server)).whole:  # there is room for some in the journal, and it is used
            good.append(said)
        bad = [said, *(said for _ in range(3) for said in both(server))]
        assert not any(said.whole for said in bad)
        for said in bad:
            assert b'"error"' in said.body and (said.status, b"[DONE]" in said.body) in ((503, False), (200, False))
        until(lambda: status_of(server, "/ready") == 503)
        assert status_of(server, "/health") == 200
    until(lambda: status_of(server, "/ready") == 200)
    good += both(server)
    assert all(said.whole for said in good)
    assert "Traceback" not in server.stderr
    assert server.stop() == 0
    assert sorted(stored(server.home)) == sorted(said.call for said in good)


@pytest.mark.fault(78, "Calls are recorded in the journal; the server is not ready; the next process stores them.")
@pytest.mark.fault(82, "Calls are recorded in the journal, which asks for no sync; the next process stores them.")
@pytest.mark.parametrize(("calls", "error"), [("pwrite64", "EROFS"), ("fsync,fdatasync,pwrite64", "EIO")])
def test_a_database_that_cannot_be_written_any_more_loses_nothing(
    upstream: Upstream, tmp_path: Path, home: Path, calls: str, error: str
) -> None:
    """A file system that was mounted anew, read-only, would cost the record of what is served meanwhile."""
    disk = BreakingDisk(tmp_path, calls, error)
    with Running(home, configured(upstream.url), disk.variables) as server:
        said = both(server)
        disk.break_now()
        until(lambda: disk.is_broken)
        said += [*both(server), *both(server)]
        until(lambda: status_of(server, "/ready") == 503)
        assert status_of(server, "/health") == 200
        said += both(server)
        assert all(one.whole for one in said)
        assert "Traceback" not in server.stderr
        assert server.stop() == 0
    assert sorted(stored(home)) == sorted(one.call for one in said)


@pytest.mark.fault(82, "What the writer takes for stored is stored.")
def test_a_disk_that_fails_to_sync_loses_nothing_that_was_acknowledged(
    upstream: Upstream, tmp_path: Path, home: Path
) -> None:
    """The writer could take for stored what is not, and throw the journal away."""
    disk = BreakingDisk(tmp_path, "fsync,fdatasync", "EIO")
    with Running(home, configured(upstream.url), disk.variables) as server:
        said = both(server)
        disk.break_now()
        until(lambda: disk.is_broken)
        said += [one for _ in range(10) for one in both(server)]
        time.sleep(1)
        server.process.kill()
        server.process.wait()
    assert all(one.whole for one in said)
    assert sorted(stored(home)) == sorted(one.call for one in said)


@pytest.mark.fault(78, "A server that cannot make its ledger does not start.")
@pytest.mark.fault(82, "A server that cannot make its ledger does not start.")
@pytest.mark.parametrize(("calls", "error"), [("fsync,fdatasync", "EIO"), ("pwrite64", "EROFS")])
def test_a_server_that_cannot_make_its_ledger_does_not_start(home: Path, calls: str, error: str) -> None:
    """It would serve without keys and without a record."""
    disk = BreakingDisk(home, calls, error)
    disk.break_now()
    done = pointsman(home, "serve", "--port", "0", **disk.variables)
    assert (done.returncode, done.stdout) == (4, "")
    assert "ledger.sqlite" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.fault(79, "Calls are served meanwhile; the server says that it is not ready until they are stored.")
def test_a_database_that_another_program_holds_delays_no_call(server: Running) -> None:
    """A backup tool that hangs would stop everything."""
    said = both(server)
    until(lambda: len(stored(server.home)) == 2)
    holder = subprocess.Popen(
        (sys.executable, "-c", HOLD, str(server.home / "ledger.sqlite")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        held = time.monotonic()
        while time.monotonic() - held < 7:
            started = time.monotonic()
            said += both(server)
            assert time.monotonic() - started < 2
            time.sleep(0.2)
        until(lambda: status_of(server, "/ready") == 503)
        holder.kill()
    until(lambda: status_of(server, "/ready") == 200)
    assert all(one.whole for one in said)
    assert server.stop() == 0
    assert sorted(stored(server.home)) == sorted(one.call for one in said)


@pytest.mark.fault(
    80, "A server does not start on it; `restore` brings every call back, from a backup and the journals."
)
def test_a_page_that_is_overwritten_costs_no_acknowledged_call(server: Running, upstream: Upstream) -> None:
    """One bad block would be the end of the record."""
    said = [one for _ in range(5) for one in both(server)]
    assert server.stop() == 0
    home, backup = server.home, server.home / "backup.sqlite"
    assert pointsman(home, "ledger", "backup", str(backup)).returncode == 0
    size = (home / "ledger.sqlite").stat().st_size
    pages = ("bs=4096", "seek=1", f"count={size // 4096 - 1}", "conv=notrunc")
    subprocess.run(("dd", "if=/dev/urandom", f"of={home / 'ledger.sqlite'}", *pages), check=True, capture_output=True)
    found = pointsman(home, "ledger", "verify")
    assert found.returncode == 1 and "To do:" in found.stdout and "Traceback" not in found.stderr
    refused = pointsman(home, "serve", "--port", "0")
    assert refused.returncode == 4 and "malformed" in refused.stderr and "Traceback" not in refused.stderr
    restored = pointsman(home, "ledger", "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    with opened_again(server, upstream) as again:
        said += both(again)
        assert all(one.whole for one in said)
    assert sorted(stored(home)) == sorted(one.call for one in said)


@pytest.mark.fault(81, "A server that is killed under load has recorded every call whose answer came whole, once.")
def test_a_server_that_is_killed_has_recorded_what_it_answered(upstream: Upstream, home: Path) -> None:
    """A crash would lose bills of calls that callers were served."""
    events = [chunk(event) for event in openai_events()]
    upstream.plans["drips"] = [head(200, SSE), *(step for event in events for step in (event, 0.01)), chunk(b"")]
    rng, acknowledged, key = Random(81), [], ""
    for _ in range(5):
        with Running(home, configured(upstream.url)) as server:
            key = server.key = server.key or key
            with clients(server, acknowledged):
                time.sleep(0.4 + rng.random() * 0.5)
                server.process.kill()
                server.process.wait()
    found = stored(home)
    assert len(acknowledged) > 20
    assert len(set(found)) == len(found)
    assert set(acknowledged) <= set(found)


@contextmanager
def clients(server: Running, acknowledged: list[str]) -> Iterator[None]:
    """Three that ask without a pause, until the server is gone."""
    stop = threading.Event()

    def go_on(model: str, stream: bool) -> None:
        while not stop.is_set():
            said = ask(server, model, stream=stream)
            if said.whole:
                acknowledged.append(said.call)

    kinds = (("small", False), ("small", True), ("mine/drips", True))
    threads = [threading.Thread(target=go_on, args=kind) for kind in kinds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.fault(83, "New connections wait or are closed; those that stand are served; it recovers by itself.")
def test_a_server_without_a_file_left_to_open_recovers(server: Running) -> None:
    """A burst of clients would end in a server that must be killed, or that eats a processor."""
    said = both(server)
    files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    with limited(server, resource.RLIMIT_NOFILE, files + 20), ExitStack() as stack:
        for _ in range(60):
            idle = stack.enter_context(socket.socket())
            idle.settimeout(1)
            idle.connect(("127.0.0.1", server.port))
        time.sleep(0.5)
        burnt = processor_seconds(server)
        time.sleep(2)
        assert processor_seconds(server) - burnt < 1.5
        assert server.process.poll() is None
    until(lambda: ask(server, within=3).whole)
    said += both(server)
    assert all(one.whole for one in said)
    until(lambda: status_of(server, "/ready") == 200)
    assert server.stop() == 0
    assert {one.call for one in said} <= set(stored(server.home))


def processor_seconds(server: Running) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.fault(84, "Every acknowledged call is stored by the next process.")
def test_a_server_that_runs_out_of_memory_loses_nothing(server: Running) -> None:
    """The largest call of the day would take the record of all others with it."""
    said = [one for _ in range(5) for one in both(server)]
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[0])
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE"),) * 2)
    threads = [
        threading.Thread(target=lambda: said.append(ask(server, "twin", prompt="x" * 900_000))) for _ in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.process.kill()  # as the kernel does where it has not ended by itself
    server.process.wait()
    found = stored(server.home)
    assert len(said) == 34 and len(set(found)) == len(found)
    assert {one.call for one in said if one.whole} <= set(found)


@pytest.mark.fault(86, "A server does not start on it.")
def test_a_server_does_not_start_on_a_newer_ledger(server: Running) -> None:
    """After a downgrade it would write rows that the newer version cannot read."""
    assert server.stop() == 0
    path = server.home / "ledger.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA user_version=99")
    before = path.read_bytes()
    done = pointsman(server.home, "serve", "--port", "0", "--json")
    assert done.returncode == 4 and "schema 99" in json.loads(done.stdout)["error"]["message"]
    assert path.read_bytes() == before


@pytest.mark.fault(87, "Servers that start at once on one home all serve.")
def test_servers_that_start_at_once_on_one_home_all_serve(upstream: Upstream, home: Path) -> None:
    """After an upgrade, or on the first day, all but one would die."""
    fixture = Path(__file__).parents[1] / "ledger" / "ledger_v1.sql"
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        connection.executescript(fixture.read_text())
        connection.execute("DELETE FROM keys")  # their pepper is not here
        connection.commit()
    started: list[Running] = []

    def start() -> None:
        started.append(Running(home, configured(upstream.url)))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ExitStack() as stack:
        for server in started:
            stack.enter_context(server)
        with Ledger.open(home) as ledger:
            key, _ = ledger.keys.create("later", scopes=("call",))
        for server in started:
            server.key = key
            assert all(said.whole for said in both(server))
    assert len(started) == 3
