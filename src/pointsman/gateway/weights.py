"""Where a fitted router lies in the home, and how one takes the place of another: never by halves.

`learned.npz` is in use; `learned.previous.npz` was before it. A program that is killed on the way leaves either of the
two in use, whole, and at most a file `learned.new-*` that the next switch removes.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import ConfigError

if TYPE_CHECKING:
    from ..routing.learned import LearnedRouter

ABANDONED_SECONDS = 3600.0
"""A new file that is as old as that belongs to a program that was killed."""


def learned_path(home: Path) -> Path:
    """Of the router in use, whether it is there or not."""
    return home / "routing" / "learned.npz"


def previous_path(home: Path) -> Path:
    """Of the router that was in use before it."""
    return home / "routing" / "learned.previous.npz"


def read_learned(home: Path) -> LearnedRouter | None:
    """The router in use; None where none was fitted yet. Raises ConfigError for a file that cannot be used."""
    path = learned_path(home)
    if not path.exists():
        return None
    from ..routing.learned import LearnedRouter  # late: it brings numpy, which a call of a named model never needs

    return LearnedRouter.load(path)


def load_learned(home: Path, warn: Callable[[str], None] = lambda text: None) -> LearnedRouter | None:
    """The router in use. A file that cannot be used is told to `warn`, and is None: it is never a reason not to
    serve."""
    try:
        return read_learned(home)
    except ConfigError as error:
        back = " `pointsman train --back` takes the one before it." if can_go_back(home) else ""
        warn(f"{error.message} Until then models are chosen by their profiles.{back}")
        return None


def can_go_back(home: Path) -> bool:
    """There is a router before the one in use, and nothing is in its way."""
    return previous_path(home).is_file() and not learned_path(home).is_dir()


def switch(home: Path, save: Callable[[Path], None]) -> None:
    """What `save` writes is in use when this returns, and what was in use is kept as the previous one. Raises
    OSError, and then nothing has changed."""
    path, previous = learned_path(home), previous_path(home)
    _check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    new = _temporary(path, "new")
    try:
        save(new)
        _force_to_disk(new)
        if path.is_file():
            _replace_by_copy(path, previous)
        os.replace(new, path)
        _force_to_disk(path.parent)
    finally:
        new.unlink(missing_ok=True)


def go_back(home: Path) -> bool:
    """The previous router is in use again, and the one that was becomes the previous one, so that going back twice
    changes nothing. Where there was none before it, there is none in use afterwards. False: nothing to go back from.
    Raises OSError."""
    path, previous = learned_path(home), previous_path(home)
    _check_place(path)
    if not previous.is_file():
        if not path.is_file():
            return False
        os.replace(path, previous)
    elif not path.is_file():
        os.replace(previous, path)
    else:
        aside = _temporary(path, "new-aside")
        shutil.copyfile(path, aside)
        _force_to_disk(aside)
        _replace_by_copy(previous, path)
        os.replace(aside, previous)
    _force_to_disk(path.parent)
    return True


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "A folder is where the router belongs", str(path))


def _temporary(path: Path, word: str) -> Path:
    return path.with_name(f"learned.{word}-{os.getpid()}.npz")


def _replace_by_copy(source: Path, target: Path) -> None:
    """`target` becomes a copy of `source` at one stroke."""
    copy = _temporary(target, "new-copy")
    try:
        shutil.copyfile(source, copy)
        _force_to_disk(copy)
        os.replace(copy, target)
    finally:
        copy.unlink(missing_ok=True)


def _force_to_disk(path: Path) -> None:
    """A file's content, or a folder's list of names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    oldest = time.time() - ABANDONED_SECONDS
    for left in folder.glob("learned.new-*"):
        with suppress(OSError):
            if left.stat().st_mtime < oldest:
                left.unlink()
