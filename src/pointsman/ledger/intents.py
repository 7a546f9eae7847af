"""What a process has reserved for attempts that run, in a file mapped into its memory: it survives kill -9.

Leases alone would not do: those of a dead process are given back, and with them the money of attempts which an upstream
was already at work on, and bills. The file takes two stores into memory a call, and no system call.

    16 bytes for each purse: 8 its number (0: free) · 8 nano-dollars, little-endian
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path

from ..core import LedgerError

SUFFIX = ".held"
_SLOT = struct.Struct("<qq")
_AMOUNT = struct.Struct("<q")
_FIRST_SLOTS = 256


class Intents:
    """The file `directory/STEM.held` of this process, made on first use. For one thread."""

    def __init__(self, directory: Path, stem: Callable[[], str]) -> None:
        self._directory = directory
        self._stem = stem
        self._map: mmap.mmap | None = None
        self._unused: list[int] = []

    def make_room(self, purses: int) -> None:
        """So that so many more find a place. Raises LedgerError."""
        while len(self._unused) < purses:
            self._grow()

    def place(self, purse: int) -> int:
        """A place for the purse of that number, where nothing is reserved yet. There must be room."""
        assert self._map is not None, "make_room() has made it"
        place = self._unused.pop()
        _SLOT.pack_into(self._map, place, purse, 0)
        return place

    def put(self, place: int, amount: int) -> None:
        if self._map is not None:
            _AMOUNT.pack_into(self._map, place + 8, amount)

    def free(self, place: int) -> None:
        assert self._map is not None, "place() has made it"
        _SLOT.pack_into(self._map, place, 0, 0)
        self._unused.append(place)

    def _grow(self) -> None:
        """By writing zeros: in a hole of the file, a full disk would end the process at a store into memory."""
        path = self._directory / f"{self._stem()}{SUFFIX}"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                before = os.fstat(file).st_size
                added = max(before, _FIRST_SLOTS * _SLOT.size)
                if os.pwrite(file, bytes(added), before) < added:
                    os.ftruncate(file, before)
                    raise OSError(f"{added} bytes were not taken (is the disk full?)")
                grown = mmap.mmap(file, before + added)
            finally:
                os.close(file)
        except OSError as error:
            raise LedgerError(
                f"What calls may cost cannot be reserved in {path}: {error.strerror or error}. Free some space there."
            ) from error
        if self._map is not None:
            self._map.close()
        self._map = grown
        self._unused += range(before + added - _SLOT.size, before - 1, -_SLOT.size)


def read_intents(directory: Path, stem: str) -> dict[int, int]:
    """What a process had reserved when it ended: purse → nano-dollars."""
    found: dict[int, int] = {}
    try:
        content = (directory / f"{stem}{SUFFIX}").read_bytes()
    except FileNotFoundError:
        return found
    for purse, amount in _SLOT.iter_unpack(content[: len(content) // _SLOT.size * _SLOT.size]):
        if purse and amount > 0:
            found[purse] = found.get(purse, 0) + amount
    return found


def forget_intents(directory: Path, stem: str) -> None:
    (directory / f"{stem}{SUFFIX}").unlink(missing_ok=True)


def stems_with_intents(directory: Path) -> set[str]:
    return {path.name.removesuffix(SUFFIX) for path in directory.glob("*" + SUFFIX)}
