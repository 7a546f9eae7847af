"""What a model says: in pieces as it comes, or as a whole answer; and what it took to say it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, structs

from .chat import ToolUse
from .errors import AttemptError

Finish = Literal["stop", "length", "tools", "filter", "refusal", "pause", "other"]


class Usage(Struct, frozen=True, gc=False):
    """Tokens in disjoint buckets: their sum is what passed, whatever a provider's own totals overlap."""

    input: int = 0
    """Read afresh: neither from a cache nor into one."""
    cache_read: int = 0
    cache_write: int = 0
    """Written to a cache that lives about five minutes (or the provider's only kind)."""
    cache_write_1h: int = 0
    output: int = 0
    """Visible output, tool calls included."""
    reasoning: int = 0
    estimated: bool = False
    """Not the provider's count, but ours."""
    service_tier: str = ""
    """What the provider says that it served: 'default', 'flex', 'priority', …; '' where it says nothing."""

    @property
    def input_tokens(self) -> int:
        return self.input + self.cache_read + self.cache_write + self.cache_write_1h

    @property
    def output_tokens(self) -> int:
        return self.output + self.reasoning

    def all_tokens(self) -> int:
        return self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.output + self.reasoning


class ToolPiece(Struct, frozen=True, gc=False):
    """A piece of one tool call in a stream. `id` and `name` come once, `arguments` in fragments."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str = ""


class Delta(Struct, frozen=True, gc=False):
    """One event of a stream. `raw` is the event as it stood on the wire, in the reply's dialect, to be passed on."""

    text: str = ""
    reasoning: str = ""
    signature: str = ""
    """Closes a block of reasoning: the provider's proof that it wrote it."""
    redacted: str = ""
    refusal: str = ""
    tools: tuple[ToolPiece, ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    """The counts so far: cumulative, so the last one counts."""
    raw: bytes = b""

    @property
    def has_content(self) -> bool:
        """Whether this delta commits the reply: pings, role-only frames and usage do not."""
        return bool(self.text or self.reasoning or self.tools or self.refusal or self.redacted)


class Broken(Struct, frozen=True):
    """The last item of a stream that failed: never followed by a clean end."""

    error: AttemptError
    usage: Usage | None = None


class Answer(Struct, frozen=True, gc=False):
    """A whole answer. `raw` is the body as it stood on the wire, in the reply's dialect; empty if it came in pieces."""

    text: str = ""
    reasoning: str = ""
    signature: str = ""
    redacted: str = ""
    refusal: str = ""
    tools: tuple[ToolUse, ...] = ()
    finish: Finish = "stop"
    usage: Usage | None = None
    id: str = ""
    model: str = ""
    """The model as the upstream names what it served; '' where it does not say."""
    raw: bytes = b""


class Gathered:
    """The pieces of a stream, put together to one Answer."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._signature = ""
        self._redacted = ""
        self._tools: dict[int, ToolUse] = {}
        self._arguments: dict[int, list[str]] = {}
        self._finish: Finish = "stop"
        self._usage: Usage | None = None

    def add(self, delta: Delta) -> None:
        self._text.append(delta.text)
        self._reasoning.append(delta.reasoning)
        self._refusal.append(delta.refusal)
        self._signature = delta.signature or self._signature
        self._redacted = delta.redacted or self._redacted
        for piece in delta.tools:
            known = self._tools.get(piece.index)
            self._tools[piece.index] = ToolUse(
                id=piece.id or (known.id if known else ""),
                name=piece.name or (known.name if known else ""),
                arguments="",
                signature=piece.signature or (known.signature if known else ""),
            )
            self._arguments.setdefault(piece.index, []).append(piece.arguments)
        self._finish = delta.finish or self._finish
        self._usage = delta.usage or self._usage

    def answer(self) -> Answer:
        return Answer(
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            signature=self._signature,
            redacted=self._redacted,
            refusal="".join(self._refusal),
            tools=tuple(
                structs.replace(tool, arguments="".join(self._arguments[index]))
                for index, tool in sorted(self._tools.items())
            ),
            finish=self._finish,
            usage=self._usage,
        )


def as_delta(answer: Answer) -> Delta:
    """A whole answer as the single delta of a stream."""
    return Delta(
        text=answer.text,
        reasoning=answer.reasoning,
        signature=answer.signature,
        redacted=answer.redacted,
        refusal=answer.refusal,
        tools=tuple(
            ToolPiece(index, tool.id, tool.name, tool.arguments, tool.signature)
            for index, tool in enumerate(answer.tools)
        ),
        finish=answer.finish,
        usage=answer.usage,
    )
