"""What is said of answers: kept, joined with the attempts that it is about, and given to learners in order."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import stdev
from typing import Any, get_args

import pytest
from ledger_samples import NOON, entry, finish

from pointsman.core import InvalidCall, Weighed
from pointsman.gateway import new_id
from pointsman.ledger import Entry, Feedback, Ledger, MeanScore, StoredState, Why, automatic, back_up, restore, verify
from pointsman.ledger.feedback import Learned
from pointsman.ledger.migrations import MIGRATIONS
from pointsman.ledger.rows import pack_id
from pointsman.ledger.store import Store

CHILD = Path(__file__).with_name("feedback_child.py")


def said(call_id: str, score: float = 1.0, **changes: Any) -> Feedback:
    return Feedback(call_id, **{"at": NOON, "score": score, **changes})


def called(at: float) -> str:
    """An id as it is made at that time."""
    return f"{int(at * 1000):012x}7{new_id()[13:]}"


def stored(ledger: Ledger, *entries: Entry) -> None:
    for one in entries:
        ledger.record(one)
    ledger.flush()


def child(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def numbers_and_scores(ledger: Ledger, after: int = 0) -> list[tuple[int, float]]:
    return [(one.number, one.feedback.score) for one in ledger.feedback.graded(after, 100)]


@pytest.mark.parametrize(
    "call_id", [called(NOON - 0.01), "0" * 32, "a call of mine", "C" * 40], ids=["ours", "zeros", "words", "letters"]
)
def test_a_feedback_comes_back_with_the_attempt_that_answered(tmp_path: Path, call_id: str) -> None:
    """Nothing could be learned from what users say."""
    made = entry(call_id=call_id, features=b"\x02abc", task="coding", key="k")
    given = said(call_id, 0.75, source="judge", reliability=0.5, key="k")
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, entry(), made, entry())
        number = ledger.feedback.add(given)
        (graded,) = ledger.feedback.graded(0, 10)
        assert (graded.number, graded.feedback, graded.entry) == (number, given, made)
        assert ledger.feedback.target(call_id) == made
        assert ledger.feedback.graded(number, 10) == []


def test_a_fallback_is_graded_with_the_decision_of_its_call(tmp_path: Path) -> None:
    """The model that failed would be praised for the answer of another, or what else could have been chosen be lost."""
    call_id, decided = called(NOON), {"decision_id": "d" * 32}
    candidates = (Weighed("a", 0.5, 0.75, quality=0.7), Weighed("b", 0.25, 0.25), Weighed("c", rejected="no key"))
    first = entry(call_id=call_id, at=NOON, model="a", status="failed", candidates=candidates, **decided)
    second = entry(call_id=call_id, at=NOON + 20, model="b", retry=1, **decided)
    other = entry(call_id=called(NOON), candidates=(Weighed("x", 1.0, 1.0),), **decided)
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, other, first, second)
        ledger.feedback.add(said(call_id))
        (graded,) = ledger.feedback.graded(0, 10)
    assert (graded.entry.attempt_id, graded.entry.model) == (second.attempt_id, "b")
    assert graded.entry.candidates == candidates


@pytest.mark.parametrize(
    ("attempts", "answered"),
    [
        ([{"status": "failed"}, {"status": "ok"}], 1),
        ([{"status": "ok"}, {"status": "ok"}], 1),
        ([{"status": "ok"}, {"status": "cancelled"}], 0),
        ([{"status": "cancelled", "ttft": 0.2}], 0),
        ([{"status": "cancelled", "ttft": None}], None),
        ([{"status": "broken", "error": "broken_reply"}], None),
        ([{"status": "failed", "error": "timeout"}], None),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_only_what_was_answered_is_graded(
    tmp_path: Path, attempts: list[dict[str, Any]], answered: int | None, late: bool
) -> None:
    """A model would be blamed for a connection that broke."""
    call_id = called(NOON)
    made = [
        entry(call_id=call_id, at=NOON + number / 10, retry=number, **attempt)
        for number, attempt in enumerate(attempts)
    ]
    with Ledger.open(tmp_path) as ledger:
        if late:
            ledger.feedback.add(said(call_id))
            assert ledger.feedback.graded() == []
        for one in made:  # each is stored by itself: what comes first may not be what answered
            stored(ledger, one)
        if not late:
            ledger.feedback.add(said(call_id))
        found = [graded.entry.attempt_id for graded in ledger.feedback.graded()]
    assert found == ([] if answered is None else [made[answered].attempt_id])


@pytest.mark.parametrize("call_id", [called(NOON), "a call of mine"], ids=["ours", "words"])
def test_a_feedback_that_came_before_its_entry_is_not_passed_over(tmp_path: Path, call_id: str) -> None:
    """What a user says at once, while the entry lies in a journal, would be lost to whoever has come past it."""
    other = entry(call_id=called(NOON))
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, other)
        early = ledger.feedback.add(said(call_id, 0.25))
        last = ledger.feedback.add(said(other.call_id, 0.5))
        assert numbers_and_scores(ledger) == [(last, 0.5)]
        assert [one.found for one in verify(ledger).findings] == [
            "1 feedbacks are for calls that no entry tells of yet."
        ]
        stored(ledger, entry())
        assert numbers_and_scores(ledger) == [(last, 0.5)]
        stored(ledger, entry(call_id=call_id))
        ((number, score),) = numbers_and_scores(ledger, after=last)
        assert number > last > early and score == 0.25
        assert numbers_and_scores(ledger) == [(last, 0.5), (number, 0.25)]
        assert verify(ledger).findings == () and verify(ledger).feedback == 2


def test_who_changes_his_mind_is_heard_once_more_and_counts_once(tmp_path: Path) -> None:
    """A learner would never hear of it, or one user would count twice."""
    made = entry(call_id=called(NOON))
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, made)
        first = ledger.feedback.add(said(made.call_id, 1.0, key="ann"))
        ledger.feedback.add(said(made.call_id, 0.5, key="bob"))
        ledger.feedback.add(said(made.call_id, 0.75, key="ann", source="judge"))
        again = ledger.feedback.add(said(made.call_id, 0.0, key="ann"))
        assert again > first
        assert [score for _, score in numbers_and_scores(ledger)] == [0.5, 0.75, 0.0]
        assert ledger.feedback.means() == [
            MeanScore("gpt-5-mini", "", 3, pytest.approx(1.25 / 3), pytest.approx(stdev((0.5, 0.75, 0.0))))
        ]


def test_what_was_learned_of_a_grade_is_kept_whatever_its_giver_says_then(tmp_path: Path) -> None:
    """Whoever learned from a word could not take it back, or would take back what nobody learned."""
    made = entry(call_id=called(NOON))
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, made)
        first = ledger.feedback.add(said(made.call_id, 0.25, reliability=0.5))
        (heard,) = ledger.feedback.graded()
        ledger.feedback.add(said(made.call_id, 0.75))  # while it is being learned
        assert heard.learned is None and ledger.states.add(StoredState(1, NOON, first, b""))
        assert not ledger.states.add(StoredState(1, NOON, first, b""), [heard]), "another process was quicker"
        assert [one.learned for one in ledger.feedback.graded()] == [None]
        assert ledger.states.add(StoredState(2, NOON, first, b""), [heard])
        for _ in range(2):
            (latest,) = ledger.feedback.graded()
            assert (latest.first, latest.learned) == (first, Learned(first, 0.25, 0.5))
            ledger.feedback.add(said(made.call_id, 1.0))
        with closing(ledger.store.connect()) as connection:
            for damaged in ("no json", "[1, 5, 1]", 7):
                connection.execute("UPDATE feedback SET learned = ?", (damaged,))
                assert [one.learned for one in ledger.feedback.graded()] == [None]


def test_what_was_said_of_a_time_is_read_alone(tmp_path: Path) -> None:
    """A replay of one day would read, and take as long as, the grades of a year."""
    made = [entry(call_id=called(NOON + hour), at=NOON + hour) for hour in range(3)]
    with Ledger.open(tmp_path) as ledger:
        assert list(ledger.feedback.since(None)) == []
        stored(ledger, *made)
        for number, one in enumerate(reversed(made)):
            ledger.feedback.add(said(one.call_id, number / 4))
        ledger.feedback.add(said("b" * 32))
        every = [one.feedback for one in ledger.feedback.graded()]
        assert list(ledger.feedback.since(None)) == every and len(every) == 3
        assert list(ledger.feedback.since(NOON + 1)) == every[:2]


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    """A learner that has come up to it would pass over the second that bears it."""
    made = entry(call_id=called(NOON))
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, made)
        given = [ledger.feedback.add(said(made.call_id, number / 10)) for number in range(10)]
        with closing(ledger.store.connect()) as connection:
            connection.execute("DELETE FROM feedback")
        given.append(ledger.feedback.add(said(made.call_id)))
    assert given == sorted(set(given))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"score": 1.01}, "score"),
        ({"score": -0.01}, "score"),
        ({"score": float("nan")}, "score"),
        ({"reliability": 2.0}, "reliability"),
        ({"source": "gossip"}, "source"),
        ({"call_id": ""}, "call_id"),
        ({"call_id": "x" * 201}, "call_id"),
        ({"call_id": "\ud800"}, "call_id"),
        ({"at": float("inf")}, "at"),
    ],
)
def test_what_is_no_feedback_is_refused(tmp_path: Path, changes: dict[str, Any], param: str) -> None:
    """One absurd score would pull a model's mean anywhere."""
    with Ledger.open(tmp_path) as ledger:
        with pytest.raises(InvalidCall) as refused:
            ledger.feedback.add(Feedback(**{"call_id": "c" * 32, "at": NOON, "score": 1.0, **changes}))
        assert refused.value.param == param
    assert not (tmp_path / "ledger.sqlite").exists()


