"""The Gemini format (generateContent), the endpoint's half.

Source: the API reference of generateContent (v1beta) and the guides on thinking and thought signatures.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct, field

from ..core import (
    Answer,
    BrokenReply,
    ContentFiltered,
    Delta,
    Finish,
    ToolPiece,
    ToolUse,
    Usage,
)
from .dialect import Dialect
from .failures import read_failure
from .gemini_encode import encode_call
from .openai_replies import sane
from .quirks import Target
from .sse import Decoder, Event, EventSplitter
from .wire import ABSENT, is_there, read_reply

_FINISHES: dict[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "filter",
    "RECITATION": "filter",
    "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter",
    "SPII": "filter",
    "IMAGE_SAFETY": "filter",
}


def _path(model: str, stream: bool) -> str:
    named = quote(model.removeprefix("models/"), safe="")
    return f"/models/{named}:streamGenerateContent?alt=sse" if stream else f"/models/{named}:generateContent"


def _auth(key: str) -> dict[str, str]:
    return {"x-goog-api-key": key} if key else {}


def _pass_call(body: bytes, target: Target, stream: bool) -> bytes:
    """The path says model and stream here: the body stays as it is."""
    return body


def decode_answer(body: bytes) -> Answer:
    """A whole reply. Raises BrokenReply, ContentFiltered, or the error that stands in its place."""
    whole = read_reply(_whole, body)
    candidate = _candidate(whole, body)
    if candidate is None:
        raise BrokenReply("The upstream answered without any candidate in its answer.")
    said = _read_parts(candidate, whole.id, 0)
    return Answer(
        text=said.text,
        reasoning=said.reasoning,
        tools=tuple(ToolUse(tool.id, tool.name, tool.arguments, tool.signature) for tool in said.tools),
        finish=_read_finish(candidate.finish_reason or "STOP", bool(said.tools)),
        usage=_read_usage(whole.usage),
        id=whole.id,
        model=whole.model,
        raw=body,
    )


def decoder() -> Decoder:
    """A decoder for one stream (`alt=sse`)."""
    return Decoder(EventSplitter(), _Chunks())


class _FunctionCall(Struct):
    name: str = ""
    args: Raw = ABSENT
    id: str = ""


class _Part(Struct):
    text: str = ""
    thought: bool = False
    call: _FunctionCall | None = field(default=None, name="functionCall")
    signature: str = field(default="", name="thoughtSignature")


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct):
    content: _Content | None = None
    finish_reason: str | None = field(default=None, name="finishReason")


class _Feedback(Struct):
    block_reason: str | None = field(default=None, name="blockReason")


class _Whole(Struct):
    candidates: list[_Candidate] | None = None
    feedback: _Feedback | None = field(default=None, name="promptFeedback")
    usage: Raw = field(default=ABSENT, name="usageMetadata")
    error: Raw = ABSENT
    id: str = field(default="", name="responseId")
    model: str = field(default="", name="modelVersion")


class _Usage(Struct):
    prompt: int | None = field(default=None, name="promptTokenCount")
    candidates: int | None = field(default=None, name="candidatesTokenCount")
    thoughts: int | None = field(default=None, name="thoughtsTokenCount")
    cached: int | None = field(default=None, name="cachedContentTokenCount")
    tool_prompt: int | None = field(default=None, name="toolUsePromptTokenCount")


_whole = msgspec.json.Decoder(_Whole)
_usage: msgspec.json.Decoder[_Usage | None] = msgspec.json.Decoder(_Usage | None)


class _Chunks:
    """Reads the chunks of one stream. There is no last event: a finishReason says that the connection may end."""

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.usage: Usage | None = None
        self._tools = 0

    def read(self, event: Event) -> Delta | None:
        if not event.data:
            return Delta(raw=event.raw)
        chunk = read_reply(_whole, event.data)
        candidate = _candidate(chunk, event.data)
        usage = _read_usage(chunk.usage)
        self.usage = usage or self.usage
        if candidate is None:
            return Delta(usage=usage, raw=event.raw)
        said = _read_parts(candidate, chunk.id, self._tools)
        self._tools += len(said.tools)
        finish = None
        if candidate.finish_reason:
            finish = _read_finish(candidate.finish_reason, self._tools > 0)
            self.finished = True
        return Delta(said.text, said.reasoning, tools=said.tools, finish=finish, usage=usage, raw=event.raw)


class _Said(Struct, frozen=True):
    text: str
    reasoning: str
    tools: tuple[ToolPiece, ...]


def _candidate(whole: _Whole, body: bytes) -> _Candidate | None:
    if is_there(whole.error):
        raise read_failure(200, {}, body)
    if whole.candidates:
        return whole.candidates[0]
    if whole.feedback is not None and whole.feedback.block_reason:
        raise ContentFiltered(f"The upstream refused the prompt: {whole.feedback.block_reason[:100]}.")
    return None


def _read_parts(candidate: _Candidate, id: str, first: int) -> _Said:
    """`first` counts the tools that came before: an id must be the same however the reply was cut."""
    parts = (candidate.content.parts if candidate.content else None) or []
    calls = [(part, part.call) for part in parts if part.call is not None]
    tools = tuple(
        ToolPiece(
            position,
            call.id or (f"call_{id}_{position}" if id else f"call_{position}"),
            call.name,
            bytes(call.args).decode() if is_there(call.args) else "{}",
            part.signature,
        )
        for position, (part, call) in enumerate(calls, first)
    )
    return _Said(
        "".join(part.text for part in parts if not part.thought),
        "".join(part.text for part in parts if part.thought),
        tools,
    )


def _read_finish(reason: str, tools: bool) -> Finish:
    finish = _FINISHES.get(reason, "other")
    return "tools" if tools and finish == "stop" else finish


def _read_usage(raw: Raw) -> Usage | None:
    """Disjoint counts: the cache stands within the prompt here, and the thoughts beside the candidates."""
    if not is_there(raw):
        return None
    try:
        counts = _usage.decode(raw)
    except msgspec.DecodeError:
        return None
    if counts is None or counts.prompt is None:
        return None
    cached = counts.cached or 0
    return sane(
        Usage(
            input=counts.prompt + (counts.tool_prompt or 0) - cached,
            cache_read=cached,
            output=counts.candidates or 0,
            reasoning=counts.thoughts or 0,
        )
    )


GEMINI = Dialect(
    name="gemini",
    path=_path,
    auth=_auth,
    encode_call=encode_call,
    pass_call=_pass_call,
    decode_answer=decode_answer,
    decoder=decoder,
    decode_error=read_failure,
    models_path="/models",
)
