"""Where grades come from, who shares what they teach, and what a ledger full of oddities does to it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from gateway_samples import gateway
from graded_calls import TWO, grade, served
from msgspec import structs

from pointsman.core import ManualClock, Nanos, Weighed
from pointsman.gateway import Gateway, as_chat
from pointsman.gateway.learning import MOST_GRADES, MOST_PORTIONS, RELOAD_EVERY, REST, SPENT_IN
from pointsman.gateway.lessons import MOST_PASSED, Lessons, Passed, decode_lessons, explored, forgotten, still_passed
from pointsman.ledger import Entry, Feedback, StoredState
from pointsman.routing import Evidence, Prompt
from pointsman.routing.learned import CONTEXT


def grades_of(asked: Gateway) -> dict[str, int]:
    return {model: evidence.grades for model, evidence in asked.learning.state.evidence.items()}


async def test_grades_of_calls_that_named_their_model_count(tmp_path: Path) -> None:
    """Whoever compares two models by hand, and grades them, would teach nobody anything."""
    clock = ManualClock()
    async with gateway(tmp_path, TWO, clock=clock) as asked:
        first = await served(asked, model="one")
        grade(asked, first, 0.0)
        asked.learning.study()
        level = asked.learning.state.evidence["one"]
        assert level.gram[0] > 0 and not any(level.gram[1:CONTEXT]), "nothing had been read in the text"
        assert any(level.gram[CONTEXT:]), "but of what kind it is"
        for number in range(30):
            clock.advance(1)
            entry = await served(asked, f"Question {number} about railway points?", model="two")
            grade(asked, entry, 1.0)
        asked.learning.study()
        assert Prompt.decode(first.features).vector == b"" and Prompt.decode(entry.features).vector
        assert grades_of(asked) == {"one": 1, "two": 30}
        assert sum(map(bool, asked.learning.state.evidence["two"].gram)) > 50
        decision = asked.decide(asked.call(as_chat("Where do railway points stand?"), model="private"))
    assert decision.chosen == "two"
    quality = decision.candidates[0].quality
    assert quality is not None and quality.value > 0.65


async def test_what_is_said_anew_takes_the_place_of_what_was_said_before(tmp_path: Path) -> None:
    """Who gave ten answers the wrong grade, and saw it, would have taught it for good."""
    async with gateway(tmp_path, TWO) as asked, gateway(tmp_path, TWO) as beside:
        entries = [await served(asked, f"Question {number}?", model="two") for number in range(10)]
        for learner, score in ((asked, 0.0), (beside, 0.5), (None, 0.25), (asked, 1.0)):
            for entry in entries:
                grade(asked, entry, score)
            if learner is not None:
                learner.learning.study()
        changed_mind = asked.learning.state.evidence["two"]
        asked.learning.study()
        assert asked.learning.state.evidence["two"] == changed_mind
        grade(asked, entries[0], 0.75)
        asked.learning.study()
        grade(asked, entries[0], 1.0)
        beside.learning.study()
        again = beside.learning.state.evidence["two"]
    async with gateway(tmp_path / "other", TWO) as sure:
        for number in range(10):
            grade(sure, await served(sure, f"Question {number}?", model="two"), 1.0)
        sure.learning.study()
        straight = sure.learning.state.evidence["two"]
    for one in (changed_mind, again):
        assert one.grades == straight.grades == 10
        assert one.moment == pytest.approx(straight.moment) and one.gram == pytest.approx(straight.gram)


def say(asked: Gateway, entry: Entry, givers: range, score: float) -> None:
    for giver in givers:
        grade(asked, entry, score, key=str(giver))


def all_learned(asked: Gateway) -> Evidence:
    """Of the model two, in as many turns as it takes."""
    before = -1
    while before != asked.learning.state.version:
        before = asked.learning.state.version
        asked.learning.study()
    return asked.learning.state.evidence["two"]


async def test_only_the_last_word_counts_however_often_minds_changed(tmp_path: Path) -> None:
    """A slider that tells each place it passes, or a look between two of its words, would leave behind what nobody
    thinks any more."""
    async with gateway(tmp_path, TWO) as asked:
        entry = await served(asked, model="two")
        for words in (1, 25, 40):
            for word in range(words):
                say(asked, entry, range(4), word / words)
            all_learned(asked)
        say(asked, entry, range(4), 0.25)
        often = all_learned(asked)
        entry = await served(asked, model="two")
    async with gateway(tmp_path / "other", TWO) as sure:
        say(sure, await served(sure, model="two"), range(4), 0.25)
        once = all_learned(sure)
    assert often.grades == once.grades == 4
    assert often.moment == pytest.approx(once.moment) and often.gram == pytest.approx(once.gram)


async def test_what_is_said_anew_before_it_was_read_counts_once(tmp_path: Path) -> None:
    """Of many grades that wait, those said anew would be taken for learned, and what was never learned taken back."""
    givers = MOST_GRADES + 100
    async with gateway(tmp_path, TWO) as asked, gateway(tmp_path / "other", TWO) as sure:
        entry, straight = await served(asked, model="two"), await served(sure, model="two")
        say(asked, entry, range(givers), 0.5)
        say(asked, entry, range(300), 0.75)
        say(sure, straight, range(300, givers), 0.5)
        say(sure, straight, range(300), 0.75)
        learned, once = all_learned(asked), all_learned(sure)
    assert learned.grades == once.grades == givers
    assert learned.moment == pytest.approx(once.moment)


async def test_what_was_learned_before_a_fall_is_not_exchanged_after_it(tmp_path: Path) -> None:
    """Old grades would be taken off what is known of a model since it fell, once for each change of mind."""
    async with gateway(tmp_path, TWO) as asked:
        entry = await served(asked, model="two")
        say(asked, entry, range(60), 0.9)
        all_learned(asked)
        say(asked, entry, range(100, 140), 0.1)
        fallen = all_learned(asked)
        assert fallen.epoch == 1 and fallen.grades < 40
        for score in (0.0, 1.0, 0.5):
            say(asked, entry, range(60), score)
            assert all_learned(asked) == fallen
        say(asked, entry, range(138, 140), 0.3)
        assert sum(all_learned(asked).moment) > sum(fallen.moment), "what came after it is"


async def test_what_is_said_anew_of_a_model_that_is_gone_waits_for_it(tmp_path: Path) -> None:
    """Its old grade would stay for good, and the next change of mind would move what is believed the wrong way."""
    without_two = TWO.replace("  two: {provider: sim, quality: 0.6}\n", "").replace(", two", "")
    async with gateway(tmp_path, TWO) as asked:
        entry = await served(asked, model="two")
        say(asked, entry, range(8), 0.9)
        all_learned(asked)
    async with gateway(tmp_path, without_two) as less:
        say(less, entry, range(8), 0.1)
        less.learning.study()
    async with gateway(tmp_path, TWO) as again:
        corrected = all_learned(again)
        say(again, entry, range(2), 0.3)
        twice = all_learned(again)
    async with gateway(tmp_path / "other", TWO) as sure:
        straight = await served(sure, model="two")
        say(sure, straight, range(8), 0.1)
        assert corrected.moment == pytest.approx(all_learned(sure).moment)
        say(sure, straight, range(2), 0.3)
        assert twice.moment == pytest.approx(all_learned(sure).moment)


def test_with_another_router_what_was_said_before_is_not_taken_back() -> None:
    """What a new router was fitted on would be taken off the grades since."""
    learned = Lessons({"a": Evidence(2, 0, 5, (1.0,), (1.0,)), "b": Evidence()}, {}, "old")
    assert {one.since for one in forgotten(learned, 70).evidence.values()} == {70}


async def test_a_grade_counts_where_nothing_was_kept_of_the_prompt(tmp_path: Path) -> None:
    """Whoever keeps no features would teach nobody anything, nor whoever calls often."""
    async with gateway(tmp_path, TWO + "ledger: {features: false}\n") as asked:
        for model in ("two", "private"):
            entry = await served(asked, model=model)
            assert entry.features == b""
            grade(asked, entry, 1.0)
        asked.learning.study()
        assert grades_of(asked) == {"two": 1, "one": 1}


async def test_a_grade_of_a_model_that_is_gone_waits_until_it_is_there_again(tmp_path: Path) -> None:
    """One model fewer in the configuration of one process, and nothing would be learned any more, or never of that
    model; or its grades would be looked for in every turn, and count each time."""
    without_two = TWO.replace("  two: {provider: sim, quality: 0.6}\n", "").replace(", two", "")
    async with gateway(tmp_path, TWO) as asked:
        entries = [await served(asked, model="two") for _ in range(3)]
        for entry in entries:
            grade(asked, entry, 1.0)
    async with gateway(tmp_path, without_two) as less:
        grade(less, await served(less, model="one"), 1.0)
        less.learning.study()
        assert grades_of(less) == {"one": 1}
        grade(less, entries[1], 0.5)  # a change of mind
        less.learning.study()
        grade(less, entries[2], 0.5)
        stored = less.ledger.states.latest()
        less.learning.study()
    async with gateway(tmp_path, TWO) as asked:
        assert grades_of(asked) == {"one": 1, "two": 3}
        after = asked.ledger.states.latest()
        asked.learning.study()
        assert stored and after and asked.ledger.states.latest() == after
        assert not decode_lessons(after.state).passed  # type: ignore[union-attr]  # it can be read


def test_few_grades_wait_for_their_model_and_none_that_cannot() -> None:
    """What is stored would grow without end, or a state that was damaged would stop the learning."""
    most = tuple(Passed(number, number, "gone") for number in range(1, MOST_PASSED + 10))
    odd = (Passed(-1, 2, "gone"), Passed(2, 2**63, "gone"), Passed(3, 2, "gone"))
    assert still_passed(Lessons({}, {}, passed=most + odd), 10_000) == most[-MOST_PASSED:]


async def test_a_routed_call_waits_for_the_ledger_beside_the_others(tmp_path: Path) -> None:
    """The first routed call of a process would hold up all that it is serving."""
    async with gateway(tmp_path, TWO) as asked:
        free, begun = threading.Event(), threading.Event()

        def study_slowly() -> None:
            with asked.learning._studying:
                begun.set()
                free.wait(10)

        slow = threading.Thread(target=study_slowly)
        slow.start()
        begun.wait()
        call = asyncio.create_task(asked.ask("Hello!"))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert slow.is_alive() and not call.done()
        free.set()
        assert (await (await call).read()).text
        slow.join()


DEAR = (Weighed("cheap", 0.6, 0.9, cost=100.0), Weighed("dear", 0.5, 0.1, cost=900.0))


async def test_what_exploring_has_cost_counts_for_all_processes(tmp_path: Path) -> None:
    """Each worker, and each command that is run anew, would spend as much on trying out as all of them may."""
    clock = ManualClock()
    async with gateway(tmp_path, TWO, clock=clock) as asked:
        plain = await served(asked)
        tried = structs.replace(
            plain, attempt_id="1" * 32, model="dear", cost=Nanos(900), candidates=DEAR, probability=0.1
        )
        asked.learning.add([tried])
        assert (asked.learning.state.spent, asked.learning.state.explored) == (900, 800)
        for other in (tried, structs.replace(tried, attempt_id="2" * 32, at=plain.at - SPENT_IN - 60)):
            asked.ledger.record(other)
        asked.ledger.flush()
        async with gateway(tmp_path, TWO, clock=clock) as beside:
            assert (beside.learning.state.spent, beside.learning.state.explored) == (900, 800)
            asked.ledger.record(structs.replace(tried, attempt_id="3" * 32))
            asked.ledger.flush()
            clock.advance(RELOAD_EVERY)
            beside.learning.study()
            assert (beside.learning.state.spent, beside.learning.state.explored) == (1800, 1600)


def test_a_conversation_that_stays_with_a_dear_model_explores_nothing() -> None:
    """Long conversations would use up what may be spent on trying out."""
    assert explored("dear", DEAR) == 800
    stays = (structs.replace(DEAR[0], probability=0.0), structs.replace(DEAR[1], probability=1.0))
    assert explored("dear", stays) == 0


async def test_a_state_that_cannot_be_read_is_told_once_and_learned_around(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a step back to an older version, or one damaged row, nothing would ever be learned again."""
    async with gateway(tmp_path, TWO) as asked:
        for number in range(3):
            grade(asked, await served(asked, f"Question {number}?"), 1.0)
        asked.learning.study()
        before = asked.learning.state.evidence
        late = await served(asked)
        grade(asked, late, 1.0)
        newest = asked.ledger.states.latest()
        assert newest is not None
        assert asked.ledger.states.add(StoredState(newest.version + 6, 0.0, newest.through + 1, b"of a time to come"))
    async with gateway(tmp_path, TWO) as again:
        again.learning.study()
        assert sum(grades_of(again).values()) == sum(one.grades for one in before.values()) + 1
        stored = again.ledger.states.latest()
        assert stored is not None and stored.version == newest.version + 7
        assert again.ledger.states.add(StoredState(stored.version + 1, 0.0, 0, b""))
        again.learning.study()
        assert sum(grades_of(again).values()) == 4
    assert caplog.text.count("cannot be read") == 1 and f"version {newest.version + 6}" in caplog.text


