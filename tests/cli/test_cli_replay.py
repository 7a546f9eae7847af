"""`pointsman replay`: recorded traffic decided anew, by the real program and from a real ledger."""

import json
import math
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_upstream import Run, in_a_terminal
from msgspec import structs

from pointsman.cli.replay import read_policy
from pointsman.core import ConfigError, InvalidCall, Usage
from pointsman.ledger import Ledger
from recorded_traffic import BEGIN, MODELS, Simulated, simulate, without_estimates

SINCE = "2026-11-18"


def record(home: Path, simulated: Simulated) -> None:
    with Ledger.open(home) as ledger:
        for entry in simulated.entries:
            ledger.record(entry)
        ledger.flush()
        for feedback in simulated.feedback:
            ledger.feedback.add(feedback)


@pytest.fixture
def explored(home: Path, config: Path) -> Simulated:
    """600 decisions of a policy that tries other models, all graded."""
    simulated = simulate(1, 600, explored=0.5)
    record(home, simulated)
    return simulated


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """Variables under which the program dies where it so much as makes a socket."""
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def no_socket(event, arguments):\n"
        "    if event.startswith('socket.'):\n"
        "        os.write(2, f'opened: {event} {arguments}'.encode())\n"
        "        os._exit(99)\n"
        "sys.addaudithook(no_socket)\n",
        "utf-8",
    )
    return {"PYTHONPATH": str(guard)}


