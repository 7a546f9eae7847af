"""A pool: several endpoints behind one name, any of which may serve a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from ..core import Ask, AttemptError, Call, CallRejected, ContentFiltered, ContextTooLong, Ending, NoCandidate, Reply

Balance = Literal["p2c", "round_robin", "least_busy", "fastest"]

DECAY = 0.3
"""Weight of the newest time to first content in a member's average."""


class Member:
    """One endpoint of a pool and what the pool has seen of it."""

    def __init__(self, name: str, ask: Ask) -> None:
        self.name = name
        self.ask = ask
        self.in_flight = 0
        self.ttft: float | None = None
        """Seconds, a moving average; None until it has served."""

    def saw(self, ttft: float) -> None:
        # A slower reply counts at once, a faster one by and by: a member that stalls is avoided from its first stall.
        self.ttft = ttft if self.ttft is None or ttft > self.ttft else self.ttft + DECAY * (ttft - self.ttft)


class Pool:
    """An Ask over its members. A member that fails before the commit point, or cannot serve, is passed over."""

    def __init__(self, name: str, members: Sequence[Member], *, balance: Balance, rng: Random) -> None:
        self.name = name
        self._members = list(members)
        self._order = ORDERS[balance]
        self._rng = rng
        self._turn = 0

    async def __call__(self, call: Call) -> Reply:
        """Raises the last failure; where no member could be asked at all, NoCandidate with every reason."""
        self._turn += 1
        failure: AttemptError | None = None
        reasons: dict[str, str] = {}
        for member in self._order(self._members, self._turn, self._rng):
            try:
                return await _ask(member, call)
            except AttemptError as error:
                if _is_final(error):
                    raise
                failure = error
            except NoCandidate as error:
                reasons |= error.reasons
        raise failure or NoCandidate(f"No member of the pool {self.name} can serve this call:", reasons)


def _is_final(error: AttemptError) -> bool:
    """The upstream read the call and refused it as such. A context, a filter, or what a member's dialect cannot say
    (then the call never went out) is a matter of that member alone."""
    if isinstance(error, ContextTooLong | ContentFiltered):
        return False
    return isinstance(error, CallRejected) and error.upstream_status is not None


async def _ask(member: Member, call: Call) -> Reply:
    member.in_flight += 1
    try:
        reply = await member.ask(call)
    except BaseException:
        member.in_flight -= 1
        raise

    def ended(ending: Ending) -> None:
        member.in_flight -= 1

    if reply.ttft is not None:
        member.saw(reply.ttft)
    reply.on_end(ended)
    return reply


def _load(member: Member, unseen: float) -> float:
    return (unseen if member.ttft is None else member.ttft) * (member.in_flight + 1)


def _two_choices(members: list[Member], turn: int, rng: Random) -> list[Member]:
    """The better of two drawn at random, then the rest by load (Mitzenmacher 2001, over peak-EWMA of the TTFT)."""
    seen = sorted(member.ttft for member in members if member.ttft is not None)
    unseen = seen[len(seen) // 2] if seen else 1.0
    by_load = sorted(rng.sample(members, len(members)), key=lambda member: _load(member, unseen))
    pair = rng.sample(members, min(2, len(members)))
    first = min(pair, key=lambda member: _load(member, unseen))
    return [first, *(member for member in by_load if member is not first)]


def _in_turn(members: list[Member], turn: int, rng: Random) -> list[Member]:
    start = turn % len(members)
    return members[start:] + members[:start]


def _least_busy(members: list[Member], turn: int, rng: Random) -> list[Member]:
    return sorted(_in_turn(members, turn, rng), key=lambda member: member.in_flight)


def _fastest(members: list[Member], turn: int, rng: Random) -> list[Member]:
    """Members that have not served yet come first, so that each is tried once."""
    return sorted(_in_turn(members, turn, rng), key=lambda member: member.ttft or 0.0)


ORDERS: dict[Balance, Callable[[list[Member], int, Random], list[Member]]] = {
    "p2c": _two_choices,
    "round_robin": _in_turn,
    "least_busy": _least_busy,
    "fastest": _fastest,
}
