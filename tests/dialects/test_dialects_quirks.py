"""How providers depart from their dialects: each quirk acts on what passes and on what we write, and on no more."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, get_args

import pytest

from pointsman.core import (
    Chat,
    InvalidCall,
    Message,
    OutputSchema,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from pointsman.dialects import DIALECTS, QUIRKS, Quirk, Target

HI = [{"role": "user", "content": "hi"}]
CALL = {"id": "call_0fypS1hVX", "type": "function", "function": {"name": "add", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "call_0fypS1hVX", "content": "3"}
NINE = "f0e50fae1"
ADD: dict[str, Any] = {"type": "function", "function": {"name": "add"}}
SUB: dict[str, Any] = {"type": "function", "function": {"name": "sub"}}
ANY_OBJECT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


def passed(dialect: str, given: dict[str, Any], *quirks: Quirk, stream: bool = False) -> dict[str, Any]:
    """What becomes of a body on its way, but for the model."""
    body = json.dumps({"model": "auto", "messages": HI, **given}).encode()
    found: dict[str, Any] = json.loads(DIALECTS[dialect].pass_call(body, Target("m", frozenset(quirks)), stream))
    assert found.pop("model") == "m"
    return found


def written(dialect: str, chat: Chat, *quirks: Quirk, stream: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DIALECTS[dialect].encode_call(chat, Target("m", frozenset(quirks)), stream))
    return found


def ask(*messages: Message, **fields: Any) -> Chat:
    return Chat(messages or (Message("user", (Text("hi"),)),), **fields)


SAMPLED = {"temperature": 0.5, "top_p": 0.9, "frequency_penalty": 1, "presence_penalty": 1}

PASSED: list[tuple[Quirk, str, dict[str, Any], dict[str, Any]]] = [
    ("max_completion_tokens", "openai", {"max_tokens": 5}, {"max_completion_tokens": 5}),
    ("max_completion_tokens", "openai", {"max_tokens": 5, "max_completion_tokens": 6}, {"max_completion_tokens": 6}),
    ("max_completion_tokens", "openai", {"max_tokens": 5, "max_completion_tokens": None}, {"max_completion_tokens": 5}),
    ("max_completion_tokens", "openai", {"max_tokens": None}, {}),
    ("max_tokens_only", "openai", {"max_completion_tokens": 5}, {"max_tokens": 5}),
    ("random_seed", "openai", {"seed": 7}, {"random_seed": 7}),
    ("no_penalties", "openai", SAMPLED, {"temperature": 0.5, "top_p": 0.9}),
    ("no_sampling", "openai", {**SAMPLED, "top_k": 5, "stop": "x"}, {"stop": "x"}),
    (
        "no_sampling",
        "openai",
        {"temperature": 1, "reasoning_effort": "none"},
        {"temperature": 1, "reasoning_effort": "none"},
    ),
    ("no_sampling", "anthropic", {"temperature": 1, "top_p": 1, "top_k": 1, "max_tokens": 5}, {"max_tokens": 5}),
    ("no_parallel_tools", "openai", {"parallel_tool_calls": True}, {}),
    ("no_parallel_tools", "openai", {"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    (
        "no_named_tool",
        "openai",
        {"tools": [ADD, SUB], "tool_choice": SUB},
        {"tools": [SUB], "tool_choice": "required"},
    ),
    ("no_named_tool", "openai", {"tools": [ADD], "tool_choice": SUB}, {"tools": [ADD], "tool_choice": SUB}),
    ("no_named_tool", "openai", {"tools": [ADD], "tool_choice": "auto"}, {"tools": [ADD], "tool_choice": "auto"}),
    ("no_json_object", "openai", {"response_format": {"type": "json_object"}}, {"response_format": ANY_OBJECT}),
    ("no_json_object", "openai", {"response_format": ANY_OBJECT}, {"response_format": ANY_OBJECT}),
    ("no_effort", "openai", {"reasoning_effort": "low"}, {}),
    ("no_effort", "openai", {"reasoning_effort": "default"}, {"reasoning_effort": "default"}),
    ("no_minimal_effort", "openai", {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}),
    ("no_xhigh_effort", "openai", {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}),
    ("no_disabled_thinking", "openai", {"reasoning_effort": "none"}, {"reasoning_effort": "minimal"}),
    ("effort_none_or_high", "openai", {"reasoning_effort": "low"}, {"reasoning_effort": "none"}),
    ("effort_none_or_high", "openai", {"reasoning_effort": "medium"}, {"reasoning_effort": "high"}),
    ("thinking_switch", "openai", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
    (
        "no_message_names",
        "openai",
        {"messages": [{"role": "user", "name": "ann", "content": 'say "name"'}]},
        {"messages": [{"role": "user", "content": 'say "name"'}]},
    ),
    (
        "no_developer_role",
        "openai",
        {"messages": [{"role": "developer", "content": "developer"}, *HI]},
        {"messages": [{"role": "system", "content": "developer"}, *HI]},
    ),
    (
        "no_reasoning_history",
        "openai",
        {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "r", "reasoning": "r"}]},
        {"messages": [{"role": "assistant", "content": "a"}]},
    ),
    (
        "reasoning_back",
        "openai",
        {"messages": [{"role": "assistant", "tool_calls": [CALL], "reasoning": "hm"}, RESULT]},
        {"messages": [{"role": "assistant", "tool_calls": [CALL], "reasoning_content": "hm"}, RESULT]},
    ),
    (
        "reasoning_back",
        "openai",
        {"messages": [{"role": "assistant", "tool_calls": [CALL]}, RESULT, {"role": "assistant", "content": "3"}]},
        {
            "messages": [
                {"role": "assistant", "tool_calls": [CALL], "reasoning_content": " "},
                RESULT,
                {"role": "assistant", "content": "3"},
            ]
        },
    ),
    (
        "nine_letter_tool_ids",
        "openai",
        {"messages": [{"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "abcDEF123"}]}, RESULT]},
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{**CALL, "id": NINE}, {**CALL, "id": "abcDEF123"}]},
                {**RESULT, "tool_call_id": NINE},
            ]
        },
    ),
    (
        "strict_fields",
        "openai",
        {
            "user": "u",
            "store": False,
            "logit_bias": {},
            "safe_prompt": True,
            "messages": [
                {"role": "user", "name": "ann", "content": [{"type": "text", "text": "q", "cache_control": {}}]},
                {"role": "assistant", "content": None, "refusal": None, "tool_calls": [{**CALL, "extra_content": {}}]},
                {**RESULT, "name": "add"},
            ],
        },
        {
            "safe_prompt": True,
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "q"}]},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {**RESULT, "name": "add"},
            ],
        },
    ),
    (
        "adaptive_thinking",
        "anthropic",
        {"thinking": {"type": "enabled", "budget_tokens": 9000, "display": "omitted"}},
        {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "medium"}},
    ),
    (
        "adaptive_thinking",
        "anthropic",
        {"thinking": {"type": "enabled", "budget_tokens": 9000}, "output_config": {"effort": "max"}},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
    ),
    ("no_disabled_thinking", "anthropic", {"thinking": {"type": "disabled"}}, {"output_config": {"effort": "low"}}),
    ("no_thinking", "anthropic", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, {}),
    (
        "no_effort",
        "anthropic",
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low", "format": {"type": "json_schema"}}},
        {"output_config": {"format": {"type": "json_schema"}}},
    ),
    ("no_xhigh_effort", "anthropic", {"output_config": {"effort": "xhigh"}}, {"output_config": {"effort": "high"}}),
]

THOUGHT = (
    Message("user", (Text("add"),)),
    Message("assistant", (Thinking("hm"), ToolUse("call_0fypS1hVX", "add", "{}"))),
    Message("tool", (ToolResult("call_0fypS1hVX", (Text("3"),)),)),
)
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
SAMPLING = {"temperature": 0.5, "top_p": 0.9, "frequency_penalty": 1.0, "presence_penalty": 1.0}

WRITTEN: list[tuple[Quirk, str, Chat, dict[str, Any]]] = [
    ("max_completion_tokens", "openai", ask(max_tokens=5), {"max_completion_tokens": 5, "max_tokens": None}),
    ("max_tokens_only", "openai", ask(max_tokens=5), {"max_tokens": 5, "max_completion_tokens": None}),
    ("random_seed", "openai", ask(seed=7), {"random_seed": 7, "seed": None}),
    ("no_penalties", "openai", ask(**SAMPLING), {"temperature": 0.5, "frequency_penalty": None}),
    ("no_sampling", "openai", ask(**SAMPLING), dict.fromkeys(SAMPLING)),
    ("no_sampling", "openai", ask(effort="none", temperature=0.5), {"temperature": 0.5}),
    ("no_sampling", "anthropic", ask(temperature=0.5, top_k=5), {"temperature": None, "top_k": None}),
    ("no_parallel_tools", "openai", ask(tools=(Tool("t"),), parallel_tools=True), {"parallel_tool_calls": None}),
    (
        "no_named_tool",
        "openai",
        ask(tools=(Tool("t"),), tool_choice=ToolChoice("named", "t")),
        {"tool_choice": "required"},
    ),
    ("no_json_object", "openai", ask(output=OutputSchema()), {"response_format": ANY_OBJECT}),
    ("no_effort", "openai", ask(effort="low"), {"reasoning_effort": None}),
    ("no_effort", "anthropic", ask(effort="low"), {"output_config": None, "max_tokens": 6144}),
    ("no_minimal_effort", "openai", ask(effort="minimal"), {"reasoning_effort": "low"}),
    (
        "no_minimal_effort",
        "gemini",
        ask(effort="minimal"),
        {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}},
    ),
    ("no_xhigh_effort", "openai", ask(effort="xhigh"), {"reasoning_effort": "high"}),
    ("no_xhigh_effort", "anthropic", ask(effort="xhigh"), {"output_config": {"effort": "high"}}),
    ("no_disabled_thinking", "openai", ask(effort="none"), {"reasoning_effort": "minimal"}),
    ("no_disabled_thinking", "anthropic", ask(effort="none"), {"thinking": None, "output_config": {"effort": "low"}}),
    ("effort_none_or_high", "openai", ask(thinking_tokens=9000), {"reasoning_effort": "high"}),
    ("thinking_switch", "openai", ask(effort="none"), {"thinking": {"type": "disabled"}, "reasoning_effort": None}),
    ("no_message_names", "openai", ask(Message("user", (Text("hi"),), "ann")), {"messages": HI}),
    (
        "no_developer_role",
        "openai",
        ask(Message("system", (Text("s"),))),
        {"messages": [{"role": "system", "content": "s"}]},
    ),
    (
        "no_reasoning_history",
        "openai",
        ask(*THOUGHT),
        {"messages": [{"role": "user", "content": "add"}, CALLED, RESULT]},
    ),
    (
        "reasoning_back",
        "openai",
        ask(*THOUGHT),
        {"messages": [{"role": "user", "content": "add"}, {**CALLED, "reasoning_content": "hm"}, RESULT]},
    ),
    (
        "nine_letter_tool_ids",
        "openai",
        ask(*THOUGHT[1:]),
        {"messages": [{**CALLED, "tool_calls": [{**CALL, "id": NINE}]}, {**RESULT, "tool_call_id": NINE}]},
    ),
    ("strict_fields", "openai", ask(user="u"), {"user": None}),
    (
        "adaptive_thinking",
        "anthropic",
        ask(thinking_tokens=9000),
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}, "max_tokens": 4096},
    ),
    ("no_thinking", "anthropic", ask(effort="high", thinking_tokens=9000), {"thinking": None, "output_config": None}),
    ("no_thinking", "gemini", ask(effort="high"), {"thinkingConfig": None}),
    (
        "thinking_budgets",
        "gemini",
        ask(effort="low"),
        {"thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True}},
    ),
    ("thinking_levels", "ollama", ask(effort="minimal"), {"think": "low"}),
]


def test_every_quirk_is_explained_and_tested_in_each_dialect_where_it_acts() -> None:
    """A quirk could be stated of a provider, and nothing would act on it."""
    assert set(QUIRKS) == set(get_args(Quirk))
    both_ways = {(quirk, dialect) for quirk, dialect, _, _ in PASSED}
    assert both_ways | {("no_stream_options", "openai")} == {
        (quirk, dialect)
        for quirk, note in QUIRKS.items()
        for dialect in note.dialects
        if DIALECTS[dialect].door is not None
    }
    one_way = {(quirk, dialect) for quirk, dialect, _, _ in WRITTEN}
    acts = {(quirk, dialect) for quirk, note in QUIRKS.items() for dialect in note.dialects}
    assert one_way | {("no_stream_options", "openai"), ("no_disabled_thinking", "gemini")} == acts


@pytest.mark.parametrize(("quirk", "dialect", "given", "expected"), PASSED)
def test_a_quirk_changes_what_passes(
    quirk: Quirk, dialect: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A provider would refuse a body that its own dialect allows, or lose what it wants to see."""
    unknown = {"our_own_field": {"x": [1.50]}} if quirk != "strict_fields" else {}
    assert passed(dialect, {**given, **unknown}, quirk) == {"messages": HI, **expected, **unknown}


