"""A budget is never overspent, by no number of processes and no crash; and nothing that is left is withheld."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from budget_samples import CHILD, LIMIT, budgets_of, paid, purses, rule, settled
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import NOON, entry, finish
from ledger_samples import child as ledger_child

from pointsman.core import Caller, LedgerError, ManualClock, Nanos, OverBudget
from pointsman.ledger import Alert, Ledger, verify
from pointsman.ledger.journal import seed_of
from pointsman.ledger.periods import period_at
from pointsman.ledger.records import frame

ANN = Caller(key="ann", user="u", tags=("red", "blue", "red"))
MONTH = "key:ann:month:2026-11:team"


def child(*arguments: object, stdout: Any = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)


async def test_what_an_attempt_cost_is_spent_and_the_rest_is_at_hand_again(tmp_path: Path) -> None:
    """The bill and the budget would differ."""
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule(limit=Nanos(100))], clock=ManualClock(NOON).clock)
        hold = await budgets.reserve(ANN, Nanos(80))
        assert (hold.purses, hold.amount) == ((MONTH,), 80)
        with pytest.raises(OverBudget):
            await budgets.reserve(ANN, Nanos(21))
        ledger.record(paid(hold, 30))
        hold.settle(Nanos(30))
        hold.settle(Nanos(30))
        last = await budgets.reserve(ANN, Nanos(70))
        ledger.record(paid(last, None))
        last.settle(None)
        ledger.flush()
        (status,) = budgets.status()
        assert (status.who, status.period, status.spent, status.left) == ("ann", "2026-11", 100, 0)
        budgets.close()
    assert purses(tmp_path) == {MONTH: (100, 100, 0, 0)}
    assert settled(tmp_path) == {MONTH: 100}


async def test_an_attempt_that_cost_more_than_was_reserved_is_paid_for(tmp_path: Path) -> None:
    """A wrong guess of a price would be spent twice over."""
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule(limit=Nanos(100))], clock=ManualClock(NOON).clock)
        hold = await budgets.reserve(ANN, Nanos(10))
        ledger.record(paid(hold, 60))
        hold.settle(Nanos(60))
        with pytest.raises(OverBudget):
            await budgets.reserve(ANN, Nanos(41))
        (await budgets.reserve(ANN, Nanos(40))).settle(Nanos(0))
        budgets.close()
    assert purses(tmp_path) == {MONTH: (100, 60, 0, 0)}


@pytest.mark.parametrize("stored_first", [True, False])
async def test_a_debt_is_told_to_other_processes(tmp_path: Path, stored_first: bool) -> None:
    """What one process spent past its lease another one would spend once more."""
    clock = ManualClock(NOON).clock
    with Ledger.open(tmp_path) as first, Ledger.open(tmp_path) as second:
        mine = budgets_of(first, [rule(limit=Nanos(100))], clock=clock)
        theirs = budgets_of(second, [rule(limit=Nanos(100))], clock=clock)
        hold = await mine.reserve(ANN, Nanos(10))
        first.record(paid(hold, 90))
        hold.settle(Nanos(90))
        if stored_first:
            first.flush()
        else:
            await mine.tend()
        with pytest.raises(OverBudget):
            await theirs.reserve(ANN, Nanos(11))
        assert (await theirs.reserve(ANN, Nanos(10))).amount == 10
        mine.close()
        theirs.close()


async def test_rules_reserve_together_or_not_at_all(tmp_path: Path) -> None:
    """A call refused by one budget would eat up another."""
    with Ledger.open(tmp_path) as ledger:
        rules = [rule(), rule(id="all", scope="server", limit=Nanos(50)), rule(id="tags", scope="tag", window="day")]
        budgets = budgets_of(ledger, rules, clock=ManualClock(NOON).clock)
        hold = await budgets.reserve(ANN, Nanos(30))
        assert hold.purses == (
            MONTH,
            "server::month:2026-11:all",
            "tag:red:day:2026-11-18:tags",
            "tag:blue:day:2026-11-18:tags",
        )
        hold.settle(Nanos(0))
        with pytest.raises(OverBudget, match="budget 'all'.*of the server"):
            await budgets.reserve(ANN, Nanos(51))
        assert (await budgets.reserve(Caller(), Nanos(50))).purses == ("server::month:2026-11:all",)
        budgets.close()
        assert {numbers[3] for name, numbers in purses(tmp_path).items() if "server" not in name} == {0}


async def test_a_refusal_says_what_when_and_what_else(tmp_path: Path) -> None:
    """A caller would know neither why nor until when."""
    now = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()
    with Ledger.open(tmp_path) as ledger:
        rules = [rule(limit=Nanos(100), at_limit="free"), rule(id="one", window="request", limit=Nanos(80))]
        budgets = budgets_of(ledger, rules, clock=ManualClock(now).clock)
        assert budgets.restriction(ANN) == ""
        with pytest.raises(OverBudget, match="max_tokens") as too_dear:
            await budgets.reserve(ANN, Nanos(50), spent_by_call=31)
        assert too_dear.value.retry_after is None
        running = await budgets.reserve(ANN, Nanos(80))
        with pytest.raises(OverBudget, match="reserved") as soon:
            await budgets.reserve(ANN, Nanos(30))
        assert soon.value.retry_after == 1
        ledger.record(paid(running, 80))
        running.settle(Nanos(80))
        with pytest.raises(OverBudget, match=r"'team'.*'ann'.*2026-12-01 00:00 UTC.*Free and local") as spent:
            await budgets.reserve(ANN, Nanos(30))
        assert spent.value.retry_after == 3600
        assert (budgets.restriction(ANN, 30), budgets.restriction(ANN)) == ("free", "")
        ledger.record(paid(last := await budgets.reserve(ANN, Nanos(20)), 20))
        last.settle(Nanos(20))
        await budgets.tend()
        assert budgets.restriction(ANN) == "free"
        budgets.close()


async def test_an_unknown_price_is_refused_unless_allowed(tmp_path: Path) -> None:
    """Whatever nobody has a price for would pass as free of charge."""
    with Ledger.open(tmp_path) as ledger:
        clock = ManualClock(NOON).clock
        with pytest.raises(OverBudget, match="allow_unknown"):
            await budgets_of(ledger, [rule()], clock=clock).reserve(ANN, None)
        budgets = budgets_of(ledger, [rule(id="x", allow_unknown=True, limit=Nanos(5))], clock=clock)
        hold = await budgets.reserve(ANN, None)
        ledger.record(paid(hold, 5))
        hold.settle(Nanos(5))
        with pytest.raises(OverBudget):
            await budgets.reserve(ANN, None)
        assert (await budgets.reserve(ANN, Nanos(0))).purses == (), "what is free of charge is not blocked"
        budgets.close()


async def test_an_alert_is_told_once_by_all_processes_together(tmp_path: Path) -> None:
    """A pager would go off with every call, or after every restart."""
    heard: list[Alert] = []
    clock = ManualClock(NOON).clock
    for _ in range(5):
        with Ledger.open(tmp_path) as ledger:
            budgets = budgets_of(ledger, [rule(limit=Nanos(100))], clock=clock, tell=heard.append)
            hold = await budgets.reserve(ANN, Nanos(19))
            ledger.record(paid(hold, 19))
            hold.settle(Nanos(19))
            ledger.flush()
            await budgets.tend()
            (status,) = budgets.status()
            budgets.close()
    assert [(alert.share, alert.spent, alert.who) for alert in heard] == [(0.5, 57, "ann"), (0.8, 95, "ann")]
    assert status.alerts == (0.5, 0.8)
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule(limit=Nanos(100))], clock=clock, tell=heard.append)
        with pytest.raises(OverBudget):
            await budgets.reserve(ANN, Nanos(6))
        budgets.close()
    assert [alert.share for alert in heard] == [0.5, 0.8, 1.0], "what is left fits no call: it is spent"


async def test_money_that_lies_idle_goes_back(tmp_path: Path) -> None:
    """A worker that has nothing to do would keep money from one that has."""
    clock = ManualClock(NOON).clock
    with Ledger.open(tmp_path) as first, Ledger.open(tmp_path) as second:
        mine = budgets_of(first, [rule(limit=Nanos(100))], clock=clock)
        theirs = budgets_of(second, [rule(limit=Nanos(100))], clock=clock)
        (await mine.reserve(ANN, Nanos(100))).settle(Nanos(0))
        with pytest.raises(OverBudget, match="reserved"):
            await theirs.reserve(ANN, Nanos(1))
        for _ in range(5):
            await mine.tend()
        (await theirs.reserve(ANN, Nanos(100))).settle(Nanos(0))
        theirs.close()
        (await mine.reserve(ANN, Nanos(100))).settle(Nanos(0))
        mine.close()


async def test_a_new_period_fills_the_purse_and_pays_old_calls_from_the_old_one(tmp_path: Path) -> None:
    """A budget would be empty forever, or the night's calls billed to the wrong day."""
    manual = ManualClock(datetime(2026, 11, 20, 22, 59, tzinfo=UTC).timestamp())  # 23:59 in Berlin
    with Ledger.open(tmp_path) as ledger:
        daily = rule(window="day", timezone="Europe/Berlin", limit=Nanos(100))
        budgets = budgets_of(ledger, [daily], clock=manual.clock)
        old = await budgets.reserve(ANN, Nanos(100))
        manual.advance(60)
        new = await budgets.reserve(ANN, Nanos(100))
        for hold in (old, new):
            ledger.record(paid(hold, 100))
            hold.settle(Nanos(100))
        with pytest.raises(OverBudget):
            await budgets.reserve(ANN, Nanos(1))
        manual.advance(-60)
        with pytest.raises(OverBudget):
            await budgets.reserve(ANN, Nanos(1))
        budgets.close()
    spent = {name: numbers[1] for name, numbers in purses(tmp_path).items()}
    assert spent == {"key:ann:day:2026-11-20:team": 100, "key:ann:day:2026-11-21:team": 100}


