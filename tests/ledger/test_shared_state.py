"""State on a file: shared by processes, kept over a restart, and never a reason for a call to fail."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from pointsman.core import ManualClock, MemoryState, Rate
from pointsman.core.state import LESSER, MOST
from pointsman.ledger import REAL_CLOCK
from pointsman.ledger.shared_state import TRY_AGAIN, SharedState

MINUTE = Rate(10, 60.0)
NOON = 1_795_262_400.0
HOUR, LONG = 3600.0, 400 * 86400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state.sqlite"


@contextmanager
def opened(path: Path, clock: ManualClock | None = None, share: float = 1.0) -> Iterator[SharedState]:
    state = SharedState(path, clock.clock if clock else REAL_CLOCK, share=share)
    try:
        yield state
    finally:
        state.close()


def test_two_states_on_one_file_share_buckets_and_looks_take_nothing(path: Path) -> None:
    """Two workers would each admit the whole limit."""
    clock = ManualClock(NOON)
    with opened(path, clock) as one, opened(path, clock) as two:
        for state in (one, two) * 5:
            assert state.wait([("a", MINUTE, 1)]) == 0.0
            assert state.take([("a", MINUTE, 1)]) == 0.0
        assert one.take([("a", MINUTE, 1)]) == two.wait([("a", MINUTE, 1)]) == pytest.approx(6.0)
        two.give("a", MINUTE, 1)
        assert one.take([("b", MINUTE, 1), ("a", MINUTE, 1)]) == 0.0
        assert one.take([("b", MINUTE, 1), ("a", MINUTE, 1)]) > 0.0
        assert two.take([("b", MINUTE, 9)]) == 0.0, "a take that was refused takes nothing"


def test_limits_and_facts_are_kept_over_a_restart(path: Path) -> None:
    """A free tier's day would begin anew with each restart, and so would each outage."""
    clock = ManualClock(NOON)
    with opened(path, clock) as state:
        state.take([("a", MINUTE, 10)])
        state.put("account:x:held", b"1", 100.0)
    clock.advance(30)
    with opened(path, clock) as state:
        told: list[tuple[str, bytes | None]] = []
        state.watch("account:", lambda name, value: told.append((name, value)))
        assert state.wait([("a", MINUTE, 10)]) == pytest.approx(30.0)
        assert state.get("account:x:held") == b"1"
        assert told == [("account:x:held", b"1")]
        clock.advance(70)
        assert state.get("account:x:held") is None


def test_watching_opens_no_file(path: Path) -> None:
    """A command that calls no model would make one."""
    with opened(path) as state:
        state.watch("a", lambda name, value: None)
        assert not path.exists()


def test_what_another_puts_is_told_at_the_next_refresh_once(path: Path) -> None:
    """An endpoint that one worker found broken would be asked by the others."""
    clock = ManualClock(NOON)
    with opened(path, clock) as one, opened(path, clock) as two:
        told: list[tuple[str, bytes | None]] = []
        two.watch("endpoint:", lambda name, value: told.append((name, value)))
        one.put("before", b"0", 30.0)
        two.refresh()
        one.put("endpoint:a", b"1", 30.0)
        two.put("endpoint:b", b"2", 30.0)
        one.put("other", b"3", 30.0)
        assert told == [("endpoint:b", b"2")]
        two.refresh()
        two.refresh()
        assert told == [("endpoint:b", b"2"), ("endpoint:a", b"1")]
        assert two.get("other") == b"3"
        one.put("endpoint:b", b"", 0.0)
        two.refresh()
        assert told[2:] == [("endpoint:b", None)]
        assert two.get("endpoint:b") is None


@pytest.mark.fault(85, "Turned back: no limit blocks for longer than its own time, nothing is refilled, no fact lasts.")
@pytest.mark.parametrize("jump", [-HOUR, -LONG])
def test_a_clock_that_is_turned_back_blocks_nothing_for_long(path: Path, jump: float) -> None:
    """An account would be shut for an hour, or for a year."""
    clock = ManualClock(NOON)
    with opened(path, clock) as state:
        state.take([("a", MINUTE, 10)])
        state.put("fact", b"1", 30.0)
        clock.advance(jump)
        assert state.wait([("a", MINUTE, 1)]) == pytest.approx(6.0), "nothing is refilled"
    clock.advance(6.0)
    with opened(path, clock) as state:
        assert state.take([("a", MINUTE, 1)]) == 0.0
        assert state.get("fact") == b"1"
        clock.advance(30.0)
        assert state.get("fact") is None


