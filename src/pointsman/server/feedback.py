"""`POST /v1/feedback`: how good the answer to a call was, from whoever made the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from msgspec import Struct

from ..core import CallError, Clock, InvalidCall
from ..dialects.wire import read_call
from ..gateway.elected import Elected
from ..ledger import Entry, Feedback, Key, Ledger
from .exchange import Exchange
from .http import JSON_LINES, json_body

MOST_BYTES: Final = 16 * 1024


class UnknownCall(CallError):
    """Nothing that this key may grade: one answer to whoever asks for a call that is not there and for another's."""

    kind = "unknown_call"
    status = 404


class Grade(Struct, frozen=True):
    """The body. One of `score`, `thumb` and `rating` says how good the answer was; anything else in it, such as a
    comment, is not kept."""

    call_id: str = ""
    id: str = ""
    """The same under another name."""
    score: float | None = None
    """0 to 1."""
    thumb: Literal["up", "down"] | None = None
    rating: float | None = None
    """1 to 5."""
    source: str | None = None
    """Who says it: 'user', as where nothing is stated, or 'judge'."""
    reliability: float | None = None
    """0 to 1: how much it is to be believed; 1 where nothing is stated."""


class Taken(Struct, frozen=True):
    """The answer: what was graded."""

    call_id: str
    model: str
    task: str
    score: float
    object: str = "feedback"


class FeedbackDoor:
    """Takes one feedback at a time: to look for a call that is not there takes a while, and a thread."""

    def __init__(
        self,
        ledger: Ledger,
        elected: Elected,
        clock: Clock,
        *,
        authorise: Callable[[Exchange], Key],
        max_body: int,
    ) -> None:
        self._ledger = ledger
        self._elected = elected
        self._wall = clock.wall
        self._authorise = authorise
        self._max_body = min(max_body, MOST_BYTES)
        self._one_at_a_time = asyncio.Lock()

    async def take(self, exchange: Exchange) -> None:
        key = self._authorise(exchange)
        grade = read_call(_decoder, await json_body(exchange, self._max_body))
        call_id = _call_of(grade)
        said = Feedback(
            call_id,
            self._wall(),
            _score_of(grade),
            source=_source_of(grade),
            reliability=_within(1.0 if grade.reliability is None else grade.reliability, "reliability", 0, 1),
            key=key.id,
            attempt_id=self._elected.find(call_id),
        )
        async with self._one_at_a_time:
            entry = await asyncio.to_thread(self._keep, key, said)
        taken = Taken(said.call_id, entry.model, entry.task, said.score)
        exchange.respond(200, JSON_LINES, msgspec.json.encode(taken))

    def _keep(self, key: Key, said: Feedback) -> Entry:
        """The attempt that was graded. In a thread."""
        call_id, target = said.call_id, self._ledger.feedback.target
        entry = target(call_id, said.attempt_id)
        if entry is None:  # it may still lie in a journal, another worker's too
            self._ledger.flush()
            entry = target(call_id, said.attempt_id)
        if entry is None or (entry.key != key.id and "admin" not in key.scopes):
            raise UnknownCall(
                f"This key has had no answer to a call {call_id!r}. The id of a call is in the header "
                "`x-pointsman-call` of its answer; a call that failed, or was stopped before it began, has none to "
                "grade."
            )
        self._ledger.feedback.add(said)
        return entry


_decoder = msgspec.json.Decoder(Grade)

LONGEST_ID: Final = 200


def _call_of(grade: Grade) -> str:
    call_id = grade.call_id or grade.id
    if not call_id or (grade.id and grade.id != call_id):
        raise InvalidCall("`call_id` must be the id of one call: the header `x-pointsman-call`.", param="call_id")
    if len(call_id) > LONGEST_ID or not call_id.isprintable():
        raise InvalidCall(f"`call_id` is no id of a call: {call_id[:50]!r}.", param="call_id")
    return call_id


def _score_of(grade: Grade) -> float:
    """0 to 1."""
    given = {name: value for name in ("score", "thumb", "rating") if (value := getattr(grade, name)) is not None}
    if len(given) != 1:
        found = f"it has {' and '.join(given)}" if given else "it has none"
        raise InvalidCall(
            f'A feedback has one of `score` (0 to 1), `thumb` ("up" or "down") and `rating` (1 to 5); {found}.',
            param="score",
        )
    if grade.thumb is not None:
        return 1.0 if grade.thumb == "up" else 0.0
    if grade.rating is not None:
        return (_within(grade.rating, "rating", 1, 5) - 1) / 4
    return _within(grade.score, "score", 0, 1)


def _source_of(grade: Grade) -> Literal["user", "judge"]:
    match grade.source:
        case None | "user":
            return "user"
        case "judge":
            return "judge"
    raise InvalidCall(
        f'`source` is {grade.source[:50]!r}: it is "user" or "judge". What fails by itself is noticed here by itself.',
        param="source",
    )


def _within(value: float | None, name: str, least: float, most: float) -> float:
    if value is None or not least <= value <= most:
        raise InvalidCall(f"`{name}` is {value}: it goes from {least:g} to {most:g}.", param=name)
    return float(value)
