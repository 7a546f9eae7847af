"""Where wheels lie: the user's own pip is asked, with his own index, mirrors, proxies and certificates.

pip resolves names to addresses and hashes without downloading the wheels, so that we can fetch them with a resume that
pip lacks. Nothing is built, installed or imported: only wheels are accepted, and no code of theirs runs.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from ...core import Unreachable

_FIRST_FRUGAL = (23, 3)
"""The first pip whose dry run does not download what it reports."""
_RESOLVE_SECONDS = 300
_DOWNLOAD_SECONDS = 3600
_WHEELS_ONLY = ("--no-deps", "--only-binary", ":all:", "--no-input", "--quiet", "--disable-pip-version-check")


class Wheel(Struct, frozen=True):
    """A wheel that pip found: its address, and its hash ('' where the index states none)."""

    requirement: str
    url: str
    sha256: str


def resolve(requirements: Sequence[str], pinned: Mapping[str, str]) -> list[Wheel]:
    """`NAME==VERSION` → wheels, in the same order. `pinned` maps a requirement to the hash that its wheel must have.

    Raises Unreachable where pip is missing, finds no wheel, or finds another than the pinned one.
    """
    pip = _pip()
    if pip.version < _FIRST_FRUGAL:
        command = [sys.executable, "-P", str(Path(__file__).with_name("old_pip.py")), pip.path, *requirements]
    else:
        command = [*pip.command, "install", "--dry-run", "--ignore-installed", *_WHEELS_ONLY, "--report", "-"]
        command += requirements
    try:
        report = msgspec.json.decode(_run(command, _RESOLVE_SECONDS), type=_Report)
    except msgspec.DecodeError as error:
        raise Unreachable(
            f"pip's report on {_short(requirements)} cannot be read ({error}). A newer pip may help."
        ) from error
    found = {_normal(item.metadata.name, item.metadata.version): item for item in report.install}
    return [_wheel(requirement, found.get(requirement), pinned.get(requirement, "")) for requirement in requirements]


def download_with_pip(requirement: str, folder: Path) -> Path:
    """Let pip itself download one wheel, for indexes that only pip can talk to (keyrings, client certificates).

    Gives the wheel's path in `folder`. Raises Unreachable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _run([*_pip().command, "download", *_WHEELS_ONLY, "--dest", str(folder), requirement], _DOWNLOAD_SECONDS)
    name, _, version = requirement.partition("==")
    wheels = sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    if not wheels:
        raise Unreachable(f"pip said that it downloaded {requirement}, but left no wheel in {folder}.")
    return wheels[0]


class _Metadata(Struct, frozen=True):
    name: str
    version: str


class _Archive(Struct, frozen=True):
    hashes: dict[str, str] = {}


class _Download(Struct, frozen=True):
    url: str
    archive_info: _Archive = _Archive()


class _Item(Struct, frozen=True):
    metadata: _Metadata
    download_info: _Download


class _Report(Struct, frozen=True):
    """The part of pip's installation report, version 1, that we read."""

    install: tuple[_Item, ...]


def _wheel(requirement: str, item: _Item | None, pinned: str) -> Wheel:
    if item is None:
        raise Unreachable(f"pip found no wheel for {requirement}. Is the package index reachable and complete?")
    stated = item.download_info.archive_info.hashes.get("sha256", "")
    if pinned and stated and stated != pinned:
        raise Unreachable(
            f"The package index offers another {requirement} than the one known: sha256 {stated}, expected {pinned}. "
            "Nothing was downloaded."
        )
    return Wheel(requirement=requirement, url=item.download_info.url, sha256=pinned or stated)


class _Pip(Struct, frozen=True):
    """A pip to run: from its wheel at `path`, or the installed one where that is ''."""

    path: str
    version: tuple[int, ...]

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-P", *((f"{self.path}/pip",) if self.path else ("-m", "pip"))]


def _pip() -> _Pip:
    """This interpreter's pip, or the one bundled with Python where none is installed. Raises Unreachable."""
    if importlib.util.find_spec("pip") is not None:
        return _Pip(path="", version=_numbers(importlib.metadata.version("pip")))
    bundled = importlib.util.find_spec("ensurepip")
    if bundled is not None and bundled.origin is not None:
        wheels = sorted(Path(bundled.origin).parent.glob("_bundled/pip-*.whl"))
        if wheels:
            return _Pip(path=str(wheels[-1]), version=_numbers(wheels[-1].name.split("-")[1]))
    raise Unreachable(
        f"The model files come through pip, and {sys.executable} has none, not even a bundled one. "
        "Install pip for it (`python -m ensurepip`, or your system's python3-pip)."
    )


def _numbers(version: str) -> tuple[int, ...]:
    """'23.2.1' → (23, 2, 1); what is no number counts as 0."""
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))


def _run(command: list[str], seconds: float) -> bytes:
    """The command's standard output. Raises Unreachable with the end of what it complained of."""
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"pip gave no answer in {seconds:.0f} s. Is the package index reachable?") from error
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()[-600:] or f"exit status {done.returncode}"
        raise Unreachable(f"pip could not find the model's packages: {complaint}")
    return done.stdout


def _normal(name: str, version: str) -> str:
    return f"{name.lower().replace('_', '-').replace('.', '-')}=={version}"


def _short(requirements: Sequence[str]) -> str:
    return requirements[0] if len(requirements) == 1 else f"{requirements[0]} and {len(requirements) - 1} more"
