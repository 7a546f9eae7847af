"""How things are printed: cleaned of escape sequences, as tables for a terminal, plain for a pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import IO, Literal, get_args

import msgspec
from msgspec import Struct

LONGEST_SEQUENCE = 4096
"""Characters: an escape sequence that is longer is none, and its text must not be held back for ever."""

_STRINGS = r"[\]PX^_]"
_SEQUENCE = re.compile(
    rf"\x1b(?:\[[0-?]*[ -/]*[@-~]|{_STRINGS}[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|[ -/]*(?![\[\]PX^_])[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_UNFINISHED = re.compile(rf"(?:\x1b(?:\[[0-?]*[ -/]*|{_STRINGS}[^\x07\x1b\x9c]*\x1b?|[ -/]*)|\x9b[0-?]*[ -/]*)\Z")
_ESCAPES = re.compile(r"[\x1b\x80-\x9f]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202d\u202e]")
"""What can move the cursor, ring, or turn the reading order round. Tabs and line ends stay."""


class Cleaner:
    """Takes escape sequences out of a text that comes in pieces, wherever it is cut. With `for_terminal` every other
    control character goes too."""

    def __init__(self, *, for_terminal: bool) -> None:
        self._for_terminal = for_terminal
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be shown now. The beginning of a sequence is held back until its end has come."""
        whole = self._held + text
        unfinished = _UNFINISHED.search(_SEQUENCE.sub(_same_length, whole))
        cut = unfinished.start() if unfinished and len(whole) - unfinished.start() <= LONGEST_SEQUENCE else len(whole)
        self._held = whole[cut:]
        return self._clean(whole[:cut])

    def end(self) -> str:
        """What was held back, made harmless."""
        held, self._held = self._held, ""
        return self._clean(held)

    def _clean(self, text: str) -> str:
        text = _ESCAPES.sub("", _SEQUENCE.sub("", text))
        return _CONTROLS.sub("", text) if self._for_terminal else text


def plain(text: str) -> str:
    """A text that others wrote, fit for a terminal."""
    cleaner = Cleaner(for_terminal=True)
    return cleaner.feed(text) + cleaner.end()


def print_json(value: object) -> None:
    """On one line, or indented for a terminal."""
    text = msgspec.json.encode(value)
    print((msgspec.json.format(text, indent=2) if sys.stdout.isatty() else text).decode())


class Column(Struct, frozen=True):
    name: str
    align: Literal["left", "right"] = "left"
    wraps: bool = False
    """Gives way when the terminal is narrow."""


def show_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str = "", file: IO[str] | None = None
) -> None:
    """A table that fits the terminal. In a pipe: aligned columns, whole, without colours or lines."""
    file = file or sys.stdout
    cleaned = [[plain(cell) for cell in row] for row in rows]
    if file.isatty():
        _rich_table(columns, cleaned, title, file)
    else:
        _plain_table(columns, cleaned, title, file)


def show_line(text: str, *, style: str = "", file: IO[str] | None = None) -> None:
    """A line, or several. A terminal gets it wrapped between words, in a style unless NO_COLOR is set."""
    file = file or sys.stderr
    if not file.isatty():
        print(plain(text), file=file, flush=True)
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(file=file, highlight=False)
    for line in plain(text).split("\n"):
        body = line.lstrip(" ")
        console.print(Padding(Text(body, style), (0, 0, 0, len(line) - len(body)), expand=False))


def choices(literal: object) -> tuple[str, ...]:
    """The words of a Literal type."""
    return tuple(get_args(literal))


def _same_length(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str, file: IO[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    for column in columns:
        table.add_column(
            column.name, justify=column.align, no_wrap=not column.wraps, overflow="fold" if column.wraps else "ellipsis"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=file, highlight=False).print(table)


def _plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str, file: IO[str]) -> None:
    if title:
        print(title, file=file)
    lines = [[column.name for column in columns], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column.align == "right" else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=file)
