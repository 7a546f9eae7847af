"""`pointsman doctor`: what is configured, reachable and priced, and what to do about what is not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import Struct

from ..core.plain import plain_line
from .check import Check, State
from .checks import examine
from .failures import FAILED
from .options import config_option, json_option
from .terminal import print_json, show_line

MARKS: dict[State, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
    "off": ("·", "dim"),
}


class DoctorJson(Struct, frozen=True):
    ok: bool
    """Something can serve."""
    checks: tuple[Check, ...]


@click.command()
@click.option("--offline", is_flag=True, help="Ask no provider whether it can be reached.")
@json_option
@config_option
def doctor(offline: bool, as_json: bool, config_file: Path | None) -> None:
    """What is configured, reachable and priced, and what to do about what is not. Costs nothing.

    Exit code 1 only when nothing can serve.

    \b
    Examples:
      pointsman doctor
      pointsman doctor --offline --json
    """
    checks, can_serve = asyncio.run(examine(config_file, offline=offline))
    if as_json:
        print_json(DoctorJson(can_serve, tuple(checks)))
    else:
        _show(checks)
    if not can_serve:
        click.get_current_context().exit(FAILED)


def _show(checks: Sequence[Check]) -> None:
    width = max(len(check.name) for check in checks)
    hang = width + 4
    for check in checks:
        mark, style = MARKS[check.state]
        advice = f" · {check.advice}" if check.state == "off" and check.advice else ""
        found = f"{mark} {check.name.ljust(width)}  {plain_line(check.found)}{advice}"
        show_line(found, style=style, file=sys.stdout, hang=hang)
        if check.advice and not advice:
            show_line(f"{' ' * hang}{plain_line(check.advice)}", file=sys.stdout, hang=hang)
