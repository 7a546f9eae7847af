"""Real model files, real hosts, and a home of its own for each test."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.endpoints.local import MODELS, LocalHost


@pytest.fixture
def home(tmp_path: Path, model_cache: Path) -> Iterator[Path]:
    """A fresh home with smollm2-135m in it, and no host left behind."""
    home = tmp_path / "home"
    model = MODELS["smollm2-135m"]
    model.path(home).parent.mkdir(parents=True)
    model.path(home).symlink_to(model.path(model_cache))
    yield home
    asyncio.run(LocalHost(home).stop())
