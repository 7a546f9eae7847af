"""How good answers were: what users, judges and the entries themselves say of them, joined with the attempts graded.

A feedback bears a number, and learners remember up to which they have come. One that cannot be seen yet, since its
call's entry still lies in a journal, is given a new number once it can; so is one that replaces another of the same
giver. So whoever asks for what comes after a number misses nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from math import isfinite, sqrt
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Struct

from ..core import InvalidCall
from .answers import ANSWERED, find_answer, read_entry, time_in
from .entries import Entry
from .names import Names
from .rows import pack_id, unpack_id
from .store import Store, writing

Source = Literal["user", "automatic", "judge"]
Why = Literal["", "refused", "cut_off", "not_json", "schema", "tool_arguments"]
"""What was wrong with an answer, where it was noticed by itself."""

LONGEST_ID: Final = 200


class Feedback(Struct, frozen=True):
    """What somebody says of the answer to a call."""

    call_id: str
    at: float
    """Unix seconds."""
    score: float
    """0 (useless) to 1 (as good as it gets)."""
    source: Source = "user"
    reliability: float = 1.0
    """0 to 1: how much it is to be believed. Its giver is right with probability (1 + reliability)/2."""
    key: str = ""
    """Id of the key that gave it; '' for none."""
    attempt_id: str = ""
    """The attempt that is meant; '' for the one that answered the call."""
    why: Why = ""
    """'' unless it is automatic."""


_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Learned(Struct, frozen=True, array_like=True):
    """What a state holds of a grade, whatever its giver has said since."""

    number: int
    """That it had. A state that goes through it holds it, one that does not (others were lost) does not."""
    score: _Share | None = None
    """None: nobody knows any more."""
    reliability: _Share | None = None


class Graded(Struct, frozen=True):
    """A feedback with the attempt that it grades, which has its decision even where it was a fallback."""

    number: int
    feedback: Feedback
    entry: Entry
    first: int
    """The number of the giver's first word on this answer: it stays the same."""
    learned: Learned | None = None


class MeanScore(Struct, frozen=True):
    """What users and judges say of a model at a task, weighted by reliability."""

    model: str
    task: str
    count: int
    mean: float
    sd: float | None
    """Of single scores; None where there is but one."""


