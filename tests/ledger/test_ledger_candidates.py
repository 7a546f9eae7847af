"""What a decision expected of its candidates, as a row and a journal hold it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ledger_samples import entry

from pointsman.core import Weighed
from pointsman.ledger import Entry, Ledger
from pointsman.ledger.candidates import pack_choices, pack_estimates, unpack_candidates
from pointsman.ledger.names import Names
from pointsman.ledger.records import frame, parse


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ((0.1, 1234567.0, 1.25, 0.333), (0.1, 1234567.0, 1.25, 0.333)),
        ((0.8745, None, None, None), (0.8745, None, None, None)),
        ((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),
        ((None, None, None, None), (None, None, None, None)),
        ((float("nan"), float("inf"), float("-inf"), 0.5), (None, None, None, 0.5)),
        ((0.5, 1e300, 70_000.0, None), (0.5, None, None, None)),
        ((0.5, 10**400, 65_520, 1), (0.5, None, None, 1.0)),
        ((1e-9, 3.4e38, 65_504.0, -0.5), (0.0, 3.4e38, 65_500.0, -0.5)),
    ],
)
def test_what_was_expected_is_read_as_it_was_written(
    tmp_path: Path, given: tuple[Any, ...], read: tuple[Any, ...]
) -> None:
    """What another policy would have done could not be told from the ledger."""
    plain, rejected = Weighed("b", 0.5, 0.5), Weighed("c", rejected="no key")
    made = entry(candidates=(Weighed("a", 0.25, 0.5, "", *given), plain, rejected))
    with Ledger.open(tmp_path) as ledger:
        ledger.record(made)
        ledger.flush()
        found = ledger.queries.get(made.attempt_id)
    assert found is not None
    assert found.candidates == (Weighed("a", 0.25, 0.5, "", *read), plain, rejected)


def test_what_was_read_is_written_the_same_again(tmp_path: Path) -> None:
    """A replay from an export would not be the same byte for byte."""
    dice = Random(7)
    made = [Weighed("a", quality=dice.random(), seconds=dice.expovariate(0.1), prior=dice.gauss()) for _ in range(500)]
    with Ledger.open(tmp_path) as ledger, closing(ledger.store.connect()) as connection:
        names = Names(connection)
        packed = pack_estimates(made)
        read = unpack_candidates(pack_choices(made, names), packed, (), names)
    assert pack_estimates(read) == packed
    assert all(abs(one.quality - two.quality) < 0.0005 for one, two in zip(made, read, strict=True))  # type: ignore[operator]


def test_nothing_expected_takes_no_room_and_old_rows_read(tmp_path: Path) -> None:
    """Every named model's call would cost its writer more; and old decisions could not be read."""
    assert pack_estimates([Weighed("a", 0.5, 0.5)] * 3) == pack_estimates([]) == b""
    with Ledger.open(tmp_path) as ledger, closing(ledger.store.connect()) as connection:
        names = Names(connection)
        choices = pack_choices([Weighed("a", 0.5, 0.5)], names)
        assert unpack_candidates(choices, b"", (), names) == (Weighed("a", 0.5, 0.5),)
        assert unpack_candidates(choices, b"damaged", (), names) == (Weighed("a", 0.5, 0.5),)


def test_a_journal_holds_what_was_expected_even_beside_what_no_file_holds() -> None:
    """A user's broken emoji would cost the record of a whole call, or of what was expected in it."""
    weighed = Weighed("a\ud800", 0.5, 0.5, "", 0.25, 2.0, 3.0, 0.125)
    batch = parse(frame(entry(user="\ud800", candidates=(weighed,)), 7), 7, limit=1, at_end=True)
    (found,) = batch.records
    assert isinstance(found, Entry)
    assert found.candidates == (Weighed("a?", 0.5, 0.5, "", 0.25, 2.0, 3.0, 0.125),)
