"""`pointsman demo`: offline, with real models that are really killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cli_upstream import Run

from pointsman.endpoints.local import MODELS, plan, pull

LOCAL = ("smollm2-135m", "qwen2.5-coder-0.5b")


def linked(home: Path, *names: str) -> None:
    """Pulls models once for all tests and links them into a home."""
    cache = Path(os.environ.get("POINTSMAN_TEST_MODELS") or Path.home() / ".cache" / "pointsman-test-models")
    pull(plan(names, cache))
    for name in names:
        path = MODELS[name].path(home)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(MODELS[name].path(cache))


def test_the_demo_answers_disagrees_breaks_and_bills(run: Run, home: Path) -> None:
    """The first thing a newcomer is told to try would not show what it says."""
    linked(home, *LOCAL)
    done = run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 45
    for said in ("def ", "Canberra", "Sydney", "kill -9", "ended as broken, not finished", "in the ledger: broken"):
        assert said in done.stdout
    assert "4 attempts, $0" in done.stdout and lines[-1] == "4 of 4 parts did what they say."


def test_the_demo_leaves_the_users_home_and_no_folder_behind(home: Path, variables: dict[str, str]) -> None:
    """The demo's calls would stand in the user's bills, and its files fill his disk."""
    linked(home, "smollm2-135m")
    before = {path.relative_to(home) for path in home.rglob("*")}
    temporary = home / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pointsman", "demo"],
        env={**variables, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "3 of 4 parts did what they say." in done.stdout, done.stdout + done.stderr
    assert "It takes two, and only local/smollm2-135m is here" in done.stdout
    assert done.returncode == 1
    assert list(temporary.iterdir()) == []
    temporary.rmdir()
    assert {path.relative_to(home) for path in home.rglob("*")} == before


def test_without_models_the_demo_says_how_to_get_them_and_that_it_simulates(run: Run, home: Path) -> None:
    """A script would be taken for a model's answer, or a demo that showed nothing for one that worked."""
    done = run("demo")
    assert done.returncode == 1
    assert "pointsman models pull" in done.stdout and "SIMULATED" in done.stdout
    assert "ended as broken, not finished" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 of 4 parts did what they say."
