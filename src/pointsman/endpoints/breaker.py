"""A breaker: an endpoint that fails is left alone for a while, then tried by one call at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Condition = Literal["closed", "open", "half_open"]

CONSECUTIVE = 5
"""Failures in a row that open it."""
LEAST_ATTEMPTS = 5
WINDOW = 60.0
"""Seconds in which half of at least LEAST_ATTEMPTS attempts failing opens it."""
OPEN_FOR = 30.0
"""Seconds that it stays open, times how often it has opened in a row."""
LONGEST_OPEN = 300.0
SUCCESSES = 3
"""Trials in a row that close it."""

ORDINARY = 0
FORCED = -1

_SLOTS = 12
_SLOT_SECONDS = WINDOW / _SLOTS


class Breaker:
    """Closed it lets all calls through, open none, half-open one trial at a time. `steady`: seconds.

    `begin()` gives a ticket with which the same call's end is told, so that calls from before it opened decide nothing
    after. Each call ends by one of `succeeded`, `failed` and `abandoned`. The window is counted in slots of five
    seconds: it reaches back for 55 to 60.
    """

    __slots__ = (
        "_steady",
        "_condition",
        "_reopens_at",
        "_times",
        "_in_a_row",
        "_trial",
        "_trials",
        "_good_trials",
        "_slot",
        "_tries",
        "_failures",
        "_all_tries",
        "_all_failures",
    )

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._condition: Condition = "closed"
        self._reopens_at = 0.0
        self._times = 0
        self._in_a_row = 0
        self._trial = 0
        """The ticket of the trial that is under way; 0 for none."""
        self._trials = 0
        self._good_trials = 0
        self._slot = 0
        self._tries = [0] * _SLOTS
        self._failures = [0] * _SLOTS
        self._all_tries = self._all_failures = 0

    @property
    def state(self) -> Condition:
        return "half_open" if self._condition == "open" and self._steady() >= self._reopens_at else self._condition

    @property
    def is_open(self) -> bool:
        return self._condition == "open" and self._steady() < self._reopens_at

    @property
    def reopens_at(self) -> float | None:
        """The steady second of the first trial while it is open, else None."""
        return self._reopens_at if self.is_open else None

    def admits(self) -> bool:
        """Whether a call may begin now."""
        if self._condition == "closed":
            return True
        return not self._trial and not self.is_open

    def begin(self) -> int:
        """The ticket of a call that begins now, be it admitted or sent in spite of us."""
        if self._condition == "closed":
            return ORDINARY
        if self._trial or self.is_open:
            return FORCED
        self._condition = "half_open"
        self._trials += 1
        self._trial = self._trials
        return self._trial

    def succeeded(self, ticket: int = ORDINARY) -> bool:
        """True when this closed it."""
        if self._condition == "closed":
            self._in_a_row = 0
            self._count(failed=False)
        elif ticket == FORCED:
            self.probe_now()
        elif ticket and ticket == self._trial:
            self._trial = 0
            self._good_trials += 1
            if self._good_trials >= SUCCESSES:
                self.close()
                return True
        return False

    def failed(self, ticket: int = ORDINARY) -> bool:
        """True when this opened it."""
        if self._condition == "closed":
            self._in_a_row += 1
            self._count(failed=True)
            if self._in_a_row >= CONSECUTIVE or (
                self._all_tries >= LEAST_ATTEMPTS and self._all_failures * 2 >= self._all_tries
            ):
                self._open()
                return True
        elif ticket and ticket == self._trial:
            self._open()
            return True
        return False

    def abandoned(self, ticket: int = ORDINARY) -> None:
        """The call ended without saying anything about the endpoint: its caller left, or was itself at fault."""
        if ticket and ticket == self._trial:
            self._trial = 0

    def close(self) -> None:
        """As new: it was found in order."""
        self._condition = "closed"
        self._times = self._in_a_row = self._trial = 0
        self._tries = [0] * _SLOTS
        self._failures = [0] * _SLOTS
        self._all_tries = self._all_failures = 0

    def force_open(self, seconds: float) -> None:
        """Open for at least so long: another process has found it failing."""
        until = self._steady() + seconds
        self._reopens_at = max(self._reopens_at, until) if self._condition == "open" else until
        self._condition = "open"
        self._times = max(self._times, 1)
        self._trial = self._good_trials = 0

    def probe_now(self) -> None:
        """The endpoint was seen to answer: the next call may try it, however long it should have waited."""
        if self._condition == "open":
            self._condition = "half_open"
            self._trial = self._good_trials = 0

    def _open(self) -> None:
        self._times += 1
        self._condition = "open"
        self._reopens_at = self._steady() + min(OPEN_FOR * self._times, LONGEST_OPEN)
        self._trial = self._good_trials = 0

    def _count(self, *, failed: bool) -> None:
        steady = self._steady
        slot = int(steady() // _SLOT_SECONDS)
        if slot != self._slot:
            self._forget(slot)
        self._tries[slot % _SLOTS] += 1
        self._all_tries += 1
        if failed:
            self._failures[slot % _SLOTS] += 1
            self._all_failures += 1

    def _forget(self, slot: int) -> None:
        """Empties the slots that lie between the last count and this one."""
        for passed in range(self._slot + 1, min(slot, self._slot + _SLOTS) + 1):
            place = passed % _SLOTS
            self._all_tries -= self._tries[place]
            self._all_failures -= self._failures[place]
            self._tries[place] = self._failures[place] = 0
        self._slot = slot
