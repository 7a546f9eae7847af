"""What a dialect is: the two halves of a wire format, as plain functions.

The endpoint's half encodes calls and decodes replies; the server's half (`Door`) does the opposite. All of it is pure:
bytes in, values out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from ..core import Answer, AttemptError, Broken, Chat, Delta, PointsmanError
from .quirks import Target


class StreamDecoder(Protocol):
    """Turns the bytes of an upstream's stream into deltas. One decoder serves one stream."""

    done: bool
    """The stream said that it is over (`[DONE]`, `message_stop`, …): nothing after it counts."""

    def feed(self, chunk: bytes) -> Sequence[Delta | Broken]:
        """Any cut of the stream, down to single bytes. Terminal events give no delta: they set `done`."""
        ...

    def end(self) -> Sequence[Delta | Broken]:
        """The connection has ended: nothing if the stream was whole, else a `Broken(BrokenReply)`."""
        ...


class StreamEncoder(Protocol):
    """Turns deltas into the bytes of a stream for a caller. One encoder serves one stream."""

    def feed(self, delta: Delta) -> bytes:
        """The events of one delta; b'' where the caller is to see nothing of it."""
        ...

    def finish(self) -> bytes:
        """The clean end: what closes the message, and the terminal event."""
        ...

    def broken(self, error: PointsmanError) -> bytes:
        """An error event. Never a finish, never a terminal event: the caller must see that it is not whole."""
        ...


class Peek(Struct, frozen=True):
    """What the door reads of a body before anything else is decoded."""

    model: str
    stream: bool = False
    wants_usage: bool = True
    """False where the caller streams in a dialect that gives usage only when asked, and did not ask."""
    max_tokens: int | None = None
    user: str = ""
    states_form: bool = False
    """It may ask for JSON, or bring tools."""


class Door(Struct, frozen=True):
    """The server's half."""

    peek: Callable[[bytes], Peek]
    """Validates the whole body as JSON (UTF-8, depth, no NaN) and the fields it reads. Raises InvalidCall."""
    decode_call: Callable[[bytes], Chat]
    """Raises InvalidCall, naming the field."""
    encode_answer: Callable[..., bytes]
    """encode_answer(answer, *, id, model, created) → the body of a whole reply. `created` in unix seconds."""
    encoder: Callable[..., StreamEncoder]
    """encoder(*, id, model, created, wants_usage, passing) → StreamEncoder. `passing`: the deltas' `raw` is in this
    dialect already and goes out as it came (but for usage that the caller did not ask for)."""
    encode_error: Callable[[PointsmanError], bytes]
    """The body of an error in this dialect. Bears our `kind`; never a key."""


class Dialect(Struct, frozen=True):
    """The endpoint's half, and the door where a server can speak it."""

    name: str
    path: Callable[[str, bool], str]
    """(model, stream) → the path and query to post to, relative to the provider's base URL: '/chat/completions'."""
    auth: Callable[[str], dict[str, str]]
    """key → the headers that carry it (with a version header where the API wants one)."""
    encode_call: Callable[[Chat, Target, bool], bytes]
    """(chat, target, stream) → the body, as the target's quirks want it. Raises CallRejected for what this format
    cannot say."""
    pass_call: Callable[[bytes, Target, bool], bytes]
    """(body in this dialect, target, stream) → the same body with only what must change changed: every unknown field,
    every marker (cache_control) survives, but for what the target's quirks rule out."""
    decode_answer: Callable[[bytes], Answer]
    """Raises BrokenReply, or the error that stands inside a 200."""
    decoder: Callable[[], StreamDecoder]
    decode_error: Callable[[int, Mapping[str, str], bytes], AttemptError]
    """(status, headers in lower case, body) → our error, its Retry-After read, its message free of keys."""
    models_path: str
    """The free path that lists models, relative to the base URL."""
    door: Door | None = None