def replayed(run: Run, *arguments: str, **variables: str) -> dict[str, Any]:
    done = run("replay", "--since", SINCE, *arguments, "--json", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("policy", ["always:mid", "cheapest", "frugal", "logged"])
def test_estimates_hold_the_truth(run: Run, explored: Simulated, policy: str) -> None:
    """What a ledger keeps of a decision would not do to judge another policy by."""
    report = replayed(run, "--policy", policy)
    assert report["decisions"] == 600 and report["policy"] == policy and not report["left_out"]
    _, _, robust, _ = report["cost_usd"]["policy"]
    if policy in ("always:mid", "cheapest"):
        model = "mid" if policy == "always:mid" else "small"
        truth = sum(one.cost[model] for one in explored.truths.values()) / 600 / 1e9
        assert float(robust["low"]) <= truth <= float(robust["high"])
        quality = report["quality"]["policy"][2]
        truth = sum(one.quality[model] for one in explored.truths.values()) / 600
        assert quality["low"] <= truth <= quality["high"]
    if policy == "logged":
        assert report["changed"] == 0 and report["savings"]["saved_usd"] == "0"
    else:
        assert report["changed"] > 0 and float(report["savings"]["saved_usd"]) > 0


def test_the_same_ledger_and_seed_give_the_same_bytes(start: Run, explored: Simulated) -> None:
    """CI could not tell a change of policy from chance."""
    command = ("replay", "--policy", "always:mid", "--since", SINCE, "--show", "5")
    for form in ((), ("--json",)):
        one, same, other = (start(*command, *form, "--seed", seed).stdout for seed in ("3", "3", "4"))
        assert one and one == same
        assert one != other


def test_nothing_is_called(
    start: Run, explored: Simulated, offline: dict[str, str], upstream: ThreadingHTTPServer
) -> None:
    """A replay of a month would be paid for once more."""
    assert replayed(start, "--policy", "frugal", **offline)["decisions"] == 600
    assert upstream.seen == []  # type: ignore[attr-defined]


def test_the_guard_against_sockets_bites(start: Run, config: Path, offline: dict[str, str]) -> None:
    """The test above would pass whatever a replay did."""
    assert start("ask", "hello", "--model", "echo", **offline).returncode == 99


def test_people_get_a_table_that_fits_their_terminal(variables: dict[str, str], explored: Simulated) -> None:
    """Lines would break in the middle of a figure."""
    shown = in_a_terminal(
        {**variables, "NO_COLOR": "1", "TERM": "dumb"},
        *("replay", "--policy", "always:big", "--since", SINCE, "--show", "2"),
    )
    assert all(len(line.rstrip()) <= 80 for line in shown.splitlines()), shown
    for expected in ("Policy always:big on 600 decisions", "policy, SNIPS", "n_eff", "Net extra cost: $", "tried with"):
        assert expected in shown
    assert "Not in net savings: limits" in " ".join(shown.split())


def test_a_log_that_cannot_tell_says_so(run: Run, home: Path, config: Path) -> None:
    """A guess would look like a measurement."""
    simulated = simulate(1, 200, explored=0.0, graded=0.05)
    record(home, simulated)
    done = run("replay", "--policy", "cheapest", "--since", SINCE)
    assert done.returncode == 0
    assert "Net savings: the log cannot tell." in done.stdout
    assert "taken with probability 1" in done.stdout and "Would help: " in done.stdout
    assert 0 < len(simulated.feedback) < 30
    assert f"graded: {len(simulated.feedback)} of 200" in done.stdout


def test_decisions_without_estimates_are_counted_and_told(run: Run, home: Path, config: Path) -> None:
    """An old ledger would look as if nothing had been decided."""
    with Ledger.open(home) as ledger:
        for entry in without_estimates(simulate(1, 40, failing=0.0).entries):
            ledger.record(entry)
    done = run("replay", "--policy", "cheapest", "--since", SINCE)
    assert done.returncode == 0 and "None of 40 recorded decisions can be decided anew" in done.stderr
    assert "40: nothing was recorded of what was expected" in done.stderr
    report = replayed(run, "--policy", "always:anything")
    assert report["decisions"] == 0 and report["left_out"][0]["decisions"] == 40


def test_what_was_tampered_with_is_counted_and_told(run: Run, home: Path, config: Path) -> None:
    """A grade of 5 would make a mean of 2, one of letters a traceback, and damaged entries would be missing unseen."""
    record(home, simulate(1, 60, failing=0.0))
    with closing(sqlite3.connect(home / "ledger.sqlite")) as ledger, ledger:
        for number, rubbish in enumerate((5.0, -3.0, "abc", b"xx", math.inf), 1):
            ledger.execute("UPDATE feedback SET score = ? WHERE number = ?", (rubbish, number))
        ledger.execute("UPDATE feedback SET reliability = 'much' WHERE number = 7")
        ledger.execute("UPDATE feedback SET at = 'noon' WHERE number = 8")
        ledger.execute("UPDATE feedback SET source = 'nobody' WHERE number = 9")
        ledger.execute("UPDATE entries SET details = x'ff00ff' WHERE number <= 4")
    report = replayed(run, "--policy", "logged")
    assert (report["decisions"], report["unreadable_grades"]) == (56, 8)
    assert [(one["decisions"], one["why"][:30]) for one in report["left_out"]] == [
        (4, "what was weighed cannot be rea")
    ]
    assert 0 <= report["quality"]["logged"]["value"] <= 1
    shown = run("replay", "--policy", "logged", "--since", SINCE).stdout
    assert "Left out, 4 decisions: what was weighed cannot be read" in shown
    assert "Left out, 8 grades of the whole ledger" in shown
    assert json.loads(run("models", "--json").stdout)["models"]


def test_caches_that_are_lost_are_priced_as_configured(run: Run, home: Path, config: Path) -> None:
    """Savings would be net of caches in the library alone."""
    priced = "".join(
        f"  {name}: {{provider: mine, price: {{input: 10, output: 2, cache_read: 1}}}}\n" for name in MODELS
    )
    config.write_text(config.read_text("utf-8").replace("models:\n", f"models:\n{priced}", 1), "utf-8")
    simulated = simulate(1, 200, explored=0.5, failing=0.0)
    entries = [
        structs.replace(entry, conversation="0123456789abcdef", usage=Usage(input=10, cache_read=1000, output=5))
        for entry in simulated.entries
    ]
    record(home, Simulated(tuple(entries), (), {}))
    report = replayed(run, "--policy", "performance")
    savings = report["savings"]
    assert savings["saved_usd"] and savings["conversations"] == 1 and savings["caches_unknown"] <= len(MODELS)
    lost = savings["cache_tokens_lost"]
    assert savings["switches"] > 0 < lost and float(savings["cache_usd_lost"]) > 0
    shown = run("replay", "--policy", "performance", "--since", SINCE).stdout
    assert "In 1 conversation of several turns the policy changes the model" in shown
    assert f": {lost:,} tokens would be read anew" in shown


def test_calls_that_named_their_model_were_not_decided(run: Run, config: Path) -> None:
    """Whoever names models would look for a fault."""
    run("ask", "hello", "--model", "echo")
    done = run("replay", "--policy", "cheapest", "--since", "1h")
    assert done.returncode == 0 and "named their model" in done.stderr
    long_ago = ("--since", "2001-01-01", "--until", "2001-02-01")
    assert "Nothing was recorded" in run("replay", "--policy", "cheapest", *long_ago).stderr
    turned = run("replay", "--policy", "cheapest", "--until", "2001-01-01")
    assert turned.returncode == 2 and "must be later than `since`" in turned.stderr


def test_only_the_time_that_was_asked_for_counts(run: Run, explored: Simulated) -> None:
    """A week would be judged by a month."""
    until = datetime.fromtimestamp(BEGIN + 60 * 100, UTC).isoformat()
    report = replayed(run, "--policy", "logged", "--until", until)
    assert (report["decisions"], report["until"]) == (100, until)


def test_a_calls_own_decision_can_be_replayed(run: Run, config: Path) -> None:
    """What the gateway records would not be what a replay needs."""
    assert run("ask", "hello", "--model", "auto").returncode == 0
    report = replayed(run, "--policy", "performance")
    assert (report["decisions"], report["left_out"]) == (1, [])


def test_weights_of_ones_own_are_read_from_a_file(run: Run, explored: Simulated, tmp_path: Path) -> None:
    """Only the weights that ship could be tried."""
    file = tmp_path / "mine.yaml"
    file.write_text("weights: {quality: 1, cost: 0, latency: 0, quota: 2}\nmodels: [small, mid]\n", "utf-8")
    report = replayed(run, "--policy", str(file), "--show", "20")
    assert report["policy"] == "mine.yaml" and report["changed"] > 0
    assert {one["would"] for one in report["shown"]} <= {"small", "mid"}
    assert any("quota" in remark and "count for nothing" in remark for remark in report["remarks"])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("weights:\n  quality: 1\n  cost: much\n", 3, "a number is needed"),
        ("weights:\n  quality: true\n", 2, "a number is needed"),
        ("weights:\n  quality: .nan\n", 2, "a number from 0 up is needed"),
        ("weights:\n  cost: .inf\n", 2, "a number from 0 up is needed"),
        ("weights:\n  cost: -1\n", 2, "a number from 0 up is needed"),
        (f"weights:\n  cost: 1{'0' * 400}\n", 2, "is needed"),
        ("weights:\n  qualty: 1\n", 2, "Did you mean 'quality'?"),
        ("weights: {}\nmodel: [mid]\n", 2, "Did you mean 'models'?"),
        ("weights: {}\nmodels:\n- mid\n- bog\n", 4, "Did you mean 'big'?"),
        ("models: [mid]\n", 1, "'weights' is missing"),
        ("", None, "'weights' is missing"),
        ("weights: {cost: 1, cost: 2}\n", 1, "stands here twice"),
        ("weights: [1\n", 2, "This is not YAML"),
        ("weights: !!python/object:os.system {}\n", 1, "is not read"),
        ("a: &a [1]\nb: *a\nweights: {}\n", 1, "There is no such key"),
    ],
)
def test_a_policy_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int | None, said: str) -> None:
    """A slip of the pen would be judged as if it were meant."""
    file = tmp_path / "mine.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as refused:
        read_policy(str(file), MODELS)
    assert (refused.value.file, refused.value.line) == (str(file), line)
    assert said in refused.value.message


