"""`pointsman ledger`: the record of every attempt, looked into, exported, checked and backed up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

import click
import msgspec
from msgspec import Struct

from ..core import Chat, InvalidCall, Message, Text, from_usd, show_usd
from ..core.plain import ascii_escaped, plain_text
from ..ledger import Entry, Feedback, Ledger, csv_lines, jsonl, parse_since
from ..ledger.export import ExportedCandidate, ExportedRow, exported
from .ledger_care import backup, restore, verify
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import Column, print_json, show_line, show_table, width_of
from .wrapping import Wrapper

RECENT = 20
WIDE_ENOUGH = 100
"""Columns of a terminal that hold whole ids."""
SHORTEST_ID = 12
"""Characters: as many as hold the time in an id."""

FORMATS: dict[str, Callable[[Iterable[Entry]], Iterator[str]]] = {"jsonl": jsonl, "csv": csv_lines}


class PathJson(Struct, frozen=True):
    path: str
    exists: bool
    bytes: int


class BodyJson(Struct, frozen=True):
    """What was asked and answered in one attempt, kept only with `ledger: {bodies: true}`."""

    attempt_id: str
    prompt: str
    """As it was sent to us: JSON."""
    answer: str


class GradeJson(Struct, frozen=True):
    """What was said of the answer to a call."""

    call_id: str
    score: float
    source: str
    at: float
    reliability: float
    """0 to 1."""
    why: str
    """refused, cut_off, not_json, schema or tool_arguments, where it was noticed by itself; else empty."""


class EntriesJson(Struct, frozen=True, omit_defaults=True):
    entries: tuple[ExportedRow, ...]
    bodies: tuple[BodyJson, ...] = ()
    """With an ID only; so are the grades."""
    grades: tuple[GradeJson, ...] = ()


@click.group()
def ledger() -> None:
    """Look into the record of every attempt; check it, back it up.

    \b
    Examples:
      pointsman ledger show
      pointsman ledger export --format csv --since 7d --output week.csv
      pointsman ledger verify
      pointsman ledger backup ledger.sqlite
    """


ledger.add_command(verify)
ledger.add_command(backup)
ledger.add_command(restore)


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
            # What users wrote moves no cursor; a file and a pipe get every byte.
            file.write(ascii_escaped(line.rstrip("\r\n")) + "\n" if file.isatty() else line)


@ledger.command()
@click.argument("attempt_or_call", metavar="[ID]", required=False)
@json_option
@config_option
def show(attempt_or_call: str | None, as_json: bool, config_file: Path | None) -> None:
    """Show an attempt, or every attempt of a call; without an ID the latest ones. The beginning of an ID will do.

    Prompts and answers are shown where the configuration lets them be kept (`ledger: {bodies: true}`).

    \b
    Examples:
      pointsman ledger show
      pointsman ledger show 01a1fe00074f7770b08639b969868065
      pointsman ledger show --json
    """
    opened = _opened(config_file)
    found = opened.queries.recent(RECENT) if attempt_or_call is None else _find(opened, attempt_or_call)
    if as_json:
        bodies = () if attempt_or_call is None else _bodies(opened, found)
        grades = () if attempt_or_call is None else _grades(opened, found)
        print_json(EntriesJson(tuple(exported(entry) for entry in found), bodies, grades))
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
    file = open_gateway(config_file).environment.home / "ledger.sqlite"
    if as_json:
        print_json(PathJson(str(file), file.exists(), file.stat().st_size if file.exists() else 0))
    else:
        print(file)


def _opened(config_file: Path | None) -> Ledger:
    """With what other processes have recorded up to now."""
    opened = open_gateway(config_file).ledger
    opened.flush()
    return opened


@contextmanager
def _target(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    with output.open("w", encoding="utf-8", newline="") as file:
        yield file


def _find(opened: Ledger, wanted: str) -> Sequence[Entry]:
    """One attempt, or those of one call, by an id or its beginning."""
    found = opened.queries.find(wanted)
    attempts = [entry for entry in found if entry.attempt_id.startswith(wanted)]
    if len(attempts) == 1:
        return attempts
    if found and len({entry.call_id for entry in found}) == 1:
        return found
    problem = f"{len(found)} attempts or calls begin with" if found else "The ledger has no attempt or call"
    raise InvalidCall(f"{problem} {wanted!r}. `pointsman ledger show` lists the latest.", param="id")


def _bodies(opened: Ledger, entries: Sequence[Entry]) -> tuple[BodyJson, ...]:
    found = (opened.queries.body(entry.attempt_id) for entry in entries)
    return tuple(BodyJson(one.attempt_id, one.prompt.decode(errors="replace"), one.answer) for one in found if one)


def _grades(opened: Ledger, entries: Sequence[Entry]) -> tuple[GradeJson, ...]:
    calls = dict.fromkeys(entry.call_id for entry in entries)
    return tuple(
        GradeJson(call, said.score, said.source, said.at, said.reliability, said.why)
        for call in calls
        for said in opened.feedback.of(call)
    )


def _show_recent(entries: Sequence[Entry]) -> None:
    if not entries:
        show_line("Nothing was recorded yet.")
        return
    width = width_of(sys.stdout)
    length = None if width is None or width >= WIDE_ENOUGH else _enough([entry.attempt_id for entry in entries])
    show_table(
        (
            Column("attempt"),
            Column("time"),
            Column("model", wraps=True),
            Column("status"),
            Column("cost", "right"),
        ),
        [
            (
                entry.attempt_id[:length],
                f"{datetime.fromtimestamp(entry.at):%m-%d %H:%M}",
                entry.model,
                entry.error or entry.status,
                show_usd(entry.cost),
            )
            for entry in entries
        ],
    )


def _enough(ids: Sequence[str]) -> int:
    """Characters by which these ids can be told apart: `show` takes the beginning of one."""
    return next((n for n in range(SHORTEST_ID, 32) if len({text[:n] for text in ids}) == len(set(ids))), 32)


def _show_entry(entry: Entry, opened: Ledger) -> None:
    row = exported(entry)
    fields = [name for name in row.__struct_fields__ if name not in ("candidates", "features")]
    values = [(name, getattr(row, name)) for name in fields]
    shown = [(name, _word(value)) for name, value in values if value not in ("", None, ())]
    shown += [("grade", _grade_cell(said)) for said in opened.feedback.of(entry.call_id)]
    show_table((Column("field"), Column("value", wraps=True)), shown)
    if row.candidates:
        print()
        show_table(
            (
                Column("candidate", wraps=True),
                *(Column(name, "right") for name in ("score", "probability", "quality", "cost")),
                Column("rejected", wraps=True),
            ),
            [_candidate_cells(one) for one in row.candidates],
        )
    body = opened.queries.body(entry.attempt_id)
    if body is not None:
        wrapper = Wrapper(lambda: width_of(sys.stdout))
        text = plain_text(f"\nprompt:\n{_readable(body.prompt)}\n\nanswer:\n{body.answer}\n")
        print(wrapper.feed(text) + wrapper.end(), end="")


def _grade_cell(said: Feedback) -> str:
    more = [said.why.replace("_", " ")] if said.why else []
    if said.reliability < 1:
        more.append(f"reliability {said.reliability:g}")
    return f"{said.score:g} of 1 ({', '.join((said.source, *more))})"


def _candidate_cells(candidate: ExportedCandidate) -> tuple[str, ...]:
    """With what was expected of it; '' for what was not recorded."""
    return (
        candidate.model,
        "" if candidate.score is None else f"{candidate.score:.3f}",
        f"{candidate.probability:.2f}",
        "" if candidate.quality is None else f"{candidate.quality:.2f}",
        "" if candidate.cost_usd is None else show_usd(from_usd(candidate.cost_usd)),
        candidate.rejected,
    )


def _readable(prompt: bytes) -> str:
    """The messages of a prompt that came from here as text; the JSON of any other, indented."""
    try:
        return "\n".join(f"{one.role}: {_said(one)}" for one in msgspec.json.decode(prompt, type=Chat).messages)
    except (msgspec.DecodeError, UnicodeError):
        pass
    try:
        return msgspec.json.format(prompt, indent=2).decode(errors="replace")
    except msgspec.DecodeError:
        return prompt.decode(errors="replace")


def _said(message: Message) -> str:
    return "".join(part.text if isinstance(part, Text) else f"[{type(part).__name__}]" for part in message.parts)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else f"{value:.4g}" if isinstance(value, float) else str(value)
