"""`pointsman models`: the matrix, the whole price library, and the local models."""

import json
import os
import pty
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from cli_upstream import Run

NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
"""No proxy is there, so nothing outside this machine can be reached."""


def test_the_matrix_shows_prices_and_what_is_missing(run: Run, config: Path) -> None:
    """Models could not be compared, or would be chosen that cannot serve."""
    out = run("models")
    lines = {line.split()[0]: line.split() for line in out.stdout.splitlines() if line}
    assert lines["echo"][1:4] == ["paid", "1.00", "2.00"] and lines["echo"][-1] == "yes"
    assert lines["unpriced"][2:4] == ["?", "?"]
    assert lines["gpt-5"][-1] == "no"
    assert "models need OPENAI_API_KEY" in out.stderr


def test_json_has_a_row_for_every_name(run: Run, config: Path) -> None:
    """A script would have to parse a table."""
    models = {model["id"]: model for model in json.loads(run("models", "--json").stdout)["models"]}
    assert {"echo", "unpriced", "gpt-5", "local/smollm2-135m"} <= set(models)
    echo, unpriced = models["echo"], models["unpriced"]
    assert (echo["input_usd_per_mtok"], echo["context"], echo["available"]) == ("1", 8000, True)
    assert (unpriced["input_usd_per_mtok"], unpriced["unavailable_reason"]) == (None, None)
    assert models["gpt-5"]["unavailable_reason"] == "has no key: set OPENAI_API_KEY"


def test_what_was_measured_stands_beside_what_was_stated(run: Run, config: Path) -> None:
    """Experience with a model would be invisible where models are chosen."""
    run("ask", "hello", "--model", "echo")
    models = {model["id"]: model for model in json.loads(run("models", "--json").stdout)["models"]}
    assert models["echo"]["measured"]["calls"] == 1
    assert models["echo"]["measured"]["ttft_ms"] > 0
    assert models["unpriced"]["measured"] is None
    assert "measured: echo · first word" in run("models").stderr


def test_filters_and_sorting_hold(run: Run, config: Path) -> None:
    """A model over the price asked for would be in the list."""
    arguments = ("--task", "coding", "--max-price", "1", "--min-context", "100k", "--sort", "price", "--json")
    models = json.loads(run("models", *arguments).stdout)["models"]
    prices = [Decimal(model["output_usd_per_mtok"]) for model in models]
    assert models and prices == sorted(prices) and prices[-1] <= 1
    assert all(model["context"] >= 100_000 and model["quality"] >= 4 for model in models)
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
