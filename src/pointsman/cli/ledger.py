"""`pointsman ledger`: the record of every attempt, exported or looked into."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

import click
from msgspec import Struct

from ..core import InvalidCall, show_usd
from ..gateway import Gateway
from ..ledger import Entry, Ledger, csv_lines, jsonl, parse_since
from ..ledger.export import ExportedRow, exported
from .options import config_option, json_option
from .terminal import Column, print_json, show_line, show_table

RECENT = 20

FORMATS: dict[str, Callable[[Iterable[Entry]], Iterator[str]]] = {"jsonl": jsonl, "csv": csv_lines}


class PathJson(Struct, frozen=True):
    path: str
    exists: bool
    bytes: int


class EntriesJson(Struct, frozen=True):
    entries: tuple[ExportedRow, ...]


@click.group()
def ledger() -> None:
    """Look into the record of every attempt, or export it.

    \b
    Examples:
      pointsman ledger show
      pointsman ledger export --format csv --since 7d --output week.csv
      pointsman ledger path
    """


@ledger.command()
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="jsonl", show_default=True)
@click.option("--since", metavar="WHEN", help="30m, 24h, 7d, 2w, or a date.")
@click.option("--until", metavar="WHEN", help="The same; itself not counted.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of printing it."
)
@config_option
def export(form: str, since: str | None, until: str | None, output: Path | None, config_file: Path | None) -> None:
    """Write every attempt, the oldest first, for other programs. Money is a decimal string in US dollars.

    \b
    Examples:
      pointsman ledger export --since 24h | jq .cost_usd
      pointsman ledger export --format csv --output ledger.csv
    """
    now = time.time()
    begin = None if since is None else parse_since(since, now)
    end = None if until is None else parse_since(until, now)
    queries = _opened(config_file).queries
    with _target(output) as file:
        for line in FORMATS[form](queries.entries(since=begin, until=end)):
            file.write(line)


@ledger.command()
@click.argument("attempt_or_call", metavar="[ID]", required=False)
@json_option
@config_option
def show(attempt_or_call: str | None, as_json: bool, config_file: Path | None) -> None:
    """Show an attempt, or every attempt of a call; without an ID the latest ones.

    \b
    Examples:
      pointsman ledger show
      pointsman ledger show 01a1fe00074f7770b08639b969868065
      pointsman ledger show --json
    """
    opened = _opened(config_file)
    found = opened.queries.recent(RECENT) if attempt_or_call is None else _find(opened, attempt_or_call)
    if as_json:
        print_json(EntriesJson(tuple(exported(entry) for entry in found)))
    elif attempt_or_call is None:
        _show_recent(found)
    else:
        for entry in found:
            _show_entry(entry, opened)


@ledger.command()
@json_option
@config_option
def path(as_json: bool, config_file: Path | None) -> None:
    """Show where the ledger is.

    \b
    Example:
      sqlite3 "$(pointsman ledger path)" "select count(*) from entries"
    """
    file = Gateway(config_file).environment.home / "ledger.sqlite"
    if as_json:
        print_json(PathJson(str(file), file.exists(), file.stat().st_size if file.exists() else 0))
    else:
        print(file)


def _opened(config_file: Path | None) -> Ledger:
    """With what other processes have recorded up to now."""
    opened = Gateway(config_file).ledger
    opened.flush()
    return opened


@contextmanager
def _target(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    with output.open("w", encoding="utf-8", newline="") as file:
        yield file


def _find(opened: Ledger, attempt_or_call: str) -> Sequence[Entry]:
    attempt = opened.queries.get(attempt_or_call)
    found = [attempt] if attempt else [e for e in opened.queries.entries() if e.call_id == attempt_or_call]
    if not found:
        raise InvalidCall(
            f"The ledger has no attempt or call {attempt_or_call!r}. `pointsman ledger show` lists the latest.",
            param="id",
        )
    return found


def _show_recent(entries: Sequence[Entry]) -> None:
    if not entries:
        show_line("Nothing was recorded yet.")
        return
    show_table(
        (
            Column("attempt"),
            Column("time"),
            Column("model", wraps=True),
            Column("status", wraps=True),
            Column("cost", "right"),
        ),
        [
            (
                entry.attempt_id,
                f"{datetime.fromtimestamp(entry.at):%m-%d %H:%M}",
                entry.model,
                entry.error or entry.status,
                show_usd(entry.cost),
            )
            for entry in entries
        ],
    )


def _show_entry(entry: Entry, opened: Ledger) -> None:
    row = exported(entry)
    fields = [name for name in row.__struct_fields__ if name != "candidates"]
    values = [(name, getattr(row, name)) for name in fields]
    shown = [(name, _word(value)) for name, value in values if value not in ("", None, ())]
    show_table((Column("field"), Column("value", wraps=True)), shown)
    if row.candidates:
        show_table(
            (
                Column("candidate"),
                Column("score", "right"),
                Column("probability", "right"),
                Column("rejected", wraps=True),
            ),
            [
                (c.model, "" if c.score is None else f"{c.score:.3f}", f"{c.probability:.2f}", c.rejected)
                for c in row.candidates
            ],
        )
    body = opened.queries.body(entry.attempt_id)
    if body is not None:
        show_line(f"prompt: {body.prompt.decode(errors='replace')}\nanswer: {body.answer}", file=sys.stdout)


def _word(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
