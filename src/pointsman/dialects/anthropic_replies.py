"""Whole replies in the Anthropic messages format, their usage, and errors."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from ..core import Answer, BrokenReply, ContextTooLong, Finish, PointsmanError, ToolUse, Usage
from .failures import clean, read_failure
from .openai_replies import sane
from .wire import ABSENT, is_there, read_reply, tool_input, write

FINISHES: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "refusal",
    "pause_turn": "pause",
}
_FINISH_WORDS: dict[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tools": "tool_use",
    "filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
    "other": "end_turn",
}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class WireBlock(Struct, gc=False):
    """A content block of a reply: which field counts depends on `type`."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = ABSENT


class CacheCreation(Struct, gc=False):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(Struct, gc=False):
    thinking_tokens: int | None = None


class WireUsage(Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    service_tier: str | None = None


def decode_answer(body: bytes) -> Answer:
    """A whole reply. Raises BrokenReply, or the error that stands in its place."""
    whole = read_reply(_whole, body)
    if whole.type == "error" or is_there(whole.error):
        raise read_failure(200, {}, body)
    if whole.content is None:
        raise BrokenReply("The upstream answered without any content in its answer.")
    text = reasoning = signature = redacted = ""
    tools: list[ToolUse] = []
    for block in whole.content:
        if block.type == "text":
            text += block.text or ""
        elif block.type == "thinking":
            reasoning += block.thinking or ""
        elif block.type == "tool_use":
            tools.append(ToolUse(block.id or f"call_{len(tools)}", block.name or "", input_text(block)))
        signature = block.signature or signature
        redacted = block.data or redacted
    return Answer(
        text=text,
        reasoning=reasoning,
        signature=signature,
        redacted=redacted,
        tools=tuple(tools),
        finish=FINISHES.get(whole.stop_reason or "end_turn", "other"),
        usage=as_usage(read_counts(whole.usage)),
        id=whole.id or "",
        model=whole.model or "",
        raw=body,
    )


def input_text(block: WireBlock) -> str:
    """A tool's arguments as JSON text; '{}' where the block gives none."""
    return bytes(block.input).decode() if is_there(block.input) else "{}"


def read_counts(raw: Raw) -> WireUsage | None:
    """The counts as they stand; None where they are no counts at all."""
    if not is_there(raw):
        return None
    try:
        return _usage.decode(raw)
    except msgspec.DecodeError:
        return None


def as_usage(counts: WireUsage | None) -> Usage | None:
    """Disjoint counts. Here `input_tokens` leaves the cache out already; `output_tokens` includes what was thought."""
    if counts is None or counts.input_tokens is None:
        return None
    short, long = counts.cache_creation_input_tokens, 0
    if counts.cache_creation is not None:
        long = counts.cache_creation.ephemeral_1h_input_tokens or 0
        short = counts.cache_creation.ephemeral_5m_input_tokens if short is None else short - long
    details = counts.output_tokens_details
    thought = (details.thinking_tokens or 0) if details is not None else 0
    return sane(
        Usage(
            input=counts.input_tokens,
            cache_read=counts.cache_read_input_tokens or 0,
            cache_write=short or 0,
            cache_write_1h=long,
            output=(counts.output_tokens or 0) - thought,
            reasoning=thought,
            service_tier=counts.service_tier or "",
        )
    )


def encode_answer(answer: Answer, *, id: str, model: str, created: int) -> bytes:
    """The body of a whole reply. `created` has no place in this format."""
    content: list[dict[str, object]] = []
    if answer.reasoning or answer.signature:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": answer.signature})
    if answer.redacted:
        content.append({"type": "redacted_thinking", "data": answer.redacted})
    if answer.text or answer.refusal:
        content.append({"type": "text", "text": answer.text + answer.refusal})
    content.extend(
        {"type": "tool_use", "id": tool.id, "name": tool.name, "input": tool_input(tool.arguments)}
        for tool in answer.tools
    )
    return write(
        {
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": "refusal" if answer.refusal else finish_word(answer.finish),
            "stop_sequence": None,
            "usage": write_usage(answer.usage or Usage()),
        }
    )


def finish_word(finish: Finish | None) -> str:
    return _FINISH_WORDS[finish or "stop"]


def write_usage(usage: Usage) -> dict[str, object]:
    """Anthropic's counts: the cache beside the input, the thinking within the output."""
    written: dict[str, object] = {
        "input_tokens": usage.input,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "output_tokens": usage.output_tokens,
    }
    if usage.cache_write_1h:
        written["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    if usage.reasoning:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return written


def encode_error(error: PointsmanError) -> bytes:
    """The body of an error."""
    return write(error_object(error))


def error_object(error: PointsmanError) -> dict[str, object]:
    message = clean(error.message, limit=8000, lines=True)
    if isinstance(error, ContextTooLong) and "prompt is too long" not in message:
        message = f"prompt is too long: {message}"  # the words by which clients know that they must compact
    kind = _ERROR_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message, "kind": error.kind}}


class _Whole(Struct, gc=False):
    content: list[WireBlock] | None = None
    stop_reason: str | None = None
    usage: Raw = ABSENT
    type: str = ""
    error: Raw = ABSENT
    id: str | None = None
    model: str | None = None


_whole = msgspec.json.Decoder(_Whole)
_usage: msgspec.json.Decoder[WireUsage | None] = msgspec.json.Decoder(WireUsage | None)
