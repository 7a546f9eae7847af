"""Replies: whole answers, usage, streams as callers see them, judged by the SDKs that they use."""

from __future__ import annotations

import json
import timeit

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter
from wire_samples import (
    ANTHROPIC_STREAM,
    ANTHROPIC_USAGE,
    ANTHROPIC_WHOLE,
    GEMINI_USAGE,
    GEMINI_WHOLE,
    OLLAMA_WHOLE,
    OPENAI_TEXT,
    OPENAI_USAGE,
    OPENAI_WHOLE,
    STREAMS,
    chunk,
    sse,
)

from pointsman.core import (
    Answer,
    AttemptError,
    Broken,
    BrokenReply,
    ContentFiltered,
    Delta,
    Gathered,
    Overloaded,
    PointsmanError,
    RateLimited,
    ToolPiece,
    ToolUse,
    Usage,
    as_delta,
)
from pointsman.dialects import DIALECTS, StreamEncoder

EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)
SPEAKERS = ("openai", "anthropic")


def encoder(name: str, *, wants_usage: bool = True, passing: bool = False) -> StreamEncoder:
    door = DIALECTS[name].door
    assert door is not None
    return door.encoder(id="id1", model="m", created=1, wants_usage=wants_usage, passing=passing)


def decoded(name: str, stream: bytes) -> list[Delta]:
    decoder = DIALECTS[name].decoder()
    items = [*decoder.feed(stream), *decoder.end()]
    assert not any(isinstance(item, Broken) for item in items), items
    return [item for item in items if isinstance(item, Delta)]


def gather(deltas: list[Delta]) -> Answer:
    gathered = Gathered()
    for delta in deltas:
        gathered.add(delta)
    return gathered.answer()


def encode(name: str, deltas: list[Delta], *, wants_usage: bool = True, passing: bool = False) -> bytes:
    writer = encoder(name, wants_usage=wants_usage, passing=passing)
    return b"".join([*(writer.feed(delta) for delta in deltas), writer.finish()])


def events(stream: bytes) -> list[dict[str, object]]:
    return [json.loads(event.rpartition(b"data: ")[2]) for event in stream.split(b"\n\n") if b"data: {" in event]


def test_an_openai_answer_is_read() -> None:
    """Answers of most providers would be lost, or billed wrongly."""
    answer = DIALECTS["openai"].decode_answer(OPENAI_WHOLE)
    assert (answer.text, answer.reasoning, answer.finish, answer.usage) == ("Hé 😀", "hm", "stop", OPENAI_USAGE)
    assert (answer.id, answer.model, answer.raw) == ("chatcmpl-1", "gpt-5-mini-2026", OPENAI_WHOLE)


def test_an_anthropic_answer_is_read() -> None:
    """Claude's tool calls, thinking or cached tokens would be lost."""
    answer = DIALECTS["anthropic"].decode_answer(ANTHROPIC_WHOLE)
    assert (answer.text, answer.reasoning, answer.signature, answer.finish) == ("Hi you", "hm", "sig", "tools")
    assert answer.tools == (ToolUse("toolu_1", "add", '{"x": 1}'),)
    assert answer.usage == ANTHROPIC_USAGE


def test_nulls_in_an_anthropic_answer_are_no_fault() -> None:
    """Servers that speak Anthropic's format and write null for what they leave out could not be used."""
    text = {"type": "text", "text": "a", "thinking": None, "citations": None}
    tool = {"type": "tool_use", "id": None, "name": "t", "input": None}
    body = {"content": [text, tool], "stop_reason": None, "usage": None, "id": None, "model": None}
    answer = DIALECTS["anthropic"].decode_answer(json.dumps(body).encode())
    assert (answer.text, answer.tools, answer.usage) == ("a", (ToolUse("call_0", "t", "{}"),), None)


def test_a_gemini_answer_is_read() -> None:
    """Gemini's thoughts would be billed as nothing, or its tool calls be lost."""
    answer = DIALECTS["gemini"].decode_answer(GEMINI_WHOLE)
    assert (answer.text, answer.reasoning, answer.finish, answer.usage) == ("Hi", "hm", "tools", GEMINI_USAGE)
    assert [tool.id for tool in answer.tools] == ["call_r1_0", "call_r1_1"]
    assert answer.tools[0].signature == "c2ln"


def test_an_ollama_answer_is_read() -> None:
    """Ollama's native API would not work."""
    answer = DIALECTS["ollama"].decode_answer(OLLAMA_WHOLE)
    assert (answer.text, answer.reasoning, answer.finish) == ("Hi", "hm", "tools")
    assert [tool.arguments for tool in answer.tools] == ['{"x": 1}', '{"y": 2}']
    assert answer.usage == Usage(input=26, output=9)


