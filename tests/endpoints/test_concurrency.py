"""How many calls an endpoint takes at once."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pointsman.endpoints.concurrency import Concurrency


def test_a_burst_that_is_refused_cuts_once() -> None:
    """A hundred refusals of one moment would bring the limit down to one call."""
    bound = Concurrency()
    tickets = [bound.enter() for _ in range(100)]
    for ticket in tickets:
        bound.leave(ticket, "refused")
    assert bound.limit == 70
    assert bound.in_flight == 0


def test_a_refusal_after_the_cut_cuts_again() -> None:
    """The limit would stay too high for an upstream that still refuses."""
    bound = Concurrency()
    for limit in (7, 4, 2, 1, 1):
        tickets = [bound.enter() for _ in range(min(10, bound.limit))]
        bound.leave(tickets[0], "refused")
        assert bound.limit == limit
        for ticket in tickets[1:]:
            bound.leave(ticket, "other")


def test_only_a_window_that_is_nearly_used_grows() -> None:
    """A limit that a single call at a time raises without end protects nobody."""
    bound = Concurrency(start=15)
    first, *others = [bound.enter() for _ in range(15)]
    bound.leave(first, "refused")
    for ticket in others:
        bound.leave(ticket, "other")
    assert bound.limit == 10
    for _ in range(100):
        bound.leave(bound.enter(), "ok")
    assert bound.limit == 10
    for _ in range(9):
        bound.enter()
    for _ in range(10):
        bound.leave(bound.enter(), "ok")
    assert bound.limit == 11


def test_no_bound_is_guessed_before_the_first_refusal() -> None:
    """An upstream that takes two thousand calls at once would be given two hundred."""
    bound = Concurrency(start=200, most=4096)
    tickets = []
    while not bound.is_full:
        tickets.append(bound.enter())
    assert len(tickets) == 4096
    bound.leave(tickets[0], "refused")
    assert (bound.limit, bound.is_full) == (2867, True)


def test_nothing_but_a_refusal_shrinks_it() -> None:
    """Callers who leave, or a slow hour, would shut out others."""
    bound = Concurrency()
    for _ in range(1000):
        bound.leave(bound.enter(), "other")
    assert bound.limit == 200


class Model(RuleBasedStateMachine):
    """Concurrency against the set of the calls that are in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.bound = Concurrency(start=5, least=2, most=8)
        self.running: list[tuple[int, int]] = []
        """Ticket, and the number of cuts when it entered."""
        self.cuts = 0
        self.limit = 5
        self.good = 0

    @precondition(lambda self: not self.bound.is_full)
    @rule()
    def enter(self) -> None:
        self.running.append((self.bound.enter(), self.cuts))
        self.limit = max(self.limit, len(self.running))

    @precondition(lambda self: self.running)
    @rule(data=some.data(), outcome=some.sampled_from(["ok", "ok", "ok", "refused", "other"]))
    def leave(self, data: some.DataObject, outcome: str) -> None:
        in_flight = len(self.running)
        ticket, cuts = self.running.pop(data.draw(some.integers(0, in_flight - 1)))
        self.bound.leave(ticket, outcome)  # type: ignore[arg-type]
        if outcome == "refused" and cuts == self.cuts:
            self.cuts += 1
            self.limit = max(2, min(self.limit, int(0.7 * in_flight)))
            self.good = 0
        elif outcome == "ok" and in_flight >= 0.9 * self.limit:
            self.good += 1
            if self.good >= self.limit:
                self.good = 0
                self.limit = min(8, self.limit + 1)

    @invariant()
    def they_agree(self) -> None:
        assert self.bound.in_flight == len(self.running)
        assert self.bound.limit == self.limit
        assert self.bound.is_full == (len(self.running) >= (self.limit if self.cuts else 8))


TestModel = Model.TestCase
TestModel.settings = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
