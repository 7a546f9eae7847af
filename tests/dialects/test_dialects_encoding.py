"""Chats written as calls of each format, and what survives the way from format to format."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from pointsman.core import (
    Audio,
    CallRejected,
    Chat,
    Document,
    Image,
    Message,
    OutputSchema,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from pointsman.dialects import DIALECTS, Quirk, Target

DOORS = {name: dialect.door for name, dialect in DIALECTS.items() if dialect.door is not None}
EACH_DOOR = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
SCHEMA = Raw(b'{"type": "object", "properties": {"x": {"type": "integer"}}}')
PIXEL = "iVBORw0KGgo="


def encoded(dialect: str, chat: Chat, *quirks: Quirk, stream: bool = False) -> dict[str, object]:
    found: dict[str, object] = json.loads(DIALECTS[dialect].encode_call(chat, Target("m", frozenset(quirks)), stream))
    return found


def ask(*parts: object, **fields: object) -> Chat:
    return Chat((Message("user", parts or (Text("hi"),)),), **fields)  # type: ignore[arg-type]


CONVERSATION = Chat(
    (
        Message("system", (Text("be brief"),)),
        Message("user", (Text("add"), Image(data=PIXEL, media_type="image/png"))),
        Message("assistant", (Thinking("hm"), ToolUse("a b", "add", '{"x":1}'), ToolUse("c", "sub", "{broken"))),
        Message("tool", (ToolResult("a b", (Text("3"), Image(data=PIXEL, media_type="image/png"))),)),
        Message("tool", (ToolResult("c", (Text("no"),), is_error=True),)),
        Message("user", (Text("thanks"),)),
    ),
    tools=(Tool("add", "adds", SCHEMA, strict=True),),
    tool_choice=ToolChoice("auto"),
    output=OutputSchema(SCHEMA),
    max_tokens=10,
    temperature=1.5,
)


def test_a_conversation_with_tools_is_written_for_openai() -> None:
    """A tool loop begun at another provider could not go on at an OpenAI-compatible one."""
    found = encoded("openai", CONVERSATION)
    assert found["messages"] == [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "add"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a b", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}},
                {"id": "c", "type": "function", "function": {"name": "sub", "arguments": "{broken"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a b", "content": "3"},
        {"role": "tool", "tool_call_id": "c", "content": "no"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}],
        },
        {"role": "user", "content": "thanks"},
    ]
    assert found["max_tokens"] == 10
    assert "stream" not in found
    assert encoded("openai", CONVERSATION, stream=True)["stream_options"] == {"include_usage": True}


def test_a_conversation_with_tools_is_written_for_anthropic() -> None:
    """A tool loop begun at another provider could not go on at Anthropic."""
    found = encoded("anthropic", CONVERSATION)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    assert found["system"] == [{"type": "text", "text": "be brief"}]
    assert found["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "add"}, image]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "a_b", "name": "add", "input": {"x": 1}},
                {"type": "tool_use", "id": "c", "name": "sub", "input": {"INVALID_JSON": "{broken"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a_b", "content": [{"type": "text", "text": "3"}, image]},
                {
                    "type": "tool_result",
                    "tool_use_id": "c",
                    "content": [{"type": "text", "text": "no"}],
                    "is_error": True,
                },
                {"type": "text", "text": "thanks"},
            ],
        },
    ]
    assert found["temperature"] == 1.0
    assert found["output_config"] == {"format": {"type": "json_schema", "schema": json.loads(bytes(SCHEMA))}}
    assert found["tools"] == [
        {"name": "add", "input_schema": json.loads(bytes(SCHEMA)), "description": "adds", "strict": True}
    ]


def test_a_conversation_with_tools_is_written_for_gemini() -> None:
    """A tool loop begun at another provider could not go on at Gemini, which binds results by the tool's name."""
    found = encoded("gemini", CONVERSATION)
    image = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    signed = {"thoughtSignature": "skip_thought_signature_validator"}
    assert found["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    assert found["contents"] == [
        {"role": "user", "parts": [{"text": "add"}, image]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "add", "args": {"x": 1}}, **signed},
                {"functionCall": {"name": "sub", "args": {"INVALID_JSON": "{broken"}}, **signed},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "add", "response": {"result": "3"}}},
                image,
                {"functionResponse": {"name": "sub", "response": {"error": "no"}}},
                {"text": "thanks"},
            ],
        },
    ]
    config = found["generationConfig"]
    assert isinstance(config, dict)
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == json.loads(bytes(SCHEMA))


def test_a_conversation_with_tools_is_written_for_ollama() -> None:
    """A tool loop begun at another provider could not go on at Ollama."""
    found = encoded("ollama", CONVERSATION)
    assert found["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "add", "images": [PIXEL]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"function": {"name": "add", "arguments": {"x": 1}}},
                {"function": {"name": "sub", "arguments": {"INVALID_JSON": "{broken"}}},
            ],
        },
        {"role": "tool", "content": "3", "tool_name": "add", "images": [PIXEL]},
        {"role": "tool", "content": "no", "tool_name": "sub"},
        {"role": "user", "content": "thanks"},
    ]
    assert found["stream"] is False
    assert found["format"] == json.loads(bytes(SCHEMA))
    assert found["options"] == {"num_predict": 10, "temperature": 1.5}


