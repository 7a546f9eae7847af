"""Whole replies in the OpenAI chat format, their usage, and errors."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from ..core import (
    Answer,
    BrokenReply,
    ContextTooLong,
    Finish,
    InvalidCall,
    PointsmanError,
    ToolUse,
    Usage,
)
from .failures import clean, read_failure
from .wire import ABSENT, MAX_COUNT, STRING, is_there, read_reply, write

FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filter",
}
_FINISH_WORDS: dict[Finish, str] = {
    "stop": "stop",
    "length": "length",
    "tools": "tool_calls",
    "filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
    "other": "stop",
}
_ERROR_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


class Content(Struct):
    """A piece of content where a server sends a list instead of a string (Mistral's reasoning models)."""

    text: str | None = None
    thinking: list[Content] | None = None


class Google(Struct, gc=False):
    thought_signature: str = ""


class ExtraContent(Struct, gc=False):
    google: Google | None = None


class CalledFunction(Struct, gc=False):
    name: str | None = None
    arguments: Raw = ABSENT


class WireToolCall(Struct, gc=False):
    """A tool call, or a piece of one. Servers leave out what they like."""

    index: int | None = None
    id: str | None = None
    function: CalledFunction | None = None
    extra_content: ExtraContent | None = None


class WireMessage(Struct, gc=False):
    """The message of a whole reply, or the delta of a chunk."""

    content: str | list[Content] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[WireToolCall] | None = None


Tokens = Annotated[int, Meta(ge=0, le=MAX_COUNT)]


class PromptDetails(Struct, gc=False):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class CompletionDetails(Struct, gc=False):
    reasoning_tokens: Tokens | None = None


class WireUsage(Struct, gc=False):
    """Counts, of which none can be true that is below 0 or past MAX_COUNT."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Tokens | None = None


def decode_answer(body: bytes) -> Answer:
    """A whole reply. Raises BrokenReply, or the error that stands in its place."""
    whole, counts = _read_whole(body)
    if whole.error is not ABSENT and is_there(whole.error):
        raise read_failure(200, {}, body)
    if not whole.choices:
        raise BrokenReply("The upstream answered without any choice in its answer.")
    choice = whole.choices[0]
    message = choice.message
    text, thought = split_content(message.content)
    tools = _read_tools(message.tool_calls) if message.tool_calls else ()
    return Answer(
        text=text,
        reasoning=message.reasoning_content or message.reasoning or thought,
        refusal=message.refusal or "",
        tools=tools,
        finish=read_finish(choice.finish_reason or "stop", bool(tools)),
        usage=as_usage(counts, whole.service_tier),
        id=whole.id or "",
        model=whole.model or "",
        raw=body,
    )


def split_content(content: str | list[Content] | None) -> tuple[str, str]:
    """(text, reasoning) of a message's content."""
    if isinstance(content, str):
        return content, ""
    if content is None:
        return "", ""
    thoughts = (piece.text for part in content for piece in part.thinking or () if piece.text)
    return "".join(part.text for part in content if part.text), "".join(thoughts)


def read_arguments(arguments: Raw) -> str:
    """The JSON text of a tool's arguments: most servers send it as a string, a few as the object itself."""
    if not is_there(arguments):
        return ""
    data = bytes(arguments)
    return read_reply(STRING, data) if data.startswith(b'"') else data.decode()


def read_finish(reason: str, tools: bool) -> Finish:
    """Some servers say 'stop' where they stopped for tools."""
    finish = FINISHES.get(reason, "other")
    return "tools" if tools and finish == "stop" else finish


def read_usage(raw: Raw, service_tier: str | None) -> Usage | None:
    """As `as_usage`; None where that is no object with counts, too."""
    try:
        return as_usage(_counts.decode(raw), service_tier)
    except msgspec.DecodeError:
        return None


def as_usage(counts: WireUsage | None, service_tier: str | None) -> Usage | None:
    """Disjoint counts; None where the upstream gave none, or none that can be true.

    xAI alone counts reasoning beside `completion_tokens` and not within: its total tells.
    """
    if counts is None or counts.prompt_tokens is None:
        return None
    prompt, output = counts.prompt_tokens, counts.completion_tokens or 0
    read = written = reasoning = 0
    if counts.prompt_tokens_details is not None:
        read = counts.prompt_tokens_details.cached_tokens or 0
        written = counts.prompt_tokens_details.cache_write_tokens or 0
    if counts.completion_tokens_details is not None:
        reasoning = counts.completion_tokens_details.reasoning_tokens or 0
    read = read or counts.prompt_cache_hit_tokens or 0
    if reasoning and counts.total_tokens != prompt + output + reasoning:
        output -= reasoning
    if prompt < read + written or output < 0:
        return None
    return Usage(
        input=prompt - read - written,
        cache_read=read,
        cache_write=written,
        output=output,
        reasoning=reasoning,
        service_tier=service_tier or "",
    )


def sane(usage: Usage) -> Usage | None:
    """None for counts that cannot be true: an unknown bill is better than a wrong one."""
    can_be_true = (
        0 <= usage.input <= MAX_COUNT
        and 0 <= usage.cache_read <= MAX_COUNT
        and 0 <= usage.cache_write <= MAX_COUNT
        and 0 <= usage.cache_write_1h <= MAX_COUNT
        and 0 <= usage.output <= MAX_COUNT
        and 0 <= usage.reasoning <= MAX_COUNT
    )
    return usage if can_be_true else None


def encode_answer(answer: Answer, *, id: str, model: str, created: int) -> bytes:
    """The body of a whole reply."""
    message: dict[str, object] = {
        "role": "assistant",
        "content": answer.text if answer.text or not answer.tools else None,
        "refusal": answer.refusal or None,
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tools:
        message["tool_calls"] = [write_tool_call(tool) for tool in answer.tools]
    body: dict[str, object] = {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_word(answer.finish)}],
    }
    if answer.usage is not None:
        body["usage"] = write_usage(answer.usage)
    return write(body)


