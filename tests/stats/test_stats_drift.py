"""Whether a model became worse is found soon, and not found where nothing changed."""

from random import Random
from statistics import median

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.stats.drift import ALARM, SLACK, WARM_UP, Drift, watch

SD = 0.45
"""Of a yes or no that is yes in 70 to 75 of 100."""


def alarms(rng: Random, outcomes: int, *, success: float, expected: float, falls_at: int | None = None) -> list[int]:
    """The places of the alarms, where success falls by ten points from `falls_at` on."""
    state, found = Drift(), []
    for place in range(outcomes):
        now = success - (0.1 if falls_at is not None and place >= falls_at else 0.0)
        state, alarm = watch(state, (expected - (rng.random() < now)) / SD)
        if alarm:
            found.append(place)
    return found


def uncentred_alarms(rng: Random, outcomes: int, *, success: float, expected: float) -> int:
    """What the same test would find if it held surprises against zero."""
    excess, found = 0.0, 0
    for _ in range(outcomes):
        excess = max(0.0, excess + (expected - (rng.random() < success)) / SD - SLACK)
        if excess > ALARM:
            excess, found = 0.0, found + 1
    return found


@pytest.mark.parametrize("bias", [0.0, 0.05, -0.05])
def test_a_model_that_stays_as_it_is_is_seldom_called_worse(bias: float) -> None:
    """Learners would forget what they know of a model several times a day."""
    rng = Random(1)
    found = [len(alarms(rng, 10_000, success=0.7, expected=0.7 + bias)) for _ in range(20)]
    assert sum(found) / len(found) < 8


def test_held_against_zero_an_over_estimated_model_would_be_called_worse() -> None:
    """Models are mostly asked where they are over-estimated: without the centre each of them would raise alarms."""
    centred = sum(len(alarms(Random(seed), 10_000, success=0.7, expected=0.75)) for seed in range(10))
    uncentred = sum(uncentred_alarms(Random(seed), 10_000, success=0.7, expected=0.75) for seed in range(10))
    assert uncentred > 3 * centred


@pytest.mark.parametrize("success", [0.6, 0.7, 0.85])
def test_a_fall_of_ten_points_is_found_within_some_hundred_outcomes(success: float) -> None:
    """A model that was silently replaced by a worse one would go on being chosen."""
    rng, delays = Random(2), []
    for _ in range(100):
        found = alarms(rng, 3000, success=success, expected=success, falls_at=1000)
        delays.append(next((place - 1000 for place in found if place >= 1000), 2000))
    assert median(delays) < 200
    assert sum(delay >= 1000 for delay in delays) <= 5


def test_a_model_that_became_better_raises_no_alarm() -> None:
    """Good news would throw away what is known."""
    rng, state = Random(3), Drift()
    for place in range(2000):
        state, alarm = watch(state, (0.7 - (rng.random() < (0.6 if place < 500 else 0.9))) / SD)
        assert not (alarm and place > 500)


@given(st.lists(st.floats(-50, 50), max_size=WARM_UP))
def test_the_first_outcomes_only_teach_what_is_usual(surprises: list[float]) -> None:
    """A model's first bad answers would count as a change."""
    state = Drift()
    for z in surprises:
        state, alarm = watch(state, z)
        assert not alarm and state.excess == 0
    assert state.seen == len(surprises)


@given(st.lists(st.floats(-50, 50), max_size=200))
def test_a_state_survives_storage_and_goes_on_the_same(surprises: list[float]) -> None:
    """A restart would change what is found."""
    kept = stored = Drift()
    for z in surprises:
        kept, alarm = watch(kept, z)
        stored, stored_alarm = watch(msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=Drift), z)
        assert (kept, alarm) == (stored, stored_alarm)
        assert 0 <= kept.excess <= ALARM


@pytest.mark.parametrize("z", [float("nan"), float("inf"), -float("inf")])
def test_a_surprise_that_is_no_number_is_refused(z: float) -> None:
    """One of them would make every later sum one, and no alarm would ever come."""
    with pytest.raises(ValueError, match="no number"):
        watch(Drift(), z)
