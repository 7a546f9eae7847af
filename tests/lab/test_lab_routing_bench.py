"""The bench: who is fitted on which rows, and what an oracle and a blind router get."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from outcome_samples import set_of_two, write_folder

from pointsman.core import ConfigError
from pointsman.lab.outcomes import Outcomes, read_outcomes
from pointsman.lab.routing_baselines import Floats, Length, NoReading
from pointsman.lab.routing_bench import MEASURES, Bench, Measure, Plan
from pointsman.lab.routing_encoders import table_encoder
from pointsman.lab.routing_pools import by_field, by_question, pool_names, pools


class Oracle(NoReading):
    """Knows the outcomes of a set, and notes what it is fitted on and asked."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.outcomes = outcomes
        self.row = {prompt: row for row, prompt in enumerate(outcomes.prompts)}
        self.fits: list[tuple[str, ...]] = []
        self.asked: list[tuple[str, ...]] = []
        self.tasks: Sequence[str] | None = None

    def fit(
        self, prompts: Sequence[str], tasks: Sequence[str] | None, scores: Floats, costs: Floats, models: Sequence[str]
    ) -> Self:
        self.fits.append(tuple(prompts))
        self.asked.append(())
        self.tasks = tasks
        return super().fit(prompts, tasks, scores, costs, models)

    def predict(self, prompts: Sequence[str]) -> tuple[Floats, Floats]:
        self.asked[-1] += tuple(prompts)
        rows = [self.row[prompt] for prompt in prompts]
        return self.outcomes.scores[rows], self.outcomes.costs[rows]


@pytest.fixture
def outcomes(tmp_path: Path) -> Outcomes:
    return read_outcomes(set_of_two(tmp_path / "two"))


def plan(oracle: Oracle, folds: int = 0, *, tell_tasks: bool = True) -> Plan:
    usual = {"oracle": lambda: oracle, "nothing": NoReading}
    carried = {"oracle": lambda: oracle, "length": Length}
    return Plan(usual, carried, folds=folds, tell_tasks=tell_tasks, samples=20)


@pytest.mark.parametrize("measure", ["known", "unseen"])
@pytest.mark.parametrize("folds", [0, 3])
def test_an_oracle_gains_everything_and_a_blind_router_nothing(
    outcomes: Outcomes, measure: Measure, folds: int
) -> None:
    """Figures of a real router would stand on a scale with other ends."""
    lines = {line.figure: line for line in Bench([outcomes], plan(Oracle(outcomes), folds)).lines([measure])}
    assert lines["RGC"].values["oracle"].value == pytest.approx(1)
    assert lines["RGC"].values["nothing"].value == pytest.approx(0)
    assert lines["RGC"].difference is not None and lines["RGC"].difference.value == pytest.approx(1)
    assert lines["score"].values["nothing"].value == 1


@pytest.mark.parametrize("measure", ["apgr", "small"])
def test_an_oracle_ranks_perfectly_and_a_blind_router_by_chance(outcomes: Outcomes, measure: Measure) -> None:
    """The same for the measures between two models."""
    apgr, cpt50, _ = Bench([outcomes], plan(Oracle(outcomes))).lines([measure])
    hard = 1 - outcomes.scores[:, outcomes.models.index("weak")].mean()
    assert apgr.values["oracle"].value == pytest.approx(1 - hard / 2, abs=0.02)
    assert cpt50.values["oracle"].value == pytest.approx(hard / 2, abs=0.02)
    assert apgr.values["nothing"].value == pytest.approx(0.5)


@pytest.mark.parametrize("measure", ["known", "unseen", "apgr", "small"])
@pytest.mark.parametrize("folds", [0, 3])
def test_nobody_is_asked_for_a_prompt_that_he_was_fitted_on(outcomes: Outcomes, measure: Measure, folds: int) -> None:
    """Every figure would be one of memory."""
    oracle = Oracle(outcomes)
    list(Bench([outcomes], plan(oracle, folds)).lines([measure]))
    assert oracle.fits
    for fitted, asked in zip(oracle.fits, oracle.asked, strict=True):
        assert asked and not set(fitted) & set(asked)


