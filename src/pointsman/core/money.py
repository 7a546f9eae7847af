"""Money is counted in whole nano-dollars, so that sums of millions of calls are exact."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NewType

Nanos = NewType("Nanos", int)
"""Nano-dollars: 1 USD is 1,000,000,000. An unknown amount is None, never 0."""

NANOS_PER_USD = 1_000_000_000
TOKENS_PER_MTOK = 1_000_000
MOST_USD = 1_000_000_000_000
"""Past a trillion dollars an amount is a slip, and its digits would not be exact any more."""


def from_usd(usd: Decimal | str | int) -> Nanos:
    """US dollars → nano-dollars, rounded half to even. A float is refused by type: it has already lost digits.

    Raises ValueError for what is not a finite amount, or is past any amount of money that there is.
    """
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or abs(amount) > MOST_USD:
        raise ValueError(f"{str(usd)[:40]!r} is not an amount of US dollars, such as '0.01'")
    return Nanos(int((amount * NANOS_PER_USD).to_integral_value()))


def to_usd(nanos: int) -> str:
    """Nano-dollars → the plain decimal string that JSON carries: '0.0025', '0', '-1.5'."""
    if nanos < 0:
        return f"-{to_usd(-nanos)}"
    usd, rest = divmod(nanos, NANOS_PER_USD)
    return f"{usd}.{rest:09d}".rstrip("0") if rest else f"{usd}"


def show_usd(nanos: int | None) -> str:
    """For people: '$0', '$0.0042', '$1.27', 'unknown'. Amounts under a cent keep two significant digits."""
    if nanos is None:
        return "unknown"
    if nanos == 0:
        return "$0"
    sign, amount = ("-" if nanos < 0 else ""), abs(Decimal(nanos)) / NANOS_PER_USD
    if amount >= Decimal("0.01"):
        return f"{sign}${amount:,.2f}"
    digits = 1 - amount.adjusted()
    return f"{sign}${amount:.{digits}f}"


def tokens_cost(tokens: int, nanos_per_mtok: int) -> Nanos:
    """The price of `tokens` at nano-dollars per million tokens, rounded up: a bill is never understated."""
    return Nanos(-(-tokens * nanos_per_mtok // TOKENS_PER_MTOK))