def test_a_ledger_that_is_not_there_is_not_made_by_asking(tmp_path: Path) -> None:
    """A command that only looks would leave a ledger behind."""
    ledger = Ledger.open(tmp_path / "home")
    assert (ledger.feedback.graded(), ledger.feedback.means(), ledger.feedback.target("x")) == ([], [], None)
    assert not (tmp_path / "home").exists()


def test_means_are_by_model_and_task_and_weighted_by_reliability(tmp_path: Path) -> None:
    """A guess of an automaton would count as much as what a user says."""
    with Ledger.open(tmp_path) as ledger:
        for model, task, score, changes in (
            ("a", "coding", 1.0, {}),
            ("a", "coding", 0.0, {"reliability": 0.5}),
            ("a", "coding", 0.0, {"source": "automatic"}),
            ("a", "coding", 0.0, {"reliability": 0.0}),
            ("a", "chat", 0.25, {}),
            ("b", "coding", 0.5, {"at": NOON - 10}),
        ):
            made = entry(call_id=called(NOON), model=model, task=task)
            stored(ledger, made)
            ledger.feedback.add(said(made.call_id, score, **changes))
        coding, chat = (
            MeanScore("a", "coding", 2, pytest.approx(2 / 3), pytest.approx(2 / 3)),
            MeanScore("a", "chat", 1, 0.25, None),
        )
        assert ledger.feedback.means(since=NOON) == [chat, coding]
        assert ledger.feedback.means() == [chat, coding, MeanScore("b", "coding", 1, 0.5, None)]


