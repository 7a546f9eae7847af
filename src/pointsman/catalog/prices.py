"""The price of any model at any provider, now or at a time past: a user's own first, then the price library's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from ..core import to_usd
from .providers import Deployment, ProviderRow
from .rates import FREE, LongPrompt, Price, Rates
from .snapshot import LibraryModel, Rate, Rule, Snapshot
from .snapshot_file import load


class Quote(Struct, frozen=True):
    """What a call is charged, and what the provider's list says. They differ where a free tier serves."""

    charged: Price | None
    listed: Price | None


class PricedModel(Struct, frozen=True):
    """A row of the price library. Prices are US dollars per million tokens as plain decimals; None is unknown."""

    id: str
    """'provider/model', in the library's own names."""
    name: str
    context: int | None
    input_usd_per_mtok: str | None
    output_usd_per_mtok: str | None


class Coverage(Struct, frozen=True):
    """How much of the library could be carried over."""

    models: int
    priced: int
    """Models whose input tokens have a price."""
    left_out: dict[str, int]
    """Unit → models that state a price by it which a usage in tokens cannot be billed by."""


class PriceBook:
    """Prices by provider and model. May be asked from any thread.

    `providers` maps our providers' names to their rows; a name that is not among them is taken as the library's own.
    `own` holds a user's prices by 'provider/model' or by the model alone; they win. `cache` is the folder in which the
    library's snapshot is kept; None asks the library in every process. `now` gives seconds since 1970.
    """

    def __init__(
        self,
        providers: Mapping[str, ProviderRow],
        *,
        own: Mapping[str, Price] | None = None,
        cache: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._providers = providers
        self._own = dict(own or {})
        self._cache = cache
        self._now = now
        self._found: dict[tuple[str, str], LibraryModel | None] = {}
        self._resolved: dict[tuple[str, str, int], Price | None] = {}

    def price(self, provider: str, model_id: str, when: float | None = None) -> Price | None:
        """The price at `when` (seconds since 1970; None is now) of the provider's model. None is unknown."""
        own = self._stated(provider, model_id)
        if own is not None:
            return own
        minute = int(self._now() if when is None else when) // 60
        key = (provider, model_id, minute)
        try:
            return self._resolved[key]
        except KeyError:
            price = self._listed(provider, model_id, minute)
        if len(self._resolved) >= _KEPT:
            self._resolved.clear()
        self._resolved[key] = price
        return price

    def quote(
        self, row: ProviderRow, model_id: str, when: float | None = None, deployment: Deployment | None = None
    ) -> Quote:
        """Charged and listed price at an endpoint. `deployment` overrides what the row says of the model.

        A price that the user stated is charged even where nothing would be: he may count his electricity.
        """
        listed = self.price(row.name, model_id, when)
        kind = deployment or row.deployment_of(model_id)
        stated = self._stated(row.name, model_id) is not None
        return Quote(listed, listed) if stated or kind == "paid" else Quote(FREE, listed)

    def context(self, provider: str, model_id: str) -> int | None:
        """The context window in tokens, where the library states it."""
        model = self._find(self._library_id(provider), model_id)
        return None if model is None else model.context

    def all_models(self) -> list[PricedModel]:
        """Every model of the library at today's prices."""
        minute = int(self._now()) // 60
        return [
            _priced_model(provider.id, model, _price_at(model, minute))
            for provider in self._snapshot.providers()
            for model in provider.models
        ]

    def coverage(self) -> Coverage:
        models = [model for provider in self._snapshot.providers() for model in provider.models]
        return Coverage(
            models=len(models),
            priced=sum(any("input" in rule.rates for rule in model.rules) for model in models),
            left_out=dict(Counter(unit for model in models for unit in model.left_out)),
        )

    @cached_property
    def _snapshot(self) -> Snapshot:
        return load(self._cache)

    def _stated(self, provider: str, model_id: str) -> Price | None:
        return self._own.get(f"{provider}/{model_id}") or self._own.get(model_id)

    def _listed(self, provider: str, model_id: str, minute: int) -> Price | None:
        library_id = self._library_id(provider)
        if _is_free_variant(library_id, model_id):
            return FREE
        model = self._find(library_id, model_id)
        return None if model is None else _price_at(model, minute)

    def _library_id(self, provider: str) -> str:
        row = self._providers.get(provider)
        return provider if row is None else row.price_provider

    def _find(self, library_id: str, model_id: str) -> LibraryModel | None:
        key = (library_id, model_id)
        try:
            return self._found[key]
        except KeyError:
            found = self._snapshot.find(library_id, model_id) if library_id else None
        if len(self._found) >= _KEPT:
            self._found.clear()
        self._found[key] = found
        return found


_KEPT = 2048
"""Names come from callers, so what is remembered of them is bounded."""


def _is_free_variant(library_id: str, model_id: str) -> bool:
    """OpenRouter's own word for a variant that costs nothing. The library states no price for these."""
    return library_id == "openrouter" and model_id.endswith(":free")


def _price_at(model: LibraryModel, minute: int) -> Price | None:
    standard = _standard(model.rules, minute)
    if standard is None or not standard.rates:
        return None
    tiers = {variant.service_tier: None for variant in model.variants}
    return _price(
        standard,
        {tier: _price(_overridden(standard, tier, model.variants, minute), {}) for tier in tiers},
    )


def _standard(rules: tuple[Rule, ...], minute: int) -> Rule | None:
    for rule in reversed(rules):
        if rule.holds(minute):
            return rule
    return rules[0] if rules else None


def _overridden(standard: Rule, service_tier: str, variants: Iterable[Rule], minute: int) -> Rule:
    rates, call = dict(standard.rates), standard.call
    holding = [rule for rule in variants if rule.service_tier == service_tier and rule.holds(minute)]
    for rule in reversed(holding):
        rates |= rule.rates
        call = call if rule.call is None else rule.call
    return Rule(rates, call)


def _price(rule: Rule, service_tiers: Mapping[str, Price]) -> Price:
    lengths = sorted({over for rate in rule.rates.values() for over, _ in rate.above})
    return Price(
        **{bucket: rate.base for bucket, rate in rule.rates.items()},
        call=rule.call or 0,
        long_prompts=tuple(
            LongPrompt(over, Rates(**{bucket: _above(rate, over) for bucket, rate in rule.rates.items()}))
            for over in lengths
        ),
        service_tiers=service_tiers,
    )


def _above(rate: Rate, over: int) -> int:
    """The rate for a prompt just longer than `over`."""
    return next((nanos for start, nanos in reversed(rate.above) if start <= over), rate.base)


def _priced_model(provider: str, model: LibraryModel, price: Price | None) -> PricedModel:
    if price is None and _is_free_variant(provider, model.id):
        price = FREE
    return PricedModel(
        id=f"{provider}/{model.id}",
        name=model.name,
        context=model.context,
        input_usd_per_mtok=None if price is None else _usd(price.input),
        output_usd_per_mtok=None if price is None else _usd(price.output),
    )


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else to_usd(nanos)
