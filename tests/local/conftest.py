"""Real model files, real hosts: one pull for all tests, and a home of its own for each."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.endpoints.local import MODELS, LocalHost, plan, pull


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """A home that outlives the tests, with smollm2-135m in it."""
    cache = Path(os.environ.get("POINTSMAN_TEST_MODELS") or Path.home() / ".cache" / "pointsman-test-models")
    pull(plan(["smollm2-135m"], cache))
    return cache


@pytest.fixture
def home(tmp_path: Path, model_cache: Path) -> Iterator[Path]:
    """A fresh home with smollm2-135m in it, and no host left behind."""
    home = tmp_path / "home"
    model = MODELS["smollm2-135m"]
    model.path(home).parent.mkdir(parents=True)
    model.path(home).symlink_to(model.path(model_cache))
    yield home
    asyncio.run(LocalHost(home).stop())
