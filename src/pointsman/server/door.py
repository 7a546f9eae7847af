"""A model door: takes a call in one dialect, asks the gateway, and gives the reply back in that dialect."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import lru_cache
from typing import Any, Self, get_args

from msgspec import Struct

from ..core import (
    NO_NEEDS,
    NO_TIMEOUTS,
    Ask,
    AttemptError,
    Broken,
    Busy,
    Call,
    Caller,
    Delta,
    InvalidCall,
    KeyRejected,
    Nanos,
    Needs,
    OutOfCredit,
    PointsmanError,
    Priority,
    Reply,
    Taker,
    Timeouts,
    from_usd,
    to_usd,
)
from ..dialects import Door, StreamEncoder
from ..gateway import ANSWER_TOKENS
from ..ledger import Key
from .admission import Admission
from .exchange import ClientGone, Exchange, lines
from .http import JSON_LINES, check_kind, refuse
from .idempotency import Once
from .metrics import Metrics

EVENT_STREAM = lines(
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
MAX_HEADER_TEXT = 256
LONGEST_TIMEOUT = 86_400.0
SIGN_OF_LIFE = b": keep-alive\n\n"
"""An SSE comment, which every client skips."""
SIGNS_OF_LIFE = {"anthropic": b'event: ping\ndata: {"type": "ping"}\n\n'}
"""Of dialects that have one of their own."""


def stopping() -> Busy:
    """What is told to whoever comes, or is still there, when the server must end."""
    return Busy("The server is stopping: try again, and another one will answer.", retry_after=1.0)


class ModelDoor:
    """One path of the server, such as /v1/chat/completions."""

    def __init__(
        self,
        dialect: str,
        door: Door,
        ask: Ask,
        *,
        once: Once,
        authorise: Callable[[Exchange], Key],
        admission: Admission,
        metrics: Metrics,
        new_id: Callable[[], str],
        wall: Callable[[], float],
        max_body: int,
    ) -> None:
        self._dialect = dialect
        self._door = door
        self._peek = door.peek
        self._decode_call = door.decode_call
        self._ask = ask
        self._once = once
        self._authorise = authorise
        self._admission = admission
        self._metrics = metrics
        self._new_id = new_id
        self._wall = wall
        self._max_body = max_body

    def __call__(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        new_id, authorise = self._new_id, self._authorise
        call_id = new_id()
        try:
            key = authorise(exchange)
        except PointsmanError as error:
            self._refuse(error, call_id, exchange)
            return None
        return self._answer(call_id, exchange, key)

    async def _answer(self, call_id: str, exchange: Exchange, key: Key) -> None:
        try:
            terms = exchange.head.terms
            if type(terms) is not Terms:
                terms = exchange.head.terms = Terms.of(exchange)
            body = exchange.at_hand(self._max_body)
            if body is None:
                body = await exchange.body(self._max_body)
            call = self.call(call_id, key, terms, body)
            admitted = self._admission.enter(key, (len(body) >> 2) + (call.max_tokens or ANSWER_TOKENS), call.model)
            try:
                ask = self._once.under(terms.once) if terms.once else self._ask
                if call.stream:
                    await self._stream(ask, call, exchange)
                else:
                    await self._whole(ask, call, exchange)
            finally:
                admitted.settle(None if call.tally.uncounted else call.tally.tokens)
        except PointsmanError as error:
            self._refuse(error, call_id, exchange)
        except ClientGone:
            self._metrics.answered(self._dialect, 499)
        except asyncio.CancelledError:
            if not exchange.is_stopped:
                self._metrics.answered(self._dialect, 499)
                raise
            self._refuse(stopping(), call_id, exchange)

    def call(self, call_id: str, key: Key, terms: Terms, body: bytes) -> Call:
        """What is asked, by its body in this dialect and its head. Raises InvalidCall."""
        peek = self._peek(body)
        return Call(
            id=call_id,
            model=peek.model,
            dialect=self._dialect,
            body=body,
            decode=self._decode_call,
            stream=peek.stream,
            wants_usage=peek.wants_usage,
            max_tokens=peek.max_tokens,
            states_form=peek.states_form,
            needs=terms.needs,
            timeouts=terms.timeouts,
            caller=Caller(key.id, key.user or peek.user[:MAX_HEADER_TEXT], terms.session, terms.tags),
            task=terms.task,
        )

    async def _whole(self, ask: Ask, call: Call, exchange: Exchange) -> None:
        reply = await ask(call)
        answer = reply.answer
        if answer is None:
            async with reply:
                answer = await reply.read()
        if answer.raw and reply.dialect == self._dialect:
            body = answer.raw
        else:
            wall = self._wall
            body = self._door.encode_answer(answer, id=call.id, model=reply.served.model, created=int(wall()))
        cost = call.tally.total
        told = b"unknown" if cost is None else to_usd(cost).encode()
        headers = b"%b%bx-pointsman-cost-usd: %b\r\n" % (JSON_LINES, _about(call, reply), told)
        exchange.respond(200, headers, body)
        self._metrics.answered(self._dialect, 200)

    async def _stream(self, ask: Ask, call: Call, exchange: Exchange) -> None:
        exchange.listen(lambda: self._sign_of_life(call, exchange))
        encoder: StreamEncoder | None = None
        status = 200
        try:
            async with await ask(call) as reply:
                encoder = self._encoder(call, reply.served.model, passing=reply.dialect == self._dialect)
                if not exchange.is_begun:
                    exchange.start(200, EVENT_STREAM + _about(call, reply))
                await reply.pour(self._passing_on(encoder.feed, exchange))
                ending = reply.ending
                if ending is not None and ending.error is not None:
                    last, status = encoder.broken(ending.error), ending.error.status
                else:
                    last = _closing(call) + encoder.finish()
        except (PointsmanError, asyncio.CancelledError) as error:
            # One of ours after the beginning: the ledger could not take the entry, or nobody could answer after all.
            fault = error if isinstance(error, PointsmanError) else stopping()
            if not exchange.is_begun or not (fault is error or exchange.is_stopped):
                raise
            encoder = encoder or self._encoder(call, call.model, passing=False)
            last, status = encoder.broken(fault), fault.status
        exchange.end(last)
        self._metrics.answered(self._dialect, status)

    def _passing_on(self, encode: Callable[[Delta], bytes], exchange: Exchange) -> Taker:
        write, drained = exchange.write, exchange.drained

        def take(items: Sequence[Delta | Broken]) -> Callable[[], Awaitable[None]] | None:
            data = b"".join([encode(item) for item in items if isinstance(item, Delta)])
            return drained if data and write(data) else None

        return take

    def _encoder(self, call: Call, model: str, *, passing: bool) -> StreamEncoder:
        created = int(self._wall())
        return self._door.encoder(
            id=call.id, model=model, created=created, wants_usage=call.wants_usage, passing=passing
        )

    def _sign_of_life(self, call: Call, exchange: Exchange) -> None:
        """Nothing was sent for a while: what stands between us and the client may take the connection for dead."""
        if not exchange.is_begun:
            exchange.start(200, EVENT_STREAM + b"x-pointsman-call: %b\r\n" % _ascii(call.id))
        exchange.write(SIGNS_OF_LIFE.get(self._dialect, SIGN_OF_LIFE))

    def _refuse(self, error: PointsmanError, call_id: str, exchange: Exchange) -> None:
        self._metrics.answered(self._dialect, error.status)
        headers = [(b"x-pointsman-call", _ascii(call_id))]
        if isinstance(error, AttemptError) and error.endpoint:
            headers.append((b"x-pointsman-endpoint", _ascii(error.endpoint)))
            error.message = _placed(error)
        refuse(exchange, error, self._door.encode_error(error), headers)


class Terms(Struct, frozen=True, gc=False):
    """What the head of a request says of a call."""

    needs: Needs
    timeouts: Timeouts
    session: str
    tags: tuple[str, ...]
    task: str
    once: str
    """The name under which it is to be asked only once; '' for none."""

    @classmethod
    def of(cls, exchange: Exchange) -> Self:
        """Raises InvalidCall for what cannot be read."""
        check_kind(exchange)
        tags = _text(exchange, b"x-pointsman-tags").split(",")
        return cls(
            needs=_needs(exchange),
            timeouts=_timeouts(exchange),
            session=_text(exchange, b"x-session-id"),
            tags=tuple(tag.strip() for tag in tags if tag.strip()),
            task=_text(exchange, b"x-pointsman-task"),
            once=exchange.header(b"idempotency-key"),
        )


def _needs(exchange: Exchange) -> Needs:
    """The needs that headers state. Raises InvalidCall for one that cannot be read."""
    if exchange.headers.keys().isdisjoint(NEEDS_HEADERS):
        return NO_NEEDS
    priority = _text(exchange, b"x-pointsman-priority")
    if priority and priority not in PRIORITIES:
        raise InvalidCall(f"x-pointsman-priority is {priority!r}: it may be {', '.join(PRIORITIES)}.")
    return Needs(
        priority=priority or None,  # type: ignore[arg-type]  # one of the words, as checked above
        max_cost=_budget(exchange),
        max_latency=_number(exchange, b"x-pointsman-max-latency", LATENCIES, least=SHORTEST, most=LONGEST_TIMEOUT),
        min_quality=_number(exchange, b"x-pointsman-quality", "a number from 0 to 1", most=1),
        local_only=_yes_or_no(exchange, b"x-pointsman-local-only"),
    )


def _timeouts(exchange: Exchange) -> Timeouts:
    """`20`, the seconds of the whole call, or `ttft=5, idle=10, total=20`. Raises InvalidCall."""
    if b"x-pointsman-timeout" not in exchange.headers:
        return NO_TIMEOUTS
    seconds: dict[str, float] = {}
    try:
        for part in _text(exchange, b"x-pointsman-timeout").split(","):
            name, _, number = part.rpartition("=")
            seconds[name.strip() or "total"] = float(number)
    except ValueError:
        seconds = {"": 0}
    if not seconds.keys() <= {"ttft", "idle", "total"} or not all(0 < s <= LONGEST_TIMEOUT for s in seconds.values()):
        raise InvalidCall(
            f"x-pointsman-timeout cannot be read: it is seconds up to {LONGEST_TIMEOUT:g}, such as 20 or "
            "ttft=5, idle=10, total=20."
        )
    return Timeouts(**seconds)


PRIORITIES = get_args(Priority)
SHORTEST = 0.001
"""Seconds. Nothing takes none."""
LATENCIES = f"seconds, from {SHORTEST:g} to {LONGEST_TIMEOUT:g}"
NEEDS_HEADERS = frozenset(
    (
        b"x-pointsman-priority",
        b"x-pointsman-budget-usd",
        b"x-pointsman-max-latency",
        b"x-pointsman-quality",
        b"x-pointsman-local-only",
    )
)


def _text(exchange: Exchange, name: bytes) -> str:
    value = exchange.headers.get(name)
    return value.decode("latin-1")[:MAX_HEADER_TEXT] if value else ""


def _yes_or_no(exchange: Exchange, name: bytes) -> bool:
    """A word that is neither is refused: whoever sends this header cares."""
    text = _text(exchange, name).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off") or name not in exchange.headers:
        return False
    raise _unreadable(name, text, "true or false")


def _budget(exchange: Exchange) -> Nanos | None:
    name = b"x-pointsman-budget-usd"
    text = _text(exchange, name)
    try:
        budget = from_usd(text) if text else None
    except (ValueError, ArithmeticError):
        budget = Nanos(-1)
    if budget is not None and budget < 0:
        raise _unreadable(name, text, "US dollars, such as 0.01")
    return budget


def _number(
    exchange: Exchange, name: bytes, wanted: str, *, least: float = 0.0, most: float = sys.float_info.max
) -> float | None:
    text = _text(exchange, name)
    try:
        number = float(text) if text else None
    except ValueError:
        number = math.nan
    if number is not None and not least <= number <= most:
        raise _unreadable(name, text, wanted)
    return number


def _unreadable(name: bytes, text: str, wanted: str) -> InvalidCall:
    return InvalidCall(f"{name.decode()} is {text!r}: it must be {wanted}.")


def _placed(error: AttemptError) -> str:
    """The message, with whom it is about: the caller has named a model, or not even that."""
    message = error.message if error.endpoint in error.message else f"{error.endpoint}: {error.message}"
    if isinstance(error, KeyRejected) and not isinstance(error, OutOfCredit):
        return f"{message} (This is the key that the server holds for {error.endpoint}, not the caller's.)"
    return message


def _about(call: Call, reply: Reply) -> bytes:
    """Who served, and why: as headers."""
    told = b"x-pointsman-call: %b\r\n%b" % (call.id.encode(), _who(reply.served.model, reply.served.endpoint))
    provenance = reply.provenance
    if not provenance.decision_id:
        return told
    told += b"x-pointsman-decision: %b\r\n" % _ascii(provenance.decision_id)
    if provenance.agreed is not None:
        told += b"x-pointsman-agreed: %d of %d\r\n" % provenance.agreed
    met = provenance.quality_met
    return told if met is None else told + b"x-pointsman-quality-met: %b\r\n" % (b"true" if met else b"false")


@lru_cache(1024)
def _who(model: str, endpoint: str) -> bytes:
    return lines((b"x-pointsman-model", _ascii(model)), (b"x-pointsman-endpoint", _ascii(endpoint)))


def _closing(call: Call) -> bytes:
    """A stream's cost is known at its end only: it goes out as an SSE comment, which every client skips."""
    cost = call.tally.total
    return b": pointsman cost-usd %s\n\n" % (b"unknown" if cost is None else _ascii(to_usd(cost)))


@lru_cache(1024)
def _ascii(text: str) -> bytes:
    """A header's value. Names come from callers: a line break in one would begin a header of theirs."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return "".join(sign if " " <= sign <= "~" else "?" for sign in text).encode()
