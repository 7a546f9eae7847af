"""`pointsman bench`: the real program on small sets of outcomes whose answers are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli_upstream import Run

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))

from outcome_samples import set_of_two, write_folder

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads of numpy that wait for each other make a busy machine many times slower."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set that whoever reads it routes perfectly, and one of three rows."""
    set_of_two(tmp_path / "data" / "two")
    prompts = [{"prompt_id": "a", "prompt": "Why?", "task": "t", "split": "train"}]
    rows = [{"prompt_id": "a", "model": name, "score": 1.0} for name in ("strong", "weak", "weak")]
    write_folder(tmp_path / "data" / "tiny", prompts, rows)
    return tmp_path / "data"


def test_the_learned_router_gains_where_there_is_something_to_learn(run: Run, data: Path) -> None:
    """A bench that runs, and whose figures are of something else than the router."""
    done = run("bench", "routing", "--data", str(data), "--measure", "known", "--pools", "two", "--json", **ONE_THREAD)
    report = json.loads(done.stdout)
    figures = {line["figure"]: line["routers"] for line in report["lines"]}
    assert figures["RGC"]["learned"]["value"] > 0.8
    assert figures["RGC"]["kNN"]["value"] > 0.8
    assert abs(figures["RGC"]["no reading"]["value"]) < 0.001
    assert figures["score"]["learned"]["value"] == 1
    assert report["pools"] == [{"name": "two", "prompts": 240, "models": ["strong", "weak"], "licence": "", "odd": []}]
    assert report["protocol"][0].startswith("known: Fitted on train and val, scored on test")
    assert "known two: learned fitted on 216 prompts" in done.stderr


def test_a_table_says_what_was_fitted_on_what(run: Run, data: Path) -> None:
    """A figure of cross-validation would be quoted as one of the held-out split."""
    done = run(
        "bench",
        "routing",
        "--data",
        str(data),
        "--measure",
        "known",
        "--folds",
        "2",
        "--setting",
        "trees=15",
        **ONE_THREAD,
    )
    assert "The learned router had trees=15." in done.stdout
    assert done.stdout.startswith("known\npool  figure")
    assert "2 folds by question over train and val; test was left alone." in done.stdout
    assert "± is one standard error" in done.stdout
    assert "1 of 3 outcomes were there already and count once." in done.stderr
    assert "left out: known tiny: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--data", "nowhere"], 2, "There is no directory nowhere"),
        (["--data", "data", "--pools", "three"], 2, "no pool 'three'; it has tiny, two"),
        (["--data", "data", "--pools", "tiny", "--measure", "known"], 2, "Nothing of that could be measured."),
        (["--data", "data", "--measure", "speeed"], 2, "speeed"),
        (["--data", "data", "--folds", "1"], 2, "folds"),
        (["--data", "data", "--setting", "margin=0"], 2, "there is no 'margin'; there is margins."),
        (["--data", "data", "--setting", "margins=0,x"], 2, "--setting margins=0,x: JSON is malformed"),
        ([], 2, "--data"),
    ],
)
def test_what_cannot_be_measured_is_told(run: Run, data: Path, arguments: list[str], code: int, says: str) -> None:
    """A traceback, or an empty table, for a typing error."""
    done = run("bench", "routing", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr


def test_a_failure_is_an_object_for_programs(run: Run, data: Path) -> None:
    """A script that reads JSON would find half a report."""
    done = run("bench", "routing", "--data", str(data), "--pools", "tiny", "--measure", "known", "--json")
    assert done.returncode == 2
    assert "known tiny: not 200 prompts" in json.loads(done.stdout)["error"]["message"]
