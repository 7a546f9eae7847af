"""The neutral view of a chat call: what every wire format says, in our own types.

A dialect decodes its bytes to a `Chat` and encodes a `Chat` to its bytes. Where caller and upstream speak the same
dialect no Chat is needed: the bytes go through. So a Chat holds what crosses dialects, and nothing else.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

Role = Literal["system", "user", "assistant", "tool"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class Text(Struct, frozen=True, tag="text"):
    text: str
    cached: bool = False
    """The caller marked the prompt up to here as worth caching (Anthropic's cache_control)."""


class Image(Struct, frozen=True, tag="image"):
    """An image: either a `url`, or base64 `data` with its `media_type`."""

    url: str = ""
    data: str = ""
    media_type: str = ""


class Audio(Struct, frozen=True, tag="audio"):
    """Base64 audio; `format` is 'wav', 'mp3' and the like."""

    data: str
    format: str


class Document(Struct, frozen=True, tag="document"):
    """A file such as a PDF: a `url`, or base64 `data` with its `media_type`."""

    url: str = ""
    data: str = ""
    media_type: str = ""
    name: str = ""


class ToolUse(Struct, frozen=True, tag="tool_use"):
    """The model calls a tool. `arguments` is the JSON text that the model wrote, which may be invalid JSON."""

    id: str
    name: str
    arguments: str
    signature: str = ""
    """An opaque token that the same provider wants back (Gemini's thoughtSignature)."""


class ToolResult(Struct, frozen=True, tag="tool_result"):
    """What a tool gave back, bound to its ToolUse by `id`."""

    id: str
    content: tuple[Text | Image, ...]
    is_error: bool = False


class Thinking(Struct, frozen=True, tag="thinking"):
    """A model's reasoning. `signature` binds it to the provider that wrote it: a foreign provider never gets it."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


class Refusal(Struct, frozen=True, tag="refusal"):
    text: str


Part = Text | Image | Audio | Document | ToolUse | ToolResult | Thinking | Refusal


class Message(Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]
    name: str = ""

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


class Tool(Struct, frozen=True):
    """A function that the model may call; `schema` is the JSON Schema of its arguments, as raw JSON."""

    name: str
    description: str = ""
    schema: Raw = Raw(b'{"type":"object","properties":{}}')
    strict: bool | None = None


class ToolChoice(Struct, frozen=True):
    """`mode` 'named' forces the tool called `name`."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


class OutputSchema(Struct, frozen=True):
    """The answer must be JSON: any JSON when `schema` is None, else JSON of that schema (raw JSON)."""

    schema: Raw | None = None
    name: str = "answer"
    strict: bool | None = None


class Chat(Struct, frozen=True):
    """A chat call. None means that the caller left it to the model's default.

    `messages` keeps the order of the conversation; system messages are messages of role 'system', wherever they stood.
    """

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    output: OutputSchema | None = None
    effort: Effort | None = None
    thinking_tokens: int | None = None
    """A budget for reasoning, in tokens, where a dialect states one."""
    choices: int = 1
    user: str = ""
