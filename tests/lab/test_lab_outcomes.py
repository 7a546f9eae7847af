"""Sets of outcomes: what is read, what is odd about it, and what cannot be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from outcome_samples import Row, set_of_two, write_folder, write_lines

from pointsman.core import ConfigError
from pointsman.lab.outcomes import read_outcomes, told

PROMPTS: list[Row] = [
    {"prompt_id": "a", "prompt": "What is 2+2?", "task": "sums", "split": "train"},
    {"prompt_id": "b", "prompt": "Write a sonnet.", "task": "verse", "split": "test"},
]
OUTCOMES: list[Row] = [
    {"prompt_id": "a", "model": "small", "score": 1.0, "cost_usd": 0.001},
    {"prompt_id": "a", "model": "large", "score": 1.0, "cost_usd": 0.02},
    {"prompt_id": "b", "model": "small", "score": 0.25, "cost_usd": None},
    {"prompt_id": "b", "model": "large", "score": None, "cost_usd": 0.03},
]


def as_lines(outcomes: list[Row]) -> list[Row]:
    text = {row["prompt_id"]: row for row in PROMPTS}
    return [
        {"prompt": text[row["prompt_id"]]["prompt"], **{key: row[key] for key in ("model", "score", "cost_usd")}}
        for row in outcomes
    ]


def test_a_folder_becomes_a_table_of_prompts_and_models(tmp_path: Path) -> None:
    """Outcomes in the wrong cell teach a router the opposite of what happened."""
    read = read_outcomes(write_folder(tmp_path / "mine", PROMPTS, OUTCOMES))
    assert (read.name, read.models, read.tasks, read.splits) == (
        "mine",
        ("large", "small"),
        ("sums", "verse"),
        ("train", "test"),
    )
    np.testing.assert_array_equal(read.scores, [[1, 1], [np.nan, 0.25]])
    np.testing.assert_array_equal(read.costs, [[0.02, 0.001], [0.03, np.nan]])
    assert told(read.found) == ("1 of 4 outcomes have no score.", "1 of 4 outcomes have no cost.")


def test_lines_become_the_same_table_as_a_folder(tmp_path: Path) -> None:
    """A router trained from a file would differ from one trained from the same rows in a folder."""
    folder = read_outcomes(write_folder(tmp_path / "mine", PROMPTS, OUTCOMES))
    lines = read_outcomes(write_lines(tmp_path / "mine.jsonl", as_lines(OUTCOMES)))
    assert (lines.prompts, lines.models) == (folder.prompts, folder.models)
    np.testing.assert_array_equal(lines.scores, folder.scores)
    np.testing.assert_array_equal(lines.costs, folder.costs)
    assert lines.known_tasks() is None


def test_doubled_and_contradictory_rows_are_counted_and_lived_with(tmp_path: Path) -> None:
    """One bad row in a large file would stop the training, or count twice without a word."""
    again = [*OUTCOMES, OUTCOMES[0], {**OUTCOMES[0], "score": 0.0}, {**OUTCOMES[1], "score": 7.0, "cost_usd": -1.0}]
    for read in (
        read_outcomes(write_folder(tmp_path / "mine", PROMPTS, again)),
        read_outcomes(write_lines(tmp_path / "mine.jsonl", as_lines(again))),
    ):
        assert (read.found.doubled, read.found.contradicted) == (1, 1)
        assert (read.found.scores_outside, read.found.costs_outside) == (1, 1)
        assert read.scores[0].tolist() == [1.0, pytest.approx(2 / 3)]
        assert any("contradict" in sentence for sentence in told(read.found))


def test_outcomes_of_unknown_prompts_and_prompts_without_outcomes_are_left_out(tmp_path: Path) -> None:
    """A join that lost rows would go unseen."""
    prompts = [*PROMPTS, {**PROMPTS[0], "prompt": "another text"}, {**PROMPTS[0], "prompt_id": "c"}]
    read = read_outcomes(write_folder(tmp_path / "mine", prompts, [*OUTCOMES, {**OUTCOMES[0], "prompt_id": "z"}]))
    assert read.prompts == ("What is 2+2?", "Write a sonnet.")
    assert (read.found.unknown_prompts, read.found.prompts_doubled, read.found.prompts_unanswered) == (1, 1, 1)


def test_ids_may_be_numbers(tmp_path: Path) -> None:
    """A table that was written with numbered rows would be all unreadable."""
    prompts = [{**row, "prompt_id": number} for number, row in enumerate(PROMPTS)]
    outcomes = [{**row, "prompt_id": "ab".index(row["prompt_id"])} for row in OUTCOMES]
    assert len(read_outcomes(write_folder(tmp_path / "mine", prompts, outcomes))) == 2


def test_lines_that_are_no_outcomes_are_told_with_the_first_of_them(tmp_path: Path) -> None:
    """A user could not find the line that is wrong."""
    file = tmp_path / "mine.jsonl"
    good = b'{"prompt": "p", "model": "m", "score": true, "task": "t", "split": "val", "more": 1}'
    file.write_bytes(
        b"\xef\xbb\xbf" + good + b'\n\n{"prompt": "p"}\nrubbish\n\xff\xfe\n{"prompt": "p", "model": "n", "score": "x"}'
    )
    read = read_outcomes(file)
    assert (read.scores.tolist(), read.tasks, read.splits) == ([[1.0]], ("t",), ("val",))
    assert (read.found.outcomes, read.found.unreadable) == (5, 4)
    assert "the first: line 3" in told(read.found)[0]


@pytest.mark.parametrize("content", [b"", b"rubbish\n", b'{"prompt": "p", "model": "m", "score": null}\n'])
def test_a_file_without_any_outcome_is_an_error(tmp_path: Path, content: bytes) -> None:
    """A router would be trained on nothing, and say that it was trained."""
    file = tmp_path / "mine.jsonl"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="holds no outcome"):
        read_outcomes(file)


def test_what_cannot_be_read_is_said_to_be_what_it_is(tmp_path: Path) -> None:
    """A traceback of a Parquet reader, for a path with a typing error."""
    with pytest.raises(ConfigError, match="There is no"):
        read_outcomes(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"no prompts\.parquet"):
        read_outcomes(tmp_path)
    folder = write_folder(tmp_path / "mine", PROMPTS, [{"prompt_id": "a", "model": "m"}])
    with pytest.raises(ConfigError, match="no column 'score'; it has prompt_id, model"):
        read_outcomes(folder)
    (folder / "outcomes.parquet").write_bytes((folder / "outcomes.parquet").read_bytes()[:50])
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        read_outcomes(folder)


def test_without_pyarrow_a_folder_says_what_to_install(tmp_path: Path) -> None:
    """An ImportError tells nobody which extra it is."""
    folder = set_of_two(tmp_path / "mine", 10)
    code = f"""
