"""Calls in the Anthropic messages format, read to be counted.

A count is asked also of what no other provider could be sent: tools that run at Anthropic, their results, files that
are kept there. As a call that is refused; here it becomes something that counts about as much.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from ..core import Chat
from .anthropic_calls import decode_call, peek
from .wire import ABSENT, read_call, write

_Fields = dict[str, Raw]

_KNOWN = {"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", ""}
_KNOWN_IN_RESULTS = {"text", "image"}
_KEPT_ELSEWHERE: _Fields = {"type": Raw(b'"image"'), "source": Raw(b'{"type":"url"}')}
"""Stands for a file that is only named: it counts as an image whose size nobody knows."""


def read_to_count(body: bytes) -> Chat:
    """The typed view of a call, good for its size only. Raises InvalidCall."""
    peek(body)
    call = read_call(_fields, body)
    messages = read_call(_list, bytes(call["messages"]))
    call["messages"] = Raw(write([{**one, "content": _content(one.get("content", ABSENT))} for one in messages]))
    call["system"] = _content(call.get("system", ABSENT))
    if _is_list(call.get("tools", ABSENT)):
        call["tools"] = Raw(write([_tool(tool) for tool in read_call(_list, bytes(call["tools"]))]))
    return decode_call(write(call))


_fields: msgspec.json.Decoder[_Fields] = msgspec.json.Decoder(_Fields)
_list: msgspec.json.Decoder[list[_Fields]] = msgspec.json.Decoder(list[_Fields])


def _content(content: Raw) -> Raw:
    """Text as it is; of a list of blocks each as one that can be read."""
    if not _is_list(content):
        return content
    return Raw(write([counted for block in read_call(_list, bytes(content)) for counted in _blocks(block)]))


def _blocks(block: _Fields) -> list[_Fields]:
    kind = _kind(block)
    if kind not in _KNOWN:
        return [{"type": Raw(b'"text"'), "text": _as_text(block)}]
    if kind in ("image", "document") and b'"file"' in bytes(block.get("source", ABSENT))[:64]:
        return [_KEPT_ELSEWHERE]
    if kind != "tool_result" or not _is_list(block.get("content", ABSENT)):
        return [block]
    kept: list[_Fields] = []
    beside: list[_Fields] = []
    for piece in read_call(_list, bytes(block["content"])):
        (kept if _kind(piece) in _KNOWN_IN_RESULTS else beside).extend(_blocks(piece))
    return [{**block, "content": Raw(write(kept))}, *beside]


def _tool(tool: _Fields) -> _Fields:
    """One that runs at Anthropic has no schema: what it is set to counts as its description."""
    if _kind(tool) in ("", "custom"):
        return tool
    return {"name": tool.get("name", Raw(b'"tool"')), "description": _as_text(tool)}


def _kind(block: _Fields) -> str:
    """'' where it says none, or something that is no word: `decode_call` refuses that."""
    kind = bytes(block.get("type", ABSENT))
    return kind.decode().strip('"') if kind.startswith(b'"') else ""


def _is_list(raw: Raw) -> bool:
    return bytes(raw).startswith(b"[")


def _as_text(fields: _Fields) -> Raw:
    return Raw(write(write(fields).decode()))
