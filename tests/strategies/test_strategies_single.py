"""The plainest strategy, and the only loop that tries again."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from pointsman.core import (
    Answer,
    Ask,
    AttemptError,
    BrokenReply,
    Call,
    CallRejected,
    Chat,
    ContentFiltered,
    ContextTooLong,
    InvalidCall,
    KeyRejected,
    ManualClock,
    ModelGone,
    NoCandidate,
    OutOfCredit,
    OverBudget,
    Overloaded,
    RateLimited,
    Reply,
    Served,
    Timeouts,
    Unreachable,
    Unservable,
    UpstreamFailed,
    UpstreamTimeout,
)
from pointsman.strategies import Choice, Retries, single

Way = str | Exception | list[str | Exception]


class World:
    """Places that write down when they were asked: an exception is raised, a text answered; of a list one after the
    other, and the last one for ever. Time passes only in pauses, and by `each` with every attempt."""

    def __init__(self, *ways: Way, each: float = 0.0, rounds: int = 2, attempts: int = 6, total: float = 600) -> None:
        self.time = ManualClock()
        self.each = each
        self.asked: list[int] = []
        self.pauses: list[float] = []
        self.retries = Retries(
            clock=self.time.clock,
            sleep=self._sleep,
            uniform=Random(1).uniform,
            total=total,
            most_rounds=rounds,
            most_attempts=attempts,
        )
        self.plan = [Choice(str(number), self._ask(number, way)) for number, way in enumerate(ways)]

    async def text(self, call: Call | None = None) -> str:
        reply = await single(lambda call: self.plan, self.retries)(call or a_call())
        return (await reply.read()).text

    def _ask(self, number: int, way: Way) -> Ask:
        ways = list(way) if isinstance(way, list) else [way]

        async def ask(call: Call) -> Reply:
            self.asked.append(number)
            call.tally.attempts += 1
            self.time.advance(self.each)
            now = ways.pop(0) if len(ways) > 1 else ways[0]
            if isinstance(now, Exception):
                raise now
            return Reply(Served("m", "p/m", "p"), clock=self.time.clock, started=0, answer=Answer(text=now))

        return ask

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time.advance(seconds)


def a_call(timeouts: Timeouts | None = None) -> Call:
    return Call(id="1", model="auto", chat=Chat(()), timeouts=timeouts or Timeouts())


async def test_the_first_that_answers_is_the_only_one_asked() -> None:
    """Every call would be paid for several times."""
    world = World("one", "two")
    assert (await world.text(), world.asked, world.pauses) == ("one", [0], [])


@pytest.mark.parametrize(
    "error",
    [
        ContextTooLong("x", upstream_status=400),
        ContentFiltered("x", upstream_status=400),
        CallRejected("This dialect cannot say it: it never went out."),
        KeyRejected("x", upstream_status=401),
        OutOfCredit("x", upstream_status=402),
        ModelGone("x", upstream_status=404),
        RateLimited("x", upstream_status=429),
        Overloaded("x", upstream_status=529),
        UpstreamFailed("x", upstream_status=500),
        UpstreamTimeout("x"),
        Unreachable("x"),
        BrokenReply("x"),
        NoCandidate("x"),
        OverBudget("x"),
    ],
    ids=lambda error: error.kind,
)
async def test_what_another_place_may_do_better_goes_there_at_once(error: Exception) -> None:
    """One provider's trouble would be the caller's."""
    world = World(error, "two", "three")
    assert (await world.text(), world.asked, world.pauses) == ("two", [0, 1], [])


async def test_what_every_model_would_refuse_is_raised_at_once() -> None:
    """A malformed call would be sent to, and billed by, everybody."""
    world = World(CallRejected("temperature must be at most 2", upstream_status=400), "two")
    with pytest.raises(CallRejected, match="temperature"):
        await world.text()
    assert world.asked == [0]


@pytest.mark.parametrize(
    "error", [UpstreamFailed("x"), Overloaded("x", upstream_status=529), Unreachable("x"), BrokenReply("x")], ids=repr
)
async def test_a_sole_place_is_tried_three_times(error: AttemptError) -> None:
    """A hiccup would be an outage; or an outage would be hammered."""
    world = World(error)
    with pytest.raises(type(error)):
        await world.text()
    assert world.asked == [0, 0, 0]
    assert len(world.pauses) == 2
    assert 0 <= world.pauses[0] <= 0.5
    assert 0 <= world.pauses[1] <= 1


@pytest.mark.parametrize(
    "error",
    [
        UpstreamTimeout("x"),
        KeyRejected("x", upstream_status=401),
        ModelGone("x"),
        ContextTooLong("x", upstream_status=400),
        RateLimited("our own limit", retry_after=1),
        RateLimited("x", upstream_status=429, retry_after=61),
    ],
    ids=lambda error: error.kind,
)
async def test_what_a_second_try_cannot_mend_is_not_tried_twice(error: AttemptError) -> None:
    """Callers would wait, and pay twice, for the same refusal."""
    world = World(error)
    with pytest.raises(type(error)):
        await world.text()
    assert (world.asked, world.pauses) == ([0], [])


async def test_a_second_try_that_works_is_the_answer() -> None:
    """Retries would be for nothing."""
    world = World([UpstreamFailed("x"), "late"])
    assert (await world.text(), world.asked) == ("late", [0, 0])


async def test_retry_after_is_waited_for() -> None:
    """An upstream that says when to come back would be hammered before."""
    world = World([RateLimited("x", upstream_status=429, retry_after=20), "late"])
    assert await world.text() == "late"
    assert 20 <= world.pauses[0] <= 20.5


async def test_retry_after_past_the_deadline_is_the_answer_at_once() -> None:
    """A caller would wait for a time that he does not have."""
    world = World(RateLimited("x", upstream_status=429, retry_after=20))
    with pytest.raises(RateLimited) as refused:
        await world.text(a_call(Timeouts(total=10)))
    assert (world.asked, world.pauses, refused.value.retry_after) == ([0], [], 20)


async def test_no_attempt_begins_past_the_deadline() -> None:
    """A call would go on long after its caller has given up."""
    world = World(*[UpstreamFailed(name) for name in "abcd"], each=4, total=10)
    with pytest.raises(UpstreamFailed, match="c"):
        await world.text()
    assert world.asked == [0, 1, 2]


async def test_a_call_makes_at_most_six_attempts_however_strategies_nest() -> None:
    """Retries inside of retries would multiply: one call would become a storm."""
    world = World(*[UpstreamFailed(name) for name in "abcd"])
    inner = single(lambda call: world.plan, world.retries)
    middle = single(lambda call: [Choice("x", inner), Choice("y", inner)], world.retries)
    outer = single(lambda call: [Choice("z", middle)], world.retries)
    with pytest.raises(UpstreamFailed):
        await outer(a_call())
    assert len(world.asked) == 6
    assert len(world.pauses) <= 2


async def test_a_plan_within_a_plan_leaves_second_tries_to_the_outer_one() -> None:
    """A pool would wait for a member that fails while the others stand idle."""
    world = World(UpstreamFailed("x"), "other")
    member = single(lambda call: world.plan[:1], world.retries)
    pool = single(lambda call: [Choice("member", member), world.plan[1]], world.retries)
    assert (await (await pool(a_call())).read()).text == "other"
    assert (world.asked, world.pauses) == ([0, 1], [])


async def test_only_a_fifth_of_the_calls_is_tried_again() -> None:
    """An upstream that falls over under its load would get three times that load."""
    world = World("unused")
    everybody, over = asyncio.Barrier(40), asyncio.Event()

    async def fails(call: Call) -> Reply:
        if not call.tally.rounds:
            await everybody.wait()
        raise UpstreamFailed("x")

    async def held(seconds: float) -> None:
        world.pauses.append(seconds)
        await over.wait()

    world.plan, world.retries.sleep = [Choice("x", fails)], held
    calls = [asyncio.create_task(world.text()) for _ in range(40)]
    await asyncio.wait(calls, timeout=0.5)
    assert (sum(call.done() for call in calls), len(world.pauses)) == (32, 8)
    over.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (world.retries.under_way, world.retries.again) == (0, 0)


async def test_a_caller_who_leaves_in_a_pause_frees_its_place_in_the_budget() -> None:
    """Retries would stop for everybody, for good."""
    world = World(UpstreamFailed("x"))

    pausing = asyncio.Event()

    async def for_ever(seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    world.retries.sleep = for_ever
    call = asyncio.create_task(world.text())
    await pausing.wait()
    assert world.retries.again == 1
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert (world.retries.under_way, world.retries.again) == (0, 0)


async def test_a_context_that_is_too_long_goes_to_a_larger_one() -> None:
    """The next small context would be asked in vain."""
    world = World(ContextTooLong("x", upstream_status=400), "small", "large")
    contexts = (8_000, 4_000, 100_000)
    world.plan = [Choice(one.name, one.ask, context=size) for one, size in zip(world.plan, contexts, strict=True)]
    assert (await world.text(), world.asked) == ("large", [0, 2])


@pytest.mark.parametrize(
    "error",
    [ContentFiltered("x", upstream_status=400), KeyRejected("x", upstream_status=401), Unreachable("x")],
    ids=lambda error: error.kind,
)
async def test_what_a_provider_refuses_goes_to_another_one(error: AttemptError) -> None:
    """Each model behind the same closed door would be tried in turn."""
    world = World(error, "same door", "another")
    world.plan = [Choice(one.name, one.ask, door) for one, door in zip(world.plan, "aab", strict=True)]
    assert (await world.text(), world.asked) == ("another", [0, 2])


async def test_the_failure_that_tells_of_a_fault_is_raised() -> None:
    """'Too many requests' would hide that the other place is down."""
    world = World(UpstreamFailed("broken"), RateLimited("full", retry_after=5), rounds=0)
    with pytest.raises(UpstreamFailed, match="broken"):
        await world.text()


async def test_of_limits_the_one_that_ends_first_is_raised() -> None:
    """A client would come back later than it need."""
    limits = [RateLimited(f"{seconds}", retry_after=seconds) for seconds in (30, 5, 20)]
    world = World(*limits)
    with pytest.raises(RateLimited) as refused:
        await world.text()
    assert refused.value.retry_after == 5


async def test_where_nobody_can_be_asked_every_reason_is_told() -> None:
    """The caller would not learn what to change."""
    world = World(NoCandidate("x", {"a": "is off"}), NoCandidate("x", {"b": "has no key"}))
    with pytest.raises(NoCandidate, match="has no key") as refused:
        await world.text()
    assert dict(refused.value.reasons) == {"a": "is off", "b": "has no key"}
    with pytest.raises(Unservable):
        await World(Unservable("never")).text()


async def test_money_that_is_spent_is_told_where_nothing_else_serves() -> None:
    """The caller would look for a fault that there is not."""
    with pytest.raises(OverBudget):
        await World(OverBudget("spent"), NoCandidate("x", {"b": "has no key"})).text()


@pytest.mark.parametrize("error", [InvalidCall("x"), asyncio.CancelledError(), ZeroDivisionError()], ids=repr)
async def test_what_is_no_failure_of_an_attempt_is_not_tried_elsewhere(error: BaseException) -> None:
    """A caller who left, or a bug of ours, would run through the whole plan."""
    world = World("one")

    async def fails(call: Call) -> Reply:
        raise error

    world.plan = [Choice("fails", fails), *world.plan]
    with pytest.raises(type(error)):
        await world.text()
    assert world.asked == []
