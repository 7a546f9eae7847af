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
        if elapsed > 0:
            return max(0.0, min(level, self.amount) - elapsed * self.amount / self.seconds)
        return min(level, self.amount)

    def wait(self, level: float, units: float) -> float:
        """Seconds until `units` fit on top of `level`, 0.0 when they do. More than a full bucket waits for an empty
        meter. Never more than `seconds`."""
        over = level + min(units, self.amount) - self.amount
        # What is below a millionth of the bucket is rounding.
        return over * self.seconds / self.amount if over > 1e-6 * self.amount else 0.0

    def after(self, level: float, units: float) -> float:
        """The level once `units` were taken, or with units below 0 given back: from 0 to `amount`."""
        return min(max(level + units, 0.0), self.amount)


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

    __slots__ = ("_steady", "_buckets", "_facts", "_watchers", "_sweep_buckets_at", "_sweep_facts_at")

    def __init__(self, clock: Clock) -> None:
        self._steady = clock.steady
        self._buckets: dict[str, _Bucket] = {}
        self._facts: dict[str, tuple[float, bytes]] = {}
        """When it ends (steady), and what it is."""
        self._watchers: list[tuple[str, Told]] = []
        self._sweep_buckets_at = self._sweep_facts_at = _SWEEP_AT

    def take(self, takes: Sequence[Take]) -> float:
        now = self._steady()
        longest = self._wait(takes, now)
        if longest == 0.0:
            for name, rate, units in takes:
                self._add(name, rate, units, now)
        return longest

    def wait(self, takes: Sequence[Take]) -> float:
        return self._wait(takes, self._steady())

    def give(self, name: str, rate: Rate, units: float) -> None:
        self._add(name, rate, -units, self._steady())

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
        return len(self._buckets) + len(self._facts)

    def _wait(self, takes: Sequence[Take], now: float) -> float:
        longest = 0.0
        for name, rate, units in takes:
            bucket = self._buckets.get(name)
            level = rate.level(bucket.level, now - bucket.at) if bucket is not None else 0.0
            if level + units > rate.amount:
                longest = max(longest, rate.wait(level, units))
        return longest

    def _add(self, name: str, rate: Rate, units: float, now: float) -> None:
        bucket = self._buckets.get(name)
        if bucket is None:
            if units <= 0:
                return
            if len(self._buckets) >= self._sweep_buckets_at:
                self._sweep_buckets(now)
            bucket = self._buckets[name] = _Bucket(now)
        bucket.level = rate.after(rate.level(bucket.level, now - bucket.at), units)
        bucket.at = now
        bucket.full_at = now + bucket.level * rate.seconds / rate.amount

    def _sweep_buckets(self, now: float) -> None:
        kept = {name: bucket for name, bucket in self._buckets.items() if bucket.full_at > now}
        if len(kept) >= MOST:  # the least is forgiven where those that are full soonest go
            kept = dict(sorted(kept.items(), key=lambda item: item[1].full_at)[len(kept) // 2 :])
        self._buckets = kept
        self._sweep_buckets_at = min(MOST, max(_SWEEP_AT, 2 * len(kept)))

    def _sweep_facts(self) -> None:
        now = self._steady()
        kept = {name: fact for name, fact in self._facts.items() if fact[0] > now}
        if len(kept) >= MOST:
            kept = dict(sorted(kept.items(), key=lambda item: item[1][0])[len(kept) // 2 :])
        self._facts = kept
        self._sweep_facts_at = min(MOST, max(_SWEEP_AT, 2 * len(kept)))


_SWEEP_AT = 1024
"""So many are held before the first look for what can go; then each time that there are twice as many as were left."""


class _Bucket:
    __slots__ = ("level", "at", "full_at")

    def __init__(self, at: float) -> None:
        self.level = 0.0
        self.at = at
        self.full_at = at
