"""What an endpoint's answers have told of its limits: what was left, less what was sent since.

Each endpoint learns for itself, since most providers count each model apart and their headers do not say so.
"""

from __future__ import annotations

from collections.abc import Callable

from ..dialects.limits import Remaining, Window

LONGEST = 86400.0
"""Seconds for which a header may bar calls."""


Mark = tuple[int, int]
"""The requests and the tokens that had been sent at one moment."""


class Learned:
    """Kept in memory only: after a restart the first answer tells it anew. `steady`: seconds."""

    __slots__ = ("_steady", "_windows", "_requests", "_tokens")

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._windows: dict[str, _Seen] = {}
        self._requests = self._tokens = 0

    def sent(self, tokens: int) -> Mark:
        """A call of so many tokens goes out; the mark is handed to `saw` with the headers of its answer."""
        self._requests += 1
        self._tokens += tokens
        return self._requests, self._tokens

    def saw(self, remaining: Remaining, mark: Mark) -> None:
        """The provider had not seen what was sent after `mark`."""
        now = self._steady()
        for window in remaining.windows:
            self._windows[window.name] = _Seen(window, mark, now)

    def barred(self) -> float:
        """Seconds until something is left of every limit; 0.0 when it is."""
        if not self._windows:
            return 0.0
        now = self._steady()
        seconds = 0.0
        for seen in self._windows.values():
            if seen.until > now:
                seconds = max(seconds, seen.wait(now, self._requests, self._tokens))
        return min(seconds, LONGEST) if seconds > 1e-6 else 0.0


class _Seen:
    """One limit, as it was when a header told it."""

    __slots__ = ("until", "_window", "_mark", "_at")

    def __init__(self, window: Window, mark: Mark, at: float) -> None:
        self.until = at + window.seconds
        self._window = window
        self._mark = mark
        self._at = at

    def wait(self, now: float, requests: int, tokens: int) -> float:
        """Seconds until some of it is left. `requests` and `tokens`: what has been sent in all."""
        window = self._window
        left = window.left + (now - self._at) * window.refill
        least = 1e-3
        if window.kind == "requests":
            left -= requests - self._mark[0]
            least = 1.0
        elif window.kind == "tokens":
            left -= tokens - self._mark[1]
        if left >= least:
            return 0.0
        return min((least - left) / window.refill, self.until - now) if window.refill else self.until - now
