"""Prices and bills: they equal the price library's, and what is unknown is never 0."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot

from pointsman.catalog import FREE, LongPrompt, Price, PriceBook, ProviderRow, Rates, cost, shipped_catalog
from pointsman.core import ConfigError, Usage

PROVIDERS = shipped_catalog().providers
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("prices")


@pytest.fixture(scope="module")
def book(cache):
    return PriceBook(PROVIDERS, cache=cache, now=NOON.timestamp)


USAGES = [
    Usage(input=1000, output=100),
    Usage(input=7, output=3, cache_read=5, cache_write=11, cache_write_1h=13, reasoning=17),
    Usage(input=199_999, output=1, cache_read=1),
    Usage(input=272_000, output=1),
    Usage(input=250_000, output=9, cache_read=250_001, service_tier="batch"),
    Usage(input=5, output=2, cache_read=1, service_tier="flex"),
]
MOMENTS = [
    datetime(2024, 1, 1, 17, tzinfo=UTC),
    datetime(2026, 8, 17, 0, tzinfo=UTC),
    datetime(2026, 11, 21, 9, 59, tzinfo=UTC),
    datetime(2026, 11, 21, 10, tzinfo=UTC),
]
BUCKETS = 6


def library_bill(provider, model, usage, when):
    """The library's own figure in nano-dollars, for the same tokens."""
    tier = usage.service_tier
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier} if tier else None
    counts = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_reasoning_tokens=usage.reasoning,
    )
    bill = model.calc_price(counts, provider, genai_request_timestamp=when, price_context=context)
    return bill.total_price * 10**9


def test_every_model_of_the_library_is_billed_as_the_library_bills_it(book):
    """A bill would be wrong: another model's price, an old price, the wrong tier, cached tokens at the full rate."""
    library = get_snapshot()
    compared = 0
    for provider in library.providers:
        for listed in provider.models:
            model = provider.find_model(listed.id, all_providers=library.providers)
            for usage, when in itertools.product(USAGES, MOMENTS):
                ours = cost(usage, book.price(provider.id, listed.id, when.timestamp()))
                if ours is None:
                    continue
                assert model is not None
                excess = ours - library_bill(provider, model, usage, when)
                assert Decimal("-0.001") <= excess <= BUCKETS, (provider.id, listed.id, usage, when)
                compared += 1
    assert compared > 45_000


def test_the_library_is_unknown_only_where_it_states_no_token_price(book):
    """A model with a price would be listed as unknown, and left out of every budgeted choice."""
    library = {provider.id: provider for provider in get_snapshot().providers}
    for row in book.all_models():
        provider, _, model_id = row.id.partition("/")
        model = next(model for model in library[provider].models if model.id == model_id)
        stated = vars(model.get_prices(NOON)).keys()
        free = provider == "openrouter" and model_id.endswith(":free")
        assert (row.input_usd_per_mtok is None) == ("input_mtok" not in stated and not free), row


def test_all_models_lists_the_whole_library_with_decimal_prices(book):
    """`pointsman models --all` would leave models out, or show floats that have lost digits."""
    listed = {row.id: row for row in book.all_models()}
    assert len(listed) == sum(len(provider.models) for provider in get_snapshot().providers)
    assert listed["openai/gpt-4o-mini"].input_usd_per_mtok == "0.15"
    assert listed["openai/gpt-4o-mini"].output_usd_per_mtok == "0.6"
    assert listed["openai/gpt-4o-mini"].context == 128_000
    assert listed["openai/whisper-1"].input_usd_per_mtok is None


def test_what_cannot_be_carried_over_is_told(book):
    """A gap in the bill, such as searches or hours of audio, would go unnoticed."""
    coverage = book.coverage()
    assert coverage.models > coverage.priced > 2_000
    assert {"audio_hours", "web_searches_kcount"} <= coverage.left_out.keys()
    assert not {"input_mtok", "output_mtok", "cache_read_mtok"} & coverage.left_out.keys()


def test_every_paid_offer_of_the_catalogue_is_priced_but_for_those_known_not_to_be(book):
    """A shipped model could not be chosen under a budget because its id at the provider is misspelt."""
    unpriced = {
        offer.endpoint
        for card in shipped_catalog().models.values()
        for offer in card.served
        if card.kind in ("chat", "embedding")
        and shipped_catalog().provider(offer.provider).deployment != "local"
        and book.price(offer.provider, offer.id) is None
    }
    assert unpriced <= {
        "fireworks/accounts/fireworks/models/qwen3-coder-480b-a35b-instruct",
        "huggingface/meta-llama/Llama-3.3-70B-Instruct",
    }


def test_our_providers_names_mean_the_librarys(book):
    """Gemini and xAI, which the library calls otherwise, would have no prices."""
    assert book.price("gemini", "gemini-2.5-flash") == book.price("google", "gemini-2.5-flash") is not None
    assert book.price("xai", "grok-4.7") is not None
    assert book.context("gemini", "gemini-2.5-flash") == 1_048_576


@pytest.mark.parametrize(
    ("provider", "model_id"),
    [
        ("openai", "no-such-model"),
        ("nobody", "gpt-5"),
        ("huggingface", "gpt-5"),
        ("", ""),
        ("openai", ""),
        ("", "gpt-5"),
    ],
)
def test_what_nobody_prices_is_unknown(book, provider, model_id):
    """A model without a price would look free."""
    assert book.price(provider, model_id) is None
    assert book.context(provider, model_id) is None
    assert cost(Usage(input=1), book.price(provider, model_id)) is None