def test_mistrals_list_of_content_is_read() -> None:
    """Mistral's reasoning models would only ever give broken answers."""
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "hi"}]
    body = json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}).encode()
    answer = DIALECTS["openai"].decode_answer(body)
    assert (answer.text, answer.reasoning) == ("hi", "hm")


def test_tool_arguments_come_through_as_the_model_wrote_them() -> None:
    """Invalid JSON would be mended in silence, or break the answer; an object instead of a string would too."""
    calls = [{"function": {"name": "a", "arguments": "{broken"}}, {"function": {"name": "b", "arguments": {"x": 1}}}]
    body = json.dumps({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "stop"}]}).encode()
    answer = DIALECTS["openai"].decode_answer(body)
    assert answer.tools == (ToolUse("call_0", "a", "{broken"), ToolUse("call_1", "b", '{"x": 1}'))
    assert answer.finish == "tools"


def openai_usage(**counts: object) -> Usage | None:
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": counts}
    return DIALECTS["openai"].decode_answer(json.dumps(body).encode()).usage


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": -9}, Usage(input=5, output=2)),
        ({"prompt_tokens": 5, "completion_tokens": None, "prompt_tokens_details": None}, Usage(input=5)),
        (
            {"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 3},
            Usage(input=3, cache_read=6, output=2),
        ),
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(input=32, output=9, reasoning=94),
        ),
        ({"prompt_tokens": -2_000_000, "completion_tokens": 1}, None),
        ({"prompt_tokens": 2**63, "completion_tokens": 1}, None),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": 1}, None),
        ({"prompt_tokens": "5", "completion_tokens": 1}, None),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}}, None),
        ({"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 6}}, None),
        ({}, None),
    ],
)
def test_usage_is_disjoint_or_unknown_never_wrong(counts: dict[str, object], usage: Usage | None) -> None:
    """Cached tokens would be billed twice, or a provider's nonsense would be billed at all."""
    assert openai_usage(**counts) == usage


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_any_usage_leaves_the_answer_standing(usage: object) -> None:
    """A good answer would be thrown away for a bad count."""
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    assert DIALECTS["openai"].decode_answer(json.dumps(body).encode()).text == "x"


@pytest.mark.parametrize(
    ("dialect", "body", "error"),
    [
        *((name, body, BrokenReply) for name in DIALECTS for body in (b"", b"<html>", b"[]", b"{}", b"null", b"{")),
        ("openai", b'{"choices":[]}', BrokenReply),
        ("openai", b'{"choices":[{"message":{"content":NaN}}]}', BrokenReply),
        ("openai", b'{"choices":[{"message":{"content":"\xff"}}]}', BrokenReply),
        ("openai", b'{"choices":' + b"[" * 100_000, BrokenReply),
        ("openai", b'{"error":{"message":"slow","type":"rate_limit_error"}}', RateLimited),
        ("openai", b'{"error":{"message":"down","code":502}}', AttemptError),
        ("anthropic", b'{"type":"error","error":{"type":"overloaded_error","message":"o"}}', Overloaded),
        ("gemini", b'{"promptFeedback":{"blockReason":"SAFETY"}}', ContentFiltered),
        ("ollama", b'{"error":"boom"}', AttemptError),
    ],
)
def test_a_200_without_an_answer_is_an_error(dialect: str, body: bytes, error: type[AttemptError]) -> None:
    """An empty or broken 200 would be given to the caller as an answer, and not be tried elsewhere."""
    with pytest.raises(error):
        DIALECTS[dialect].decode_answer(body)


FULL = Answer(
    text="Hi",
    reasoning="hm",
    signature="sig",
    redacted="xx",
    tools=(ToolUse("a", "add", '{"x":1}', "c2ln"), ToolUse("b", "sub", "")),
    finish="tools",
    usage=Usage(input=1, cache_read=2, cache_write=3, cache_write_1h=4, output=5, reasoning=6),
)


def test_the_openai_sdk_reads_our_answers() -> None:
    """Programs written for OpenAI would fail on our answers."""
    door = DIALECTS["openai"].door
    assert door is not None
    seen = ChatCompletion.model_validate_json(door.encode_answer(FULL, id="id1", model="m", created=1), strict=True)
    message = seen.choices[0].message
    assert (message.content, seen.choices[0].finish_reason) == ("Hi", "tool_calls")
    assert [call.function.arguments for call in message.tool_calls or () if call.type == "function"] == [
        '{"x":1}',
        "{}",
    ]
    assert seen.usage is not None
    assert (seen.usage.prompt_tokens, seen.usage.completion_tokens, seen.usage.total_tokens) == (10, 11, 21)
    assert message.model_extra == {"reasoning_content": "hm"}