@pytest.mark.fault(85, "Turned ahead and back: a limit is refilled once, and blocks for no longer than its own time.")
@pytest.mark.parametrize("jump", [HOUR, LONG])
def test_a_clock_that_jumps_ahead_refills_a_bucket_once(path: Path, jump: float) -> None:
    """Turned forward and back it would give the limit twice, or lock it until the clock has caught up."""
    clock = ManualClock(NOON)
    with opened(path, clock) as state:
        state.take([("a", MINUTE, 10)])
        clock.advance(jump)
        assert state.take([("a", MINUTE, 10)]) == 0.0
        assert state.take([("a", MINUTE, 1)]) > 0.0
        clock.advance(-jump)
        assert state.take([("a", MINUTE, 1)]) == pytest.approx(6.0)
        clock.advance(60.0)
        assert state.take([("a", MINUTE, 10)]) == 0.0


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    some.lists(
        some.tuples(
            some.sampled_from(["take", "wait", "give", "time"]),
            some.integers(0, 12),
            some.integers(0, 12),
            some.booleans(),
        ),
        max_size=40,
    )
)
def test_it_counts_as_the_state_in_memory_does(steps: list[tuple[str, int, int, bool]]) -> None:
    """A limit would mean one thing with one worker and another with two."""
    clock = ManualClock(NOON)
    memory = MemoryState(clock.clock)
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "state.sqlite"
        with opened(path, clock) as one, opened(path, clock) as two:
            for what, a, b, is_one in steps:
                state = one if is_one else two
                takes = [("a", MINUTE, float(a)), ("b", Rate(7, 30.0), float(b))]
                if what == "time":
                    clock.advance(a)
                elif what == "give":
                    state.give("a", MINUTE, a - b)
                    memory.give("a", MINUTE, a - b)
                elif what == "take":
                    assert state.take(takes) == pytest.approx(memory.take(takes), abs=1e-3)
                else:
                    assert state.wait(takes) == pytest.approx(memory.wait(takes), abs=1e-3)


RACER = """
import sys, time
from pathlib import Path
from pointsman.core import Rate
from pointsman.ledger import REAL_CLOCK
from pointsman.ledger.shared_state import SharedState
state = SharedState(Path(sys.argv[1]), REAL_CLOCK)
state.take([("warm", Rate(1, 1.0), 1)])
print("ready", flush=True)
sys.stdin.readline()
started, taken = time.time(), 0
while time.time() - started < 1.5:
    taken += state.take([("raced", Rate(2000, 60.0), 1)]) == 0.0
print(taken, started, time.time(), state.problem or "", sep="|", flush=True)
"""


