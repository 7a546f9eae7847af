"""Chats written as calls in the Anthropic messages format."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from ..core import (
    Chat,
    Document,
    Image,
    Message,
    OutputSchema,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from .anthropic_quirks import Reasoning, plan_reasoning
from .quirks import Target
from .wire import cannot_say, tool_input, write

_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_CACHED = {"cache_control": {"type": "ephemeral"}}


def encode_call(chat: Chat, target: Target, stream: bool) -> bytes:
    """The body that asks `target` for this chat. Raises CallRejected for what the format cannot say."""
    if chat.choices > 1:
        raise cannot_say("Anthropic", f"{chat.choices} choices in one reply")
    reasoning = _plan_reasoning(chat, target)
    system = [
        _write_text(part)
        for message in chat.messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text) and part.text
    ]
    body: dict[str, object] = {
        "model": target.model,
        "max_tokens": reasoning.max_tokens,
        "system": system or None,
        "messages": _write_messages(chat.messages),
        "stop_sequences": chat.stop or None,
        "tools": [_write_tool(tool) for tool in chat.tools] or None,
        "tool_choice": _write_choice(chat),
        "output_config": _write_output(chat.output, reasoning.effort),
        "thinking": reasoning.thinking,
        "metadata": {"user_id": chat.user} if chat.user else None,
        "stream": True if stream else None,
        **({} if reasoning.budget or "no_sampling" in target.quirks else _write_sampling(chat)),
    }
    return write({name: value for name, value in body.items() if value is not None})


def _plan_reasoning(chat: Chat, target: Target) -> Reasoning:
    forced = chat.tool_choice is not None and chat.tool_choice.mode in ("required", "named")
    return plan_reasoning(chat.effort, chat.thinking_tokens or 0, chat.max_tokens, target.quirks, forced=forced)


def _write_sampling(chat: Chat) -> dict[str, object]:
    """Temperatures end at 1 here, and newer models take one of the two alone. With thinking, neither."""
    temperature = None if chat.temperature is None else min(chat.temperature, 1.0)
    return {
        "temperature": temperature,
        "top_p": chat.top_p if temperature is None else None,
        "top_k": chat.top_k,
    }


def _write_messages(messages: Sequence[Message]) -> list[dict[str, object]]:
    """Neighbours of the same role become one message; results of tools are the user's."""
    ids = _ToolIds()
    written: list[tuple[str, list[dict[str, object]]]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts for block in _write_part(part, ids)]
        if not blocks:
            continue
        if written and written[-1][0] == role:
            written[-1][1].extend(blocks)
        else:
            written.append((role, blocks))
    return [{"role": role, "content": _results_first(blocks)} for role, blocks in written]


def _results_first(blocks: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


class _ToolIds:
    """Ids as Anthropic wants them: of few characters, and none twice in a conversation."""

    def __init__(self) -> None:
        self._latest: dict[str, str] = {}
        self._used: set[str] = set()

    def of_use(self, id: str) -> str:
        base = _NOT_IN_IDS.sub("_", id) or "call"
        given, again = base, 2
        while given in self._used:
            given, again = f"{base}_{again}", again + 1
        self._used.add(given)
        self._latest[id] = given
        return given

    def of_result(self, id: str) -> str:
        return self._latest.get(id) or _NOT_IN_IDS.sub("_", id) or "call"


def _write_part(part: Part, ids: _ToolIds) -> list[dict[str, object]]:
    match part:
        case Text(text=text):
            return [_write_text(part)] if text else []
        case Refusal(text=text):
            return [{"type": "text", "text": text}] if text else []
        case Image():
            return [_write_image(part)]
        case Document():
            return [_write_document(part)]
        case ToolUse(id=id, name=name, arguments=arguments):
            return [{"type": "tool_use", "id": ids.of_use(id), "name": name, "input": tool_input(arguments)}]
        case ToolResult():
            return [_write_result(part, ids)]
        case Thinking(text=text, signature=signature) if signature:
            return [{"type": "thinking", "thinking": text, "signature": signature}]
        case Thinking(redacted=data) if data:
            return [{"type": "redacted_thinking", "data": data}]
        case Thinking():
            return []  # unsigned: another provider's
    raise cannot_say("Anthropic", type(part).__name__.lower())


def _write_text(part: Text) -> dict[str, object]:
    return {"type": "text", "text": part.text, **(_CACHED if part.cached else {})}


def _write_image(image: Image) -> dict[str, object]:
    if image.url:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    source = {"type": "base64", "media_type": image.media_type, "data": image.data}
    return {"type": "image", "source": source}


def _write_document(document: Document) -> dict[str, object]:
    title: dict[str, object] = {"title": document.name} if document.name else {}
    if document.url:
        return {"type": "document", "source": {"type": "url", "url": document.url}, **title}
    if document.media_type == "application/pdf":
        source = {"type": "base64", "media_type": document.media_type, "data": document.data}
        return {"type": "document", "source": source, **title}
    if document.media_type == "text/plain":
        source = {"type": "text", "media_type": "text/plain", "data": _plain_text(document.data)}
        return {"type": "document", "source": source, **title}
    raise cannot_say("Anthropic", f"a document of type {document.media_type!r}")


def _plain_text(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise cannot_say("Anthropic", "a text document that is not base64 of UTF-8") from None


def _write_result(result: ToolResult, ids: _ToolIds) -> dict[str, object]:
    content = [_write_text(part) if isinstance(part, Text) else _write_image(part) for part in result.content]
    kept = [block for block in content if block.get("text") != ""]
    written: dict[str, object] = {"type": "tool_result", "tool_use_id": ids.of_result(result.id), "content": kept}
    if result.is_error:
        written["is_error"] = True
    return written


def _write_tool(tool: Tool) -> dict[str, object]:
    written: dict[str, object] = {"name": tool.name, "input_schema": tool.schema}
    if tool.description:
        written["description"] = tool.description
    if tool.strict:
        written["strict"] = True
    return written


def _write_choice(chat: Chat) -> dict[str, object] | None:
    if not chat.tools:
        return None
    mode = chat.tool_choice.mode if chat.tool_choice else "auto"
    if chat.tool_choice is None and chat.parallel_tools is not False:
        return None
    written: dict[str, object] = {"type": {"required": "any", "named": "tool"}.get(mode, mode)}
    if mode == "named" and chat.tool_choice is not None:
        written["name"] = chat.tool_choice.name
    if mode != "none" and chat.parallel_tools is not None:
        written["disable_parallel_tool_use"] = not chat.parallel_tools
    return written


def _write_output(output: OutputSchema | None, effort: str | None) -> dict[str, object] | None:
    config: dict[str, object] = {}
    if effort is not None:
        config["effort"] = effort
    if output is not None:
        if output.schema is None:
            raise cannot_say("Anthropic", "JSON without a schema")
        config["format"] = {"type": "json_schema", "schema": output.schema}
    return config or None
