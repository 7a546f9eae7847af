"""State in memory: buckets that fill up by and by, and facts that hold for a while."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pointsman.core import ManualClock, MemoryState, Rate, State

MINUTE = Rate(10, 60.0)


def test_a_bucket_gives_its_amount_at_once_and_then_as_it_fills() -> None:
    """A limit of ten a minute would let eleven through, or fewer than ten."""
    clock = ManualClock()
    state = MemoryState(clock.clock)
    taken = [state.take([("a", MINUTE, 1)]) for _ in range(11)]
    assert taken == [0.0] * 10 + [pytest.approx(6.0)]
    clock.advance(taken[-1])
    assert state.take([("a", MINUTE, 1)]) == 0.0
    assert state.take([("a", MINUTE, 1)]) > 0.0


def test_a_look_takes_nothing() -> None:
    """A router that looks at every candidate would use up the limits of all of them."""
    state = MemoryState(ManualClock().clock)
    assert [state.wait([("a", MINUTE, 10)]) for _ in range(3)] == [0.0] * 3
    assert state.take([("a", MINUTE, 10)]) == 0.0


def test_several_buckets_are_taken_from_together_or_not_at_all() -> None:
    """A call that the tokens' limit refuses would still count as a request."""
    state = MemoryState(ManualClock().clock)
    assert state.take([("tokens", MINUTE, 10)]) == 0.0
    assert state.take([("requests", MINUTE, 1), ("tokens", MINUTE, 5)]) == pytest.approx(30.0)
    assert state.take([("requests", MINUTE, 10)]) == 0.0


def test_more_than_a_full_bucket_waits_for_a_full_one() -> None:
    """A call larger than the limit of a minute could never be made."""
    clock = ManualClock()
    state = MemoryState(clock.clock)
    assert state.take([("a", MINUTE, 1)]) == 0.0
    assert state.take([("a", MINUTE, 1000)]) == pytest.approx(6.0)
    clock.advance(6.0)
    assert state.take([("a", MINUTE, 1000)]) == 0.0
    assert state.wait([("a", MINUTE, 1)]) == pytest.approx(6.0)


def test_what_is_given_back_can_be_taken_again_but_no_more_than_a_full_bucket() -> None:
    """Reserved tokens that were not used would be lost for the minute, or a limit could be raised by refunds."""
    state = MemoryState(ManualClock().clock)
    state.take([("a", MINUTE, 8)])
    state.give("a", MINUTE, 5)
    assert state.take([("a", MINUTE, 7)]) == 0.0
    state.give("a", MINUTE, 1000)
    state.give("never taken", MINUTE, 1000)
    for name in ("a", "never taken"):
        assert state.take([(name, MINUTE, 10)]) == 0.0
        assert state.take([(name, MINUTE, 1)]) > 0.0


def test_what_was_taken_too_little_is_taken_later() -> None:
    """Calls that write more than was expected would overrun the provider's limit."""
    state = MemoryState(ManualClock().clock)
    state.take([("a", MINUTE, 2)])
    state.give("a", MINUTE, -100)
    assert state.wait([("a", MINUTE, 10)]) == pytest.approx(60.0)


def test_a_lowered_limit_blocks_for_no_longer_than_its_time() -> None:
    """After a change of the configuration an account could be shut for an hour."""
    state = MemoryState(ManualClock().clock)
    state.take([("a", Rate(1000, 60.0), 1000)])
    assert state.wait([("a", MINUTE, 10)]) == pytest.approx(60.0)


@pytest.mark.parametrize("rate", [(0, 60), (-1, 60), (10, 0), (float("nan"), 60)])
def test_a_rate_without_measure_is_refused(rate: tuple[float, float]) -> None:
    """A limit of nothing would divide by zero at the first call."""
    with pytest.raises(ValueError):
        Rate(*rate)


