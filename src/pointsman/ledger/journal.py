"""The journal: a file of this process's own, to which each record is appended by one write before its reply ends.

It survives the death of the process at any moment, though not the loss of power. The process holds a lock (flock) on
its journal for as long as it lives, so a journal whose lock can be had belongs to nobody any more.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from ..core import LedgerError
from .entries import Body, Entry
from .records import Batch, frame, parse

SUFFIX = ".journal"
ROTATE_AT = 8 * 1024 * 1024
_READ_SIZE = 1024 * 1024
_AT_HAND = 4096


class Tail:
    """The last entries of the file that is being written, at hand for whoever stores them in the same process: to read
    them back would take a third of all that the ledger costs.

    One thread adds while another takes. The file says what is recorded: whatever is not here is read there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: deque[tuple[int, int, Entry]] = deque()
        """(where it begins, where it ends, entry)"""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, start: int, end: int, entry: Entry) -> None:
        """Past 4096 it is left to the file: while SQLite is locked, memory must not grow."""
        if len(self._entries) < _AT_HAND:
            self._entries.append((start, end, entry))

    def take(self, place: int, limit: int) -> Batch:
        """Up to `limit` entries that follow one another from `place` on, none where that one is not at hand. They are
        gone from here: who fails to store them finds them in the file."""
        taken: list[Entry] = []
        entries, end = self._entries, place
        while entries and entries[0][0] < place:
            entries.popleft()
        while entries and entries[0][0] == end and len(taken) < limit:
            _, end, entry = entries.popleft()
            taken.append(entry)
        return Batch(tuple(taken), end - place)


class Journal:
    """Appends records to `directory/STEM-NNNNNN.journal`, and goes on to a new file once one has `rotate_at` bytes.

    `stem` must be new for each process, with a random part: it seeds the checksums. Safe to use from several threads.
    """

    def __init__(self, directory: Path, stem: str, *, rotate_at: int = ROTATE_AT) -> None:
        self._directory = directory
        self._stem = stem
        self._rotate_at = rotate_at
        self._lock = threading.Lock()
        self._number = 0
        self._size = 0
        self._ragged = False
        """A failed write left a piece at the end that could not be cut off."""
        try:
            for made in (directory.parent, directory):
                made.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tail, self._file = self._create()
            self._seed = seed_of(self.path)
        except OSError as error:
            raise LedgerError(
                f"No journal could be made in {directory}: {error.strerror}. Calls are not served unrecorded: make it "
                "writable, or let POINTSMAN_HOME name a directory that is."
            ) from error

    @property
    def path(self) -> Path:
        """The file that is being written."""
        return self._tail.path

    @property
    def tail(self) -> Tail:
        """Of that file."""
        return self._tail

    def append(self, record: Entry | Body) -> None:
        """When this returns, the record is in the file. Raises LedgerError when it is not; earlier ones stay whole."""
        with self._lock:
            if self._file < 0:
                raise LedgerError(f"The journal {self.path} is closed: nothing can be recorded.")
            if self._size >= self._rotate_at or self._ragged:
                self._rotate()
            data = frame(record, self._seed)
            try:
                written = os.write(self._file, data)
            except OSError as error:
                self._cut_off()
                raise self._refusal(error.strerror) from error
            if written < len(data):
                self._cut_off()
                raise self._refusal(f"only {written} of {len(data)} bytes were taken (is the disk full?)")
            start, self._size = self._size, self._size + written
            if isinstance(record, Entry) and not self._ragged:
                self._tail.add(start, self._size, record)

    def close(self) -> None:
        """Lets go of the file. It stays until it has been drained."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _create(self) -> tuple[Tail, int]:
        while True:
            self._number += 1
            path = self._directory / f"{self._stem}-{self._number:06d}{SUFFIX}"
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return Tail(path), file
            os.close(file)  # a drainer came between the two lines above, and took it for a dead one

    def _rotate(self) -> None:
        """A failure leaves the old file in use: a long journal is better than none."""
        with suppress(OSError):
            tail, file = self._create()
            os.close(self._file)
            self._tail, self._file, self._size, self._ragged = tail, file, 0, False
            self._seed = seed_of(tail.path)

    def _cut_off(self) -> None:
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._ragged = True

    def _refusal(self, reason: str | None) -> LedgerError:
        return LedgerError(f"The attempt could not be recorded in {self.path}: {reason}. Free some space there.")


def seed_of(path: Path) -> int:
    """The seed of the checksums in the journal of that name."""
    return crc32(path.name.encode())


def journals_in(directory: Path) -> list[Path]:
    """All journals, those of the same process in the order in which they were written."""
    return sorted(directory.glob("*" + SUFFIX))


def read_batch(file: int, seed: int, offset: int, limit: int) -> Batch:
    """Up to `limit` records of an open journal from `offset` on; the batch's `end` counts from there."""
    size = _READ_SIZE
    while True:
        buffer = os.pread(file, size, offset)
        batch = parse(buffer, seed, limit=limit, at_end=len(buffer) < size)
        if batch.records or batch.end or not batch.needed:
            return batch
        size = max(batch.needed, 2 * size)


def read_journal(path: Path) -> Iterator[Entry | Body]:
    """Every whole record of a journal, in order."""
    with path.open("rb") as opened:
        offset = 0
        while True:
            batch = read_batch(opened.fileno(), seed_of(path), offset, 500)
            yield from batch.records
            if not batch.end:
                return
            offset += batch.end
