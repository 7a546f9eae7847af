"""The shipped data: what the project was asked to know, and that it hangs together."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from pointsman.catalog import TASKS, ModelCard, Offer, ProviderRow, Rubric, read_catalog, shipped_catalog
from pointsman.dialects import QUIRKS

CATALOG = shipped_catalog()


@pytest.mark.parametrize(
    ("name", "speed", "quality", "best_use", "latency"),
    [
        ("grok-code-fast-1", 5, 3, "rapid iteration", (0, 100)),
        ("chatgpt-5", 4, 5, "complex reasoning", (200, 500)),
        ("claude-opus-4-1", 3, 5, "nuanced analysis", (500, 1000)),
        ("gpt-4.1", 4, 4, "domain expertise", (300, 600)),
        ("deepseek-chat-v3", 3, 4, "research", (400, 800)),
        ("qwen3-30b-a3b", 3, 4, "multilingual", (300, 700)),
    ],
)
def test_the_six_requested_profiles_are_stated_as_requested(name, speed, quality, best_use, latency):
    """The matrix would show other priors than the ones the project was asked to ship."""
    card = CATALOG.find(name)
    assert card.stated_by == "request"
    assert (card.profile.speed, card.profile.quality) == (speed, quality)
    assert (card.profile.best_use, card.profile.latency) == (best_use, latency)


@pytest.mark.parametrize(
    ("name", "context", "price", "legacy"),
    [
        ("gpt-4", 8192, ("30", "60"), True),
        ("gpt-4-turbo", 128_000, ("10", "30"), True),
        ("gpt-3.5-turbo", 16_385, ("0.5", "1.5"), True),
        ("claude-3.5-sonnet", 200_000, ("3", "15"), True),
        ("claude-3-opus", 200_000, ("15", "75"), True),
        ("llama-2-70b", 4096, ("0", "0"), True),
        ("qwen3-coder-480b-a35b", 262_144, ("0.45", "1.8"), False),
    ],
)
def test_the_requested_seeds_bear_their_context_and_stated_price(name, context, price, legacy):
    """The comparison the project started from could not be reproduced."""
    card = CATALOG.find(name)
    assert (card.context, card.legacy) == (context, legacy)
    assert (card.stated_price.input, card.stated_price.output) == tuple(map(Decimal, price))


@pytest.mark.parametrize(
    "name",
    [
        *("nous-hermes-2-mistral-7b", "openhermes-2.5-mistral-7b", "phi-4-mini", "llama-3-8b", "mistral-7b"),
        *("command-r-plus", "grok-1.5", "starling-lm-7b-alpha", "gemini-1.5-flash", "claude-3-haiku", "gpt-3.5-turbo"),
        *("gemini-2.5-pro", "gemini-2.5-flash", "claude-opus-4-0", "claude-sonnet-4-0", "gpt-4o", "claude-4-opus"),
        *("mistral:7b-instruct-q4_K_M", "llama3.1:8b-instruct-q4_K_M", "grok:1.5-7b-q4_K_M", "deepseek-chat:free"),
        *("llama-3.3-70b-versatile", "gpt-4.5-preview", "llama-2-7b", "tinyllama", "starcoder", "codellama"),
        *("deepseek-coder", "whisper", "bert", "roberta", "bart", "t5", "gpt-4", "gpt-4-turbo"),
    ],
)
def test_every_name_of_the_shipped_chains_is_known(name):
    """A chain would name a model of which nothing is known."""
    assert CATALOG.find(name) is not None


def test_every_requested_provider_is_a_row():
    """A provider that the project promises could not be configured."""
    promised = {
        *("openai", "anthropic", "gemini", "openrouter", "groq", "mistral", "deepseek", "xai", "fireworks"),
        *("together", "huggingface", "cerebras", "ollama", "lmstudio", "vllm", "llamacpp"),
    }
    assert promised <= CATALOG.providers.keys()
    for row in CATALOG.providers.values():
        assert row.deployment == "local" or (row.key_env and row.console and row.base_url.startswith("https://"))


@pytest.mark.parametrize(
    ("provider", "per_minute"),
    [("gemini", 60), ("groq", 30), ("huggingface", 30), ("mistral", 20), ("openrouter", 10)],
)
def test_the_stated_free_tier_limits_are_known(provider, per_minute):
    """A free tier would be hit with 429s instead of being passed over."""
    assert CATALOG.providers[provider].free_tier.requests_per_minute == per_minute


@pytest.mark.parametrize(
    ("endpoint", "deployment"),
    [
        ("ollama/llama3:8b", "local"),
        ("local/smollm2-135m", "local"),
        ("groq/llama-3.3-70b-versatile", "free"),
        ("gemini/gemini-2.5-flash", "free"),
        ("gemini/gemini-2.5-pro", "paid"),
        ("openrouter/deepseek/deepseek-chat:free", "free"),
        ("openrouter/deepseek/deepseek-chat", "paid"),
        ("openai/gpt-5-mini", "paid"),
    ],
)
def test_the_kind_of_deployment_depends_on_provider_and_model(endpoint, deployment):
    """A paid call would pass as free, or a private one as not."""
    offer = CATALOG.offer(endpoint)
    assert CATALOG.provider(offer.provider).deployment_of(offer.id) == deployment


def test_a_row_that_is_free_without_limits_is_free_throughout():
    """A user who says that his provider is free would be billed."""
    row = ProviderRow(name="mine", dialect="openai", base_url="http://127.0.0.1:9001/v1", deployment="free")
    assert row.deployment_of("anything") == "free"


def test_every_offer_names_a_known_provider():
    """A model would be listed that nobody can serve."""
    offers = [offer for card in CATALOG.models.values() for offer in card.served]
    assert all(CATALOG.provider(offer.provider) for offer in offers)
    assert len(offers) == len(set(offers))


def test_no_name_means_two_models():
    """A caller would reach another model than the one named."""
    names = [name for card in CATALOG.models.values() for name in (card.id, *card.aliases)]
    assert len(names) == len(set(names))


def test_rubrics_and_specialists_are_of_tasks_that_are_known():
    """A mark under a misspelt task would never count."""
    named = {task for card in CATALOG.models.values() for task in card.rubrics} | CATALOG.specialists.keys()
    assert named <= TASKS.keys()


def test_a_task_that_is_not_known_is_judged_by_the_profile_alone():
    """A task of the user's own would leave every model without marks."""
    assert CATALOG.find("gpt-5").rubric("haiku for my cat") == Rubric(performance=10, speed=8)


