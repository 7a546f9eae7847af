"""Streams whose events are alike but for their text: together they say what each says alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_samples import chunk

from pointsman.core import Broken, Delta
from pointsman.dialects import DIALECTS
from pointsman.dialects.sse import MAX_EVENT


def alone(dialect: str, event: bytes) -> list[Delta | Broken]:
    """What an event says to a decoder that has seen none before."""
    return list(DIALECTS[dialect].decoder().feed(event))


def together(dialect: str, *chunks: bytes) -> list[Delta | Broken]:
    decoder = DIALECTS[dialect].decoder()
    return [item for piece in chunks for item in decoder.feed(piece)]


def openai_event(text: str, kind: str, **fields: Any) -> dict[str, Any]:
    match kind:
        case "text":
            return chunk({"content": text}, **fields)
        case "role":
            return chunk({"role": "assistant", "content": text}, **fields)
        case "thought":
            return chunk({"reasoning_content": text}, **fields)
        case "padded":
            return chunk({"content": text}, usage=None, obfuscation="a1B2c3"[: len(text) % 6], **fields)
        case "twice":
            return chunk({"content": text, "refusal": text}, **fields)
        case "parts":
            return chunk({"content": [{"type": "text", "text": text}]}, **fields)
        case "other choice":
            event = chunk({"content": text}, **fields)
            event["choices"][0]["index"] = 1
            return event
    return chunk({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 4}, **fields)


def anthropic_event(text: str, kind: str) -> dict[str, Any]:
    delta = {"type": "thinking_delta", "thinking": text} if kind == "thought" else {"type": "text_delta", "text": text}
    index = 1 if kind == "other choice" else 0
    return {"type": "content_block_delta", "index": index, "delta": delta}


texts = st.text(st.sampled_from('ab é😀"\\/\n\x7f\u2028{[,:') | st.characters(codec="utf-8"), max_size=8)
kinds = st.sampled_from(["text", "text", "text", "role", "thought", "padded", "twice", "parts", "other choice", "end"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """(dialect, events), written as one server would write them all."""
    dialect = draw(st.sampled_from(["openai", "anthropic"]))
    ascii_only, tight = draw(st.booleans()), draw(st.booleans())
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    events = []
    favourite = draw(kinds)
    for text in draw(st.lists(texts | st.sampled_from(["content", "a1B2c3", "text_delta"]), max_size=12)):
        kind = favourite if draw(st.booleans()) else draw(kinds)
        said = openai_event(text, kind) if dialect == "openai" else anthropic_event(text, kind)
        data = json.dumps(said, ensure_ascii=ascii_only, separators=(",", ":") if tight else None)
        name = f"event: {said['type']}{end}" if dialect == "anthropic" else ""
        events.append(f"{name}data: {data}{end}{end}".encode())
    return dialect, events


@given(streams(), st.data())
def test_events_say_together_what_each_says_alone(stream: tuple[str, list[bytes]], data: st.DataObject) -> None:
    """The text of one event would be lost, or be shown as another's, in the middle of an answer."""
    dialect, events = stream
    expected = [item for event in events for item in alone(dialect, event)]
    assert together(dialect, *events) == expected
    wire = b"".join(events)
    assert together(dialect, wire) == expected
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert together(dialect, *pieces) == expected


HEAD = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"'
TAIL = b'"},"finish_reason":null}]}\n\n'
PADDED = b'"},"finish_reason":null}],"obfuscation":"x7"}\n\n'


@pytest.mark.parametrize("tail", [TAIL, PADDED])
@pytest.mark.parametrize(
    "inner",
    [
        b'a","content":"b',
        b'a","role":"b',
        b'","tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"{}"}}],"x":"',
        b'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2},"y":[{"a":{"b":"',
        b'"}}],"error":{"message":"slow","code":429},"y":[{"a":{"b":"',
        b'a"b',
        b"a\\",
        b'a\\"',
        b"\\u0041\\n\\ud83d\\ude00",
        b"half \\ud83d",
        b"\\x",
        b"\xff",
        "é".encode()[:1],
        b"\x01",
        b"a\tb",
        b"a\nb",
        b"a\rb",
        b"a\ndata: b",
        b'a"\n,\n"b',
        b'a"},"finish_reason":null}]}\n\ndata: {"choices":[{"delta":{"content":"b',
        b'a"},"finish_reason":null}],"obfuscation":"x7"}\n\n: a comment\n\ndata: {"choices":[{"delta":{"content":"b',
        b"",
    ],
)
def test_what_only_looks_alike_is_read_for_what_it_is(inner: bytes, tail: bytes) -> None:
    """An upstream's tool call, error or finish would be taken for text, or rubbish for an answer."""
    event = HEAD + inner + tail
    before = [HEAD + word + tail for word in (b"one", b"two", b"three")]
    expected = [item for one in before for item in alone("openai", one)] + alone("openai", event)
    got = together("openai", *before, event)
    assert [repr(item) for item in got] == [repr(item) for item in expected]


