"""What every room's tests share: the model files, pulled once for all of them, and homes that hold them."""

import asyncio
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.endpoints.local import MODELS, LocalHost, plan, pull

MEMORY = Path("/dev/shm")
"""A disk in memory: each of the thousands of ledgers that the tests make would wait for a real one several times."""

BOTH_MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(number, behaviour): shows what a fault of docs/reliability.md comes to")
    if _has_room(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests wait, too, for sockets, disks and other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_collection() -> None:
    """Next to nothing of what is made by collecting is garbage: to look for it takes a third of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What was collected stays to the end: no search for garbage, of which some tests make many, looks at it again."""
    gc.collect()
    gc.freeze()
    gc.enable()


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


def _has_room(folder: Path) -> bool:
    """Whether 2 GB are free there, and programs may be run from it. Containers are given less, often."""
    if not (sys.platform == "linux" and os.access(folder, os.W_OK)):
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >= 2 << 30 and not found.f_flag & os.ST_NOEXEC