@pytest.mark.parametrize("measure", [measure for measure in MEASURES if measure != "speed"])
def test_with_folds_the_test_rows_are_neither_fitted_on_nor_scored(
    outcomes: Outcomes, tmp_path: Path, measure: Measure
) -> None:
    """A held-out split that is looked at while settings are chosen is held out no more."""
    other = read_outcomes(set_of_two(tmp_path / "other"))
    oracle = Oracle(outcomes)
    list(Bench([outcomes, other], plan(oracle, folds=2)).lines([measure]))
    seen = {prompt for prompts in (*oracle.fits, *oracle.asked) for prompt in prompts}
    splits = dict(zip(outcomes.prompts, outcomes.splits, strict=True))
    assert seen and all(splits[prompt] != "test" for prompt in seen)


def test_known_tasks_are_fitted_on_train_and_val_and_scored_on_test(outcomes: Outcomes) -> None:
    """What is reported as held out would not be what was."""
    oracle = Oracle(outcomes)
    list(Bench([outcomes], plan(oracle)).lines(["known"]))
    assert len(oracle.fits[0]) == 216 and len(oracle.asked[0]) == 24
    assert set(oracle.tasks or ()) == {"sum", "proof"}


def test_a_field_that_is_left_out_is_left_out_whole(outcomes: Outcomes) -> None:
    """Prompts of a task would be called unseen while its others were fitted on."""
    oracle = Oracle(outcomes)
    list(Bench([outcomes], plan(oracle)).lines(["unseen"]))
    task = dict(zip(outcomes.prompts, outcomes.tasks, strict=True))
    for fitted, asked in zip(oracle.fits, oracle.asked, strict=True):
        assert not {task[prompt] for prompt in fitted} & {task[prompt] for prompt in asked}


def test_routers_can_be_left_without_the_tasks(outcomes: Outcomes) -> None:
    """The ablation would measure what it says it leaves out."""
    oracle = Oracle(outcomes)
    list(Bench([outcomes], plan(oracle, tell_tasks=False)).lines(["known"]))
    assert oracle.tasks is None


def test_a_rank_is_carried_to_another_set_of_the_same_models(outcomes: Outcomes, tmp_path: Path) -> None:
    """A router that is fitted on the set that it is carried to carries nothing."""
    other = read_outcomes(set_of_two(tmp_path / "other", 30))
    oracle = Oracle(outcomes)
    lines = list(Bench([outcomes, other], plan(oracle)).lines(["carried"]))
    assert [(line.pool, line.figure) for line in lines] == [("other", name) for name in ("APGR", "CPT50", "CPT80")]
    assert len(oracle.fits) == 1 and lines[0].values["length"].value > 0.7


def test_a_rank_is_carried_to_word_problems_by_pairs_of_models_that_differ(outcomes: Outcomes, tmp_path: Path) -> None:
    """Models that are as good as each other would make the figure a division by nearly nothing."""
    prompts = [{"prompt_id": str(at), "prompt": outcomes.prompts[at], "task": "gsm8k"} for at in range(40)]
    scores = {"good": 1.0, "as good": 1.0, "bad": 0.0}
    rows = [{"prompt_id": str(at), "model": name, "score": scores[name]} for at in range(40) for name in scores]
    words = read_outcomes(write_folder(tmp_path / "words", prompts, rows))
    (apgr, *_) = Bench([outcomes, words], plan(Oracle(outcomes))).lines(["carried"])
    assert (apgr.pool, apgr.values["oracle"].value) == ("words: gsm8k", pytest.approx(0.5))


def test_what_cannot_be_measured_is_said_with_its_reason(outcomes: Outcomes, tmp_path: Path) -> None:
    """A table that lacks rows would look as if there were none to have."""
    few = read_outcomes(set_of_two(tmp_path / "few", 20))
    unmeasured = Bench([few], plan(Oracle(few)))
    assert list(unmeasured.lines(["known", "unseen", "apgr", "small", "carried"])) == []
    assert [told.split(":")[0] for told in unmeasured.left_out] == [
        "known few",
        "unseen few",
        "apgr",
        "small",
        "carried",
    ]
    untold = Bench([outcomes.rows(np.array([task == "sum" for task in outcomes.tasks]))], plan(Oracle(outcomes)))
    assert list(untold.lines(["unseen"])) == []


def test_means_are_taken_over_pools_and_the_worst_gap_is_kept(outcomes: Outcomes, tmp_path: Path) -> None:
    """One good pool would hide the harm in another."""
    twin = read_outcomes(set_of_two(tmp_path / "twin"))
    lines = {
        (line.pool, line.figure): line for line in Bench([outcomes, twin], plan(Oracle(outcomes))).lines(["known"])
    }
    assert lines["mean of pools", "RGC"].values["oracle"].value == pytest.approx(1)
    assert "nothing" in lines["worst of pools", "gap"].values


