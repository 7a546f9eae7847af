"""What every room's tests share: the model files, pulled once for all of them, and homes that hold them."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.endpoints.local import MODELS, LocalHost, plan, pull

BOTH_MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(number, behaviour): shows what a fault of docs/reliability.md comes to")


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """A home that outlives the tests, with the two small models in it."""
    cache = Path(os.environ.get("POINTSMAN_TEST_MODELS") or Path.home() / ".cache" / "pointsman-test-models")
    pull(plan(list(BOTH_MODELS), cache))
    return cache


@pytest.fixture
def home_with_models(tmp_path: Path, model_cache: Path) -> Iterator[Path]:
    """A fresh home with both models in it, and no host left behind."""
    home = tmp_path / "home-with-models"
    for name in BOTH_MODELS:
        path = MODELS[name].path(home)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(MODELS[name].path(model_cache))
    yield home
    asyncio.run(LocalHost(home).stop())
