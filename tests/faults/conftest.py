"""A real upstream that misbehaves, and a real server before it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from prices import with_prices
from upstream import Upstream


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_prices(tmp_path / "home")


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running
