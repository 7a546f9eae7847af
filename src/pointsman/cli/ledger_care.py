"""`pointsman ledger verify`, `backup` and `restore`: whether the record is whole, and a copy of it kept."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click
from msgspec import Struct

from ..core import InvalidCall
from ..ledger import Finding, Verified, back_up
from ..ledger import restore as restore_backup
from ..ledger import verify as verify_ledger
from .failures import FAILED
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import count, print_json, show_line


class VerifiedJson(Struct, frozen=True):
    ok: bool
    """Nothing is lost, and everything adds up."""
    file: str
    findings: tuple[Finding, ...]
    entries: int
    bodies: int
    keys: int
    purses: int
    feedback: int
    states: int
    """Versions of what was learned."""
    journals: int
    waiting: int
    """Records in journals, which are stored from there."""


class BackupJson(Struct, frozen=True):
    path: str
    bytes: int
    entries: int


class RestoredJson(Struct, frozen=True):
    entries: int
    kept: str | None
    """Where the ledger lies that was replaced; null where there was none."""


_MARKS = {"wrong": ("✗", "bold red"), "note": ("·", "")}
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@json_option
@config_option
def verify(as_json: bool, config_file: Path | None) -> None:
    """Check that the ledger is whole: its file, its journals, its keys, and that budgets add up to what was spent.

    Nothing is changed, and a server may go on running. Exit code 0 where all is well, notes (·) included; 1 where
    something is wrong (✗), each with what to do about it.

    \b
    Examples:
      pointsman ledger verify
      pointsman ledger verify --json | jq '.findings[]'
    """
    ledger = open_gateway(config_file).ledger
    result = verify_ledger(ledger)
    if as_json:
        print_json(_json(result, ledger.store.path))
    else:
        _show(result, ledger.store.path)
    if not result.ok:
        click.get_current_context().exit(FAILED)


@click.command()
@click.argument("file", type=_FILE)
@json_option
@config_option
def backup(file: Path, as_json: bool, config_file: Path | None) -> None:
    """Copy the ledger to FILE, while a server may go on running. A FILE that is there is replaced.

    It holds every attempt and key that was recorded before, and what keys are checked with: keep it as safe as the
    ledger itself.

    \b
    Examples:
      pointsman ledger backup ledger-$(date +%F).sqlite
      pointsman ledger backup /mnt/backup/pointsman.sqlite --json
    """
    ledger = open_gateway(config_file).ledger
    _refuse_own_files(file, ledger.home, "written to")
    made = back_up(ledger, file)
    if as_json:
        print_json(BackupJson(str(made.path), made.bytes, made.entries))
        return
    what = f"{_attempts(made.entries)}, {_size(made.bytes)}"
    show_line(f"{made.path}: {what}. `pointsman ledger restore {made.path}` puts it back.", file=sys.stdout)


@click.command()
@click.argument("file", type=_FILE)
@json_option
@config_option
def restore(file: Path, as_json: bool, config_file: Path | None) -> None:
    """Put a backup in the place of the ledger. The server must be stopped.

    FILE is checked first. The ledger that is replaced is kept beside it, with all that was recorded since the backup;
    nothing is deleted. Exit code 4 where FILE is damaged or something uses the ledger: then nothing was changed.

    \b
    Examples:
      pointsman ledger restore ledger-2026-11-20.sqlite
      pointsman ledger restore /mnt/backup/pointsman.sqlite --json
    """
    home = open_gateway(config_file).environment.home
    _refuse_own_files(file, home, "restored from")
    done = restore_backup(home, file)
    if as_json:
        print_json(RestoredJson(done.entries, None if done.kept is None else str(done.kept)))
        return
    show_line(f"The ledger is the one of {file} again: {_attempts(done.entries)}.", file=sys.stdout)
    if done.kept is not None:
        show_line(
            f"The one before is kept, with what was recorded since the backup: {done.kept}\n"
            "Money that was spent since then is not counted in budgets any more.",
            file=sys.stdout,
        )


def _refuse_own_files(file: Path, home: Path, what: str) -> None:
    """The ledger must not be replaced under those who use it by a copy of itself."""
    own = {home.resolve() / f"ledger.sqlite{ending}" for ending in ("", "-wal", "-shm")}
    if file.resolve() in own:
        raise InvalidCall(f"{file} is the ledger itself, which cannot be {what}: name another file.", param="file")


def _show(result: Verified, file: Path) -> None:
    for finding in _worst_first(result.findings):
        mark, style = _MARKS[finding.level]
        show_line(f"{mark} {finding.found}", style=style, file=sys.stdout, hang=2)
        if finding.todo:
            show_line(f"  To do: {finding.todo}", file=sys.stdout)
    counted = (
        (result.entries, "attempt"),
        (result.keys, "key"),
        (result.purses, "purse"),
        (result.feedback, "feedback"),
        (result.states, "state"),
        (result.journals, "journal"),
    )
    held = ", ".join(count(number, word) for number, word in counted)
    waiting = f" ({count(result.waiting, 'record')} in journals)" if result.waiting else ""
    if result.ok:
        show_line(f"✓ {file} is whole: {held}{waiting}.", style="green", file=sys.stdout, hang=2)
        return
    wrong = sum(finding.level == "wrong" for finding in result.findings)
    told = f"{'One thing is' if wrong == 1 else f'{wrong} things are'} wrong with {file}"
    show_line(f"{told}. What could be read of it: {held}{waiting}.", file=sys.stdout)


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: finding.level != "wrong")


def _json(result: Verified, file: Path) -> VerifiedJson:
    return VerifiedJson(
        ok=result.ok,
        file=str(file),
        findings=result.findings,
        entries=result.entries,
        bodies=result.bodies,
        keys=result.keys,
        purses=result.purses,
        feedback=result.feedback,
        states=result.states,
        journals=result.journals,
        waiting=result.waiting,
    )


def _attempts(number: int) -> str:
    return count(number, "attempt")


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 100_000 else f"{number / 1e3:.0f} kB"