@contextmanager
def changed(home: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None)) as connection:
        yield connection


async def test_a_fault_in_studying_is_told_when_it_begins_and_when_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log would have the same line every two seconds, or one damaged row would fail every call."""
    clock = ManualClock()
    async with gateway(tmp_path, TWO, clock=clock) as asked:
        entry = await served(asked)
        grade(asked, entry, 1.0)
        with changed(tmp_path / "home") as connection:
            connection.execute("UPDATE contexts SET status = 'rubbish'")
            for _ in range(3):
                asked.learning.study()
                clock.advance(REST)
            assert caplog.text.count("Grades cannot be studied") == 1
            async with gateway(tmp_path, TWO) as other:
                assert (await (await other.ask("Hello!")).read()).text
            connection.execute("DELETE FROM contexts WHERE status = 'ok'")
            connection.execute("UPDATE contexts SET status = 'ok'")
        asked.learning.study()
        asked.learning.study()
        assert caplog.text.count("studied again") == 1
        assert grades_of(asked) == {"one": 1}


async def test_a_flood_of_grades_is_learned_a_part_at_a_time(tmp_path: Path) -> None:
    """After an import of many grades entries would wait to be stored until all were learned."""
    async with gateway(tmp_path, TWO) as asked:
        entry = await served(asked)
        many = MOST_GRADES * MOST_PORTIONS + 10
        sample = Feedback(entry.call_id, entry.at, 1.0)
        asked.ledger.feedback.add(sample)
        with changed(tmp_path / "home") as connection:
            connection.execute("BEGIN")
            columns = "call_id, attempt_id, at, score, source, reliability, entry, looked, first"
            for number in range(many - 1):
                connection.execute(
                    f"INSERT INTO feedback ({columns}, key) SELECT {columns}, ? FROM feedback WHERE number = 1",
                    (str(number),),
                )
            connection.execute("COMMIT")
        asked.learning.study()
        assert grades_of(asked) == {"one": MOST_GRADES * MOST_PORTIONS}
        asked.learning.study()
        assert grades_of(asked) == {"one": many}


async def test_learning_goes_on_in_another_ledger(tmp_path: Path) -> None:
    """Once the ledger was moved away, a server that runs would learn nothing until it was started again."""
    async with gateway(tmp_path, TWO) as asked:
        for number in range(3):
            grade(asked, await served(asked, f"Question {number}?"), 1.0)
        asked.learning.study()
        assert sum(grades_of(asked).values()) == 3
        with changed(tmp_path / "home") as connection:
            for table in ("feedback", "states", "sqlite_sequence"):
                connection.execute(f"DELETE FROM {table}")
        grade(asked, await served(asked), 1.0)
        asked.learning.study()
        assert sum(grades_of(asked).values()) == 1