def test_the_anthropic_sdk_reads_our_answers() -> None:
    """Claude Code would fail on our answers."""
    door = DIALECTS["anthropic"].door
    assert door is not None
    seen = AnthropicMessage.model_validate_json(door.encode_answer(FULL, id="id1", model="m", created=1))
    assert [block.type for block in seen.content] == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert seen.stop_reason == "tool_use"
    assert (seen.usage.input_tokens, seen.usage.cache_creation_input_tokens, seen.usage.output_tokens) == (1, 7, 11)
    back = DIALECTS["anthropic"].decode_answer(door.encode_answer(FULL, id="id1", model="m", created=1))
    assert (back.text, back.reasoning, back.signature, back.usage) == ("Hi", "hm", "sig", FULL.usage)


def test_an_answer_with_broken_tool_arguments_still_reaches_an_anthropic_caller() -> None:
    """A model's slip would cost the caller the whole answer, which is paid for already."""
    door = DIALECTS["anthropic"].door
    assert door is not None
    body = door.encode_answer(Answer(tools=(ToolUse("a", "t", "{oops"),)), id="i", model="m", created=1)
    assert json.loads(body)["content"][0]["input"] == {"INVALID_JSON": "{oops"}


@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_reaches_openai_callers_as_valid_chunks(name: str) -> None:
    """The openai SDK would fail in the middle of a stream."""
    dialect, stream = STREAMS[name]
    deltas = decoded(dialect, stream)
    written = encode("openai", deltas)
    chunks = [ChatCompletionChunk.model_validate_json(json.dumps(event), strict=True) for event in events(written)]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert sum(bool(piece.choices and piece.choices[0].finish_reason) for piece in chunks) == 1
    assert written.endswith(b"data: [DONE]\n\n")
    assert written.count(b"[DONE]") == 1
    once, twice = gather(deltas), gather(decoded("openai", written))
    assert (twice.text, twice.reasoning, twice.finish) == (once.text, once.reasoning, once.finish)
    assert [(tool.id, tool.arguments) for tool in twice.tools] == [(tool.id, tool.arguments) for tool in once.tools]
    if once.usage is not None and twice.usage is not None:
        assert twice.usage.input_tokens == once.usage.input_tokens
        assert twice.usage.output_tokens == once.usage.output_tokens


def check_grammar(written: bytes) -> None:
    """Anthropic's rules: a start, blocks one after the other and each closed, the message's end."""
    seen = [EVENT.validate_python(event) for event in events(written)]
    assert [event.type for event in seen[-2:]] == ["message_delta", "message_stop"]
    assert seen[0].type == "message_start"
    current, opened = None, -1
    for event in seen[1:-2]:
        if event.type == "content_block_start":
            assert current is None
            opened += 1
            assert event.index == opened
            current = opened
        elif event.type == "content_block_delta":
            assert event.index == current
        else:
            assert event.type == "content_block_stop"
            assert event.index == current
            current = None
    assert current is None


@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_reaches_anthropic_callers_in_the_right_grammar(name: str) -> None:
    """Claude Code would fail in the middle of a stream, or run tool calls together."""
    dialect, stream = STREAMS[name]
    deltas = decoded(dialect, stream)
    written = encode("anthropic", deltas)
    check_grammar(written)
    once, twice = gather(deltas), gather(decoded("anthropic", written))
    assert (twice.text, twice.reasoning, twice.finish) == (once.text, once.reasoning, once.finish)
    assert [(tool.id, tool.arguments) for tool in twice.tools] == [(tool.id, tool.arguments) for tool in once.tools]
    if once.usage is not None:
        assert twice.usage is not None
        assert (twice.usage.input, twice.usage.cache_read) == (once.usage.input, once.usage.cache_read)


pieces = st.builds(
    Delta,
    text=st.sampled_from(["", "", "a"]),
    reasoning=st.sampled_from(["", "", "b"]),
    signature=st.sampled_from(["", "", "s"]),
    redacted=st.sampled_from(["", "", "", "r"]),
    tools=st.lists(
        st.builds(ToolPiece, st.integers(0, 2), st.just(""), st.just("t"), st.sampled_from(["", "1"])), max_size=2
    ).map(tuple),
    finish=st.sampled_from([None, None, "stop"]),
)


