"""What our own API shows of the ledger: plain values, money as decimal strings, unknown as null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from ..core import to_usd
from ..endpoints.gate import Gate
from ..ledger import BudgetStatus, CostRow, Entry, PerformanceRow
from ..routing import recorded_prompt


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
    finish: str
    """Why the answer ended; '' where it did not."""
    task: str
    complexity: str
    tasks: dict[str, float] | None
    """Probabilities, of those that have a hundredth at least; null where the prompt's features were not kept."""
    complexities: dict[str, float] | None
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
    usage, prompt = entry.usage, recorded_prompt(entry.features)
    return DecisionView(
        id=entry.attempt_id,
        call=entry.call_id,
        at=entry.at,
        model=entry.model,
        endpoint=entry.endpoint,
        deployment=entry.deployment,
        status=entry.status,
        error=entry.error,
        finish=entry.finish,
        task=entry.task,
        complexity=entry.complexity,
        tasks=None if prompt is None else _likely(prompt.tasks),
        complexities=None if prompt is None else _likely(prompt.complexities),
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


def _likely(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {name: round(chance, 3) for name, chance in probabilities.items() if chance >= LEAST_SHOWN}


LEAST_SHOWN = 0.01


def cost_view(row: CostRow) -> dict[str, Any]:
    plain = structs.asdict(row)
    return {**plain, "cost": to_usd(row.cost), "list_cost": to_usd(row.list_cost)}


def performance_view(row: PerformanceRow) -> dict[str, Any]:
    plain = structs.asdict(row)
    return {**plain, "mean_cost": _usd(row.mean_cost), "total_cost": to_usd(row.total_cost)}


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else to_usd(nanos)


class EndpointView(Struct, frozen=True):
    """An endpoint at this moment, as this process sees it."""

    endpoint: str
    open: bool
    """A call could go there now."""
    reason: str
    """Why not."""
    retry_after: float | None
    """Seconds until it is tried again."""
    in_flight: int
    concurrency: int
    """Calls at once, as far as it was found to take them."""
    ttft_ms: float | None


def endpoint_view(gate: Gate) -> EndpointView:
    closed = gate.closed(0)
    ttft = gate.load.ttft
    return EndpointView(
        endpoint=gate.name,
        open=closed is None,
        reason="" if closed is None else closed.reason,
        retry_after=None if closed is None else closed.retry_after,
        in_flight=gate.concurrency.in_flight,
        concurrency=gate.concurrency.limit,
        ttft_ms=None if ttft is None else round(ttft * 1000, 1),
    )


class PurseView(Struct, frozen=True, kw_only=True):
    """How a budget stands for one of those that it binds. US dollars as decimal strings; `resets` in unix seconds."""

    who: str
    name: str
    """Of a key, which `who` has by its id; else ''."""
    period: str
    resets: float
    spent_usd: str
    lost_usd: str
    """The part of it that no entry tells of: it was reserved by processes that were killed."""
    leased_usd: str
    """By processes that run: reserved for calls, or at hand for them."""
    left_usd: str
    burn_per_hour_usd: str
    """Of the last 24 hours."""
    forecast_usd: str
    """For the whole period, at that rate."""
    alerts: tuple[float, ...]
    """Shares that were told."""


def purse_view(status: BudgetStatus, name: str = "") -> PurseView:
    return PurseView(
        who=status.who,
        name=name,
        period=status.period,
        resets=status.resets,
        spent_usd=to_usd(status.spent),
        lost_usd=to_usd(status.lost),
        leased_usd=to_usd(status.leased),
        left_usd=to_usd(status.left),
        burn_per_hour_usd=to_usd(status.burn_per_hour),
        forecast_usd=to_usd(status.forecast),
        alerts=status.alerts,
    )


class BudgetView(Struct, frozen=True):
    """A sum that is not overspent, and how it stands."""

    budget: str
    scope: str
    window: str
    limit_usd: str
    purse: PurseView


def budget_view(status: BudgetStatus) -> BudgetView:
    rule = status.rule
    return BudgetView(rule.id, rule.scope, rule.window, to_usd(status.limit), purse_view(status))
