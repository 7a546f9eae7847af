"""`pointsman train`: fits the learned router on graded answers, and switches to it where it is shown to be better."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from ..core import ConfigError
from ..core.plain import plain_text
from ..gateway import Gateway
from ..gateway.weights import go_back, learned_path, load_learned, read_learned, switch
from ..ledger import parse_since
from .failures import FAILED
from .learned import of_what_use, recognized
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import count, print_json, show_line

if TYPE_CHECKING:
    from ..lab.training import InUse
    from ..lab.training_report import Report
    from ..lab.training_rows import Floats, Rows
    from ..ledger.feedback import Graded

LEDGER = "ledger"
SINCE = "90d"
BATCH = 1_000
"""Graded calls that are read from the ledger at once: whoever writes to it waits for no longer read."""


class TrainJson(Struct, frozen=True):
    """What `train --json` prints."""

    report: Report
    switched: bool
    path: str
    """Of the router in use."""
    command: str
    """What switches to the router of the report; '' where that was done."""
    configured: tuple[str, ...]
    """Models of the router that can be named here: it is of use for these."""
    not_configured: tuple[str, ...]


class BackJson(Struct, frozen=True):
    """What `train --back --json` prints."""

    path: str
    exists: bool
    """Whether a learned router is in its place now; without one, models are chosen by their profiles."""
    problem: str
    """Why it cannot be used; '' where it can."""


@click.command()
@click.option(
    "--from",
    "source",
    default=LEDGER,
    show_default=True,
    metavar="ledger|FILE|DIR",
    help="Graded calls of the ledger; JSON lines; or a folder of Parquet tables.",
)
@click.option("--since", default=SINCE, show_default=True, metavar="WHEN", help="Of the ledger: 30d, 12w, or a date.")
@click.option("--switch", "to_switch", is_flag=True, help="Use the router, where the report shows it to be better.")
@click.option("--force", is_flag=True, help="Use it whatever the report says.")
@click.option("--back", is_flag=True, help="Use the router again that was in use before. Trains nothing.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="The same seed, the same fit."
)
@json_option
@config_option
def train(
    source: str,
    since: str,
    to_switch: bool,
    force: bool,
    back: bool,
    seed: int,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Fit the learned router on graded answers, and report how it does on held-out ones before anything is switched.

    A JSON line is one outcome: {"prompt": …, "model": …, "score": 0 to 1, "cost_usd": …}. Needs scipy:
    pip install "pointsman[train]".

    The report tells of each model its mean grade, what was expected of it, the mean squared error of that (Brier) and
    of always expecting its mean, and how far off groups of forecasts are. Then, for three weights of cost (at 0.1 the
    dearest model's price counts as much as a tenth of a grade), what choosing by the router would have brought, with
    95 % intervals; the gain is over the single model that was best, cost counted.

    \b
    Examples:
      pointsman train
      pointsman train --since 30d --switch
      pointsman train --from outcomes.jsonl --json
      pointsman train --back
    """
    if back and (to_switch or force):
        raise click.UsageError("--back trains nothing, so there is nothing to switch to.")
    gateway = open_gateway(config_file)
    if back:
        _go_back(gateway, as_json=as_json)
        return
    begin = parse_since(since, time.time())
    _check_installed()
    _train(gateway, source, since, begin, seed, to_switch=to_switch, force=force, as_json=as_json)


def _train(
    gateway: Gateway, source: str, since: str, begin: float, seed: int, *, to_switch: bool, force: bool, as_json: bool
) -> None:
    # Late: they bring numpy and scipy.
    from ..lab.training import train as fit
    from .train_report import show_report

    home = gateway.environment.home
    rows = _rows(gateway, source, begin)
    show_line(f"{count(len(rows), 'graded prompt')}, {count(len(rows.models), 'model')}")
    if rows.models:
        show_line(of_what_use(gateway, rows.models), style="" if recognized(gateway, rows.models).here else "yellow")
    trained = fit(
        rows,
        source=source,
        prior=_profiles(gateway, rows),
        in_use=_in_use(home),
        seed=seed,
        tell=lambda step: show_line(f"fitting: {step} …"),
    )
    report = trained.report
    switched = force or (to_switch and report.is_better)
    if switched:
        switch(home, trained.router.save)
    command = "" if switched else _command(source, since, seed, "--switch" if report.is_better else "--force")
    if as_json:
        found = recognized(gateway, rows.models)
        print_json(TrainJson(report, switched, str(learned_path(home)), command, found.here, found.unknown))
    else:
        show_report(report)
        _show_outcome(report, switched, command, home)
        show_line(of_what_use(gateway, rows.models), file=sys.stdout)
    if to_switch and not switched:
        click.get_current_context().exit(FAILED)


