"""What processes agree on: how much of a limit is used, and facts that hold for a while.

One seam with several implementations: `MemoryState` for one process, `ledger.SharedState` for those of one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from .clock import Clock

MOST = 100_000
"""Buckets, and facts, that a MemoryState holds at once. Names come from callers, so their number has a bound."""
LESSER = "~"
"""So begin the names of what goes first where there are too many: nothing depends on it."""


class Rate(Struct, frozen=True):
    """`amount` units in each `seconds`, up to `amount` at once. Raises ValueError unless both are above 0.

    The generic cell rate algorithm (GCRA), in the form of a meter that leaks: a bucket's level is what was taken and
    has not leaked out yet; `amount` leaks out in `seconds`.
    """

    amount: float
    seconds: float

    def __post_init__(self) -> None:
        if not (self.amount > 0 and self.seconds > 0):
            raise ValueError(f"A rate needs an amount and seconds above 0, not {self.amount:g} in {self.seconds:g} s.")

    def level(self, level: float, elapsed: float) -> float:
        """What of `level` is left after `elapsed` seconds; a clock that went back (below 0) lets nothing out."""
        if level > self.amount:
            level = self.amount
        if elapsed > 0:
            level -= elapsed * self.amount / self.seconds
        return level if level > 0.0 else 0.0

    def wait(self, level: float, units: float) -> float:
        """Seconds until `units` fit on top of `level`, 0.0 when they do. More than a full bucket waits for an empty
        meter. Never more than `seconds`."""
        over = level + min(units, self.amount) - self.amount
        # What is below a millionth of the bucket is rounding.
        return over * self.seconds / self.amount if over > 1e-6 * self.amount else 0.0

    def after(self, level: float, units: float) -> float:
        """The level once `units` were taken, or with units below 0 given back: from 0 to `amount`."""
        level += units
        if level < self.amount:
            return level if level > 0.0 else 0.0
        return self.amount


Take = tuple[str, Rate, float]
"""The bucket's name, its rate, and the units to take. A bucket comes once in a sequence of takes."""

Told = Callable[[str, bytes | None], None]


class State(Protocol):
    """All methods are synchronous, return at once and raise nothing: what is shared must never make a call fail."""

    def take(self, takes: Sequence[Take]) -> float:
        """Takes all or nothing: 0.0 when taken, else the seconds until it could be."""

    def wait(self, takes: Sequence[Take]) -> float:
        """The same look, without taking."""

    def give(self, name: str, rate: Rate, units: float) -> None:
        """Gives back what was taken too much; units below 0 take what was taken too little, whatever is left."""

    def put(self, name: str, value: bytes, seconds: float) -> None:
        """States a fact that holds for so long; with 0 seconds it holds no more."""

    def get(self, name: str) -> bytes | None:
        """The fact, as this process knows it: what others put is known after a `refresh`."""

    def watch(self, prefix: str, told: Told) -> None:
        """`told(name, value)` is called for each fact of that prefix: at once for those that are known and those that
        this process puts, at a `refresh` for those that another put; None for one that was taken back. Not called for
        one whose time is over."""

    def refresh(self) -> None:
        """Looks for what other processes have put; cheap where that is nothing."""


