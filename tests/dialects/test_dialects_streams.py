"""Every dialect's streams: cut anywhere, broken anywhere, they say the same or say that they are broken."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_samples import (
    ANTHROPIC_STREAM,
    ANTHROPIC_USAGE,
    GEMINI_STREAM,
    GEMINI_USAGE,
    OLLAMA_STREAM,
    OPENAI_TEXT,
    OPENAI_TOOLS,
    OPENAI_TOOLS_ALL_ZERO,
    OPENAI_TOOLS_NO_INDEX,
    OPENAI_TOOLS_REPEATED,
    OPENAI_USAGE,
    STREAMS,
    chunk,
    lines,
    named,
    sse,
)

from pointsman.core import (
    Answer,
    Broken,
    BrokenReply,
    ContentFiltered,
    ContextTooLong,
    Delta,
    Gathered,
    Overloaded,
    RateLimited,
    ToolUse,
    Usage,
)
from pointsman.dialects import DIALECTS
from pointsman.dialects.sse import EventSplitter, LineSplitter

EACH_STREAM = pytest.mark.parametrize("name", STREAMS)


def run(dialect: str, *chunks: bytes) -> list[Delta | Broken]:
    decoder = DIALECTS[dialect].decoder()
    items = [item for piece in chunks for item in decoder.feed(piece)]
    return [*items, *decoder.end()]


def gather(items: list[Delta | Broken]) -> Answer:
    gathered = Gathered()
    for item in items:
        assert isinstance(item, Delta), item
        gathered.add(item)
    return gathered.answer()


def add_and_sub(first: str = "a", second: str = "b") -> tuple[ToolUse, ...]:
    return ToolUse(first, "add", '{"x":1}'), ToolUse(second, "sub", '{"y":2}')


def test_an_openai_stream_is_read_with_reasoning_text_and_disjoint_usage() -> None:
    """Answers of most providers would be lost, or billed wrongly."""
    answer = gather(run("openai", OPENAI_TEXT))
    assert (answer.reasoning, answer.text, answer.finish) == ("let me see", "Hé 😀 there", "stop")
    assert answer.usage == OPENAI_USAGE


@pytest.mark.parametrize("stream", [OPENAI_TOOLS, OPENAI_TOOLS_ALL_ZERO, OPENAI_TOOLS_NO_INDEX, OPENAI_TOOLS_REPEATED])
def test_parallel_tool_calls_stay_apart_whatever_their_index(stream: bytes) -> None:
    """Two tool calls would run together to one with broken arguments."""
    answer = gather(run("openai", stream))
    assert answer.tools == add_and_sub()
    assert answer.finish == "tools"


@pytest.mark.parametrize("stream", [OPENAI_TOOLS_ALL_ZERO, OPENAI_TOOLS_NO_INDEX])
def test_a_wrong_tool_index_is_mended_in_what_is_passed_on(stream: bytes) -> None:
    """A client's SDK would run the calls together, though we had told them apart."""
    passed = b"".join(item.raw for item in run("openai", stream) if isinstance(item, Delta))
    indexes = [
        call["index"]
        for event in passed.split(b"\n\n")
        if event
        for choice in json.loads(event[6:])["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert indexes == [0, 0, 1, 1]


def test_an_anthropic_stream_is_read_with_signed_thinking_tools_and_merged_usage() -> None:
    """Claude's tool calls, thinking or cached tokens would be lost; cumulative counts would be added up."""
    answer = gather(run("anthropic", ANTHROPIC_STREAM))
    assert (answer.reasoning, answer.signature, answer.text) == ("hm", "sig", "Hé 😀")
    assert answer.tools == (ToolUse("t1", "add", '{"x":1}'),)
    assert answer.finish == "tools"
    assert answer.usage == ANTHROPIC_USAGE


def test_a_gemini_stream_is_read_with_thoughts_signatures_and_ids_for_its_tools() -> None:
    """Gemini's calls have no ids: a client could not answer them."""
    answer = gather(run("gemini", GEMINI_STREAM))
    assert (answer.reasoning, answer.text, answer.finish, answer.usage) == ("hm", "Hi", "tools", GEMINI_USAGE)
    assert answer.tools == (
        ToolUse("call_r1_0", "add", '{"x": 1}', "c2ln"),
        ToolUse("call_r1_1", "sub", '{"y": 2}'),
    )


def test_an_ollama_stream_is_read_line_by_line() -> None:
    """Ollama's native API would not work."""
    answer = gather(run("ollama", OLLAMA_STREAM))
    assert (answer.reasoning, answer.text, answer.finish) == ("hm", "Hé 😀", "tools")
    assert answer.tools == (ToolUse("call_0", "add", "{}"),)
    assert answer.usage == Usage(input=26, output=9)


@EACH_STREAM
def test_a_stream_says_the_same_wherever_it_is_cut(name: str) -> None:
    """An answer would change, or break, with the size of the network's packets."""
    dialect, stream = STREAMS[name]
    whole = run(dialect, stream)
    assert not any(isinstance(item, Broken) for item in whole)
    for cut in range(len(stream) + 1):
        assert run(dialect, stream[:cut], stream[cut:]) == whole, cut
    assert run(dialect, *(stream[i : i + 1] for i in range(len(stream)))) == whole


@EACH_STREAM
def test_a_stream_that_breaks_off_never_ends_clean_before_its_finish(name: str) -> None:
    """A truncated answer would be passed off as a whole one."""
    dialect, stream = STREAMS[name]
    for cut in range(len(stream)):
        items = run(dialect, stream[:cut])
        finished = any(isinstance(item, Delta) and item.finish is not None for item in items)
        broken = [item for item in items if isinstance(item, Broken)]
        assert finished or len(broken) == 1, cut
        assert not broken or (broken[0] is items[-1] and isinstance(broken[0].error, BrokenReply)), cut


@pytest.mark.parametrize("name", [name for name in STREAMS if "index" not in name])
def test_passing_on_loses_no_byte_of_what_the_upstream_said(name: str) -> None:
    """Fields and events that we do not know would vanish between the caller and its own provider."""
    dialect, stream = STREAMS[name]
    passed = b"".join(item.raw for item in run(dialect, stream) if isinstance(item, Delta))
    kept = stream.removeprefix(b"\xef\xbb\xbf")
    assert kept.startswith(passed)
    assert kept[len(passed) :].strip() in (b"", b"data: [DONE]", b'event: message_stop\ndata: {"type": "message_stop"}')


def test_what_follows_the_end_is_ignored_and_a_second_done_too() -> None:
    """Rubbish after the end of a stream would reach callers as a part of the answer."""
    once = run("openai", OPENAI_TEXT)
    assert run("openai", OPENAI_TEXT + b"data: [DONE]\n\n" + sse(chunk({"content": "ghost"}))) == once
    assert run("openai", OPENAI_TEXT, b"data: [DONE]\n\n", sse(chunk({"content": "ghost"}))) == once
    assert run("ollama", OLLAMA_STREAM, OLLAMA_STREAM) == run("ollama", OLLAMA_STREAM)


def test_done_without_any_finish_reason_is_whole() -> None:
    """Servers that never send a finish_reason could not be used."""
    items = run("openai", sse(chunk({"content": "hi"}), done=True))
    assert [item.finish for item in items if isinstance(item, Delta)] == [None]
    assert run("openai", sse(chunk({"content": "hi"}), done=True).rstrip()) == items


@pytest.mark.parametrize("stream", [sse(chunk({"content": "a"}), chunk({}, "stop")), sse(chunk({}, "stop"))[:-2]])
def test_the_end_after_a_finish_reason_is_whole_without_done(stream: bytes) -> None:
    """Servers that forget [DONE] would only ever give broken answers."""
    assert all(isinstance(item, Delta) for item in run("openai", stream))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b"", b"\n\n", b"<html>busy</html>", b'{"choices":[]}', b": ping\n\n" * 3])