def test_a_refused_policy_file_is_told_by_the_program(run: Run, explored: Simulated, tmp_path: Path) -> None:
    """The line would get lost on its way to whoever wrote it."""
    file = tmp_path / "mine.yaml"
    file.write_text("weights:\n  cost: much\n", "utf-8")
    done = run("replay", "--policy", str(file), "--since", SINCE)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{file}:2: `weights.cost`" in done.stderr
    file.unlink()
    assert "There is no such file" in run("replay", "--policy", str(file), "--since", SINCE).stderr


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("frugl", "Did you mean 'frugal'?"),
        ("zzz", "There are: performance"),
        ("", "There is no policy ''"),
        ("always:", "is followed by a model's name"),
        ("always:bog", "Did you mean 'big'?"),
    ],
)
def test_what_is_no_policy_is_refused(policy: str, said: str) -> None:
    """Another policy than the one that was meant would be judged."""
    with pytest.raises(InvalidCall, match=re.escape(said)):
        read_policy(policy, MODELS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--policy", "frugl"), "Did you mean 'frugal'?"),
        (("--policy", "cheapest", "--since", "yesterday"), "is no time"),
        (("--policy", "cheapest", "--show", "many"), "--show"),
        ((), "--policy"),
    ],
)
def test_a_wrong_command_line_is_refused(run: Run, config: Path, arguments: tuple[str, ...], said: str) -> None:
    """A misspelt option would silently mean something else."""
    done = run("replay", *arguments)
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr


def test_names_from_the_ledger_move_no_cursor(run: Run, home: Path, config: Path) -> None:
    """A model's name that somebody else chose would write over the table."""
    simulated = simulate(1, 60)
    odd = "\x1b[31mbig\x1b[0m"
    renamed = [
        type(entry)(**{name: getattr(entry, name) for name in entry.__struct_fields__} | {"task": odd})
        for entry in simulated.entries
    ]
    record(home, Simulated(tuple(renamed), simulated.feedback, simulated.truths))
    for form in ((), ("--json",)):
        out = run("replay", "--policy", "cheapest", "--since", SINCE, "--show", "3", *form).stdout
        assert out and "\x1b" not in out
