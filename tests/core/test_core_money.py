"""Money: exact, never understated, and readable."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pointsman.core import from_usd, show_usd, to_usd, tokens_cost

NANOS = some.integers(-(10**18), 10**18)


@given(NANOS)
def test_an_amount_survives_the_way_to_text_and_back(nanos: int) -> None:
    """A bill that was exported and read in again would not be the same bill."""
    assert from_usd(to_usd(nanos)) == nanos


@given(NANOS)
def test_an_amount_is_written_as_a_plain_decimal(nanos: int) -> None:
    """A spreadsheet would read '1E-9', or digits that stand for nothing, as text."""
    text = to_usd(nanos)
    assert "E" not in text.upper()
    assert Decimal(text) * 10**9 == nanos
    assert "." not in text or not text.endswith("0")


@given(some.integers(0, 10**9), some.integers(0, 10**15))
def test_a_cost_is_rounded_up_by_less_than_a_nano_dollar(tokens: int, rate: int) -> None:
    """A million small calls would be billed for less, or for more, than they cost."""
    exact = Fraction(tokens * rate, 1_000_000)
    assert 0 <= tokens_cost(tokens, rate) - exact < 1


def test_the_smallest_paid_token_costs_something() -> None:
    """A cheap token would be counted as free."""
    assert tokens_cost(1, 1) == 1
    assert tokens_cost(0, 10**9) == 0
    assert tokens_cost(1, 0) == 0


@pytest.mark.parametrize("amount", ["abc", "", "NaN", "sNaN", "Infinity", "-inf", "1e13", "1e999999", "0x10"])
def test_what_is_no_amount_of_money_is_refused(amount: str) -> None:
    """A budget of 'NaN' would be one that every call keeps."""
    with pytest.raises(ValueError, match="not an amount of US dollars"):
        from_usd(amount)


@pytest.mark.parametrize(
    ("nanos", "shown"),
    [
        (None, "unknown"),
        (0, "$0"),
        (1, "$0.0000000010"),
        (4_200_000, "$0.0042"),
        (9_960_000, "$0.0100"),
        (10_000_000, "$0.01"),
        (1_270_000_000, "$1.27"),
        (1_234_567_890_000_000, "$1,234,567.89"),
        (-4_200_000, "-$0.0042"),
        (-1_500_000_000, "-$1.50"),
    ],
)
def test_an_amount_is_shown_for_people(nanos: int | None, shown: str) -> None:
    """An unknown cost would look like no cost, and a small one like nothing."""
    assert show_usd(nanos) == shown


@given(some.integers(1, 10**18))
def test_what_costs_something_is_never_shown_as_nothing(nanos: int) -> None:
    """The user would think that the call was free."""
    assert any(digit in "123456789" for digit in show_usd(nanos))
