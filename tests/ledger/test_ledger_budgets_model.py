"""Budgets against a simple model: processes that reserve, spend, overspend and die, and a clock that moves."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from budget_samples import budgets_of, paid, purses, rule, settled
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition
from hypothesis.stateful import rule as step

from pointsman.core import Caller, ManualClock, Nanos, OverBudget
from pointsman.ledger import Budgets, Hold, Ledger

T = TypeVar("T")
LIMIT = 1000
NUMBERS = st.integers(0, 2)


class Process:
    """One process of a server, as far as budgets see it."""

    def __init__(self, home: Path, clock: ManualClock) -> None:
        rules = [rule(limit=Nanos(LIMIT), window="day"), rule(id="all", scope="server", limit=Nanos(3 * LIMIT))]
        self.ledger = Ledger.open(home)
        self.budgets: Budgets = budgets_of(self.ledger, rules, clock=clock.clock)
        self.holds: list[Hold] = []
        self.ledger.start()
        self.ledger._writer.close()  # its thread; the machine drains, when it likes to

    def die(self) -> None:
        """As by kill -9: nothing is given back, and its journal belongs to nobody any more."""
        assert self.ledger._journal is not None
        self.ledger._journal.close()

    def end(self) -> None:
        self.budgets.close()
        self.ledger.close()


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.clock = ManualClock(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())
        self.loop = asyncio.new_event_loop()
        self.processes = [Process(self.home, self.clock) for _ in range(3)]
        self.spent: dict[str, int] = {}
        self.over: dict[str, int] = {}
        """By how much attempts cost more than was reserved."""
        self.lost: dict[str, int] = {}

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """To its end; no timer goes off by itself."""
        try:
            return self.loop.run_until_complete(doing)
        finally:
            for process in self.processes:
                if process.budgets._timer is not None:
                    process.budgets._timer.cancel()
                    process.budgets._timer = None

    @step(number=NUMBERS, most=st.integers(1, 400), key=st.sampled_from(["ann", "bob"]))
    def reserve(self, number: int, most: int, key: str) -> None:
        process = self.processes[number]
        try:
            process.holds.append(self.run(process.budgets.reserve(Caller(key=key), Nanos(most))))
        except OverBudget:
            found = purses(self.home)
            assert any(limit - spent - leased < most for limit, spent, _, leased in found.values()), "there is enough"

    @precondition(lambda self: any(process.holds for process in self.processes))
    @step(number=NUMBERS, share=st.sampled_from([None, 0.0, 0.3, 1.0, 1.0, 1.5]))
    def record_and_settle(self, number: int, share: float | None) -> None:
        process = self.processes[number]
        if process.holds:
            hold = process.holds.pop(0)
            cost = None if share is None else Nanos(round(hold.amount * share))
            process.ledger.record(paid(hold, cost))
            hold.settle(cost)
            spent = hold.amount if cost is None else cost
            for name in hold.purses:
                self.spent[name] = self.spent.get(name, 0) + spent
                self.over[name] = self.over.get(name, 0) + max(0, spent - hold.amount)

    @step(number=NUMBERS)
    def release(self, number: int) -> None:
        if self.processes[number].holds:
            self.processes[number].holds.pop().settle(Nanos(0))

    @step(number=NUMBERS, times=st.sampled_from([1, 5]))
    def tend(self, number: int, times: int) -> None:
        for _ in range(times):
            self.run(self.processes[number].budgets.tend())

    @step(number=NUMBERS)
    def drain(self, number: int) -> None:
        self.processes[number].ledger.flush()

    @step(number=NUMBERS)
    def die(self, number: int) -> None:
        process = self.processes[number]
        process.die()
        for hold in process.holds:
            for name in hold.purses:
                self.lost[name] = self.lost.get(name, 0) + hold.amount
        self.processes[number] = Process(self.home, self.clock)

    @step(hours=st.sampled_from([1, 9, 13]))
    def time_goes_on(self, hours: int) -> None:
        self.clock.advance(hours * 3600)

    @invariant()
    def nothing_is_overspent(self) -> None:
        if (self.home / "ledger.sqlite").exists():
            for name, (limit, spent, lost, leased) in purses(self.home).items():
                over = self.over.get(name, 0)
                assert spent + leased <= limit + over, name
                assert self.spent.get(name, 0) <= limit + over, name
                assert lost <= self.lost.get(name, 0), name

    def teardown(self) -> None:
        for process in self.processes:
            while process.holds:
                process.holds.pop().settle(Nanos(0))
            process.end()
        with Ledger.open(self.home) as ledger:
            ledger.flush()
        if (self.home / "ledger.sqlite").exists():
            sums = settled(self.home)
            for name, (_, spent, lost, leased) in purses(self.home).items():
                assert sums.get(name, 0) == self.spent.get(name, 0), name
                assert spent == sums.get(name, 0) + lost, name
                assert leased == 0, name
                if not self.over.get(name):
                    assert lost == self.lost.get(name, 0), name
        self.loop.close()
        shutil.rmtree(self.home)


TestBudgets = Machine.TestCase
TestBudgets.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
