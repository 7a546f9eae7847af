"""Calls in the OpenAI chat format: read, and passed on.

Source: the API reference of chat completions, and what compatible servers add to it (`reasoning`, `cache_control`,
`extra_content`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ..core import (
    Audio,
    Chat,
    Document,
    Effort,
    Image,
    InvalidCall,
    Message,
    OutputSchema,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from .dialect import Peek
from .efforts import EFFORTS
from .openai_quirks import bend
from .quirks import Target
from .wire import (
    ABSENT,
    FALSE,
    FIELDS,
    FLAG,
    STRING,
    TRUE,
    check_messages,
    is_there,
    raw_object,
    read_call,
    read_field,
    read_fields,
    split_data_url,
    write,
    write_fields,
    write_name,
    wrong_part,
)

MAX_TOKENS = 10_000_000
Count = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]

COUNT: msgspec.json.Decoder[Count | None] = msgspec.json.Decoder(Count | None)


def peek(body: bytes) -> Peek:
    """What the door reads of a body. Raises InvalidCall."""
    fields = read_fields(body)
    model = read_field(STRING, fields, "model")
    check_messages(fields)
    stream = "stream" in fields and read_field(FLAG, fields, "stream") is True
    limit = read_field(COUNT, fields, "max_tokens") if "max_tokens" in fields else None
    if "max_completion_tokens" in fields:
        limit = read_field(COUNT, fields, "max_completion_tokens") or limit
    options = read_field(_options, fields, "stream_options") if "stream_options" in fields else None
    user = read_field(_user, fields, "user") if "user" in fields else None
    check_model(model)
    wants_usage = not stream or (options is not None and options.include_usage is True)
    states_form = "tools" in fields or "response_format" in fields
    return Peek(model, stream, wants_usage, limit, user or "", states_form)


@lru_cache(1024)
def check_model(model: str) -> None:
    """Raises InvalidCall for a name that cannot be one: it would end up in logs and headers."""
    if not model or len(model) > 512 or not model.isprintable():
        raise InvalidCall(
            "model: a name of 1 to 512 printable characters is needed, such as 'auto' or 'gpt-5-mini'.", param="model"
        )


def pass_call(body: bytes, target: Target, stream: bool) -> bytes:
    """The same body for `target`; a stream always reports its usage at the end.

    It is written from its fields, so that one that stood there twice goes out once, as `peek` read it.
    """
    fields = dict(read_fields(body))
    fields["model"] = write_name(target.model)
    if stream:
        fields["stream_options"] = _with_usage(fields.get("stream_options", ABSENT))
        fields["stream"] = TRUE
    else:
        fields.pop("stream_options", None)
        if "stream" in fields:
            fields["stream"] = FALSE
    if target.cap is not None:
        fields["max_tokens"] = Raw(b"%d" % target.cap)
    if target.quirks:
        bend(fields, target.quirks)
    return write_fields(fields)


def decode_call(body: bytes) -> Chat:
    """The typed view of a call. Raises InvalidCall."""
    call = read_call(_call, body)
    read_fields(body)  # tells what is nested too deep
    return Chat(
        messages=tuple(_read_message(message, f"messages[{i}]") for i, message in enumerate(call.messages)),
        max_tokens=call.max_completion_tokens or call.max_tokens,
        temperature=call.temperature,
        top_p=call.top_p,
        top_k=call.top_k,
        stop=(call.stop,) if isinstance(call.stop, str) else tuple(call.stop or ()),
        seed=call.seed,
        frequency_penalty=call.frequency_penalty,
        presence_penalty=call.presence_penalty,
        tools=tuple(_read_tool(tool, f"tools[{i}]") for i, tool in enumerate(call.tools or ())),
        tool_choice=_read_choice(call.tool_choice),
        parallel_tools=call.parallel_tool_calls,
        output=_read_output(call.response_format),
        effort=_read_effort(call.reasoning_effort or (call.reasoning.effort if call.reasoning else None)),
        thinking_tokens=call.reasoning.max_tokens if call.reasoning else None,
        choices=call.n or 1,
        user=call.user or "",
    )


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _ImageUrl(Struct):
    url: str


class _InputAudio(Struct):
    data: str
    format: str


class _File(Struct):
    file_data: str | None = None
    filename: str | None = None


class _Content(Struct):
    """A part of a message: which field counts depends on `type`."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: _ImageUrl | None = None
    input_audio: _InputAudio | None = None
    file: _File | None = None
    cache_control: Raw = ABSENT


class _Google(Struct):
    thought_signature: str = ""


class _ExtraContent(Struct):
    google: _Google | None = None


class _CalledFunction(Struct):
    name: str
    arguments: str | None = None


class _ToolCall(Struct):
    function: _CalledFunction
    id: str = ""
    extra_content: _ExtraContent | None = None


class _Message(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Content] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Function(Struct):
    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: Raw = ABSENT
    strict: bool | None = None


class _Tool(Struct):
    type: str = "function"
    function: _Function | None = None


class _Named(Struct):
    name: str


class _ToolChoice(Struct):
    type: str
    function: _Named | None = None


class _JsonSchema(Struct):
    name: str = "answer"
    schema: Raw = ABSENT
    strict: bool | None = None