def finish_word(finish: Finish | None) -> str:
    return _FINISH_WORDS[finish or "stop"]


def write_tool_call(tool: ToolUse) -> dict[str, object]:
    call: dict[str, object] = {
        "id": tool.id,
        "type": "function",
        "function": {"name": tool.name, "arguments": tool.arguments or "{}"},
    }
    if tool.signature:
        call["extra_content"] = write_signature(tool.signature)
    return call


def write_signature(signature: str) -> dict[str, object]:
    """Where Google's own OpenAI-compatible endpoint puts a thought's signature, and wants it back."""
    return {"google": {"thought_signature": signature}}


def write_usage(usage: Usage) -> dict[str, object]:
    prompt: dict[str, int] = {"cached_tokens": usage.cache_read}
    if usage.cache_write or usage.cache_write_1h:
        prompt["cache_write_tokens"] = usage.cache_write + usage.cache_write_1h
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def encode_error(error: PointsmanError) -> bytes:
    """The body of an error."""
    return write({"error": error_object(error)})


def error_object(error: PointsmanError) -> dict[str, object]:
    return {
        "message": clean(error.message, limit=8000, lines=True),
        "type": _ERROR_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error"),
        "param": error.param if isinstance(error, InvalidCall) else None,
        "code": "context_length_exceeded" if isinstance(error, ContextTooLong) else error.kind,
    }


class _Choice(Struct, gc=False):
    message: WireMessage
    finish_reason: str | None = None


class _Uncounted(Struct, gc=False):
    choices: list[_Choice] | None = None
    error: Raw = ABSENT
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None


class _Whole(_Uncounted, gc=False):
    usage: WireUsage | None = None


_whole = msgspec.json.Decoder(_Whole)
_uncounted = msgspec.json.Decoder(_Uncounted)
_counts: msgspec.json.Decoder[WireUsage | None] = msgspec.json.Decoder(WireUsage | None)


def _read_whole(body: bytes) -> tuple[_Uncounted, WireUsage | None]:
    """Counts that cannot be read are none: the answer stands without them."""
    try:
        whole = read_reply(_whole, body)
    except BrokenReply:
        return read_reply(_uncounted, body), None
    return whole, whole.usage


def _read_tools(calls: list[WireToolCall]) -> tuple[ToolUse, ...]:
    return tuple(_read_tool(call, i) for i, call in enumerate(calls))


def _read_tool(call: WireToolCall, position: int) -> ToolUse:
    function = call.function or CalledFunction()
    google = call.extra_content.google if call.extra_content else None
    return ToolUse(
        id=call.id or f"call_{position}",
        name=function.name or "",
        arguments=read_arguments(function.arguments),
        signature=google.thought_signature if google else "",
    )
