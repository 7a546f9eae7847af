"""How many tokens a call has, estimated from its characters."""

from __future__ import annotations

from ..core import Audio, Chat, Document, Image, Text, Thinking, ToolResult, ToolUse

IMAGE_TOKENS = 1_000
"""A middling image costs about as much with every provider: enough for a context check."""


def estimate_tokens(chat: Chat) -> int:
    """Input tokens, estimated: four ASCII characters or one and a half others a token, four tokens a message."""
    tokens = 0.0
    for message in chat.messages:
        tokens += 4
        for part in message.parts:
            tokens += _part_tokens(part)
    for tool in chat.tools:
        tokens += 8 + (len(tool.name) + len(tool.description) + len(bytes(tool.schema))) / 4
    if chat.output is not None and chat.output.schema is not None:
        tokens += len(bytes(chat.output.schema)) / 4
    return int(tokens) + 1


def text_tokens(text: str) -> float:
    if text.isascii():
        return len(text) / 4
    ascii_bytes = len(text.encode("ascii", "ignore"))
    return ascii_bytes / 4 + (len(text) - ascii_bytes) / 1.5


def _part_tokens(part: object) -> float:
    if isinstance(part, Text | Thinking):
        return text_tokens(part.text)
    if isinstance(part, ToolUse):
        return 8 + text_tokens(part.arguments)
    if isinstance(part, ToolResult):
        return 8 + sum(_part_tokens(piece) for piece in part.content)
    if isinstance(part, Image):
        return IMAGE_TOKENS
    if isinstance(part, Document) and part.media_type.startswith("text/"):
        return len(part.data) * 3 / 16  # four characters a token, once base64 is taken off
    if isinstance(part, Audio | Document):
        return len(part.data) / 12 or IMAGE_TOKENS  # by its URL: nobody has looked how long it is
    return 0
