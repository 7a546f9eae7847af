"""The breaker: when it opens, how long, and who may try."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pointsman.core import ManualClock
from pointsman.endpoints.breaker import FORCED, ORDINARY, Breaker


def opened() -> tuple[Breaker, ManualClock]:
    clock = ManualClock(1000.0)
    breaker = Breaker(clock.clock.steady)
    for _ in range(5):
        breaker.failed(breaker.begin())
    return breaker, clock


def test_five_failures_in_a_row_open_it() -> None:
    """An endpoint that is down would be asked with every call."""
    clock = ManualClock()
    breaker = Breaker(clock.clock.steady)
    for _ in range(20):
        breaker.succeeded(breaker.begin())
    assert [breaker.failed(breaker.begin()) for _ in range(5)] == [False] * 4 + [True]
    assert breaker.is_open and not breaker.admits()
    assert breaker.reopens_at == 30.0


def test_half_of_the_attempts_of_a_minute_failing_opens_it() -> None:
    """One that fails every other time would never be left alone."""
    clock = ManualClock()
    breaker = Breaker(clock.clock.steady)
    for _ in range(3):
        breaker.succeeded(breaker.begin())
    assert [breaker.failed(breaker.begin()) for _ in range(3)] == [False, False, True]


def test_failures_older_than_a_minute_count_no_more() -> None:
    """One failure an hour would add up to an outage."""
    clock = ManualClock()
    breaker = Breaker(clock.clock.steady)
    for _ in range(4):
        breaker.failed(breaker.begin())
        breaker.succeeded(breaker.begin())
        clock.advance(61)
    assert breaker.state == "closed"


def test_one_trial_at_a_time_and_three_close_it() -> None:
    """An endpoint that is coming back would be hit by all waiting calls at once."""
    breaker, clock = opened()
    clock.advance(30)
    assert breaker.state == "half_open"
    for is_last in (False, False, True):
        assert breaker.admits()
        trial = breaker.begin()
        assert not breaker.admits()
        assert breaker.succeeded(trial) is is_last
    assert breaker.state == "closed"


def test_it_stays_open_longer_each_time_up_to_five_minutes() -> None:
    """A dead endpoint would cost a failed call every 30 seconds for ever."""
    breaker, clock = opened()
    spans = []
    for _ in range(12):
        assert breaker.reopens_at is not None
        spans.append(breaker.reopens_at - clock.now)
        clock.now = breaker.reopens_at
        assert breaker.failed(breaker.begin())
    assert spans == [30.0 * times for times in range(1, 11)] + [300.0, 300.0]


def test_a_trial_whose_caller_leaves_frees_its_place() -> None:
    """An impatient caller would shut an endpoint out for good."""
    breaker, clock = opened()
    clock.advance(30)
    breaker.abandoned(breaker.begin())
    assert breaker.admits() and breaker.state == "half_open"


def test_calls_from_before_it_opened_decide_nothing_after() -> None:
    """Slow failures that come in late would end the trial of an endpoint that works again, or free its place."""
    breaker, clock = opened()
    clock.advance(30)
    trial = breaker.begin()
    breaker.failed(ORDINARY)
    breaker.abandoned(ORDINARY)
    breaker.succeeded(ORDINARY)
    assert breaker.state == "half_open" and not breaker.admits()
    breaker.force_open(30)
    clock.advance(30)
    second = breaker.begin()
    breaker.succeeded(trial)
    assert not breaker.admits()
    breaker.succeeded(second)
    assert breaker.admits()


def test_a_call_sent_in_spite_of_it_that_works_lets_trials_begin() -> None:
    """When all are ill and one is asked all the same, its answer would be of no use."""
    breaker, _ = opened()
    ticket = breaker.begin()
    assert ticket == FORCED
    breaker.failed(ticket)
    assert breaker.is_open
    breaker.succeeded(breaker.begin())
    assert breaker.state == "half_open" and breaker.admits()


def test_a_probe_that_was_answered_ends_the_waiting() -> None:
    """A server that is up again would be left alone for five minutes."""
    breaker, _ = opened()
    breaker.probe_now()
    assert breaker.state == "half_open" and breaker.admits()


def test_another_process_may_open_and_close_it() -> None:
    """Each worker would have to fail for itself."""
    clock = ManualClock()
    breaker = Breaker(clock.clock.steady)
    breaker.force_open(40)
    assert breaker.is_open and breaker.reopens_at == 40
    breaker.force_open(10)
    assert breaker.reopens_at == 40
    breaker.close()
    assert breaker.state == "closed" and breaker.admits()


class Model(RuleBasedStateMachine):
    """The breaker against lists of what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.breaker = Breaker(self.clock.clock.steady)
        self.condition = "closed"
        self.until = 0.0
        self.times = 0
        self.outcomes: list[tuple[int, bool]] = []
        """Since it closed: the slot of five seconds, and whether it failed."""
        self.trial: int | None = None
        self.good = 0
        self.running: list[tuple[int, str, int]] = []
        """Ticket, what it was when it began, and the era in which."""
        self.era = 0

    def open(self, seconds: float) -> None:
        self.condition, self.until = "open", self.clock.now + seconds
        self.trial, self.good = None, 0
        self.era += 1

    def close(self) -> None:
        self.condition, self.times, self.outcomes, self.trial = "closed", 0, [], None

    def wakes(self) -> bool:
        return self.condition == "open" and self.clock.now >= self.until

    @rule(seconds=some.sampled_from([0.5, 4, 7, 29, 31, 61, 301]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def begin(self) -> None:
        admitted = self.breaker.admits()
        ticket = self.breaker.begin()
        if self.condition == "closed":
            kind = "ordinary"
        elif (self.wakes() or self.condition == "half_open") and self.trial is None:
            kind = "trial"
            self.condition, self.trial = "half_open", ticket
        else:
            kind = "forced"
        assert admitted == (kind != "forced")
        self.running.append((ticket, kind, self.era))

    @precondition(lambda self: self.running)
    @rule(data=some.data(), outcome=some.sampled_from(["succeeded", "failed", "failed", "abandoned"]))
    def end(self, data: some.DataObject, outcome: str) -> None:
        place = data.draw(some.integers(0, len(self.running) - 1))
        ticket, kind, _ = self.running.pop(place)
        getattr(self.breaker, outcome)(ticket)
        if self.condition == "closed":
            if outcome != "abandoned":
                self.count(outcome == "failed")
        elif kind == "trial" and ticket == self.trial:
            self.trial = None
            if outcome == "failed":
                self.times += 1
                self.open(min(30 * self.times, 300))
            elif outcome == "succeeded":
                self.good += 1
                if self.good == 3:
                    self.close()
        elif kind == "forced" and outcome == "succeeded" and self.condition == "open":
            self.condition, self.trial, self.good = "half_open", None, 0

    def count(self, failed: bool) -> None:
        slot = int(self.clock.now // 5)
        self.outcomes.append((slot, failed))
        recent = [bad for at, bad in self.outcomes if at > slot - 12]
        in_a_row = len(self.outcomes) >= 5 and all(bad for _, bad in self.outcomes[-5:])
        if failed and (in_a_row or (len(recent) >= 5 and sum(recent) * 2 >= len(recent))):
            self.times += 1
            self.open(min(30 * self.times, 300))

    @rule(seconds=some.sampled_from([5.0, 45.0]))
    def another_process_opens_it(self, seconds: float) -> None:
        self.breaker.force_open(seconds)
        until = max(self.until, self.clock.now + seconds) if self.condition == "open" else self.clock.now + seconds
        self.times = max(self.times, 1)
        self.open(seconds)
        self.until = until

    @rule()
    def a_probe_is_answered(self) -> None:
        self.breaker.probe_now()
        if self.condition == "open":
            self.condition, self.trial, self.good = "half_open", None, 0

    @invariant()
    def they_agree(self) -> None:
        assert self.breaker.state == ("half_open" if self.wakes() else self.condition)
        assert self.breaker.is_open == (self.condition == "open" and not self.wakes())
        if self.breaker.is_open:
            assert self.breaker.reopens_at == self.until


TestModel = Model.TestCase
TestModel.settings = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], stateful_step_count=80)