def test_specialists_are_models_of_the_catalogue():
    """The preset for a task would name a model that is not there."""
    named = [name for niches in CATALOG.specialists.values() for names in niches.values() for name in names]
    assert set(named) <= CATALOG.models.keys()


def test_a_model_is_found_by_every_name_it_goes_by():
    """`--model` would refuse a name that a provider, a document or the request itself uses."""
    for name in ("gpt-5-mini", "openai/gpt-5-mini", "openrouter/openai/gpt-5-mini"):
        assert CATALOG.find(name).id == "gpt-5-mini"
    assert CATALOG.find("claude-4-opus").id == "claude-opus-4-0"
    assert CATALOG.find("no-such-model") is None
    assert CATALOG.find("") is None


def test_an_endpoint_of_a_known_provider_is_reached_though_its_model_is_not_known():
    """`openrouter/anything` would be refused until the catalogue learns of it."""
    assert CATALOG.offer("openrouter/some/new-model:free") == Offer("openrouter", "some/new-model:free")
    assert CATALOG.offer("nobody/gpt-5") is None
    assert CATALOG.offer("openai/") is None
    assert CATALOG.offer("gpt-5") is None


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("gpt5mini", "gpt-5-mini"), ("claud-opus-4.1", "claude-opus-4-1"), ("GPT-4o-Mini", "gpt-4o-mini")],
)
def test_a_misspelt_model_finds_the_one_that_was_meant(typo, meant):
    """The 404 would not help: no likely name in it."""
    assert meant in CATALOG.nearest(typo)


def test_rubbish_has_no_nearest_name():
    """The 404 would suggest a model at random."""
    assert CATALOG.nearest("\x00" * 50) == []
    assert CATALOG.nearest("") == []


@pytest.mark.parametrize(
    ("name", "task", "speed"),
    [
        ("mistral-7b", "structure assessment", 8),
        ("gemini-1.5-flash", "instruction routing", 10),
        ("gemini-2.5-flash", "classification", 10),
    ],
)
def test_the_requested_speed_rubrics_hold(name, task, speed):
    """The router would start from other speeds than were stated."""
    assert CATALOG.find(name).rubric(task).speed == speed


def test_the_better_local_model_has_the_better_rubric():
    """The weak local model would be given the code that it gets wrong."""
    small, middle, large = (
        CATALOG.find(f"local/{name}").rubric("coding")
        for name in ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
    )
    assert small.performance < middle.performance < large.performance
    assert small.speed > middle.speed > large.speed
    assert small.stated_by == "measured"


def test_a_model_without_eyes_is_no_use_for_vision():
    """A text model would be offered for images because its prose is good."""
    assert CATALOG.find("deepseek-v4-pro").rubric("vision").performance == 0


def test_rubrics_stay_between_0_and_10():
    """A bonus would push a mark off the scale."""
    for card in CATALOG.models.values():
        for task in ("chat", "coding", "vision", "mathematics", "translation"):
            rubric = card.rubric(task)
            assert rubric is None or (0 <= rubric.performance <= 10 and 0 <= rubric.speed <= 10)


def test_an_embedding_model_has_no_rubric_for_chat():
    """An embedding model would be a candidate for prompts."""
    assert CATALOG.find("text-embedding-3-small").rubric("coding") is None
    assert CATALOG.find("whisper").rubric("audio").performance >= 8


