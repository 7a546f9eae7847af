"""How things are printed: cleaned of escape sequences, as tables for a terminal, plain for a pipe."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import IO, Literal, get_args

import msgspec
from msgspec import Struct

from ..core.plain import ESCAPES, UNFINISHED, ascii_escaped, plain_text

LONGEST_SEQUENCE = 4096
"""Characters: an escape sequence that is longer is none, and its text must not be held back for ever."""

_LEFT_OVER = re.compile(r"[\x1b\x80-\x9f]")


class Cleaner:
    """Takes escape sequences out of a text that comes in pieces, wherever it is cut. With `for_terminal` whatever else
    `plain_text` takes out goes too."""

    def __init__(self, *, for_terminal: bool) -> None:
        self._for_terminal = for_terminal
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be shown now. The beginning of a sequence is held back until its end has come."""
        whole = self._held + text
        unfinished = UNFINISHED.search(ESCAPES.sub(_same_length, whole))
        cut = unfinished.start() if unfinished and len(whole) - unfinished.start() <= LONGEST_SEQUENCE else len(whole)
        self._held = whole[cut:]
        return self._clean(whole[:cut])

    def end(self) -> str:
        """What was held back, made harmless."""
        held, self._held = self._held, ""
        return self._clean(held)

    def _clean(self, text: str) -> str:
        return plain_text(text) if self._for_terminal else _LEFT_OVER.sub("", ESCAPES.sub("", text))


def width_of(file: IO[str]) -> int | None:
    """The columns of a terminal; None for a pipe, and for a terminal that does not know."""
    if not file.isatty():
        return None
    try:
        return os.get_terminal_size(file.fileno()).columns or None
    except OSError:
        return None


def print_json(value: object) -> None:
    """On one line, or indented for a terminal. Control characters of what others wrote stand as \\u escapes."""
    text = msgspec.json.encode(value)
    print(ascii_escaped((msgspec.json.format(text, indent=2) if sys.stdout.isatty() else text).decode()))


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
    cleaned = [[plain_text(cell) for cell in row] for row in rows]
    if file.isatty():
        _rich_table(columns, cleaned, title, file)
    else:
        _plain_table(columns, cleaned, title, file)


def show_line(text: str, *, style: str = "", file: IO[str] | None = None, hang: int = 0) -> None:
    """A line, or several. A terminal gets it wrapped between words, in a style unless NO_COLOR is set; what is wrapped
    goes on under the line's own indentation, or `hang` columns in."""
    file = file or sys.stderr
    if not file.isatty():
        print(plain_text(text), file=file, flush=True)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False)
    for line in plain_text(text).split("\n"):
        indent = hang or len(line) - len(line.lstrip(" "))
        head, body = line[:indent], Text(line[indent:], style)
        for part in body.wrap(console, max(console.width - indent, 1)) or [body]:
            part.rstrip()
            console.print(Text(head, style) + part, soft_wrap=True)
            head = " " * indent


def count(number: int, word: str) -> str:
    """'1 model', '2 models'."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


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