def test_an_audio_model_is_unknown_rather_than_free(book):
    """A transcription billed by the hour would show as costing nothing."""
    assert cost(Usage(input=1000, output=10), book.price("openai", "whisper-1")) is None


def test_a_provider_row_of_the_users_hides_the_library(cache):
    """A server of the user's own that he calls 'openai' would be billed at OpenAI's prices."""
    own = {"openai": ProviderRow(name="openai", dialect="openai", base_url="http://127.0.0.1:9001/v1")}
    assert PriceBook(own, cache=cache).price("openai", "gpt-5") is None


def test_a_users_own_price_wins_by_endpoint_then_by_model(cache):
    """A negotiated price would be ignored."""
    mine, everywhere = Price.per_mtok(input="1", output="2"), Price.per_mtok(input="3", output="4")
    book = PriceBook(PROVIDERS, own={"openai/gpt-5": mine, "gpt-5": everywhere}, cache=cache)
    assert book.price("openai", "gpt-5") is mine
    assert book.price("azure", "gpt-5") is everywhere
    assert book.price("openai", "gpt-5-mini").input == 250_000_000


def test_a_price_without_a_library_needs_none(tmp_path):
    """Where the user states every price, the library would be read for nothing."""
    book = PriceBook({}, own={"m": FREE}, cache=tmp_path)
    assert book.price("mine", "m") is FREE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "1e30", "", "cheap", "1,5", "2000000"])
def test_a_price_that_is_no_price_is_refused(amount):
    """A slip in the configuration would make calls free, or crash the first bill."""
    with pytest.raises(ConfigError, match="input"):
        Price.per_mtok(input=amount)


def test_a_price_for_an_unknown_bucket_is_refused():
    """A misspelt bucket would be ignored and its tokens billed at another rate."""
    with pytest.raises(ConfigError, match="'outptu'"):
        Price.per_mtok(input="1", outptu="2")


def test_local_is_known_to_cost_nothing_and_free_keeps_its_list_price(book):
    """Local calls would be unknown, or the saving of a free tier could not be told."""
    local = book.quote(PROVIDERS["ollama"], "llama3:8b")
    assert (local.charged, local.listed) == (FREE, None)
    free = book.quote(PROVIDERS["groq"], "llama-3.3-70b-versatile")
    assert free.charged == FREE and free.listed.output == 790_000_000
    paid = book.quote(PROVIDERS["groq"], "llama-3.3-70b-versatile", deployment="paid")
    assert paid.charged == paid.listed == free.listed
    assert book.quote(PROVIDERS["openrouter"], "never/heard-of:free").charged == FREE


def test_a_users_price_for_a_local_model_is_charged(cache):
    """Whoever counts the electricity of his own machine could not."""
    mine = Price.per_mtok(input="0.01", output="0.02")
    book = PriceBook(PROVIDERS, own={"ollama/llama3:8b": mine}, cache=cache)
    assert book.quote(PROVIDERS["ollama"], "llama3:8b").charged is mine


def test_buckets_without_a_rate_are_billed_at_the_next_wider():
    """Cached and reasoning tokens would be free wherever a provider states no rate for them."""
    price = Price(input=1_000_000, output=2_000_000)
    assert cost(Usage(input=1, cache_read=1, cache_write=1, cache_write_1h=1, output=1, reasoning=1), price) == 8
    assert cost(Usage(cache_write_1h=1), Price(input=1_000_000, cache_write=5_000_000)) == 5


def test_a_bucket_that_no_rate_covers_makes_the_bill_unknown():
    """Half of a bill would pass for the whole."""
    assert cost(Usage(input=1, output=1), Price(input=1_000_000)) is None
    assert cost(Usage(input=1), Price(input=1_000_000)) == 1
    assert cost(Usage(), None) is None


def test_a_bill_is_rounded_up_and_never_negative():
    """Tiny calls would be free, and a hostile negative count would pay the user back."""
    assert cost(Usage(input=1), Price(input=1, output=1)) == 1
    assert cost(Usage(input=-(10**6), output=0), Price(input=1_000_000, output=1)) == 0


def test_a_long_prompt_changes_the_rate_of_every_token():
    """A prompt past the threshold would be billed at the short rate."""
    price = Price(
        input=1_000_000, output=1_000_000, long_prompts=(LongPrompt(10, Rates(input=2_000_000, output=3_000_000)),)
    )
    assert cost(Usage(input=5, cache_read=5, output=1), price) == 11
    assert cost(Usage(input=5, cache_read=6, output=1), price) == 25


def test_a_request_fee_is_part_of_the_bill(book):
    """A search model's fee for each call, the larger part of its bill, would be missing."""
    price = book.price("perplexity", "sonar")
    assert price.call > 1_000_000
    assert cost(Usage(input=1_000_000), price) == price.call + price.input


def test_an_unstated_service_tier_is_billed_at_the_standard_price(book):
    """A word that a provider adds to its replies would make its bills unknown."""
    price = book.price("groq", "llama-3.1-8b-instant")
    assert cost(Usage(input=1_000_000, service_tier="on_demand"), price) == price.input > 0


def test_names_that_callers_invent_do_not_fill_the_memory(book):
    """A caller who asks for ever new models would make the server grow without bound."""
    for number in range(5_000):
        assert book.price("openai", f"invented-{number}") is None
    assert len(book._resolved) <= 2_048 and len(book._found) <= 2_048
