"""`pointsman ask`."""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cli_upstream import CANARY, Run, in_a_terminal

from pointsman.ledger import Ledger
from pointsman.routing import Prompt


def test_the_answer_alone_goes_to_standard_output(run: Run, config: Path) -> None:
    """A pipe would carry the bill into whatever comes after it."""
    done = run("ask", "hello", "--model", "echo")
    assert (done.returncode, done.stdout) == (0, "you said: hello\n")
    assert "→ echo" in done.stderr
    assert "first word" in done.stderr
    assert "10 in, 5 out" in done.stderr
    assert "bill: $0.000020 (mine/echo)" in done.stderr


def test_auto_chooses_and_says_for_which_task(run: Run, config: Path) -> None:
    """Nobody would know why this model got the prompt."""
    done = run("ask", "Write a Python function that reverses a string.")
    assert done.returncode == 0
    assert "→ echo · coding, simple" in done.stderr


def test_an_unknown_price_is_told_as_unknown(run: Run, config: Path) -> None:
    """A bill of $0 for a model that costs money."""
    done = run("ask", "hello", "--model", "unpriced")
    assert "bill: unknown (no price is known for mine/unpriced)" in done.stderr
    answer = json.loads(run("ask", "hello", "--model", "unpriced", "--json").stdout)
    assert answer["cost"] == {"usd": None, "list_usd": None}


def test_json_is_one_object_with_everything(run: Run, config: Path) -> None:
    """A script would have to guess what the fields are called."""
    done = run("ask", "hello", "--tag", "a", "--tag", "b", "--json")
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert set(answer) == {
        "text",
        "model",
        "endpoint",
        "finish",
        "usage",
        "cost",
        "ttft_ms",
        "seconds",
        "call_id",
        "decision",
        "error",
    }
    assert answer["text"] == "you said: hello"
    assert (answer["model"], answer["endpoint"], answer["finish"]) == ("echo", "mine/echo", "stop")
    assert answer["usage"] == {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_tokens": 0,
        "reasoning_tokens": 0,
        "estimated": False,
    }
    assert answer["cost"]["usd"] == "0.00002"
    assert 0 < answer["ttft_ms"] <= answer["seconds"] * 1000 + 1
    decision = answer["decision"]
    assert set(decision) == {
        *("id", "task", "complexity", "policy"),
        *("reason", "quality_met", "agreed", "candidates"),
    }
    assert decision["id"] and "echo" in decision["reason"]
    chosen = next(c for c in decision["candidates"] if c["model"] == "echo")
    assert chosen["probability"] == 1.0 and chosen["rejected"] is None


def test_a_named_model_has_no_decision(run: Run, config: Path) -> None:
    """A script would take a call that somebody pinned for one that was routed."""
    assert json.loads(run("ask", "hello", "--model", "echo", "--json").stdout)["decision"] is None


def test_what_a_named_model_was_asked_is_recorded_for_learners(run: Run, config: Path, home: Path) -> None:
    """A grade of that answer would tell of the model's level alone, and no router could be fitted on it."""
    assert run("ask", "How do I reverse a list in Python?", "--model", "echo").returncode == 0
    with Ledger.open(home) as ledger:
        (entry,) = ledger.queries.recent(1)
    read = Prompt.decode(entry.features)
    assert (entry.decision_id, read.task) == ("", "coding") and read.vector


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [
        (("ask", "--model", "echo"), "from a pipe", "you said: from a pipe\n"),
        (("ask", "first", "--model", "echo"), "second", "you said: first\n\nsecond\n"),
        (("ask", "only", "--model", "echo"), "", "you said: only\n"),
        (("ask", "größer ↔ 🚂", "--model", "echo"), "", "you said: größer ↔ 🚂\n"),
    ],
)
def test_the_prompt_comes_from_both_sides(
    run: Run, config: Path, arguments: tuple[str, ...], stdin: str, expected: str
) -> None:
    """`git diff | pointsman ask "…"` would lose one of its halves."""
    assert run(*arguments, stdin=stdin).stdout == expected


def test_a_pipe_that_nobody_writes_to_does_not_hold_up_a_prompt(variables: dict[str, str], config: Path) -> None:
    """A job that inherits an open pipe would hang for ever."""
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pointsman", "ask", "hello", "--model", "echo"],
            stdin=reading,
            capture_output=True,
            env=variables,
            timeout=60,
            check=True,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert done.stdout == b"you said: hello\n"
    assert b"Nothing came on standard input" in done.stderr


@pytest.mark.parametrize("stdin", ["", "  \n\t\n"])
def test_no_prompt_is_a_usage_error(run: Run, config: Path, stdin: str) -> None:
    """Money would be spent on nothing."""
    assert run("ask", stdin=stdin).returncode == 2
    done = run("ask", "--json", stdin=stdin)
    assert (done.returncode, json.loads(done.stdout)["error"]["type"]) == (2, "invalid_call")


