"""Who may serve: what is known of each model, and why it cannot serve now."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import pytest
from gateway_samples import NO_OLLAMA, gateway, serving, upstream

from pointsman.gateway import Model
from pointsman.gateway.roster import OLLAMA_CONTEXT, Roster

MINE = 'providers: {mine: {base_url: "http://127.0.0.1:9/v1"}}\n' + NO_OLLAMA


def roster(folder: Path, config: str = NO_OLLAMA, **variables: str) -> Roster:
    return gateway(folder, config, variables).roster


def found(there: Roster, name: str) -> Model:
    model = there.find(name)
    assert model is not None, name
    return model


def test_a_model_without_a_key_tells_which_variable_to_set(tmp_path: Path) -> None:
    """The user would not know why the model that he wants is never chosen."""
    assert found(roster(tmp_path), "gpt-5").unavailable.startswith("has no key: set OPENAI_API_KEY")
    assert found(roster(tmp_path, OPENAI_API_KEY="k"), "gpt-5").unavailable == ""


def test_the_second_variable_of_a_provider_does_as_well(tmp_path: Path) -> None:
    """A key under its other usual name would not be found."""
    assert found(roster(tmp_path, GOOGLE_API_KEY="k"), "gemini-2.5-flash").unavailable == ""


def test_a_model_goes_to_the_first_of_its_providers_that_can_serve(tmp_path: Path) -> None:
    """A user with one key would be told that he has none."""
    model = found(roster(tmp_path, OPENROUTER_API_KEY="k"), "gpt-5")
    assert (model.provider, model.unavailable) == ("openrouter", "")
    both = found(roster(tmp_path, OPENROUTER_API_KEY="k", OPENAI_API_KEY="k"), "gpt-5")
    assert both.endpoint == "openai/gpt-5"


def test_a_provider_reaches_any_model_without_an_entry(tmp_path: Path) -> None:
    """A model that came out today could not be used before the next release."""
    there = roster(tmp_path, MINE, OPENAI_API_KEY="k")
    for name, provider, model_id in (
        ("mine/anything-at-all", "mine", "anything-at-all"),
        ("mine/org/model:tag", "mine", "org/model:tag"),
        ("openai/gpt-99", "openai", "gpt-99"),
    ):
        model = found(there, name)
        assert (model.name, model.provider, model.id, model.unavailable) == (name, provider, model_id, "")


@pytest.mark.parametrize("name", ["", "/", "mine/", "/x", "nonesuch", "nonesuch/x", "nonesuch-provider/gpt-5"])
def test_what_is_no_name_is_not_found(tmp_path: Path, name: str) -> None:
    """A typo would be sent to some provider as a model."""
    assert roster(tmp_path, MINE).find(name) is None


def test_the_configuration_wins_over_the_catalogue(tmp_path: Path) -> None:
    """A user's own words about a model would be overruled."""
    config = (
        "models:\n  gpt-5:\n    {provider: mine, id: my-gpt, context: 1234, max_output: 99, quality: 0.125,"
        " capabilities: [tools], rubrics: {coding: {performance: 3}}}\n"
    )
    model = found(roster(tmp_path, MINE + config), "gpt-5")
    candidate = model.candidate
    assert (model.provider, model.id, model.endpoint) == ("mine", "my-gpt", "mine/my-gpt")
    assert (candidate.context, candidate.max_output, candidate.quality) == (1234, 99, 0.125)
    assert (candidate.capabilities, candidate.rubrics["coding"].performance) == ({"tools"}, 3)
    assert candidate.rubrics["mathematics"].performance > 3, "what was left out comes from the catalogue"


def test_an_unknown_price_stays_unknown(tmp_path: Path) -> None:
    """A dear model that nobody has priced would be counted as free."""
    model = found(roster(tmp_path, MINE), "mine/anything")
    assert (model.deployment, model.quote.charged, model.quote.listed) == ("paid", None, None)
    assert (model.candidate.input_price, model.candidate.output_price) == (None, None)


def test_an_own_price_wins(tmp_path: Path) -> None:
    """A negotiated price would not be on the bill."""
    config = 'models: {gpt-5: {provider: openai, price: {input: 0.5, output: "2"}}}\n'
    model = found(roster(tmp_path, config + NO_OLLAMA), "gpt-5")
    assert (model.candidate.input_price, model.candidate.output_price) == (500_000_000, 2_000_000_000)
    assert model.quote.charged == model.quote.listed


def test_a_known_price_and_context_come_from_the_library(tmp_path: Path) -> None:
    """Everything would have an unknown price."""
    candidate = found(roster(tmp_path), "gpt-4o-mini").candidate
    assert (candidate.input_price, candidate.output_price) == (150_000_000, 600_000_000)
    assert candidate.cached_price == 75_000_000
    assert candidate.context == 128_000


