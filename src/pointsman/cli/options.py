"""Options that several commands share, and what is read from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from ..core import Nanos, Needs, Priority, from_usd

F = TypeVar("F", bound=Callable[..., Any])

MOST_USD = 1_000_000
_JSON = f"{__name__}.json"


def wants_json(context: click.Context) -> bool:
    return bool(context.meta.get(_JSON))


class Number(click.ParamType[float]):
    """A finite number from `low` to `high`. (click's own range lets NaN through.)"""

    name = "number"

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self._low <= number <= self._high:
            self.fail(f"{value!r} is no number from {self._low:g} to {self._high:g}.", param, ctx)
        return number


class Usd(click.ParamType[Nanos]):
    """US dollars as a decimal, with or without the sign → nano-dollars."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Nanos:
        try:
            amount = Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            amount = Decimal("nan")
        if not amount.is_finite() or not 0 <= amount <= MOST_USD:
            self.fail(f"{value!r} is no amount in US dollars, such as 0.01.", param, ctx)
        return from_usd(amount)


class Task(click.ParamType[str]):
    """A task type that the router knows."""

    name = "task"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from ..routing import TASKS

        if value and value not in TASKS:
            near = get_close_matches(value, TASKS, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(TASKS)}."
            self.fail(f"There is no task {value!r}. {hint}", param, ctx)
        return str(value)


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """So that a failure can be told in JSON, too."""
    context.meta[_JSON] = value or wants_json(context)
    return value


config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The configuration to use.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_remember, help="Print JSON, for programs."
)
task_option = click.option("--task", type=Task(), default="", metavar="TASK", help="What kind of task it is.")


def needs_options(command: F) -> F:
    """The needs that a caller can state; `read_needs` takes them in the same names."""
    for option in reversed(
        (
            click.option("--model", default="auto", show_default=True, help="A model, pool or mode by its name."),
            click.option(
                "--priority",
                type=click.Choice(get_args(Priority)),
                help="What counts among models that are good enough.",
            ),
            click.option("--budget", type=Usd(), metavar="USD", help="The most that this call may cost."),
            click.option("--max-latency", type=Number(0.001, 86_400), metavar="SECONDS", help="How long it may take."),
            click.option("--quality", type=Number(0, 1), metavar="0..1", help="The least quality that will do."),
            click.option("--local-only", is_flag=True, help="Nothing leaves this machine."),
            click.option("--max-tokens", type=click.IntRange(1, 10_000_000), help="The longest answer, in tokens."),
            task_option,
        )
    ):
        command = option(command)
    return command


def read_needs(
    priority: Priority | None,
    budget: Nanos | None,
    max_latency: float | None,
    quality: float | None,
    local_only: bool,
) -> Needs:
    return Needs(
        priority=priority, max_cost=budget, max_latency=max_latency, min_quality=quality, local_only=local_only
    )
