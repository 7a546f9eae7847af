"""The matrix: what fits is kept, the best comes first, and the unknown never passes for cheap, long or quick."""

from decimal import Decimal

import pytest
from msgspec import structs

from pointsman.catalog import FREE, Measured, Price, PriceBook, Quote, parse_size, rows, select, shipped_catalog
from pointsman.catalog.matrix import ENOUGH_TIMES, Marks
from pointsman.core import ConfigError

CATALOG = shipped_catalog()


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    book = PriceBook(CATALOG.providers, cache=tmp_path_factory.mktemp("prices"))
    return rows(CATALOG, book.quote, lambda offer: offer.provider == "local")


def names(selected):
    return [row.offer.endpoint for row in selected]


def test_every_offer_is_a_row(matrix):
    """A way to reach a model would be missing from the comparison."""
    assert len(matrix) == sum(len(card.served) for card in CATALOG.models.values())


def test_a_price_bound_keeps_what_is_known_to_be_cheaper_and_nothing_unknown(matrix):
    """`--max-price 1` would show a model of unknown price, which may be dear."""
    kept = select(matrix, max_price=Decimal(1))
    assert kept and all(row.output_price <= 1_000_000_000 for row in kept)
    assert "local/smollm2-135m" in names(kept)
    assert "openai/gpt-6-astra" not in names(kept)
    assert "fireworks/accounts/fireworks/models/qwen3-coder-480b-a35b-instruct" not in names(kept)


def test_unknown_prices_sort_last(matrix):
    """A model without a price would head the list of the cheapest."""
    prices = [row.output_price for row in select(matrix, sort="price")]
    known = [price for price in prices if price is not None]
    assert None in prices and known == sorted(known)
    assert prices == known + [None] * (len(prices) - len(known))


@pytest.mark.parametrize("sort", ["quality", "speed", "price", "context", "latency", "name"])
def test_every_sort_keeps_every_row(matrix, sort):
    """Sorting would drop a row or fail on what is unknown."""
    assert sorted(names(select(matrix, sort=sort))) == sorted(names(matrix))


def test_the_best_for_a_task_come_first_and_the_poor_not_at_all(matrix):
    """`--task coding` would offer models that cannot code."""
    marks = [row.rubric("coding").performance for row in select(matrix, task="coding")]
    assert marks == sorted(marks, reverse=True) and marks[-1] >= 4
    assert "local/smollm2-135m" not in names(select(matrix, task="coding"))
    assert "local/qwen2.5-coder-0.5b" in names(select(matrix, task="coding"))


def test_filters_hold_together(matrix):
    """The example of the manual would show rows that break one of its bounds."""
    kept = select(matrix, task="coding", max_price=Decimal(1), min_context=100_000, tier="free", sort="quality")
    assert kept
    for row in kept:
        assert row.deployment == "free" and row.context >= 100_000 and row.output_price <= 10**9


def test_a_context_or_latency_that_is_not_known_satisfies_no_bound(matrix):
    """A long prompt would go to a model whose window nobody knows."""
    assert all(row.context is not None for row in select(matrix, min_context=0))
    assert all(row.latency_ms <= 500 for row in select(matrix, max_latency_ms=500))
    assert "xai/grok-code-fast-1" in names(select(matrix, max_latency_ms=100))


def test_kind_capability_availability_and_age_filter(matrix):
    """A filter of the command would do nothing."""
    assert {row.card.kind for row in select(matrix, kind="embedding")} == {"embedding"}
    assert all("tools" in row.card.capabilities for row in select(matrix, capability="tools"))
    assert {row.offer.provider for row in select(matrix, available_only=True)} == {"local"}
    assert not any(row.card.legacy for row in select(matrix, legacy=False))
    assert {row.deployment for row in select(matrix, tier="local")} == {"local"}


def test_a_measured_figure_takes_the_place_of_the_prior():
    """What was recorded would never change the order that was guessed at first."""
    measured = {"local/smollm2-135m": Measured(calls=50, quality=9.5, latency_ms=40.0, timed=50, success=1.0)}
    matrix = rows(
        CATALOG,
        lambda provider, model_id: Quote(FREE, None),
        lambda offer: True,
        measured=lambda offer: measured.get(offer.endpoint),
    )
    best = select(matrix, kind="chat", tier="local")[0]
    assert best.offer.endpoint == "local/smollm2-135m"
    assert best.quality("coding") == 9.5 and best.rubric("coding").performance < 5
    assert best.latency_ms == 40.0 and best.speed("coding") == 10.0


@pytest.mark.parametrize(
    ("latency_ms", "timed", "speed"),
    [
        (40.0, 9, 10.0),
        (100.0, 9, 10.0),
        (1000.0, 9, 6.0),
        (1e6, 9, 0.0),
        (0.0, 9, 10.0),
        (1000.0, ENOUGH_TIMES - 1, None),
    ],
)
def test_a_measured_speed_is_on_the_scale_of_stated_ones(latency_ms, timed, speed):
    """A speed that was measured could not be compared with one that was stated; or one call would decide it."""
    measured = Measured(latency_ms=latency_ms, timed=timed).speed
    assert measured == speed if speed is None else measured == pytest.approx(speed)


def test_what_a_user_states_goes_before_the_card(matrix):
    """The table would contradict the configuration, and the router that believes it."""
    row = structs.replace(matrix[0], own=Marks(quality=9.5))
    assert row.stated("coding").quality == row.quality("coding") == 9.5
    assert row.speed("coding") == matrix[0].speed("coding")


def test_an_endpoints_own_window_takes_the_place_of_the_cards():
    """A prompt would be sent to an endpoint that allows less than the model can."""
    matrix = rows(
        CATALOG,
        lambda provider, model_id: Quote(Price(input=1), None),
        lambda offer: True,
        context=lambda provider, model_id: 65_536 if provider == "cerebras" else None,
    )
    assert {row.context for row in matrix if row.offer.provider == "cerebras"} == {65_536}


@pytest.mark.parametrize(
    ("text", "size"),
    [("100k", 100_000), ("1M", 1_000_000), ("8192", 8192), (" 1.5m ", 1_500_000), ("0", 0), ("128K", 128_000)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    """`--min-context 100k` would be refused or misread."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "k", "-1", "1e9", "100kb", "1.5", "ten", "1 000", "١٠", "9" * 400, "nan", "0.0001k"]
)
def test_a_size_that_is_none_is_refused_with_an_example(text):
    """Rubbish would be taken for a number, or end in a traceback."""
    with pytest.raises(ConfigError, match="100k"):
        parse_size(text)
