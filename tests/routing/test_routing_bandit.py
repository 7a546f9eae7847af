"""What graded calls teach: sums that add up, beliefs that follow from them, and a choice that does no harm."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from msgspec import structs

from pointsman.core import Chat, Message, Text
from pointsman.routing import Evidence, Grade, Retracted, RouteState, learn, merge, read_prompt, sound
from pointsman.routing.bandit import (
    LEVEL_SD,
    NOISE,
    PRIOR_SD,
    SHARED_SD,
    SLOPE_SD,
    Beliefs,
    believe,
    chances_to_be_best,
    gather,
    unbiased,
)
from pointsman.routing.contexts import context_of
from pointsman.routing.learned import Reader

SIZE = 3


def grade(model: str, score: float, *slopes: float, prior: float = 0.5, reliability: float = 1.0) -> Grade:
    return Grade(model, (1.0, *slopes, *[0.0] * (SIZE - 1 - len(slopes))), score, prior, reliability)


def some_grades(model: str, count: int, seed: int) -> list[Grade]:
    dice = Random(seed)
    return [grade(model, float(dice.random() < 0.6), dice.gauss(0, 1), dice.gauss(0, 1)) for _ in range(count)]


@given(
    some.lists(some.tuples(some.floats(-1, 1), some.floats(0, 0.5)), min_size=1, max_size=30),
)
@example([(0.0, 0.0), (0.0, 5e-324)])
def test_chances_are_a_distribution(models: list[tuple[float, float]]) -> None:
    """A choice would be drawn from numbers that are no probabilities, and no policy could be judged by the log."""
    chances = chances_to_be_best([mean for mean, _ in models], [sd for _, sd in models])
    assert sum(chances) == pytest.approx(1)
    assert min(chances) >= 0


def test_chances_are_those_of_drawing_from_the_beliefs() -> None:
    """A model would be tried more, or less, often than what is known of it says."""
    means, sds = [0.5, 0.45, 0.2], [0.05, 0.1, 0.3]
    draws = np.random.default_rng(0).normal(means, sds, (200_000, 3)).argmax(1)
    told = np.bincount(draws, minlength=3) / len(draws)
    assert chances_to_be_best(means, sds) == pytest.approx(list(told), abs=0.01)


def test_equal_models_have_equal_chances_and_certain_ones_none() -> None:
    """The order of the configuration would decide, or what is known to be worse would be tried all the same."""
    assert chances_to_be_best([0.5, 0.5], [0.1, 0.1]) == pytest.approx([0.5, 0.5])
    assert chances_to_be_best([0.5, 0.4], [0.0, 0.0]) == [1.0, 0.0]


def test_what_is_learned_of_one_kind_of_task_leaves_others_in_doubt() -> None:
    """A model that writes good poems would be sure to calculate well, and nothing else would be tried."""
    reader = Reader()

    def seen_as(text: str) -> tuple[float, ...]:
        prompt = read_prompt(Chat((Message("user", (Text(text),)),)))
        return context_of(prompt, reader.read(prompt.question))

    dice = Random(0)
    poems = [seen_as(f"Write a poem about {what}.") for what in ("the sea", "autumn", "my cat", "old age", "bread")]
    sums = [seen_as(f"What is {dice.randrange(9, 99)} times {dice.randrange(9, 99)}?") for _ in range(5)]
    liked = gather([Grade("poet", dice.choice(poems), float(dice.random() < 0.9), 0.6) for _ in range(300)])
    disliked = gather([Grade("poet", dice.choice(sums), float(dice.random() < 0.2), 0.6) for _ in range(300)])
    code, poem, other_sum = (
        seen_as("Write a Python function."),
        seen_as("A poem on spring"),
        seen_as("What is 3 times 7?"),
    )

    [of_poems] = _beliefs(poet=liked).about(poem, ["poet"])
    [of_code] = _beliefs(poet=liked).about(code, ["poet"])
    assert of_poems.value > 0.2 and of_poems.sd < PRIOR_SD * 0.7
    assert of_code.value < of_poems.value and of_code.sd > PRIOR_SD
    [of_sums] = _beliefs(poet=liked + disliked).about(other_sum, ["poet"])
    assert of_sums.value < -0.2


def _beliefs(**evidence: Evidence) -> Beliefs:
    beliefs = believe(evidence)
    assert beliefs is not None
    return beliefs


def test_evidence_adds_up() -> None:
    """Two workers would believe something else than one that saw all of their calls."""
    grades = some_grades("a", 60, seed=1)
    together, apart = gather(grades), gather(grades[:17]) + gather(grades[17:])
    assert apart.grades == together.grades == 60
    assert apart.gram == pytest.approx(together.gram)
    assert apart.moment == pytest.approx(together.moment)
    assert Evidence() + together == together == together + Evidence()


def test_merged_states_believe_what_one_would_that_saw_all_calls() -> None:
    """What was learned on two machines could not be brought together."""
    one, other = some_grades("a", 40, seed=1), some_grades("b", 30, seed=2)
    apart = merge(learn(RouteState(), one), learn(RouteState(), other))
    together = learn(RouteState(), [*one, *other])
    assert apart.beliefs is not None and together.beliefs is not None
    context = (1.0, 0.5, -0.5)
    for of_apart, of_together in zip(
        apart.beliefs.about(context, ["a", "b", "c"]), together.beliefs.about(context, ["a", "b", "c"]), strict=True
    ):
        assert of_apart.value == pytest.approx(of_together.value)
        assert of_apart.sd == pytest.approx(of_together.sd)


def test_beliefs_are_the_posterior_of_the_whole_linear_model() -> None:
    """The shared part is integrated out by a formula; a slip there would make every belief wrong by a little."""
    grades = [*some_grades("a", 25, seed=3), *some_grades("b", 10, seed=4)]
    beliefs = believe({model: gather([one for one in grades if one.model == model]) for model in "ab"})
    assert beliefs is not None
    # The same model written out: weights (β, θ_a, θ_b), and their posterior by one solve.
    design = np.zeros((len(grades), 3 * SIZE))
    for row, one in enumerate(grades):
        place = SIZE * (1 + "ab".index(one.model))
        design[row, :SIZE] = design[row, place : place + SIZE] = one.context
    spread = np.array([SHARED_SD] * SIZE + 2 * ([LEVEL_SD] + [SLOPE_SD] * (SIZE - 1)))
    precision = np.diag(1 / spread**2) + design.T @ design / NOISE
    beyond = np.array([one.score - one.prior for one in grades])
    mean, covariance = np.linalg.solve(precision, design.T @ beyond / NOISE), np.linalg.inv(precision)
    context = np.array([1.0, 0.3, -0.7])
    for model, told in zip("abc", beliefs.about(tuple(context), ["a", "b", "c"]), strict=True):
        direction = np.zeros(3 * SIZE)
        direction[:SIZE] = context
        extra = 0.0
        if model in "ab":
            place = SIZE * (1 + "ab".index(model))
            direction[place : place + SIZE] = context
        else:
            extra = float(context**2 @ np.array([LEVEL_SD, SLOPE_SD, SLOPE_SD]) ** 2)
        assert told.value == pytest.approx(direction @ mean)
        assert told.sd == pytest.approx(float(np.sqrt(direction @ covariance @ direction + extra)))


def test_a_thumb_that_is_often_wrong_is_read_as_such() -> None:
    """Thumbs that are right in 7 of 10 cases would pull every model towards one half."""
    score, weight = unbiased(grade("a", 1.0, reliability=0.4))
    assert score == pytest.approx((1 - 0.3) / 0.4)
    assert weight == pytest.approx(1 / (NOISE + 0.3 * 0.7 / 0.4**2))
    dice = Random(0)
    thumbs = [
        grade("a", float((dice.random() < 0.9) == (dice.random() < 0.7)), prior=0.9, reliability=0.4)
        for _ in range(4_000)
    ]
    beliefs = learn(RouteState(), thumbs).beliefs
    assert beliefs is not None
    assert beliefs.about((1.0, 0.0, 0.0), ["a"])[0].value == pytest.approx(0, abs=0.05)


def test_few_grades_move_a_belief_little() -> None:
    """One angry user would take a good model out of service."""
    beliefs = learn(RouteState(), [grade("a", 0.0, prior=0.9)]).beliefs
    assert beliefs is not None
    assert -0.1 < beliefs.about((1.0, 0.0, 0.0), ["a"])[0].value < 0


@pytest.mark.parametrize("labels", [5, 20, 60])
def test_with_few_labels_the_choice_is_as_good_as_the_prior(labels: int) -> None:
    """A router that had just begun to learn would be worse than one that had not."""
    dice = np.random.default_rng(labels)
    gained = []
    for _ in range(200):
        prior = dice.uniform(0.5, 0.8, 4)
        truth = np.clip(prior + dice.normal(0, LEVEL_SD, 4), 0, 1)
        asked = dice.integers(0, 4, labels)
        grades = [grade(str(m), float(dice.random() < truth[m]), prior=float(prior[m])) for m in asked]
        beliefs = learn(RouteState(), grades).beliefs
        assert beliefs is not None
        believed = prior + [one.value for one in beliefs.about((1.0, 0.0, 0.0), list("0123"))]
        gained.append(truth[believed.argmax()] - truth[prior.argmax()])
    assert np.mean(gained) > -2 * np.std(gained) / len(gained) ** 0.5


SCORES = some.tuples(some.floats(0, 1), some.sampled_from([0.05, 0.4, 1.0]))


@given(some.lists(SCORES, min_size=1, max_size=12), some.data())
def test_a_grade_that_was_corrected_counts_as_if_it_had_been_given_so(
    said: list[tuple[float, float]], data: some.DataObject
) -> None:
    """Whoever took back his first word would be held to it for ever."""
    dice = Random(0)
    grades = [
        Grade("a", (1.0, dice.gauss(0, 1), dice.gauss(0, 1)), score, 0.6, reliability, number)
        for number, (score, reliability) in enumerate(said, 1)
    ]
    place = data.draw(some.integers(0, len(grades) - 1))
    state, now, meant = learn(RouteState(), grades), grades[place], list(grades)
    for number, (score, reliability) in enumerate(data.draw(some.lists(SCORES, min_size=1, max_size=3)), 100):
        before = Retracted(now.number, now.score, now.reliability)
        now = structs.replace(now, score=score, reliability=reliability, number=number, instead=before)
        state = learn(state, [now])
        meant[place] = structs.replace(now, instead=None)
    corrected, straight = state.evidence["a"], gather(meant)
    assert corrected.grades == straight.grades
    assert corrected.gram == pytest.approx(straight.gram, abs=1e-9)
    assert corrected.moment == pytest.approx(straight.moment, abs=1e-9)
    assert sound(state).evidence == state.evidence


def test_what_was_forgotten_is_not_taken_back() -> None:
    """A correction of what lay before a fall would be taken off grades that it was never among."""
    later = Evidence(epoch=1, since=50) + gather([grade("a", 1.0, 0.5)], 1)
    state, context = RouteState(evidence={"a": later}), (1.0, 0.5, 0.0)
    assert later.since == 50
    for before, is_in in ((50, False), (51, True)):
        anew = Grade("a", context, 0.0, 0.5, number=60, instead=Retracted(before, 1.0, 1.0))
        assert (learn(state, [anew]).evidence["a"] != later) is is_in
    nobody = Grade("b", context, 0.0, 0.5, number=60, instead=Retracted(1, 1.0, 1.0))
    assert learn(state, [nobody]).evidence["b"].grades == 0


def test_grades_of_another_reading_of_prompts_are_left_out() -> None:
    """After an upgrade that reads prompts otherwise, sums of two lengths would be added, and learning would end."""
    state = learn(RouteState(), some_grades("a", 10, seed=1))
    longer = Grade("b", (1.0,) * (SIZE + 2), 1.0, 0.5)
    state = learn(state, [grade("a", 1.0), longer])
    assert {model: one.grades for model, one in state.evidence.items()} == {"a": 0, "b": 1}
    assert state.beliefs is not None
    assert len(state.beliefs.about(longer.context, ["a", "b"])) == 2
