"""`pointsman compare`: the real program, a real upstream, real local models."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cli_upstream import Run

from pointsman.endpoints.local import MODELS, LocalHost, plan, pull
from pointsman.ledger import Ledger

AUSTRALIA = "What is the capital of Australia? One word."
LOCAL = ("smollm2-135m", "qwen2.5-coder-0.5b")


@pytest.fixture
def home_with_both_models(home: Path) -> Iterator[Path]:
    """A home with the two default models in it, pulled once for all tests, and no host left behind."""
    cache = Path(os.environ.get("POINTSMAN_TEST_MODELS") or Path.home() / ".cache" / "pointsman-test-models")
    pull(plan(LOCAL, cache))
    for name in LOCAL:
        path = MODELS[name].path(home)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(MODELS[name].path(cache))
    yield home
    asyncio.run(LocalHost(home).stop())


def test_two_local_models_disagree_about_the_capital_of_australia(run: Run, home_with_both_models: Path) -> None:
    """The README's example, which needs nothing but the local models, would not show what it promises."""
    done = run("compare", AUSTRALIA)
    assert done.returncode == 0, done.stderr
    assert "2 asked, 2 succeeded, 0 failed" in done.stdout
    assert "\n2 answers:\n" in done.stdout
    for said in (
        "Canberra",
        "Sydney",
        "local/smollm2-135m",
        "local/qwen2.5-coder-0.5b",
        "- cost: $0\n",
        "temperature 0",
    ):
        assert said in done.stdout
    assert "local/smollm2-135m: done" in done.stderr
    with Ledger.open(home_with_both_models) as ledger:
        ledger.flush()
        entries = list(ledger.queries.entries())
    assert {(entry.stage, entry.strategy, entry.status, entry.cost) for entry in entries} == {
        (f"local/{name}", "compare", "ok", 0) for name in LOCAL
    }
    assert len({entry.run_id for entry in entries}) == 1 and entries[0].run_id in done.stdout


def test_engines_that_fail_stand_beside_those_that_answer(run: Run, config: Path) -> None:
    """One failing provider would cost the user all other answers."""
    done = run("compare", "Say it.", "--models", "echo,failing,breaking,unpriced", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(e["engine"], e["status"]) for e in report["engines"]] == [
        ("echo", "ok"),
        ("failing", "failed"),
        ("breaking", "broken"),
        ("unpriced", "ok"),
    ]
    echo, failing, breaking, unpriced = report["engines"]
    assert echo["text"] == "you said: Say it." and echo["cost"]["usd"] == "0.00002"
    assert failing["error"]["type"] == "upstream_failed"
    assert breaking["text"].startswith("you said") and breaking["text"] != echo["text"]
    assert unpriced["cost"]["usd"] is None and report["cost"]["usd"] is None
    assert report["agreement"]["unanimous"]


def test_the_exit_code_says_that_nobody_answered(run: Run, config: Path) -> None:
    """A script would go on with a report that holds no answer."""
    done = run("compare", "Say it.", "--models", "failing,breaking", "--config", str(config))
    assert done.returncode == 1
    assert "2 asked, 0 succeeded, 2 failed" in done.stdout


def test_an_engine_that_is_too_slow_is_left_behind(run: Run, config: Path) -> None:
    """The slowest engine would decide when the others are seen."""
    done = run(
        "compare", "Hm?", "--models", "echo,slow", "--timeout", "1.5", "--config", str(config), "--format", "json"
    )
    statuses = {e["engine"]: e["status"] for e in json.loads(done.stdout)["engines"]}
    assert done.returncode == 0 and statuses == {"echo": "ok", "slow": "timeout"}


def test_ctrl_c_prints_what_has_come_so_far(
    config: Path, variables: dict[str, str], upstream: ThreadingHTTPServer
) -> None:
    """Answers that were paid for would be lost because one engine would not end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pointsman", "compare", "Hm?", "--models", "echo,slow", "--config", str(config)],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    told = []
    while "echo: done" not in "".join(told):
        told.append(process.stderr.readline())
        assert told[-1], "".join(told)
    assert upstream.asked.wait(30)  # type: ignore[attr-defined]
    process.send_signal(signal.SIGINT)
    report, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "2 asked, 1 succeeded, 1 failed" in report and "you said: Hm?" in report
    assert "stopped: before all were done" in report
    assert "Traceback" not in errors


def test_paid_models_are_never_asked_unasked(run: Run, config: Path, upstream: ThreadingHTTPServer) -> None:
    """A look at the free models would spend the user's money."""
    done = run("compare", "Hm?", "--config", str(config))
    assert done.returncode == 3
    assert "--models" in done.stderr and "echo" in done.stderr and "models pull" in done.stderr
    assert upstream.seen == []  # type: ignore[attr-defined]


