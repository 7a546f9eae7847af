"""The documentation is read off the program, or run."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


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
