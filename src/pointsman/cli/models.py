"""`pointsman models`: the models that can be named here, compared; and the local ones pulled, shown and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

import click
from msgspec import Struct, structs

from ..catalog import (
    Capability,
    Deployment,
    Measured,
    ModelCard,
    Offer,
    Price,
    PricedModel,
    Row,
    Sort,
    parse_size,
    select,
)
from ..core import LedgerError, to_usd
from ..gateway import Gateway, Model
from ..ledger import Ledger, MeanScore
from .candidates import grouped_reasons
from .local_models import ps, pull, stop
from .opening import open_gateway
from .options import Task, Usd, config_option, json_option
from .terminal import Column, choices, count, print_json, show_line, show_table


class MeasuredJson(Struct, frozen=True):
    calls: int
    ttft_ms: float | None
    """The median."""
    success: float | None
    """Share of calls, 0 to 1."""
    quality: float | None
    """0 to 10: the mean of `grades` grades that users and judges gave; for the task that was asked for, else for
    all."""
    grades: int


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
    """0 to 10: for the task that was asked for, else on the whole. As stated, until there are ten grades."""
    stated_quality: float | None
    speed: float | None
    best_use: str | None
    capabilities: tuple[str, ...]
    legacy: bool
    measured: MeasuredJson | None


class ModelsJson(Struct, frozen=True):
    models: tuple[ModelJson, ...]


class LibraryJson(Struct, frozen=True):
    models: tuple[PricedModel, ...]


@click.group(invoke_without_command=True)
@click.option("--task", type=Task(), metavar="TASK", help="Only models that are good at it, marked for it.")
@click.option("--max-price", type=Usd(), metavar="USD", help="The most for a million output tokens.")
@click.option("--min-context", metavar="TOKENS", help="The least context: 8192, 100k or 1M.")
@click.option("--tier", type=click.Choice(choices(Deployment)), help="Where it runs, and who pays.")
@click.option("--capability", type=click.Choice(choices(Capability)), help="What it must be able to do.")
@click.option("--available", is_flag=True, help="Only what can serve now.")
@click.option("--legacy", is_flag=True, help="Superseded models, too.")
@click.option(
    "--sort", type=click.Choice(choices(Sort)), default="quality", show_default=True, help="What comes first."
)
@click.option("--all", "everything", is_flag=True, help="The whole price library instead, all providers.")
@json_option
@config_option
@click.pass_context
def models(
    context: click.Context,
    task: str | None,
    max_price: int | None,
    min_context: str | None,
    tier: Deployment | None,
    capability: Capability | None,
    available: bool,
    legacy: bool,
    sort: Sort,
    everything: bool,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Compare the models that can be named here, by price, context, quality and speed.

    Quality and speed are 0 to 10, as stated; quality as measured once a model was graded ten times (`pointsman
    feedback`).

    \b
    Examples:
      pointsman models --task coding --max-price 1 --sort quality
      pointsman models --tier free --min-context 100k
      pointsman models --all --json
      pointsman models pull
    """
    if context.invoked_subcommand is not None:
        return
    gateway = open_gateway(config_file)
    if everything:
        _print_library(gateway, as_json=as_json)
        return
    least = None if min_context is None else parse_size(min_context)
    roster = asyncio.run(_roster(gateway))
    measured = _measured(gateway.ledger, task or None)
    rows = select(
        [
            _row(model, is_own=model.name in gateway.config.models, measured=measured.get(model.name))
            for model in roster.values()
        ],
        task=task or None,
        max_price=None if max_price is None else Decimal(to_usd(max_price)),
        min_context=least,
        tier=tier,
        capability=capability,
        available_only=available,
        legacy=legacy,
        sort=sort,
    )
    if as_json:
        print_json(ModelsJson(tuple(_json(row, roster[row.card.id], task or None) for row in rows)))
    else:
        _print_rows(rows, roster, task or None)


models.add_command(pull)
models.add_command(ps)
models.add_command(stop)


async def _roster(gateway: Gateway) -> dict[str, Model]:
    """By name. Opening the gateway finds what Ollama has."""
    async with gateway:
        return {model.name: model for model in gateway.roster.everyone()}


def _measured(ledger: Ledger, task: str | None) -> Mapping[str, Measured]:
    """By model, with grades for `task` only where one is given. A ledger that cannot be read takes nothing else from
    the matrix."""
    try:
        ledger.flush()
        performance = ledger.queries.performance()
        means = ledger.feedback.means()
    except LedgerError as error:
        show_line(f"Nothing measured is shown: {error.message}", style="yellow")
        return {}
    grades = _grades([mean for mean in means if task in (None, mean.task)])
    return {
        row.model: Measured(
            calls=row.requests,
            quality=grades[row.model].quality if row.model in grades else None,
            grades=grades[row.model].count if row.model in grades else 0,
            latency_ms=None if row.ttft.p50 is None else row.ttft.p50 * 1000,
            success=row.success_rate,
        )
        for row in performance
    }