@pytest.mark.parametrize("why", [why for why in get_args(Why) if why])
def test_what_failed_by_itself_is_kept_with_its_reason(tmp_path: Path, why: Why) -> None:
    """Nobody could see why a model is believed to do badly; or a guess would count as much as what a user says."""
    failed = entry(key="k")
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, failed)
        ledger.feedback.add(automatic(failed, why))
        (told,) = ledger.feedback.of(failed.call_id)
        assert ledger.feedback.graded()[0].feedback == told
    assert (told.attempt_id, told.key, told.why) == (failed.attempt_id, "k", why)
    assert (told.score, told.source) == (0.0, "automatic") and 0 < told.reliability < 1


@pytest.mark.parametrize("late", [False, True])
def test_what_an_entry_tells_is_about_itself_and_not_about_who_answered(tmp_path: Path, late: bool) -> None:
    """The model that helped out would be blamed for the refusal of the first."""
    call_id = called(NOON)
    refused = entry(call_id=call_id, at=NOON, status="failed", error="content_filtered", model="prude")
    answered = entry(call_id=call_id, at=NOON + 1, retry=1, model="helper")
    told = automatic(refused, "refused")
    with Ledger.open(tmp_path) as ledger:
        if late:
            ledger.feedback.add(told)
            ledger.feedback.add(said(call_id))
        stored(ledger, refused)
        stored(ledger, answered)
        if not late:
            ledger.feedback.add(told)
            ledger.feedback.add(said(call_id))
        assert [(one.entry.model, one.feedback.score) for one in ledger.feedback.graded()] == [
            ("prude", 0.0),
            ("helper", 1.0),
        ]