def test_a_single_free_model_is_asked_and_the_paid_ones_are_named(
    run: Run, config: Path, home_with_model: Path, upstream: ThreadingHTTPServer
) -> None:
    """Whoever pulled one model would see no comparison, and not learn how to get one."""
    done = run("compare", "Say hello.", "--max-tokens", "20", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "1 asked, 1 succeeded" in done.stdout
    assert "--models local/smollm2-135m," in done.stderr
    assert upstream.seen == []  # type: ignore[attr-defined]


def test_what_all_were_told_goes_to_every_engine(run: Run, config: Path, upstream: ThreadingHTTPServer) -> None:
    """Engines that were asked different things cannot be compared."""
    options = ("--system", "Be brief.", "--max-tokens", "7", "--temperature", "0.5")
    done = run("compare", "--models", "echo, unpriced,echo", *options, "--config", str(config), stdin="From a pipe")
    assert done.returncode == 0, done.stderr
    assert "temperature 0.5, max_tokens 7, timeout 120 s" in done.stdout
    assert "system: Be brief.\n\nuser: From a pipe" in done.stdout
    seen = upstream.seen  # type: ignore[attr-defined]
    assert sorted(body["model"] for body in seen) == ["echo", "unpriced"]
    for body in seen:
        assert [m["content"] for m in body["messages"]] == ["Be brief.", "From a pipe"]
        assert body["temperature"] == 0.5


def test_models_elsewhere_keep_their_own_temperature(run: Run, config: Path, upstream: ThreadingHTTPServer) -> None:
    """Models that allow no other temperature than their own would refuse every comparison."""
    done = run("compare", "Hm?", "--models", "echo", "--config", str(config))
    assert done.returncode == 0
    assert all("temperature" not in body for body in upstream.seen)  # type: ignore[attr-defined]


def test_escape_sequences_of_a_model_reach_no_terminal(run: Run, config: Path) -> None:
    """An answer could repaint the screen or change the title of the window."""
    for form in ("markdown", "html", "json"):
        done = run("compare", "Hm?", "--models", "rude", "--format", form, "--config", str(config))
        assert done.returncode == 0 and "\x1b" not in done.stdout and "\x07" not in done.stdout


def test_a_terminal_shows_the_report_and_live_progress(config: Path, variables: dict[str, str]) -> None:
    """What people see differs from what a pipe gets, and no other test would notice that it breaks."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pointsman", "compare", "Hm?", "--models", "echo,rude", "--config", str(config)],
        env={**variables, "TERM": "xterm", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = bytearray()
    reader = threading.Thread(target=_read_to_the_end, args=(ours, seen))
    reader.start()
    assert process.wait(60) == 0
    reader.join(10)
    text = seen.decode()
    assert "tokens" in text and "2 asked, 2 succeeded, 0 failed" in text
    assert "you said: Hm?" in text and "red" in text
    assert "\x1b]0;title" not in text and "\x1b[31mred" not in text


def test_html_goes_to_a_file_whole(run: Run, config: Path, tmp_path: Path) -> None:
    """A report that was asked for as a file would be lost in the terminal."""
    file = tmp_path / "report.html"
    done = run(
        "compare", "<b>Hm?</b>", "--models", "echo", "--format", "html", "--output", str(file), "--config", str(config)
    )
    assert done.returncode == 0 and done.stdout == "" and str(file) in done.stderr
    page = file.read_text("utf-8")
    assert page.startswith("<!doctype html>") and "&lt;b&gt;Hm?&lt;/b&gt;" in page and "<b>" not in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "Hm?", "--models", "ecko"), "Did you mean 'echo'"),
        (("compare", "Hm?", "--models", " , "), "names no model"),
        (("compare", "Hm?", "--models", "echo", "--timeout", "nan"), "nan"),
        (("compare", "Hm?", "--models", "echo", "--json", "--format", "html"), "contradict"),
        (("compare", "Hm?", "--models", "echo", "--output", "no/such/folder/report.md"), "There is no folder"),
        (("compare", "--models", "echo"), "prompt is empty"),
    ],
)
def test_a_wrong_command_line_calls_nothing_and_says_what_is_wrong(
    run: Run, config: Path, upstream: ThreadingHTTPServer, arguments: tuple[str, ...], said: str
) -> None:
    """A typo would spend money before it is noticed."""
    done = run(*arguments, "--config", str(config))
    assert done.returncode == 2
    assert said in done.stderr + done.stdout
    assert upstream.seen == []  # type: ignore[attr-defined]


def _read_to_the_end(descriptor: int, into: bytearray) -> None:
    try:
        while data := os.read(descriptor, 65536):
            into += data
    except OSError:
        pass  # Linux says EIO when the last process has let go of the terminal.
    os.close(descriptor)
