"""Calls in the OpenAI chat format, bent to what a target takes: those that pass and those that we write alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256

import msgspec
from msgspec import Raw, Struct

from .efforts import EFFORTS, spoken_effort
from .quirks import Quirk
from .wire import ABSENT, LIST_OF_FIELDS, Fields, is_there, read_call, write

_LEFT_OUT: Mapping[Quirk, tuple[str, ...]] = {
    "no_penalties": ("frequency_penalty", "presence_penalty"),
    "no_stream_options": ("stream_options",),
}
_RENAMED: Mapping[Quirk, tuple[str, str]] = {
    "max_completion_tokens": ("max_tokens", "max_completion_tokens"),
    "max_tokens_only": ("max_completion_tokens", "max_tokens"),
    "random_seed": ("seed", "random_seed"),
}
_SAMPLING = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty")
_KNOWN = frozenset(
    [
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "stop",
        "seed",
        "random_seed",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "frequency_penalty",
        "presence_penalty",
        "n",
        "prediction",
        "metadata",
        "prompt_mode",
        "reasoning_effort",
        "safe_prompt",
        "guardrails",
        "thinking",
    ]
)
"""What `strict_fields` lets through: Mistral's own fields, and those that another quirk takes out or renames."""

_KNOWN_IN_MESSAGES = frozenset(["role", "content", "tool_calls", "tool_call_id", "prefix"])
_KNOWN_IN_TOOL_CALLS = frozenset(["id", "type", "function", "index"])
_ANY_OBJECT = Raw(b'{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object"}}}')


def bend(fields: Fields, quirks: frozenset[Quirk]) -> None:
    """Change a body in place. What would be refused is said in other words, or left out where it only advises."""
    for quirk in quirks:
        for name in _LEFT_OUT.get(quirk, ()):
            fields.pop(name, None)
        if quirk in _RENAMED:
            _rename(fields, *_RENAMED[quirk])
    if "no_sampling" in quirks and _text(fields.get("reasoning_effort")) != "none":
        for name in _SAMPLING:
            fields.pop(name, None)
    if "no_parallel_tools" in quirks and bytes(fields.get("parallel_tool_calls", b"")) == b"true":
        del fields["parallel_tool_calls"]
    if "reasoning_effort" in fields:
        _bend_effort(fields, quirks)
    if "no_named_tool" in quirks:
        _require_alone(fields)
    if "no_json_object" in quirks and b'"json_object"' in bytes(fields.get("response_format", b"")):
        fields["response_format"] = _ANY_OBJECT
    if "messages" in fields:
        fields["messages"] = _bend_messages(fields["messages"], quirks)
    if "strict_fields" in quirks:
        _keep(fields, _KNOWN)


def _rename(fields: Fields, old: str, new: str) -> None:
    value = fields.pop(old, None)
    if value is not None and is_there(value) and not is_there(fields.get(new, ABSENT)):
        fields[new] = value


def _bend_effort(fields: Fields, quirks: frozenset[Quirk]) -> None:
    word = _text(fields["reasoning_effort"])
    effort = EFFORTS.get(word)
    if effort is None:
        return  # a word of the provider's own, or none at all
    if effort == "none" and "thinking_switch" in quirks:
        del fields["reasoning_effort"]
        fields["thinking"] = Raw(b'{"type":"disabled"}')
        return
    spoken = spoken_effort(effort, quirks)
    if spoken is None:
        del fields["reasoning_effort"]
    elif spoken != effort:
        fields["reasoning_effort"] = Raw(write(spoken))


class _Named(Struct):
    name: str = ""


class _Choice(Struct):
    """A tool, or the choice of one."""

    function: _Named | None = None


def _require_alone(fields: Fields) -> None:
    choice = bytes(fields.get("tool_choice", b""))
    if not choice.startswith(b"{") or "tools" not in fields:
        return
    wanted = read_call(_choice, choice).function
    tools = read_call(_list_of_raws, bytes(fields["tools"]))
    alone = [tool for tool in tools if wanted and read_call(_choice, bytes(tool)).function == wanted]
    if alone:
        fields["tools"] = Raw(write(alone))
        fields["tool_choice"] = Raw(b'"required"')


def _bend_messages(messages: Raw, quirks: frozenset[Quirk]) -> Raw:
    data = bytes(messages)
    bends = [bend for quirk, (sign, bend) in _IN_MESSAGES.items() if quirk in quirks and sign in data]
    if not bends:
        return messages
    bent = read_call(LIST_OF_FIELDS, data)
    for message in bent:
        for change in bends:
            change(message)
    return Raw(write(bent))


def _leave_out_name(message: Fields) -> None:
    message.pop("name", None)


def _say_system(message: Fields) -> None:
    if _text(message.get("role")) == "developer":
        message["role"] = Raw(b'"system"')


def _forget_reasoning(message: Fields) -> None:
    for name in ("reasoning_content", "reasoning", "reasoning_details"):
        message.pop(name, None)


def _give_reasoning_back(message: Fields) -> None:
    """Between messages of other models there may be none: a blank keeps the conversation servable."""
    if is_there(message.get("tool_calls", ABSENT)) and not _text(message.get("reasoning_content")):
        message["reasoning_content"] = Raw(write(_text(message.pop("reasoning", None)) or " "))


def _shorten_ids(message: Fields) -> None:
    if id := _text(message.get("tool_call_id")):
        message["tool_call_id"] = Raw(write(_nine_letters(id)))
    if not is_there(message.get("tool_calls", ABSENT)):
        return
    calls = read_call(LIST_OF_FIELDS, bytes(message["tool_calls"]))
    for call in calls:
        call["id"] = Raw(write(_nine_letters(_text(call.get("id")))))
    message["tool_calls"] = Raw(write(calls))


def _nine_letters(id: str) -> str:
    if len(id) == 9 and id.isascii() and id.isalnum():
        return id
    return sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def _keep_known(message: Fields) -> None:
    """The name of a tool's result is known; that of who speaks is not."""
    known = _KNOWN_IN_MESSAGES | {"name"} if _text(message.get("role")) == "tool" else _KNOWN_IN_MESSAGES
    _keep(message, known)
    if bytes(message.get("content", b"")).startswith(b"["):
        parts = read_call(LIST_OF_FIELDS, bytes(message["content"]))
        for part in parts:
            part.pop("cache_control", None)
        message["content"] = Raw(write(parts))
    if is_there(message.get("tool_calls", ABSENT)):
        calls = read_call(LIST_OF_FIELDS, bytes(message["tool_calls"]))
        for call in calls:
            _keep(call, _KNOWN_IN_TOOL_CALLS)
        message["tool_calls"] = Raw(write(calls))


_IN_MESSAGES: Mapping[Quirk, tuple[bytes, Callable[[Fields], None]]] = {
    "no_message_names": (b'"name"', _leave_out_name),
    "no_developer_role": (b'"developer"', _say_system),
    "no_reasoning_history": (b'"reasoning', _forget_reasoning),
    "reasoning_back": (b'"tool_calls"', _give_reasoning_back),
    "nine_letter_tool_ids": (b'"tool_call', _shorten_ids),
    "strict_fields": (b"", _keep_known),
}
"""What each changes in a message, and the bytes without which there is nothing to change."""

_choice = msgspec.json.Decoder(_Choice)
_string: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_list_of_raws: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])


def _keep(fields: Fields, known: frozenset[str]) -> None:
    for name in fields.keys() - known:
        del fields[name]


def _text(raw: Raw | None) -> str:
    """The string that a field holds; '' where it holds none."""
    return read_call(_string, bytes(raw)) if raw is not None and bytes(raw).startswith(b'"') else ""
