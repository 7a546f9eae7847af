"""The snapshot as a file.

Importing the price library costs a quarter of a second and 20 MB for as long as the process lives. So it is imported
once for each of its versions, by a process of its own, and what it knows is kept as a file that is read in a
millisecond.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Raw

from .snapshot import Snapshot, unpack


def load(folder: Path | None) -> Snapshot:
    """The snapshot of the installed library, from its file in `folder`, or from the library itself.

    The file is named after the library's version. One that is damaged or foreign is replaced; a folder that cannot be
    written is no error, nor is None: then the library is asked again next time.
    """
    if folder is None:
        return _ask_library()
    file = folder / f"prices-{library_version()}.msgpack"
    with suppress(OSError):
        snapshot = unpack(file.read_bytes())
        if snapshot is not None:
            return snapshot
    data = _ask_library_apart()
    if data is None:
        return _ask_library()
    with suppress(OSError):
        _write_whole(file, data)
    snapshot = unpack(data)
    return _ask_library() if snapshot is None else snapshot


def library_version() -> str:
    """Taken from the name of the library's metadata folder where possible: importlib.metadata costs 25 ms and 4 MB."""
    spec = importlib.util.find_spec("genai_prices")
    if spec is not None and spec.origin is not None:
        found = [folder.name for folder in Path(spec.origin).parents[1].glob("genai_prices-*.dist-info")]
        if len(found) == 1:
            return found[0].removeprefix("genai_prices-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("genai-prices")


_LONGEST_WAIT = 60.0


def _ask_library() -> Snapshot:
    from .library import library_providers  # late: it imports the library

    return Snapshot({key: Raw(msgspec.msgpack.encode(value)) for key, value in library_providers().items()})


def _ask_library_apart() -> bytes | None:
    """From a process of its own, so that the library's memory goes when it ends; None where there can be none."""
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "pointsman.catalog.library"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_WAIT,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return child.stdout if child.returncode == 0 else None


def _write_whole(file: Path, data: bytes) -> None:
    """Another process sees all of the file or none of it, and two that write at once do not mix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise
