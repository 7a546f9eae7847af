"""Calls in the Anthropic messages format: read, and passed on.

Source: the API reference of messages, and the types of Anthropic's own Python library.
"""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ..core import (
    Chat,
    Document,
    Effort,
    Image,
    InvalidCall,
    Message,
    OutputSchema,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from .anthropic_quirks import bend
from .dialect import Peek
from .openai_calls import COUNT, Count, check_model
from .quirks import Target
from .wire import (
    ABSENT,
    FALSE,
    FLAG,
    LIST_OF_FIELDS,
    STRING,
    TRUE,
    Fields,
    check_messages,
    is_there,
    raw_object,
    read_call,
    read_field,
    read_fields,
    write,
    write_fields,
    write_name,
    wrong_part,
)

_UNSIGNED = re.compile(rb'"signature"\s*:\s*""')
_EFFORTS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}


def peek(body: bytes) -> Peek:
    """What the door reads of a body. Raises InvalidCall."""
    fields = read_fields(body)
    model = read_field(STRING, fields, "model")
    check_messages(fields)
    stream = "stream" in fields and read_field(FLAG, fields, "stream") is True
    limit = read_field(COUNT, fields, "max_tokens") if "max_tokens" in fields else None
    metadata = read_field(_metadata, fields, "metadata") if "metadata" in fields else None
    check_model(model)
    user = metadata.user_id if metadata is not None else None
    states_form = "tools" in fields or "output_config" in fields or "output_format" in fields
    return Peek(model, stream, True, limit, user or "", states_form)


def pass_call(body: bytes, target: Target, stream: bool) -> bytes:
    """The same body for `target`, without thinking that is not Anthropic's own: an unsigned block would be refused.

    It is written from its fields, so that one that stood there twice goes out once, as `peek` read it.
    """
    fields = dict(read_fields(body))
    fields["model"] = write_name(target.model)
    if stream or "stream" in fields:
        fields["stream"] = TRUE if stream else FALSE
    if b'"signature"' in body and _UNSIGNED.search(body) and "messages" in fields:
        fields["messages"] = _without_unsigned(fields["messages"])
    if target.cap is not None:
        fields["max_tokens"] = Raw(b"%d" % target.cap)
    if target.quirks:
        bend(fields, target.quirks)
    return write_fields(fields)


def decode_call(body: bytes) -> Chat:
    """The typed view of a call. Raises InvalidCall."""
    call = read_call(_call, body)
    read_fields(body)  # tells what is nested too deep
    messages: list[Message] = []
    if call.system:
        messages.append(Message("system", _read_blocks(call.system, "system")))
    for i, message in enumerate(call.messages):
        messages.extend(_read_message(message, f"messages[{i}]"))
    config = call.output_config or _OutputConfig()
    thinking = call.thinking
    return Chat(
        messages=tuple(messages),
        max_tokens=call.max_tokens,
        temperature=call.temperature,
        top_p=call.top_p,
        top_k=call.top_k,
        stop=tuple(call.stop_sequences or ()),
        tools=tuple(_read_tool(tool, f"tools[{i}]") for i, tool in enumerate(call.tools or ())),
        tool_choice=_read_choice(call.tool_choice),
        parallel_tools=_read_parallel(call.tool_choice),
        output=_read_output(config.format or call.output_format),
        effort="none" if thinking and thinking.type == "disabled" else _read_effort(config.effort),
        thinking_tokens=thinking.budget_tokens if thinking and thinking.type == "enabled" else None,
        user=(call.metadata.user_id if call.metadata else None) or "",
    )


class _Metadata(Struct):
    user_id: str | None = None


class _Source(Struct):
    type: str
    url: str = ""
    data: str = ""
    media_type: str = ""


class _Block(Struct):
    """A content block: which field counts depends on `type`."""

    type: str
    text: str | None = None
    source: _Source | None = None
    title: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = ABSENT
    tool_use_id: str | None = None
    content: str | list[_Block] | None = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    cache_control: Raw = ABSENT