def test_every_stated_quirk_acts_in_the_dialect_of_its_provider():
    """A row would promise what nothing does: calls would be refused all the same."""
    for row in CATALOG.providers.values():
        for quirk in row.quirks.union(*(each.quirks for each in row.model_quirks)):
            assert row.dialect in QUIRKS[quirk].dialects, (row.name, quirk)


@pytest.mark.parametrize(
    ("endpoint", "quirks"),
    [
        ("openai/gpt-4.1", {"max_completion_tokens"}),
        ("openai/gpt-5-chat-latest", {"max_completion_tokens"}),
        ("openai/gpt-5.9", {"max_completion_tokens", "no_sampling", "no_minimal_effort"}),
        ("anthropic/claude-3-5-haiku-latest", {"no_thinking", "no_effort"}),
        ("anthropic/claude-3-7-sonnet-latest", {"no_effort"}),
        ("anthropic/claude-opus-4-20250514", {"no_effort"}),
        ("anthropic/claude-sonnet-4-5-20250929", {"no_effort"}),
        ("anthropic/claude-opus-4-5-20251101", {"no_xhigh_effort"}),
        ("anthropic/claude-opus-4-7", {"adaptive_thinking", "no_sampling", "no_disabled_thinking"}),
        ("anthropic/claude-opus-5", {"adaptive_thinking", "no_sampling"}),
        ("anthropic/claude-haiku-5-5", {"adaptive_thinking", "no_sampling", "no_disabled_thinking"}),
        ("gemini/gemini-2.5-flash", {"thinking_budgets"}),
        ("gemini/gemini-2.0-flash", {"no_thinking"}),
        ("gemini/gemini-3.5-flash-lite", set()),
        ("gemini/gemini-9-pro", {"no_minimal_effort"}),
        ("xai/grok-4-1-fast-non-reasoning", {"no_effort"}),
        ("xai/grok-4.20-0309-reasoning", {"no_effort", "no_penalties"}),
        ("ollama/gpt-oss:20b", {"thinking_levels"}),
        ("fireworks/anything", set()),
    ],
)
def test_what_differs_by_model_is_known_by_its_name(endpoint, quirks):
    """A model would be told how much to think in words that it refuses, be it old, or new and yet unknown."""
    offer = CATALOG.offer(endpoint)
    assert CATALOG.provider(offer.provider).quirks_of(offer.id) == quirks


def test_a_users_own_rows_win():
    """A user could not correct what the catalogue says of a model or provider."""
    own_card = ModelCard(id="gpt-5-mini", name="Mine", vendor="me", rubrics={"coding": Rubric(9, 9)})
    own_row = ProviderRow(name="mine", dialect="openai", base_url="http://127.0.0.1:9001/v1")
    merged = CATALOG.with_own({"gpt-5-mini": own_card}, {"mine": own_row})
    assert merged.find("gpt-5-mini") is own_card
    assert merged.offer("mine/any").provider == "mine"
    assert CATALOG.find("gpt-5-mini").name == "GPT-5 mini"


@pytest.mark.parametrize(
    ("models", "complaint"),
    [
        ('[[models]]\nid = "x"\nname = "X"\nvendor = "v"\nparamters = 7\n[specialists]', "paramters"),
        ('[[models]]\nid = "x"\nname = "X"\nvendor = "v"\nstrengths = ["codding"]\n[specialists]', "codding"),
        (
            '[[models]]\nid = "x"\nname = "X"\nvendor = "v"\n'
            'profile = { speed = 6, quality = 1, best_use = "" }\n[specialists]',
            "<= 5",
        ),
    ],
)
def test_a_slip_in_the_data_is_refused(tmp_path, models, complaint):
    """A typo in a data file would silently change what is known of a model."""
    (tmp_path / "models.toml").write_text(models)
    (tmp_path / "providers.toml").write_text("providers = []")
    with pytest.raises(msgspec.ValidationError, match=complaint):
        read_catalog(tmp_path / "models.toml", tmp_path / "providers.toml")


def test_a_misspelt_quirk_of_a_provider_is_refused(tmp_path):
    """It would be passed over in silence."""
    (tmp_path / "models.toml").write_text("models = []\n[specialists]")
    row = '[[providers]]\nname = "x"\ndialect = "openai"\nbase_url = "http://127.0.0.1:9"\n'
    (tmp_path / "providers.toml").write_text(f'{row}model_quirks = [{{ models = ["*"], quirks = ["no_efort"] }}]')
    with pytest.raises(msgspec.ValidationError, match="no_efort"):
        read_catalog(tmp_path / "models.toml", tmp_path / "providers.toml")


def test_reading_the_catalogue_imports_no_price_library():
    """The server would start a quarter of a second later and 20 MB heavier."""
    program = (
        "import sys; from pointsman.catalog import shipped_catalog; shipped_catalog();"
        "sys.exit(bool({'genai_prices', 'pydantic'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_data_files_are_inside_the_package():
    """An installed package would come without its catalogue."""
    import pointsman.catalog

    folder = Path(pointsman.catalog.__file__).parent
    assert (folder / "models.toml").is_file() and (folder / "providers.toml").is_file()