def test_a_decision_is_timed_one_prompt_at_a_time(outcomes: Outcomes) -> None:
    """The time of a batch would be told as that of a call."""
    oracle = Oracle(outcomes)
    half, most = Bench([outcomes], plan(oracle)).lines(["speed"])
    assert (half.figure, most.figure) == ("p50 ms", "p95 ms")
    assert 0 < half.values["oracle"].value <= most.values["oracle"].value


def test_the_same_question_with_other_options_comes_into_the_same_fold() -> None:
    """Its answer would be known from the row that was fitted on."""
    twins = ["Which is largest?\nA. one\nB. two", "Which is LARGEST ?\nA. three\nB. four", "\nA. 1", ""]
    folds = by_question([*twins, *(f"question {at}" for at in range(300)), *["中文", "日本", "русский"]], 7)
    assert folds[0] == folds[1]
    assert sorted(set(folds.tolist())) == list(range(7))


def test_subjects_of_a_known_set_are_grouped_by_field() -> None:
    """College and high school physics tell of each other: leaving out one of them leaves out nothing."""
    physics, same, law = by_field(["college_physics", "high_school_physics", "professional_law"])
    assert physics == same != law
    assert len(set(by_field(["computer science", "physics", "other"]).tolist())) == 2
    assert by_field(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert len(set(by_field([f"task {at}" for at in range(40)]).tolist())) <= 12


def test_pools_are_the_folders_with_both_tables(tmp_path: Path) -> None:
    """A folder of something else would stop everything."""
    with pytest.raises(ConfigError, match="There is no directory"):
        pool_names(tmp_path / "nowhere")
    (tmp_path / "notes").mkdir()
    with pytest.raises(ConfigError, match="No folder"):
        pool_names(tmp_path)
    set_of_two(tmp_path / "two", 10)
    assert pool_names(tmp_path) == ("two",)
    assert [pool.name for pool in pools(tmp_path)] == ["two"]
    with pytest.raises(ConfigError, match="no pool 'three'; it has two"):
        list(pools(tmp_path, ["three"]))


def test_a_set_that_cannot_be_read_is_told_and_the_others_are_measured(tmp_path: Path) -> None:
    """One damaged download would keep all the others from being measured; or be missing without a word."""
    set_of_two(tmp_path / "two", 10)
    set_of_two(tmp_path / "mmlupro", 10)
    (tmp_path / "mmlupro" / "outcomes.parquet").write_bytes(b"rubbish")
    told: list[str] = []
    assert [pool.name for pool in pools(tmp_path, tell=told.append)] == ["two"]
    assert len(told) == 1 and told[0].startswith("mmlupro is left out: ")
    with pytest.raises(ConfigError, match="outcomes.parquet"):
        list(pools(tmp_path, ["mmlupro"]))
    (tmp_path / "two" / "outcomes.parquet").write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match="outcomes.parquet"):
        list(pools(tmp_path))


def test_a_selection_of_models_that_are_not_there_is_no_pool_unless_it_is_named(tmp_path: Path) -> None:
    """Outcomes of other models under a well-known name would stop everything."""
    set_of_two(tmp_path / "mmlupro", 10)
    assert [pool.name for pool in pools(tmp_path)] == ["mmlupro"]
    with pytest.raises(ConfigError, match="no outcomes of gemini"):
        list(pools(tmp_path, ["mmlupro-8"]))


def test_texts_have_the_same_vectors_alone_and_together() -> None:
    """Neighbours would be looked for elsewhere when a prompt comes alone, as it does in use."""
    encode = table_encoder()
    texts = ["What is 2+2?", "Write a sonnet.", "What is 2+2?", ""]
    together = encode(texts)
    np.testing.assert_array_equal(together, np.concatenate([encode([text]) for text in texts]))
    np.testing.assert_allclose(np.linalg.norm(together[:3], axis=1), 1, rtol=1e-5)
    assert encode([]).shape[0] == 0


def test_without_its_packages_the_other_encoder_says_what_it_needs() -> None:
    """An ImportError of a package that nobody has heard of."""
    code = """
import sys
sys.modules["onnxruntime"] = None
from pointsman.lab.routing_encoders import minilm_encoder
minilm_encoder()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "ConfigError" in done.stderr and "--encoder minilm needs onnxruntime" in done.stderr
