"""What tokens cost: rates in whole nano-dollars per million tokens, and the bill of one usage."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Self

from msgspec import Struct, structs

from ..core import ConfigError, Nanos, Usage, from_usd, tokens_cost


class Rates(Struct, frozen=True, kw_only=True):
    """Nano-dollars per million tokens of each bucket of a Usage. None means that the bucket has no rate of its own.

    Then it is billed at the next wider one that has: the one-hour cache write as a cache write, that and a cache read
    as input, reasoning as output. Input and output have no wider one: None there means that the price is unknown.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None


class LongPrompt(Struct, frozen=True):
    """The rates for every token of a call whose prompt, cached or not, is longer than `over` tokens."""

    over: int
    rates: Rates


class Price(Rates, frozen=True, kw_only=True):
    """The price of a model at one provider, at one time."""

    call: int = 0
    """Nano-dollars for each call, whatever its tokens."""
    long_prompts: tuple[LongPrompt, ...] = ()
    """Ascending: the last one that applies counts."""
    service_tiers: Mapping[str, Price] = {}
    """The price where the provider served another tier than its standard: 'batch', 'flex', 'priority', 'fast'."""

    @classmethod
    def per_mtok(cls, **usd: Decimal | str | int) -> Self:
        """From US dollars per million tokens, by bucket: Price.per_mtok(input='0.15', output='0.6').

        Raises ConfigError for a bucket that does not exist and for what is not a finite amount from 0 up.
        """
        unknown = usd.keys() - _BUCKETS
        if unknown:
            raise ConfigError(f"A price has no {sorted(unknown)[0]!r}: it has {', '.join(sorted(_BUCKETS))}.")
        return structs.replace(cls(), **{bucket: _nanos(bucket, amount) for bucket, amount in usd.items()})


FREE = Price(input=0, output=0)
"""Known to cost nothing: what runs on the user's own machine, or within a free tier."""


_Buckets = tuple[tuple[int, int | None], ...]
"""Tokens, and nano-dollars for a million of them."""


def cost(usage: Usage, price: Price | None) -> Nanos | None:
    """The bill, rounded up in each bucket; None where the price of any token that passed is not known.

    A service tier for which no price is stated is billed at the standard one.
    """
    if price is None:
        return None
    if price.service_tiers:
        price = price.service_tiers.get(usage.service_tier, price)
    rates = _rates_for(usage.input_tokens, price) if price.long_prompts else price
    total = price.call
    if usage.cache_read or usage.cache_write or usage.cache_write_1h or usage.reasoning:
        buckets: _Buckets = _buckets(usage, rates)
    else:
        buckets = ((usage.input, rates.input), (usage.output, rates.output))
    for tokens, rate in buckets:
        if tokens > 0:
            if rate is None:
                return None
            total += tokens_cost(tokens, rate)
    return Nanos(total)


def _rates_for(prompt_tokens: int, price: Price) -> Rates:
    for long_prompt in reversed(price.long_prompts):
        if prompt_tokens > long_prompt.over:
            return long_prompt.rates
    return price


def _buckets(usage: Usage, rates: Rates) -> _Buckets:
    cache_write = rates.input if rates.cache_write is None else rates.cache_write
    return (
        (usage.input, rates.input),
        (usage.output, rates.output),
        (usage.cache_read, rates.input if rates.cache_read is None else rates.cache_read),
        (usage.cache_write, cache_write),
        (usage.cache_write_1h, cache_write if rates.cache_write_1h is None else rates.cache_write_1h),
        (usage.reasoning, rates.output if rates.reasoning is None else rates.reasoning),
    )


def _nanos(bucket: str, amount: Decimal | str | int) -> Nanos:
    try:
        usd = Decimal(amount)
    except InvalidOperation:
        usd = Decimal("nan")
    if not usd.is_finite() or not 0 <= usd <= _DEAREST:
        raise ConfigError(
            f"The price of {bucket} is {amount!r}: it must be US dollars per million tokens, such as '0.15'."
        )
    return from_usd(usd)


_BUCKETS = frozenset(field.name for field in structs.fields(Rates))
_DEAREST = Decimal(1_000_000)
"""A dollar for each token: past that it is a slip of the pen, most likely nano-dollars."""
