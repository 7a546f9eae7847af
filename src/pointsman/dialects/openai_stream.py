"""Streams in the OpenAI chat format: chunks to deltas, and deltas to chunks."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from ..core import BrokenReply, Delta, Finish, PointsmanError, ToolPiece, Usage
from .failures import read_failure
from .openai_replies import (
    CalledFunction,
    WireMessage,
    WireToolCall,
    WireUsage,
    as_usage,
    error_object,
    finish_word,
    read_arguments,
    read_finish,
    read_usage,
    split_content,
    write_signature,
    write_usage,
)
from .sse import Decoder, Event, EventSplitter
from .wire import ABSENT, is_there, read_reply, write

_USAGE_ONLY = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_USAGE_OBJECT = re.compile(rb'"usage"\s*:\s*\{')


def decoder() -> Decoder:
    """A decoder for one stream."""
    return Decoder(EventSplitter(), _Chunks())


class Encoder:
    """Writes one stream. With `passing`, what came in this format goes out as it came."""

    __slots__ = ("_frame", "_wants_usage", "_passing", "_passed", "_begun", "_finished", "_usage")

    def __init__(self, *, id: str, model: str, created: int, wants_usage: bool, passing: bool) -> None:
        self._frame = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._wants_usage = wants_usage
        self._passing = passing
        self._passed = False
        self._begun = False
        self._finished = False
        self._usage: Usage | None = None

    def feed(self, delta: Delta) -> bytes:
        if self._passing and delta.raw:
            self._passed = True
            if self._wants_usage or delta.text or not _is_usage_only(delta):
                return delta.raw
            return b""
        self._usage = delta.usage or self._usage
        written = b""
        fields = _write_delta(delta)
        if fields or delta.finish:
            if not self._begun:
                self._begun = True
                fields = {"role": "assistant", "content": "", **fields}
            if fields:
                written = self._chunk(fields, None)
        if delta.finish is not None and not self._finished:
            self._finished = True
            written += self._chunk({}, delta.finish)
        return written

    def finish(self) -> bytes:
        if self._passed:
            return b"data: [DONE]\n\n"
        end = b"" if self._finished else self.feed(Delta(finish="stop"))
        if self._wants_usage and self._usage is not None:
            end += _event({**self._frame, "choices": [], "usage": write_usage(self._usage)})
        return end + b"data: [DONE]\n\n"

    def broken(self, error: PointsmanError) -> bytes:
        return _event({"error": error_object(error)})

    def _chunk(self, fields: dict[str, object], finish: Finish | None) -> bytes:
        reason = None if finish is None else finish_word(finish)
        choice = {"index": 0, "delta": fields, "logprobs": None, "finish_reason": reason}
        return _event({**self._frame, "choices": [choice]})


class _Choice(Struct, gc=False):
    delta: WireMessage | None = None
    finish_reason: str | None = None
    index: int = 0


class _Groq(Struct, gc=False):
    usage: Raw = ABSENT


class _Uncounted(Struct, gc=False):
    choices: list[_Choice] | None = None
    error: Raw = ABSENT
    service_tier: str | None = None


class _Chunk(_Uncounted, gc=False):
    usage: WireUsage | None = None
    x_groq: _Groq | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_uncounted = msgspec.json.Decoder(_Uncounted)
_Fields = dict[str, Raw]
_fields: msgspec.json.Decoder[_Fields] = msgspec.json.Decoder(_Fields)
_list_of_fields: msgspec.json.Decoder[list[_Fields]] = msgspec.json.Decoder(list[_Fields])


class _Chunks:
    """Reads the chunks of one stream."""

    __slots__ = ("done", "finished", "usage", "_tools")

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.usage: Usage | None = None
        self._tools = _ToolOrder()

    def read(self, event: Event) -> Delta | None:
        data = event.data
        if not data:
            return Delta(raw=event.raw)
        if data == b"[DONE]":
            self.done = True
            return None
        chunk, usage = self._read_chunk(data)
        if event.name == b"error" or (chunk.error is not ABSENT and is_there(chunk.error)):
            raise read_failure(200, {}, data)
        choice = _first(chunk.choices)
        if choice is None:
            return Delta(usage=usage, raw=event.raw)
        message = choice.delta
        text = reasoning = refusal = ""
        tools: tuple[ToolPiece, ...] = ()
        raw = event.raw
        if message is not None:
            text, thought = split_content(message.content)
            reasoning = message.reasoning_content or message.reasoning or thought
            refusal = message.refusal or ""
            if message.tool_calls:
                tools = tuple(self._tools.place(call) for call in message.tool_calls)
                if any(call.index != piece.index for call, piece in zip(message.tool_calls, tools, strict=True)):
                    raw = _with_indexes(data, tools)
        finish: Finish | None = None
        if choice.finish_reason:
            finish = read_finish(choice.finish_reason, self._tools.count > 0)
            self.finished = True
        return Delta(text, reasoning, "", "", refusal, tools, finish, usage, raw)

    def _read_chunk(self, data: bytes) -> tuple[_Uncounted, Usage | None]:
        """Counts that cannot be read are none: the chunk stands without them."""
        try:
            chunk = read_reply(_chunk, data)
        except BrokenReply:
            return read_reply(_uncounted, data), None
        if chunk.usage is not None:
            usage = as_usage(chunk.usage, chunk.service_tier)
        elif chunk.x_groq is not None:
            usage = read_usage(chunk.x_groq.usage, chunk.service_tier)
        else:
            return chunk, None
        self.usage = usage or self.usage
        return chunk, usage


def _first(choices: list[_Choice] | None) -> _Choice | None:
    """The choice of index 0: a caller who wants several gets them from `raw`."""
    if not choices:
        return None
    if choices[0].index == 0:
        return choices[0]
    return next((choice for choice in choices if choice.index == 0), None)


class _ToolOrder:
    """Tells the tool calls of a stream apart, also where a server gives no index, or 0 to all."""

    __slots__ = ("count", "_by_id", "_by_index")

    def __init__(self) -> None:
        self.count = 0
        self._by_id: dict[str | None, int] = {}
        self._by_index: dict[int | None, int] = {}

    def place(self, call: WireToolCall) -> ToolPiece:
        function = call.function or CalledFunction()
        position = self._known(call, function.name)
        begins = position is None
        if position is None:
            position, self.count = self.count, self.count + 1
        id = call.id or (f"call_{position}" if begins else "")
        if id:
            self._by_id[id] = position
        self._by_index[call.index] = position
        google = call.extra_content.google if call.extra_content else None
        return ToolPiece(
            position,
            id if begins else "",
            (function.name or "") if begins else "",
            read_arguments(function.arguments),
            google.thought_signature if google else "",
        )

    def _known(self, call: WireToolCall, name: str | None) -> int | None:
        """The position of a call that has begun; None for a new one."""
        if call.id in self._by_id:
            return self._by_id[call.id]
        if name and (call.id or call.index is None):
            return None
        return self._by_index.get(call.index)


def _with_indexes(data: bytes, tools: Sequence[ToolPiece]) -> bytes:
    """The event with the right index on each tool call: a client's SDK would run the calls together."""
    chunk = read_reply(_fields, data)
    choices = read_reply(_list_of_fields, bytes(chunk["choices"]))
    for choice in choices:
        if bytes(choice.get("index", Raw(b"0"))) != b"0":
            continue
        delta = read_reply(_fields, bytes(choice["delta"]))
        calls = read_reply(_list_of_fields, bytes(delta["tool_calls"]))
        placed = [{**call, "index": tool.index} for call, tool in zip(calls, tools, strict=True)]
        choice["delta"] = Raw(write({**delta, "tool_calls": placed}))
        break
    return _event({**chunk, "choices": choices})


def _is_usage_only(delta: Delta) -> bool:
    if delta.has_content or delta.finish is not None:
        return False
    return _USAGE_ONLY.search(delta.raw) is not None and _USAGE_OBJECT.search(delta.raw) is not None


def _write_delta(delta: Delta) -> dict[str, object]:
    fields: dict[str, object] = {}
    if delta.text:
        fields["content"] = delta.text
    if delta.reasoning:
        fields["reasoning_content"] = delta.reasoning
    if delta.refusal:
        fields["refusal"] = delta.refusal
    if delta.tools:
        fields["tool_calls"] = [_write_piece(piece) for piece in delta.tools]
    return fields


def _write_piece(piece: ToolPiece) -> dict[str, object]:
    function: dict[str, object] = {"arguments": piece.arguments}
    written: dict[str, object] = {"index": piece.index, "function": function}
    if piece.name:
        function["name"] = piece.name
    if piece.id:
        written |= {"id": piece.id, "type": "function"}
    if piece.signature:
        written["extra_content"] = write_signature(piece.signature)
    return written


def _event(value: object) -> bytes:
    return b"data: " + write(value) + b"\n\n"