class _Message(Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Tool(Struct):
    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: Raw = ABSENT
    strict: bool | None = None


class _ToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(Struct):
    type: str
    budget_tokens: Count | None = None


class _Format(Struct):
    type: str
    schema: Raw = ABSENT


class _OutputConfig(Struct):
    effort: str | None = None
    format: _Format | None = None


class _Call(Struct):
    messages: Annotated[list[_Message], Meta(min_length=1)]
    system: str | list[_Block] | None = None
    max_tokens: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    metadata: _Metadata | None = None


_metadata: msgspec.json.Decoder[_Metadata | None] = msgspec.json.Decoder(_Metadata | None)
_call = msgspec.json.Decoder(_Call)


def _without_unsigned(messages: Raw) -> Raw:
    kept = []
    for message in read_call(LIST_OF_FIELDS, bytes(messages)):
        content = bytes(message.get("content", Raw(b"null")))
        if content.startswith(b"[") and _UNSIGNED.search(content):
            blocks = [block for block in read_call(LIST_OF_FIELDS, content) if not _is_unsigned(block)]
            if not blocks:
                continue
            message["content"] = Raw(write(blocks))
        kept.append(message)
    return Raw(write(kept))


def _is_unsigned(block: Fields) -> bool:
    return bytes(block.get("type", Raw(b""))) == b'"thinking"' and bytes(block.get("signature", Raw(b'""'))) == b'""'


def _read_message(message: _Message, where: str) -> list[Message]:
    """The results of tools stand in the user's message here; in a Chat each is a message of its own."""
    parts = _read_blocks(message.content, f"{where}.content")
    results = [Message("tool", (part,)) for part in parts if isinstance(part, ToolResult)]
    others = tuple(part for part in parts if not isinstance(part, ToolResult))
    role: Role = message.role
    return [*results, Message(role, others)] if others or not results else [*results]


def _read_blocks(content: str | list[_Block], where: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_read_block(block, f"{where}[{i}]") for i, block in enumerate(content))


def _read_block(block: _Block, where: str) -> Part:
    match block:
        case _Block(type="text", text=str(text)):
            return Text(text, cached=is_there(block.cache_control))
        case _Block(type="image", source=_Source() as source):
            return _read_image(source, where)
        case _Block(type="document", source=_Source() as source):
            return _read_document(source, block.title or "", where)
        case _Block(type="tool_use", id=str(id), name=str(name)):
            return ToolUse(id, name, bytes(block.input).decode() if is_there(block.input) else "")
        case _Block(type="tool_result", tool_use_id=str(id)):
            return ToolResult(id, _read_result(block.content, f"{where}.content"), bool(block.is_error))
        case _Block(type="thinking", thinking=str(text)):
            return Thinking(text, block.signature or "")
        case _Block(type="redacted_thinking", data=str(data)):
            return Thinking(redacted=data)
    known = "text, image, document, tool_use, tool_result, thinking, redacted_thinking (with their own fields)"
    raise wrong_part(f"{where}.type", block.type, known)


def _read_image(source: _Source, where: str) -> Image:
    if source.type == "base64":
        return Image(data=source.data, media_type=source.media_type)
    if source.type == "url":
        return Image(url=source.url)
    raise wrong_part(f"{where}.source.type", source.type, "base64, url: a file id means nothing to other providers")


def _read_document(source: _Source, name: str, where: str) -> Document:
    match source.type:
        case "base64":
            return Document(data=source.data, media_type=source.media_type, name=name)
        case "url":
            return Document(url=source.url, name=name)
        case "text":
            return Document(data=base64.b64encode(source.data.encode()).decode(), media_type="text/plain", name=name)
    raise wrong_part(f"{where}.source.type", source.type, "base64, url, text")


def _read_result(content: str | list[_Block] | None, where: str) -> tuple[Text | Image, ...]:
    parts = _read_blocks(content, where) if content is not None else ()
    for part in parts:
        if not isinstance(part, Text | Image):
            raise wrong_part(where, type(part).__name__.lower(), "text, image")
    return tuple(part for part in parts if isinstance(part, Text | Image))


def _read_tool(tool: _Tool, where: str) -> Tool:
    if tool.type not in (None, "custom") or not tool.name:
        raise wrong_part(f"{where}.type", tool.type or "", "custom (with a name): other tools run only at Anthropic")
    named = Tool(tool.name, tool.description or "", strict=tool.strict)
    if not is_there(tool.input_schema):
        return named
    if raw_object(bytes(tool.input_schema).decode()) is None:
        raise InvalidCall(f"{where}.input_schema: a JSON Schema is an object.", param=f"{where}.input_schema")
    return msgspec.structs.replace(named, schema=tool.input_schema)


def _read_choice(choice: _ToolChoice | None) -> ToolChoice | None:
    if choice is None:
        return None
    match choice.type:
        case "auto" | "none":
            return ToolChoice(choice.type)
        case "any":
            return ToolChoice("required")
        case "tool":
            if not choice.name:
                raise InvalidCall("tool_choice.name: which tool?", param="tool_choice.name")
            return ToolChoice("named", choice.name)


def _read_parallel(choice: _ToolChoice | None) -> bool | None:
    if choice is None or choice.disable_parallel_tool_use is None:
        return None
    return not choice.disable_parallel_tool_use


def _read_output(wanted: _Format | None) -> OutputSchema | None:
    if wanted is None:
        return None
    if wanted.type != "json_schema" or not is_there(wanted.schema):
        raise wrong_part("output_config.format.type", wanted.type, "json_schema (with a `schema`)")
    return OutputSchema(wanted.schema)


def _read_effort(effort: str | None) -> Effort | None:
    if effort is None:
        return None
    if effort not in _EFFORTS:
        raise wrong_part("output_config.effort", effort, ", ".join(_EFFORTS))
    return _EFFORTS[effort]
