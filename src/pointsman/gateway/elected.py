"""Whose words a consensus gave: its grades are of that attempt, and not of what was said beside it."""

from __future__ import annotations

from ..core import State
from ..core.state import LESSER

KEPT = 30 * 86400.0
"""Seconds. A grade that comes later is of no attempt."""


class Elected:
    """Known by call. Every process of the machine can find it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def remember(self, call_id: str, attempt_id: str) -> None:
        self._state.put(_PREFIX + call_id, attempt_id.encode(), KEPT)

    def find(self, call_id: str) -> str:
        """The attempt's id; '' for a call that one model answered."""
        self._state.refresh()
        fact = self._state.get(_PREFIX + call_id)
        return "" if fact is None else fact.decode("ascii", "replace")


_PREFIX = f"{LESSER}elected:"
