"""How many tokens a call has, estimated from its characters."""

from __future__ import annotations

from string import ascii_letters

from ..core import Audio, Chat, Document, Image, Text, Thinking, ToolResult, ToolUse

A_LETTER, A_BLANK, A_MARK, A_BYTE_BEYOND_ASCII = 0.23, 0.12, 0.6, 1 / 3
"""Tokens of one: code is denser than prose, since it has more marks and digits. `benchmarks/tokens.py` shows how far
that is off for kinds of text; rather too many than too few, so that contexts hold what they are believed to hold."""
SCHEMA_CHARS = 3.3
"""Of a tool's schema, a token."""
IMAGE_TOKENS = 1_000
"""A middling image costs about as much with every provider: enough for a context check."""


def estimate_tokens(chat: Chat) -> int:
    """Input tokens, estimated from characters, and four a message."""
    tokens = 0.0
    for message in chat.messages:
        tokens += 4
        for part in message.parts:
            tokens += _part_tokens(part)
    for tool in chat.tools:
        tokens += 8 + (len(tool.name) + len(tool.description) + len(bytes(tool.schema))) / SCHEMA_CHARS
    if chat.output is not None and chat.output.schema is not None:
        tokens += len(bytes(chat.output.schema)) / SCHEMA_CHARS
    return int(tokens) + 1


def text_tokens(text: str) -> float:
    """Tokens of a text, by its letters, blanks, marks, and bytes beyond ASCII."""
    written = text.encode("ascii", "ignore")
    beyond = 0 if len(written) == len(text) else len(text.encode("utf-8", "surrogatepass")) - len(written)
    blanks = written.count(b" ")
    marks = len(written.translate(None, _LETTERS)) - blanks
    return (len(written) - blanks - marks) * A_LETTER + blanks * A_BLANK + marks * A_MARK + beyond * A_BYTE_BEYOND_ASCII


_LETTERS = ascii_letters.encode()


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
