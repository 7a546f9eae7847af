"""Recorded traffic as decisions that can be decided anew: what was weighed, what was taken, what it cost and brought.

A decision's first attempt holds what was weighed; its retries and fallbacks bear the same decision id. All of them are
what the choice led to, so all of them are its cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from ..core import Nanos, Weighed
from ..ledger import Entry, Feedback
from ..stats.offpolicy import are_probabilities

JUDGES: Final = ("user", "judge")
"""Whose grades count, the one that counts most first. What a reply says of itself is left out: a refusal gives a bad
grade, but a good answer gives none, and a mean over outcomes that were picked for being bad says nothing."""
LEAST_RELIABILITY: Final = 0.2
"""Of givers who are right less often a grade says next to nothing, and in a mean it would drown the others."""

NO_ESTIMATES = "nothing was recorded of what was expected of their models"
NO_BEGINNING = "their first attempt lies before the time that was asked for"
NO_DETAILS = "what was weighed cannot be read: their entries were damaged, or a newer pointsman wrote them"
NOT_WEIGHED = "the model that was asked first is none that was weighed (a member of a pool, or what stood in for it)"
AT_ONCE = "several calls were made at once, and none of them alone tells what came of the choice"
NO_PROBABILITIES = "their probabilities do not sum to 1"


class Grade(Struct, frozen=True):
    """What somebody said of an answer."""

    score: float
    """0 to 1."""
    reliability: float = 1.0
    """At least LEAST_RELIABILITY: the giver is right with probability (1 + reliability)/2, so the score moves with the
    true quality by so much."""

    @property
    def quality(self) -> float:
        """The score without the bias of a giver who is wrong now and then: (score − (1−r)/2)/r. Of one grade it may lie
        outside of 0 to 1; its mean does not."""
        return (self.score - (1 - self.reliability) / 2) / self.reliability


class Recorded(Struct, frozen=True):
    """A decision, and what came of it."""

    id: str
    at: float
    """Unix seconds."""
    task: str
    complexity: str
    candidates: tuple[Weighed, ...]
    """Those that could be chosen; each with an expected quality, and their probabilities sum to 1."""
    chosen: int
    """Place among them of the one that was asked first."""
    attempts: int = 1
    cost: Nanos | None = None
    """Of all attempts; None where nobody knows it of one."""
    grade: Grade | None = None
    conversation: str = ""
    """The same for all of one conversation; '' where nobody knows."""
    cached_tokens: int = 0
    """Of the prompt: what the model that was asked first read from its cache."""

    @property
    def model(self) -> str:
        return self.candidates[self.chosen].model

    @property
    def probabilities(self) -> tuple[float, ...]:
        return tuple(candidate.probability for candidate in self.candidates)


class Traffic(Struct, frozen=True):
    decisions: tuple[Recorded, ...]
    """In the order of time."""
    left_out: Mapping[str, int]
    """Why → how many decisions that cannot be decided anew."""
    named: int
    """Attempts of calls that named their model: there was nothing to decide."""
    unreadable_grades: int = 0
    """In the whole ledger: what stands where grades do, and is none."""

    @property
    def models(self) -> frozenset[str]:
        """All that could have been chosen at least once."""
        return frozenset(candidate.model for decision in self.decisions for candidate in decision.candidates)


def read_traffic(entries: Iterable[Entry], grades: Mapping[str, Grade], unreadable_grades: int = 0) -> Traffic:
    """`entries` in the order of time; `grades` by call."""
    attempts: dict[str, list[Entry]] = {}
    named = 0
    for entry in entries:
        if entry.decision_id:
            attempts.setdefault(entry.decision_id, []).append(entry)
        else:
            named += 1
    left_out: Counter[str] = Counter()
    decisions = []
    for of_one in attempts.values():
        why = _unusable(of_one)
        if why:
            left_out[why] += 1
        else:
            decisions.append(_recorded(of_one, grades.get(of_one[0].call_id)))
    return Traffic(tuple(decisions), dict(sorted(left_out.items())), named, unreadable_grades)


def best_grades(feedback: Iterable[Feedback]) -> dict[str, Grade]:
    """Call → the grade that counts: a reader's before a judge's, and of one kind the latest. Those of givers who are
    hardly ever right are left out."""
    best: dict[str, Feedback] = {}
    for one in feedback:
        if one.source not in JUDGES or one.reliability < LEAST_RELIABILITY:
            continue
        other = best.get(one.call_id)
        if other is None or _rank(one) >= _rank(other):
            best[one.call_id] = one
    return {call_id: Grade(one.score, one.reliability) for call_id, one in best.items()}


def _rank(feedback: Feedback) -> tuple[int, float]:
    return -JUDGES.index(feedback.source), feedback.at


def _unusable(attempts: Sequence[Entry]) -> str:
    """Why a decision cannot be decided anew; '' when it can."""
    first = _first(attempts)
    serving = _choosable(first)
    if not first.candidates:
        return NO_BEGINNING if all(attempt.retry for attempt in attempts) else NO_DETAILS
    if first.strategy in ("race", "consensus"):
        return AT_ONCE
    if any(candidate.quality is None for candidate in serving):
        return NO_ESTIMATES
    if not are_probabilities([candidate.probability for candidate in serving]):
        return NO_PROBABILITIES
    if not any(candidate.model == first.model and candidate.probability > 0 for candidate in serving):
        return NOT_WEIGHED
    return ""


def _recorded(attempts: Sequence[Entry], grade: Grade | None) -> Recorded:
    first = _first(attempts)
    serving = _choosable(first)
    return Recorded(
        id=first.decision_id,
        at=first.at,
        task=first.task,
        complexity=first.complexity,
        candidates=serving,
        chosen=[candidate.model for candidate in serving].index(first.model),
        attempts=len(attempts),
        cost=_total(attempts),
        grade=grade,
        conversation=first.conversation or (f"{first.key} {first.session}" if first.session else ""),
        cached_tokens=sum(one.usage.cache_read for one in attempts if one.usage and one.model == first.model),
    )


def _first(attempts: Sequence[Entry]) -> Entry:
    """By what it holds, not by its time: clocks are set back now and then."""
    return next((attempt for attempt in attempts if attempt.candidates), attempts[0])


def _choosable(entry: Entry) -> tuple[Weighed, ...]:
    return tuple(candidate for candidate in entry.candidates if not candidate.rejected)


def _total(attempts: Sequence[Entry]) -> Nanos | None:
    total = 0
    for attempt in attempts:
        if attempt.cost is None:
            return None
        total += attempt.cost
    return Nanos(total)
