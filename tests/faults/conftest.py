"""A real upstream that misbehaves, and a real server before it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from upstream import Upstream


@pytest.fixture(scope="session")
def price_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prices")


@pytest.fixture
def home(tmp_path: Path, price_cache: Path) -> Path:
    """A fresh home, but for the price list: to read it off its library takes a second."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").symlink_to(price_cache)
    return home


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running