@given(st.lists(pieces, max_size=12))
def test_deltas_in_any_order_give_valid_streams(deltas: list[Delta]) -> None:
    """Interleaved tool calls and text would break an Anthropic stream, or lose a part of the answer."""
    written = encode("anthropic", deltas)
    check_grammar(written)
    once, twice = gather(deltas), gather(decoded("anthropic", written))
    assert (twice.text, twice.reasoning) == (once.text, once.reasoning)
    assert sorted(tool.arguments for tool in twice.tools) == sorted(tool.arguments for tool in once.tools)
    for event in events(encode("openai", deltas)):
        ChatCompletionChunk.model_validate(event)


def test_a_whole_answer_becomes_a_stream() -> None:
    """A cached answer, or JSON where a stream was asked, could not be given to a caller who streams."""
    for name in SPEAKERS:
        seen = gather(decoded(name, encode(name, [as_delta(FULL)], passing=True)))
        assert (seen.text, seen.reasoning, seen.finish) == ("Hi", "hm", "tools")
        assert [tool.name for tool in seen.tools] == ["add", "sub"]


@pytest.mark.parametrize(("name", "stream"), [("openai", OPENAI_TEXT), ("anthropic", ANTHROPIC_STREAM)])
def test_a_stream_of_the_callers_own_format_passes_byte_for_byte(name: str, stream: bytes) -> None:
    """Fields and events that we do not know would be lost, or the end be sent twice."""
    passed = encode(name, decoded(name, stream), passing=True)
    assert passed.replace(b'{"type":"message_stop"}', b'{"type": "message_stop"}') == stream.removeprefix(
        b"\xef\xbb\xbf"
    )


def test_usage_that_was_not_asked_for_is_not_shown() -> None:
    """Clients that expect a choice in each chunk would crash on the usage that we asked for ourselves."""
    for passing in (True, False):
        written = encode("openai", decoded("openai", OPENAI_TEXT), wants_usage=False, passing=passing)
        assert all(event["choices"] for event in events(written))
        assert b"new_field" in written or not passing
        assert b'"usage"' in encode("openai", decoded("openai", OPENAI_TEXT), passing=passing)
    first = {"id": "", "choices": [], "prompt_filter_results": [{"usage_like": 1}]}
    stream = sse(first, chunk({"content": "x"}, "stop"), done=True)
    assert encode("openai", decoded("openai", stream), wants_usage=False, passing=True) == stream


@pytest.mark.parametrize("passing", [True, False])
def test_a_broken_stream_never_looks_finished(passing: bool) -> None:
    """A caller would take a truncated answer for a whole one."""
    error = BrokenReply("the upstream hung up; its key was sk-abcdefghijklmnop")
    for name in SPEAKERS:
        writer = encoder(name, passing=passing)
        written = writer.feed(Delta("half", raw=b'data: {"x":1}\n\n' if passing else b"")) + writer.broken(error)
        assert b"[DONE]" not in written
        assert b"message_stop" not in written
        assert b'stop_reason": "' not in written
        assert b"sk-abc" not in written
        assert b"hung up" in written
    assert encoder("anthropic").broken(error).startswith(b"event: error\n")
    decoder = DIALECTS["openai"].decoder()
    assert isinstance(decoder.feed(encoder("openai").broken(error))[0], Broken)


@pytest.mark.parametrize("name", SPEAKERS)
def test_lone_surrogates_in_an_answer_are_written_as_valid_utf8(name: str) -> None:
    """One odd character from a local model would kill the stream."""
    written = encode(name, [Delta("a\ud800", tools=(ToolPiece(0, "i", "t", "\udfff"),))])
    assert "a\ufffd" in written.decode()
    door = DIALECTS[name].door
    assert door is not None
    assert "\ufffd" in door.encode_answer(Answer(text="\ud800"), id="i", model="m", created=1).decode()
    assert "\ufffd" not in door.encode_error(PointsmanError("a\ud800")).decode()


@given(st.binary(max_size=100), st.sampled_from(sorted(DIALECTS)))
def test_no_bytes_at_all_make_an_answer_raise_anything_but_ours(body: bytes, name: str) -> None:
    """A broken upstream could crash the call instead of failing it."""
    with pytest.raises(AttemptError):
        DIALECTS[name].decode_answer(body)


def test_reading_an_event_stays_cheap() -> None:
    """A gateway that is slower than its peers by an order of magnitude would not be noticed before it ships."""
    event = b"data: " + json.dumps(chunk({"content": " hello"})).encode() + b"\n\n"
    decoder = DIALECTS["openai"].decoder()
    seconds = min(timeit.repeat(lambda: decoder.feed(event), number=2000, repeat=5)) / 2000
    assert seconds < 200e-6