@given(
    st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "America/Havana", "UTC"]),
    st.integers(0, 2_000_000_000),
    st.sampled_from(["day", "month"]),
)
def test_periods_meet_without_gap_or_overlap(zone_name: str, at: int, span: Any) -> None:
    """Around a change of the clocks money would be counted twice, or in no day."""
    zone = ZoneInfo(zone_name)
    period = period_at(span, zone, at)
    assert period.start <= at < period.end
    assert period_at(span, zone, period.start) == period
    assert period_at(span, zone, period.end - 1) == period
    following = period_at(span, zone, period.end)
    assert following.start == period.end and following.name > period.name
    assert datetime.fromtimestamp(at, zone).isoformat().startswith(period.name)


def test_a_day_may_have_23_or_25_hours() -> None:
    """A budget would be filled an hour early or late."""
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in ((datetime(2026, 3, 29, 12, tzinfo=berlin), 23), (datetime(2026, 10, 25, 12, tzinfo=berlin), 25)):
        period = period_at("day", berlin, day.timestamp())
        assert period.end - period.start == hours * 3600


async def test_callers_wait_together_and_leave_without_harm(tmp_path: Path) -> None:
    """A storm of calls would cost a transaction each; one that is cancelled would take money or others along."""
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule(limit=Nanos(500))])
        tasks = [asyncio.create_task(budgets.reserve(ANN, Nanos(10))) for _ in range(80)]
        await asyncio.sleep(0)
        for task in tasks[:20]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        held = [one for one in found if not isinstance(one, BaseException)]
        assert len(held) == 50
        assert sum(isinstance(one, OverBudget) for one in found) == 10
        for hold in held:
            hold.settle(Nanos(0))
        budgets.close()
        with pytest.raises(LedgerError, match="closed"):
            await budgets.reserve(ANN, Nanos(10))
    ((_, spent, lost, leased),) = purses(tmp_path).values()
    assert (spent, lost, leased) == (0, 0, 0)


