"""The price list, read off its library once for all tests: that takes a second, and tests have thousands of homes."""

from __future__ import annotations

import os
from pathlib import Path

from pointsman.catalog import PriceBook, shipped_catalog


def with_prices(home: Path) -> Path:
    """`home`, made if need be, and in it what the first look at a price would leave there."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "cache").exists():
        (home / "cache").symlink_to(_shared())
    return home


def _shared() -> Path:
    cache = Path(os.environ.get("POINTSMAN_TEST_MODELS") or Path.home() / ".cache" / "pointsman-test-models") / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob("prices-*")):
        PriceBook(shipped_catalog().providers, cache=cache).price("openai", "gpt-4o")
    return cache