class _Grades(Struct, frozen=True):
    count: int
    quality: float
    """0 to 10."""


def _grades(means: Iterable[MeanScore]) -> dict[str, _Grades]:
    """By model, over its tasks."""
    counts: dict[str, int] = {}
    sums: dict[str, float] = {}
    for mean in means:
        counts[mean.model] = counts.get(mean.model, 0) + mean.count
        sums[mean.model] = sums.get(mean.model, 0.0) + mean.count * mean.mean
    return {model: _Grades(count, 10 * sums[model] / count) for model, count in counts.items()}


def _row(model: Model, *, is_own: bool, measured: Measured | None) -> Row:
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
    )


def _json(row: Row, model: Model, task: str | None) -> ModelJson:
    charged, listed = row.quote.charged, row.quote.listed
    rubric = row.rubric(task)
    measured = row.measured
    return ModelJson(
        id=row.card.id,
        name=row.card.name,
        endpoint=model.endpoint,
        deployment=row.deployment,
        available=row.available,
        unavailable_reason=model.unavailable or None,
        context=row.context,
        max_output=model.candidate.max_output,
        input_usd_per_mtok=_usd(charged, "input"),
        output_usd_per_mtok=_usd(charged, "output"),
        list_input_usd_per_mtok=_usd(listed, "input"),
        list_output_usd_per_mtok=_usd(listed, "output"),
        quality=row.quality(task),
        stated_quality=row.stated_quality(task),
        speed=None if rubric is None else rubric.speed,
        best_use=row.card.profile.best_use if row.card.profile else None,
        capabilities=tuple(sorted(row.card.capabilities)),
        legacy=row.card.legacy,
        measured=None if measured is None else _measured_json(measured),
    )


def _measured_json(measured: Measured) -> MeasuredJson:
    return MeasuredJson(measured.calls, measured.latency_ms, measured.success, measured.quality, measured.grades)


def _usd(price: Price | None, bucket: str) -> str | None:
    rate = None if price is None else price.input if bucket == "input" else price.output
    return None if rate is None else to_usd(rate)


def _print_rows(rows: list[Row], roster: Mapping[str, Model], task: str | None) -> None:
    if not rows:
        show_line("No model fits. `pointsman models` without filters shows them all.")
        return
    columns = [
        Column("model", wraps=True),
        Column("kind"),
        Column("in", "right"),
        Column("out", "right"),
        Column("context", "right"),
        Column("quality", "right"),
        Column("speed", "right"),
        Column("ready"),
    ]
    table = []
    for row in rows:
        rubric = row.rubric(task)
        cells = [
            row.card.id,
            row.deployment,
            _price(row.quote.charged, "input"),
            _price(row.quote.charged, "output"),
            _size(row.context),
            _mark(row.quality(task)),
            _mark(None if rubric is None else rubric.speed),
            "yes" if row.available else "no",
        ]
        table.append(cells)
    show_table(columns, table)
    show_line("US dollars for a million tokens; ? is unknown. Quality and speed of 10.", style="dim")
    for row in rows:
        if row.measured is not None:
            show_line(f"measured: {row.card.id} · {_figures(row.measured, row.stated_quality(task))}", style="dim")
    missing = {row.card.id: roster[row.card.id].unavailable for row in rows if not row.available}
    for line in grouped_reasons(missing):
        show_line(line, style="dim")


def _price(price: Price | None, bucket: str) -> str:
    usd = _usd(price, bucket)
    return "?" if usd is None else usd if Decimal(usd) == 0 else f"{Decimal(usd):.2f}"


def _size(tokens: int | None) -> str:
    if tokens is None:
        return "?"
    return f"{tokens / 1e6:.2g}M" if tokens >= 1_000_000 else f"{tokens // 1000}k" if tokens >= 1000 else str(tokens)


def _mark(mark: float | None) -> str:
    return "?" if mark is None else f"{mark:g}"


def _figures(measured: Measured, stated: float | None) -> str:
    first = "" if measured.latency_ms is None else f"first word {measured.latency_ms / 1000:.2f} s · "
    share = "" if measured.success is None else f", {measured.success:.0%} ok"
    grades = "" if measured.quality is None else f" · quality {measured.quality:.2g} of 10 by {_by(measured, stated)}"
    return f"{first}{count(measured.calls, 'attempt')}{share}{grades}"


def _by(measured: Measured, stated: float | None) -> str:
    return count(measured.grades, "grade") + ("" if stated is None else f" (stated: {stated:g})")


def _print_library(gateway: Gateway, *, as_json: bool) -> None:
    library = gateway.prices.all_models()
    if as_json:
        print_json(LibraryJson(tuple(library)))
        return
    show_table(
        (Column("model", wraps=True), Column("context", "right"), Column("in", "right"), Column("out", "right")),
        [
            (one.id, _size(one.context), one.input_usd_per_mtok or "?", one.output_usd_per_mtok or "?")
            for one in library
        ],
    )
