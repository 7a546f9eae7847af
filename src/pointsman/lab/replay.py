"""Recorded traffic decided anew by another policy, and what that policy would have brought. It calls nobody.

What would have come of other choices is estimated from what came of those that were made, by the probabilities with
which they were made (`stats/offpolicy.py`). Where the log cannot tell, that is said, with what would help.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from random import Random
from typing import Literal

from msgspec import Struct

from ..core import Nanos, Weighed
from ..stats.offpolicy import (
    REFUSED,
    Decided,
    OffPolicyEstimate,
    bounded_variance,
    evaluate,
    mean_outcome,
)
from .redecided import Redecided, redecide
from .replay_caches import Caches, caches_lost
from .replay_policies import ReplayPolicy
from .traffic import Recorded, Traffic

NOT_IN_SAVINGS = (
    "Not in net savings: limits that a model would reach with more traffic, further calls that a worse answer leads "
    "to, and what pointsman itself takes of this machine. To decide, it calls nobody, so that costs no money."
)


class TaskChange(Struct, frozen=True):
    task: str
    decisions: int
    changed: int


class Comparison(Struct, frozen=True):
    """One kind of outcome, per decision: what it was, and what it would have been."""

    outcome: Literal["quality", "cost"]
    """Quality from 0 to 1, cost in nano-dollars."""
    observed: int
    """Decisions of which the outcome is known."""
    judged: int
    """Of these, the ones of which the log can tell what the policy would have brought."""
    logged: OffPolicyEstimate
    """What the judged ones brought; where there are none, all that were observed."""
    estimates: tuple[OffPolicyEstimate, ...]
    """What they would have: ips, snips, dr, and the difference to `logged`."""
    believed_logged: float | None
    """What was expected of all decisions that were decided anew, under what was in force; None where there are none."""
    believed: float | None
    """The same under the policy: no evidence, and in no interval."""

    @property
    def difference(self) -> OffPolicyEstimate:
        return self.estimates[-1]


class Savings(Struct, frozen=True):
    """Net: what all attempts cost, retries and fallbacks included, less what the policy's would have, and less what
    caches cost that it would have had to read anew. Nano-dollars."""

    decisions: int
    attempts: int
    spent: Nanos
    saved: float | None
    """None where the log cannot tell."""
    low: float | None
    high: float | None
    caches: Caches = Caches()


class Note(Struct, frozen=True):
    """What the log cannot tell, and what would help."""

    problem: str
    help: str = ""


class Replay(Struct, frozen=True):
    policy: str
    seed: int
    traffic: Traffic
    changed: int
    by_task: tuple[TaskChange, ...]
    """The task with most decisions first."""
    quality: Comparison
    cost: Comparison
    savings: Savings
    notes: tuple[Note, ...]
    remarks: tuple[str, ...]
    shown: tuple[Redecided, ...]
    """Some that would have been decided otherwise, in the order of time."""


def replay(
    traffic: Traffic, policy: ReplayPolicy, *, seed: int = 0, show: int = 0, dearer: Mapping[str, float] | None = None
) -> Replay:
    """The same arguments give the same Replay. The seed draws what a policy that leaves it to chance would have chosen,
    and which `show` changed decisions are shown; estimates of outcomes do not depend on it. `dearer`: model →
    nano-dollars by which a token that is read anew costs more than one from its cache."""
    redecided = [redecide(decision, policy, seed) for decision in traffic.decisions]
    changed = [one for one in redecided if one.is_changed]
    covered = _telling(redecided)
    quality = _compare("quality", redecided, covered)
    cost = _compare("cost", redecided, covered)
    savings = _savings(covered, cost, caches_lost(redecided, dearer or {}))
    return Replay(
        policy=policy.name,
        seed=seed,
        traffic=traffic,
        changed=len(changed),
        by_task=_by_task(redecided),
        quality=quality,
        cost=cost,
        savings=savings,
        notes=_notes(redecided, covered, quality, cost),
        remarks=policy.remarks if savings.saved is None else (*policy.remarks, NOT_IN_SAVINGS),
        shown=_sample(changed, show, seed),
    )


def _telling(redecided: Sequence[Redecided]) -> list[Redecided]:
    """The decisions of which the log can tell. None at all where that are only those that stay as they were: of the
    policy they would tell nothing."""
    covered = [one for one in redecided if one.is_covered]
    if len(covered) < len(redecided) and all(one.target == one.recorded.probabilities for one in covered):
        return []
    return covered


def _by_task(redecided: Sequence[Redecided]) -> tuple[TaskChange, ...]:
    decisions = Counter(one.recorded.task for one in redecided)
    changed = Counter(one.recorded.task for one in redecided if one.is_changed)
    ordered = sorted(decisions, key=lambda task: (-decisions[task], task))
    return tuple(TaskChange(task, decisions[task], changed[task]) for task in ordered)


def _sample(changed: Sequence[Redecided], show: int, seed: int) -> tuple[Redecided, ...]:
    places = sorted(Random(f"{seed}:shown").sample(range(len(changed)), min(show, len(changed))))
    return tuple(changed[place] for place in places)


def _compare(
    outcome: Literal["quality", "cost"], redecided: Sequence[Redecided], covered: Sequence[Redecided]
) -> Comparison:
    expected, observed = (_qualities, _quality) if outcome == "quality" else (_costs, _cost)
    known = [value for one in redecided if (value := observed(one.recorded)) is not None]
    judged = [one for one in covered if observed(one.recorded) is not None]
    decided = _graded(judged) if outcome == "quality" else _priced(judged)
    return Comparison(
        outcome=outcome,
        observed=len(known),
        judged=len(judged),
        logged=mean_outcome([one.outcome for one in decided] or known),
        estimates=evaluate(decided),
        believed_logged=_believed(redecided, expected, lambda one: one.recorded.probabilities),
        believed=_believed(redecided, expected, lambda one: one.target),
    )


def _quality(decision: Recorded) -> float | None:
    return None if decision.grade is None else decision.grade.quality


def _cost(decision: Recorded) -> float | None:
    return None if decision.cost is None else float(decision.cost)


def _qualities(candidates: Sequence[Weighed]) -> tuple[float, ...]:
    return tuple(0.5 if one.quality is None else one.quality for one in candidates)


def _costs(candidates: Sequence[Weighed]) -> tuple[float, ...]:
    """What is unknown is taken for the mean of the others: whatever stands here, the estimates stay unbiased."""
    known = [one.cost for one in candidates if one.cost is not None]
    usual = fsum(known) / len(known) if known else 0.0
    return tuple(usual if one.cost is None else one.cost for one in candidates)


def _graded(judged: Sequence[Redecided]) -> list[Decided]:
    decided = []
    for one in judged:
        grade = one.recorded.grade
        assert grade is not None, "only graded decisions are judged"
        expected = _qualities(one.recorded.candidates)
        slope = grade.reliability
        # A giver who is wrong now and then says yes with probability 1/2 + slope·(q − 1/2).
        variance = tuple(bounded_variance(0.5 + slope * (q - 0.5)) / slope**2 for q in expected)
        decided.append(_decided(one, grade.quality, expected, variance))
    return decided


def _priced(judged: Sequence[Redecided]) -> list[Decided]:
    """A cost scatters in proportion to what was expected of it; in which proportion, all of them together say."""
    squares, errors = [], []
    for one in judged:
        expected = _costs(one.recorded.candidates)[one.recorded.chosen]
        squares.append(expected**2)
        errors.append(((one.recorded.cost or 0) - expected) ** 2)
    relative = fsum(errors) / fsum(squares) if any(squares) else 0.0
    decided = []
    for one in judged:
        costs = _costs(one.recorded.candidates)
        variance = tuple(relative * cost**2 for cost in costs)
        decided.append(_decided(one, float(one.recorded.cost or 0), costs, variance))
    return decided


def _decided(one: Redecided, outcome: float, expected: tuple[float, ...], variance: tuple[float, ...]) -> Decided:
    recorded = one.recorded
    return Decided(recorded.chosen, outcome, recorded.probabilities, one.target, expected, variance)


def _believed(
    redecided: Sequence[Redecided],
    expected: Callable[[Sequence[Weighed]], tuple[float, ...]],
    chances: Callable[[Redecided], tuple[float, ...]],
) -> float | None:
    """The mean of what was expected, over all decisions."""
    if not redecided:
        return None
    total = fsum(
        chance * value
        for one in redecided
        for chance, value in zip(chances(one), expected(one.recorded.candidates), strict=True)
    )
    return total / len(redecided)


def _savings(covered: Sequence[Redecided], cost: Comparison, caches: Caches) -> Savings:
    judged = [one.recorded for one in covered if one.recorded.cost is not None]
    change, n = cost.difference, len(judged)
    value, low, high = change.value, change.low, change.high
    return Savings(
        decisions=n,
        attempts=sum(decision.attempts for decision in judged),
        spent=Nanos(sum(decision.cost or 0 for decision in judged)),
        saved=None if value is None else -value * n - caches.rebuilt,
        low=None if high is None else -high * n - caches.rebuilt,
        high=None if low is None else -low * n - caches.rebuilt,
        caches=caches,
    )


def _notes(
    redecided: Sequence[Redecided], covered: Sequence[Redecided], quality: Comparison, cost: Comparison
) -> tuple[Note, ...]:
    n = len(redecided)
    notes = []
    if not covered and n and all(one.recorded.probabilities[one.recorded.chosen] >= 1 for one in redecided):
        notes.append(
            Note(
                f"{_each(n)} taken with probability 1: nothing else was tried, so no outcome tells of this policy.",
                "Routes try other models now and then from the first graded call on: grade some answers "
                "(`pointsman feedback`, POST /v1/feedback).",
            )
        )
    elif len(covered) < n:
        unseen, staying = sum(not one.is_covered for one in redecided), _staying(redecided)
        rest = f"estimates are of the other {len(covered):,}" if covered else "and in the others it changes nothing"
        went_on = f" In {staying:,} of them a conversation went on: there nothing is ever tried out." if staying else ""
        notes.append(
            Note(
                f"In {unseen:,} of {n:,} decisions the policy would take a model that could not have been chosen then. "
                f"No outcome tells of them; {rest}.{went_on}",
                "A policy nearer to what is in force, or more that is tried out (`learning: {explore: …}`).",
            )
        )
    if quality.observed < REFUSED:
        notes.append(
            Note(
                f"Decisions whose answer was graded: {quality.observed:,} of {n:,}. That is too few to say anything of "
                "quality.",
                f"At least {REFUSED} grades, by readers or a judge (`pointsman feedback`, POST /v1/feedback).",
            )
        )
    for comparison in (quality, cost):
        notes += _too_little(comparison)
    if cost.observed < n:
        notes.append(Note(f"Of {n - cost.observed:,} decisions nobody knows what they cost: no cost counts them."))
    return tuple(notes)


def _staying(redecided: Sequence[Redecided]) -> int:
    """Of the decisions of which the log cannot tell: those at which a conversation stayed with its model."""
    begun: set[str] = set()
    staying = 0
    for one in redecided:
        recorded = one.recorded
        goes_on = recorded.conversation in begun and recorded.probabilities[recorded.chosen] >= 1
        staying += goes_on and not one.is_covered
        if recorded.conversation:
            begun.add(recorded.conversation)
    return staying


def _too_little(comparison: Comparison) -> list[Note]:
    """Outcomes enough, but not for this policy."""
    n, n_eff = comparison.judged, comparison.difference.n_eff
    if n < REFUSED or comparison.difference.strength != "none" or n_eff <= 0:
        return []
    needed = round(n * REFUSED / n_eff)
    return [
        Note(
            f"For {comparison.outcome}, {n:,} decisions are worth only {n_eff:,.0f} of this policy's own: it mostly "
            "takes what the log rarely tried.",
            f"About {needed:,} decisions like these, a policy nearer to what is in force, or more that is tried out "
            "(`learning: {explore: …}`).",
        )
    ]


def _each(n: int) -> str:
    return "The one decision was" if n == 1 else f"Each of the {n:,} decisions was"