@pytest.mark.parametrize(("quirk", "dialect", "given", "expected"), PASSED)
def test_without_the_quirk_the_same_body_passes_unchanged(
    quirk: Quirk, dialect: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A provider that follows its dialect would lose fields for the sake of one that does not."""
    assert passed(dialect, given) == {"messages": HI, **given}


@pytest.mark.parametrize(("quirk", "dialect", "chat", "expected"), WRITTEN)
def test_a_quirk_changes_what_we_write(quirk: Quirk, dialect: str, chat: Chat, expected: dict[str, Any]) -> None:
    """A call that came in another dialect would be refused where one in its own is not."""
    found = written(dialect, chat, quirk)
    found |= found.get("generationConfig", {})
    assert {name: found.get(name) for name in expected} == expected


def test_stream_options_are_left_out_both_ways() -> None:
    """Every stream of a provider that knows none would be refused."""
    assert "stream_options" not in passed("openai", {"stream": True}, "no_stream_options", stream=True)
    assert "stream_options" not in written("openai", ask(), "no_stream_options", stream=True)


def test_a_gemini_that_always_thinks_gets_the_least_budget() -> None:
    """`none` would be refused by a model that cannot stop thinking."""
    config = written("gemini", ask(effort="none"), "thinking_budgets", "no_disabled_thinking")["generationConfig"]
    assert config["thinkingConfig"] == {"thinkingBudget": 128, "includeThoughts": False}


def test_only_gemini_models_that_check_them_get_signatures() -> None:
    """An older model would get a signature that means nothing to it."""
    assert "thoughtSignature" in json.dumps(written("gemini", ask(*THOUGHT)))
    for quirk in ("thinking_budgets", "no_thinking"):
        assert "thoughtSignature" not in json.dumps(written("gemini", ask(*THOUGHT), quirk))


def test_thinking_that_another_provider_signed_is_not_given_back() -> None:
    """What was thought at one provider would be shown to another."""
    signed = Message("assistant", (Thinking("secret", "sig"), ToolUse("a", "add", "{}")))
    [message] = written("openai", ask(signed), "reasoning_back")["messages"]
    assert message["reasoning_content"] == " "


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "tool_calls": None, "content": "a", "reasoning_content": None}],
        [{"role": "assistant", "tool_calls": [], "content": None}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "t"}}]}],
        [{"role": 7, "name": 8, "tool_call_id": 9, "content": 10}],
        [{}],
        [{"role": "user", "content": []}],
        [{"role": "tool", "tool_call_id": "\ud800", "content": "é😀"}],
    ],
)
def test_odd_messages_come_through_all_quirks_at_once(messages: list[Any]) -> None:
    """A message that the provider might well take, or refuse with words of its own, would crash the call."""
    found = passed("openai", {"messages": messages}, *get_args(Quirk))
    assert len(found["messages"]) == len(messages)


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [7], {"type": 5}, {"effort": 3, "type": None}])
@pytest.mark.parametrize(
    ("dialect", "field"),
    [
        *(("openai", name) for name in ("reasoning_effort", "tool_choice", "tools", "response_format", "max_tokens")),
        *(("anthropic", name) for name in ("thinking", "output_config", "temperature")),
    ],
)
def test_odd_fields_are_passed_or_refused_as_the_callers(dialect: str, field: str, value: Any) -> None:
    """A field of the wrong type would be an error of ours, not of the caller's."""
    with suppress(InvalidCall):
        passed(dialect, {"tools": [ADD], "tool_choice": SUB, field: value}, *get_args(Quirk))
