"""How busy an endpoint is, and how soon it begins to answer: what balancing goes by."""

from __future__ import annotations

import math
from collections.abc import Callable

DECAY_SECONDS = 10.0
"""After so long a reading weighs 1/e of what it did."""


class Load:
    """Calls in flight, and a peak-EWMA of the time to the first content (Finagle's): a slower reading counts at once,
    a faster one by and by, so a member that stalls is avoided from its first stall. `steady` gives seconds."""

    __slots__ = ("in_flight", "_steady", "_ttft", "_at")

    def __init__(self, steady: Callable[[], float]) -> None:
        self.in_flight = 0
        self._steady = steady
        self._ttft: float | None = None
        self._at = 0.0

    @property
    def ttft(self) -> float | None:
        """Seconds; None until it has served a stream."""
        return self._ttft

    def score(self, unseen: float) -> float:
        """Lower is better. `unseen`: the TTFT to assume where none was seen yet."""
        return (unseen if self._ttft is None else self._ttft) * (self.in_flight + 1)

    def began(self) -> None:
        self.in_flight += 1

    def saw(self, ttft: float) -> None:
        """A stream has begun. The time of an answer that comes whole says more of its length than of the endpoint."""
        now = self._steady()
        if self._ttft is None or ttft >= self._ttft:
            self._ttft = ttft
        else:
            self._ttft = ttft + (self._ttft - ttft) * math.exp((self._at - now) / DECAY_SECONDS)
        self._at = now

    def ended(self) -> None:
        self.in_flight -= 1
