"""What is believed of models over all prompts: the figures that tables show."""

from __future__ import annotations

import pytest

from pointsman.gateway.beliefs import beliefs
from pointsman.routing import NO_FORECAST, Candidate, Estimate, Forecast, Grade, RouteState, learn
from pointsman.routing.contexts import KINDS, context_of

ONE = Candidate("one", "paid", quality=0.8)
TWO = Candidate("two", "paid")


def on(task: str) -> tuple[float, ...]:
    """The context of a prompt of which nothing but the task is known."""
    return (*context_of(None, None)[: -len(KINDS)], *(float(task in kind) for kind in KINDS))


def bad(context: tuple[float, ...], grades: int = 40) -> RouteState:
    return learn(RouteState(), [Grade("one", context, 0.0, 0.8)] * grades)


def quality(state: RouteState, task: str = "") -> float:
    found = beliefs([ONE, TWO], task, NO_FORECAST, state, {})["one"].quality
    assert found is not None
    return found.value


def test_what_nobody_graded_is_as_it_was_stated() -> None:
    """A stated figure would look as if it had been measured."""
    assert beliefs([ONE], "", NO_FORECAST, RouteState(), {})["one"].quality is None
    assert beliefs([ONE, TWO], "", NO_FORECAST, bad(on("coding")), {})["two"].quality is None


def test_grades_of_one_task_tell_less_of_others() -> None:
    """A model that codes badly would be shown to translate as badly, though routes do not think so."""
    state = bad(on("coding"))
    assert quality(state, "coding") < quality(state, "translation") - 0.1 < 0.7
    assert quality(state) == pytest.approx(quality(state, "coding"))  # all that it was asked for


def test_what_an_older_reading_of_prompts_learned_is_not_shown() -> None:
    """The table would show what routes no longer believe."""
    assert beliefs([ONE], "", NO_FORECAST, bad((1.0, 0.0, 0.0)), {})["one"].quality is None


def test_a_fitted_router_speaks_before_the_profile() -> None:
    """What was learned by `train` would be chosen by, and shown nowhere."""
    fitted = Forecast(quality={"one": Estimate(0.3, source="learned")}, usual={"one": 0.3})
    found = beliefs([ONE], "", fitted, RouteState(), {"one": 7.0})["one"]
    assert found.quality == Estimate(0.3, source="learned") and (found.falls, found.fell_at) == (0, 7.0)
