"""`pointsman bench`: how good the learned router is, measured on recorded outcomes."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click
import msgspec
from msgspec import Struct

from ..core import InvalidCall
from .options import json_option
from .terminal import Column, choices, count, print_json, show_line, show_table

if TYPE_CHECKING:
    from ..lab.outcomes import Outcomes
    from ..lab.routing_baselines import Encoder
    from ..lab.routing_bench import Line, Plan
    from ..lab.routing_measures import Value
    from ..routing.learned.settings import Settings

Encoding = Literal["table", "minilm"]
Measured = Literal["known", "unseen", "apgr", "small", "carried", "speed"]
"""`Measure` of lab/routing_bench.py, which imports numpy and is imported only when it is to run."""
MEASURES: tuple[Measured, ...] = get_args(Measured)
LEARNED, NEIGHBOURS, NO_READING, LENGTH, UNSHIPPED = "learned", "kNN", "no reading", "length", "unshipped"


class FigureJson(Struct, frozen=True):
    """null where there is nothing to measure."""

    value: float | None
    error: float | None
    """One standard error: bootstrap over the prompts scored."""


class LineJson(Struct, frozen=True):
    measure: str
    pool: str
    figure: str
    routers: dict[str, FigureJson]
    difference: FigureJson | None
    """The first router less the second, paired."""
    rows: int
    """Prompts scored; 0 for what is taken over pools."""


class PoolJson(Struct, frozen=True):
    name: str
    prompts: int
    models: tuple[str, ...]
    licence: str
    odd: tuple[str, ...]
    """What was odd about its rows."""


class BenchJson(Struct, frozen=True):
    protocol: tuple[str, ...]
    """What was fitted on what, in words."""
    seed: int
    pools: tuple[PoolJson, ...]
    lines: tuple[LineJson, ...]
    left_out: tuple[str, ...]
    """What could not be measured, and why."""


@click.group()
def bench() -> None:
    """Measure the learned router on recorded outcomes, beside simple ways of routing.

    \b
    Examples:
      pointsman bench routing --data outcomes
    """


@bench.command(short_help="Measure the learned router beside simpler ones.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="A folder for each set, with prompts.parquet and outcomes.parquet.",
)
@click.option(
    "--measure", "measures", type=click.Choice(MEASURES), multiple=True, help="What to measure, repeatable; else all."
)
@click.option("--pools", "names", default="", metavar="A,B,C", help="Pools of models to measure on; else all.")
@click.option(
    "--folds",
    type=click.IntRange(2, 50),
    metavar="N",
    help="Cross-validate on the splits train and val, and leave test alone.",
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of fits, draws and folds.")
@click.option("--without-tasks", is_flag=True, help="Do not tell the routers the tasks of the prompts they learn from.")
@click.option(
    "--encoder",
    type=click.Choice(choices(Encoding)),
    default="table",
    show_default=True,
    help="The sentence vectors of kNN: those of the router's own table, or all-MiniLM-L6-v2's.",
)
@click.option(
    "--setting",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Measure the learned router with another setting of its fit, repeatable. (For ablations.)",
)
@json_option
def routing(
    data: Path,
    measures: Sequence[Measured],
    names: str,
    folds: int | None,
    seed: int,
    without_tasks: bool,
    encoder: Encoding,
    settings: Sequence[str],
    as_json: bool,
) -> None:
    """Fit the learned router, tuned neighbours and simpler ways on a part of recorded outcomes; score them on the rest.

    known: gains on unseen prompts of known tasks. unseen: on fields of tasks that were left out. apgr: between two
    models. small: the same with 1,500 labels. carried: on sets that nothing was fitted on. speed: of one decision.
    docs/routing.md says what the figures mean. Each fit takes up to a minute, and all measures need many: name a
    --measure and --pools for a first look.

    \b
    Examples:
      pointsman bench routing --data outcomes --measure known --pools routellm_mmlu
      pointsman bench routing --data outcomes --measure known --measure unseen --folds 3
      pointsman bench routing --data outcomes --json > figures.json
    """
    from ..lab.routing_bench import Bench
    from ..lab.routing_pools import pools

    changed = _settings(settings)
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    there = list(pools(data, wanted, tell=lambda problem: show_line(problem, style="yellow")))
    for pool in there:
        _tell_of(pool)
    plan = _plan(seed, folds or 0, not without_tasks, encoder, changed)
    machine = Bench(there, plan, lambda step: show_line(step, style="dim"))
    lines: list[Line] = []
    for measure in MEASURES:
        if not measures or measure in measures:
            found = list(machine.lines([measure]))
            lines += found
            if found and not as_json:
                _show(found, _rows_of(measure, folds))
    if not lines:
        raise InvalidCall("\n".join(("Nothing of that could be measured.", *machine.left_out)))
    said = _said_of_all(without_tasks, encoder, settings)
    if as_json:
        print_json(_report(lines, there, machine.left_out, seed, folds, said))
    else:
        show_line(said, style="dim", file=sys.stdout)


def _settings(given: Sequence[str]) -> Settings:
    """NAME=VALUE pairs; a sequence is written as JSON."""
    from ..routing.learned.settings import Settings

    names = Settings.__struct_fields__
    values: dict[str, object] = {}
    for pair in given:
        name, _, value = pair.partition("=")
        if name not in names:
            near = get_close_matches(name, names, 1) or names
            raise InvalidCall(f"--setting {pair}: there is no {name!r}; there is {', '.join(near)}.", param="setting")
        values[name] = value
        if isinstance(getattr(Settings(), name), tuple):
            values[name] = _read_json(value, pair)
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidCall(f"--setting {', '.join(given)}: {error}", param="setting") from None


def _read_json(value: str, pair: str) -> object:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise InvalidCall(f"--setting {pair}: {error}", param="setting") from None


def _plan(seed: int, folds: int, tell_tasks: bool, encoding: Encoding, settings: Settings) -> Plan:
    from ..lab.routing_baselines import Length, Neighbours, NoReading
    from ..lab.routing_bench import Plan
    from ..lab.routing_encoders import minilm_encoder, table_encoder
    from ..routing.learned import LearnedRouter

    encode: Encoder = minilm_encoder() if encoding == "minilm" else table_encoder()
    return Plan(
        usual={
            LEARNED: lambda: LearnedRouter(pretrained=False, seed=seed, settings=settings),
            NEIGHBOURS: lambda: Neighbours(encode, seed),
            NO_READING: NoReading,
        },
        carried={
            LEARNED: lambda: LearnedRouter(pretrained=True, seed=seed, settings=settings),
            LENGTH: Length,
            NEIGHBOURS: lambda: Neighbours(encode, seed),
            UNSHIPPED: lambda: LearnedRouter(pretrained=False, seed=seed, settings=settings),
        },
        seed=seed,
        folds=folds,
        tell_tasks=tell_tasks,
    )


def _tell_of(pool: Outcomes) -> None:
    from ..lab.outcomes import told

    licence = f"; {pool.licence}" if pool.licence else ""
    show_line(f"{pool.name}: {len(pool):,} prompts, {count(len(pool.models), 'model')}{licence}", style="dim")
    for sentence in told(pool.found):
        show_line(f"  {sentence}", style="dim")


def _rows_of(measure: str, folds: int | None) -> str:
    """What was fitted on what: it stands under the figures, so that nobody takes them for others."""
    rows = "train and val" if folds else "all rows, those of test among them"
    if measure == "known":
        if folds:
            return f"{folds} folds by question over train and val; test was left alone."
        return "Fitted on train and val, scored on test; in folds over all rows where none is marked test."
    return {
        "unseen": "Fitted on train and val without a field of tasks, scored on that field there; each field in turn.",
        "apgr": f"{folds or 5} folds by question over {rows}. The strong model is the one with the higher mean.",
        "small": f"Four draws of 1,500 labels, or of half the rows, from {rows}; the others are scored.",
        "carried": "Fitted on train and val of a pool of two models, scored on other sets. `learned` has what ships, "
        "which was fitted on outcomes too (docs/routing.md says on which); `unshipped` has not.",
        "speed": "Milliseconds for one prompt of about 144 tokens, on this machine, as busy as it was. numpy has the "
        "threads that it takes; OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1 hold it to one.",
    }[measure]


def _said_of_all(without_tasks: bool, encoding: Encoding, settings: Sequence[str]) -> str:
    tasks = "Fits were told no tasks" if without_tasks else "Fits were told the tasks of their rows, forecasts were not"
    vectors = "all-MiniLM-L6-v2" if encoding == "minilm" else "the router's own table"
    changed = f" The learned router had {', '.join(settings)}." if settings else ""
    return (
        f"{tasks}.{changed} kNN has the sentence vectors of {vectors}. ± is one standard error: a bootstrap over the "
        "prompts scored, with the fits as they are. A difference is the first router's less the second's on the same "
        "draws."
    )


def _show(lines: Sequence[Line], rows: str) -> None:
    names = list(lines[0].values)
    compared = any(line.difference for line in lines)
    heads = ("pool", "figure", *names, *(["difference"] if compared else []), "prompts")
    columns = [Column(head, "left" if at < 2 else "right", wraps=at == 0) for at, head in enumerate(heads)]
    show_table(columns, [_cells(line, names, compared) for line in lines], title=lines[0].measure)
    show_line(rows, style="dim", file=sys.stdout)
    print(flush=True)


def _cells(line: Line, names: Sequence[str], compared: bool) -> tuple[str, ...]:
    figures = [_figure(line.values[name]) for name in names]
    if compared:
        figures.append(_figure(line.difference, sign="+") if line.difference else "")
    return (line.pool, line.figure, *figures, f"{line.rows:,}" if line.rows else "")


def _figure(figure: Value, sign: str = "-") -> str:
    if math.isnan(figure.value):
        return "-"
    error = "" if math.isnan(figure.error) else f"±{figure.error:.3f}".replace("±0.", "±.")
    return f"{figure.value:{sign}.3f}{error}"


def _report(
    lines: Sequence[Line],
    pools: Sequence[Outcomes],
    left_out: Sequence[str],
    seed: int,
    folds: int | None,
    said: str,
) -> BenchJson:
    from ..lab.outcomes import told

    measured = dict.fromkeys(line.measure for line in lines)
    return BenchJson(
        (*(f"{measure}: {_rows_of(measure, folds)}" for measure in measured), said),
        seed,
        tuple(PoolJson(pool.name, len(pool), pool.models, pool.licence, told(pool.found)) for pool in pools),
        tuple(_line(line) for line in lines),
        tuple(left_out),
    )


def _line(line: Line) -> LineJson:
    return LineJson(
        line.measure,
        line.pool,
        line.figure,
        {name: _figure_json(figure) for name, figure in line.values.items()},
        None if line.difference is None else _figure_json(line.difference),
        line.rows,
    )


def _figure_json(figure: Value) -> FigureJson:
    return FigureJson(_number(figure.value), _number(figure.error))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
