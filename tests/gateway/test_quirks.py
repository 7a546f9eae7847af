"""What a provider with quirks is really sent: through a whole gateway, to a server that notes it down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_samples import NO_OLLAMA, gateway, text_of

from pointsman.core import Call, Chat, ConfigError, Message, Text, Thinking, Tool, ToolResult, ToolUse
from pointsman.dialects import DIALECTS, Target
from pointsman.gateway import Gateway
from upstream import Upstream, openai_chunk, stream

KEYS = {
    f"{name}_API_KEY": "k"
    for name in ("OPENAI", "ANTHROPIC", "MISTRAL", "GROQ", "DEEPSEEK", "XAI", "CEREBRAS", "GEMINI")
}
TOLD = Chat(
    (
        Message("system", (Text("be brief"),)),
        Message("user", (Text("add"),), "ann"),
        Message("assistant", (Thinking("hm"), ToolUse("call_0fypS1hVX", "add", "{}"))),
        Message("tool", (ToolResult("call_0fypS1hVX", (Text("3"),)),)),
    ),
    tools=(Tool("add"),),
    max_tokens=500,
    temperature=0.5,
    frequency_penalty=0.5,
    seed=7,
    effort="high",
    user="u",
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def asking(folder: Path, upstream: Upstream, provider: str, settings: str = "") -> Gateway:
    """A gateway whose `provider` is really our upstream."""
    config = f'providers: {{{provider}: {{base_url: "{upstream.url}/v1"{settings}}}}}\n{NO_OLLAMA}'
    return gateway(folder, config, KEYS)


async def sent(
    asked: Gateway, upstream: Upstream, model: str, *, dialect: str, streams: bool = False
) -> dict[str, Any]:
    """What arrives upstream of one conversation: told in `dialect`, or in none ('')."""
    name = model.partition("/")[2]
    door = DIALECTS[dialect].door if dialect else None
    told = DIALECTS[dialect].encode_call(TOLD, Target("auto"), streams) if dialect else b""
    chat = door.decode_call(told) if door else TOLD
    async with await asked(Call(id="1", model=model, chat=chat, stream=streams, dialect=dialect, body=told)) as reply:
        await reply.read()
    found: dict[str, Any] = upstream.last(name).json
    return found


BOTH_WAYS = pytest.mark.parametrize("passing", [True, False], ids=["passed", "translated"])


@BOTH_WAYS
@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-5.9", "gpt-7-nano", "o5"])
async def test_openais_reasoning_models_get_their_own_limit_and_no_sampling(
    tmp_path: Path, upstream: Upstream, passing: bool, model: str
) -> None:
    """Every call with max_tokens or a temperature would be refused, by models that come out tomorrow too."""
    async with asking(tmp_path, upstream, "openai") as asked:
        found = await sent(asked, upstream, f"openai/{model}", dialect="openai" if passing else "")
    assert (found["model"], found["max_completion_tokens"], found["reasoning_effort"]) == (model, 500, "high")
    assert not found.keys() & {"max_tokens", "temperature", "frequency_penalty"}
    assert (found["seed"], found["user"], found["messages"][1]["name"]) == (7, "u", "ann")


@BOTH_WAYS
async def test_openais_other_models_keep_their_temperature(tmp_path: Path, upstream: Upstream, passing: bool) -> None:
    """What a caller asked for would be lost for the sake of other models."""
    async with asking(tmp_path, upstream, "openai") as asked:
        found = await sent(asked, upstream, "openai/gpt-4.1", dialect="openai" if passing else "")
    assert (found["max_completion_tokens"], found["temperature"], found["frequency_penalty"]) == (500, 0.5, 0.5)


@BOTH_WAYS
async def test_mistral_gets_only_what_it_knows(tmp_path: Path, upstream: Upstream, passing: bool) -> None:
    """Mistral answers 422 to any other field, and 400 to ids that are not its own."""
    async with asking(tmp_path, upstream, "mistral") as asked:
        model = "mistral/mistral-small-2603"
        found = await sent(asked, upstream, model, dialect="openai" if passing else "", streams=True)
    assert found.keys() == {
        *("model", "messages", "max_tokens", "temperature", "frequency_penalty", "random_seed", "stream", "tools"),
        "reasoning_effort",
    }
    assert (found["max_tokens"], found["random_seed"], found["reasoning_effort"]) == (500, 7, "high")
    assert [sorted(message) for message in found["messages"]] == [
        ["content", "role"],
        ["content", "role"],
        ["content", "role", "tool_calls"],
        ["content", "role", "tool_call_id"],
    ]
    id = found["messages"][3]["tool_call_id"]
    assert len(id) == 9 and id.isalnum() and found["messages"][2]["tool_calls"][0]["id"] == id


@pytest.mark.parametrize("dialect", ["openai", ""])
async def test_usage_that_comes_unasked_is_counted(tmp_path: Path, upstream: Upstream, dialect: str) -> None:
    """A stream of Mistral's, which cannot be asked for its usage, would be billed by an estimate."""
    usage = {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}
    events = [openai_chunk({"role": "assistant", "content": "3"}), openai_chunk({}, "stop", usage=usage)]
    upstream.plans["codestral-2508"] = stream([*events, b"data: [DONE]\n\n"])
    async with asking(tmp_path, upstream, "mistral") as asked:
        body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "1+2"}], "stream": True}).encode()
        chat = Chat((Message("user", (Text("1+2"),)),))
        call = Call(id="1", model="mistral/codestral-2508", chat=chat, stream=True, dialect=dialect, body=body)
        async with await asked(call) as reply:
            answer = await reply.read()
    assert "stream_options" not in upstream.last("codestral-2508").json
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.output, answer.usage.estimated) == (11, 2, False)


