"""Interpreters that lack something."""

import venv
from pathlib import Path

import msgspec

import pointsman


def python_without(folder: Path, package: str) -> str:
    """An interpreter that has everything that this one has, but for one package."""
    venv.create(folder, with_pip=False, symlinks=True)
    there = next(folder.glob("lib/python*/site-packages"))
    for entry in Path(msgspec.__file__).parent.parent.iterdir():
        if not entry.name.startswith(package) and not entry.name.endswith(".pth"):
            (there / entry.name).symlink_to(entry)
    (there / "pointsman.pth").write_text(str(Path(pointsman.__file__).parent.parent))
    return str(folder / "bin" / "python")
