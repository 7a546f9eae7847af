"""Chats written as calls in the OpenAI chat format."""

from __future__ import annotations

from collections.abc import Sequence

from ..core import (
    Audio,
    Chat,
    Document,
    Image,
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
from .efforts import effort_of_budget
from .openai_quirks import bend
from .quirks import Target
from .wire import FIELDS, cannot_say, read_call, write


def encode_call(chat: Chat, target: Target, stream: bool) -> bytes:
    """The body that asks `target` for this chat. Raises CallRejected for a document that has only a URL."""
    body: dict[str, object] = {
        "model": target.model,
        "messages": _write_messages(chat.messages, reasoning="reasoning_back" in target.quirks),
        "max_tokens": chat.max_tokens,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "stop": chat.stop or None,
        "seed": chat.seed,
        "frequency_penalty": chat.frequency_penalty,
        "presence_penalty": chat.presence_penalty,
        "tools": [write_tool(tool) for tool in chat.tools] or None,
        "tool_choice": _write_choice(chat.tool_choice) if chat.tools else None,
        "parallel_tool_calls": chat.parallel_tools if chat.tools else None,
        "response_format": _write_output(chat.output),
        "reasoning_effort": chat.effort or effort_of_budget(chat.thinking_tokens),
        "n": chat.choices if chat.choices > 1 else None,
        "user": chat.user or None,
        "stream": True if stream else None,
        "stream_options": {"include_usage": True} if stream else None,
    }
    written = write({name: value for name, value in body.items() if value is not None})
    if not target.quirks:
        return written
    fields = read_call(FIELDS, written)
    bend(fields, target.quirks)
    return write(fields)


def write_tool(tool: Tool) -> dict[str, object]:
    """The definition of a tool, as OpenAI and Ollama want it."""
    function: dict[str, object] = {"name": tool.name, "parameters": tool.schema}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _write_messages(messages: Sequence[Message], *, reasoning: bool) -> list[dict[str, object]]:
    """`reasoning`: what was thought before a tool was called goes back too, unless it is signed for another."""
    written: list[dict[str, object]] = []
    images: list[Image] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        others = tuple(part for part in message.parts if not isinstance(part, ToolResult | Thinking))
        for result in results:
            texts = [part.text for part in result.content if isinstance(part, Text)]
            images.extend(part for part in result.content if isinstance(part, Image))
            written.append({"role": "tool", "tool_call_id": result.id, "content": "\n".join(texts)})
        if results and not others:
            continue
        _show_images(written, images)
        written.append(_write_message(message.role if message.role != "tool" else "user", others, message.name))
        thought = "".join(part.text for part in message.parts if isinstance(part, Thinking) and not part.signature)
        if reasoning and thought and "tool_calls" in written[-1]:
            written[-1]["reasoning_content"] = thought
    _show_images(written, images)
    return written


def _show_images(written: list[dict[str, object]], images: list[Image]) -> None:
    """A tool's result holds only text here, so its images follow all the results, as the user's."""
    if images:
        written.append({"role": "user", "content": [_write_part(image) for image in images]})
        images.clear()


def _write_message(role: Role, parts: Sequence[Part], name: str) -> dict[str, object]:
    message: dict[str, object] = {"role": role}
    if name:
        message["name"] = name
    calls = [_write_tool_call(part) for part in parts if isinstance(part, ToolUse)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    spoken = [part for part in parts if not isinstance(part, ToolUse | Refusal)]
    texts = [part.text for part in spoken if isinstance(part, Text)]
    if role == "user" and (len(texts) != 1 or len(spoken) != 1):
        message["content"] = [_write_part(part) for part in spoken] or ""
    elif len(texts) < len(spoken):
        raise cannot_say("OpenAI", f"images or files of the {role}")
    else:
        message["content"] = ("\n\n" if role == "system" else "").join(texts) if texts or not calls else None
    if refusals:
        message["refusal"] = "".join(refusals)
    if calls:
        message["tool_calls"] = calls
    return message


def _write_tool_call(call: ToolUse) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def _write_part(part: Part) -> dict[str, object]:
    match part:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Image(url=url, data=data, media_type=media_type):
            return {"type": "image_url", "image_url": {"url": url or f"data:{media_type};base64,{data}"}}
        case Audio(data=data, format=format):
            return {"type": "input_audio", "input_audio": {"data": data, "format": format}}
        case Document(data=data, media_type=media_type, name=name) if data:
            file = {"filename": name or "document", "file_data": f"data:{media_type};base64,{data}"}
            return {"type": "file", "file": file}
        case Document():
            raise cannot_say("OpenAI", "a document by its URL")
    raise cannot_say("OpenAI", f"{type(part).__name__} in a message's content")


def _write_choice(choice: ToolChoice | None) -> str | dict[str, object] | None:
    if choice is None or choice.mode != "named":
        return choice.mode if choice else None
    return {"type": "function", "function": {"name": choice.name}}


def _write_output(output: OutputSchema | None) -> dict[str, object] | None:
    if output is None:
        return None
    if output.schema is None:
        return {"type": "json_object"}
    schema: dict[str, object] = {"name": output.name, "schema": output.schema}
    if output.strict is not None:
        schema["strict"] = output.strict
    return {"type": "json_schema", "json_schema": schema}
