"""`pointsman models`: the matrix, the whole price library, and the local models."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_upstream import Run, in_a_terminal

from pointsman.core import Nanos, Usage
from pointsman.ledger import Entry, Feedback, Ledger

NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "PIP_RETRIES": "0"}
"""No proxy is there, so nothing outside this machine can be reached; and pip does not try five times."""


def test_the_matrix_shows_prices_and_what_is_missing(run: Run, config: Path) -> None:
    """Models could not be compared, or would be chosen that cannot serve."""
    out = run("models")
    lines = {line.split()[0]: line.split() for line in out.stdout.splitlines() if line}
    assert lines["echo"][1:4] == ["paid", "1.00", "2.00"] and lines["echo"][-1] == "yes"
    assert lines["unpriced"][2:4] == ["?", "?"]
    assert lines["gpt-5"][8:] == ["no", "complex", "reasoning"] and lines["gpt-5"][7] == "0.2–0.5"
    lacking = re.findall(r"^\d+ models? needs? (\w+)$", out.stderr, re.MULTILINE)
    assert "OPENAI_API_KEY" in lacking and lacking == sorted(lacking), "in another order from day to day"


def test_json_has_a_row_for_every_name(run: Run, config: Path) -> None:
    """A script would have to parse a table."""
    models = {model["id"]: model for model in json.loads(run("models", "--json").stdout)["models"]}
    assert {"echo", "unpriced", "gpt-5", "local/smollm2-135m"} <= set(models)
    echo, unpriced = models["echo"], models["unpriced"]
    assert (echo["input_usd_per_mtok"], echo["context"], echo["available"]) == ("1", 8000, True)
    assert echo["quality"] == echo["stated_quality"] == 9.0  # as the configuration states it
    assert models["gpt-5"]["stated_ttft_ms"] == [200, 500] and models["gpt-5"]["best_use"] == "complex reasoning"
    assert (unpriced["input_usd_per_mtok"], unpriced["unavailable_reason"]) == (None, None)
    assert models["gpt-5"]["unavailable_reason"] == "has no key: set OPENAI_API_KEY"


def graded(home: Path, scores: list[float]) -> None:
    """Answers of the model `echo`, and what was said of them."""
    entries = [
        Entry(
            attempt_id=f"a{number}",
            call_id=f"c{number}",
            at=time.time() - 600 + number,
            model="echo",
            endpoint="mine/echo",
            provider="mine",
            status="ok",
            seconds=2.0,
            ttft=1.0,
            usage=Usage(input=100, output=20),
            cost=Nanos(1000),
            task="chat",
        )
        for number in range(len(scores))
    ]
    with Ledger.open(home) as ledger:
        for entry in entries:
            ledger.record(entry)
        ledger.flush()
        for entry, score in zip(entries, scores, strict=True):
            ledger.feedback.add(Feedback(entry.call_id, entry.at, score))


def in_json(run: Run, *arguments: str) -> dict[str, Any]:
    return {model["id"]: model for model in json.loads(run("models", "--json", *arguments).stdout)["models"]}


def test_what_was_measured_stands_beside_what_was_stated(run: Run, home: Path, config: Path) -> None:
    """Experience with a model would be invisible where models are chosen; or one bad day would put it last."""
    graded(home, [0.0, 1.0, 0.0])
    models = in_json(run)
    echo = models["echo"]
    measured = echo["measured"]
    assert (measured["calls"], measured["ttft_ms"], measured["success"]) == (3, 1000.0, 1.0)
    assert (measured["grades"], measured["mean_grade"]) == (3, 3.33)
    assert 7.0 < measured["quality"] == echo["quality"] < 9.0 == echo["stated_quality"]
    assert measured["speed"] == echo["speed"] == 6.0 and echo["stated_speed"] is None
    assert models["unpriced"]["measured"] is None and echo["worsened"] is None
    shown = run("models")
    assert re.search(r"^echo .* 8\.\d +6 +1  yes$", shown.stdout, re.MULTILINE)
    assert re.search(r"^echo +9 → 8\.\d +\? → 6 +\? → 1 +3  100%  3: 3\.3$", shown.stderr, re.MULTILINE)
    assert in_json(run, "--task", "coding")["echo"]["measured"]["grades"] == 0


def test_the_table_and_the_router_believe_the_same(run: Run, home: Path, config: Path) -> None:
    """A model would be chosen for a quality that no table shows."""
    graded(home, [0.0] * 30)
    echo = in_json(run)["echo"]
    candidates = json.loads(run("route", "hello", "--json").stdout)["candidates"]
    routed = next(one for one in candidates if one["model"] == "echo")
    assert echo["quality"] < 5 and routed["quality"] * 10 == pytest.approx(echo["quality"], abs=1.5)


def test_a_model_that_became_worse_is_told(run: Run, home: Path, config: Path) -> None:
    """Only whoever reads the log of a server would hear of it."""
    graded(home, [1.0] * 150 + [0.0] * 90)
    echo = in_json(run)["echo"]
    assert echo["worsened"]["times"] == 1 and echo["worsened"]["last"].startswith("20")
    assert 0 < echo["worsened"]["grades_since"] < 90 and echo["quality"] < echo["measured"]["mean_grade"]
    assert re.search(r"echo was found on 20\S+ to do worse than it did: grades before that", run("models").stderr)
    checks = json.loads(run("doctor", "--offline", "--json").stdout)["checks"]
    told = [check for check in checks if check["name"] == "quality"]
    assert [check["state"] for check in told] == ["warning"] and "echo was found on" in told[0]["found"]


def test_the_table_fits_the_terminal(variables: dict[str, str], home: Path, config: Path) -> None:
    """Figures would stand under the heads of other columns."""
    graded(home, [1.0])
    shown = in_a_terminal({**variables, "NO_COLOR": "1", "TERM": "dumb"}, "models")
    assert all(len(line.rstrip()) <= 80 for line in shown.splitlines()), shown
    assert "best use" not in shown and "stated → measured" in shown


def test_filters_and_sorting_hold(run: Run, config: Path) -> None:
    """A model over the price asked for would be in the list."""
    arguments = ("--task", "coding", "--max-price", "1", "--min-context", "100k", "--sort", "price", "--json")
    models = json.loads(run("models", *arguments).stdout)["models"]
    prices = [Decimal(model["output_usd_per_mtok"]) for model in models]
    assert models and prices == sorted(prices) and prices[-1] <= 1
    assert all(model["context"] >= 100_000 and model["quality"] >= 4 for model in models)
    quick = json.loads(run("models", "--max-latency", "0.5", "--json").stdout)["models"]
    assert quick and all(model["stated_ttft_ms"][1] <= 500 for model in quick)
    free = json.loads(run("models", "--tier", "free", "--json").stdout)["models"]
    assert {model["deployment"] for model in free} == {"free"}
    tools = json.loads(run("models", "--capability", "tools", "--json").stdout)["models"]
    assert tools and all("tools" in model["capabilities"] for model in tools)


def test_only_what_can_serve_now(run: Run, config: Path) -> None:
    """A newcomer would pick among seventy models that he has no key for."""
    models = json.loads(run("models", "--available", "--json").stdout)["models"]
    assert {model["endpoint"].split("/")[0] for model in models} == {"mine"}


def test_superseded_models_are_shown_on_request(run: Run, config: Path) -> None:
    """Old names would crowd the list, or be nowhere."""
    usual = {model["id"] for model in json.loads(run("models", "--json").stdout)["models"]}
    everyone = json.loads(run("models", "--legacy", "--json").stdout)["models"]
    assert usual < {model["id"] for model in everyone}
    assert any(model["legacy"] for model in everyone)


def test_a_configured_model_is_never_hidden_as_superseded(run: Run, home: Path) -> None:
    """A user would not find the model that he has just configured."""
    (home / "config.yaml").write_text(
        "providers: {mine: {base_url: 'http://127.0.0.1:1/v1'}}\nmodels: {gpt-4: {provider: mine}}\n", "utf-8"
    )
    names = [model["id"] for model in json.loads(run("models", "--json").stdout)["models"]]
    assert names.count("gpt-4") == 1


def test_the_whole_price_library_is_there(run: Run, config: Path) -> None:
    """Prices of models that are not in the matrix could not be looked up; unknown ones would be 0."""
    models = json.loads(run("models", "--all", "--json").stdout)["models"]
    assert len(models) > 1000
    assert set(models[0]) == {"id", "name", "context", "input_usd_per_mtok", "output_usd_per_mtok"}
    assert any(model["input_usd_per_mtok"] is None for model in models)
    known = [model["input_usd_per_mtok"] for model in models if model["input_usd_per_mtok"] is not None]
    assert all(isinstance(price, str) and Decimal(price) >= 0 for price in known)
    assert len(run("models", "--all").stdout.splitlines()) == len(models) + 1


@pytest.mark.parametrize("arguments", [("--min-context", "lots"), ("--max-price", "cheap"), ("--task", "codnig")])
def test_filters_that_mean_nothing_are_usage_errors(run: Run, config: Path, arguments: tuple[str, str]) -> None:
    """A misspelt filter would silently filter nothing."""
    assert run("models", *arguments).returncode == 2


def test_a_refused_model_is_told_with_who_is_behind_it(run: Run, home: Path) -> None:
    """Whoever forbids unofficial files would get them, or an empty house without a word."""
    (home / "config.yaml").write_text("local: {official_only: true}\n", "utf-8")
    done = run("models", "pull", "qwen2.5-coder-0.5b", **NOWHERE)
    assert done.returncode == 1
    assert "unofficial" in done.stderr and "No local model is here." in done.stderr


def test_a_model_that_cannot_be_had_leaves_the_others_serving(run: Run, home_with_model: Path) -> None:
    """One source that is down would keep a newcomer from his first answer."""
    done = run("models", "pull", "smollm2-135m", "qwen2.5-coder-0.5b", "--official-only", **NOWHERE)
    assert done.returncode == 0
    assert "Without local/qwen2.5-coder-0.5b: local/smollm2-135m serves alone." in done.stderr


def test_what_is_pulled_is_shown_first(run: Run, home: Path) -> None:
    """Files of unknown origin would be brought without being called so."""
    done = run("models", "pull", "qwen2.5-coder-0.5b", **NOWHERE)
    for fact in ("491 MB", "sha256 1d9614638d18024d", "unofficial, author: anonymous", "Apache-2.0"):
        assert fact in done.stderr
    assert done.returncode == 1 and "could not be pulled" in done.stderr


def test_no_on_a_terminal_leaves_out_what_is_unofficial(variables: dict[str, str], home_with_model: Path) -> None:
    """Whoever says no would get files of unknown origin all the same, or lose the model that he has."""
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")
    done = subprocess.run(
        [sys.executable, "-m", "pointsman", "models", "pull"],
        stdin=theirs,
        capture_output=True,
        text=True,
        env={**variables, **NOWHERE},
        timeout=60,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0
    assert "Pull what is unofficial, too?" in done.stderr
    assert "resolving" not in done.stderr
    assert "local/smollm2-135m serves alone" in done.stderr


def test_an_unknown_local_model_is_told_with_the_nearest(run: Run) -> None:
    """A slip of the pen would look like a model that is gone."""
    done = run("models", "pull", "smollm2")
    assert done.returncode == 2 and "'smollm2-135m'" in done.stderr


def test_no_host_runs_until_a_model_is_asked(run: Run) -> None:
    """Looking would start something."""
    assert json.loads(run("models", "ps", "--json").stdout)["running"] is False
    assert run("models", "stop").returncode == 0
