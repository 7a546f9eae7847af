"""The plainest strategy: in order, until one has begun to answer."""

from __future__ import annotations

import asyncio

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
    OutOfCredit,
    Overloaded,
    RateLimited,
    Reply,
    Served,
    Unreachable,
    UpstreamFailed,
    UpstreamTimeout,
)
from pointsman.strategies import single

CALL = Call(id="1", model="auto", chat=Chat(()))


class Plan:
    """Asks that write down when they were asked: an exception is raised, a text answered."""

    def __init__(self, *ways: str | Exception) -> None:
        self.asked: list[int] = []
        self.asks = [self._ask(number, way) for number, way in enumerate(ways)]

    def _ask(self, number: int, way: str | Exception) -> Ask:
        async def ask(call: Call) -> Reply:
            self.asked.append(number)
            if isinstance(way, Exception):
                raise way
            answer = Answer(text=way)
            return Reply(Served("m", "p/m", "p"), clock=ManualClock().clock, started=0, answer=answer)

        return ask


async def test_the_first_that_answers_is_the_only_one_asked() -> None:
    """Every call would be paid for several times."""
    plan = Plan("one", "two")
    reply = await single(plan.asks)(CALL)
    assert ((await reply.read()).text, plan.asked) == ("one", [0])


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
    ],
    ids=lambda error: error.kind,
)
async def test_what_another_model_may_do_better_falls_back(error: AttemptError) -> None:
    """One provider's trouble would be the caller's."""
    told: list[AttemptError] = []
    plan = Plan(error, "two", "three")
    reply = await single(plan.asks, told.append)(CALL)
    assert ((await reply.read()).text, plan.asked, told) == ("two", [0, 1], [error])


async def test_what_every_model_would_refuse_is_raised_at_once() -> None:
    """A malformed call would be sent to, and billed by, everybody."""
    error = CallRejected("temperature must be at most 2", upstream_status=400)
    told: list[AttemptError] = []
    plan = Plan(error, "two")
    with pytest.raises(CallRejected, match="temperature"):
        await single(plan.asks, told.append)(CALL)
    assert (plan.asked, told) == ([0], [error])


async def test_the_last_failure_is_raised_and_each_one_told() -> None:
    """The caller would see a failure that is not the last, or none."""
    errors = [Overloaded("a"), UpstreamFailed("b"), Unreachable("c")]
    told: list[AttemptError] = []
    plan = Plan(*errors)
    with pytest.raises(Unreachable, match="c"):
        await single(plan.asks, told.append)(CALL)
    assert (plan.asked, told) == ([0, 1, 2], errors)


@pytest.mark.parametrize("error", [InvalidCall("x"), asyncio.CancelledError(), ZeroDivisionError()], ids=repr)
async def test_what_is_no_failure_of_an_attempt_is_not_tried_elsewhere(error: BaseException) -> None:
    """A caller who left, or a bug of ours, would run through the whole plan."""
    asked = []

    async def fails(call: Call) -> Reply:
        asked.append(call)
        raise error

    with pytest.raises(type(error)):
        await single([fails, *Plan("two").asks])(CALL)
    assert asked == [CALL]


async def test_a_strategy_stands_where_a_model_may() -> None:
    """Strategies could not be nested."""
    inner = single(Plan(Overloaded("a"), Unreachable("b")).asks)
    reply = await single([inner, *Plan("outer").asks])(CALL)
    assert (await reply.read()).text == "outer"
