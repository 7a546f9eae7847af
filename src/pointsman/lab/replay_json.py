"""What `pointsman replay --json` prints, and `GET /api/replay` answers: for the same ledger, policy and seed the same,
byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from msgspec import Struct

from ..core import to_usd
from ..stats.offpolicy import OffPolicyEstimate, Strength
from .redecided import Redecided
from .replay import Comparison, Replay

Amount = float | str
"""A quality as a number; US dollars as a decimal string."""
Shown = TypeVar("Shown")


class EstimateJson(Struct, frozen=True):
    """A mean per decision and the interval that holds it 95 times of 100; null where nothing can be said."""

    method: str
    value: Amount | None
    low: Amount | None
    high: Amount | None
    n: int
    n_eff: float
    """Outcomes of the policy's own that these are worth."""
    strength: Strength
    why: str


class ComparisonJson(Struct, frozen=True):
    observed: int
    """Decisions of which the outcome is known."""
    judged: int
    """Of these, the ones of which the log can tell."""
    logged: EstimateJson
    policy: tuple[EstimateJson, ...]
    """ips, snips, dr; last the difference to what was logged."""
    believed_logged: Amount | None
    """What was expected beforehand of all decisions: no evidence."""
    believed_policy: Amount | None


class TaskJson(Struct, frozen=True):
    task: str
    decisions: int
    changed: int


class SavingsJson(Struct, frozen=True):
    """US dollars as decimal strings; null where the log cannot tell. Net of retries, fallbacks and caches lost."""

    decisions: int
    attempts: int
    spent_usd: str
    saved_usd: str | None
    low_usd: str | None
    high_usd: str | None
    conversations: int
    """Of several turns: they were followed through."""
    switches: int
    """Of the model within them, by the policy and not by the log."""
    cache_tokens_lost: int
    cache_usd_lost: str
    """Is taken off the savings."""
    caches_unpriced: int
    """Turns of which nobody knows what reading anew costs."""
    caches_unknown: int
    """Answers read from a cache that no earlier turn filled, as far as it was recorded: taken as kept."""


class LeftOutJson(Struct, frozen=True):
    why: str
    decisions: int


class NoteJson(Struct, frozen=True):
    problem: str
    help: str


class ShownJson(Struct, frozen=True):
    decision_id: str
    time: str
    """ISO 8601, UTC."""
    task: str
    complexity: str
    was: str
    was_probability: float
    would: str
    would_probability: float
    could: float
    """The probability that the log gave to `would`."""


class ReplayJson(Struct, frozen=True):
    policy: str
    since: str | None
    """As it was asked for; so is `until`."""
    until: str | None
    seed: int
    first: str | None
    last: str | None
    decisions: int
    changed: int
    by_task: tuple[TaskJson, ...]
    quality: ComparisonJson
    cost_usd: ComparisonJson
    savings: SavingsJson
    left_out: tuple[LeftOutJson, ...]
    unreadable_grades: int
    """In the whole ledger: what stands where grades do, and is none."""
    named_attempts: int
    """Of calls that named their model: nothing was decided."""
    notes: tuple[NoteJson, ...]
    remarks: tuple[str, ...]
    shown: tuple[ShownJson, ...]


def replay_json(result: Replay, since: str | None, until: str | None) -> ReplayJson:
    decisions, savings = result.traffic.decisions, result.savings
    return ReplayJson(
        policy=result.policy,
        since=since,
        until=until,
        seed=result.seed,
        first=_time(decisions[0].at) if decisions else None,
        last=_time(decisions[-1].at) if decisions else None,
        decisions=len(decisions),
        changed=result.changed,
        by_task=tuple(TaskJson(one.task, one.decisions, one.changed) for one in result.by_task),
        quality=_comparison(result.quality, _number),
        cost_usd=_comparison(result.cost, _usd),
        savings=SavingsJson(
            decisions=savings.decisions,
            attempts=savings.attempts,
            spent_usd=to_usd(savings.spent),
            saved_usd=_or_null(savings.saved, _usd),
            low_usd=_or_null(savings.low, _usd),
            high_usd=_or_null(savings.high, _usd),
            conversations=savings.caches.conversations,
            switches=savings.caches.switches,
            cache_tokens_lost=savings.caches.rebuilt_tokens,
            cache_usd_lost=_usd(savings.caches.rebuilt),
            caches_unpriced=savings.caches.unpriced,
            caches_unknown=savings.caches.unknown,
        ),
        left_out=tuple(LeftOutJson(why, count) for why, count in result.traffic.left_out.items()),
        unreadable_grades=result.traffic.unreadable_grades,
        named_attempts=result.traffic.named,
        notes=tuple(NoteJson(note.problem, note.help) for note in result.notes),
        remarks=result.remarks,
        shown=tuple(_shown(one) for one in result.shown),
    )


def _comparison(comparison: Comparison, amount: Callable[[float], Amount]) -> ComparisonJson:
    return ComparisonJson(
        observed=comparison.observed,
        judged=comparison.judged,
        logged=_estimate(comparison.logged, amount),
        policy=tuple(_estimate(estimate, amount) for estimate in comparison.estimates),
        believed_logged=_or_null(comparison.believed_logged, amount),
        believed_policy=_or_null(comparison.believed, amount),
    )


def _estimate(estimate: OffPolicyEstimate, amount: Callable[[float], Amount]) -> EstimateJson:
    return EstimateJson(
        method=estimate.method,
        value=_or_null(estimate.value, amount),
        low=_or_null(estimate.low, amount),
        high=_or_null(estimate.high, amount),
        n=estimate.n,
        n_eff=round(estimate.n_eff, 1),
        strength=estimate.strength,
        why=estimate.why,
    )


def _shown(one: Redecided) -> ShownJson:
    recorded = one.recorded
    return ShownJson(
        decision_id=recorded.id,
        time=_time(recorded.at),
        task=recorded.task,
        complexity=recorded.complexity,
        was=recorded.model,
        was_probability=recorded.probabilities[recorded.chosen],
        would=one.model,
        would_probability=one.target[one.drawn],
        could=recorded.probabilities[one.drawn],
    )


def _or_null(number: float | None, shown: Callable[[float], Shown]) -> Shown | None:
    return None if number is None else shown(number)


def _number(quality: float) -> float:
    """Six digits: more than any estimate has, and fewer than rounding may touch."""
    return round(quality, 6)


def _usd(nanos: float) -> str:
    return to_usd(round(nanos))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
