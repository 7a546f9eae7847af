"""What recorded calls and grades say, in the words of the learners; and what was learned, as it is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct, structs

from ..core import FAULTS_OF_UPSTREAMS, Nanos, Weighed
from ..ledger import CUT_SHORT, Chosen, Entry, Graded, Learned, Speed
from ..routing import (
    Drift,
    Evidence,
    Grade,
    Outcome,
    Prefill,
    Prompt,
    Retracted,
    RouteState,
    Seen,
    by_kind,
    kind_of,
    recorded_prompt,
)

Expects = Callable[[str, Prompt | None], float | None]
"""The quality, 0 to 1, that is expected now of a model on a prompt that was read earlier (None: on any), without what
grades have taught. None where there is no such model any more."""


class Passed(Struct, frozen=True, array_like=True):
    """A grade that waits: its model was not known when it was read, and may come back."""

    first: int
    """The number of its giver's first word on the answer."""
    number: int
    """Of the latest."""
    model: str


class Lessons(Struct, frozen=True, array_like=True):
    """What is stored of a state: what follows from grades alone. A field is known by its place: new ones go to the end,
    with a default, so that an older pointsman and a newer one read each other's."""

    evidence: dict[str, Evidence]
    drift: dict[str, Drift]
    router: str = ""
    """`InUse.digest` of the router whose expectations the grades were compared with."""
    fell_at: dict[str, float] = {}
    """When a model was last found to do worse than it did, in unix seconds."""
    passed: tuple[Passed, ...] = ()
    """The latest MOST_PASSED at most."""


MOST_PASSED: Final = 256
"""Each is looked for in the ledger once, when its model is there again."""

encode_lessons = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Lessons).decode


def decode_lessons(stored: bytes) -> Lessons | None:
    """None for what cannot be read: a newer pointsman may have written it, or it was damaged."""
    try:
        return _decode(stored)
    except msgspec.DecodeError:
        return None


def forgotten(lessons: Lessons, through: int) -> Lessons:
    """What is left when another router is put in place, or taken away: the grades told how wrong the one before was,
    and a router that was fitted on them knows what they say. To add that up would be to learn it twice. `through`: the
    number of the last one."""
    return Lessons(
        {model: Evidence(epoch=one.epoch, since=through) for model, one in lessons.evidence.items()},
        {},
        "",
        lessons.fell_at,
    )


class Studied(NamedTuple):
    """What grades that were read come to."""

    grades: list[Grade]
    taught: list[Graded]
    """Those of which `grades` are, in their order."""
    passed: list[Passed]
    """Those that wait for their models."""


def read_grades(rows: Sequence[Graded], state: RouteState, through: int, expects: Expects, since: float) -> Studied:
    """What can be learned of these, by a state that goes `through` a number. `since`: as for `grade_of`.

    A grade that is in the state, and was said anew since, is exchanged. Where it was in it once and is no more (its
    model fell, another router came), or nobody knows what was learned of it, nothing is.
    """
    found = Studied([], [], [])
    for one in rows:
        before = one.learned if one.learned is not None and one.learned.number <= through else None
        if before is not None and not _is_exchangeable(before, one, state):
            continue
        grade = grade_of(one, expects, since)
        if grade is not None:
            found.grades.append(grade if before is None else structs.replace(grade, instead=_retracted(before)))
            found.taught.append(one)
        elif one.feedback.source != "automatic" and expects(one.entry.model, None) is None:
            found.passed.append(Passed(one.first, one.number, one.entry.model))
    return found


def still_held(taught: Sequence[Graded], through: int, after: RouteState) -> list[Graded]:
    """Without exchanges that came to nothing, since their models were found to have fallen among the same grades.
    `through`: where the state before `after` ended."""
    return [
        one
        for one in taught
        if one.learned is None or one.learned.number > through or _is_exchangeable(one.learned, one, after)
    ]


def _is_exchangeable(learned: Learned, graded: Graded, state: RouteState) -> bool:
    now = graded.feedback
    if learned.score is None or (learned.score, learned.reliability) == (now.score, now.reliability):
        return False
    return learned.number > state.evidence.get(graded.entry.model, Evidence()).since


def _retracted(learned: Learned) -> Retracted:
    return Retracted(learned.number, learned.score or 0.0, learned.reliability or 0.0)