def test_what_is_no_text_is_asked_with_its_bytes_replaced(run: Run, config: Path) -> None:
    """A log with one bad byte in it could not be asked about, or would be sent changed without a word."""
    done = run("ask", stdin=b"hello \xff there")
    assert (done.returncode, done.stdout) == (0, "you said: hello \ufffd there\n")
    assert "not all UTF-8 text" in done.stderr and "1 place." in done.stderr


def test_a_stream_that_breaks_never_looks_finished(run: Run, config: Path) -> None:
    """Half an answer would be taken for a whole one."""
    done = run("ask", "hello there", "--model", "breaking")
    assert done.returncode == 1
    assert done.stdout.startswith("you said") and "there" not in done.stdout
    assert "broken: " in done.stderr
    assert "bill: unknown" in done.stderr or "bill: $" in done.stderr
    whole = run("ask", "hello there", "--model", "breaking", "--json")
    answer = json.loads(whole.stdout)
    assert (whole.returncode, answer["finish"], answer["error"]["type"]) == (1, None, "broken_reply")


def test_json_keeps_what_came_before_a_stream_broke(run: Run, config: Path) -> None:
    """What was paid for would be thrown away, and nobody would know what it came to."""
    answer = json.loads(run("ask", "hello there", "--model", "breaking", "--json").stdout)
    assert answer["text"] == "you said:"
    assert answer["usage"]["estimated"] and answer["usage"]["output_tokens"] > 0
    assert answer["error"]["message"]
    assert json.loads(run("ask", "hello", "--model", "echo", "--json").stdout)["error"] is None


@pytest.mark.parametrize("model", ["auto", "echo", "both", "strict"])
def test_a_quality_that_nothing_has_is_said(run: Run, config: Path, model: str) -> None:
    """Whoever asks for 0.95 would take an answer of 0.90 for one."""
    strict = "modes:\n  strict: {candidates: [echo], min_quality: 0.95}\n"
    config.write_text(config.read_text("utf-8").replace("modes:\n", strict), "utf-8")
    asked = () if model == "strict" else ("--quality", "0.95")
    done = run("ask", "hello", "--model", model, *asked)
    assert (done.returncode, done.stdout) == (0, "you said: hello\n")
    assert "quality 0.95 was asked for: " in done.stderr and "no candidate reaches it." in done.stderr
    if model in ("auto", "strict"):
        decision = json.loads(run("ask", "hello", "--model", model, *asked, "--json").stdout)["decision"]
        assert decision["quality_met"] is False


def test_what_several_say_is_told_with_its_bill(run: Run, config: Path) -> None:
    """Three calls would be shown as one, and the loser's tokens as the answer's."""
    voted = "modes:\n  voted: {rules: bounds, candidates: [echo, mine/two, mine/three]}\n"
    config.write_text(config.read_text("utf-8").replace("modes:\n", voted), "utf-8")
    done = run("ask", "hello", "--model", "voted", "--quality", "0.96")
    assert done.stdout == "you said: hello\n" and "of 3 say so" in done.stderr and "unknown (" in done.stderr
    answer = json.loads(run("ask", "hello", "--model", "voted", "--quality", "0.96", "--json").stdout)
    assert answer["decision"]["agreed"]["asked"] == 3 and "asked at once" in answer["decision"]["reason"]
    graded = json.loads(run("feedback", "--last", "--good", "--json").stdout)
    assert (graded["call_id"], graded["model"]) == (answer["call_id"], answer["model"])


def test_a_quality_that_is_there_needs_no_word(run: Run, config: Path) -> None:
    """A warning that always comes warns of nothing."""
    assert "was asked for" not in run("ask", "hello", "--quality", "0.9").stderr
    assert json.loads(run("ask", "hello", "--quality", "0.9", "--json").stdout)["decision"]["quality_met"] is True
    assert json.loads(run("ask", "hello", "--json").stdout)["decision"]["quality_met"] is None


def test_the_task_is_read_from_the_instruction_not_from_the_material(run: Run, config: Path) -> None:
    """`pointsman ask "Translate this" < program.py` would go to a model that is good at programs."""
    material = "def add(a, b):\n    return a + b\n" * 20
    assert "→ echo · translation, " in run("ask", "Translate this into French.", stdin=material).stderr
    assert "→ echo · coding, " in run("ask", stdin=material).stderr
    stated = run("ask", "Translate this into French.", "--task", "summary", stdin=material)
    assert "→ echo · summary, " in stated.stderr
    routed = json.loads(run("route", "Translate this into French.", "--json", stdin=material).stdout)
    assert routed["task"] == "translation"
    mode = "modes:\n  sums: {task: summary}\n"
    config.write_text(config.read_text("utf-8").replace("modes:\n", mode), "utf-8")
    by_mode = run("ask", "Translate this into French.", "--model", "sums", stdin=material)
    assert "→ echo · summary, " in by_mode.stderr