def test_two_processes_give_feedback_and_join_at_once(tmp_path: Path) -> None:
    """Feedback would be lost, doubled, or fail while another process writes."""
    entries = [entry(call_id=called(NOON + number)) for number in range(60)]
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, *entries[:30])
        calls = ",".join(one.call_id for one in entries)
        started = [child("give", tmp_path, calls, key) for key in ("ann", "bob")]
        seen: dict[int, tuple[str, str]] = {}
        after, deadline = 0, time.monotonic() + 60
        while len(seen) < 120 and time.monotonic() < deadline:
            if entries[30:] and len(seen) > 20:
                stored(ledger, *entries[30:])
                del entries[30:]
            for graded in ledger.feedback.graded(after, 7):
                assert graded.number > after
                after = graded.number
                seen[after] = (graded.feedback.call_id, graded.feedback.key)
        assert [finish(one) for one in started] == ["", ""]
    assert len(seen) == len(set(seen.values())) == 120


def test_a_feedback_that_was_told_survives_the_kill_of_its_process(tmp_path: Path) -> None:
    """What a user was thanked for would be gone, or the ledger damaged."""
    entries = [entry(call_id=called(NOON + number)) for number in range(400)]
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, *entries)
    with child("give_and_tell", tmp_path, ",".join(one.call_id for one in entries), "ann") as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split()  # communicate() would pass over what readline() has read ahead
    with Ledger.open(tmp_path) as ledger:
        kept = {graded.feedback.call_id for graded in ledger.feedback.graded()}
        assert {one for one in told if len(one) == 32} <= kept
        assert len(kept) <= len(told) + 1
        assert verify(ledger).ok


def test_ten_thousand_feedbacks_are_taken_and_read_in_bounded_time(tmp_path: Path) -> None:
    """A busy service's feedback would fall behind, or a refit take minutes."""
    entries = [entry(call_id=called(NOON + number / 50), at=NOON + number / 50 + 0.01) for number in range(10_000)]
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, *entries)
        begun = time.monotonic()
        for one in entries:
            ledger.feedback.add(said(one.call_id, 0.5))
        found, after = 0, 0
        while some := ledger.feedback.graded(after, 1000):
            found, after = found + len(some), some[-1].number
        took = time.monotonic() - begun
        assert found == 10_000
        assert took < 120
        begun = time.monotonic()
        for number in range(200):
            ledger.feedback.add(said(called(NOON + number), 0.5, key="nobody"))
        assert len(ledger.feedback.graded(after)) == 0
        assert time.monotonic() - begun < 60


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """The user would be thanked for a feedback that is lost, or see a traceback."""
    made = entry(call_id=called(NOON))
    home = tmp_path / "home"
    with Ledger.open(home) as ledger:
        stored(ledger, made)
    for path in (*home.rglob("*"), home):
        path.chmod(0o555 if path.is_dir() else 0o444)
    said_by_child = finish(child("give_read_only", home, made.call_id))
    assert "could not be" in said_by_child and "ledger.sqlite" in said_by_child
    home.chmod(0o755)


