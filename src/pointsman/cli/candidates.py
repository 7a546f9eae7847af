"""A decision shown: the candidates that can serve, and those that cannot, with their reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

from msgspec import Struct

from ..core import NoCandidate, show_usd, to_usd
from ..gateway.roster import Roster
from ..routing import Considered, Decision
from .terminal import Column, show_line, show_table

NOTHING_SERVES = """No model can serve yet. Any one of these changes that:
  pointsman models pull      two small models that run on this machine (0.6 GB)
  export OPENAI_API_KEY=…    or another provider's key; a .env file will do
  ollama serve               its models are found by themselves"""

GROUPED_FROM = 3
"""So many models with one and the same reason share a line."""

_KEY = re.compile(r"has no key: set (\w+)")


class CandidateJson(Struct, frozen=True):
    model: str
    deployment: str
    rejected: str | None
    """Why it was filtered out; null for one that could be chosen."""
    score: float | None
    probability: float
    quality: float | None
    expected_cost_usd: str | None
    expected_seconds: float | None


def as_json(considered: Considered) -> CandidateJson:
    return CandidateJson(
        model=considered.model,
        deployment=considered.deployment,
        rejected=considered.rejected or None,
        score=considered.score,
        probability=considered.probability,
        quality=considered.quality,
        expected_cost_usd=None if considered.expected_cost is None else to_usd(considered.expected_cost),
        expected_seconds=considered.expected_seconds,
    )


def show_candidates(decision: Decision, file: IO[str]) -> None:
    """The table of those that can serve, then why the others cannot."""
    serving = [candidate for candidate in decision.candidates if not candidate.rejected]
    if serving:
        show_table(_COLUMNS, [_row(candidate) for candidate in serving], file=file)
    lines = reasons(decision.candidates)
    if lines:
        show_line("Filtered out:", file=file)
    for line in lines:
        show_line(f"  {line}", file=file)


def reasons(candidates: Iterable[Considered]) -> list[str]:
    """Why each rejected candidate was rejected."""
    return grouped_reasons({candidate.model: candidate.rejected for candidate in candidates if candidate.rejected})


def grouped_reasons(by_model: Mapping[str, str]) -> list[str]:
    """Model → reason, as lines; those that share a reason share a line."""
    models: dict[str, list[str]] = {}
    for model, reason in by_model.items():
        models.setdefault(reason, []).append(model)
    return [line for reason, names in models.items() for line in _lines(reason, names)]


def no_candidate(decision: Decision, roster: Roster) -> NoCandidate:
    """The error for a decision with an empty plan: what to do where nothing is set up, else each one's reason."""
    chosen_among_many = len(decision.candidates) != 1
    if chosen_among_many and all(model.unavailable for model in roster.everyone()):
        return NoCandidate(NOTHING_SERVES)
    return NoCandidate("\n  ".join([decision.reason, *reasons(decision.candidates)]))


_COLUMNS = (
    Column("model"),
    Column("kind"),
    Column("score", "right"),
    Column("quality", "right"),
    Column("cost", "right"),
    Column("seconds", "right"),
)


def _row(candidate: Considered) -> tuple[str, ...]:
    return (
        candidate.model,
        candidate.deployment,
        "" if candidate.score is None else f"{candidate.score:.3f}",
        "unknown" if candidate.quality is None else f"{candidate.quality:.2f}",
        "unknown" if candidate.expected_cost is None else show_usd(candidate.expected_cost),
        "unknown" if candidate.expected_seconds is None else f"{candidate.expected_seconds:.2g}",
    )


def _lines(reason: str, names: Sequence[str]) -> list[str]:
    key = _KEY.search(reason)
    if key:
        return [f"{len(names)} {'model needs' if len(names) == 1 else 'models need'} {key[1]}"]
    if len(names) < GROUPED_FROM:
        return [f"{name} {reason}" for name in names]
    return [f"{names[0]}, {names[1]} and {len(names) - 2} more: {reason}"]
