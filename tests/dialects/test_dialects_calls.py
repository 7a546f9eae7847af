"""Calls: what the door refuses, what passes unchanged, and what a call is read as."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from pointsman.core import (
    Audio,
    Document,
    Image,
    InvalidCall,
    Message,
    Refusal,
    Text,
    Thinking,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from pointsman.dialects import DIALECTS, Door, Target

DOORS = {name: dialect.door for name, dialect in DIALECTS.items() if dialect.door is not None}
EACH_DOOR = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
SCHEMA = Raw(b'{"type": "object", "properties": {"x": {"type": "integer"}}}')
PIXEL = "iVBORw0KGgo="


def body(**fields: object) -> bytes:
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()


def test_the_door_reads_model_stream_usage_limit_and_user() -> None:
    """A call would go to the wrong model, or be streamed when it should not be."""
    door = DOORS["openai"]
    seen = door.peek(body(stream=True, max_completion_tokens=7, user="u"))
    assert (seen.model, seen.stream, seen.wants_usage, seen.max_tokens, seen.user) == ("auto", True, False, 7, "u")
    assert door.peek(body(stream=True, stream_options={"include_usage": True})).wants_usage
    assert door.peek(body()).wants_usage
    seen = DOORS["anthropic"].peek(body(stream=True, max_tokens=7, metadata={"user_id": "u"}))
    assert (seen.stream, seen.wants_usage, seen.max_tokens, seen.user) == (True, True, 7, "u")


NESTED = b'{"model":"auto","messages":[{"role":"user","content":"hi"}],"x":%s}'


@EACH_DOOR
@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"5", None),
        (b'"x"', None),
        (body() + b"x", None),
        (NESTED % b"NaN", None),
        (NESTED % b"Infinity", None),
        (NESTED % b"-Infinity", None),
        (NESTED % b'"\xff\xfe"', None),
        (NESTED % b'"\xed\xa0\x80"', None),
        (NESTED % (b"[" * 201 + b"]" * 201), None),
        (NESTED % (b'["]",{"a":' * 150 + b"1" + b"}]" * 150), None),
        (NESTED % (b"[" * 100_000 + b"]" * 100_000), None),
        (NESTED % (b'{"a":' * 100_000 + b"1" + b"}" * 100_000), None),
        (b"[" * 1_000_000, None),
        (b'{"messages":[{"role":"user","content":"hi"}]}', "model"),
        (body(model=""), "model"),
        (body(model=5), "model"),
        (body(model="a\r\nSet-Cookie: x"), "model"),
        (body(model="a\x00"), "model"),
        (body(model="x" * 10_000), "model"),
        (b'{"model":"auto"}', "messages"),
        (body(messages=[]), "messages"),
        (body(messages="hi"), "messages"),
        (body(messages={}), "messages"),
        (body(max_tokens=-1), "max_tokens"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_tokens=10**18), "max_tokens"),
        (body(max_tokens=10**40), "max_tokens"),
        (body(max_tokens=1.5), "max_tokens"),
        (body(max_tokens="5"), "max_tokens"),
        (body(max_tokens=True), "max_tokens"),
        (body(stream="yes"), "stream"),
        (body(stream=1), "stream"),
    ],
)
def test_a_malformed_call_is_refused_at_the_door(door: Door, wrong: bytes, param: str | None) -> None:
    """Rubbish would reach a provider, be paid for, or kill the server."""
    with pytest.raises(InvalidCall) as refused:
        door.peek(wrong)
    assert refused.value.param == param
    assert len(refused.value.message) < 300


@EACH_DOOR
@pytest.mark.parametrize(
    "odd",
    [
        NESTED % (b"[" * 150 + b"]" * 150),
        NESTED % (b'"' + b"[{" * 5000 + b'"'),
        NESTED % (b'["\\\\",' * 100 + b'"' + b'\\"[' * 500 + b'"' + b"]" * 100),
        NESTED % b'"\\ud800"',
        NESTED % b'"\\ud83d\\ude00"',
        NESTED % '"Hé 😀"'.encode(),
        NESTED % b"1e400",
        body(max_tokens=10_000_000, stream=None),
        b" \n" + body(),
    ],
)
def test_an_odd_but_valid_call_comes_through(door: Door, odd: bytes) -> None:
    """Calls with brackets in their text, emojis or unknown fields would be refused."""
    assert door.peek(odd).model == "auto"
    assert door.decode_call(odd).messages[-1].text == "hi"


def test_the_other_limit_of_openai_is_checked_too() -> None:
    """An absurd limit would reserve the whole budget."""
    with pytest.raises(InvalidCall) as refused:
        DOORS["openai"].peek(body(max_completion_tokens=-5))
    assert refused.value.param == "max_completion_tokens"


def test_passing_changes_the_model_and_nothing_else() -> None:
    """cache_control, unknown fields or the exact digits of a number would be lost on the way to a caller's provider."""
    odd = b'{"model":"auto","x":1.50,"messages":[{"role":"user", "content":"h\\u00e9","cache_control":{"a":1e2}}]}'
    for name in ("openai", "anthropic"):
        assert DIALECTS[name].pass_call(odd, Target("real"), False) == odd.replace(b'"auto"', b'"real"')
    assert DIALECTS["gemini"].pass_call(odd, Target("real"), False) == odd


def test_an_openai_stream_is_always_asked_for_its_usage() -> None:
    """Streams would be billed by estimates."""
    passed = DIALECTS["openai"].pass_call
    found = json.loads(passed(body(stream=True, stream_options={"other": 1}), Target("m"), True))
    assert found["stream_options"] == {"other": 1, "include_usage": True}
    assert json.loads(passed(body(stream=True, stream_options=None), Target("m"), True))["stream_options"][
        "include_usage"
    ]
    found = json.loads(passed(body(stream=True, stream_options={}), Target("m"), False))
    assert found["stream"] is False
    assert "stream_options" not in found


