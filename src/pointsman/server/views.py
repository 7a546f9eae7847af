"""What our own API shows of the ledger: plain values, money as decimal strings, unknown as null."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from ..core import to_usd
from ..ledger import CostRow, Entry, PerformanceRow


class CandidateView(Struct, frozen=True):
    model: str
    score: float | None
    probability: float
    rejected: str


class DecisionView(Struct, frozen=True):
    """One attempt and the decision behind it."""

    id: str
    call: str
    at: float
    model: str
    endpoint: str
    deployment: str
    """'local', 'free' or 'paid'."""
    status: str
    error: str
    task: str
    complexity: str
    strategy: str
    policy: str
    decision: str
    candidates: tuple[CandidateView, ...]
    input_tokens: int | None
    output_tokens: int | None
    estimated: bool
    cost_usd: str | None
    list_cost_usd: str | None
    ttft_ms: float | None
    ms: float


def decision_view(entry: Entry) -> DecisionView:
    usage = entry.usage
    return DecisionView(
        id=entry.attempt_id,
        call=entry.call_id,
        at=entry.at,
        model=entry.model,
        endpoint=entry.endpoint,
        deployment=entry.deployment,
        status=entry.status,
        error=entry.error,
        task=entry.task,
        complexity=entry.complexity,
        strategy=entry.strategy,
        policy=entry.policy,
        decision=entry.decision_id,
        candidates=tuple(CandidateView(c.model, c.score, c.probability, c.rejected) for c in entry.candidates),
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        estimated=bool(usage and usage.estimated),
        cost_usd=_usd(entry.cost),
        list_cost_usd=_usd(entry.list_cost),
        ttft_ms=None if entry.ttft is None else round(entry.ttft * 1000, 1),
        ms=round(entry.seconds * 1000, 1),
    )


def cost_view(row: CostRow) -> dict[str, Any]:
    plain = structs.asdict(row)
    return {**plain, "cost": to_usd(row.cost), "list_cost": to_usd(row.list_cost)}


def performance_view(row: PerformanceRow) -> dict[str, Any]:
    plain = structs.asdict(row)
    return {**plain, "mean_cost": _usd(row.mean_cost), "total_cost": to_usd(row.total_cost)}


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else to_usd(nanos)
