"""A model door: takes a call in one dialect, asks the gateway, and gives the reply back in that dialect."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from ..core import (
    NO_NEEDS,
    Ask,
    Broken,
    Call,
    Caller,
    InvalidCall,
    Nanos,
    Needs,
    PointsmanError,
    Reply,
    from_usd,
    to_usd,
)
from ..dialects import Door
from ..endpoints.alarm import set_alarm
from ..ledger import Key
from .http import JSON, ClientGone, Header, Receive, Request, Send, respond
from .metrics import Metrics

log = logging.getLogger("pointsman.server")

EVENT_STREAM: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
MAX_HEADER_TEXT = 256
WATCH_AFTER = 0.02
"""Seconds. A task that waits for a client to leave costs more than a quick call does, so quick calls have none."""


class ModelDoor:
    """One path of the server, such as /v1/chat/completions."""

    def __init__(
        self,
        dialect: str,
        door: Door,
        ask: Ask,
        *,
        authorise: Callable[[Request], Key],
        metrics: Metrics,
        new_id: Callable[[], str],
        wall: Callable[[], float],
        max_body: int,
    ) -> None:
        self._dialect = dialect
        self._door = door
        self._ask = ask
        self._authorise = authorise
        self._metrics = metrics
        self._new_id = new_id
        self._wall = wall
        self._max_body = max_body

    async def __call__(self, request: Request, send: Send) -> None:
        try:
            key = self._authorise(request)
            call = self._call(request, key, await request.body(self._max_body))
            async with _Presence(request.receive):
                await self._serve(call, send)
        except ClientGone:
            self._metrics.answered(self._dialect, 499)
        except PointsmanError as error:
            await self._refuse(error, send)

    def _call(self, request: Request, key: Key, body: bytes) -> Call:
        peek = self._door.peek(body)
        return Call(
            id=self._new_id(),
            model=peek.model,
            dialect=self._dialect,
            body=body,
            decode=self._door.decode_call,
            stream=peek.stream,
            wants_usage=peek.wants_usage,
            needs=_needs(request),
            caller=Caller(
                key=key.id,
                user=peek.user[:MAX_HEADER_TEXT],
                session=_text(request, b"x-session-id"),
                tags=tuple(tag.strip() for tag in _text(request, b"x-pointsman-tags").split(",") if tag.strip()),
            ),
            task=_text(request, b"x-pointsman-task"),
        )

    async def _serve(self, call: Call, send: Send) -> None:
        async with await self._ask(call) as reply:
            if call.stream:
                await self._stream(call, reply, send)
            else:
                await self._whole(call, reply, send)

    async def _whole(self, call: Call, reply: Reply, send: Send) -> None:
        answer = await reply.read()
        if answer.raw and reply.dialect == self._dialect:
            body = answer.raw
        else:
            model = answer.model or reply.served.model
            body = self._door.encode_answer(answer, id=call.id, model=model, created=int(self._wall()))
        cost = call.tally.total
        cost_header = (b"x-pointsman-cost-usd", b"unknown" if cost is None else _ascii(to_usd(cost)))
        await respond(send, 200, body, [JSON, *_about(call, reply), cost_header])
        self._metrics.answered(self._dialect, 200)

    async def _stream(self, call: Call, reply: Reply, send: Send) -> None:
        encoder = self._door.encoder(
            id=call.id,
            model=reply.served.model,
            created=int(self._wall()),
            wants_usage=call.wants_usage,
            passing=reply.dialect == self._dialect,
        )
        headers = [*EVENT_STREAM, *_about(call, reply)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        status = 200
        try:
            async for delta in reply:
                if isinstance(delta, Broken):
                    last, status = encoder.broken(delta.error), delta.error.status
                    break
                if data := encoder.feed(delta):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            else:
                last = _closing(call) + encoder.finish()
        except PointsmanError as error:
            # The ledger could not take the entry: an answer that is not recorded is not acknowledged.
            last, status = encoder.broken(error), error.status
        # Before the last byte: once that is sent, the server reports the client as gone.
        await reply.aclose()
        await send({"type": "http.response.body", "body": last})
        self._metrics.answered(self._dialect, status)

    async def _refuse(self, error: PointsmanError, send: Send) -> None:
        self._metrics.answered(self._dialect, error.status)
        headers: list[Header] = [JSON, (b"x-pointsman-error", _ascii(error.kind))]
        retry_after = getattr(error, "retry_after", None)
        if retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(0, -(-retry_after // 1))))
        await respond(send, error.status, self._door.encode_error(error), headers)


class _Presence:
    """While it lasts, the task is cancelled when the client closes its connection; then it raises ClientGone."""

    __slots__ = ("_receive", "_alarm", "_watch", "_task", "_gone")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None
        self._gone = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._alarm = set_alarm(WATCH_AFTER, self._begin)

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        self._alarm.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self._gone and kind is asyncio.CancelledError and self._task is not None:
            self._task.uncancel()
            raise ClientGone from None

    def _begin(self) -> None:
        self._watch = asyncio.ensure_future(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()


def _needs(request: Request) -> Needs:
    """The needs that headers state. Raises InvalidCall for one that cannot be read."""
    if request.headers.keys().isdisjoint(NEEDS_HEADERS):
        return NO_NEEDS
    priority = _text(request, b"x-pointsman-priority")
    if priority not in ("", "performance", "balanced", "frugal"):
        raise InvalidCall(f"x-pointsman-priority is {priority!r}: it may be performance, balanced or frugal.")
    try:
        return Needs(
            priority=priority or None,  # type: ignore[arg-type]  # one of the three words, as checked above
            max_cost=_budget(request),
            max_latency=_number(request, b"x-pointsman-max-latency"),
            min_quality=_number(request, b"x-pointsman-quality", most=1),
            local_only=_yes_or_no(request, b"x-pointsman-local-only"),
        )
    except (ValueError, ArithmeticError):
        raise InvalidCall(
            "An x-pointsman- header cannot be read: numbers are written like 0.01 (quality goes from 0 to 1), and "
            "local-only is true or false."
        ) from None


NEEDS_HEADERS = frozenset(
    (
        b"x-pointsman-priority",
        b"x-pointsman-budget-usd",
        b"x-pointsman-max-latency",
        b"x-pointsman-quality",
        b"x-pointsman-local-only",
    )
)


def _text(request: Request, name: bytes) -> str:
    value = request.headers.get(name)
    return value.decode("latin-1")[:MAX_HEADER_TEXT] if value else ""


def _yes_or_no(request: Request, name: bytes) -> bool:
    """A word that is neither is refused: whoever sends this header cares."""
    text = _text(request, name).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off") or name not in request.headers:
        return False
    raise ValueError(f"{text} is neither true nor false")


def _budget(request: Request) -> Nanos | None:
    text = _text(request, b"x-pointsman-budget-usd")
    budget = from_usd(text) if text else None
    if budget is not None and budget < 0:
        raise ValueError("a budget below 0")
    return budget


def _number(request: Request, name: bytes, *, most: float = sys.float_info.max) -> float | None:
    text = _text(request, name)
    number = float(text) if text else None
    if number is not None and not 0 <= number <= most:
        raise ValueError(f"{text} is not from 0 to {most}")
    return number


def _about(call: Call, reply: Reply) -> list[Header]:
    """Who served, and why."""
    headers = [
        (b"x-pointsman-call", _ascii(call.id)),
        (b"x-pointsman-model", _ascii(reply.served.model)),
        (b"x-pointsman-endpoint", _ascii(reply.served.endpoint)),
    ]
    if reply.decision_id:
        headers.append((b"x-pointsman-decision", _ascii(reply.decision_id)))
    return headers


def _closing(call: Call) -> bytes:
    """A stream's cost is known at its end only: it goes out as an SSE comment, which every client skips."""
    cost = call.tally.total
    return b": pointsman cost-usd %s\n\n" % (b"unknown" if cost is None else _ascii(to_usd(cost)))


def _ascii(text: str) -> bytes:
    """A header's value. Names come from callers: a line break in one would begin a header of theirs."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return "".join(sign if " " <= sign <= "~" else "?" for sign in text).encode()