import sys
sys.modules["pyarrow"] = None
from pathlib import Path
from pointsman.lab.outcomes import read_outcomes
read_outcomes(Path({str(folder)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "ConfigError" in done.stderr and 'pip install "pointsman[train]"' in done.stderr


def test_rows_and_models_can_be_picked(tmp_path: Path) -> None:
    """A pool of some models would be judged on the outcomes of others."""
    read = read_outcomes(write_folder(tmp_path / "mine", PROMPTS, OUTCOMES))
    assert read.rows(np.array([False, True])).prompts == ("Write a sonnet.",)
    assert read.rows(np.array([1, 0])).splits == ("test", "train")
    swapped = read.of(["small", "large"], "swapped")
    assert (swapped.name, swapped.scores[0].tolist(), swapped.costs[0].tolist()) == ("swapped", [1, 1], [0.001, 0.02])
    with pytest.raises(ConfigError, match="no outcomes of huge"):
        read.of(["small", "huge"])


def test_the_licence_is_what_a_readme_beside_the_data_says(tmp_path: Path) -> None:
    """Weights fitted on a set that nobody may train on would be told from others by memory alone."""
    folder = write_folder(tmp_path / "mine", PROMPTS, OUTCOMES)
    assert read_outcomes(folder).licence == ""
    readme = "# Sets\n| set | source | licence |\n|---|---|---|\n| other | x | none |\n| mine | y | MIT (code) |\n"
    (tmp_path / "README.md").write_text(readme, "utf-8")
    assert read_outcomes(folder).licence == "MIT (code)"
