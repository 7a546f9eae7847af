"""Chats written as calls in the Gemini format (generateContent)."""

from __future__ import annotations

from collections.abc import Sequence

from ..core import (
    Audio,
    Chat,
    Document,
    Effort,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from .efforts import effort_of_budget, spoken_effort
from .quirks import Quirk, Target
from .wire import cannot_say, tool_input, write

_LEVELS: dict[Effort, str] = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
_BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 512,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 24_576,
}
_LEAST_BUDGET = 128
"""Tokens: a model that always thinks takes no fewer."""

_OLDER: frozenset[Quirk] = frozenset({"thinking_budgets", "no_thinking"})
_NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google documents for a tool call that has no signature, since another model made it."""


def encode_call(chat: Chat, target: Target, stream: bool) -> bytes:
    """The body that asks for this chat; the path names the model. Raises CallRejected for what cannot be said."""
    if chat.choices > 1:
        raise cannot_say("Gemini", f"{chat.choices} choices in one reply")
    system = [{"text": message.text} for message in chat.messages if message.role == "system" and message.text]
    body: dict[str, object] = {
        "systemInstruction": {"parts": system} if system else None,
        "contents": _write_contents(chat.messages, needs_signatures=not target.quirks & _OLDER),
        "tools": [{"functionDeclarations": [_write_tool(tool) for tool in chat.tools]}] if chat.tools else None,
        "toolConfig": _write_choice(chat.tool_choice) if chat.tools else None,
        "generationConfig": _write_config(chat, target.quirks) or None,
    }
    return write({name: value for name, value in body.items() if value is not None})


def _write_contents(messages: Sequence[Message], *, needs_signatures: bool) -> list[dict[str, object]]:
    """Neighbours of the same role become one content; results of tools are the user's."""
    names: dict[str, str] = {}
    written: list[tuple[str, list[dict[str, object]]]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        parts = [written for part in message.parts for written in _write_part(part, names, needs_signatures)]
        if not parts:
            continue
        if written and written[-1][0] == role:
            written[-1][1].extend(parts)
        else:
            written.append((role, parts))
    return [{"role": role, "parts": parts} for role, parts in written]


def _write_part(part: Part, names: dict[str, str], needs_signatures: bool) -> list[dict[str, object]]:
    match part:
        case Text(text=text) | Refusal(text=text):
            return [{"text": text}] if text else []
        case Image(data=data, media_type=media_type) | Document(data=data, media_type=media_type) if data:
            return [_inline(media_type, data)]
        case Image() | Document():
            raise cannot_say("Gemini", f"{'an image' if isinstance(part, Image) else 'a document'} by its URL")
        case Audio(data=data, format=format):
            return [_inline(f"audio/{format}", data)]
        case ToolUse():
            names[part.id] = part.name
            return [_write_tool_use(part, needs_signatures)]
        case ToolResult():
            return _write_result(part, names)
        case Thinking():
            return []  # another provider's, or of no use to this one
    raise cannot_say("Gemini", type(part).__name__.lower())


def _inline(media_type: str, data: str) -> dict[str, object]:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _write_tool_use(call: ToolUse, needs_signatures: bool) -> dict[str, object]:
    written: dict[str, object] = {"functionCall": {"name": call.name, "args": tool_input(call.arguments)}}
    if call.signature or needs_signatures:
        written["thoughtSignature"] = call.signature or _NO_SIGNATURE
    return written


def _write_result(result: ToolResult, names: dict[str, str]) -> list[dict[str, object]]:
    """A result is bound to its call by the function's name here, so the call must stand before it."""
    name = names.get(result.id)
    if name is None:
        raise cannot_say("Gemini", f"the result of a tool call ({result.id!r}) that is not in the conversation")
    text = "\n".join(part.text for part in result.content if isinstance(part, Text))
    response = {"error" if result.is_error else "result": text}
    written: list[dict[str, object]] = [{"functionResponse": {"name": name, "response": response}}]
    for part in result.content:
        if isinstance(part, Image):
            written.extend(_write_part(part, names, False))
    return written


def _write_tool(tool: Tool) -> dict[str, object]:
    written: dict[str, object] = {"name": tool.name, "parametersJsonSchema": tool.schema}
    if tool.description:
        written["description"] = tool.description
    return written


def _write_choice(choice: ToolChoice | None) -> dict[str, object] | None:
    if choice is None:
        return None
    if choice.mode == "named":
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [choice.name]}}
    return {"functionCallingConfig": {"mode": {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]}}


def _write_config(chat: Chat, quirks: frozenset[Quirk]) -> dict[str, object]:
    config: dict[str, object] = {
        "maxOutputTokens": chat.max_tokens,
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "topK": chat.top_k,
        "stopSequences": chat.stop or None,
        "seed": chat.seed,
        "frequencyPenalty": chat.frequency_penalty,
        "presencePenalty": chat.presence_penalty,
        "responseMimeType": "application/json" if chat.output else None,
        "responseJsonSchema": chat.output.schema if chat.output else None,
        "thinkingConfig": _write_thinking(chat, quirks),
    }
    return {name: value for name, value in config.items() if value is not None}


def _write_thinking(chat: Chat, quirks: frozenset[Quirk]) -> dict[str, object] | None:
    """How much to think, as this model can be told: a hint, so a model that knows none of it just answers."""
    tokens = chat.thinking_tokens
    effort = chat.effort or effort_of_budget(tokens)
    if effort is None or "no_thinking" in quirks:
        return None
    if "thinking_budgets" in quirks:
        budget = tokens if tokens is not None else _BUDGETS[effort]
        least = _LEAST_BUDGET if "no_disabled_thinking" in quirks else 0
        return {"thinkingBudget": max(budget, least), "includeThoughts": budget > 0}
    level = _LEVELS.get(spoken_effort(effort, quirks) or effort, "low")
    return {"thinkingLevel": level, "includeThoughts": effort != "none"}