def test_thinking_that_anthropic_did_not_sign_is_left_out_of_what_passes() -> None:
    """A conversation that another provider answered for a while would be refused by Anthropic ever after."""
    foreign = {"type": "thinking", "thinking": "hm", "signature": ""}
    own = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    text = {"type": "text", "text": 'say "signature": ""'}
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [foreign, text]},
        {"role": "assistant", "content": [own, text]},
        {"role": "assistant", "content": [foreign]},
    ]
    found = json.loads(DIALECTS["anthropic"].pass_call(body(messages=messages), Target("m"), False))
    assert found["messages"] == [
        messages[0],
        {"role": "assistant", "content": [text]},
        {"role": "assistant", "content": [own, text]},
    ]


OPENAI_CALL = body(
    messages=[
        {"role": "developer", "content": "be brief"},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "add", "arguments": "{not json"}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "3"},
        {"role": "assistant", "content": "no", "refusal": "never"},
    ],
    max_completion_tokens=9,
    temperature=0.5,
    stop="END",
    seed=4,
    n=2,
    reasoning_effort="max",
    parallel_tool_calls=False,
    tool_choice={"type": "function", "function": {"name": "add"}},
    tools=[{"type": "function", "function": {"name": "add", "description": "d", "parameters": {"type": "object"}}}],
    response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}},
)


def test_an_openai_call_is_read_to_the_last_field() -> None:
    """Tools, images, schemas or limits would be lost when the call crosses to another provider."""
    chat = DOORS["openai"].decode_call(OPENAI_CALL)
    assert chat.messages == (
        Message("system", (Text("be brief"),)),
        Message(
            "user",
            (
                Text("look"),
                Image(data=PIXEL, media_type="image/png"),
                Image(url="https://x.test/a.png"),
                Audio("AAAA", "wav"),
                Document(data="AAAA", media_type="application/pdf", name="a.pdf"),
            ),
            "ann",
        ),
        Message("assistant", (ToolUse("a", "add", "{not json"),)),
        Message("tool", (ToolResult("a", (Text("3"),)),)),
        Message("assistant", (Text("no"), Refusal("never"))),
    )
    assert (chat.max_tokens, chat.temperature, chat.stop, chat.seed, chat.choices) == (9, 0.5, ("END",), 4, 2)
    assert (chat.effort, chat.parallel_tools, chat.tool_choice) == ("xhigh", False, ToolChoice("named", "add"))
    assert chat.output is not None and chat.output.strict and chat.output.name == "n"
    assert [bytes(tool.schema) for tool in chat.tools] == [b'{"type": "object"}']


def test_an_anthropic_call_is_read_to_the_last_field() -> None:
    """Claude Code's tools, results, cache marks or thinking would be lost on the way to another provider."""
    call = body(
        system=[{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    {"type": "document", "title": "t", "source": {"type": "url", "url": "https://x.test/a.pdf"}},
                    {"type": "text", "text": "look"},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "xx"},
                    {"type": "tool_use", "id": "a", "name": "add", "input": {"x": 1.50}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "3", "is_error": True},
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
        max_tokens=99,
        thinking={"type": "enabled", "budget_tokens": 2000},
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        tools=[{"name": "add", "input_schema": {"type": "object"}}],
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "max"},
        stop_sequences=["END"],
    )
    chat = DOORS["anthropic"].decode_call(call)
    assert chat.messages == (
        Message("system", (Text("be brief", cached=True),)),
        Message(
            "user",
            (
                Image(data=PIXEL, media_type="image/png"),
                Document(url="https://x.test/a.pdf", name="t"),
                Text("look"),
            ),
        ),
        Message("assistant", (Thinking("hm", "sig"), Thinking(redacted="xx"), ToolUse("a", "add", '{"x": 1.5}'))),
        Message("tool", (ToolResult("a", (Text("3"),), is_error=True),)),
        Message("user", (Text("go on"),)),
    )
    assert (chat.thinking_tokens, chat.effort, chat.stop, chat.parallel_tools) == (2000, "xhigh", ("END",), False)
    assert chat.tool_choice == ToolChoice("required")
    assert chat.output is not None and bytes(chat.output.schema or b"") == b'{"type": "object"}'


@pytest.mark.parametrize(
    ("door", "fields", "param"),
    [
        ("openai", {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ("openai", {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].type"),
        ("openai", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ("openai", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ("openai", {"tool_choice": "sometimes"}, "tool_choice"),
        ("openai", {"response_format": {"type": "xml"}}, "response_format.type"),
        ("openai", {"reasoning_effort": "huge"}, "reasoning_effort"),
        ("openai", {"temperature": "hot"}, "temperature"),
        ("anthropic", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ("anthropic", {"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages[0].content[0].type"),
        ("anthropic", {"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools[0].type"),
        ("anthropic", {"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ],
)
def test_what_cannot_be_understood_is_named(door: str, fields: dict[str, object], param: str) -> None:
    """A caller would not know which field of a long call is at fault."""
    with pytest.raises(InvalidCall) as refused:
        DOORS[door].decode_call(body(**fields))
    assert refused.value.param == param


@given(st.binary(max_size=200), st.sampled_from(sorted(DOORS)))
def test_no_bytes_at_all_make_a_door_raise_anything_but_invalid_call(rubbish: bytes, name: str) -> None:
    """Any stranger could make the server answer 500."""
    readers: list[Callable[[bytes], object]] = [DOORS[name].peek, DOORS[name].decode_call]
    for read in readers:
        with pytest.raises(InvalidCall):
            read(rubbish)
