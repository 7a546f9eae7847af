"""`pointsman models`: the models that can be named here, compared; and the local ones pulled, shown and stopped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import click
from msgspec import Struct

from ..catalog import Capability, Deployment, Measured, Price, PricedModel, Row, Sort, parse_size, select
from ..core import Nanos, to_usd
from ..gateway import Gateway
from .candidates import grouped_reasons
from .local_models import ps, pull, stop
from .model_rows import Known, ModelJson, everyone, model_json, price_of, worsening
from .opening import open_gateway
from .options import Task, Usd, config_option, json_option
from .terminal import Column, choices, print_json, show_line, show_table, width_of


class ModelsJson(Struct, frozen=True):
    models: tuple[ModelJson, ...]


class LibraryJson(Struct, frozen=True):
    models: tuple[PricedModel, ...]


@click.group(invoke_without_command=True)
@click.option("--task", type=Task(), metavar="TASK", help="Only models that are good at it, marked for it.")
@click.option("--max-price", type=Usd(), metavar="USD", help="The most for a million output tokens.")
@click.option(
    "--max-latency",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="The most that the first word may take.",
)
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
    max_price: Nanos | None,
    max_latency: float | None,
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

    Quality and speed go from 0 to 10. They are as stated (by the configuration, else by the catalogue) until they were
    measured: speed by the time to the first word of three answers, quality by each grade (`pointsman feedback`) and by
    a router that was fitted (`pointsman train`). What was stated and what was measured stand beside each other below
    the table.

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
    least, task = None if min_context is None else parse_size(min_context), task or ""
    known = {one.row.card.id: one for one in asyncio.run(everyone(gateway, task))}
    rows = select(
        [one.row for one in known.values()],
        task=task or None,
        max_price=None if max_price is None else Decimal(to_usd(max_price)),
        max_latency_ms=None if max_latency is None else 1000 * max_latency,
        min_context=least,
        tier=tier,
        capability=capability,
        available_only=available,
        legacy=legacy,
        sort=sort,
    )
    if as_json:
        print_json(ModelsJson(tuple(model_json(known[row.card.id], task) for row in rows)))
    else:
        _print_rows(known, rows, task)


models.add_command(pull)
models.add_command(ps)
models.add_command(stop)


def _print_rows(known: Mapping[str, Known], rows: Sequence[Row], task: str) -> None:
    if not rows:
        show_line("No model fits. `pointsman models` without filters shows them all.")
        return
    width = width_of(sys.stdout)
    is_wide = width is None or width >= WIDE
    columns = _COLUMNS if is_wide else _COLUMNS[:-1]
    show_table(columns, [_cells(row, task)[: len(columns)] for row in rows])
    show_line(_LEGEND + ("" if is_wide else " A wider terminal shows what each is best at."), style="dim")
    _print_measured([known[row.card.id] for row in rows if known[row.card.id].is_measured], task)
    for row in rows:
        if worse := worsening(known[row.card.id].belief):
            show_line(f"{row.card.id} {worse}.", style="yellow")
    missing = sorted(row.card.id for row in rows if not row.available)
    for line in grouped_reasons({name: known[name].model.unavailable for name in missing}):
        show_line(line, style="dim")


WIDE = 110
"""Columns of a terminal from which on the best use of each model is shown."""

_COLUMNS = (
    Column("model", wraps=True),
    Column("kind"),
    Column("in", "right"),
    Column("out", "right"),
    Column("context", "right"),
    Column("quality", "right"),
    Column("speed", "right"),
    Column("first s", "right"),
    Column("ready"),
    Column("best use", wraps=True),
)
_LEGEND = (
    "in, out: US dollars for a million tokens. quality, speed: 0 to 10, from poor (0–3) over good (4–7) to excellent "
    "(8–10). first s: seconds to the first word. All as measured, else as stated; ? is unknown."
)


def _cells(row: Row, task: str) -> Sequence[str]:
    measured = row.measured
    return (
        row.card.id,
        row.deployment,
        _price(row.quote.charged, "input"),
        _price(row.quote.charged, "output"),
        _size(row.context),
        _mark(row.quality(task or None)),
        _mark(row.speed(task or None)),
        _range(row) if measured is None or measured.latency_ms is None else _seconds(measured.latency_ms),
        "yes" if row.available else "no",
        row.card.profile.best_use if row.card.profile else "",
    )


def _print_measured(known: Sequence[Known], task: str) -> None:
    """What was stated, and what was measured."""
    if not known:
        return
    columns = (
        Column("stated → measured", wraps=True),
        Column("quality", "right"),
        Column("speed", "right"),
        Column("first s", "right"),
        Column("calls", "right"),
        Column("ok", "right"),
        Column("grades", "right"),
    )
    show_line("")
    show_table(columns, [_both(one, task) for one in known], file=sys.stderr)
    graded = f" for {task}" if task else ""
    show_line(
        f"Calls and grades{graded} of the last 30 days, with the mean of the grades. The quality is what the router "
        "has learned to expect: it begins with what is stated, and each grade moves it a little.",
        style="dim",
    )


def _both(known: Known, task: str) -> Sequence[str]:
    row, measured, stated = known.row, known.row.measured or Measured(), known.row.stated(task or None)
    return (
        row.card.id,
        _moved(_mark(stated.quality), measured.quality, _mark),
        _moved(_mark(stated.speed), measured.speed, _mark),
        _moved(_range(row), measured.latency_ms, _seconds),
        f"{measured.calls:,}",
        "" if measured.success is None else f"{measured.success:.0%}",
        "" if known.mean_grade is None else f"{known.grades:,}: {known.mean_grade:.1f}",
    )


def _moved(stated: str, measured: float | None, shown: Callable[[float], str]) -> str:
    return stated if measured is None else f"{stated} → {shown(measured)}"


def _price(price: Price | None, bucket: str) -> str:
    usd = price_of(price, bucket)
    return "?" if usd is None else usd if Decimal(usd) == 0 else f"{Decimal(usd):.2f}"


def _size(tokens: int | None) -> str:
    if tokens is None:
        return "?"
    return f"{tokens / 1e6:.2g}M" if tokens >= 1_000_000 else f"{tokens // 1000}k" if tokens >= 1000 else str(tokens)


def _mark(mark: float | None) -> str:
    return "?" if mark is None else f"{round(mark, 1):g}"


def _range(row: Row) -> str:
    """As it was stated."""
    if row.stated_latency_ms is None:
        return "?"
    low, high = row.stated_latency_ms
    return f"{low / 1000:g}–{high / 1000:g}" if low else f"<{high / 1000:g}"


def _seconds(milliseconds: float) -> str:
    """Two digits, as far as they are no more than milliseconds."""
    return f"{float(f'{milliseconds / 1000:.2g}'):.3f}".rstrip("0").rstrip(".")


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
