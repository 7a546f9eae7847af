"""A pool over members that fail, each in its own way."""

from __future__ import annotations

from random import Random

import pytest

from pointsman.core import (
    Answer,
    Call,
    CallRejected,
    Chat,
    ContentFiltered,
    ContextTooLong,
    ManualClock,
    Message,
    NoCandidate,
    PointsmanError,
    Reply,
    Served,
    Text,
    UpstreamFailed,
)
from pointsman.endpoints.pool import ORDERS, Balance, Member, Pool
from pointsman.endpoints.simulated import Script, SimulatedEndpoint

CALL = Call(id="c", model="pool", chat=Chat((Message("user", (Text("hello"),)),)))


class Scripted:
    """An Ask that fails with `error`, or answers with its name."""

    def __init__(self, name: str, error: PointsmanError | None = None) -> None:
        self.name = name
        self.error = error
        self.asked = 0

    async def __call__(self, call: Call) -> Reply:
        self.asked += 1
        if self.error is not None:
            raise self.error
        served = Served(self.name, self.name, "p")
        return Reply(served, clock=ManualClock().clock, started=0.0, answer=Answer(text=self.name))


def pool(*members: Scripted, balance: Balance = "round_robin") -> tuple[Pool, list[Member]]:
    made = [Member(member.name, member) for member in members]
    return Pool("pool", made, balance=balance, rng=Random(1)), made


@pytest.mark.parametrize(
    "error",
    [
        UpstreamFailed("no"),
        ContextTooLong("too long", upstream_status=400),
        ContentFiltered("filtered", upstream_status=400),
        CallRejected("this format cannot say it"),
        NoCandidate("none"),
    ],
)
@pytest.mark.parametrize("balance", list(ORDERS))
async def test_a_member_that_cannot_serve_is_passed_over(error: PointsmanError, balance: Balance) -> None:
    """One member's trouble, or its small context, would be the caller's."""
    asks, members = pool(Scripted("bad", error), Scripted("good"), balance=balance)
    for _ in range(6):
        assert (await (await asks(CALL)).read()).text == "good"
    assert [member.in_flight for member in members] == [0, 0]


async def test_a_call_that_was_refused_as_such_is_not_tried_again() -> None:
    """Every mistake of a caller would be sent to all members."""
    members = [Scripted(name, CallRejected("no", upstream_status=400)) for name in "ab"]
    asks, _ = pool(*members)
    with pytest.raises(CallRejected):
        await asks(CALL)
    assert sum(member.asked for member in members) == 1


async def test_when_all_members_fail_the_last_failure_is_told() -> None:
    """The caller would not learn why."""
    asks, members = pool(*(Scripted(name, UpstreamFailed(name)) for name in "ab"))
    with pytest.raises(UpstreamFailed):
        await asks(CALL)
    assert [member.in_flight for member in members] == [0, 0]


@pytest.mark.parametrize("messages", [(), (Message("user", ()),)])
async def test_the_simulated_model_answers_a_message_without_content(messages: tuple[Message, ...]) -> None:
    """A conversation with an empty message would be an error of the server."""
    endpoint = SimulatedEndpoint(Served("s", "s", "s"), Script(), ManualClock().clock)
    reply = await endpoint(Call(id="c", model="s", chat=Chat(messages)))
    assert (await reply.read()).text == "simulated: "
