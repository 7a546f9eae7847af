"""`pointsman models pull`, `ps` and `stop`: the models of this machine and the host that runs them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct, structs

from ..core import Unreachable
from ..endpoints.local import (
    LocalHost,
    LocalModel,
    ModelStatus,
    Progress,
    PullPlan,
    hub_reachable,
    installed,
)
from ..endpoints.local import plan as plan_pull
from ..endpoints.local import pull as pull_models
from .failures import FAILED
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import Column, print_json, show_line, show_table

EVERY_PERCENT = 10
"""Where there is no terminal, progress is told so often."""

_QUESTION = "Pull what is unofficial, too?"


class HostJson(Struct, frozen=True):
    """What `models ps --json` prints. Times in seconds, memory in bytes."""

    running: bool
    pid: int | None = None
    uptime: float | None = None
    models: tuple[ModelStatus, ...] = ()


@click.command()
@click.argument("names", nargs=-1)
@click.option("--official-only", is_flag=True, help="Refuse files whose origin is not a named author.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@config_option
def pull(names: tuple[str, ...], official_only: bool, yes: bool, config_file: Path | None) -> None:
    """Bring models that run on this machine. What has come of a broken pull is kept, and the next one goes on there.

    Each file is checked against a hash that is pinned in this program. What is unofficial is called so before it is
    pulled.

    \b
    Examples:
      pointsman models pull
      pointsman models pull qwen2.5-coder-1.5b
      pointsman models pull --official-only
    """
    gateway = open_gateway(config_file)
    home = gateway.environment.home
    only = official_only or gateway.config.local.official_only
    plan = plan_pull(names, home, official_only=only)
    # Only where something is to be brought is it worth asking whether the hub can be reached.
    use_hub = bool(plan.pulling or plan.refused) and hub_reachable()
    plan = plan_pull(names, home, official_only=only, use_hub=use_hub)
    _show_plan(plan)
    if plan.unofficial and not yes and sys.stdin.isatty() and not click.confirm(_QUESTION, default=True, err=True):
        plan = plan_pull(names, home, official_only=True, use_hub=use_hub)
    missing = [refused.model for refused in plan.refused] + _pull(plan)
    _show_outcome(home, missing)
    if not installed(home):
        click.get_current_context().exit(FAILED)


@click.command()
@json_option
@config_option
def ps(as_json: bool, config_file: Path | None) -> None:
    """Show the local models that run now.

    \b
    Examples:
      pointsman models ps
      pointsman models ps --json
    """
    status = asyncio.run(LocalHost(open_gateway(config_file).environment.home).status())
    if as_json:
        print_json(HostJson(False) if status is None else HostJson(True, status.pid, status.uptime, status.models))
    elif status is None:
        print("No model host runs. It starts with the first call to a local model.")
    else:
        show_table(
            (
                Column("model", wraps=True),
                Column("pid", "right"),
                Column("in use", "right"),
                Column("memory", "right"),
                Column("up"),
            ),
            [
                (
                    f"local/{model.model}",
                    str(model.pid),
                    str(model.leases),
                    "?" if model.rss is None else _megabytes(model.rss),
                    f"{model.uptime:.0f} s",
                )
                for model in status.models
            ],
            title=f"The model host has pid {status.pid} and has run for {status.uptime:.0f} s.",
        )


@click.command()
@config_option
def stop(config_file: Path | None) -> None:
    """End the model host and the models that it runs, whoever uses them.

    \b
    Example:
      pointsman models stop
    """
    stopped = asyncio.run(LocalHost(open_gateway(config_file).environment.home).stop())
    print("The model host was told to end." if stopped else "No model host runs.")


def _show_plan(plan: PullPlan) -> None:
    for one in plan.pulling:
        show_line(f"{one.model.id} · {one.model.title} by {one.model.maker} · {one.model.licence}", style="bold")
        show_line(f"  file    {_megabytes(one.model.size)}, sha256 {one.model.sha256}")
        for rank, source in enumerate(one.sources):
            label = "from    " if rank == 0 else "or from "
            show_line(f"  {label}{source.name} ({_megabytes(source.size)})")
            show_line(f"          {source.standing}, author: {source.author}, licence: {source.licence}")
            if source.note:
                show_line(f"          {source.note}", style="yellow" if source.standing == "unofficial" else "dim")
    for refused in plan.refused:
        show_line(refused.reason, style="yellow")


def _pull(plan: PullPlan) -> list[LocalModel]:
    """Brings each model by itself, so that one that cannot be had does not keep the others away. Gives those."""
    missing = []
    for one in plan.pulling:
        try:
            with _progress() as progress:
                pull_models(structs.replace(plan, pulling=(one,)), progress)
        except Unreachable as error:
            show_line(error.message, style="yellow")
            missing.append(one.model)
    return missing


def _show_outcome(home: Path, missing: list[LocalModel]) -> None:
    here = [f"local/{name}" for name in installed(home)]
    if not here:
        show_line("No local model is here.", style="bold red")
    elif missing:
        serve = "serves alone" if len(here) == 1 else "serve"
        show_line(f"Without {', '.join(model.id for model in missing)}: {' and '.join(here)} {serve}.", style="yellow")
    else:
        show_line(f"Ready: {', '.join(here)}.", style="green")


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), expand=True) as bars:
        task = bars.add_task("", total=None)

        def show(progress: Progress) -> None:
            bars.update(
                task,
                description=f"{progress.model.name}: {progress.phase}",
                completed=progress.done,
                total=progress.total or None,
            )

        yield show


class _Lines:
    """Progress for a log: a line when a phase begins, and one every ten per cent of a download."""

    def __init__(self) -> None:
        self._phase = ""
        self._told = 0

    def __call__(self, progress: Progress) -> None:
        percent = 100 * progress.done // progress.total if progress.total else 0
        step = percent - percent % EVERY_PERCENT
        if progress.phase != self._phase:
            self._phase, self._told = progress.phase, step
        elif step <= self._told or progress.phase != "downloading":
            return
        self._told = max(step, self._told)
        amount = f" {step} % of {_megabytes(progress.total)}" if progress.phase == "downloading" else ""
        show_line(f"{progress.model.id}: {progress.phase}{amount}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