def test_a_stream_with_no_answer_in_it_is_broken(dialect: str, body: bytes) -> None:
    """An empty 200 would count as an answer."""
    last = run(dialect, body)[-1]
    assert isinstance(last, Broken)
    assert isinstance(last.error, BrokenReply)


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[',
        b'{"choices":NaN}',
        b'{"choices":[],"x":"\xff"}',
        b"[" * 100_000,
        b"[]",
        b'{"choices":5}',
        b"null",
    ],
)
def test_rubbish_within_a_stream_breaks_it_and_nothing_follows(data: bytes) -> None:
    """A damaged event would be skipped and the answer shown as whole, or the process would die of it."""
    items = run("openai", sse(chunk({"content": "a"})) + b"data: " + data + b"\n\n" + OPENAI_TEXT)
    assert [type(item) for item in items] == [Delta, Broken]


@pytest.mark.parametrize(
    ("dialect", "stream", "error"),
    [
        ("openai", sse({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), RateLimited),
        ("openai", sse({"error": {"message": "down", "code": 503}, "choices": []}), Overloaded),
        ("openai", sse({"error": "This model's maximum context length is 8192 tokens"}), ContextTooLong),
        ("openai", b'event: error\ndata: {"message":"too busy","type":"overloaded_error"}\n\n', Overloaded),
        ("anthropic", named({"type": "error", "error": {"type": "overloaded_error", "message": "o"}}), Overloaded),
        ("gemini", sse({"error": {"code": 503, "message": "o", "status": "UNAVAILABLE"}}), Overloaded),
        ("gemini", sse({"promptFeedback": {"blockReason": "SAFETY"}}), ContentFiltered),
        ("ollama", lines({"error": "prompt is too long"}), ContextTooLong),
    ],
)
def test_an_error_within_a_stream_ends_it_as_that_error(dialect: str, stream: bytes, error: type) -> None:
    """An error after a 200 would look like a short answer, and would not be retried as what it is."""
    (item,) = run(dialect, stream)
    assert isinstance(item, Broken)
    assert type(item.error) is error


def test_a_broken_stream_tells_the_usage_that_was_known() -> None:
    """The tokens of a failed stream would be billed as nothing."""
    last = run("anthropic", ANTHROPIC_STREAM[: ANTHROPIC_STREAM.index(b"event: ping")])[-1]
    assert isinstance(last, Broken)
    assert last.usage is not None
    assert last.usage.input_tokens == 37


def test_usage_in_groqs_place_is_found() -> None:
    """Groq's streams would be billed as unknown."""
    stream = sse(chunk({}, "stop", x_groq={"usage": {"prompt_tokens": 3, "completion_tokens": 4}}), done=True)
    assert gather(run("openai", stream)).usage == Usage(input=3, output=4)


def test_half_a_surrogate_pair_in_a_chunk_does_not_break_the_stream() -> None:
    """A server that splits an emoji between two chunks would end every such answer."""
    stream = b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n' + sse(chunk({}, "stop"), done=True)
    answer = gather(run("openai", stream))
    assert answer.text == "a\ufffd"


def test_an_unknown_anthropic_event_passes_without_content() -> None:
    """Events that Anthropic adds tomorrow would break today's answers."""
    items = run("anthropic", ANTHROPIC_STREAM)
    (unknown,) = [item for item in items if isinstance(item, Delta) and b"tomorrow" in item.raw]
    assert not unknown.has_content


@pytest.mark.parametrize("splitter", [EventSplitter, LineSplitter])
def test_an_event_past_the_cap_is_refused_not_buffered(splitter: type[EventSplitter | LineSplitter]) -> None:
    """An upstream could fill our memory with one event that never ends."""
    cutter = splitter(max_event=1000)
    with pytest.raises(BrokenReply):
        for _ in range(100):
            list(cutter.feed(b"data: " + b"x" * 90))


def test_a_megabyte_in_one_event_arrives_whole() -> None:
    """Long tool arguments, or images, would break a stream."""
    stream = sse(chunk({"content": "x" * 1_000_000}), chunk({}, "stop"), done=True)
    pieces = [stream[i : i + 1000] for i in range(0, len(stream), 1000)]
    assert len(gather(run("openai", *pieces)).text) == 1_000_000


def test_data_over_several_lines_is_joined() -> None:
    """Servers that break JSON over several data lines could not be read."""
    event = b'event: x\nid: 1\ndata: {"choices":\ndata:[{"delta":{"content":"a"},\ndata: "finish_reason":"stop"}]}\n\n'
    assert gather(run("openai", event)).text == "a"


@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from(sorted(DIALECTS)))
def test_no_bytes_at_all_make_a_decoder_raise(chunks: list[bytes], dialect: str) -> None:
    """A malicious or broken upstream could crash the call instead of failing it."""
    items = run(dialect, *chunks)
    assert all(isinstance(item, Delta | Broken) for item in items)


@given(st.data())
def test_no_json_at_all_makes_a_decoder_raise(data: st.DataObject) -> None:
    """A JSON of an unexpected shape would crash the call instead of failing it."""
    known = "choices delta content tool_calls function arguments index id usage error type message parts candidates"
    more = "functionCall args finish_reason done content_block prompt_tokens usageMetadata thinking input stop_reason"
    keys = st.sampled_from(f"{known} {more}".split(" "))
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    shapes = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))
    value = data.draw(st.dictionaries(keys, shapes, max_size=5))
    dialect = data.draw(st.sampled_from(sorted(DIALECTS)))
    body = json.dumps(value).encode()
    wire = body + b"\n" if dialect == "ollama" else b"data: " + body + b"\n\n"
    assert all(isinstance(item, Delta | Broken) for item in run(dialect, wire))
