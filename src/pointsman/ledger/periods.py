"""Days and months as a clock on the wall of some place shows them: when they begin and end, to the second."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

Span = Literal["day", "month"]


class Period(Struct, frozen=True):
    """`start` (inclusive) and `end` (exclusive) in unix seconds."""

    name: str
    """'2026-11-21', or '2026-11'."""
    start: float
    end: float


def zone_named(name: str) -> tzinfo:
    """Raises ValueError for a zone that this machine does not know."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone that is known here; write one such as Europe/Berlin") from error


def period_at(span: Span, zone: tzinfo, at: float) -> Period:
    """The day or month in which `at` (unix seconds) lies. Days of 23 and 25 hours are just that."""
    today = datetime.fromtimestamp(at, zone).date()
    if span == "day":
        return Period(today.isoformat(), _midnight(today, zone), _midnight(today + timedelta(days=1), zone))
    first = today.replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return Period(first.strftime("%Y-%m"), _midnight(first, zone), _midnight(following, zone))


def _midnight(day: date, zone: tzinfo) -> float:
    """The first moment of a day, also where clocks are put forward at midnight: zoneinfo reads a time that does not
    exist with the offset from before, which is the moment at which they are."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