def test_processes_that_race_admit_no_more_than_the_limit(path: Path) -> None:
    """Two workers of a server would together overrun the provider's limit."""
    racers = [_child(RACER, path) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    said = [racer.communicate("go\n", timeout=60)[0].strip().split("|") for racer in _started(racers)]
    assert [line[3] for line in said] == ["", ""]
    elapsed = max(float(line[2]) for line in said) - min(float(line[1]) for line in said)
    admitted = sum(int(line[0]) for line in said)
    assert 2000 <= admitted <= 2000 + elapsed * 2000 / 60.0 + 1
    with opened(path) as state:
        assert state.wait([("raced", Rate(2000, 60.0), 2000)]) > 0.0, "it is kept when both have ended"


def test_a_process_that_is_killed_leaves_what_it_took(path: Path) -> None:
    """Restarting in a loop would evade every limit."""
    child = _child(RACER, path)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    time.sleep(0.5)
    child.kill()
    child.communicate()
    with opened(path) as state:
        assert state.wait([("raced", Rate(2000, 60.0), 2000)]) > 0.0
        assert state.problem is None


def test_a_locked_file_holds_nobody_up_and_is_used_again_when_it_is_free(path: Path) -> None:
    """A stuck process would stop all calls of the others."""
    clock = ManualClock(NOON)
    with opened(path, clock, share=0.5) as state:
        state.take([("a", MINUTE, 10)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert state.take([("a", MINUTE, 5)]) == 0.0
            assert state.problem is not None and "locked" in state.problem and str(path) in state.problem
            assert state.take([("a", MINUTE, 1)]) > 0.0, "its share of the limit is used up"
            state.put("fact", b"1", 30.0)
            assert state.get("fact") == b"1"
            other.execute("ROLLBACK")
        clock.advance(TRY_AGAIN)
        assert state.wait([("a", MINUTE, 10)]) == pytest.approx(60 - TRY_AGAIN)
        assert state.problem is None


def test_a_broken_file_is_reported_and_calls_go_on(path: Path) -> None:
    """A limit's bookkeeping would bring down what it should protect."""
    path.parent.mkdir()
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with opened(path) as state:
        _works_alone(state)
    assert path.read_bytes().startswith(b"this is no"), "what is not ours is left as it is"


def test_a_page_that_breaks_under_way_is_reported_and_calls_go_on(path: Path) -> None:
    """Nor may a disk that fails while the server runs."""
    with opened(path) as state:
        for number in range(500):
            state.take([(f"bucket {number}", MINUTE, 1)])
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with opened(path) as state:
        assert state.take([("bucket 1", MINUTE, 1)]) == 0.0
        state.take([("bucket 499", MINUTE, 1)])
        _works_alone(state)


def test_a_directory_that_cannot_be_made_is_reported_and_calls_go_on(tmp_path: Path) -> None:
    """Nor may a home that is no directory."""
    (tmp_path / "home").write_text("a file")
    with opened(tmp_path / "home" / "state.sqlite") as state:
        _works_alone(state)


@pytest.mark.fault(86, "A newer `state.sqlite` is left alone, and calls go on.")
def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    """An older program would write nonsense into it."""
    with opened(path) as state:
        state.put("fact", b"1", 1000.0)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version=99")
    with opened(path) as state:
        _works_alone(state)
    with closing(sqlite3.connect(path)) as found:
        assert found.execute("PRAGMA user_version").fetchone() == (99,)


FULL = """
import resource, sys
from pathlib import Path
from pointsman.core import Rate
from pointsman.ledger import REAL_CLOCK
from pointsman.ledger.shared_state import SharedState
state = SharedState(Path(sys.argv[1]), REAL_CLOCK)
state.take([("a", Rate(1, 60.0), 1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
for number in range(5000):
    assert state.take([(f"bucket {number}", Rate(1, 60.0), 1)]) == 0.0
    state.put(f"fact {number}", b"x" * 100, 60.0)
assert state.problem, "it should have run out of space"
assert state.take([("bucket 4999", Rate(1, 60.0), 1)]) > 0
print("served", state.problem)
"""


def test_a_full_disk_fails_no_call(path: Path) -> None:
    """A disk that fills up would stop all calls, though nothing of them need be written here."""
    child = _child(FULL, path)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert out.startswith("served Limits and the health of endpoints are not shared")


def test_a_name_may_be_anything(path: Path) -> None:
    """Names bear what callers write: one of them could bring the sharing down for all."""
    clock = ManualClock(NOON)
    with opened(path, clock) as state:
        for name in ("", "\ud800", "ü", "a'b\"; DROP TABLE buckets", "\x00", "x" * 10_000):
            assert state.take([(name, MINUTE, 10)]) == 0.0
            assert state.take([(name, MINUTE, 1)]) > 0.0
            state.put(name, b"1", 10.0)
            assert state.get(name) == b"1"
        assert state.problem is None


def test_the_file_does_not_grow_with_the_names_that_were_used(path: Path) -> None:
    """A server that runs for a year would fill the disk with buckets that are full again."""
    clock = ManualClock(NOON)
    with opened(path, clock) as state:
        for number in range(30_000):
            state.take([(f"caller {number}", MINUTE, 1)])
            clock.advance(0.01)
    with closing(sqlite3.connect(path)) as found:
        (count,) = found.execute("SELECT count(*) FROM buckets").fetchone()
    assert count < 15_000


def test_only_its_owner_can_read_it(path: Path) -> None:
    """Names of accounts and users are nobody else's business."""
    with opened(path) as state:
        state.put("a", b"1", 1.0)
        assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def _works_alone(state: SharedState) -> None:
    assert [state.take([("mine", MINUTE, 5)]) for _ in range(3)] == [0.0, 0.0, pytest.approx(30.0, abs=1.0)]
    state.give("mine", MINUTE, 1)
    assert state.take([("mine", MINUTE, 1)]) == 0.0
    state.put("fact", b"2", 60.0)
    state.refresh()
    assert state.get("fact") == b"2"
    assert state.problem is not None and "Calls go on" in state.problem


def _child(code: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _started(racers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    return racers


def test_a_look_makes_no_file(tmp_path: Path) -> None:
    """Every command that only looks would leave a database in every home."""
    state = SharedState(tmp_path / "home" / "state.sqlite", ManualClock(1000.0).clock)
    state.refresh()
    state.close()
    assert list(tmp_path.iterdir()) == []


def test_many_conversations_push_out_no_outage(path: Path) -> None:
    """On a busy server a key that its provider refused would be tried again by every process that starts."""
    clock = ManualClock(NOON)
    with opened(path, clock) as state:
        state.put("account:a:key", b"refused", 60.0)
        with closing(sqlite3.connect(path)) as file:
            rows = ((f"{LESSER}conversation:{number}", b"one", NOON + HOUR, HOUR) for number in range(MOST))
            file.executemany("INSERT INTO facts (name, value, ends, seconds) VALUES (?, ?, ?, ?)", rows)
            file.commit()
    with opened(path, clock) as state:
        assert state.get("account:a:key") == b"refused"
        for number in range(1024):
            state.put(f"{LESSER}conversation:{number}/", b"one", HOUR)
        assert state.get("account:a:key") == b"refused"