class MemoryState:
    """State for one process. Buckets that are full again and facts that hold no more are dropped."""

    __slots__ = ("_steady", "_full_at", "_facts", "_watchers", "_sweep_buckets_at", "_sweep_facts_at")

    def __init__(self, clock: Clock) -> None:
        self._steady = clock.steady
        self._full_at: dict[str, float] = {}
        """When each bucket will be as if nothing had been taken (steady): all that there is to know of one."""
        self._facts: dict[str, tuple[float, bytes]] = {}
        """When it ends (steady), and what it is."""
        self._watchers: list[tuple[str, Told]] = []
        self._sweep_buckets_at = self._sweep_facts_at = _SWEEP_AT

    def take(self, takes: Sequence[Take]) -> float:
        steady, known = self._steady, self._full_at
        now = steady()
        taken = 0
        for name, rate, units in takes:
            seconds = rate.seconds
            full_at = known.get(name, now)
            if full_at < now:
                full_at = now
            full_at += units * seconds / rate.amount
            if full_at > now + seconds:
                break
            known[name] = full_at
            taken += 1
        else:
            if len(known) > self._sweep_buckets_at:
                self._sweep_buckets(now)
            return 0.0
        for name, rate, units in takes[:taken]:
            known[name] -= units * rate.seconds / rate.amount
        return self._take_the_rest(takes, now)

    def _take_the_rest(self, takes: Sequence[Take], now: float) -> float:
        """Of buckets that are full by a hair, or asked for more than they hold."""
        longest = self._wait(takes, now)
        if longest == 0.0:
            for name, rate, units in takes:
                latest = now + rate.seconds
                full_at = max(self._full_at.get(name, now), now) + units * rate.seconds / rate.amount
                self._full_at[name] = min(full_at, latest)
        return longest

    def wait(self, takes: Sequence[Take]) -> float:
        return self._wait(takes, self._steady())

    def give(self, name: str, rate: Rate, units: float) -> None:
        steady, full_at = self._steady, self._full_at.get(name)
        if full_at is not None:
            now = steady()
            latest = now + rate.seconds
            if full_at < now:
                full_at = now
            elif full_at > latest:
                full_at = latest
            full_at -= units * rate.seconds / rate.amount
            self._full_at[name] = full_at if full_at < latest else latest
        elif units < 0:
            self.take([(name, rate, min(-units, rate.amount))])

    def put(self, name: str, value: bytes, seconds: float) -> None:
        holds = seconds > 0
        if holds:
            self._facts[name] = (self._steady() + seconds, value)
            if len(self._facts) > self._sweep_facts_at:
                self._sweep_facts()
        else:
            self._facts.pop(name, None)
        for prefix, told in tuple(self._watchers):
            if name.startswith(prefix):
                told(name, value if holds else None)

    def get(self, name: str) -> bytes | None:
        found = self._facts.get(name)
        if found is None:
            return None
        if found[0] <= self._steady():
            del self._facts[name]
            return None
        return found[1]

    def watch(self, prefix: str, told: Told) -> None:
        self._watchers.append((prefix, told))
        for name in [name for name in self._facts if name.startswith(prefix)]:
            value = self.get(name)
            if value is not None:
                told(name, value)

    def refresh(self) -> None:
        """Nobody else puts anything here."""

    @property
    def size(self) -> int:
        """Buckets and facts that are held in memory."""
        return len(self._full_at) + len(self._facts)

    def _wait(self, takes: Sequence[Take], now: float) -> float:
        longest = 0.0
        for name, rate, units in takes:
            level = (self._full_at.get(name, now) - now) * rate.amount / rate.seconds
            longest = max(longest, rate.wait(min(max(level, 0.0), rate.amount), units))
        return longest

    def _sweep_buckets(self, now: float) -> None:
        kept = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
        if len(kept) >= MOST:  # the least is forgiven where those that are full soonest go
            kept = dict(sorted(kept.items(), key=lambda item: item[1])[len(kept) // 2 :])
        self._full_at = kept
        self._sweep_buckets_at = min(MOST, max(_SWEEP_AT, 2 * len(kept)))

    def _sweep_facts(self) -> None:
        now = self._steady()
        kept = {name: fact for name, fact in self._facts.items() if fact[0] > now}
        if len(kept) >= MOST:
            kept = dict(sorted(kept.items(), key=_worth)[len(kept) // 2 :])
        self._facts = kept
        self._sweep_facts_at = min(MOST, max(_SWEEP_AT, 2 * len(kept)))


def _worth(fact: tuple[str, tuple[float, bytes]]) -> tuple[bool, float]:
    name, (ends, _) = fact
    return not name.startswith(LESSER), ends


_SWEEP_AT = 1024
"""So many are held before the first look for what can go; then each time that there are twice as many as were left."""
