"""Time is handed in. Nothing in the pure rooms reads a real clock."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct


class Clock(Struct, frozen=True):
    """Two faces of time: `wall` for timestamps (seconds since 1970, UTC), `steady` for durations (seconds)."""

    wall: Callable[[], float]
    steady: Callable[[], float]


class ManualClock:
    """A clock that stands still until it is moved: for tests and for replays."""

    def __init__(self, start: float = 0.0) -> None:
        self.now = start

    def advance(self, seconds: float) -> None:
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now, steady=lambda: self.now)
