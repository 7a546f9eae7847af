"""The question in an envelope of JSON: `{"context": …, "user_query": …}`, or messages as APIs take them."""

from __future__ import annotations

import msgspec

LONGEST = 200_000
"""Characters of an envelope that is opened."""


class Turn(msgspec.Struct, frozen=True):
    """A message of a conversation in an envelope."""

    role: object = None
    content: object = None


class Envelope(msgspec.Struct, frozen=True):
    """What names a question in JSON, what names it most clearly first. Other fields are not looked at."""

    user_query: object = None
    user_question: object = None
    user_message: object = None
    user_input: object = None
    user_request: object = None
    question: object = None
    query: object = None
    prompt: object = None
    instruction: object = None
    task: object = None
    request: object = None
    message: object = None
    input: object = None
    messages: tuple[Turn, ...] = ()


def opened(text: str) -> str:
    """The question in an envelope; the text itself where it is none."""
    if text.startswith("```json\n") and text.endswith("\n```"):
        text = text[8:-4].strip()
    if len(text) > LONGEST or text[:1] not in ("{", "[") or text[-1:] not in ("}", "]"):
        return text
    try:
        if text[0] == "[":
            return _last_of_user(msgspec.json.decode(text, type=tuple[Turn, ...])) or text
        envelope = msgspec.json.decode(text, type=Envelope)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
    named = (getattr(envelope, name) for name in Envelope.__struct_fields__ if name != "messages")
    question = next((value for value in named if isinstance(value, str) and value.strip()), "")
    return question or _last_of_user(envelope.messages) or text


def _last_of_user(turns: tuple[Turn, ...]) -> str:
    return next((turn.content for turn in reversed(turns) if turn.role == "user" and isinstance(turn.content, str)), "")
