"""What was learned: versions that nobody overwrites."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ledger_samples import NOON, finish

from pointsman.core import InvalidCall, LedgerError
from pointsman.ledger import Ledger, StoredState
from pointsman.ledger.states import KEPT

CHILD = Path(__file__).with_name("feedback_child.py")


def state(version: int, content: bytes = b"learned") -> StoredState:
    return StoredState(version, NOON + version, 10 * version, content)


def test_the_latest_state_comes_back_as_it_was(tmp_path: Path) -> None:
    """A restarted server would begin from nothing."""
    content = bytes(range(256)) * 1000
    with Ledger.open(tmp_path) as ledger:
        assert ledger.states.latest() is None
        assert ledger.states.add(state(1))
        assert ledger.states.add(state(2, content))
        assert ledger.states.add(state(3, b""))
    with Ledger.open(tmp_path) as ledger:
        assert ledger.states.latest() == state(3, b"")


def test_a_version_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """Of two that learn at once one would undo what the other has learned."""
    with Ledger.open(tmp_path) as ledger:
        assert ledger.states.add(state(5, b"first"))
        assert not ledger.states.add(state(5, b"second"))
        assert not ledger.states.add(state(4, b"stale"))
        assert ledger.states.latest() == state(5, b"first")


def test_old_versions_are_let_go(tmp_path: Path) -> None:
    """The ledger would grow with every round of learning; or a version that was let go be taken once more."""
    with Ledger.open(tmp_path) as ledger:
        for version in range(1, KEPT + 31):
            assert ledger.states.add(state(version))
        assert not ledger.states.add(state(3))
        with closing(ledger.store.connect()) as connection:
            kept = [version for (version,) in connection.execute("SELECT version FROM states ORDER BY version")]
    assert kept == list(range(31, KEPT + 31))


def test_of_a_damaged_row_nothing_is_believed(tmp_path: Path) -> None:
    """Learners would wait for ever for the grade 'x', or a whole gateway fail on a state that is a word."""
    with Ledger.open(tmp_path) as ledger:
        for version in (1, 2, 3, 4):
            assert ledger.states.add(state(version))
        with closing(ledger.store.connect()) as connection:
            connection.execute("UPDATE states SET through = 'x' WHERE version = 2")
            connection.execute("UPDATE states SET through = -1 WHERE version = 3")
            connection.execute("UPDATE states SET state = 'a word' WHERE version = 4")
        unknown = [StoredState(version, 0.0, 0, b"") for version in (4, 3, 2)]
        assert ledger.states.kept() == [*unknown, state(1)]
        assert ledger.states.latest() == unknown[0]


def test_exactly_one_of_two_processes_wins_each_version(tmp_path: Path) -> None:
    """Two workers would both believe that theirs is what was learned."""
    started = [
        subprocess.Popen(
            [sys.executable, str(CHILD), "learn", str(tmp_path), "40", name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ann", "bob")
    ]
    won = [int(version) for process in started for version in finish(process).split()]
    assert sorted(won) == list(range(1, 81))


@pytest.mark.parametrize(
    "bad", [StoredState(0, NOON, 0, b""), StoredState(1, float("nan"), 0, b""), StoredState(1, NOON, -1, b"")]
)
def test_what_is_no_state_is_refused(tmp_path: Path, bad: StoredState) -> None:
    """A slip would be the latest state for good."""
    with Ledger.open(tmp_path) as ledger, pytest.raises(InvalidCall):
        ledger.states.add(bad)


def test_a_ledger_that_is_not_there_is_not_made_by_asking(tmp_path: Path) -> None:
    """A command that only looks would leave a ledger behind."""
    assert Ledger.open(tmp_path / "home").states.latest() is None
    assert not (tmp_path / "home").exists()


def test_a_damaged_ledger_is_told(tmp_path: Path) -> None:
    """A traceback from SQLite would leave the user without a way out."""
    (tmp_path / "ledger.sqlite").write_bytes(b"no database " * 100)
    with Ledger.open(tmp_path) as ledger:
        for ask in (ledger.states.latest, lambda: ledger.states.add(state(1))):
            with pytest.raises(LedgerError, match="not a database"):
                ask()