def test_an_answer_that_ends_in_empty_lines_is_still_an_answer(run: Run, config: Path) -> None:
    """A whole answer would be followed by the word that there was none."""
    assert "wrote no text" not in run("ask", "hello" + "\n" * 12, "--model", "echo").stderr


def test_a_terminal_gets_whole_words_and_a_pipe_the_text_as_it_is(
    run: Run, variables: dict[str, str], config: Path
) -> None:
    """Words would be cut in two at the edge of the terminal."""
    prompt = " ".join(["pointsman"] * 12)
    out = in_a_terminal(variables, "ask", prompt, "--model", "echo", columns=40)
    answer = out[out.index("you said") : out.index("→")].replace("\r\n", "\n")
    lines = [line.split("\x1b")[0].rstrip() for line in answer.splitlines()]
    assert max(map(len, lines)) <= 40
    assert " ".join(line for line in lines if line) == f"you said: {prompt}"
    assert run("ask", prompt, "--model", "echo").stdout == f"you said: {prompt}\n"


def test_a_cut_off_answer_says_so(run: Run, config: Path) -> None:
    """Nobody would know that the end is missing."""
    assert "cut off" in run("ask", "hello", "--model", "short").stderr


@pytest.mark.fault(104, "The key is blanked in what the command line prints.")
def test_a_failing_upstream_is_told_without_its_key(run: Run, config: Path) -> None:
    """A provider that quotes our key in its error would have it printed. (`run` looks for the canary.)"""
    done = run("ask", "hello", "--model", "failing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pointsman: " in done.stderr
    assert json.loads(run("ask", "hello", "--model", "failing", "--json").stdout)["error"]["type"] == "upstream_failed"


def test_a_call_takes_no_longer_than_its_timeout(run: Run, config: Path) -> None:
    """A script would wait for a provider that hangs for as long as the configuration says, or try it again."""
    for model in ("slow", "both-slow"):
        if model == "both-slow":
            config.write_text(
                config.read_text("utf-8").replace("pools:\n", "pools:\n  both-slow: {members: [slow, slow]}\n", 1),
                "utf-8",
            )
        started = time.monotonic()
        done = run("ask", "hello", "--model", model, "--timeout", "0.5", "--json")
        assert (done.returncode, json.loads(done.stdout)["error"]["type"]) == (1, "timeout")
        assert time.monotonic() - started < 15
    assert run("ask", "hello", "--timeout", "0").returncode == 2


def test_debug_shows_where_a_failure_came_from(variables: dict[str, str], config: Path) -> None:
    """A bug report would say nothing."""
    command = [sys.executable, "-m", "pointsman", "--debug", "ask", "hello", "--model", "failing"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=variables, timeout=60, check=False
    )
    assert done.returncode == 1
    assert b"Traceback" in done.stderr
    assert CANARY.encode() not in done.stderr


def test_escape_sequences_never_reach_a_pipe(run: Run, config: Path) -> None:
    """A model could rewrite the terminal that shows the file later."""
    out = run("ask", "hello", "--model", "rude").stdout
    assert "\x1b" not in out
    assert out == "red bell\x07 done\n"


@pytest.mark.fault(108, "No escape of a model's answer reaches a terminal.")
def test_a_terminal_gets_neither_escapes_nor_bells(variables: dict[str, str], config: Path) -> None:
    """A model could move the cursor, or show another text than it wrote."""
    out = in_a_terminal(variables, "ask", "hello", "--model", "rude")
    answer = out.replace("\r\n", "\n")
    assert "red bell done\n" in answer
    assert "\x07" not in out and "title" not in answer


def test_no_color_takes_the_colours_away(variables: dict[str, str], config: Path) -> None:
    """Whoever cannot read dim text could not switch it off."""
    assert "\x1b[2m" in in_a_terminal(variables, "ask", "hello", "--model", "echo")
    plain = in_a_terminal({**variables, "NO_COLOR": "1", "TERM": "dumb"}, "ask", "hello", "--model", "echo")
    assert "\x1b[3" not in plain


def test_explain_shows_the_candidates_first(run: Run, config: Path) -> None:
    """The choice would be made out of sight."""
    done = run("ask", "hello", "--explain")
    assert done.stdout == "you said: hello\n"
    assert done.stderr.index("quality") < done.stderr.index("→ echo")
    assert "models need OPENAI_API_KEY" in done.stderr


def test_nothing_set_up_says_the_three_things_to_do(run: Run) -> None:
    """A newcomer would stand before a list of seventy reasons."""
    done = run("ask", "hello")
    assert (done.returncode, done.stdout) == (3, "")
    for advice in ("pointsman models pull", "OPENAI_API_KEY", "ollama serve"):
        assert advice in done.stderr
    error = json.loads(run("ask", "hello", "--json").stdout)["error"]
    assert error["type"] == "no_candidate" and "pointsman models pull" in error["message"]


def test_needs_that_nothing_meets_are_told_with_reasons(run: Run, config: Path) -> None:
    """A budget that cannot be kept would be broken, or its refusal not understood."""
    done = run("ask", "hello", "--budget", "0.0000001")
    assert done.returncode == 3
    assert "the budget is" in done.stderr
    private = run("ask", "hello", "--local-only")
    assert private.returncode == 3 and "must stay on this machine" in private.stderr


def test_a_budget_holds_for_a_named_model_too(run: Run, config: Path, upstream: ThreadingHTTPServer) -> None:
    """Naming a model would switch off the budget, and the privacy."""
    assert run("ask", "hello", "--model", "echo", "--budget", "0.0000001").returncode == 3
    assert run("ask", "hello", "--model", "echo", "--local-only").returncode == 3
    assert run("ask", "hello", "--model", "both", "--local-only").returncode == 3
    assert upstream.seen == []  # type: ignore[attr-defined]


def test_a_pool_serves(run: Run, config: Path) -> None:
    """A name that the configuration gives would be of no use here."""
    assert run("ask", "hello", "--model", "both").stdout == "you said: hello\n"


def test_an_unknown_model_is_told_with_the_nearest_names(run: Run, config: Path) -> None:
    """A slip of the pen would cost a search through the documentation."""
    done = run("ask", "hello", "--model", "ecko")
    assert done.returncode == 2
    assert "'echo'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--budget", "nan"),
        ("--budget", "1e99999999"),
        ("--budget=-1",),
        ("--quality", "nan"),
        ("--quality", "2"),
        ("--max-latency", "inf"),
        ("--temperature", "hot"),
        ("--max-tokens", "0"),
        ("--task", "codnig"),
        ("--priority", "best"),
    ],
)
def test_absurd_options_are_usage_errors(run: Run, config: Path, arguments: tuple[str, ...]) -> None:
    """NaN passes every comparison: a budget of NaN is none."""
    assert run("ask", "hello", *arguments).returncode == 2


