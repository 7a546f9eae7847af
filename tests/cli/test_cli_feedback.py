"""`pointsman feedback`: what a user says of an answer."""

import json
import re
import sqlite3
from pathlib import Path

import pytest
from cli_upstream import Run

from pointsman.ledger import Ledger


def calls(run: Run) -> list[str]:
    """The ids of all calls, the oldest first."""
    return [json.loads(line)["call_id"] for line in run("ledger", "export").stdout.splitlines()]


def kept(home: Path) -> list[tuple[str, float, str, str]]:
    with Ledger.open(home) as ledger:
        found = [one.feedback for one in ledger.feedback.graded()]
        return [(one.call_id, one.score, one.source, one.key) for one in found]


@pytest.mark.parametrize(
    ("grade", "score"), [(["--good"], 1.0), (["--bad"], 0.0), (["--score", "0.8"], 0.8), (["--score", "0"], 0.0)]
)
def test_the_latest_answer_is_graded(run: Run, config: Path, home: Path, grade: list[str], score: float) -> None:
    """Whoever has just read an answer would have to look for its id."""
    run("ask", "Write a Python function that reverses a string.", "--model", "solid")
    run("ask", "Write a Python function that reverses a string.", "--model", "solid")
    done = run("feedback", "--last", *grade)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "echo (coding)" in line and f"{score:g} of 1" in line
    assert kept(home) == [(calls(run)[-1], score, "user", "")]


def test_a_grade_is_shown_with_its_call(run: Run, config: Path, home: Path) -> None:
    """Nobody could see what was said of an answer, nor correct it."""
    run("ask", "hello", "--model", "echo")
    run("feedback", "--last", "--score", "0.25")
    (call_id,) = calls(run)
    assert "0.25 of 1 (user)" in run("ledger", "show", call_id).stdout
    (told,) = json.loads(run("ledger", "show", call_id, "--json").stdout)["grades"]
    assert (told["call_id"], told["score"], told["source"]) == (call_id, 0.25, "user")


def test_a_judge_is_told_from_a_user(run: Run, config: Path, home: Path) -> None:
    """What a model says of another model's answers would count as much as what people say of them."""
    run("ask", "hello", "--model", "echo")
    run("feedback", "--last", "--good")
    done = run("feedback", "--last", "--score", "0.25", "--source", "judge", "--reliability", "0.5")
    assert "0.25 of 1 by a judge" in done.stdout, done.stderr
    (call_id,) = calls(run)
    assert kept(home) == [(call_id, 1.0, "user", ""), (call_id, 0.25, "judge", "")]
    assert "0.25 of 1 (judge, reliability 0.5)" in run("ledger", "show", call_id).stdout
    for wrong in (["--source", "automatic"], ["--reliability", "2"]):
        assert run("feedback", "--last", "--good", *wrong).returncode == 2


def test_the_beginning_of_an_id_will_do(run: Run, config: Path, home: Path) -> None:
    """Nobody types 32 digits."""
    run("ask", "hello", "--model", "echo")
    (call_id,) = calls(run)
    (attempt_id,) = [json.loads(line)["attempt_id"] for line in run("ledger", "export").stdout.splitlines()]
    for name in (call_id, call_id[:13], attempt_id):
        report = json.loads(run("feedback", name, "--good", "--json").stdout)
        assert (report["call_id"], report["model"], report["score"]) == (call_id, "echo", 1.0)
    assert len(kept(home)) == 1


def test_a_beginning_that_is_not_of_one_call_is_told(run: Run, config: Path, home: Path) -> None:
    """The wrong answer would be graded."""
    run("ask", "hello", "--model", "echo")
    run("ask", "hello", "--model", "echo")
    common = calls(run)[0][:4]
    for name, says in ((common, "2 calls begin with"), ("zz", "no call"), ("%", "no call"), ("", "no call")):
        done = run("feedback", name, "--good")
        assert done.returncode == 2 and says in done.stderr, done.stderr
    assert kept(home) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--last"],
        ["--last", "--good", "--bad"],
        ["--last", "--good", "--score", "1"],
        ["--good"],
        ["abc", "--last", "--good"],
        ["--last", "--score", "2"],
        ["--last", "--score", "nan"],
        ["--last", "--score", "good"],
    ],
)
def test_what_is_no_grade_is_a_usage_error(run: Run, config: Path, arguments: list[str]) -> None:
    """A slip would grade the wrong call, or grade it wrongly."""
    assert run("feedback", *arguments).returncode == 2


def test_nothing_to_grade_is_told(run: Run, config: Path) -> None:
    """A traceback, or thanks for nothing."""
    done = run("feedback", "--last", "--good")
    assert done.returncode == 2 and "Nothing was recorded yet" in done.stderr
    run("ask", "hello", "--model", "failing")
    done = run("feedback", "--last", "--bad", "--json")
    assert done.returncode == 2
    assert "no answer to grade" in json.loads(done.stderr or done.stdout)["error"]["message"]


def test_a_second_grade_takes_the_place_of_the_first(run: Run, config: Path, home: Path) -> None:
    """One user would count twice."""
    run("ask", "hello", "--model", "echo")
    run("feedback", "--last", "--good")
    run("feedback", "--last", "--bad")
    assert [score for _, score, _, _ in kept(home)] == [0.0]


def test_no_word_of_the_prompt_is_kept_with_a_grade(run: Run, config: Path, home: Path) -> None:
    """The ledger would hold what the user was promised that it does not."""
    run("ask", "my secret plan", "--model", "echo")
    run("feedback", "--last", "--good")
    with sqlite3.connect(home / "ledger.sqlite") as connection:
        assert "secret" not in "".join(connection.iterdump())


def test_what_users_say_is_shown_beside_what_is_stated(run: Run, config: Path) -> None:
    """Nobody would see that a model does worse than it is said to."""
    for prompt, grade in (("Write a Python function.", "0.25"), ("Write a Python function.", "0.75")):
        run("ask", prompt, "--model", "solid")
        run("feedback", "--last", "--score", grade)
    row = next(one for one in json.loads(run("models", "--json").stdout)["models"] if one["id"] == "echo")
    measured = row["measured"]
    assert (measured["mean_grade"], measured["grades"]) == (5.0, 2)
    assert 5.0 < measured["quality"] < row["stated_quality"] == 9.0, "two grades move little"
    shown = run("models").stdout + run("models").stderr
    assert re.search(r"^echo +9 → [5-8][.\d]* .* 2: 5\.0$", shown, re.MULTILINE)