@pytest.mark.parametrize(
    ("dialect", "chat"),
    [
        ("anthropic", ask(choices=2)),
        ("anthropic", ask(output=OutputSchema())),
        ("anthropic", ask(Audio("AAAA", "wav"))),
        ("anthropic", ask(Document(data="AAAA", media_type="application/zip"))),
        ("gemini", ask(choices=2)),
        ("gemini", ask(Image(url="https://x.test/a.png"))),
        ("gemini", Chat((Message("tool", (ToolResult("lost", (Text("3"),)),)),))),
        ("ollama", ask(choices=2)),
        ("ollama", ask(Image(url="https://x.test/a.png"))),
        ("ollama", ask(Audio("AAAA", "wav"))),
        ("ollama", ask(Document(data="AAAA", media_type="application/pdf"))),
        ("ollama", ask(tools=(Tool("t"),), tool_choice=ToolChoice("required"))),
        ("openai", ask(Document(url="https://x.test/a.pdf"))),
    ],
)
def test_what_a_format_cannot_say_is_refused_never_dropped(dialect: str, chat: Chat) -> None:
    """A model would answer without the image, the schema or the tool that the answer hangs on."""
    with pytest.raises(CallRejected) as refused:
        DIALECTS[dialect].encode_call(chat, Target("m"), False)
    assert "another provider" in refused.value.message


def test_signed_thinking_goes_back_to_anthropic_only() -> None:
    """Another provider would get Anthropic's signatures, or Anthropic miss its own and refuse the conversation."""
    said = Message("assistant", (Thinking("hm", "sig"), Thinking(redacted="xx"), Thinking("foreign"), Text("hi")))
    chat = Chat((Message("user", (Text("q"),)), said))
    assert encoded("anthropic", chat)["messages"][1]["content"] == [  # type: ignore[index]
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xx"},
        {"type": "text", "text": "hi"},
    ]
    for dialect in ("openai", "gemini", "ollama"):
        written = DIALECTS[dialect].encode_call(chat, Target("m"), False)
        assert b"sig" not in written
        assert b"xx" not in written


def test_anthropic_always_gets_a_limit_above_its_thinking() -> None:
    """Every call without max_tokens, or with much thinking, would be refused by Anthropic."""
    assert encoded("anthropic", ask())["max_tokens"] == 4096
    found = encoded("anthropic", ask(thinking_tokens=8000, temperature=0.5))
    assert (found["max_tokens"], "temperature" in found) == (12_096, False)
    assert encoded("anthropic", ask(thinking_tokens=8000, max_tokens=3000))["thinking"] == {
        "type": "enabled",
        "budget_tokens": 2999,
    }
    assert "thinking" not in encoded("anthropic", ask(thinking_tokens=8000, max_tokens=500))


def test_effort_is_told_to_each_model_in_its_own_words() -> None:
    """A caller's wish for more thinking would be lost, or be refused by a model that knows it by another name."""
    chat = ask(effort="medium")
    assert encoded("anthropic", chat)["output_config"] == {"effort": "medium"}
    found = encoded("anthropic", chat, "no_effort")
    assert found["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert "output_config" not in found
    assert encoded("openai", chat)["reasoning_effort"] == "medium"
    assert encoded("ollama", chat, "thinking_levels")["think"] == "medium"
    config = encoded("gemini", chat, "thinking_budgets")["generationConfig"]
    assert config == {"thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": True}}


def test_a_tool_id_used_twice_is_told_apart_for_anthropic() -> None:
    """Ids such as call_0, which servers give again in each turn, would make Anthropic refuse the conversation."""
    turn = (Message("assistant", (ToolUse("call_0", "t", ""),)), Message("tool", (ToolResult("call_0", ()),)))
    messages = encoded("anthropic", Chat((Message("user", (Text("q"),)), *turn, *turn)))["messages"]
    assert isinstance(messages, list)
    assert [message["content"][0].get("id") for message in messages] == [None, "call_0", None, "call_0_2", None]
    assert messages[4]["content"][0]["tool_use_id"] == "call_0_2"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_lone_surrogate_in_a_prompt_is_written_as_valid_utf8(dialect: str) -> None:
    """A prompt read from a badly encoded terminal would crash the call."""
    chat = ask(Text("a\ud800b 😀"), stop=("\udfff",))
    written = DIALECTS[dialect].encode_call(chat, Target("m"), False).decode()
    assert "a\ufffdb 😀" in written


