"""`Idempotency-Key`: the same call, sent again under the same name by the same caller, is asked once.

    ask = once.under(name) if name else ask

Whoever sends it while the first is under way waits for that one; whoever sends it later gets its answer again, for a
day. Nothing is sent, paid or recorded for either. What failed is forgotten, so that it may be tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from copy import copy
from hashlib import sha256

from msgspec import Struct

from ..core import (
    Answer,
    Ask,
    Broken,
    Call,
    CallError,
    Clock,
    Delta,
    InvalidCall,
    PointsmanError,
    Provenance,
    Reply,
    Served,
)

LIFETIME = 86_400.0
MOST_ANSWERS = 10_000
MOST_BYTES = 64 * 1024 * 1024
"""Of all answers together; the oldest make room."""
LONGEST_NAME = 255
RECORD = 500
"""Bytes that an answer, or an event of one, takes beside what it says."""

Identity = tuple[str, str, str]
"""Id of the caller's key, dialect, and the name that the caller gave."""


class NameReused(CallError):
    """The name came with another call before."""

    kind = "idempotency_key_reused"
    status = 422


class Kept(Struct, frozen=True):
    """An answer as it was given: whole, or in the events of its stream."""

    digest: bytes
    """Of the call."""
    until: float
    """Steady seconds."""
    served: Served
    dialect: str
    provenance: Provenance
    answer: Answer | None = None
    items: tuple[Delta, ...] = ()

    @property
    def size(self) -> int:
        """In bytes, about."""
        parts = (self.answer,) if self.answer is not None else self.items
        tools = sum(len(tool.arguments) for part in parts for tool in part.tools)
        said = sum(len(part.text) + len(part.reasoning) + len(part.refusal) for part in parts)
        return sum(RECORD + len(part.raw) for part in parts) + 4 * (said + tools)


class Once:
    """Before an Ask. In memory, and for one loop: each process has its own."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._under_way: dict[Identity, _First] = {}
        self._kept: dict[Identity, Kept] = {}
        """The oldest first."""
        self.kept_bytes = 0

    def under(self, name: str) -> Ask:
        """The Ask of a call that bears this name. Raises InvalidCall for one that is too long, and NameReused, beside
        what the Ask itself raises."""

        async def ask(call: Call) -> Reply:
            if len(name) > LONGEST_NAME:
                raise InvalidCall(f"The idempotency key has {len(name)} characters; at most {LONGEST_NAME} are taken.")
            return await self._once((call.caller.key, call.dialect, name), call)

        return ask

    async def _once(self, identity: Identity, call: Call) -> Reply:
        digest = sha256(b"%b\x00%b" % (repr(call.needs).encode(), call.body)).digest()
        self._make_room()
        while True:
            kept = self._kept.get(identity)
            first = self._under_way.get(identity)
            if kept is None and first is None:
                return await self._as_first(identity, call, digest)
            if digest != (kept or first).digest:  # type: ignore[union-attr]  # one of the two is there
                raise NameReused("This idempotency key was used for another call: each call needs one of its own.")
            if kept is not None:
                return self._again(kept)
            assert first is not None, "one of the two is there"
            outcome = await asyncio.shield(first.outcome)
            if isinstance(outcome, PointsmanError):
                raise copy(outcome)
            if outcome is not None:
                return self._again(outcome)
            # Whoever was first has left: the next one is the first now.

    async def _as_first(self, identity: Identity, call: Call, digest: bytes) -> Reply:
        first = self._under_way[identity] = _First(digest)
        try:
            reply = await self._ask(call)
            if call.stream:
                source = self._watched(identity, first, reply)
                # Begun here: one that was never begun would not be closed, and others would wait for ever.
                return self._reply(reply, await anext(source, ()), source)
            async with reply:
                answer = await reply.read()
            kept = self._keepable(first, reply, answer=answer)
        except PointsmanError as error:
            self._end(identity, first, error)
            raise
        except BaseException:
            self._end(identity, first, None)
            raise
        self._end(identity, first, kept)
        return self._again(kept)

    async def _watched(
        self, identity: Identity, first: _First, reply: Reply
    ) -> AsyncGenerator[Sequence[Delta | Broken], None]:
        """The items of a reply as they come. How it ends is known here before whoever reads it sees it."""
        items: list[Delta] = []
        outcome: Kept | PointsmanError | None = None
        try:
            async with reply:
                async for item in reply:
                    if isinstance(item, Broken):
                        outcome = item.error
                    else:
                        items.append(item)
                    yield (item,)
            outcome = outcome or self._keepable(first, reply, items=tuple(items))
        except PointsmanError as error:
            outcome = error
            raise
        finally:
            self._end(identity, first, outcome)

    def _keepable(
        self, first: _First, reply: Reply, *, answer: Answer | None = None, items: tuple[Delta, ...] = ()
    ) -> Kept:
        until = self._clock.steady() + LIFETIME
        return Kept(first.digest, until, reply.served, reply.dialect, reply.provenance, answer, items)

    def _end(self, identity: Identity, first: _First, outcome: Kept | PointsmanError | None) -> None:
        """None: whoever was first has left."""
        if first.outcome.done():
            return
        # A copy: whoever tells a caller of an error adds to its message.
        first.outcome.set_result(copy(outcome) if isinstance(outcome, PointsmanError) else outcome)
        del self._under_way[identity]
        if isinstance(outcome, Kept):
            self._kept[identity] = outcome
            self.kept_bytes += outcome.size
            self._make_room()

    def _make_room(self) -> None:
        while self._kept:
            identity, oldest = next(iter(self._kept.items()))
            is_full = len(self._kept) > MOST_ANSWERS or self.kept_bytes > MOST_BYTES
            if not is_full and self._clock.steady() < oldest.until:
                return
            del self._kept[identity]
            self.kept_bytes -= oldest.size

    def _again(self, kept: Kept) -> Reply:
        reply = Reply(
            kept.served,
            clock=self._clock,
            started=self._clock.steady(),
            dialect=kept.dialect,
            answer=kept.answer,
            head=kept.items,
        )
        reply.provenance = kept.provenance
        return reply

    def _reply(
        self, reply: Reply, head: Sequence[Delta | Broken], source: AsyncGenerator[Sequence[Delta | Broken], None]
    ) -> Reply:
        deltas = [item for item in head if isinstance(item, Delta)]
        watched = Reply(
            reply.served,
            clock=self._clock,
            started=self._clock.steady(),
            dialect=reply.dialect,
            head=deltas,
            source=source,
        )
        watched.provenance = reply.provenance
        return watched


class _First:
    """A call that is under way."""

    __slots__ = ("digest", "outcome")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.outcome: asyncio.Future[Kept | PointsmanError | None] = asyncio.get_running_loop().create_future()
