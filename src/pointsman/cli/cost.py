"""`pointsman cost`: what was spent, and what nobody knows."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import Struct

from ..core import Nanos, show_usd, to_usd
from ..ledger import By, CostRow, parse_since
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import Column, choices, count, print_json, show_line, show_table


class CostRowJson(Struct, frozen=True):
    """US dollars as decimal strings. With unknown costs, `cost_usd` is the least that it was."""

    group: str
    calls: int
    attempts: int
    ok: int
    input_tokens: int
    output_tokens: int
    cost_usd: str
    unknown_costs: int
    """Attempts whose cost nobody knows."""
    list_cost_usd: str
    unknown_list_costs: int
    """Attempts with a list price that nobody knows: then `list_cost_usd` is the least, too."""
    saved_usd: str | None
    """The list price less the cost; null while a part of either is unknown."""


class CostReportJson(Struct, frozen=True):
    by: By
    rows: tuple[CostRowJson, ...]
    total: CostRowJson


@click.command()
@click.option("--by", type=click.Choice(choices(By)), default="model", show_default=True, help="What to group by.")
@click.option("--since", metavar="WHEN", help="30m, 24h, 7d, 2w, or a date.")
@click.option("--until", metavar="WHEN", help="The same; itself not counted.")
@json_option
@config_option
def cost(by: By, since: str | None, until: str | None, as_json: bool, config_file: Path | None) -> None:
    """What was spent, by model, task, key or day. What is unknown is said to be.

    \b
    Examples:
      pointsman cost --by model --since 7d
      pointsman cost --by day --since 2026-11-01
      pointsman cost --by tag --json
    """
    now = time.time()
    begin = None if since is None else parse_since(since, now)
    end = None if until is None else parse_since(until, now)
    ledger = open_gateway(config_file).ledger
    ledger.flush()
    rows = ledger.queries.cost(by, since=begin, until=end)
    # An attempt with two tags stands in two groups, but it has only one key.
    total = total_of(ledger.queries.cost("key", since=begin, until=end))
    if as_json:
        print_json(CostReportJson(by, tuple(_json(row) for row in rows), _json(total)))
    elif rows:
        _show(by, rows, total)
    else:
        show_line("Nothing was recorded in that time.")


def total_of(rows: Sequence[CostRow]) -> CostRow:
    """The sum of groups that have no attempt in common."""
    sums = CostRow("total", 0, 0, 0, 0, 0, Nanos(0), 0, Nanos(0), 0)
    for row in rows:
        sums = CostRow(
            "total",
            sums.calls + row.calls,
            sums.attempts + row.attempts,
            sums.ok + row.ok,
            sums.input_tokens + row.input_tokens,
            sums.output_tokens + row.output_tokens,
            Nanos(sums.cost + row.cost),
            sums.unknown_costs + row.unknown_costs,
            Nanos(sums.list_cost + row.list_cost),
            sums.unknown_list_costs + row.unknown_list_costs,
        )
    return sums


def _json(row: CostRow) -> CostRowJson:
    return CostRowJson(
        group=row.group,
        calls=row.calls,
        attempts=row.attempts,
        ok=row.ok,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=to_usd(row.cost),
        unknown_costs=row.unknown_costs,
        list_cost_usd=to_usd(row.list_cost),
        unknown_list_costs=row.unknown_list_costs,
        saved_usd=None if row.unknown_costs or row.unknown_list_costs else to_usd(row.list_cost - row.cost),
    )


def _show(by: By, rows: Sequence[CostRow], total: CostRow) -> None:
    show_table(
        (
            Column(by, wraps=True),
            Column("calls", "right"),
            Column("attempts", "right"),
            Column("in", "right"),
            Column("out", "right"),
            Column("cost", "right"),
            Column("list price", "right"),
        ),
        [_cells(row) for row in (*rows, total)],
    )
    if total.unknown_costs:
        least = _sum(total.cost, total.unknown_costs, total.attempts)
        what = count(total.unknown_costs, "attempt")
        advice = "A `price` in the configuration makes it known."
        show_line(f"{least}: the cost of {what} is unknown. {advice}", style="yellow", file=sys.stdout)
    elif total.list_cost > total.cost:
        least = "at least " if total.unknown_list_costs else ""
        show_line(f"saved {least}{show_usd(total.list_cost - total.cost)} against list prices", file=sys.stdout)
    if total.unknown_list_costs:
        unlisted = count(total.unknown_list_costs, "attempt")
        show_line(f"No list price is known for {unlisted}.", style="dim", file=sys.stdout)


def _cells(row: CostRow) -> tuple[str, ...]:
    return (
        row.group or "(none)",
        f"{row.calls:,}",
        f"{row.attempts:,}",
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
        _sum(row.cost, row.unknown_costs, row.attempts),
        _sum(row.list_cost, row.unknown_list_costs, row.attempts),
    )


def _sum(known: Nanos, unknown: int, attempts: int) -> str:
    """Never '$0' for what nobody knows."""
    if unknown == attempts:
        return "unknown"
    return f"≥ {show_usd(known)}" if unknown else show_usd(known)
