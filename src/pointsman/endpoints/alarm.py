"""Coarse timers. Nearly all of ours are cancelled before they ring, so they must cost next to nothing.

An event loop's own timer costs microseconds each; here one timer of the loop turns a wheel for all alarms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK = 0.02
"""Seconds. An alarm rings up to two ticks late, never early."""


def set_alarm(seconds: float, ring: Callable[[], None]) -> Alarm:
    """Call `ring` on this loop after `seconds`, unless the alarm is cancelled before."""
    global _wheel
    loop = asyncio.get_running_loop()
    if _wheel is None or _wheel.loop is not loop:
        _wheel = _Wheel(loop)
    return _wheel.set(seconds, ring)


class Alarm:
    """Keep it to cancel it."""

    __slots__ = ("_wheel", "tick", "ring")

    def __init__(self, wheel: _Wheel, tick: int, ring: Callable[[], None]) -> None:
        self._wheel = wheel
        self.tick = tick
        self.ring = ring

    def cancel(self) -> None:
        """May be called twice, and after it has rung."""
        self._wheel.cancel(self)


class _Wheel:
    """The alarms of one loop, by the tick at which they ring. It turns only while there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._alarms: dict[int, set[Alarm]] = {}
        self._turning = False

    def set(self, seconds: float, ring: Callable[[], None]) -> Alarm:
        tick = int((self.loop.time() + seconds) / TICK) + 1
        alarm = Alarm(self, tick, ring)
        alarms = self._alarms.get(tick)
        if alarms is None:
            self._alarms[tick] = {alarm}
        else:
            alarms.add(alarm)
        if not self._turning:
            self._turning = True
            self.loop.call_later(TICK, self._turn)
        return alarm

    def cancel(self, alarm: Alarm) -> None:
        alarms = self._alarms.get(alarm.tick)
        if alarms is not None:
            alarms.discard(alarm)
            if not alarms:
                del self._alarms[alarm.tick]

    def _turn(self) -> None:
        now = int(self.loop.time() / TICK)
        for tick in sorted(tick for tick in self._alarms if tick <= now):
            for alarm in self._alarms.pop(tick, ()):
                alarm.ring()
        self._turning = bool(self._alarms)
        if self._turning:
            self.loop.call_later(TICK, self._turn)


_wheel: _Wheel | None = None
"""Of the loop that ran last: programs have one."""
