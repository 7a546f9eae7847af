"""Whether the ledger is whole: what was found, and what to do about it. Nothing is changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ..core import LedgerError, show_usd
from .feedback import ENTRY_OF
from .journal import journals_in, read_batch, seed_of
from .keys import read_pepper
from .ledger import Ledger
from .migrations import MIGRATIONS
from .purses import process_of
from .rows import SETTLED_AMOUNT, read_details

_SALVAGE = (
    "Stop what uses it and put a backup in its place (`pointsman ledger restore FILE`); without one, "
    "`sqlite3 ledger.sqlite .recover` saves what can be read."
)


class Finding(Struct, frozen=True):
    """`wrong`: something is lost or does not add up. `note`: nothing is, but it is good to know."""

    level: Literal["wrong", "note"]
    found: str
    todo: str = ""


class Verified(Struct, frozen=True):
    findings: tuple[Finding, ...]
    entries: int = 0
    bodies: int = 0
    keys: int = 0
    purses: int = 0
    feedback: int = 0
    states: int = 0
    journals: int = 0
    waiting: int = 0
    """Records in journals that are not in SQLite yet, or not yet removed from the journal."""

    @property
    def ok(self) -> bool:
        return not any(finding.level == "wrong" for finding in self.findings)


def verify(ledger: Ledger) -> Verified:
    """Never raises for what it finds."""
    journals = journals_in(ledger.journals)
    findings, waiting = _check_journals(journals, ledger.journals)
    counts = dict.fromkeys(("entries", "bodies", "keys", "purses", "feedback", "states"), 0)
    path = ledger.store.path
    if not path.exists():
        findings.append(Finding("note", f"There is no ledger {path} yet."))
    else:
        try:
            with ledger.store.explaining("read"), closing(ledger.store.connect()) as connection:
                connection.execute("BEGIN")  # one state of the ledger, while others write
                findings += _check_file(connection)
                findings += _check_purses(connection, ledger.journals)
                findings += _check_keys(connection, ledger.pepper)
                findings += _check_details(connection)
                findings += _check_feedback(connection)
                for table in counts:
                    counts[table] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        except LedgerError as error:
            findings.append(Finding("wrong", error.message, _SALVAGE))
    return Verified(tuple(findings), **counts, journals=len(journals), waiting=waiting)


def _check_file(connection: sqlite3.Connection) -> Iterator[Finding]:
    for (found,) in connection.execute("PRAGMA integrity_check(20)"):
        if found != "ok":
            yield Finding("wrong", f"The file is damaged: {found}", _SALVAGE)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        for migrate in MIGRATIONS:
            migrate(new)
        expected, found_there = _schema(new), _schema(connection)
    for name in sorted({*expected, *found_there}):
        if expected.get(name) != found_there.get(name):
            state = "is missing" if name not in found_there else "is not ours" if name not in expected else "is changed"
            yield Finding("wrong", f"{name} {state}: another program has altered the schema.", _SALVAGE)


def _check_purses(connection: sqlite3.Connection, journals: Path) -> Iterator[Finding]:
    sums: dict[str, int] = {}
    for names, amount in connection.execute(_SETTLED):
        for name in msgspec.json.decode(names, type=tuple[str, ...]):
            sums[name] = sums.get(name, 0) + amount
    for name, most, spent, lost, leased in connection.execute(_PURSES):
        settled = sums.pop(name, 0)
        if spent != settled + lost:
            amounts = f"{show_usd(spent)} spent, but its entries come to {show_usd(settled)}"
            more = f" and {show_usd(lost)} was lost in crashes" if lost else ""
            todo = "Were entries erased, that is why; else report it, with the output of `pointsman ledger export`."
            yield Finding("wrong", f"The purse {name} has {amounts}{more}.", todo)
        if spent + leased > most:
            amounts = f"{show_usd(spent)} spent and {show_usd(leased)} leased of {show_usd(most)}"
            why = "its limit was lowered, or calls cost more than was reserved"
            yield Finding("note", f"The purse {name} has {amounts}: {why}. It lends nothing more.")
    for name, amount in sums.items():
        if amount:
            yield Finding("wrong", f"Entries took {show_usd(amount)} from the purse {name}, which is gone.", _SALVAGE)
    living = {process_of(path) for path in journals_in(journals)}
    for process, amount in connection.execute("SELECT process, sum(amount) FROM leases GROUP BY process"):
        if process not in living:
            found = f"{show_usd(amount)} is leased to the process {process}, which has ended."
            yield Finding("note", found, "The next process that records gives it back.")


def _check_keys(connection: sqlite3.Connection, pepper: Path) -> Iterator[Finding]:
    keys = connection.execute("SELECT count(*) FROM keys WHERE revoked IS NULL").fetchone()[0]
    try:
        if keys and read_pepper(pepper) is None:
            todo = "Put it back, or restore a backup, which holds it too; else make new keys."
            yield Finding("wrong", f"{keys} keys can't be verified: {pepper} is gone.", todo)
    except (LedgerError, OSError) as error:
        yield Finding("wrong", str(error), "Restore a backup, which holds it too; or make new keys.")


def _check_details(connection: sqlite3.Connection) -> Iterator[Finding]:
    packed = connection.execute("SELECT details FROM entries WHERE details != x''")
    damaged = sum(read_details(details) is None for (details,) in packed)
    if damaged:
        yield Finding("wrong", f"{damaged} entries have details that cannot be read: shown without them.", _SALVAGE)


def _check_feedback(connection: sqlite3.Connection) -> Iterator[Finding]:
    pending = connection.execute("SELECT count(*) FROM feedback WHERE entry = 0").fetchone()[0]
    if pending:
        found = f"{pending} feedbacks are for calls that no entry tells of yet."
        yield Finding("note", found, "They count as soon as one does.")
    gone = connection.execute(_GONE).fetchone()[0]
    if gone:
        yield Finding("note", f"{gone} feedbacks are for attempts that are gone.", "Were entries erased, that is why.")


def _check_journals(journals: Sequence[Path], directory: Path) -> tuple[list[Finding], int]:
    """(what was found, records)"""
    findings: list[Finding] = []
    waiting = 0
    for path in journals:
        try:
            records, damaged, newer = _read(path)
        except FileNotFoundError:
            continue  # drained since it was listed
        except OSError as error:
            findings.append(Finding("wrong", f"The journal {path} cannot be read: {error}.", "Make it readable."))
            continue
        waiting += records
        if damaged:
            todo = "What can be read is stored, and the journal is kept in journal/damaged."
            findings.append(Finding("wrong", f"The journal {path} has {damaged} stretches that cannot be read.", todo))
        if newer:
            todo = "Upgrade: then it is stored."
            findings.append(Finding("wrong", f"The journal {path} was written by a newer pointsman.", todo))
    for path in sorted((directory / "damaged").glob("*")):
        todo = "What could be read of it is stored. Move it away once you have looked at it."
        findings.append(Finding("note", f"A damaged journal was kept: {path}.", todo))
    return findings, waiting


def _read(path: Path) -> tuple[int, int, bool]:
    """(records, damaged stretches, whether a newer pointsman wrote what follows)"""
    records = damaged = place = 0
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            batch = read_batch(file, seed_of(path), place, 500)
            records += len(batch.records)
            damaged += batch.damaged
            place += batch.end
            if batch.newer or not batch.end:
                return records, damaged, batch.newer
    finally:
        os.close(file)


def _schema(connection: sqlite3.Connection) -> dict[str, str]:
    """Tables and indexes with their definitions, without blanks and comments."""
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    return {name: "".join("".join(line.partition("--")[0] for line in sql.split("\n")).split()) for name, sql in rows}


_SETTLED = f"""
SELECT names.text, sum({SETTLED_AMOUNT}) FROM entries JOIN names ON names.id = entries.holds
WHERE holds != 0 GROUP BY holds
"""
_GONE = f"SELECT count(*) FROM feedback WHERE entry != 0 AND NOT EXISTS (SELECT 1 FROM entries WHERE {ENTRY_OF})"
_PURSES = """
SELECT name, most, spent, lost, (SELECT coalesce(sum(max(amount, 0)), 0) FROM leases WHERE purse = number)
FROM purses ORDER BY name
"""
