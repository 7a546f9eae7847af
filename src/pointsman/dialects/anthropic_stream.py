"""Streams in the Anthropic messages format: events to deltas, and deltas to events."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct, structs

from ..core import Delta, Finish, PointsmanError, ToolPiece, Usage
from .anthropic_replies import (
    FINISHES,
    WireBlock,
    WireUsage,
    as_usage,
    error_object,
    finish_word,
    input_text,
    read_counts,
    write_usage,
)
from .failures import read_failure
from .sse import Decoder, Event, EventSplitter
from .wire import ABSENT, read_reply, write


def decoder() -> Decoder:
    """A decoder for one stream."""
    return Decoder(EventSplitter(), _Events())


class Encoder:
    """Writes one stream. With `passing`, what came in this format goes out as it came.

    Blocks stand one after the other here. So while the first tool call is open, what belongs to any other block waits
    until the end: pieces of parallel calls may arrive in any order, and a closed block cannot be opened again.
    """

    def __init__(self, *, id: str, model: str, created: int, wants_usage: bool, passing: bool) -> None:
        self._id = id
        self._model = model
        self._passing = passing
        self._passed = False
        self._begun = False
        self._block = -1
        self._open = ""
        self._tool: int | None = None
        self._held_tools: dict[int, ToolPiece] = {}
        self._held = Delta()
        self._finish: Finish | None = None
        self._refused = False
        self._usage: Usage | None = None

    def feed(self, delta: Delta) -> bytes:
        if self._passing and delta.raw:
            self._passed = True
            return delta.raw
        self._usage = delta.usage or self._usage
        self._finish = delta.finish or self._finish
        if not delta.has_content and not delta.signature:
            return b""
        written = self._begin()
        if self._tool is None:
            written += self._spoken(delta)
        else:
            self._held = _joined(self._held, delta)
        return written + b"".join(self._piece(piece) for piece in delta.tools)

    def finish(self) -> bytes:
        if self._passed:
            return _event("message_stop", {})
        end = self._begin() + self._close()
        for index, piece in sorted(self._held_tools.items()):
            end += self._open_tool(piece) + self._arguments(piece.arguments)
            self._tool = index
        end += self._spoken(self._held) + self._close()
        reason = "refusal" if self._refused else finish_word(self._finish)
        delta = {"stop_reason": reason, "stop_sequence": None}
        end += _event("message_delta", {"delta": delta, "usage": write_usage(self._usage or Usage())})
        return end + _event("message_stop", {})

    def broken(self, error: PointsmanError) -> bytes:
        return _event("error", error_object(error))

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        usage = structs.replace(self._usage or Usage(), output=0, reasoning=0)
        message: dict[str, object] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(usage),
        }
        return _event("message_start", {"message": message})

    def _spoken(self, delta: Delta) -> bytes:
        """What a delta says beside its tools."""
        written = b""
        if delta.reasoning or delta.signature:
            if self._open != "thinking":
                written += self._start({"type": "thinking", "thinking": "", "signature": ""})
            if delta.reasoning:
                written += self._delta({"type": "thinking_delta", "thinking": delta.reasoning})
            if delta.signature:
                written += self._delta({"type": "signature_delta", "signature": delta.signature})
        if delta.redacted:
            written += self._start({"type": "redacted_thinking", "data": delta.redacted}) + self._close()
        if delta.text or delta.refusal:
            self._refused = self._refused or bool(delta.refusal)
            if self._open != "text":
                written += self._start({"type": "text", "text": ""})
            written += self._delta({"type": "text_delta", "text": delta.text + delta.refusal})
        return written

    def _piece(self, piece: ToolPiece) -> bytes:
        if self._tool is None:
            self._tool = piece.index
            return self._open_tool(piece) + self._arguments(piece.arguments)
        if piece.index == self._tool:
            return self._arguments(piece.arguments)
        held = self._held_tools.get(piece.index, ToolPiece(piece.index))
        self._held_tools[piece.index] = ToolPiece(
            piece.index, held.id or piece.id, held.name or piece.name, held.arguments + piece.arguments
        )
        return b""

    def _open_tool(self, piece: ToolPiece) -> bytes:
        return self._start({"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}})

    def _arguments(self, arguments: str) -> bytes:
        return self._delta({"type": "input_json_delta", "partial_json": arguments}) if arguments else b""

    def _start(self, block: dict[str, object]) -> bytes:
        closed = self._close()
        self._block += 1
        self._open = str(block["type"])
        return closed + _event("content_block_start", {"index": self._block, "content_block": block})

    def _delta(self, delta: dict[str, object]) -> bytes:
        return _event("content_block_delta", {"index": self._block, "delta": delta})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _event("content_block_stop", {"index": self._block})


class _Piece(Struct, gc=False):
    """The delta of a block, or of the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Message(Struct, gc=False):
    usage: Raw = ABSENT


