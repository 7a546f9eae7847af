"""How many calls an endpoint takes at once: found out by going up slowly and down fast (AIMD)."""

from __future__ import annotations

from typing import Literal

Outcome = Literal["ok", "refused", "other"]
"""`refused`: the upstream said that this was too much (429, 529). `other` tells nothing about it."""

CUT = 0.7
NEARLY = 0.9
"""The share of the limit from which on a success tells that the limit could be higher."""


class Concurrency:
    """A bound on calls in flight that shrinks only when the upstream refuses one.

    Until the first refusal nobody knows of a bound: then up to `most` are let through, and `limit` rises with them from
    `start` on.

    `enter()` gives a ticket, with which `leave` is called once. A refusal cuts the limit to CUT of what was in flight,
    and those that had entered before the cut cut no more. A limit's worth of successes while it was nearly used raises
    it by one.
    """

    __slots__ = ("limit", "in_flight", "bound", "_least", "_most", "_entered", "_cut_after", "_successes")

    def __init__(self, start: int = 200, least: int = 1, most: int = 4096) -> None:
        self.limit = start
        self.in_flight = 0
        self.bound = most
        """What holds now: with so many in flight it is full."""
        self._least = least
        self._most = most
        self._entered = 0
        self._cut_after = 0
        """The last ticket that was given out before the last cut."""
        self._successes = 0

    @property
    def is_full(self) -> bool:
        return self.in_flight >= self.bound

    def enter(self) -> int:
        """Takes a place. The limit is not checked here: `is_full` asks."""
        self.in_flight += 1
        self._entered += 1
        if self.in_flight > self.limit:
            self.limit = self.in_flight
            if self._cut_after:
                self.bound = self.limit
        return self._entered

    def leave(self, ticket: int, outcome: Outcome) -> None:
        if outcome == "ok":
            if self.in_flight >= NEARLY * self.limit:
                self._succeeded()
        elif outcome == "refused" and ticket > self._cut_after:
            self._cut_after = self._entered
            self._successes = 0
            self.limit = self.bound = max(self._least, min(self.limit, int(CUT * self.in_flight)))
        self.in_flight -= 1

    def _succeeded(self) -> None:
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = 0
            self.limit = min(self._most, self.limit + 1)
            if self._cut_after:
                self.bound = self.limit
