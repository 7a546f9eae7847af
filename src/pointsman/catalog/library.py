"""Reads the price library (genai-prices) into our own types. The only module that imports it, so import it late.

Run as a program, it writes the packed snapshot to standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, time
from decimal import Decimal

from genai_prices import types as library
from genai_prices.data import providers

from ..core import from_usd
from .snapshot import (
    AllOf,
    AnyOf,
    Bucket,
    Clause,
    Contains,
    EndsWith,
    Equals,
    LibraryModel,
    LibraryProvider,
    Rate,
    Regex,
    Rule,
    StartsWith,
    pack,
)


def library_providers() -> dict[str, LibraryProvider]:
    """Every provider of the library by its id. Raises TypeError where the library holds something we cannot read."""
    return {provider.id: _provider(provider) for provider in providers}


_BUCKETS: dict[str, Bucket] = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
}
_CALLS = "requests_kcount"


def _provider(provider: library.Provider) -> LibraryProvider:
    return LibraryProvider(
        id=provider.id,
        fallbacks=tuple(provider.fallback_model_providers or ()),
        models=tuple(_model(model) for model in provider.models),
    )


def _model(model: library.ModelInfo) -> LibraryModel:
    rules = _rules(model.prices)
    variants = [
        (variant, tier)
        for variant in model.price_variants or ()
        if (tier := _service_tier(variant.when)) and _stated(variant.prices)
    ]
    return LibraryModel(
        id=model.id,
        name=model.name or model.id,
        match=_clause(model.match),
        context=model.context_window,
        rules=rules,
        variants=tuple(_rule(variant.prices, variant.constraint, tier) for variant, tier in variants),
        left_out=_left_out(model.prices),
    )


def _service_tier(when: dict[str, str]) -> str:
    """The word by which a reply tells that it was served so; '' for conditions of which a reply tells nothing."""
    if len(when) != 1:
        return ""
    if when.get("processing") == "batch":
        return "batch"
    return when.get("service_tier", "")


def _rules(prices: library.ModelPrice | list[library.ConditionalPrice]) -> tuple[Rule, ...]:
    if isinstance(prices, library.ModelPrice):
        return (_rule(prices, None, ""),)
    return tuple(_rule(conditional.prices, conditional.constraint, "") for conditional in prices)


def _rule(
    prices: library.ModelPrice,
    constraint: library.StartDateConstraint | library.TimeOfDateConstraint | None,
    service_tier: str,
) -> Rule:
    stated = _stated(prices)
    calls = stated.get(_CALLS)
    return Rule(
        rates={_BUCKETS[unit]: _rate(price) for unit, price in stated.items() if unit in _BUCKETS},
        call=from_usd(calls / 1000) if isinstance(calls, Decimal) else None,
        since=_since(constraint),
        daily=_daily(constraint),
        service_tier=service_tier,
    )


def _stated(prices: library.ModelPrice) -> dict[str, Decimal | library.TieredPrices]:
    return {unit: price for unit, price in vars(prices).items() if price is not None}


def _rate(price: Decimal | library.TieredPrices) -> Rate:
    if isinstance(price, Decimal):
        return Rate(from_usd(price))
    return Rate(from_usd(price.base), tuple((tier.start, from_usd(tier.price)) for tier in price.tiers))


def _since(constraint: object) -> int | None:
    if not isinstance(constraint, library.StartDateConstraint):
        return None
    midnight = datetime.combine(constraint.start_date, time(), UTC)
    return int(midnight.timestamp()) // 60


def _daily(constraint: object) -> tuple[int, int] | None:
    if not isinstance(constraint, library.TimeOfDateConstraint):
        return None
    return _minute(constraint.start_time), _minute(constraint.end_time)


def _minute(moment: time) -> int:
    at = datetime.combine(datetime(1970, 1, 1), moment)
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return utc.hour * 60 + utc.minute


def _left_out(prices: library.ModelPrice | list[library.ConditionalPrice]) -> tuple[str, ...]:
    every = [prices] if isinstance(prices, library.ModelPrice) else [conditional.prices for conditional in prices]
    units = {unit for each in every for unit in _stated(each)}
    return tuple(sorted(units - _BUCKETS.keys() - {_CALLS}))


def _clause(logic: library.MatchLogic) -> Clause:
    match logic:
        case library.ClauseEquals(text):
            return Equals(text.lower())
        case library.ClauseStartsWith(text):
            return StartsWith(text.lower())
        case library.ClauseEndsWith(text):
            return EndsWith(text.lower())
        case library.ClauseContains(text):
            return Contains(text.lower())
        case library.ClauseRegex(pattern):
            return Regex(pattern)
        case library.ClauseOr(clauses):
            return AnyOf(_clauses(clauses))
        case library.ClauseAnd(clauses):
            return AllOf(_clauses(clauses))
    raise TypeError(f"The price library has a match clause that is not known here: {logic!r}")


def _clauses(logics: Sequence[library.MatchLogic]) -> tuple[Clause, ...]:
    return tuple(_clause(logic) for logic in logics)


if __name__ == "__main__":
    sys.stdout.buffer.write(pack(library_providers()))
