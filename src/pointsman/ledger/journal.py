"""The journal: a file of this process's own, mapped into its memory; a record is stored there before its reply ends.

A store takes no system call, and survives the death of the process at any moment, though not the loss of power. Room is
made ahead, by writing zeros: so a full disk is an error while the file grows, and no signal that ends the process at a
store. The journal of a process that lives, or was killed, ends in zeros; one that was closed ends with its last record.

The process holds a lock (flock) on its journal for as long as it lives, so a journal whose lock can be had belongs to
nobody any more.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet
from zlib import crc32

from ..core import LedgerError
from .entries import Body, Entry
from .records import Batch, frame, parse

SUFFIX = ".journal"
ROTATE_AT = 8 * 1024 * 1024
_FIRST_ROOM = 64 * 1024
_LARGEST_STEP = 256 * 1024
"""A file doubles until it grows by so much at once: a call waits for it, about a microsecond for each 4 KiB."""
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
    """Appends records to `directory/STEM-NNNNNN.journal`, and goes on to a new file before one has `rotate_at` bytes.

    `stem` must be new for each process, with a random part: it seeds the checksums. Safe to use from several threads.
    """

    def __init__(self, directory: Path, stem: str, *, rotate_at: int = ROTATE_AT) -> None:
        self._directory = directory
        self._stem = stem
        self._rotate_at = rotate_at
        self._lock = threading.Lock()
        self._number = 0
        self._tail: Tail
        self._seed: int
        self._file: int
        self._map: mmap.mmap
        self._size: int
        """Bytes that are recorded in the file."""
        self._until: int
        """A record that ends past here needs more room, or a new file. -1 once the journal is closed."""
        try:
            for made in (directory.parent, directory):
                made.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._begin(*self._create())
        except OSError as error:
            raise LedgerError(
                f"No journal could be made in {directory}: {error.strerror}. Calls are not served unrecorded: make it "
                "writable, or let POINTSMAN_HOME name a directory that is."
            ) from error
        _living.add(self)

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
            data = frame(record, self._seed)
            end = self._size + len(data)
            if end > self._until:
                self._make_room(len(data))
                data = frame(record, self._seed)  # another file has another seed
                end = self._size + len(data)
            start, self._size = self._size, end  # first: what a reader may have found whole is never written over
            self._map[start:end] = data
            if type(record) is Entry:
                self._tail.add(start, end, record)

    def close(self) -> None:
        """Lets go of the file. It stays until it has been drained."""
        with self._lock:
            if self._until >= 0:
                self._until = -1
                _let_go(self._file, self._map, self._size)

    def renew(self) -> None:
        """For a process that was forked: it goes on in a file of its own."""
        self._lock = threading.Lock()  # a thread that was not forked may hold the other one
        if self._until >= 0:
            self._until = -1
            self._map.close()
            os.close(self._file)
            self._stem = f"{self._stem}-{os.getpid()}"
            with suppress(OSError):
                self._begin(*self._create())

    def _make_room(self, size: int) -> None:
        if self._until < 0:
            raise LedgerError(f"The journal {self.path} is closed: nothing can be recorded.")
        if self._size and self._size + size > self._rotate_at:
            self._rotate()
        end, room = self._size + size, len(self._map)
        if end > room:
            try:
                grown = _with_room(self._file, max(end, room + min(room, _LARGEST_STEP)))
            except OSError as error:
                raise self._refusal(error.strerror) from error
            old, self._map = self._map, grown
            old.close()
            room = len(grown)
        if end > room:
            raise self._refusal(f"{end - room} bytes of it were not taken (is the disk full?)")
        self._until = min(room, max(end, self._rotate_at))

    def _rotate(self) -> None:
        """A failure leaves the old file in use: a long journal is better than none."""
        with suppress(OSError):
            old = self._file, self._map, self._size
            self._begin(*self._create())
            _let_go(*old)

    def _create(self) -> tuple[Path, int, mmap.mmap]:
        while True:
            self._number += 1
            path = self._directory / f"{self._stem}-{self._number:06d}{SUFFIX}"
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file).st_nlink:
                    return path, file, _with_room(file, _FIRST_ROOM)
            except OSError:
                path.unlink(missing_ok=True)
                os.close(file)
                raise
            os.close(file)  # a drainer came between the two lines above, and took it for a dead one

    def _begin(self, path: Path, file: int, room: mmap.mmap) -> None:
        self._tail, self._seed = Tail(path), seed_of(path)
        self._file, self._map, self._size, self._until = file, room, 0, min(len(room), self._rotate_at)

    def _refusal(self, reason: str | None) -> LedgerError:
        return LedgerError(f"The attempt could not be recorded in {self.path}: {reason}. Free some space there.")


def _with_room(file: int, size: int) -> mmap.mmap:
    """The whole file with `size` bytes, or as many as the disk takes: zeros, and never a hole."""
    missing = size - os.fstat(file).st_size
    if missing > 0:
        os.write(file, bytes(missing))
    return mmap.mmap(file, 0)


def _let_go(file: int, mapped: mmap.mmap, size: int) -> None:
    mapped.close()  # it holds the lock too
    with suppress(OSError):  # zeros at the end do no harm
        os.ftruncate(file, size)
    os.close(file)


_living: WeakSet[Journal] = WeakSet()


def _renew() -> None:
    """Parent and child would write over each other's records."""
    for journal in _living:
        journal.renew()


os.register_at_fork(after_in_child=_renew)


def seed_of(path: Path) -> int:
    """The seed of the checksums in the journal of that name."""
    return crc32(path.name.encode())


def journals_in(directory: Path) -> list[Path]:
    """All journals, those of the same process in the order in which they were written."""
    return sorted(directory.glob("*" + SUFFIX))


def is_written(file: int, offset: int) -> bool:
    """Whether a living process has begun a record at that place of its journal. A dead one's may go on after zeros."""
    return os.pread(file, 1, offset) not in (b"", b"\0")


def read_batch(file: int, seed: int, offset: int, limit: int) -> Batch:
    """Up to `limit` records of an open journal from `offset` on; the batch's `end` counts from there."""
    size = _READ_SIZE
    while True:
        buffer = os.pread(file, size, offset)
        batch = parse(buffer, seed, limit=limit, at_end=len(buffer) < size)
        if batch.damaged and os.pread(file, batch.end, offset) != buffer[: batch.end]:
            continue  # no damage: it was being written as it was read, and what follows it was whole when that was read
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