class _ResponseFormat(Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _Reasoning(Struct):
    effort: str | None = None
    max_tokens: Count | None = None


class _Call(Struct):
    messages: Annotated[list[_Message], Meta(min_length=1)]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _ResponseFormat | None = None
    reasoning_effort: str | None = None
    reasoning: _Reasoning | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    user: str | None = None


_WITH_USAGE = Raw(b'{"include_usage":true}')
_options: msgspec.json.Decoder[_StreamOptions | None] = msgspec.json.Decoder(_StreamOptions | None)
_user: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_call = msgspec.json.Decoder(_Call)


def _with_usage(options: Raw) -> Raw:
    asked = bytes(options)
    if asked == b"null":
        return _WITH_USAGE
    if asked in (b'{"include_usage":true}', b'{"include_usage": true}'):
        return options
    known = read_call(FIELDS, asked)
    return Raw(write({**known, "include_usage": True}))


def _read_message(message: _Message, where: str) -> Message:
    role: Role
    match message.role:
        case "function":
            raise wrong_part(f"{where}.role", "function", "system, developer, user, assistant, tool")
        case "developer":
            role = "system"
        case known:
            role = known
    if role == "tool":
        return Message("tool", (_read_result(message, where),))
    parts = [*_read_thinking(message), *_read_content(message.content, f"{where}.content")]
    if message.refusal:
        parts.append(Refusal(message.refusal))
    parts.extend(_read_tool_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls or ()))
    return Message(role, tuple(parts), message.name or "")


def _read_thinking(message: _Message) -> list[Part]:
    thought = message.reasoning_content or message.reasoning
    return [Thinking(thought)] if thought else []


def _read_content(content: str | list[_Content] | None, where: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_read_part(part, f"{where}[{i}]") for i, part in enumerate(content)]


def _read_part(part: _Content, where: str) -> Part:
    match part:
        case _Content(type="text", text=str(text)):
            return Text(text, cached=is_there(part.cache_control))
        case _Content(type="refusal", refusal=str(text)):
            return Refusal(text)
        case _Content(type="image_url", image_url=_ImageUrl(url=url)):
            return _read_image(url, where)
        case _Content(type="input_audio", input_audio=_InputAudio() as audio):
            return Audio(audio.data, audio.format)
        case _Content(type="file", file=_File() as file):
            return _read_file(file, where)
    raise wrong_part(f"{where}.type", part.type, "text, image_url, input_audio, file, refusal (with its own field)")


def _read_image(url: str, where: str) -> Image:
    inline = split_data_url(url)
    if inline is not None:
        return Image(media_type=inline[0], data=inline[1])
    if url.startswith(("http://", "https://")):
        return Image(url=url)
    raise InvalidCall(f"{where}.image_url.url: an http(s) URL or a base64 data URL is needed.", param=where)


def _read_file(file: _File, where: str) -> Document:
    if not file.file_data:
        raise InvalidCall(
            f"{where}.file: `file_data` is needed; a file id means nothing to other providers.", param=where
        )
    media_type, data = split_data_url(file.file_data) or ("application/pdf", file.file_data)
    return Document(data=data, media_type=media_type, name=file.filename or "")


def _read_tool_call(call: _ToolCall, where: str) -> ToolUse:
    if not call.id:
        raise InvalidCall(f"{where}.id is needed: the tool's result refers to it.", param=f"{where}.id")
    google = call.extra_content.google if call.extra_content else None
    signature = google.thought_signature if google else ""
    return ToolUse(call.id, call.function.name, call.function.arguments or "", signature)


def _read_result(message: _Message, where: str) -> ToolResult:
    if not message.tool_call_id:
        raise InvalidCall(f"{where}.tool_call_id is needed: which call is this the result of?", param=where)
    parts = _read_content(message.content, f"{where}.content")
    for part in parts:
        if not isinstance(part, Text | Image):
            raise wrong_part(f"{where}.content", type(part).__name__.lower(), "text, image_url")
    return ToolResult(message.tool_call_id, tuple(part for part in parts if isinstance(part, Text | Image)))


def _read_tool(tool: _Tool, where: str) -> Tool:
    if tool.type != "function" or tool.function is None:
        raise wrong_part(f"{where}.type", tool.type, "function: other tools run only at their own provider")
    function = tool.function
    named = Tool(function.name, function.description or "", strict=function.strict)
    if not is_there(function.parameters):
        return named
    if raw_object(bytes(function.parameters).decode()) is None:
        raise InvalidCall(f"{where}.function.parameters: a JSON Schema is an object.", param=where)
    return msgspec.structs.replace(named, schema=function.parameters)


def _read_choice(choice: str | _ToolChoice | None) -> ToolChoice | None:
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(choice)
        case _ToolChoice(type="function", function=_Named(name=name)):
            return ToolChoice("named", name)
    found = choice if isinstance(choice, str) else choice.type
    raise wrong_part("tool_choice", found, "auto, none, required, or a function's name")


def _read_output(wanted: _ResponseFormat | None) -> OutputSchema | None:
    match wanted:
        case None | _ResponseFormat(type="text"):
            return None
        case _ResponseFormat(type="json_object"):
            return OutputSchema()
        case _ResponseFormat(type="json_schema", json_schema=_JsonSchema(schema=schema) as named) if is_there(schema):
            return OutputSchema(schema, named.name, named.strict)
    raise wrong_part("response_format.type", wanted.type, "text, json_object, json_schema (with a `schema`)")


def _read_effort(effort: str | None) -> Effort | None:
    if effort is None:
        return None
    if effort not in EFFORTS:
        raise wrong_part("reasoning_effort", effort, ", ".join(EFFORTS))
    return EFFORTS[effort]
