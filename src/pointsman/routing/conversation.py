"""Which words of a conversation ask, and whether it stands between a tool's call and what follows its result."""

from __future__ import annotations

import re

from ..core import Chat, Message, ToolResult, ToolUse
from .wrappers import READ_AT_MOST, unwrap

SHORT = 60
"""Characters: a message shorter than that ("yes", "commit it") is read with what was asked before it, unless it asks
something of its own."""
MOST_JOINED = 8
"""Short messages that are read together."""
MOST_WALKED = 200
"""Messages that are looked at, from the last one: those of an agent may all be tools' results."""


def question_of(chat: Chat) -> tuple[str, int]:
    """The text that asks, and its length before it was cut: the last user message that has any text, with those before
    it while it is short. A system prompt is none of it."""
    asked: list[str] = []
    chars = 0
    for message in chat.messages[: -MOST_WALKED - 1 : -1]:
        if message.role != "user":
            continue
        text = message.text
        question = unwrap(text)
        if not question:
            continue
        asked.insert(0, question)
        chars += len(text) if len(question) >= READ_AT_MOST else len(question)
        if chars >= SHORT or len(asked) >= MOST_JOINED or (not chat.tools and _stands_alone(question)):
            break
    return "\n".join(asked), chars + max(len(asked) - 1, 0)


def in_tool_loop(messages: tuple[Message, ...]) -> bool:
    """Whether a tool's result has come that its caller, a model, has not answered yet. Words that agents put beside the
    result (reminders, say) change nothing of it."""
    has_result = False
    for message in reversed(messages):
        if message.role == "assistant":
            return has_result and _has(message, ToolUse)
        has_result = has_result or _has(message, ToolResult)
    return False


_REFERS = re.compile(
    r"\b(?:do|of|about|for|with|like) that\b|\bthat\W*\Z|"
    r"\b(?:it|its|this|them|those|these|they|again|more|same|ones?|instead|also|else|above|previous|before|too|now|so|"
    r"then|continue|proceed|go on|keep|next|rest|another|first|second|third|last|he|she|him|her)\b",
    re.IGNORECASE,
)
_BRINGS_ITS_OWN = re.compile(r":\s*\S.{8}", re.DOTALL)
_ASKS_SOMETHING = re.compile(
    r"\?\s*\Z|\A\W*(?:please )?(?:translate|write|calculate|compute|solve|prove|classify|summari[sz]e|compare|explain|"
    r"define|describe|fix|list|name|tell|convert|extract|draft|compose)\b",
    re.IGNORECASE,
)


def _stands_alone(question: str) -> bool:
    """Whether a short message asks something that needs nothing said before: "What is 15% of 80?"."""
    if len(question.split()) < 4 or not _ASKS_SOMETHING.search(question):
        return False
    return not _REFERS.search(question) or _BRINGS_ITS_OWN.search(question) is not None


def _has(message: Message, kind: type[ToolResult | ToolUse]) -> bool:
    return any(isinstance(part, kind) for part in message.parts)