def test_a_fact_holds_for_its_time_and_is_told_to_those_who_watch() -> None:
    """An endpoint that one part found broken would be asked again by the others."""
    clock = ManualClock()
    state = MemoryState(clock.clock)
    told: list[tuple[str, bytes | None]] = []
    state.put("a:old", b"1", 5.0)
    state.watch("a:", lambda name, value: told.append((name, value)))
    state.put("a:new", b"2", 10.0)
    state.put("b:new", b"3", 10.0)
    state.put("a:old", b"", 0.0)
    assert told == [("a:old", b"1"), ("a:new", b"2"), ("a:old", None)]
    assert state.get("a:old") is None
    clock.advance(9.9)
    assert state.get("a:new") == b"2"
    clock.advance(0.1)
    assert state.get("a:new") is None


def test_names_of_callers_do_not_fill_the_memory() -> None:
    """Whoever sends a new name with each call could bring the process down."""
    clock = ManualClock()
    state = MemoryState(clock.clock)
    for number in range(50_000):
        state.take([(f"caller {number}", MINUTE, 1)])
        state.put(f"fact {number}", b"", 1.0)
        clock.advance(0.1)
    assert state.size < 10_000


def test_even_live_names_have_a_bound() -> None:
    """Nor with limits of a day, which are remembered for long."""
    state = MemoryState(ManualClock().clock)
    day = Rate(10, 86400.0)
    state.take([("spent", day, 10)])
    for number in range(250_000):
        state.take([(f"caller {number}", day, 1)])
    assert state.size <= 100_000
    assert state.wait([("spent", day, 1)]) > 0, "those that have used most are kept"


class Buckets(RuleBasedStateMachine):
    """MemoryState against the exact list of what was taken, in fractions."""

    RATES = {"a": Rate(5, 8.0), "b": Rate(64, 16.0)}

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.state: State = MemoryState(self.clock.clock)
        self.events: dict[str, list[tuple[Fraction, Fraction]]] = {name: [] for name in self.RATES}

    def level(self, name: str) -> Fraction:
        """All that was taken, less what leaked out between one event and the next."""
        rate, level, then = self.RATES[name], Fraction(0), Fraction(0)
        speed = Fraction(rate.amount) / Fraction(rate.seconds)
        for at, units in [*self.events[name], (Fraction(self.clock.now), Fraction(0))]:
            level = max(Fraction(0), level - (at - then) * speed)
            level = min(max(level + units, Fraction(0)), Fraction(rate.amount))
            then = at
        return level

    def needed(self, name: str, units: int) -> float:
        rate = self.RATES[name]
        over = self.level(name) + min(units, Fraction(rate.amount)) - Fraction(rate.amount)
        return float(max(Fraction(0), over) * Fraction(rate.seconds) / Fraction(rate.amount))

    @rule(eighths=some.integers(0, 80))
    def time_passes(self, eighths: int) -> None:
        self.clock.advance(eighths / 8)

    @rule(a=some.integers(0, 7), b=some.integers(0, 70))
    def take(self, a: int, b: int) -> None:
        takes = [("a", self.RATES["a"], a), ("b", self.RATES["b"], b)]
        needed = max(self.needed("a", a), self.needed("b", b))
        assert self.state.wait(takes) == pytest.approx(needed, abs=1e-4)
        waited = self.state.take(takes)
        assert waited == pytest.approx(needed, abs=1e-4)
        if waited == 0.0:
            for name, units in (("a", a), ("b", b)):
                self.events[name].append((Fraction(self.clock.now), Fraction(units)))

    @rule(name=some.sampled_from(["a", "b"]), units=some.integers(-10, 10))
    def give(self, name: str, units: int) -> None:
        self.state.give(name, self.RATES[name], units)
        self.events[name].append((Fraction(self.clock.now), Fraction(-units)))

    @invariant()
    def nobody_waits_longer_than_the_time_of_the_rate(self) -> None:
        for name, rate in self.RATES.items():
            assert self.state.wait([(name, rate, rate.amount)]) <= rate.seconds


TestBuckets = Buckets.TestCase