def test_a_reader_that_goes_away_is_no_failure_to_shout_about(variables: dict[str, str], config: Path) -> None:
    """`pointsman ask … | head -1` would end in a traceback."""
    command = f"{sys.executable} -m pointsman ask hello --model echo </dev/null | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=variables, timeout=60, check=False)
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr


def test_ctrl_c_ends_a_call_and_the_ledger_knows(
    run: Run, variables: dict[str, str], config: Path, upstream: ThreadingHTTPServer
) -> None:
    """What was broken off would be missing in the record, though it may be billed."""
    command = [sys.executable, "-m", "pointsman", "ask", "hello", "--model", "slow"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables
    )
    assert upstream.asked.wait(30)  # type: ignore[attr-defined]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, b"interrupted" in err, b"Traceback" in err) == (b"", True, False)
    entries = json.loads(run("ledger", "show", "--json").stdout)["entries"]
    assert [(entry["model"], entry["status"]) for entry in entries] == [("slow", "cancelled")]


@pytest.mark.fault(78, "Nothing is asked that could not be recorded.")
def test_nothing_is_asked_that_cannot_be_recorded(run: Run, config: Path, upstream: ThreadingHTTPServer) -> None:
    """A full or forbidden disk would let calls be paid that no ledger knows of."""
    nowhere = config.parent / "a-file"
    nowhere.write_text("in the way", "utf-8")
    done = run("ask", "hello", "--model", "echo", "--config", str(config), POINTSMAN_HOME=str(nowhere / "home"))
    assert (done.returncode, done.stdout) == (4, "")
    assert upstream.seen == []  # type: ignore[attr-defined]


def test_without_a_standard_output_it_ends_without_a_traceback(variables: dict[str, str], config: Path) -> None:
    """A job that closes what it does not read would fail in the middle of Python."""
    command = 'exec "$0" -m pointsman ask hello --model echo >&-'
    done = subprocess.run(["sh", "-c", command, sys.executable], env=variables, stderr=subprocess.PIPE, timeout=60)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0


def test_a_pool_keeps_the_needs_of_a_call(run: Run, config: Path) -> None:
    """A private prompt would leave the machine through a pool."""
    done = run("ask", "hello", "--model", "both", "--local-only")
    assert (done.returncode, done.stdout) == (3, "")
    assert "must stay on this machine" in done.stderr
