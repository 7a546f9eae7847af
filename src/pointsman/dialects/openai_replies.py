"""Whole replies in the OpenAI chat format, their usage, and errors."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

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
from .wire import ABSENT, MAX_COUNT, is_there, read_reply, write

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


class Google(Struct):
    thought_signature: str = ""


class ExtraContent(Struct):
    google: Google | None = None


class CalledFunction(Struct):
    name: str | None = None
    arguments: Raw = ABSENT


class WireToolCall(Struct):
    """A tool call, or a piece of one. Servers leave out what they like."""

    index: int | None = None
    id: str | None = None
    function: CalledFunction | None = None
    extra_content: ExtraContent | None = None


class WireMessage(Struct):
    """The message of a whole reply, or the delta of a chunk."""

    content: str | list[Content] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[WireToolCall] | None = None


def decode_answer(body: bytes) -> Answer:
    """A whole reply. Raises BrokenReply, or the error that stands in its place."""
    whole = read_reply(_whole, body)
    if is_there(whole.error):
        raise read_failure(200, {}, body)
    if not whole.choices:
        raise BrokenReply("The upstream answered without any choice in its answer.")
    choice = whole.choices[0]
    text, thought = split_content(choice.message.content)
    tools = tuple(_read_tool(call, i) for i, call in enumerate(choice.message.tool_calls or ()))
    return Answer(
        text=text,
        reasoning=choice.message.reasoning_content or choice.message.reasoning or thought,
        refusal=choice.message.refusal or "",
        tools=tools,
        finish=read_finish(choice.finish_reason or "stop", bool(tools)),
        usage=read_usage(whole.usage, whole.service_tier),
        id=whole.id or "",
        model=whole.model or "",
        raw=body,
    )


def split_content(content: str | list[Content] | None) -> tuple[str, str]:
    """(text, reasoning) of a message's content."""
    if content is None or isinstance(content, str):
        return content or "", ""
    thoughts = (piece.text for part in content for piece in part.thinking or () if piece.text)
    return "".join(part.text for part in content if part.text), "".join(thoughts)


def read_arguments(arguments: Raw) -> str:
    """The JSON text of a tool's arguments: most servers send it as a string, a few as the object itself."""
    if not is_there(arguments):
        return ""
    data = bytes(arguments)
    return read_reply(_string, data) if data.startswith(b'"') else data.decode()


def read_finish(reason: str, tools: bool) -> Finish:
    """Some servers say 'stop' where they stopped for tools."""
    finish = FINISHES.get(reason, "other")
    return "tools" if tools and finish == "stop" else finish


def read_usage(raw: Raw, service_tier: str | None) -> Usage | None:
    """Disjoint counts; None where the upstream gave none, or none that can be true.

    xAI alone counts reasoning beside `completion_tokens` and not within: its total tells.
    """
    if not is_there(raw):
        return None
    try:
        counts = _usage.decode(raw)
    except msgspec.DecodeError:
        return None
    if counts is None or counts.prompt_tokens is None:
        return None
    details = counts.prompt_tokens_details or _PromptDetails()
    output_details = counts.completion_tokens_details or _CompletionDetails()
    completion = counts.completion_tokens or 0
    reasoning = output_details.reasoning_tokens or 0
    beside = bool(reasoning) and counts.total_tokens == counts.prompt_tokens + completion + reasoning
    read = details.cached_tokens or counts.prompt_cache_hit_tokens or 0
    written = details.cache_write_tokens or 0
    return sane(
        Usage(
            input=counts.prompt_tokens - read - written,
            cache_read=read,
            cache_write=written,
            output=completion if beside else completion - reasoning,
            reasoning=reasoning,
            service_tier=service_tier or "",
        )
    )


def sane(usage: Usage) -> Usage | None:
    """None for counts that cannot be true: an unknown bill is better than a wrong one."""
    counts = (usage.input, usage.cache_read, usage.cache_write, usage.cache_write_1h, usage.output, usage.reasoning)
    return usage if min(counts) >= 0 and max(counts) <= MAX_COUNT else None


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


class _Choice(Struct):
    message: WireMessage
    finish_reason: str | None = None


class _Whole(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = ABSENT
    error: Raw = ABSENT
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None


_whole = msgspec.json.Decoder(_Whole)
_usage: msgspec.json.Decoder[_Usage | None] = msgspec.json.Decoder(_Usage | None)
_string = msgspec.json.Decoder(str)


def _read_tool(call: WireToolCall, position: int) -> ToolUse:
    function = call.function or CalledFunction()
    google = call.extra_content.google if call.extra_content else None
    return ToolUse(
        id=call.id or f"call_{position}",
        name=function.name or "",
        arguments=read_arguments(function.arguments),
        signature=google.thought_signature if google else "",
    )