@pytest.mark.fault(79, "Only what needs money from it is refused.")
async def test_a_locked_ledger_refuses_only_what_needs_it_and_loses_nothing(tmp_path: Path) -> None:
    """Money would be spent unchecked, or calls that have money in hand would stop."""
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule(limit=Nanos(3200))], clock=ManualClock(NOON).clock)
        (await budgets.reserve(ANN, Nanos(1))).settle(Nanos(0))
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            hold = await budgets.reserve(ANN, Nanos(100))
            with pytest.raises(LedgerError, match="locked"):
                await budgets.reserve(ANN, Nanos(3000))
            other.execute("ROLLBACK")
        hold.settle(Nanos(0))
        (await budgets.reserve(ANN, Nanos(3200))).settle(Nanos(0))
        budgets.close()
    assert list(purses(tmp_path).values()) == [(3200, 0, 0, 0)]


def test_two_processes_that_race_spend_nearly_all_and_never_more(tmp_path: Path) -> None:
    """Workers of one server would overspend together, or refuse calls while there is money."""
    racers = [child("spend_all", tmp_path, seed) for seed in (1, 2)]
    time.sleep(1)
    (tmp_path / "go").touch()
    total = sum(int(finish(racer)) for racer in racers)
    assert 0.95 * LIMIT <= total <= LIMIT
    ((_, spent, lost, leased),) = purses(tmp_path).values()
    assert (spent, lost, leased) == (total, 0, 0)


