"""What a learned router is given and keeps: rows with holes, files that are damaged, machines without scipy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from learned_prompts import MODELS, SMALL, data, fitted

from pointsman.core import Chat, ConfigError, Message, Text
from pointsman.routing import read_prompt
from pointsman.routing.forecasting import RouterForecaster
from pointsman.routing.learned import LearnedRouter, Reader
from pointsman.routing.learned.labels import means_of, sure_means


@pytest.fixture(scope="module")
def learnt() -> LearnedRouter:
    return fitted(data(400))


def test_a_saved_router_predicts_bit_by_bit_the_same(learnt: LearnedRouter, tmp_path: Path) -> None:
    """A server that loads the router would decide otherwise than the report said."""
    learnt.save(tmp_path / "router.npz")
    again = LearnedRouter.load(tmp_path / "router.npz", pretrained=False)
    prompts = data(30, seed=9).prompts
    assert all(np.array_equal(a, b) for a, b in zip(learnt.predict(prompts), again.predict(prompts), strict=True))
    assert (again.models, again.report) == (learnt.models, learnt.report)
    assert [path.name for path in tmp_path.iterdir()] == ["router.npz"]


def test_a_router_of_means_alone_is_saved_and_loaded_too(tmp_path: Path) -> None:
    """The first router of a home, fitted on a few rows, would be lost."""
    fitted(data(12)).save(tmp_path / "router.npz")
    again = LearnedRouter.load(tmp_path / "router.npz")
    assert again.report.only_means and again.predict(["hello"])[0].shape == (1, 3)


def test_a_damaged_or_foreign_file_is_refused_with_its_name(learnt: LearnedRouter, tmp_path: Path) -> None:
    """A half-written file would break the gateway with an error that nobody understands, or run as code."""
    whole = tmp_path / "router.npz"
    learnt.save(whole)
    bytes_ = whole.read_bytes()
    dice, bad = Random(0), tmp_path / "bad.npz"
    damaged = [
        b"",
        b"{}",
        b"A page of text.\n" * 9,
        bytes_[:100],
        bytes_[:-1],
        bytes_[: len(bytes_) // 2],
        bytes_[len(bytes_) // 2 :],
    ]
    damaged += [bytes_[:place] + bytes([bytes_[place] ^ 0xFF]) + bytes_[place + 1 :] for place in _places(bytes_, dice)]
    for content in damaged:
        bad.write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.npz is not a router") as caught:
            LearnedRouter.load(bad)
        assert "pickle" not in caught.value.message, "nobody is told to load it unsafely"
    np.savez(bad, hello=np.ones(3))
    with pytest.raises(ConfigError, match=r"bad\.npz is not a router"):
        LearnedRouter.load(bad)
    np.savez(bad, about=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ConfigError, match=r"bad\.npz is not a router"):
        LearnedRouter.load(bad)
    with pytest.raises(ConfigError, match="no router at"):
        LearnedRouter.load(tmp_path / "none.npz")


def _places(content: bytes, dice: Random) -> list[int]:
    """Inside the compressed arrays, where a checksum guards every byte."""
    return [dice.randrange(len(content) // 4, len(content) * 3 // 4) for _ in range(8)]


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("body.forest.left", lambda array: array + 10**6),
        ("body.forest.feature", lambda array: array - 10**6),
        ("body.forest.feature", lambda array: array + 10**6),
        ("body.mixture.leaves", lambda array: array[:-1]),
        ("body.tasks.table", lambda array: array[:, :2]),
        ("success", lambda array: array[:2]),
        ("body.blind.outward_bias", lambda array: array[:-1]),
        ("body.text.weights", lambda array: array * np.nan),
        ("success", lambda array: array + np.inf),
        ("body.forest.threshold", lambda array: -array),
        ("body.forest.value", lambda array: array.astype(str)),
        ("body.forest.value", lambda array: array * 0 + np.float32(3e38)),
    ],
)
def test_an_edited_file_that_cannot_answer_is_refused(
    learnt: LearnedRouter, tmp_path: Path, name: str, edit: object
) -> None:
    """It would be found out by the first call that it is asked about, and by each one after it."""
    assert callable(edit)
    path = tmp_path / "router.npz"
    edited(learnt, path, name, edit)
    with pytest.raises(ConfigError, match="is not a router"):
        LearnedRouter.load(path)


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("body.tasks.table", None, "its part body.tasks.table is missing."),
        ("body.text.terms", None, "its part body.text.terms is missing."),
        ("about", None, "it does not say what it holds."),
        ("body.seeing.inward_bias", lambda array: array[:-1], "does not fit the others: its size is 31, not 32."),
        ("body.tasks.weights", lambda array: array[0], "does not fit the others: its size is 5, not "),
        ("body.neighbours.mean", lambda array: array[:-1], "does not fit the others: its size is 255, not 256."),
        ("body.cost.ridge", lambda array: array * np.nan, "figures in its part body.cost.ridge are no numbers."),
        ("about", lambda array: replaced(array, b'"folds":', b'"folds":"x","old":'), "its part settings "),
        ("about", lambda array: replaced(array, b'"best":', b'"first":'), "its part best is missing."),
        ("about", lambda array: replaced(array, b"{", b"["), "it is damaged ("),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_words(
    learnt: LearnedRouter, tmp_path: Path, name: str, edit: Callable[[np.ndarray], np.ndarray] | None, words: str
) -> None:
    """Whoever copied a router badly would read what numpy says of shapes, or one word in quotes."""
    path = tmp_path / "router.npz"
    edited(learnt, path, name, edit)
    with pytest.raises(ConfigError, match="is not a router that can be used: ") as caught:
        LearnedRouter.load(path)
    assert words in caught.value.message and caught.value.message.endswith(" Train it again.")


def replaced(about: np.ndarray, old: bytes, new: bytes) -> np.ndarray:
    content: bytes = about.tobytes()
    assert old in content
    return np.frombuffer(content.replace(old, new, 1), np.uint8)


def test_of_what_cannot_be_reckoned_nothing_is_expected(learnt: LearnedRouter, tmp_path: Path) -> None:
    """Weights that are too large for some prompts alone would end the calls that bring those."""
    path = tmp_path / "router.npz"
    edited(learnt, path, "body.text.weights", lambda array: array * 0 + np.float32(3e38))
    forecaster = RouterForecaster(LearnedRouter.load(path))
    expected = forecaster(read_prompt(Chat((Message("user", (Text(data(1).prompts[0]),)),))))
    assert expected.context and not expected.quality and not expected.cost


def edited(learnt: LearnedRouter, path: Path, name: str, edit: Callable[[np.ndarray], np.ndarray] | None) -> None:
    """Saves a router in which one array is another, or left out."""
    learnt.save(path)
    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    one = arrays.pop(name)
    np.savez(path, **(arrays if edit is None else {**arrays, name: edit(one)}))


def test_a_router_of_another_version_is_refused_with_both(learnt: LearnedRouter, tmp_path: Path) -> None:
    """After an update it would be misread in silence."""
    path = tmp_path / "router.npz"
    learnt.save(path)
    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    about = json.loads(arrays["about"].tobytes())
    arrays["about"] = np.frombuffer(json.dumps({**about, "version": 99}).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(ConfigError, match="version 99"):
        LearnedRouter.load(path)


def test_rows_with_holes_and_contradictions_are_counted_and_used() -> None:
    """One bad row in a ledger would make training impossible."""
    rows = data(120)
    scores, costs = rows.scores.copy(), rows.costs.copy()
    prompts = [f"{number}. {prompt}" for number, prompt in enumerate(rows.prompts)]
    prompts[-1] = prompts[0]
    scores[-1] = 1 - scores[0]
    scores[1], scores[2, 0], scores[3, 1], scores[4, 2] = np.nan, np.nan, 7.0, np.inf
    costs[5, 0], costs[6, 1] = np.nan, -3.0
    router = LearnedRouter(False, settings=SMALL).fit(prompts, None, scores, costs, MODELS)
    counts = router.report.counts
    assert (counts.rows, counts.rows_without_score, counts.missing_scores) == (119, 1, 2)
    assert (counts.scores_out_of_range, counts.missing_costs) == (1, 2)
    assert (counts.repeated_rows, counts.contradictory_rows) == (1, 1)
    assert all(np.isfinite(table).all() for table in router.predict(rows.prompts))


def test_a_model_without_any_score_or_cost_is_told_to_be_unknown() -> None:
    """A new model among old ones would be worth nothing, or free."""
    rows = data(120)
    scores, costs = rows.scores.copy(), rows.costs.copy()
    scores[:, 1] = costs[:, 1] = np.nan
    router = LearnedRouter(False, settings=SMALL).fit(rows.prompts, rows.tasks, scores, costs, MODELS)
    told = router.estimate(Reader().read_many(["hello"]), [5])
    assert np.isfinite(told.p).all() and told.p_sd[0, 1] >= told.p_sd[0, 0]
    assert np.isnan(told.cost[0, 1]) and np.isfinite(told.cost[0, [0, 2]]).all()
    assert np.isfinite(router.predict(["hello"])[1]).all()


@pytest.mark.parametrize("rows", [0, 1, 39])
def test_too_few_rows_give_the_means(rows: int) -> None:
    """A home without grades could not start."""
    router = fitted(data(rows))
    chances, costs = router.predict(["hello", "x" * 5000])
    assert (
        router.report.only_means and np.array_equal(chances[0], chances[1]) and np.allclose(chances[0], router.success)
    )
    assert np.isfinite(chances).all() and (costs > 0).all()
    told = router.estimate(Reader().read_many(["hello"]), [5])
    assert (told.p_sd >= 0.15).all() and told.novelty[0] == 1


def test_one_model_or_none_is_no_error() -> None:
    """A roster of one model could not be learnt about."""
    rows = data(60)
    one = LearnedRouter(False, settings=SMALL).fit(rows.prompts, None, rows.scores[:, :1], rows.costs[:, :1], ["solo"])
    assert one.models == ("solo",) and one.predict(["hello"])[0].shape == (1, 1)
    none = LearnedRouter(False, settings=SMALL).fit(rows.prompts, None, np.zeros((60, 0)), None, [])
    assert none.models == () and none.predict(["hello"])[0].shape == (1, 0)


def test_lengths_that_do_not_agree_are_refused_with_both_numbers() -> None:
    """Scores of other prompts would be learnt."""
    rows = data(50)
    router = LearnedRouter(False, settings=SMALL)
    with pytest.raises(ValueError, match="scores is 49 x 3, but there are 50 prompts and 3 models"):
        router.fit(rows.prompts, rows.tasks, rows.scores[:-1], rows.costs, MODELS)
    with pytest.raises(ValueError, match="tasks has 49 rows"):
        router.fit(rows.prompts, rows.tasks[:-1], rows.scores, rows.costs, MODELS)
    with pytest.raises(ValueError, match="costs is 50 x 2"):
        router.fit(rows.prompts, rows.tasks, rows.scores, rows.costs[:, :2], MODELS)
    with pytest.raises(ValueError, match="named once"):
        router.fit(rows.prompts, rows.tasks, rows.scores, rows.costs, ["a", "b", "a"])
    with pytest.raises(ValueError, match="learnt nothing yet"):
        router.predict(["hello"])


def test_what_is_no_list_of_texts_is_refused_in_words(learnt: LearnedRouter) -> None:
    """One text would be taken for as many prompts as it has letters."""
    with pytest.raises(TypeError, match="not one text"):
        learnt.predict("hello")
    with pytest.raises(TypeError, match="Prompt 1 is None"):
        learnt.predict(["hello", None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="Prompt 0 is b'x'"):
        LearnedRouter().fit([b"x"], None, [[1.0]], None, ["a"])  # type: ignore[list-item]


def test_predicting_needs_no_scipy_and_fitting_says_what_is_missing(learnt: LearnedRouter, tmp_path: Path) -> None:
    """A gateway without the extra for training could not route, or would fail without a word of what to install."""
    learnt.save(tmp_path / "router.npz")
    program = f"""
import sys
sys.modules["scipy"] = None
from pointsman.core import Chat, ConfigError, Message, Text
from pointsman.routing import read_prompt
from pointsman.routing.forecasting import RouterForecaster
from pointsman.routing.learned import LearnedRouter
router = LearnedRouter.load({str(tmp_path / "router.npz")!r})
print(router.predict(["hello"])[0].shape)
try:
    router.fit(["hello"], None, [[1.0]], None, ["one"])
except ConfigError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "(1, 3)" in told and 'pip install "pointsman[train]"' in told


def test_one_good_grade_makes_no_best_model() -> None:
    """All that a router has learned would be held against a model that nobody knows."""
    scores = np.full((200, 3), np.nan)
    scores[:, 0] = np.arange(200) % 10 < 7
    scores[:, 1] = np.arange(200) % 10 < 5
    scores[0, 2] = 1.0
    assert means_of(scores).argmax() == 2
    assert sure_means(scores).argmax() == 0