def test_a_free_tier_is_charged_nothing_and_has_a_list_price(tmp_path: Path) -> None:
    """Free calls would eat a budget, or nobody would see what they saved."""
    model = found(roster(tmp_path), "gemini-2.5-flash")
    assert (model.deployment, model.candidate.input_price) == ("free", 0)
    assert model.quote.listed is not None
    assert model.quote.listed.input


def test_what_the_free_tier_does_not_cover_is_paid(tmp_path: Path) -> None:
    """A bill would come for what looked free."""
    assert found(roster(tmp_path), "gemini-2.5-pro").deployment == "paid"


def test_a_local_model_that_is_not_here_tells_how_to_get_it(tmp_path: Path) -> None:
    """The first answer would fail without a way out."""
    model = found(roster(tmp_path), "local/smollm2-135m")
    if importlib.util.find_spec("xllamacpp") is None:
        assert model.unavailable == 'needs the engine: pip install "pointsman[local]"'
    else:
        assert model.unavailable == "is not here yet: pointsman models pull smollm2-135m"
    assert (model.deployment, model.candidate.input_price, model.candidate.output_price) == ("local", 0, 0)


def test_local_models_can_be_switched_off(tmp_path: Path) -> None:
    """A small server would load models that its owner does not want."""
    there = roster(tmp_path, "local: {enabled: false}")
    assert found(there, "local/smollm2-135m").unavailable == "is switched off (`local.enabled`)"


def test_a_provider_can_be_switched_off(tmp_path: Path) -> None:
    """A provider could not be left without throwing its settings away."""
    there = roster(tmp_path, "providers: {openai: {enabled: false}}\n" + NO_OLLAMA, OPENAI_API_KEY="k")
    assert found(there, "openai/gpt-5").unavailable == "is switched off in the configuration"


def test_servers_of_this_machine_count_once_they_are_named(tmp_path: Path) -> None:
    """Every call would first knock at ports where nobody is."""
    assert found(roster(tmp_path), "lmstudio/x").unavailable == "needs lmstudio in the configuration"
    assert found(roster(tmp_path, "providers: {lmstudio: {}}\n" + NO_OLLAMA), "lmstudio/x").unavailable == ""


async def test_ollama_is_found_by_itself(tmp_path: Path) -> None:
    """A user of Ollama would have to write a configuration."""
    async with upstream() as ollama:
        config = f'providers: {{ollama: {{base_url: "{ollama.base_url}"}}}}'
        async with gateway(tmp_path, config) as asked:
            names = {model.name for model in asked.roster.everyone() if not model.unavailable}
            assert {"ollama/tiny:1b", "ollama/mistral:7b-instruct-q4_K_M"} <= names
            tiny, gone = (found(asked.roster, f"ollama/{tag}") for tag in ("tiny:1b", "gone"))
            assert (tiny.deployment, tiny.candidate.input_price) == ("local", 0)
            assert tiny.candidate.context == OLLAMA_CONTEXT
            assert gone.unavailable == "is not among Ollama's models"
            assert "ollama/tiny:1b" in [listed.name for listed in asked.listed()]
    assert [path for path, _, _ in ollama.seen] == ["/api/tags"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{"models"',
        b"HTTP/1.1 200 X\r\ncontent-length: 4\r\n\r\n\xff\xfe\x00\x00",
        b'HTTP/1.1 200 X\r\ncontent-length: 24\r\n\r\n{"models": [{"name": 1}]}',
    ],
)
async def test_whoever_else_sits_on_ollamas_port_is_let_be(tmp_path: Path, answer: bytes) -> None:
    """Another program on that port would keep pointsman from starting."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with serving(serve) as address:
        config = f'providers: {{ollama: {{base_url: "{address}"}}}}'
        async with gateway(tmp_path, config) as asked:
            assert not [model for model in asked.roster.everyone() if model.name.startswith("ollama/")]


async def test_a_server_that_never_answers_does_not_hold_up_the_start(tmp_path: Path) -> None:
    """A hung Ollama would hang every command."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(serve) as address, asyncio.timeout(10):
        asked = await gateway(tmp_path, f'providers: {{ollama: {{base_url: "{address}"}}}}').open()
        assert not [model for model in asked.roster.everyone() if model.name.startswith("ollama/")]
        await asked.close()


def test_every_name_that_is_listed_is_found_again(tmp_path: Path) -> None:
    """A name that `models` shows would be unknown to `ask`."""
    there = roster(tmp_path)
    for model in there.everyone():
        assert found(there, model.name).endpoint == model.endpoint
