"""What `models` compares: each model with what is stated of it, what was measured, and what is made of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from msgspec import Struct, structs

from ..catalog import Marks, Measured, ModelCard, Offer, Price, Row
from ..core import LedgerError, to_usd
from ..gateway import Belief, Gateway, Model
from ..ledger import Ledger, MeanScore
from .terminal import show_line

MEASURED_SINCE = 30 * 86_400.0
"""Seconds. What lies further back tells little of how a model is now."""


class MeasuredJson(Struct, frozen=True):
    """Calls and grades are those of the last 30 days."""

    calls: int
    ttft_ms: float | None
    """The median."""
    success: float | None
    """Share of calls, 0 to 1."""
    quality: float | None
    """0 to 10: what the router has learned to expect, over all prompts; null before it has learned anything of it."""
    quality_sd: float | None
    speed: float | None
    """0 to 10: 10 for a first word within 100 ms, 6 within a second, 2 within ten."""
    grades: int
    """By users and judges: for the task that was asked for, else for all."""
    mean_grade: float | None
    """Of these, 0 to 10."""


class WorsenedJson(Struct, frozen=True):
    """That a model was found to do worse than it did."""

    times: int
    last: str | None
    """ISO 8601, UTC; null where nobody knows."""
    grades_since: int


class ModelJson(Struct, frozen=True):
    """A row of `models --json`. Prices are US dollars per million tokens as decimal strings; null is unknown."""

    id: str
    name: str
    endpoint: str
    deployment: str
    available: bool
    unavailable_reason: str | None
    context: int | None
    max_output: int | None
    input_usd_per_mtok: str | None
    output_usd_per_mtok: str | None
    list_input_usd_per_mtok: str | None
    list_output_usd_per_mtok: str | None
    quality: float | None
    """0 to 10: for the task that was asked for, else on the whole. As measured, else as stated; so is `speed`."""
    speed: float | None
    stated_quality: float | None
    stated_speed: float | None
    stated_ttft_ms: tuple[int, int] | None
    """The lowest and the highest."""
    best_use: str | None
    capabilities: tuple[str, ...]
    legacy: bool
    measured: MeasuredJson | None
    worsened: WorsenedJson | None


class Known(Struct, frozen=True):
    """A row of the matrix, and what stands behind it."""

    row: Row
    model: Model
    belief: Belief
    grades: int = 0
    """That users and judges gave; as in MeasuredJson."""
    mean_grade: float | None = None
    """0 to 10."""

    @property
    def is_measured(self) -> bool:
        return self.row.measured is not None


async def everyone(gateway: Gateway, task: str) -> list[Known]:
    """Opening the gateway finds what Ollama has. `task`: '' for all."""
    async with gateway:
        models = list(gateway.roster.everyone())
        believed = gateway.beliefs(task)
        measured, means = _recorded(gateway.ledger, gateway.clock.wall() - MEASURED_SINCE)
    grades = _grades(mean for mean in means if task in ("", mean.task))
    return [
        Known(
            _row(
                model,
                task,
                is_own=model.name in gateway.config.models,
                measured=_with_belief(measured.get(model.name), believed[model.name]),
            ),
            model,
            believed[model.name],
            *grades.get(model.name, (0, None)),
        )
        for model in models
    ]


def model_json(known: Known, task: str) -> ModelJson:
    row, model = known.row, known.model
    charged, listed = row.quote.charged, row.quote.listed
    stated = row.stated(task or None)
    return ModelJson(
        id=row.card.id,
        name=row.card.name,
        endpoint=model.endpoint,
        deployment=row.deployment,
        available=row.available,
        unavailable_reason=model.unavailable or None,
        context=row.context,
        max_output=model.candidate.max_output,
        input_usd_per_mtok=price_of(charged, "input"),
        output_usd_per_mtok=price_of(charged, "output"),
        list_input_usd_per_mtok=price_of(listed, "input"),
        list_output_usd_per_mtok=price_of(listed, "output"),
        quality=_rounded(row.quality(task or None)),
        speed=_rounded(row.speed(task or None)),
        stated_quality=_rounded(stated.quality),
        stated_speed=_rounded(stated.speed),
        stated_ttft_ms=row.stated_latency_ms,
        best_use=row.card.profile.best_use if row.card.profile else None,
        capabilities=tuple(sorted(row.card.capabilities)),
        legacy=row.card.legacy,
        measured=_measured_json(known),
        worsened=_worsened_json(known.belief),
    )


def price_of(price: Price | None, bucket: str) -> str | None:
    rate = None if price is None else price.input if bucket == "input" else price.output
    return None if rate is None else to_usd(rate)


def worsening(belief: Belief) -> str:
    """That a model does worse than it did, in words; '' for one of which nobody knows such a thing."""
    if not belief.falls:
        return ""
    when = "" if belief.fell_at is None else f" on {datetime.fromtimestamp(belief.fell_at, UTC):%Y-%m-%d}"
    expected = "" if belief.quality is None else f"; a quality of {10 * belief.quality.value:.1f} is expected now"
    return (
        f"was found{when} to do worse than it did: grades before that count no more ({belief.grades} since{expected})"
    )


def _recorded(ledger: Ledger, since: float) -> tuple[dict[str, Measured], list[MeanScore]]:
    """By model, and the means of grades. A ledger that cannot be read takes nothing else from the matrix."""
    try:
        ledger.flush()
        performance = ledger.queries.performance(since=since)
        means = ledger.feedback.means(since)
    except LedgerError as error:
        show_line(f"Nothing measured is shown: {error.message}", style="yellow")
        return {}, []
    measured = {
        row.model: Measured(
            calls=row.requests,
            latency_ms=None if row.ttft.p50 is None else row.ttft.p50 * 1000,
            timed=row.ttft.count,
            success=row.success_rate,
        )
        for row in performance
    }
    return measured, means


def _with_belief(measured: Measured | None, belief: Belief) -> Measured | None:
    if belief.quality is None:
        return measured
    return structs.replace(measured or Measured(), quality=10 * belief.quality.value)


def _grades(means: Iterable[MeanScore]) -> Mapping[str, tuple[int, float]]:
    """Model → how many, and their mean from 0 to 10, over its tasks."""
    sums: dict[str, tuple[int, float]] = {}
    for mean in means:
        count, total = sums.get(mean.model, (0, 0.0))
        sums[mean.model] = count + mean.count, total + mean.count * mean.mean
    return {model: (count, 10 * total / count) for model, (count, total) in sums.items()}


def _row(model: Model, task: str, *, is_own: bool, measured: Measured | None) -> Row:
    """Under the name that callers use. `is_own`: the user configured it, so it is never hidden as superseded."""
    card = model.card or ModelCard(id=model.name, name=model.name, vendor=model.provider)
    return Row(
        card=structs.replace(card, id=model.name, legacy=card.legacy and not is_own),
        offer=Offer(model.provider, model.id),
        deployment=model.deployment,
        available=not model.unavailable,
        quote=model.quote,
        context=model.candidate.context,
        measured=measured,
        own=_own_marks(model, task),
    )


def _own_marks(model: Model, task: str) -> Marks:
    """As routing believes them: a candidate's rubrics and quality are the card's, replaced by the configuration's."""
    rubric = model.candidate.rubrics.get(task)
    if rubric is not None:
        return Marks(rubric.performance, rubric.speed)
    quality = model.candidate.quality
    return Marks(quality=None if quality is None else 10 * quality)


def _measured_json(known: Known) -> MeasuredJson | None:
    measured, believed = known.row.measured, known.belief.quality
    if measured is None:
        return None
    return MeasuredJson(
        calls=measured.calls,
        ttft_ms=_rounded(measured.latency_ms),
        success=measured.success,
        quality=_rounded(measured.quality),
        quality_sd=None if believed is None else _rounded(10 * believed.sd),
        speed=_rounded(measured.speed),
        grades=known.grades,
        mean_grade=_rounded(known.mean_grade),
    )


def _worsened_json(belief: Belief) -> WorsenedJson | None:
    if not belief.falls:
        return None
    last = None if belief.fell_at is None else datetime.fromtimestamp(belief.fell_at, UTC).isoformat(timespec="seconds")
    return WorsenedJson(belief.falls, last, belief.grades)


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 2)