class Feedbacks:
    """May be used from any thread. Methods raise LedgerError; each takes the time of a small transaction, or more where
    entries have to be looked through, so an event loop gives them to a thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, feedback: Feedback) -> int:
        """Its number. A later one of the same source and key for the same call takes its place. A call that has no
        entry yet is waited for. Raises InvalidCall for a score that is none."""
        _check(feedback)
        with self._connected("written") as connection:
            looked = _latest_entry(connection)
            entry = find_answer(connection, feedback.call_id, feedback.attempt_id)
            if time_in(feedback.call_id) is None and not feedback.attempt_id:
                looked = 0  # only the latest entries were looked at
            with writing(connection):
                values = _values(feedback)
                giver = (values[0], feedback.source, feedback.key, values[1])
                first, learned = connection.execute(_BEFORE, giver).fetchone() or (0, "")
                return int(connection.execute(_ADD, (*values, entry, looked, first, learned)).lastrowid or 0)

    def graded(self, after: int = 0, most: int = 1000) -> list[Graded]:
        """Up to `most` of those with a number above `after`, in the order of numbers, as far as their attempts are in
        the ledger. An empty list: there is no more for now. What is no feedback (see `unreadable`) is passed over."""
        if not self._store.path.exists():
            return []
        with self._connected("read") as connection:
            _join_late(connection)
            names = Names(connection)
            found = []
            for number, at, first, learned, *values in connection.execute(_GRADED, (after, most)).fetchall():
                entry = read_entry(connection, at, names)
                if entry is not None:
                    found.append(Graded(number, _feedback(values), entry, first or number, _learned(learned)))
                names.trim()
            return found

    def since(self, at: float | None) -> Iterator[Feedback]:
        """What was said of attempts that began then (unix seconds; None: of all) or later, read as it goes."""
        if not self._store.path.exists():
            return
        with self._connected("read") as connection:
            _join_late(connection)
            for values in connection.execute(_SINCE, (float("-inf") if at is None else at,)):
                yield _feedback(values)

    def unreadable(self) -> int:
        """How many rows hold what nobody can have given through us, as a score of 5: the ledger was changed by other
        hands, or damaged."""
        if not self._store.path.exists():
            return 0
        with self._connected("read") as connection:
            return int(connection.execute(f"SELECT count(*) FROM feedback WHERE NOT {_IS_READABLE}").fetchone()[0])

    def means(self, since: float | None = None) -> list[MeanScore]:
        """By model and task, of what was said from `since` (unix seconds) on. Automatic outcomes are left out: they
        are noticed for failures only, so their mean tells nothing."""
        if not self._store.path.exists():
            return []
        with self._connected("read") as connection:
            _join_late(connection)
            rows = connection.execute(_MEANS, (float("-inf") if since is None else since,)).fetchall()
        return [
            MeanScore(model, task, count, mean, _deviation(count, mean, mean_of_squares))
            for model, task, count, mean, mean_of_squares in rows
        ]

    def of(self, call_id: str) -> list[Feedback]:
        """All that was said of a call, in the order of numbers."""
        if not self._store.path.exists():
            return []
        with self._connected("read") as connection:
            rows = connection.execute(_OF_CALL, (pack_id(call_id),)).fetchall()
        return [_feedback(values) for values in rows]

    def target(self, call_id: str, attempt_id: str = "") -> Entry | None:
        """The attempt that a feedback of a call would grade, or that very one; None while none has answered it."""
        if not self._store.path.exists():
            return None
        with self._connected("read") as connection:
            number = find_answer(connection, call_id, attempt_id)
            return read_entry(connection, number, Names(connection)) if number else None

    @contextmanager
    def _connected(self, done: str) -> Iterator[sqlite3.Connection]:
        with self._store.explaining(done), closing(self._store.connect()) as connection:
            yield connection


RELIABILITY: Final[dict[Why, float]] = {
    "refused": 0.5,  # whoever asked got nothing; but it may have been right to refuse
    "cut_off": 0.3,  # what came may have been of use, and the prompt may have asked for too much
    "not_json": 0.9,  # a program that was promised JSON can do nothing with it
    "schema": 0.7,  # as useless to a strict program; but a schema may ask for what cannot be, and others look past it
    "tool_arguments": 0.8,  # the tool cannot be called; a schema may be at fault here too
}
"""How much is to be believed of what was noticed by itself."""


def automatic(entry: Entry, why: Why) -> Feedback:
    """That the answer of this attempt was of no use, as was noticed by itself.

    Failures only are noticed: that an attempt went well says that an answer came, not that it was good.
    """
    return Feedback(
        entry.call_id,
        entry.at,
        0.0,
        "automatic",
        reliability=RELIABILITY[why],
        key=entry.key,
        attempt_id=entry.attempt_id,
        why=why,
    )


def mark_learned(connection: sqlite3.Connection, grades: Sequence[Graded]) -> None:
    """For a state that is being written: it holds these as they are here, though their givers may have said something
    else meanwhile."""
    marks = []
    for one in grades:
        said = one.feedback
        mark = _encode(Learned(one.number, said.score, said.reliability)).decode()
        marks.append((mark, pack_id(said.call_id), said.source, said.key, pack_id(said.attempt_id)))
    connection.executemany(_MARK, marks)


def _check(feedback: Feedback) -> None:
    for name in ("score", "reliability"):
        value = getattr(feedback, name)
        if not 0 <= value <= 1:  # NaN too
            raise InvalidCall(f"The {name} of a feedback is {value!r}: it goes from 0 to 1.", param=name)
    if feedback.source not in get_args(Source):
        given = f"{feedback.source!r}; there are {', '.join(get_args(Source))}"
        raise InvalidCall(f"The source of a feedback is {given}.", param="source")
    for name in ("call_id", "attempt_id"):
        text = getattr(feedback, name)
        if len(text) > LONGEST_ID or not text.isprintable() or not (text or name == "attempt_id"):
            raise InvalidCall(f"{text[:50]!r} is no id of a call: 1 to {LONGEST_ID} characters are.", param=name)
    if not isfinite(feedback.at):
        raise InvalidCall(f"The time of a feedback is {feedback.at!r}: it is unix seconds.", param="at")


def _latest_entry(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM entries").fetchone()[0])


def _join_late(connection: sqlite3.Connection) -> None:
    """Joins what waited for its entry: each new entry is looked at once, and only while something waits."""
    connection.execute("BEGIN")  # one state of the ledger
    try:
        latest = _latest_entry(connection)
        looked = connection.execute("SELECT min(looked) FROM feedback WHERE entry = 0").fetchone()[0]
        if looked is None or looked >= latest:
            return
        last = connection.execute("SELECT max(number) FROM feedback").fetchone()[0]
        answers = dict(connection.execute(_LATE, (looked,)).fetchall())
    finally:
        connection.execute("COMMIT")
    with writing(connection):
        connection.executemany(_JOIN, [(entry, number) for number, entry in sorted(answers.items())])
        connection.execute("UPDATE feedback SET looked = ? WHERE entry = 0 AND number <= ?", (latest, last))


def _learned(stored: str) -> Learned | None:
    """None for what was damaged."""
    try:
        return _decode(stored) if stored else None
    except (msgspec.DecodeError, TypeError):
        return None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Learned).decode


def _values(feedback: Feedback) -> tuple[object, ...]:
    """In the order of _COLUMNS."""
    ids = (pack_id(feedback.call_id), pack_id(feedback.attempt_id))
    return (*ids, feedback.at, feedback.score, feedback.source, feedback.reliability, feedback.key, feedback.why)


def _feedback(values: Sequence[object]) -> Feedback:
    call_id, attempt_id, at, score, source, reliability, key, why = values
    return Feedback(
        call_id=unpack_id(call_id),  # type: ignore[arg-type]
        attempt_id=unpack_id(attempt_id),  # type: ignore[arg-type]
        at=at,  # type: ignore[arg-type]
        score=score,  # type: ignore[arg-type]
        source=source,  # type: ignore[arg-type]
        reliability=reliability,  # type: ignore[arg-type]
        key=key,  # type: ignore[arg-type]
        why=why,  # type: ignore[arg-type]
    )


def _deviation(count: int, mean: float, mean_of_squares: float) -> float | None:
    """Of a sample: what it has of spread, times n / (n - 1) since its own mean lies in its middle."""
    if count < 2:
        return None
    return sqrt(max(0.0, mean_of_squares - mean * mean) * count / (count - 1))


_COLUMNS = "call_id, attempt_id, at, score, source, reliability, key, why"

_ADD = f"INSERT OR REPLACE INTO feedback ({_COLUMNS}, entry, looked, first, learned) VALUES ({', '.join('?' * 12)})"

_BEFORE = """
SELECT CASE WHEN first THEN first ELSE number END, learned FROM feedback
WHERE call_id = ? AND source = ? AND key = ? AND attempt_id = ? AND entry != 0
"""
"""What waits for its entry was given to no learner yet."""

_MARK = "UPDATE feedback SET learned = ? WHERE call_id = ? AND source = ? AND key = ? AND attempt_id = ?"

_JOIN = f"""
INSERT OR REPLACE INTO feedback ({_COLUMNS}, entry, looked, first, learned)
SELECT {_COLUMNS}, ?, 0, first, learned FROM feedback WHERE number = ? AND entry = 0
"""
"""The row is replaced by one with a new number. Nothing happens where another process has joined it meanwhile."""

_LATE = f"""
SELECT feedback.number, entries.number
FROM entries CROSS JOIN feedback ON feedback.call_id = entries.call_id AND feedback.entry = 0
    CROSS JOIN contexts ON contexts.id = entries.context
