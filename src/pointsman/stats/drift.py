"""Has a model become worse? A centred Page-Hinkley test over the surprises of its outcomes.

The test of Page (1954) sums how far each value lies above the usual, less a slack, and never falls below zero: chance
keeps the sum small, a lasting shift makes it grow without end. It is fed with surprises z = (expected − outcome) / sd,
which are positive where a model did worse than it was expected to.

Centred: what counts as usual is the running mean of z, where that is above zero. A model is mostly asked where it is
over-estimated (else another one had been chosen), so its surprises lie above zero though nothing has changed. Held
against zero, each such model would soon be called worse. A mean below zero is none to be held to: a model that is
better than its profile has done nothing wrong once that is known, and no longer surprises.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

from msgspec import Struct

WARM_UP: Final = 30
"""Outcomes from which what is usual is learned before anything can be called unusual."""
MEMORY: Final = 2000
"""Outcomes over which the running mean forgets."""
SLACK: Final = 0.11
"""Standard deviations above the usual that are let pass each time: half of the shift that is to be found, which for
ten points of success at an sd of 0.45 is 0.22."""
ALARM: Final = 20.0
"""The sum at which a model is said to have become worse."""


class Drift(Struct, frozen=True):
    """What the test remembers of one model."""

    seen: int = 0
    """Outcomes so far."""
    usual: float = 0.0
    """Running mean of the surprises."""
    excess: float = 0.0
    """What they came to above the usual and the slack, since it last was nothing."""


def watch(state: Drift, z: float) -> tuple[Drift, bool]:
    """The state after the surprise `z`, in standard deviations, and whether the model is now said to be worse.

    With an alarm all starts anew: what was usual before tells nothing of what is now.

    Raises ValueError for a surprise that is no finite number.
    """
    if not isfinite(z):
        raise ValueError(f"A surprise of {z} is no number that could be added to others.")
    seen = state.seen + 1
    usual = state.usual + (z - state.usual) / min(seen, MEMORY)
    if seen <= WARM_UP:
        return Drift(seen, usual), False
    excess = max(0.0, state.excess + z - max(usual, 0.0) - SLACK)
    if excess > ALARM:
        return Drift(), True
    return Drift(seen, usual, excess), False
