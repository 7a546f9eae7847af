"""The order in which a pool's members are tried."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from pointsman.core import Answer, Call, Chat, ManualClock, Message, Reply, Served, Text, UpstreamFailed
from pointsman.endpoints.load import Load
from pointsman.endpoints.pool import ORDERS, Balance, Member, Pool, measured
from pointsman.endpoints.simulated import Script, SimulatedEndpoint

CALL = Call(id="c", model="pool", chat=Chat((Message("user", (Text("hello"),)),)))
BALANCES = list(ORDERS)


class World:
    """A pool of members `a`, `b`, …, and what is wrong with them."""

    def __init__(self, names: str, balance: Balance, weights: dict[str, int] | None = None) -> None:
        self.time = ManualClock()
        self.ill: set[str] = set()
        self.loads = {name: Load(self.time.clock.steady) for name in names}
        self.pool = Pool(
            [self._member(name, (weights or {}).get(name, 1)) for name in names], balance=balance, rng=Random(7)
        )

    def order(self) -> str:
        return "".join(member.name for member in self.pool.order())

    def firsts(self, count: int) -> Counter[str]:
        return Counter(self.order()[0] for _ in range(count))

    def _member(self, name: str, weight: int) -> Member:
        async def ask(call: Call) -> Reply:
            raise AssertionError("only the order is asked for")

        return Member(name, ask, self.loads[name], is_healthy=lambda: name not in self.ill, weight=weight)


@pytest.mark.parametrize("balance", BALANCES)
def test_every_member_is_in_the_order_once(balance: Balance) -> None:
    """A member would never take over, or would be tried twice."""
    world = World("abcd", balance)
    for _ in range(20):
        assert sorted(world.order()) == list("abcd")


@pytest.mark.parametrize("balance", BALANCES)
def test_a_member_that_is_out_of_order_is_left_out(balance: Balance) -> None:
    """Every few calls would run into a member that is known to fail."""
    world = World("abcd", balance)
    world.ill = {"b", "c"}
    for _ in range(20):
        assert sorted(world.order()) == list("ad")


@pytest.mark.parametrize("balance", BALANCES)
def test_when_most_are_out_of_order_they_are_tried_after_the_others(balance: Balance) -> None:
    """One wrong look at health would shut a whole pool."""
    world = World("abc", balance)
    world.ill = {"a", "c"}
    for _ in range(20):
        order = world.order()
        assert (order[0], sorted(order)) == ("b", list("abc"))


@pytest.mark.parametrize("balance", BALANCES)
def test_the_only_member_is_always_asked(balance: Balance) -> None:
    """A pool of one would be down for as long as its member is thought to be."""
    world = World("a", balance)
    world.ill = {"a"}
    assert world.order() == "a"


def test_round_robin_gives_each_its_turn() -> None:
    """One account would be used up while others lie idle."""
    assert World("abc", "round_robin").firsts(300) == {"a": 100, "b": 100, "c": 100}


def test_weights_are_shares_and_come_evenly() -> None:
    """Ten of one and three of another would be fourteen in a row of the first."""
    world = World("ab", "weighted", {"a": 10, "b": 3})
    firsts = "".join(world.order()[0] for _ in range(130))
    assert Counter(firsts) == {"a": 100, "b": 30}
    assert "bb" not in firsts
    assert "aaaaaa" not in firsts


def test_the_least_busy_comes_first() -> None:
    """Calls would queue behind others while a member is free."""
    world = World("abc", "least_busy")
    for name in "abbc":
        world.loads[name].began()
    world.loads["a"].ended()
    assert world.firsts(10) == {"a": 10}


def test_the_fastest_comes_first_and_each_is_tried_once() -> None:
    """A slow member would be as good as a fast one, or a new one would never be tried."""
    world = World("abc", "fastest")
    world.loads["a"].saw(0.5)
    world.loads["b"].saw(0.1)
    assert world.order()[0] == "c"
    world.loads["c"].saw(0.3)
    assert world.order() == "bca"


def test_two_choices_avoid_the_slow_without_starving_it() -> None:
    """The slow member would get as much as the others; or all calls would rush to one."""
    world = World("abc", "p2c")
    for name, ttft in (("a", 0.1), ("b", 0.1), ("c", 2.0)):
        world.loads[name].saw(ttft)
    firsts = world.firsts(600)
    assert firsts["c"] == 0
    assert min(firsts["a"], firsts["b"]) > 150


def test_a_stall_counts_at_once_and_is_forgotten_by_and_by() -> None:
    """A member that stalls would go on being chosen; or one bad moment would be held against it for ever."""
    time = ManualClock()
    load = Load(time.clock.steady)
    load.saw(0.1)
    load.saw(5.0)
    assert load.ttft == 5.0
    time.advance(10)
    load.saw(0.1)
    assert load.ttft == pytest.approx(0.1 + 4.9 / 2.718281828)
    time.advance(100)
    load.saw(0.1)
    assert load.ttft == pytest.approx(0.1, abs=0.01)


async def test_a_call_is_in_flight_until_its_reply_ends() -> None:
    """Slots would leak, and a member would look busy for ever."""
    load = Load(ManualClock().clock.steady)

    async def answers(call: Call) -> Reply:
        assert load.in_flight == 1
        return Reply(Served("a", "a", "p"), clock=ManualClock().clock, started=0.0, answer=Answer(text="a"))

    async def fails(call: Call) -> Reply:
        raise UpstreamFailed("no")

    await measured(answers, load)(CALL)
    assert (load.in_flight, load.ttft) == (0, None)
    with pytest.raises(UpstreamFailed):
        await measured(fails, load)(CALL)
    assert load.in_flight == 0


@pytest.mark.parametrize("messages", [(), (Message("user", ()),)])
async def test_the_simulated_model_answers_a_message_without_content(messages: tuple[Message, ...]) -> None:
    """A conversation with an empty message would be an error of the server."""
    endpoint = SimulatedEndpoint(Served("s", "s", "s"), Script(), ManualClock().clock)
    reply = await endpoint(Call(id="c", model="s", chat=Chat(messages)))
    assert (await reply.read()).text == "simulated: "