@pytest.mark.parametrize(
    "noise", [b"", b"a b", b'x","choices":[],"y":"z', b'x"},"a":{"b":"c', b"\\", b"\n", b"\xff", b'"']
)
def test_what_only_looks_like_noise_is_read_for_what_it_is(noise: bytes) -> None:
    """An event that says something else behind its text would be shown without it."""
    before = [HEAD + word + PADDED for word in (b"one", b"two", b"three")]
    event = HEAD + b"four" + PADDED.replace(b"x7", noise)
    got = together("openai", *before, event)[3:]
    assert [repr(item) for item in got] == [repr(item) for item in alone("openai", event)]


@pytest.mark.parametrize(
    "before", [HEAD + b"zero", b"data: {", b": a comment\n", b"event: error\n", b"data:\n", b"\n", b"x"]
)
def test_what_is_alike_but_only_the_rest_of_an_event_is_read_with_its_beginning(before: bytes) -> None:
    """The second half of a damaged event would be shown as if it were whole."""
    events = [HEAD + word + TAIL for word in (b"one", b"two", b"three")]
    got = together("openai", *events, before, HEAD + b"four" + TAIL)[3:]
    assert [repr(item) for item in got] == [repr(item) for item in alone("openai", before + HEAD + b"four" + TAIL)]


def test_an_event_cut_short_is_no_whole_one() -> None:
    """Where head and tail share a byte, half an event would pass for a whole one."""
    before = [HEAD + word + TAIL for word in (b"one", b"two", b"three")]
    for event in (HEAD[:-1] + TAIL, HEAD + TAIL[1:], HEAD + TAIL[2:], HEAD[:-2] + TAIL):
        got = together("openai", *before, event)[3:]
        assert [repr(item) for item in got] == [repr(item) for item in alone("openai", event)]


def test_a_text_that_stands_elsewhere_in_its_event_too_is_found_where_it_is_said() -> None:
    """A chunk's id, or whatever else it bears, would be shown for what the model says."""
    rows = [("a", "a"), ("a", "b"), ("a", "c"), ("b", "c"), ("stop", "stop"), ("stop", "x"), ("z", "z"), ("z", "y")]
    for first, last in (("content", "z"), ("z", "content")):
        stream = [
            b"data: " + json.dumps({"choices": [{"delta": {first: x, last: y}}], "stop": None}).encode() + b"\n\n"
            for x, y in rows
        ]
        got = [item.text for item in together("openai", *stream) if isinstance(item, Delta)]
        assert got == [row[first != "content"] for row in rows]


def test_an_endless_event_after_some_that_are_alike_breaks_the_stream_and_loses_none() -> None:
    """What had come before the fault would be lost."""
    decoder = DIALECTS["openai"].decoder()
    events = [HEAD + word + TAIL for word in (b"one", b"two", b"three")]
    decoder.feed(events[0])
    items = decoder.feed(events[1] + events[2] + b"data: " + b"x" * MAX_EVENT)
    assert [type(item) for item in items] == [Delta, Delta, Broken]


def test_a_stream_that_ends_within_what_is_alike_is_broken() -> None:
    """A truncated answer would be passed off as a whole one."""
    decoder = DIALECTS["openai"].decoder()
    events = HEAD + b"a" + TAIL + HEAD + b"b" + TAIL + HEAD + b"c" + TAIL
    decoder.feed(events)
    decoder.feed((HEAD + b"d" + TAIL)[:-20])
    assert isinstance(decoder.end()[-1], Broken)
    assert list(decoder.feed(HEAD + b"e" + TAIL)) == []
