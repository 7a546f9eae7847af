"""The documentation is read off the program, or run."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_what_the_program_says() -> None:
    """A page that tells of an option that is gone, or hides one that is new. `make docs` writes them anew."""
    stale = [name for name, page in generator().pages().items() if (DOCS / name).read_text("utf-8") != page]
    assert not stale


def test_every_setting_says_what_it_means() -> None:
    """A key in the settings page that nobody can use without reading the code."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", (DOCS / "settings.md").read_text("utf-8"), re.MULTILINE)
    assert rows
    assert [key for key, meaning in rows if not meaning.strip()] == []


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")]), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A reader who follows a link and finds nothing."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("example", re.findall(r"<!-- run -->\n```python\n(.*?)```", README, re.DOTALL))
def test_the_readme_runs(example: str, home_with_models: Path) -> None:
    """A newcomer who pastes what the README shows and gets a traceback."""
    variables = {**os.environ, "POINTSMAN_HOME": str(home_with_models), "HOME": str(home_with_models)}
    done = subprocess.run([sys.executable, "-c", example], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
