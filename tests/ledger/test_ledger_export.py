"""Exports that other programs read exactly, and that spreadsheets do not run."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest
from ledger_samples import NOON, entry

from pointsman.core import Nanos, Usage, Weighed
from pointsman.ledger import csv_lines, jsonl


def test_jsonl_has_money_as_decimal_strings_and_null_for_unknown() -> None:
    """A script would add up floats, or read an unknown cost as 0."""
    (line,) = jsonl([entry(cost=Nanos(1_500_000), list_cost=None, usage=None, tags=("a",), at=NOON)])
    row = json.loads(line)
    assert line.endswith("}\n")
    assert (row["cost_usd"], row["list_cost_usd"], row["input_tokens"]) == ("0.0015", None, None)
    assert (row["tags"], row["time"]) == (["a"], "2026-11-18T11:06:40Z")


def test_csv_reads_back_with_empty_cells_for_unknown() -> None:
    """A spreadsheet would show unknown costs as 0, or shift its columns at a comma."""
    made = entry(user='a "quoted", name\nin two lines', cost=None, usage=Usage(input=7), stream=True)
    (row,) = csv.DictReader(io.StringIO("".join(csv_lines([made])), newline=""))
    assert row["user"] == made.user
    assert (row["cost_usd"], row["input_tokens"], row["stream"], row["tags"]) == ("", "7", "true", "")


@pytest.mark.fault(107, "Such a cell begins with an apostrophe: it is text.")
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_csv_cells_are_never_formulas(start: str) -> None:
    """Who names himself =cmd|… would run commands on the machine of the one who opens the bill."""
    evil = start + "cmd|' /C calc'!A0"
    made = entry(user=evil, session=evil, model=evil, tags=(evil,), candidates=(Weighed(evil, rejected=evil),))
    (row,) = csv.DictReader(io.StringIO("".join(csv_lines([made])), newline=""))
    assert row["user"] == row["session"] == row["model"] == "'" + evil
    assert not any(value.startswith(start) for value in row.values())


def test_a_negative_number_stays_a_number() -> None:
    """A credit would become text, and the sum of its column wrong."""
    (row,) = csv.DictReader(io.StringIO("".join(csv_lines([entry(candidates=(Weighed("a", -1.5, 1.0),), at=-1.0)]))))
    assert json.loads(row["candidates"]) == [{"model": "a", "score": -1.5, "probability": 1.0, "rejected": ""}]
    assert row["time"] == "1969-12-31T23:59:59Z"


def test_a_time_that_no_calendar_holds_does_not_stop_the_export() -> None:
    """One entry of a broken clock would make the whole ledger unreadable."""
    lines = list(jsonl([entry(at=1e20), entry()]))
    assert [json.loads(line)["time"] for line in lines] == ["", "2026-11-18T11:06:40Z"]


def test_exports_are_made_row_by_row() -> None:
    """A large ledger would be held in memory as a whole."""

    def endless():  # type: ignore[no-untyped-def]
        while True:
            yield entry()

    lines = csv_lines(endless())
    assert next(lines).startswith("attempt_id,") and next(lines)


def test_the_ledger_is_imported_without_the_network() -> None:
    """`import pointsman.ledger` would open what it does not need, and slow every command."""
    code = "import sys, pointsman.ledger; sys.exit(bool({'asyncio', 'socket', 'ssl'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