async def test_one_process_can_spend_all(tmp_path: Path) -> None:
    """A tenth of every budget would be lost to rounding."""
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule(limit=Nanos(1009))])
        for _ in range(1009):
            hold = await budgets.reserve(ANN, Nanos(1))
            hold.settle(None)
        with pytest.raises(OverBudget):
            await budgets.reserve(ANN, Nanos(1))
        budgets.close()


@pytest.mark.fault(81, "No budget loses or finds money.")
def test_kill_9_loses_no_nano_dollar(tmp_path: Path) -> None:
    """After a crash a budget would be overspent, or money would be missing from it."""
    rng, told = Random(11), {}
    kills = 8
    for number in range(kills):
        said = tmp_path / f"said-{number}"
        with said.open("w") as out:
            process = child("spend_until_killed", tmp_path, number, stdout=out)
        while not said.stat().st_size and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        assert process.communicate(timeout=30)[1] == ""
        told |= {line.split()[0]: int(line.split()[1]) for line in said.read_text().split("\n")[:-1]}
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        stored = {one.attempt_id: one for one in ledger.queries.entries()}
    assert set(told) <= set(stored) and len(stored) <= len(told) + kills
    sums, most = settled(tmp_path), LIMIT // 200_000
    found = purses(tmp_path)
    assert len(found) == 2
    for name, (limit, spent, lost, leased) in found.items():
        assert spent == sums[name] + lost <= limit
        assert leased == 0
        assert lost <= kills * most, "at most the attempt that ran at each kill"
    assert sum(told.values()) <= min(sums.values())


def test_what_a_killed_process_had_reserved_counts_as_spent(tmp_path: Path) -> None:
    """The upstream bills attempts that ran: their money would be spent once more."""
    process = child("hold_until_killed", tmp_path, 1000)
    assert process.stdout is not None and process.stdout.readline() == "1000\n"
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        ((_, spent, lost, leased),) = purses(tmp_path).values()
        assert spent == lost == 0 and leased >= LIMIT // 32, "it lives: its lease is its own"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        ledger.flush()
    assert list(purses(tmp_path).values()) == [(LIMIT, 1000, 1000, 0)]
    assert os.listdir(tmp_path / "journal") == []


@pytest.mark.fault(81, "A drain that is killed settles each entry once.")
def test_a_drain_that_is_killed_at_any_step_settles_each_entry_once(tmp_path: Path) -> None:
    """A crash of the process that cleans up after a crash would bill twice, or forget a bill."""
    rng = Random(5)
    for number in range(4):
        said = tmp_path / "said"
        with said.open("w") as out:
            process = child("spend_until_killed", tmp_path, number, stdout=out)
        while not said.stat().st_size and process.poll() is None:
            time.sleep(0.01)
        for _ in range(4):
            drainer = ledger_child("drain", tmp_path, 1000)
            time.sleep(0.25 + rng.random() * 0.1)
            drainer.send_signal(signal.SIGKILL)
            drainer.communicate(timeout=30)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        assert verify(ledger).findings == ()
    sums = settled(tmp_path)
    for name, (limit, spent, lost, leased) in purses(tmp_path).items():
        assert spent == sums[name] + lost <= limit and leased == 0


@pytest.mark.fault(77, "No money is spent that is not written down.")
def test_a_full_disk_spends_nothing_that_is_not_written_down(tmp_path: Path) -> None:
    """Money would be spent that no budget knows of; or the process would die of its own map of memory."""
    for limit in (100, 4_095, 20_000, 120_000):
        home = tmp_path / str(limit)
        total = int(finish(child("spend_in_little_room", home, limit)))
        with Ledger.open(home) as ledger:
            ledger.flush()
            assert verify(ledger).findings == ()
        found = purses(home).values()
        assert sum(spent - lost for _, spent, lost, _ in found) == total
        assert sum(lost for _, _, lost, _ in found) <= 1000, "at most the last hold, which was settled after it told"


async def test_leases_of_the_dead_are_given_back_when_they_are_needed(tmp_path: Path) -> None:
    """A crash in the midst of the cleaning up would lock money away for the rest of the month."""
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule(limit=Nanos(100))])
        (await budgets.reserve(ANN, Nanos(1))).settle(Nanos(0))
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("INSERT INTO leases VALUES (1, '1-2-gone', 90)")
            other.execute("INSERT INTO leases VALUES (1, '1-2-indebted', -5)")
        (await budgets.reserve(ANN, Nanos(100))).settle(Nanos(0))
        budgets.close()
    assert [numbers[1:] for numbers in purses(tmp_path).values()] == [(0, 0, 0)]


