"""A pool: several endpoints behind one name, any of which may serve a call. It gives the order in which to try them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from ..core import Ask, Call, Ending, Reply
from .load import Load

Balance = Literal["p2c", "round_robin", "weighted", "least_busy", "fastest"]

PANIC = 0.5
"""Below this share of healthy members health is not believed any more: it is likelier that we are wrong than that
everybody is ill, and the few that are left would be overrun."""


class Member:
    """One member of a pool: an Ask, how it fares, and how much of the traffic it is to get."""

    def __init__(
        self,
        name: str,
        ask: Ask,
        load: Load,
        *,
        is_healthy: Callable[[], bool] = lambda: True,
        weight: int = 1,
    ) -> None:
        """`load` is the endpoint's own where there is one, so that pools that share an endpoint see all of it."""
        self.name = name
        self.ask = ask
        self.load = load
        self.is_healthy = is_healthy
        self.weight = weight
        self.credit = 0
        """Of the smooth weighted round robin."""


class Pool:
    def __init__(self, members: Sequence[Member], *, balance: Balance, rng: Random) -> None:
        self._members = list(members)
        self._order = ORDERS[balance]
        self._rng = rng
        self._turn = 0

    def order(self) -> list[Member]:
        """The members that may be asked now, the first choice first.

        Those that are out of order are left out, unless they are more than half (`PANIC`): then they come last. So the
        only member of a pool is always asked.
        """
        self._turn += 1
        healthy = [member for member in self._members if member.is_healthy()]
        if len(healthy) == len(self._members):
            return self._order(self._members, self._turn, self._rng)
        first = self._order(healthy, self._turn, self._rng) if healthy else []
        if len(healthy) >= PANIC * len(self._members):
            return first
        return first + self._order([one for one in self._members if one not in healthy], self._turn, self._rng)


def measured(ask: Ask, load: Load) -> Ask:
    """`ask` with its calls counted in `load`: for a member of a pool that is itself a pool or a mode."""

    async def attempt(call: Call) -> Reply:
        load.began()
        try:
            reply = await ask(call)
        except BaseException:
            load.ended()
            raise

        def ended(ending: Ending) -> None:
            load.ended()

        if reply.ttft is not None:
            load.saw(reply.ttft)
        reply.on_end(ended)
        return reply

    return attempt


def _unseen(members: Sequence[Member]) -> float:
    """What a member that has not served yet is taken for: the median of the others."""
    seen = sorted(ttft for member in members if (ttft := member.load.ttft) is not None)
    return seen[len(seen) // 2] if seen else 1.0


def _two_choices(members: list[Member], turn: int, rng: Random) -> list[Member]:
    """The better of two drawn at random, then the rest by load (Mitzenmacher 2001, over peak-EWMA of the TTFT)."""
    if len(members) == 1:
        return members
    unseen = _unseen(members)
    pair = rng.sample(members, 2)
    first = min(pair, key=lambda member: member.load.score(unseen))
    rest = sorted((one for one in members if one is not first), key=lambda member: member.load.score(unseen))
    return [first, *rest]


def _in_turn(members: list[Member], turn: int, rng: Random) -> list[Member]:
    start = turn % len(members)
    return members[start:] + members[:start]


def _weighted(members: list[Member], turn: int, rng: Random) -> list[Member]:
    """Smooth weighted round robin (as nginx does it): 5, 1, 1 gives a a b a c a a, never five in a row."""
    for member in members:
        member.credit += member.weight
    ordered = sorted(members, key=lambda member: member.credit, reverse=True)
    ordered[0].credit -= sum(member.weight for member in members)
    return ordered


def _least_busy(members: list[Member], turn: int, rng: Random) -> list[Member]:
    return sorted(_in_turn(members, turn, rng), key=lambda member: member.load.in_flight)


def _fastest(members: list[Member], turn: int, rng: Random) -> list[Member]:
    """The fastest that is available. Members that have not served yet come first, so that each is tried once."""
    return sorted(_in_turn(members, turn, rng), key=lambda member: member.load.ttft or 0.0)


ORDERS: dict[Balance, Callable[[list[Member], int, Random], list[Member]]] = {
    "p2c": _two_choices,
    "round_robin": _in_turn,
    "weighted": _weighted,
    "least_busy": _least_busy,
    "fastest": _fastest,
}