def _show_outcome(report: Report, switched: bool, command: str, home: Path) -> None:
    if switched:
        despite = "" if report.is_better else " although it was not shown to be better (--force)"
        show_line(f"Switched{despite}: {learned_path(home)}", file=sys.stdout)
        show_line("`pointsman train --back` goes back.", file=sys.stdout)
    elif report.is_better:
        _show_command("Nothing was switched. To switch:", command)
    else:
        _show_command("Nothing was switched. To switch all the same:", command)


def _show_command(why: str, command: str) -> None:
    """On a line of its own that is never wrapped: it is there to be copied."""
    show_line(why, file=sys.stdout)
    print(f"  {plain_text(command)}")


def _command(source: str, since: str, seed: int, flag: str) -> str:
    """That fits the same router again, and switches."""
    words = ["pointsman", "train"]
    if source != LEDGER:
        words += ["--from", source]
    elif since != SINCE:
        words += ["--since", since]
    words += ["--seed", str(seed)] if seed else []
    return shlex.join([*words, flag])


def _rows(gateway: Gateway, source: str, begin: float) -> Rows:
    from ..lab.outcomes import read_outcomes
    from ..lab.training_rows import rows_of_ledger, rows_of_outcomes

    if source != LEDGER:
        return rows_of_outcomes(read_outcomes(Path(source)))
    return rows_of_ledger(_graded(gateway, begin), gateway.ledger.queries.body)


def _graded(gateway: Gateway, begin: float) -> Iterator[Graded]:
    """Those of attempts from `begin` on, read in batches."""
    feedback, after = gateway.ledger.feedback, 0
    while batch := feedback.graded(after, BATCH):
        after = batch[-1].number
        yield from (graded for graded in batch if graded.entry.at >= begin)


def _profiles(gateway: Gateway, rows: Rows) -> Floats:
    """(n, m) the quality that the profile of each model states for each row's task; NaN where it has none."""
    import numpy as np

    from ..routing import quality_of

    stated = np.full((len(rows), len(rows.models)), np.nan)
    for column, name in enumerate(rows.models):
        model = gateway.roster.find(name)
        if model is None or (model.candidate.quality is None and not model.candidate.rubrics):
            continue
        by_kind = {kind: quality_of(model.candidate, kind) for kind in set(rows.kinds)}
        stated[:, column] = [by_kind[kind] for kind in rows.kinds]
    return stated


def _in_use(home: Path) -> InUse | None:
    from ..lab.training import InUse

    router = load_learned(home, warn=lambda text: show_line(f"warning: {text}", style="yellow"))
    return None if router is None else InUse(router, learned_path(home).stat().st_mtime)


def _go_back(gateway: Gateway, *, as_json: bool) -> None:
    home = gateway.environment.home
    went = go_back(home)
    path, problem, router = learned_path(home), "", None
    try:
        router = read_learned(home)
    except ConfigError as error:
        problem = error.message
    if as_json:
        print_json(BackJson(str(path), path.is_file(), problem))
    elif not went:
        show_line("There is no learned router to go back from: none was switched to yet.")
    elif problem:
        show_line(f"The file before is in its place again, and of no use: {problem}", style="yellow")
        show_line("Models are chosen by their profiles. `pointsman train --back` takes the other file back.")
    elif router is not None:
        show_line(f"The router before is in use again: {path}", file=sys.stdout)
        show_line(of_what_use(gateway, router.models), file=sys.stdout)
    else:
        show_line("There was none before: models are chosen by their profiles again.", file=sys.stdout)
    if problem or not went:
        click.get_current_context().exit(FAILED)


def _check_installed() -> None:
    try:
        import_module("scipy")
    except ImportError:
        raise ConfigError(
            'To fit a router takes scipy, which is not installed: pip install "pointsman[train]"'
        ) from None