@BOTH_WAYS
async def test_deepseek_gets_its_reasoning_back(tmp_path: Path, upstream: Upstream, passing: bool) -> None:
    """DeepSeek answers 400 to a tool loop whose reasoning is missing."""
    async with asking(tmp_path, upstream, "deepseek") as asked:
        found = await sent(asked, upstream, "deepseek/deepseek-v4-pro", dialect="openai" if passing else "")
    # Written in OpenAI's format the conversation has lost what was thought: a blank stands for it.
    assert found["messages"][2]["reasoning_content"] == (" " if passing else "hm")
    assert found["max_tokens"] == 500


@BOTH_WAYS
@pytest.mark.parametrize(
    ("model", "absent", "present"),
    [
        ("groq/llama-3.3-70b-versatile", {"reasoning_effort"}, {"temperature", "frequency_penalty", "seed"}),
        ("xai/grok-4.7", {"frequency_penalty"}, {"temperature", "reasoning_effort"}),
        ("xai/grok-code-fast-1", {"frequency_penalty", "reasoning_effort"}, {"temperature"}),
        ("cerebras/gpt-oss-120b", {"frequency_penalty"}, {"temperature", "reasoning_effort"}),
    ],
)
async def test_other_providers_do_not_get_what_they_refuse(
    tmp_path: Path, upstream: Upstream, passing: bool, model: str, absent: set[str], present: set[str]
) -> None:
    """A call that another provider takes would be refused here, and no fallback could mend it."""
    async with asking(tmp_path, upstream, model.partition("/")[0]) as asked:
        found = await sent(asked, upstream, model, dialect="openai" if passing else "")
    assert not found.keys() & absent
    assert present <= found.keys()
    assert ("name" in found["messages"][1]) is not model.startswith("groq/")


@BOTH_WAYS
@pytest.mark.parametrize(
    ("model", "thinking", "effort"),
    [
        ("claude-opus-5-5", {"type": "adaptive"}, "medium"),
        ("claude-sonnet-9", {"type": "adaptive"}, "medium"),
        ("claude-opus-4-6", {"type": "enabled", "budget_tokens": 9000}, None),
        ("claude-haiku-4-5-20251001", {"type": "enabled", "budget_tokens": 9000}, None),
        ("claude-3-5-haiku-latest", None, None),
    ],
)
async def test_each_claude_is_told_how_much_to_think_in_its_own_words(
    tmp_path: Path, upstream: Upstream, passing: bool, model: str, thinking: object, effort: str | None
) -> None:
    """Newer models refuse a budget, older ones refuse an effort: one or the other could not be used."""
    body = {
        "model": "auto",
        "max_tokens": 20_000,
        "messages": [{"role": "user", "content": "hi"}],
        "thinking": {"type": "enabled", "budget_tokens": 9000},
    }
    told = json.dumps(body).encode()
    door = DIALECTS["anthropic"].door
    assert door is not None
    async with asking(tmp_path, upstream, "anthropic") as asked:
        dialect = "anthropic" if passing else ""
        call = Call(id="1", model=f"anthropic/{model}", chat=door.decode_call(told), dialect=dialect, body=told)
        await text_of(await asked(call))
    found = upstream.last(model).json
    assert found.get("thinking") == thinking
    assert found.get("output_config", {}).get("effort") == effort
    assert found["max_tokens"] == 20_000


async def test_a_provider_of_ones_own_has_no_quirks(tmp_path: Path, upstream: Upstream) -> None:
    """A server that knows `max_tokens` alone would answer without any limit, for the name of its model."""
    async with asking(tmp_path, upstream, "mine") as asked:
        found = await sent(asked, upstream, "mine/gpt-5-mini", dialect="openai")
    assert (found["max_tokens"], found["temperature"], found["seed"]) == (500, 0.5, 7)


@BOTH_WAYS
@pytest.mark.parametrize("provider", ["mine", "openai"])
async def test_quirks_can_be_stated(tmp_path: Path, upstream: Upstream, passing: bool, provider: str) -> None:
    """A server of one's own with ways of its own could not be used, nor a row that is wrong be corrected."""
    settings = ", quirks: [random_seed, no_message_names]"
    async with asking(tmp_path, upstream, provider, settings) as asked:
        found = await sent(asked, upstream, f"{provider}/gpt-5-mini", dialect="openai" if passing else "")
    assert (found["max_tokens"], found["temperature"], found["random_seed"]) == (500, 0.5, 7)
    assert "name" not in found["messages"][1]


async def test_another_dialect_leaves_the_catalogues_quirks_behind(tmp_path: Path, upstream: Upstream) -> None:
    """What holds for a provider's OpenAI format would be done to its Anthropic one."""
    async with asking(tmp_path, upstream, "openai", ", dialect: anthropic") as asked:
        found = await sent(asked, upstream, "openai/gpt-5-mini", dialect="")
    assert (found["max_tokens"], found["temperature"]) == (500, 0.5)


def test_a_misspelt_quirk_is_refused_with_its_line(tmp_path: Path) -> None:
    """It would be passed over in silence, and calls be refused for no visible reason."""
    config = 'providers:\n  mine:\n    base_url: "http://127.0.0.1:9/v1"\n    quirks:\n      - no_stream_option\n'
    with pytest.raises(ConfigError) as refused:
        gateway(tmp_path, config)
    assert refused.value.line == 5
    assert "Did you mean 'no_stream_options'?" in str(refused.value)
