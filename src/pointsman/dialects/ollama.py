"""The format of Ollama's own API (/api/chat), the endpoint's half. Its streams are JSON, a line each.

Source: the API document of Ollama's repository.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from ..core import (
    Answer,
    BrokenReply,
    Chat,
    Delta,
    Finish,
    Image,
    Message,
    OutputSchema,
    Refusal,
    Text,
    Thinking,
    ToolPiece,
    ToolResult,
    ToolUse,
    Usage,
)
from .dialect import Dialect
from .failures import read_failure
from .openai_encode import write_tool
from .openai_replies import sane
from .quirks import Target
from .sse import Decoder, Event, LineSplitter
from .wire import ABSENT, FIELDS, cannot_say, is_there, read_call, read_reply, tool_input, write

_FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length"}
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}


def _path(model: str, stream: bool) -> str:
    return "/api/chat"


def _auth(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def pass_call(body: bytes, target: Target, stream: bool) -> bytes:
    """The same body for `target`. A stream is the default here, so `stream` is always said."""
    fields = read_call(FIELDS, body)
    return msgspec.json.encode({**fields, "model": target.model, "stream": stream})


def encode_call(chat: Chat, target: Target, stream: bool) -> bytes:
    """The body that asks `target` for this chat. Raises CallRejected for what the format cannot say."""
    if chat.choices > 1:
        raise cannot_say("Ollama", f"{chat.choices} choices in one reply")
    mode = chat.tool_choice.mode if chat.tool_choice and chat.tools else "auto"
    if mode in ("required", "named"):
        raise cannot_say("Ollama", "a tool choice that forces a tool")
    tools = chat.tools if mode == "auto" else ()
    body: dict[str, object] = {
        "model": target.model,
        "messages": _write_messages(chat.messages),
        "stream": stream,
        "tools": [write_tool(tool) for tool in tools] or None,
        "format": _write_format(chat.output),
        "think": _write_thinking(chat, target),
        "options": _write_options(chat) or None,
    }
    return write({name: value for name, value in body.items() if value is not None})


def decode_answer(body: bytes) -> Answer:
    """A whole reply. Raises BrokenReply, or the error that stands in its place."""
    whole = read_reply(_line, body)
    if is_there(whole.error):
        raise read_failure(200, {}, body)
    if whole.message is None:
        raise BrokenReply("The upstream answered without any message in its answer.")
    tools = _read_tools(whole.message, 0)
    return Answer(
        text=whole.message.content or "",
        reasoning=whole.message.thinking or "",
        tools=tuple(ToolUse(tool.id, tool.name, tool.arguments) for tool in tools),
        finish=_read_finish(whole.done_reason, bool(tools)),
        usage=_read_usage(whole),
        model=whole.model,
        raw=body,
    )


def decoder() -> Decoder:
    """A decoder for one stream."""
    return Decoder(LineSplitter(), _Lines())


class _Function(Struct):
    name: str = ""
    arguments: Raw = ABSENT


class _ToolCall(Struct):
    function: _Function
    id: str = ""


class _Message(Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Line(Struct):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: Raw = ABSENT
    eval_count: Raw = ABSENT
    error: Raw = ABSENT
    model: str = ""


_line = msgspec.json.Decoder(_Line)
_count = msgspec.json.Decoder(int)


class _Lines:
    """Reads the lines of one stream. The last one says `done`, and bears finish and usage too."""

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.usage: Usage | None = None
        self._tools = 0

    def read(self, event: Event) -> Delta | None:
        line = read_reply(_line, event.data or b"")
        if is_there(line.error):
            raise read_failure(200, {}, event.data or b"")
        message = line.message or _Message()
        tools = _read_tools(message, self._tools)
        self._tools += len(tools)
        finish = None
        if line.done:
            self.done = self.finished = True
            finish = _read_finish(line.done_reason, self._tools > 0)
            self.usage = _read_usage(line)
        return Delta(
            message.content or "",
            message.thinking or "",
            tools=tools,
            finish=finish,
            usage=self.usage,
            raw=event.raw,
        )


def _read_tools(message: _Message, first: int) -> tuple[ToolPiece, ...]:
    return tuple(
        ToolPiece(
            position,
            call.id or f"call_{position}",
            call.function.name,
            bytes(call.function.arguments).decode() if is_there(call.function.arguments) else "{}",
        )
        for position, call in enumerate(message.tool_calls or (), first)
    )


def _read_finish(reason: str | None, tools: bool) -> Finish:
    finish = _FINISHES.get(reason or "stop", "other")
    return "tools" if tools and finish == "stop" else finish


def _read_usage(line: _Line) -> Usage | None:
    if not is_there(line.prompt_eval_count) or not is_there(line.eval_count):
        return None
    try:
        return sane(Usage(input=_count.decode(line.prompt_eval_count), output=_count.decode(line.eval_count)))
    except msgspec.DecodeError:
        return None


def _write_messages(messages: Sequence[Message]) -> list[dict[str, object]]:
    names: dict[str, str] = {}
    written: list[dict[str, object]] = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolUse):
                names[part.id] = part.name
            elif isinstance(part, ToolResult):
                written.append(_write_result(part, names.get(part.id, "")))
        if any(not isinstance(part, ToolResult) for part in message.parts) or not message.parts:
            written.append(_write_message(message))
    return written


def _write_result(result: ToolResult, name: str) -> dict[str, object]:
    text = "\n".join(part.text for part in result.content if isinstance(part, Text))
    images = [_write_image(part) for part in result.content if isinstance(part, Image)]
    written: dict[str, object] = {"role": "tool", "content": text}
    if name:
        written["tool_name"] = name
    if images:
        written["images"] = images
    return written


def _write_message(message: Message) -> dict[str, object]:
    texts: list[str] = []
    images: list[str] = []
    calls: list[dict[str, object]] = []
    for part in message.parts:
        match part:
            case Text(text=text) | Refusal(text=text):
                texts.append(text)
            case Image():
                images.append(_write_image(part))
            case ToolUse(name=name, arguments=arguments):
                calls.append({"function": {"name": name, "arguments": tool_input(arguments)}})
            case Thinking() | ToolResult():
                pass  # thinking of earlier turns is not sent; results stand in messages of their own
            case _:
                raise cannot_say("Ollama", type(part).__name__.lower())
    role = message.role if message.role != "tool" else "user"
    written: dict[str, object] = {"role": role, "content": ("\n\n" if role != "assistant" else "").join(texts)}
    if images:
        written["images"] = images
    if calls:
        written["tool_calls"] = calls
    return written


def _write_image(image: Image) -> str:
    if not image.data:
        raise cannot_say("Ollama", "an image by its URL")
    return image.data


def _write_format(output: OutputSchema | None) -> str | Raw | None:
    if output is None:
        return None
    return output.schema if output.schema is not None else "json"


def _write_thinking(chat: Chat, target: Target) -> bool | str | None:
    """Models that can think do so unless told otherwise, and one that cannot refuses to be told; so only 'none'."""
    if chat.effort == "none":
        return False
    if chat.effort is not None and "thinking_levels" in target.quirks:
        return _LEVELS[chat.effort]
    return None


def _write_options(chat: Chat) -> dict[str, object]:
    options: dict[str, object] = {
        "num_predict": chat.max_tokens,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "top_k": chat.top_k,
        "stop": chat.stop or None,
        "seed": chat.seed,
        "frequency_penalty": chat.frequency_penalty,
        "presence_penalty": chat.presence_penalty,
    }
    return {name: value for name, value in options.items() if value is not None}


OLLAMA = Dialect(
    name="ollama",
    path=_path,
    auth=_auth,
    encode_call=encode_call,
    pass_call=pass_call,
    decode_answer=decode_answer,
    decoder=decoder,
    decode_error=read_failure,
    models_path="/api/tags",
)
