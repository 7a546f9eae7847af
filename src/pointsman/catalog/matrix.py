"""The comparison of models: one row for each endpoint, filtered by what fits and sorted by what matters. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from ..core import ConfigError, Nanos
from .cards import Capability, Kind, ModelCard, Offer, Rubric
from .contents import Catalog
from .prices import Quote
from .providers import Deployment, ProviderRow

ENOUGH_TIMES = 3
"""From so many timed answers on a measured speed replaces the one that was stated, as in routing."""

Sort = Literal["quality", "speed", "price", "context", "latency", "name"]


class Measured(Struct, frozen=True):
    """What recorded calls say of an endpoint. None where too little was recorded to say."""

    calls: int = 0
    quality: float | None = None
    """0 to 10: what outcomes make of the quality that was stated."""
    latency_ms: float | None = None
    """The median to the first content."""
    timed: int = 0
    """Of how many answers that is the median."""
    success: float | None = None
    """Share of calls, 0 to 1, that were answered, and with what was of use."""

    @property
    def speed(self) -> float | None:
        """0 to 10: 10 where the first word comes within 100 ms, and 4 less for each ten times as long. It is the scale
        of the speeds and latencies that profiles state. None with fewer than ENOUGH_TIMES."""
        if self.latency_ms is None or self.timed < ENOUGH_TIMES:
            return None
        return min(10.0, max(0.0, 10 - 4 * math.log10(max(self.latency_ms, 1.0) / 100)))


class Marks(Struct, frozen=True):
    """0 to 10; None where nobody says."""

    quality: float | None = None
    speed: float | None = None


class Row(Struct, frozen=True):
    """A model at one endpoint: the prior of its card, and beside it what was measured."""

    card: ModelCard
    offer: Offer
    deployment: Deployment
    available: bool
    quote: Quote
    context: int | None
    measured: Measured | None = None
    own: Marks = Marks()
    """What its user states of it: it goes before the marks of the card."""

    @property
    def output_price(self) -> Nanos | None:
        """Nano-dollars charged for a million output tokens; None is unknown."""
        price = self.quote.charged
        return None if price is None or price.output is None else Nanos(price.output)

    def rubric(self, task: str | None) -> Rubric | None:
        """The marks for `task`, or on the whole where it is None."""
        if task is not None:
            return self.card.rubric(task)
        profile = self.card.profile
        if profile is None:
            return None
        return Rubric(performance=2 * profile.quality, speed=2 * profile.speed, stated_by=self.card.stated_by)

    def quality(self, task: str | None) -> float | None:
        """0 to 10: as measured, else as stated."""
        if self.measured is not None and self.measured.quality is not None:
            return self.measured.quality
        return self.stated(task).quality

    def speed(self, task: str | None) -> float | None:
        """0 to 10: as measured, else as stated."""
        if self.measured is not None and self.measured.speed is not None:
            return self.measured.speed
        return self.stated(task).speed

    def stated(self, task: str | None) -> Marks:
        rubric = self.rubric(task)
        card = Marks() if rubric is None else Marks(rubric.performance, rubric.speed)
        return Marks(
            card.quality if self.own.quality is None else self.own.quality,
            card.speed if self.own.speed is None else self.own.speed,
        )

    @property
    def stated_latency_ms(self) -> tuple[int, int] | None:
        """The lowest and the highest that was stated."""
        profile = self.card.profile
        return None if profile is None else profile.latency

    @property
    def latency_ms(self) -> float | None:
        """As measured, else the upper end of the range that was stated."""
        if self.measured is not None and self.measured.latency_ms is not None:
            return self.measured.latency_ms
        return None if self.stated_latency_ms is None else self.stated_latency_ms[1]


def rows(
    catalog: Catalog,
    quote: Callable[[ProviderRow, str], Quote],
    available: Callable[[Offer], bool],
    *,
    context: Callable[[str, str], int | None] = lambda provider, model_id: None,
    measured: Callable[[Offer], Measured | None] = lambda offer: None,
) -> list[Row]:
    """One row for each offer of each model, in the catalogue's order; offers of unknown providers are passed over.

    `context` gives the window at an endpoint where it is known to differ from the card's.
    """
    return [
        Row(
            card=card,
            offer=offer,
            deployment=provider.deployment_of(offer.id),
            available=available(offer),
            quote=quote(provider, offer.id),
            context=context(offer.provider, offer.id) or card.context,
            measured=measured(offer),
        )
        for card in catalog.models.values()
        for offer in card.served
        if (provider := catalog.provider(offer.provider)) is not None
    ]


def select(
    every: Iterable[Row],
    *,
    task: str | None = None,
    kind: Kind | None = None,
    max_price: Decimal | None = None,
    max_latency_ms: float | None = None,
    min_context: int | None = None,
    tier: Deployment | None = None,
    capability: Capability | None = None,
    available_only: bool = False,
    legacy: bool = True,
    sort: Sort = "quality",
) -> list[Row]:
    """The rows that fit, best first. What is unknown never satisfies a bound and sorts last.

    `task` keeps what is at least good at it (4 of 10); `max_price` is US dollars for a million output tokens.
    """
    kept = [
        row
        for row in every
        if (task is None or _is_good_at(row, task))
        and (kind is None or row.card.kind == kind)
        and (max_price is None or _at_most(row.output_price, max_price * _NANOS_PER_USD))
        and (max_latency_ms is None or _at_most(row.latency_ms, max_latency_ms))
        and (min_context is None or (row.context is not None and row.context >= min_context))
        and (tier is None or row.deployment == tier)
        and (capability is None or capability in row.card.capabilities)
        and (row.available or not available_only)
        and (legacy or not row.card.legacy)
    ]
    return sorted(kept, key=lambda row: (_order(row, sort, task), _order(row, "quality", task), _ties(row)))


def parse_size(text: str) -> int:
    """'100k' → 100,000; '1M' → 1,000,000; '8192' → 8,192. Raises ConfigError for anything else."""
    match = _SIZE.fullmatch(text.strip().lower())
    size = Decimal(match["number"]) * _UNITS[match["unit"]] if match else None
    if size is None or size != int(size):
        raise ConfigError(f"{text!r} is not a number of tokens. Try '8192', '100k' or '1M'.")
    return int(size)


_GOOD = 4
_NANOS_PER_USD = 1_000_000_000
_SIZE = re.compile(r"(?P<number>[0-9]{1,12}(\.[0-9]{1,6})?)(?P<unit>[km]?)")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def _is_good_at(row: Row, task: str) -> bool:
    quality = row.quality(task)
    return quality is not None and quality >= _GOOD


def _at_most(figure: float | None, bound: float | Decimal) -> bool:
    return figure is not None and figure <= bound


def _order(row: Row, sort: Sort, task: str | None) -> tuple[bool, float | str]:
    """Unknown last, then ascending: what should be high is turned round."""
    if sort == "name":
        return False, row.card.id
    figure = _figure(row, sort, task)
    if figure is None:
        return True, 0.0
    return False, figure if sort in ("price", "latency") else -figure


def _figure(row: Row, sort: Sort, task: str | None) -> float | None:
    if sort == "quality":
        return row.quality(task)
    if sort == "speed":
        return row.speed(task)
    if sort == "price":
        return row.output_price
    if sort == "latency":
        return row.latency_ms
    return row.context


def _ties(row: Row) -> tuple[tuple[bool, float | str], str]:
    return _order(row, "price", None), row.offer.endpoint
