"""Which model a conversation has: it is told on the way out, and looked up when the conversation goes on."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from msgspec import Struct
from xxhash import xxh3_128_digest

from ..core import Call, Chat, Clock, State
from ..core.state import LESSER
from ..routing import Conversation, Prompt, text_tokens

KEPT = 3600.0
"""Seconds after its last turn for which a conversation keeps its model."""
RENEWED = 600.0
"""Seconds after which a fact that has not changed is stated again: it is written for each process of the machine."""
LEAST_CACHED = 1024
"""Tokens: what is shorter, no provider keeps in its cache."""


def conversation_id(call: Call) -> str:
    """16 hexadecimal digits, the same for all calls of one conversation: of its key and `X-Session-Id`, else of its
    key, system prompt and first question. No text can be read back from it. There is no secret in it, so whoever
    guesses the whole of that text can see that it is right."""
    caller = call.caller
    if caller.session:
        return _hashed(f"{caller.key}\0{caller.session}".encode("utf-8", "replace"))
    return _thread_id(call)


class Conversations:
    """Each is known by its `conversation_id`. Under one `X-Session-Id` several may run at once (an agent's helpers, the
    call that asks for a title), so what is said in a session is remembered under its first question, too, and goes on
    with the model that had it."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._wall = clock.wall

    def find(self, conversation: str, call: Call, prompt: Prompt) -> Conversation | None:
        """None for one that has just begun, or that nobody here remembers."""
        chat, session = call.chat, call.caller.session
        goes_on = _goes_on(chat)
        if not session and not goes_on:
            return None
        self._state.refresh()  # Another process may have served the turn before, a moment ago.
        held = self._held(_PREFIX + _thread_id(call)) if session and goes_on else None
        held = held or self._held(_PREFIX + conversation)
        if held is None:
            return None
        return Conversation(held.model, is_pinned=prompt.in_tool_loop, cached_tokens=_read_before(chat, prompt))

    def remember(self, conversation: str, call: Call, model: str) -> None:
        """`model` had the latest turn, which is `call`. Every process can find it, once this has returned."""
        self._state.refresh()
        self._remember(conversation, model)
        if call.caller.session:
            self._remember(_thread_id(call), model)

    def _remember(self, conversation: str, model: str) -> None:
        name = _PREFIX + conversation
        held, now = self._held(name), self._wall()
        if held is None or held.model != model or not 0 <= now - held.at < RENEWED:
            self._state.put(name, msgspec.msgpack.encode(_Held(model, now)), KEPT)

    def _held(self, name: str) -> _Held | None:
        fact = self._state.get(name)
        try:
            return None if fact is None else _decode(fact)
        except msgspec.DecodeError:
            return None


class _Held(Struct, frozen=True, array_like=True):
    model: str
    at: float


_decode = msgspec.msgpack.Decoder(_Held).decode


_PREFIX = f"{LESSER}conversation:"


def _goes_on(chat: Chat) -> bool:
    return any(message.role == "assistant" for message in chat.messages)


def _thread_id(call: Call) -> str:
    """As `conversation_id`, of its key, session, system prompt and first question: what stays the same all along."""
    caller = call.caller
    first = next((message for message in call.chat.messages if message.role == "user"), None)
    system = "".join(message.text for message in call.chat.messages if message.role == "system")
    asked = "" if first is None else first.text
    text = f"{caller.key}\0{caller.session}\0{len(system)}\0{system}{asked}".encode("utf-8", "replace")
    return _hashed(text if asked or first is None else text + msgspec.msgpack.encode(first.parts))  # images alone


def _hashed(text: bytes) -> str:
    # xxh3 is fast on long prompts, but of short ones it could be computed back; blake2b cannot.
    return blake2b(xxh3_128_digest(text), digest_size=8).hexdigest()


def _read_before(chat: Chat, prompt: Prompt) -> int:
    """Tokens before the newest message: what a provider may have kept."""
    newest = text_tokens(chat.messages[-1].text) if chat.messages else 0.0
    before = prompt.input_tokens - round(newest)
    return before if before >= LEAST_CACHED else 0