def still_passed(lessons: Lessons, through: int) -> tuple[Passed, ...]:
    """Of what was stored, and may have been damaged there: what can have been passed over."""
    return tuple(one for one in lessons.passed if 0 < one.first <= one.number <= through)[-MOST_PASSED:]


def grade_of(graded: Graded, expects: Expects, since: float) -> Grade | None:
    """None where nothing can be learned by it.

    Nothing is by what is noticed automatically: that is failures alone, and a model that is asked often has some. They
    count among the attempts that failed (`seen_by`), of which it is known how many did not.

    A call that was routed by what is in use, `since` then, has recorded what was expected of its model. Of any other
    it is asked what would be expected now, on the prompt as its features tell it.

    Where the prompt's vector was not recorded, the grade tells of the model's level and of the kind of task alone: how
    the model departs from that on such prompts is a small part of the noise.
    """
    entry, feedback = graded.entry, graded.feedback
    if feedback.source == "automatic":
        return None
    prompt = recorded_prompt(entry.features)
    prior = None
    if entry.at >= since:
        prior = next((one.prior for one in entry.candidates if one.model == entry.model), None)
    if prior is None:
        prior = expects(entry.model, prompt)
    if prior is None or not 0 <= prior <= 1:
        return None
    return Grade(
        model=entry.model,
        context=_context(prompt),
        score=feedback.score,
        prior=prior,
        reliability=feedback.reliability,
        number=graded.number,
    )


def _context(prompt: Prompt | None) -> tuple[float, ...]:
    from ..routing.contexts import context_of  # late: numpy, and most processes see no grade
    from ..routing.learned.reading import unpack

    try:
        return context_of(prompt, None if prompt is None else unpack(prompt.vector))
    except ValueError:
        return context_of(prompt, None)


def outcomes_of(entries: Sequence[Entry]) -> list[Outcome]:
    """Without what says nothing of its model: its caller left, or was at fault, or the key was. Nor does the winner of
    a race, which is the fastest of several."""
    return [
        Outcome(
            entry.model,
            entry.status == "ok",
            entry.seconds,
            entry.ttft,
            0 if (usage := entry.usage) is None else usage.output_tokens,
            None if usage is None else usage.input_tokens - usage.cache_read,
            kind=kind_of(entry.complexity, entry.task),
            ended=usage is not None and entry.finish not in CUT_SHORT,
            spent=(entry.cost or Nanos(0)) if entry.candidates else Nanos(0),
            explored=explored(entry.model, entry.candidates),
        )
        for entry in entries
        if entry.status != "cancelled"
        and entry.strategy != "race"
        and (not entry.error or entry.error in FAULTS_OF_UPSTREAMS)
    ]


def explored(model: str, candidates: Sequence[Weighed]) -> Nanos:
    """What the choice cost more than that of the best score was expected to cost. Nothing where that one could not have
    been drawn: then it was a conversation that stayed with its model."""
    serving = [one for one in candidates if one.score is not None]
    best = max(serving, key=lambda one: one.score or 0.0, default=None)
    chosen = next((one for one in serving if one.model == model), best)
    if best is None or chosen is None or chosen is best or not (chosen.probability and best.probability):
        return Nanos(0)
    return Nanos(0) if chosen.cost is None or best.cost is None else Nanos(max(0, round(chosen.cost - best.cost)))


def spent_and_explored(choices: Sequence[Chosen]) -> tuple[Nanos, Nanos]:
    """What routed calls cost, and the part of it that exploring cost."""
    return (
        Nanos(sum(one.cost or 0 for one in choices)),
        Nanos(sum(explored(one.model, one.candidates) for one in choices)),
    )


def seen_by(speeds: Sequence[Speed]) -> dict[str, Seen]:
    return {
        speed.model: Seen(
            calls=speed.attempts,
            failed=speed.failed + speed.useless,
            ttft=speed.ttft,
            seconds=speed.seconds,
            timed=speed.ok,
            output_tokens=speed.output_tokens,
            prefill=Prefill(
                answers=speed.streamed,
                tokens=speed.tokens,
                ttft=speed.tokens_ttft,
                tokens_squared=speed.tokens_squared,
                tokens_by_ttft=speed.tokens_by_ttft,
            ),
            lengths=by_kind({kind_of(*read): lengths for read, lengths in speed.lengths.items()}),
        )
        for speed in speeds
    }
