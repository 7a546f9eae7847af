"""docs/reliability.md claims nothing that no test shows, and leaves nothing out."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from fault_catalogue import FAULTS

Shown = dict[int, list[tuple[str, str]]]
"""Number → (what comes of it, which test shows it)."""
GENERATOR = Path(__file__).parents[2] / "docs" / "generate.py"
SHOWN = (*range(1, 88), *range(97, 105), *range(106, 113))
"""The faults that must have a test."""


@pytest.fixture(scope="module")
def shown() -> Shown:
    spec = importlib.util.spec_from_file_location("generate", GENERATOR)
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    found: Shown = generate.shown_faults()
    return found


def test_every_fault_is_shown_by_a_test(shown: Shown) -> None:
    """The page would promise what nobody has tried."""
    assert [number for number in SHOWN if number not in shown] == []


def test_every_mark_is_of_a_known_fault_and_says_what_comes_of_it(shown: Shown) -> None:
    """A test under a wrong number would be missing from the page."""
    known = {number for faults in FAULTS.values() for number in faults}
    assert shown.keys() <= known
    assert [place for rows in shown.values() for behaviour, place in rows if not behaviour.endswith(".")] == []