WHERE entries.number > ? AND (feedback.attempt_id = entries.attempt_id OR feedback.attempt_id = '' AND {ANSWERED})
ORDER BY contexts.status = 'ok', contexts.retry, entries.number
"""
"""Of several entries the best comes last, and stays in the dictionary."""

ENTRY_OF: Final = "entries.number = feedback.entry AND entries.call_id = feedback.call_id"
"""SQL, the call too: numbers of entries that were erased are used again."""

_OF_CALL = f"SELECT {_COLUMNS} FROM feedback WHERE call_id = ? ORDER BY number"

_IS_READABLE = f"""(
    typeof(score) = 'real' AND score BETWEEN 0 AND 1 AND typeof(reliability) = 'real' AND reliability BETWEEN 0 AND 1
    AND typeof(feedback.at) = 'real' AND source IN ({", ".join(f"'{source}'" for source in get_args(Source))})
)"""

_GRADED = f"""
SELECT number, entry, first, learned, {_COLUMNS} FROM feedback
WHERE number > ? AND entry != 0 AND {_IS_READABLE} AND EXISTS (SELECT 1 FROM entries WHERE {ENTRY_OF})
ORDER BY number LIMIT ?
"""

_SINCE = f"""
SELECT {", ".join(f"feedback.{column}" for column in _COLUMNS.split(", "))} FROM feedback
WHERE entry != 0 AND {_IS_READABLE} AND EXISTS (SELECT 1 FROM entries WHERE {ENTRY_OF} AND entries.at >= ?)
ORDER BY number
"""

_MEANS = f"""
SELECT contexts.model, contexts.task, count(*), sum(reliability * score) / sum(reliability),
    sum(reliability * score * score) / sum(reliability)
FROM feedback CROSS JOIN entries ON {ENTRY_OF} CROSS JOIN contexts ON contexts.id = entries.context
WHERE feedback.at >= ? AND {_IS_READABLE} AND source != 'automatic' AND reliability > 0
GROUP BY 1, 2 ORDER BY 1, 2
"""