def test_feedback_and_states_are_in_a_backup(tmp_path: Path) -> None:
    """What was learned in months would be gone with the disk."""
    made = entry(call_id=called(NOON))
    with Ledger.open(tmp_path / "old") as ledger:
        stored(ledger, made)
        ledger.feedback.add(said(made.call_id))
        back_up(ledger, tmp_path / "backup")
    restore(tmp_path / "new", tmp_path / "backup")
    with Ledger.open(tmp_path / "new") as ledger:
        assert [graded.entry for graded in ledger.feedback.graded()] == [made]


def test_feedback_of_an_attempt_that_was_erased_is_passed_over(tmp_path: Path) -> None:
    """A number that SQLite uses again would give one call's grade to another."""
    made, after = entry(call_id=called(NOON)), entry(call_id=called(NOON))
    with Ledger.open(tmp_path) as ledger:
        stored(ledger, made)
        ledger.feedback.add(said(made.call_id))
        with closing(ledger.store.connect()) as connection:
            connection.execute("DELETE FROM entries")
        stored(ledger, after)
        assert (ledger.feedback.graded(), ledger.feedback.means()) == ([], [])
        assert [one.level for one in verify(ledger).findings] == ["note"]


def test_an_older_ledger_takes_feedback_for_its_calls(tmp_path: Path) -> None:
    """Whoever upgrades could not grade what was answered before."""
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.executescript(Path(__file__).with_name("ledger_v1.sql").read_text("utf-8"))
    with Ledger.open(tmp_path) as ledger:
        answered = [one for one in ledger.queries.entries() if one.status == "ok"]
        assert answered
        ledger.feedback.add(said(answered[-1].call_id))
        (graded,) = ledger.feedback.graded()
        assert graded.entry.call_id == answered[-1].call_id


def test_what_was_said_before_there_were_reasons_is_kept(tmp_path: Path) -> None:
    """An upgrade would lose all grades, and how the calls went."""
    made, path = entry(call_id=called(NOON)), tmp_path / "ledger.sqlite"
    with closing(Store(path, migrations=MIGRATIONS[:5]).connect()) as old:
        old.execute("INSERT INTO contexts VALUES (7" + ", 'x'" * 5 + ", 0, 'ok', '', 0, 0" + ", ''" * 8 + ", 0)")
        values = (pack_id(made.attempt_id), pack_id(made.call_id), NOON)
        old.execute(
            "INSERT INTO entries VALUES (1, ?, ?, '', '', '', '', ?, 7, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, x'', x'')",
            values,
        )
        grade = (pack_id(made.call_id), NOON)
        for row in (
            "(3, ?, x'', ?, 0.5, 'user', 1.0, '', 1, 0, 0)",
            "(9, ?, x'', ?, 0.5, 'user', 1.0, 'key', 1, 0, 0)",
        ):
            old.execute(f"INSERT INTO feedback VALUES {row}", grade)
        old.execute("INSERT INTO states VALUES (1, ?, 4, x'')", (NOON,))
    with Ledger.open(tmp_path) as ledger:
        graded, fresh = ledger.feedback.graded()
        assert (graded.number, graded.feedback.score, graded.feedback.why) == (3, 0.5, "")
        assert graded.learned == Learned(4), "nobody knows what was learned of it"
        assert fresh.learned is None, "nothing was"
        assert (graded.entry.attempt_id, graded.entry.status, graded.entry.finish) == (made.attempt_id, "ok", "")
        stored(ledger, entry(finish="length"))
        assert {one.finish for one in ledger.queries.entries()} == {"", "length"}
        assert verify(ledger).ok
