"""What an upstream's headers say is left of its limits.

Read from OpenAI (`x-ratelimit-remaining-requests`), Groq (the same names; its requests are a day's), Cerebras
(`…-requests-day`, `…-tokens-minute`), Mistral (`x-ratelimitbysize-…`, `…-req-minute`), Anthropic
(`anthropic-ratelimit-requests-remaining`), OpenRouter (`x-ratelimit-remaining`) and the IETF's drafts (`ratelimit-…`,
and the one header `ratelimit` of the later ones).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from msgspec import Struct

Kind = Literal["requests", "tokens", "part"]
"""What is counted. A `part` is a limit on some tokens only (those read, those written): only the upstream can count
them, so it isn't counted down between its answers."""

LONGEST_RESET = 32 * 86400.0
"""Seconds; what claims to take longer is ignored."""
MOST = 1e14


class Window(Struct, frozen=True):
    """What is left of one limit."""

    name: str
    """Which one, of one provider, such as 'requests-day'."""
    kind: Kind
    left: float
    seconds: float
    """Until it is reset: above 0."""
    refill: float = 0.0
    """Units a second that come back before that; 0.0 where all come back at once."""


class Remaining(Struct, frozen=True):
    windows: tuple[Window, ...]


def remaining(headers: Mapping[str, str], now: float) -> Remaining | None:
    """None where no header says anything that can be believed. `headers` have lower-case names; `now` is the wall
    clock's."""
    return None if _LIMIT_NAMES.isdisjoint(headers) else _remaining(headers, now)


def _remaining(headers: Mapping[str, str], now: float) -> Remaining | None:
    windows = [_read(_LIMITS[name], headers[name], headers, now) for name in headers if name in _LIMITS]
    believed = tuple(window for window in windows if window is not None)
    return Remaining(believed) if believed else None


class _Limit(Struct, frozen=True):
    name: str
    kind: Kind
    reset: str
    """The header that says when it is reset; '' where that stands in the same one."""
    full: str = ""
    """The header that says how much there is in all, for a limit that fills up by and by; '' for a fixed window."""
    usual: float | None = None
    """Seconds after which it is reset at the latest where no header says it."""


def _limits() -> dict[str, _Limit]:
    """By the name of the header that says what is left."""
    found = {}
    kinds: dict[str, Kind] = {"requests": "requests", "req": "requests", "tokens": "tokens"}
    for word, kind in kinds.items():
        found[f"x-ratelimit-remaining-{word}"] = _Limit(
            word, kind, f"x-ratelimit-reset-{word}", f"x-ratelimit-limit-{word}"
        )
        for span, seconds in _SPANS.items():
            name = f"{word}-{span}"
            found[f"x-ratelimit-remaining-{name}"] = _Limit(name, kind, f"x-ratelimit-reset-{name}", usual=seconds)
    for word, kind in _ANTHROPIC.items():
        start = f"anthropic-ratelimit-{word}"
        found[f"{start}-remaining"] = _Limit(word, kind, f"{start}-reset", f"{start}-limit")
    found["ratelimitbysize-remaining"] = _Limit("tokens", "tokens", "ratelimitbysize-reset", usual=60.0)
    for start in ("ratelimitbysize", "x-ratelimitbysize"):
        found[f"{start}-remaining-minute"] = _Limit("tokens-minute", "tokens", f"{start}-reset-minute", usual=60.0)
    for start in ("ratelimit", "x-ratelimit"):
        found[f"{start}-remaining"] = _Limit("requests", "requests", f"{start}-reset")
    found["ratelimit"] = _Limit("requests", "requests", "")
    return found


_ANTHROPIC: dict[str, Kind] = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "part",
    "output-tokens": "part",
}
_SPANS = {"minute": 60.0, "hour": None, "day": None}
_LIMITS = _limits()
_LIMIT_NAMES = _LIMITS.keys()


def _read(limit: _Limit, text: str, headers: Mapping[str, str], now: float) -> Window | None:
    if not limit.reset:
        return _draft(text)
    left = _number(text)
    seconds = _seconds(headers.get(limit.reset, ""), now)
    full = _number(headers.get(limit.full, "")) if limit.full else None
    return _window(limit.name, limit.kind, left, limit.usual if seconds is None else seconds, full)


def _draft(text: str) -> Window | None:
    """`limit=100, remaining=50, reset=5`, and later `"name";r=50;t=30`. Of several policies the first."""
    said = {key.lower(): value for key, value in reversed(_PAIR.findall(text[:200]))}
    left = said.get("remaining", said.get("r", ""))
    return _window("requests", "requests", _number(left), _number(said.get("reset", said.get("t", ""))))


def _window(
    name: str, kind: Kind, left: float | None, seconds: float | None, full: float | None = None
) -> Window | None:
    if left is None or seconds is None or not 0.0 < seconds <= LONGEST_RESET:
        return None
    return Window(name, kind, left, seconds, (full - left) / seconds if full is not None and full > left else 0.0)


def _number(text: str) -> float | None:
    """From 0 to MOST: a limit below 0 means that there is none, and so does one without measure."""
    try:
        number = float(text) if len(text) <= 40 else math.nan
    except ValueError:
        return None
    return number if 0.0 <= number <= MOST else None


def _seconds(text: str, now: float) -> float | None:
    """'6m0s', '20ms', seconds, unix times in seconds or milliseconds, and ISO times."""
    if text[-1:] in _ENDS:
        return _duration(text) if text else None
    number = _number(text)
    if number is None:
        return _until(text, now)
    if number > 1e11:
        return number / 1000 - now
    return number - now if number > 1e9 else number


@lru_cache(1024)
def _duration(text: str) -> float | None:
    if len(text) > 40 or not _DURATION.fullmatch(text):
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PIECE.findall(text))


def _until(text: str, now: float) -> float | None:
    if not 10 <= len(text) <= 40:
        return None
    try:
        then = datetime.fromisoformat(text)
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None


_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_DURATION = re.compile(rf"(?:{_PIECE.pattern})+")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ENDS = "smhd"
_PAIR = re.compile(r"\b(limit|remaining|reset|r|t)\s*=\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