class _Event(Struct, gc=False):
    type: str
    index: int = 0
    delta: _Piece | None = None
    content_block: WireBlock | None = None
    message: _Message | None = None
    usage: Raw = ABSENT


_event_decoder = msgspec.json.Decoder(_Event)


class _Events:
    """Reads the events of one stream."""

    __slots__ = ("done", "finished", "usage", "_counts", "_tools")

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.usage: Usage | None = None
        self._counts: WireUsage | None = None
        self._tools: dict[int, int] = {}

    def read(self, event: Event) -> Delta | None:
        if not event.data:
            return Delta(raw=event.raw)
        said = read_reply(_event_decoder, event.data)
        match said.type:
            case "content_block_delta" if said.delta is not None:
                return self._read_piece(said.delta, said.index, event.raw)
            case "content_block_start" if said.content_block is not None:
                return self._read_start(said.content_block, said.index, event.raw)
            case "message_start":
                return Delta(usage=self._count(said.message.usage if said.message else ABSENT), raw=event.raw)
            case "message_delta":
                return self._read_finish(said, event.raw)
            case "message_stop":
                self.done = True
                return None
            case "error":
                raise read_failure(200, {}, event.data)
        return Delta(raw=event.raw)

    def _read_piece(self, piece: _Piece, index: int, raw: bytes) -> Delta:
        match piece.type:
            case "text_delta":
                return Delta(piece.text or "", raw=raw)
            case "thinking_delta":
                return Delta(reasoning=piece.thinking or "", raw=raw)
            case "signature_delta":
                return Delta(signature=piece.signature or "", raw=raw)
            case "input_json_delta" if index in self._tools and piece.partial_json:
                return Delta(tools=(ToolPiece(self._tools[index], arguments=piece.partial_json),), raw=raw)
        return Delta(raw=raw)

    def _read_start(self, block: WireBlock, index: int, raw: bytes) -> Delta:
        match block.type:
            case "tool_use":
                self._tools[index] = position = len(self._tools)
                whole = input_text(block)
                begun = "" if whole.strip("{} ") == "" else whole
                id = block.id or f"call_{position}"
                return Delta(tools=(ToolPiece(position, id, block.name or "", begun),), raw=raw)
            case "redacted_thinking":
                return Delta(redacted=block.data or "", raw=raw)
        return Delta(block.text or "", block.thinking or "", block.signature or "", raw=raw)

    def _read_finish(self, said: _Event, raw: bytes) -> Delta:
        reason = said.delta.stop_reason if said.delta else None
        finish = FINISHES.get(reason, "other") if reason else None
        self.finished = self.finished or finish is not None
        return Delta(finish=finish, usage=self._count(said.usage), raw=raw)

    def _count(self, raw: Raw) -> Usage | None:
        """Counts are cumulative: a later one replaces the same one before, and leaves the others standing."""
        counts = read_counts(raw)
        if counts is None:
            return None
        if self._counts is not None:
            known = {name: value for name, value in structs.asdict(counts).items() if value is not None}
            counts = structs.replace(self._counts, **known)
        self._counts = counts
        usage = as_usage(counts)
        self.usage = usage or self.usage
        return usage


def _joined(held: Delta, later: Delta) -> Delta:
    return Delta(
        held.text + later.text,
        held.reasoning + later.reasoning,
        later.signature or held.signature,
        later.redacted or held.redacted,
        held.refusal + later.refusal,
    )


def _event(name: str, fields: dict[str, object]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + write({"type": name, **fields}) + b"\n\n"
