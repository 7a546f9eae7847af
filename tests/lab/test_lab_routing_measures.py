"""The measures of routing on outcomes whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.lab.routing_baselines import Length, Neighbours, NoReading
from pointsman.lab.routing_measures import (
    Floats,
    Judged,
    draws,
    gain,
    hull_area,
    joined,
    judged,
    known,
    mean_of,
    ranked,
    sampled,
)

SCORES: Floats = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
COSTS: Floats = np.array([[10.0, 1.0]] * 4)
"""A dear and a cheap model, each right three times of four."""


def by(quality: Floats, cost: Floats = COSTS) -> Judged:
    return judged(quality, cost, SCORES, COSTS, known(SCORES, COSTS))


def test_an_oracle_gains_all_and_no_reading_gains_nothing() -> None:
    """The ends of the scale would not be where docs/routing.md says."""
    oracle = gain(by(SCORES))
    assert (oracle.rgc, oracle.gap, oracle.score) == (1.0, 1.0, 1.0)
    blind = gain(by(np.tile(SCORES.mean(axis=0), (4, 1))))
    assert (blind.rgc, blind.gap, blind.score) == (0.0, 0.0, 0.75)


def test_a_router_that_is_worse_than_the_best_single_model_has_a_negative_gap() -> None:
    """Harm would not show."""
    wrong = gain(by(1 - SCORES))
    assert wrong.gap == -1.0
    assert wrong.rgc == 0.0  # its end points, the single models, are on the hull still


def test_half_of_what_reading_can_gain_is_half() -> None:
    """A figure between the ends would mean nothing."""
    one_right = np.array([[0.9, 0.8], [0.9, 0.8], [0.9, 0.8], [0.8, 0.9]])
    assert gain(by(one_right)).gap == 1.0
    tie = np.array([[0.9, 0.8], [0.8, 0.9], [0.9, 0.8], [0.8, 0.9]])
    assert gain(by(tie)).gap == 0.0


def test_a_cell_that_nobody_knows_is_never_chosen() -> None:
    """A router would be paid for answers that were never given."""
    scores, costs = SCORES.copy(), COSTS.copy()
    scores[1, 0], costs[3, 0] = np.nan, np.nan
    rows = judged(np.full((4, 2), [1.0, 0.0]), costs, scores, costs, known(scores, costs))
    assert gain(rows).score == pytest.approx((1 + 0 + 1 + 1) / 4)
    nothing = scores.copy()
    nothing[0] = np.nan
    assert len(judged(SCORES, COSTS, nothing, COSTS, known(nothing, COSTS))) == 3


def test_forecasts_that_are_no_numbers_are_never_chosen() -> None:
    """One NaN of a router would win every comparison."""
    quality = SCORES.copy()
    quality[1, 0] = np.nan
    assert gain(by(quality)).score == 0.75


def test_folds_are_judged_by_the_best_model_that_each_of_them_knew() -> None:
    """Hindsight would choose the best single model, and every router would look worse than it is."""
    first = judged(SCORES, COSTS, SCORES, COSTS, known(np.array([[1.0, 0.0]]), COSTS[:1]))
    second = judged(SCORES, COSTS, SCORES, COSTS, known(np.array([[0.0, 1.0]]), COSTS[:1]))
    both = joined([first, second])
    assert both.best.tolist() == [0] * 4 + [1] * 4
    assert (len(both), gain(both).rgc) == (8, 1.0)


def test_where_no_model_ever_beats_the_best_one_there_is_nothing_to_measure() -> None:
    """A division by nothing would be told as an enormous gain."""
    scores = np.array([[1.0, 0.0]] * 3)
    even = np.ones((3, 2))
    assert np.isnan(gain(judged(scores, even, scores, even, known(scores, even))).gap)


@pytest.mark.parametrize(
    ("costs", "scores", "area"),
    [
        ([0.0, 1.0], [0.0, 1.0], 0.5),
        ([0.0, 0.5, 1.0], [0.0, 1.0, 1.0], 0.75),
        ([0.0, 0.5, 1.0], [0.0, 0.1, 1.0], 0.5),  # below the line: a mix of the two others is better
        ([0.0, 1.0], [1.0, 0.0], 1.0),  # dearer and worse
        ([0.0, 0.0, 1.0], [0.2, 0.4, 0.4], 0.4),
        ([0.5], [0.3], 0.3),
    ],
)
def test_the_area_under_a_hull(costs: list[float], scores: list[float], area: float) -> None:
    """AIQ by hand: each corner of the hull counts, and nothing below it."""
    assert hull_area(np.array(costs), np.array(scores), 0, 1) == pytest.approx(area)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12), st.floats(0, 1), st.floats(0, 1))
def test_another_point_never_lowers_a_hull(points: list[tuple[float, float]], cost: float, score: float) -> None:
    """A router that may also be the best single model would be measured as worse for it."""
    costs, scores = (np.array(each) for each in zip(*points, strict=True))
    low, high = float(costs.min()), float(costs.max())
    area = hull_area(costs, scores, low, high)
    assert scores.min() - 1e-9 <= area <= scores.max() + 1e-9
    if low <= cost:
        assert hull_area(np.append(costs, cost), np.append(scores, score), low, high) >= area - 1e-9


def test_a_perfect_rank_by_hand() -> None:
    """APGR would be no area under the published curve."""
    strong, weak = np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    found = ranked([4, 1, 3, 2], strong, weak)
    assert (found.apgr, found.cpt50, found.cpt80) == pytest.approx((0.75, 0.25, 0.4))
    worst = ranked([1, 4, 2, 3], strong, weak)
    assert (worst.apgr, worst.cpt50) == pytest.approx((0.25, 0.75))


def test_a_rank_that_says_nothing_has_half_the_area() -> None:
    """Ties broken by the order of rows would score a router for how its file is sorted."""
    strong, weak = np.ones(50), np.repeat([0.0, 1.0], 25)
    for rows in (slice(None), slice(None, None, -1)):
        found = ranked(np.zeros(50), strong[rows], weak[rows])
        assert (found.apgr, found.cpt50, found.cpt80) == pytest.approx((0.5, 0.5, 0.8))


def test_ranks_by_chance_have_half_the_area_on_average() -> None:
    """Luck would look like skill."""
    dice = np.random.default_rng(3)
    strong, weak = dice.random(400) < 0.9, dice.random(400) < 0.5
    areas = [ranked(dice.random(400), strong, weak).apgr for _ in range(200)]
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * np.std(areas) / np.sqrt(200))


def test_a_prompt_whose_score_is_unknown_does_not_count_in_a_rank() -> None:
    """One missing answer would leave the whole set without a figure."""
    strong, weak = np.array([1.0, np.nan, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, np.nan])
    assert ranked([3, 2, 1, 0], strong, weak) == ranked([3, 1], [1.0, 1.0], [0.0, 1.0])


def test_a_strong_model_that_is_not_better_has_no_apgr() -> None:
    """A recovered share of nothing would be a number."""
    assert np.isnan(ranked([1, 2], [0.0, 1.0], [1.0, 0.0]).apgr)
    assert np.isnan(ranked([], [], []).apgr)


def test_a_row_that_counts_twice_is_a_row_that_stands_there_twice() -> None:
    """The bootstrap would measure something else than what is reported."""
    twice = np.array([2.0, 1.0, 0.0, 1.0])
    rows = [0, 0, 1, 3]
    quality = np.array([[0.6, 0.5], [0.4, 0.5], [0.9, 0.1], [0.4, 0.8]])
    assert gain(by(quality), twice) == gain(
        judged(quality[rows], COSTS[rows], SCORES[rows], COSTS[rows], known(SCORES, COSTS))
    )
    rank, strong, weak = quality[:, 0], np.array([1.0, 1.0, 0.5, 1.0]), np.array([0.0, 0.5, 1.0, 0.2])
    weighted, repeated = ranked(rank, strong, weak, twice), ranked(rank[rows], strong[rows], weak[rows])
    assert weighted.apgr == pytest.approx(repeated.apgr)


def test_differences_are_paired() -> None:
    """A router would differ from itself by chance, and a claim be made of it."""

    def score(quality: Floats) -> list[float]:
        return [gain(by(quality), weights).score for weights in draws(4, 50)]

    (once,) = sampled(lambda weights: np.array([gain(by(SCORES), weights).score]), draws(4, 50))
    (blind,) = sampled(lambda weights: np.array([gain(by(1 - SCORES), weights).score]), draws(4, 50))
    assert (once.less(once).figure().value, once.less(once).figure().error) == (0.0, 0.0)
    assert once.less(blind).value == 0.5
    assert blind.samples.tolist() == score(1 - SCORES)
    assert mean_of([once, blind]).value == 0.75


def test_neighbours_answer_as_the_nearest_prompts_were_answered() -> None:
    """The baseline would be a straw man."""
    kinds = np.random.default_rng(0).integers(0, 2, 300)
    prompts = [f"{'sum' if kind else 'verse'} {at}" for at, kind in enumerate(kinds)]
    scores = np.stack([kinds, 1 - kinds], axis=1).astype(float)
    costs = np.full((300, 2), [2.0, 1.0])
    scores[::50, 0] = np.nan

    def encode(texts: object) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return np.array([[text.startswith("sum"), text.startswith("verse")] for text in texts], np.float32)  # type: ignore[attr-defined]

    near = Neighbours(encode).fit(prompts, None, scores, costs, ["adder", "poet"])
    quality, cost = near.predict(["sum of all", "verse on sums"])
    np.testing.assert_allclose(quality, np.eye(2), atol=0.05)
    np.testing.assert_allclose(cost, [[2, 1], [2, 1]])
    assert near.predict([])[0].shape == (0, 2)
    unpriced = Neighbours(encode).fit(prompts, None, scores, np.full((300, 2), np.nan), ["adder", "poet"])
    np.testing.assert_allclose(unpriced.predict(["sum"])[0], [[1, 0]], atol=0.05)


def test_what_reads_nothing_and_what_reads_the_length_alone() -> None:
    """Baselines that are not what their names say."""
    blind = NoReading().fit(["a"] * 4, None, SCORES * 0.8, COSTS, ["dear", "cheap"]).predict(["x", "y"])
    np.testing.assert_allclose(blind[0], [[0.6, 0.6]] * 2)
    np.testing.assert_allclose(blind[1], COSTS[:2])
    length = Length().fit(["a"] * 4, None, SCORES * [1, 0.5], COSTS, ["dear", "cheap"])
    lead = np.subtract(*length.predict(["short", "much, much longer", ""])[0].T)
    assert np.argsort(-lead).tolist() == [1, 0, 2]