def test_what_a_damaged_journal_may_have_told_counts_as_spent(tmp_path: Path) -> None:
    """Bills that cannot be read any more would be spent a second time."""
    process = child("hold_until_killed", tmp_path, 1000)
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    (journal,) = (tmp_path / "journal").glob("*.journal")
    journal.write_bytes(b"?" * 100 + frame(entry(), seed_of(journal)))
    with Ledger.open(tmp_path) as ledger:
        ledger.flush()
        assert ledger.damaged == 1
    ((limit, spent, lost, leased),) = purses(tmp_path).values()
    assert spent == lost >= limit // 32 and leased == 0


async def test_an_entry_that_comes_twice_is_settled_once(tmp_path: Path) -> None:
    """A crash between two steps of the drain would bill twice."""
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule()], clock=ManualClock(NOON).clock)
        hold = await budgets.reserve(ANN, Nanos(50))
        twice = paid(hold, 20)
        for _ in range(2):
            ledger.record(twice)
        ledger.flush()
        for _ in range(2):
            ledger.record(twice)
            ledger.record(paid(hold, 1))
        ledger.flush()
        hold.settle(Nanos(22))
        budgets.close()
    ((_, spent, _, leased),) = purses(tmp_path).values()
    assert (spent, leased) == (22, 0)


async def test_a_limit_that_is_lowered_lends_nothing_more(tmp_path: Path) -> None:
    """A budget that was cut would go on as before until the month ends."""
    clock = ManualClock(NOON).clock
    for limit, fits in ((100, True), (50, False), (200, True)):
        with Ledger.open(tmp_path) as ledger:
            budgets = budgets_of(ledger, [rule(limit=Nanos(limit))], clock=clock)
            if fits:
                hold = await budgets.reserve(ANN, Nanos(90))
                ledger.record(paid(hold, 90))
                hold.settle(Nanos(90))
            else:
                with pytest.raises(OverBudget):
                    await budgets.reserve(ANN, Nanos(1))
            budgets.close()
    assert list(purses(tmp_path).values()) == [(200, 180, 0, 0)]


async def test_the_forecast_is_what_its_formula_says(tmp_path: Path) -> None:
    """A forecast that nobody can follow is a guess."""
    manual = ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp())
    with Ledger.open(tmp_path) as ledger:
        rules = [rule(), rule(id="all", scope="server", window="day")]
        budgets = budgets_of(ledger, rules, clock=manual.clock)
        for hours in (30, 20, 2):
            hold = await budgets.reserve(ANN, Nanos(2400))
            ledger.record(paid(hold, 2400, at=manual.now - hours * 3600))
            hold.settle(Nanos(2400))
        ledger.flush()
        month, day = budgets.status()
        assert (month.spent, month.burn_per_hour) == (7200, 200)
        assert month.forecast == 7200 + 200 * (9 * 24 + 12)
        assert (day.spent, day.burn_per_hour, day.forecast) == (7200, 200, 7200 + 200 * 12)
        budgets.close()
    unused = Ledger.open(tmp_path / "new")
    assert [one.who for one in budgets_of(unused, [rule(), rule(id="bob", who="bob")]).status()] == ["bob"]


@pytest.mark.parametrize("who", ["a:day:x", "\ud800", "'; DROP TABLE purses; --", "x" * 5000])
async def test_any_name_has_a_purse_of_its_own(tmp_path: Path, who: str) -> None:
    """A caller would choose a name under which nothing is counted."""
    with Ledger.open(tmp_path) as ledger:
        budgets = budgets_of(ledger, [rule(scope="user", limit=Nanos(10))])
        hold = await budgets.reserve(Caller(user=who), Nanos(10))
        ledger.record(paid(hold, 10, user=who))
        hold.settle(Nanos(10))
        with pytest.raises(OverBudget):
            await budgets.reserve(Caller(user=who), Nanos(1))
        for _ in range(6):
            await budgets.tend()
        with pytest.raises(OverBudget):
            await budgets.reserve(Caller(user=who), Nanos(1))
        budgets.close()
    ((_, spent, lost, leased),) = purses(tmp_path).values()
    assert (spent, lost, leased) == (10, 0, 0)


@pytest.mark.parametrize("change", [{"id": "a:b"}, {"scope": "server", "who": "x"}, {"alerts": (50.0,)}, {"limit": -1}])
def test_a_rule_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    """A slip in the configuration would be a budget that binds nobody."""
    with pytest.raises(ValueError):
        rule(**change)
    with pytest.raises(ValueError, match="time zone"):
        rule(timezone="Mars/Olympus")