def test_paths_and_headers_are_what_each_provider_wants() -> None:
    """No call would reach its provider."""
    assert DIALECTS["openai"].path("m", True) == "/chat/completions"
    assert DIALECTS["openai"].auth("k") == {"authorization": "Bearer k"}
    assert DIALECTS["openai"].auth("") == {}
    assert DIALECTS["anthropic"].path("m", False) == "/messages"
    assert DIALECTS["anthropic"].auth("k") == {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    assert DIALECTS["gemini"].path("models/gemini-3", True) == "/models/gemini-3:streamGenerateContent?alt=sse"
    assert DIALECTS["gemini"].path("a/../b", False) == "/models/a%2F..%2Fb:generateContent"
    assert DIALECTS["ollama"].path("m", True) == "/api/chat"


names = st.text("abcdefgh_", min_size=1, max_size=8)
texts = st.builds(Text, st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
images = st.builds(Image, url=st.just("https://x.test/a.png")) | st.just(Image(data=PIXEL, media_type="image/png"))
objects = st.dictionaries(names, st.integers() | st.text(st.characters(codec="utf-8")), max_size=3).map(json.dumps)


@st.composite
def conversations(draw: st.DrawFn, *, refusals: bool) -> tuple[Message, ...]:
    """Turns as both formats can say them: system first, then user, assistant, results of its tools, user, …"""
    messages = [Message("system", (draw(texts),))] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(1, 3))):
        messages.append(Message("user", tuple(draw(st.lists(texts | images, min_size=1, max_size=3)))))
        uses = [ToolUse(f"t{turn}_{i}", draw(names), draw(objects)) for i in range(draw(st.integers(0, 3)))]
        said: tuple[Text | Refusal, ...] = (draw(texts),)
        if refusals and draw(st.booleans()):
            said += (Refusal("no"),)
        messages.append(Message("assistant", (*said, *uses)))
        messages.extend(Message("tool", (ToolResult(use.id, (draw(texts),)),)) for use in uses)
    return tuple(messages)


def settings(**more: st.SearchStrategy[object]) -> dict[str, st.SearchStrategy[object]]:
    tools = st.lists(st.builds(Tool, names, names, st.just(SCHEMA)), min_size=1, max_size=2).map(tuple)
    return {
        "max_tokens": st.integers(1, 9999),
        "temperature": st.none() | st.floats(0, 1),
        "stop": st.lists(names, max_size=2).map(tuple),
        "tools": tools,
        "tool_choice": st.sampled_from([ToolChoice("auto"), ToolChoice("required"), ToolChoice("named", "t")]),
        "parallel_tools": st.booleans(),
        "user": st.just("") | names,
        **more,
    }


OPENAI_CHATS = st.builds(
    Chat,
    conversations(refusals=True),
    **settings(
        top_p=st.none() | st.floats(0, 1),
        seed=st.none() | st.integers(0, 99),
        frequency_penalty=st.none() | st.floats(-2, 2),
        output=st.sampled_from([None, OutputSchema(), OutputSchema(SCHEMA, "n", True)]),
        effort=st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh"]),
        choices=st.integers(1, 3),
    ),
)
ANTHROPIC_CHATS = st.builds(
    Chat,
    conversations(refusals=False),
    **settings(
        top_k=st.none() | st.integers(1, 99),
        output=st.sampled_from([None, OutputSchema(SCHEMA)]),
        effort=st.sampled_from([None, "none", "low", "medium", "high", "xhigh"]),
    ),
)


def survives(chat: Chat, name: str) -> None:
    found = DOORS[name].decode_call(DIALECTS[name].encode_call(chat, Target("m"), False))
    assert _plain(found) == _plain(chat)


def _plain(chat: Chat) -> Chat:
    """Without the layout of JSON, which may change: arguments compared as values, raw schemas as bytes."""

    def part(found: object) -> object:
        if isinstance(found, ToolUse):
            return structs.replace(found, arguments=json.dumps(json.loads(found.arguments or "{}")))
        return found

    messages = tuple(structs.replace(m, parts=tuple(part(p) for p in m.parts)) for m in chat.messages)
    tools = tuple(structs.replace(tool, schema=json.loads(bytes(tool.schema))) for tool in chat.tools)
    schema = chat.output and chat.output.schema and json.loads(bytes(chat.output.schema))
    output = chat.output and structs.replace(chat.output, schema=schema)
    return structs.replace(chat, messages=messages, tools=tools, output=output)


@given(OPENAI_CHATS)
def test_what_openai_can_say_survives_the_way_there_and_back(chat: Chat) -> None:
    """A field would change its meaning on the way (lost by design: top_k, thinking, cache marks, is_error)."""
    survives(chat, "openai")


@given(ANTHROPIC_CHATS)
def test_what_anthropic_can_say_survives_the_way_there_and_back(chat: Chat) -> None:
    """A field would change its meaning on the way (lost by design: seeds, penalties, names, neighbours of one role)."""
    survives(chat, "anthropic")


@given(conversations(refusals=False))
def test_a_conversation_survives_from_openai_to_anthropic_and_back(messages: tuple[Message, ...]) -> None:
    """Switching providers in mid-conversation would change what was said, or corrupt tool calls."""
    chat = Chat(messages)
    there = DOORS["openai"].decode_call(DIALECTS["openai"].encode_call(chat, Target("m"), False))
    back = DOORS["anthropic"].decode_call(DIALECTS["anthropic"].encode_call(there, Target("m"), False))
    assert _plain(Chat(back.messages)) == _plain(chat)
