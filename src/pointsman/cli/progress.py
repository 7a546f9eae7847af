"""How far each engine of a comparison is: lines that change on a terminal, one line for each step in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..core.plain import plain_text
from ..lab import Progress
from .terminal import show_line

if TYPE_CHECKING:
    from rich.table import Table

_WORDS = {
    "asked": "asked",
    "writing": "writing",
    "ok": "done",
    "broken": "broken off",
    "failed": "failed",
    "timeout": "timed out",
    "stopped": "stopped",
}
_STYLES = {"ok": "green", "writing": "cyan", "asked": "dim"}
_A_SECOND = 4
"""Frames."""


@contextmanager
def showing_progress(engines: Sequence[str]) -> Iterator[Callable[[Progress], None]]:
    """What to tell the progress to. It is shown on standard error."""
    if not sys.stderr.isatty():
        yield _Lines().tell
        return
    from rich.console import Console
    from rich.live import Live

    board = _Board(engines)
    console = Console(stderr=True, highlight=False)
    with Live(get_renderable=board.table, console=console, refresh_per_second=_A_SECOND, transient=True):
        yield board.tell


class _Lines:
    """A line when an engine is asked, when it begins to write, and when it ends."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def tell(self, progress: Progress) -> None:
        if self._last.get(progress.engine) == progress.stage:
            return
        self._last[progress.engine] = progress.stage
        after = "" if progress.stage == "asked" else f", {progress.seconds:.1f} s"
        tokens = f", {progress.tokens} tokens" if progress.stage not in ("asked", "writing") else ""
        show_line(f"{progress.engine}: {_WORDS[progress.stage]}{after}{tokens}")


class _Board:
    """A line for each engine, whose seconds run while it works."""

    def __init__(self, engines: Sequence[str]) -> None:
        self._told = {name: (Progress(name, "asked", 0.0, None, 0), time.monotonic()) for name in engines}

    def tell(self, progress: Progress) -> None:
        self._told[progress.engine] = (progress, time.monotonic())

    def table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for progress, told in self._told.values():
            runs = progress.stage in ("asked", "writing")
            seconds = progress.seconds + (time.monotonic() - told if runs else 0.0)
            table.add_row(
                Text(plain_text(progress.engine)),
                Text(_WORDS[progress.stage], _STYLES.get(progress.stage, "red")),
                Text(f"{seconds:.1f} s"),
                Text(f"{progress.tokens} tokens"),
            )
        return table
