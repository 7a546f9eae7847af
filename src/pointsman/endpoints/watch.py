"""Time limits of connections, by one timer for all: nearly all are kept, so that to set one must cost nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

TICK = 0.04
"""Seconds. A limit is noticed so late at most, and never early."""


class Watched(Protocol):
    until: float
    """Of time.monotonic. It may be moved at any time."""

    def expire(self) -> None:
        """It is `until` now, or past it; said again and again until it is moved."""
        ...


class Watch:
    """Looks at the busy ones of one loop. It sleeps while there are none, so who adds one must see that it is awake."""

    __slots__ = ("loop", "busy", "now", "is_awake")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.busy: set[Watched] = set()
        self.now = 0.0
        """When it looked last. What comes in drops may never be found waiting: it must look here, too."""
        self.is_awake = False

    def wake(self) -> None:
        self.is_awake = True
        self.loop.call_later(TICK, self._look)

    def _look(self) -> None:
        now = self.now = time.monotonic()
        for watched in [each for each in self.busy if each.until <= now]:
            watched.expire()
        self.is_awake = False
        if self.busy:
            self.wake()
