"""A model that became worse is found by its grades, early and late; one that is as it was is let be."""

from __future__ import annotations

from random import Random

import pytest

from pointsman.core import Chat, Message, Text
from pointsman.routing import Grade, RouteState, changed_models, learn, read_prompt
from pointsman.routing.contexts import context_of
from pointsman.routing.learned import Reader

PLAIN = (1.0, 0.0, 0.0)


def _grade(score: float, *, prior: float, context: tuple[float, ...] = PLAIN) -> Grade:
    return Grade("a", context, score, prior)


def falls(grades: list[Grade], *, at_once: int = 5) -> list[int]:
    """After how many grades a fall was told, where so many are learned at once."""
    state, told = RouteState(), []
    for start in range(0, len(grades), at_once):
        before, state = state, learn(state, grades[start : start + at_once])
        told += [start + at_once] * len(changed_models(before, state))
    return told


@pytest.mark.parametrize("good", [40, 64, 115, 500])
@pytest.mark.parametrize("at_once", [1, 50])
def test_a_model_that_falls_is_found_out_however_early(good: int, at_once: int) -> None:
    """What falls before its hundredth grade would be served on, and what it was before would stand against what is
    told of it since."""
    grades = [_grade(0.9, prior=0.7)] * good + [_grade(0.1, prior=0.7)] * 100
    (told,) = falls(grades, at_once=at_once)
    assert good < told <= good + 30 + at_once


@pytest.mark.parametrize("at_once", [10, 500])
@pytest.mark.parametrize(("score", "prior"), [(0.95, 0.5), (0.2, 0.9)])
def test_a_profile_that_was_wrong_is_no_fall(score: float, prior: float, at_once: int) -> None:
    """Each new model that is much better, or worse, than it is said to be would raise an alarm once it is known."""
    assert falls([_grade(score, prior=prior)] * 1_000, at_once=at_once) == []


def test_a_kind_of_task_at_which_a_model_was_never_good_is_no_fall() -> None:
    """Whoever has poems written first, and code then, would be told that the model became worse."""
    reader, dice = Reader(), Random(1)

    def seen_as(text: str) -> tuple[float, ...]:
        prompt = read_prompt(Chat((Message("user", (Text(text),)),)))
        return context_of(prompt, reader.read(prompt.question))

    poems = [seen_as(f"Write a poem about {what}.") for what in ("the sea", "autumn", "my cat")]
    code = [seen_as(f"Write a Rust function that {what}.") for what in ("sorts a list", "walks a tree")]
    written = [_grade(float(dice.random() < 0.9), prior=0.7, context=dice.choice(poems)) for _ in range(60)]
    coded = [_grade(float(dice.random() < 0.5), prior=0.7, context=dice.choice(code)) for _ in range(200)]
    assert falls(written + coded) == falls(written + coded, at_once=50) == []


def test_a_model_that_became_worse_is_noticed_and_its_past_dropped() -> None:
    """A silent change at a provider would go on being served for thousands of calls."""
    dice, state = Random(5), RouteState()
    for _ in range(20):
        state = learn(state, [_grade(float(dice.random() < 0.9), prior=0.8) for _ in range(20)])
    assert state.evidence["a"].epoch == 0
    before, noticed = state, 0
    for batch in range(1, 41):
        state = learn(state, [_grade(float(dice.random() < 0.5), prior=0.8) for _ in range(10)])
        if changed_models(before, state):
            noticed = batch
            break
    assert 0 < noticed <= 30
    assert state.evidence["a"].epoch == 1 and state.evidence["a"].grades < 10


@pytest.mark.parametrize("prior", [0.5, 0.9])
def test_steady_models_are_seldom_said_to_have_changed(prior: float) -> None:
    """An alarm a day would be switched off: neither chance nor a profile that was wrong may give one."""
    alarms = 0
    for seed in range(8):
        dice, state = Random(seed), RouteState()
        for _ in range(30):
            before = state
            state = learn(state, [_grade(float(dice.random() < 0.7), prior=prior) for _ in range(50)])
            alarms += len(changed_models(before, state))
    assert alarms <= 9, "in 12,000 grades"
