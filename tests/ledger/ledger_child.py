"""What the tests run in a process of its own: python ledger_child.py COMMAND HOME …"""

from __future__ import annotations

import mmap
import os
import resource
import struct
import sys
import uuid
from itertools import count
from pathlib import Path

from ledger_samples import NOON, entry

from pointsman.core import LedgerError
from pointsman.ledger import Body, Ledger, back_up
from pointsman.ledger.journal import Journal, journals_in


def record(home: Path, count: str) -> None:
    """Records, and acknowledges each id by one line once it is recorded; then closes in order."""
    with Ledger.open(home) as ledger:
        for _ in range(int(count)):
            _acknowledged(ledger)


def record_until_killed(home: Path) -> None:
    ledger = Ledger.open(home)
    while True:
        _acknowledged(ledger)


def record_without_pause(home: Path, counter: str, first: str, body: str) -> None:
    """Numbered entries, and now and then a body of so many bytes. How many entries are recorded stands in the file
    `counter`: to print it would leave no time in which to be killed at anything else."""
    ledger = Ledger.open(home, keep_bodies=True)
    with Path(counter).open("r+b") as file:
        recorded = mmap.mmap(file.fileno(), 8)
    for number in count():
        ledger.record(entry(attempt_id=f"{int(first) + number:032x}"))
        struct.pack_into("<q", recorded, 0, number + 1)
        if number % 300 == 0:
            ledger.record_body(Body(f"{int(first) + number:032x}", NOON, bytes(int(body)), "answer"))


def append_large_and_small(home: Path, times: str, body: str) -> None:
    """To one journal, by turns."""
    journal = Journal(home, "1-1-aa", rotate_at=2**40)
    large, small = Body("b" * 32, NOON, os.urandom(int(body)), "answer"), entry(attempt_id="a" * 32)
    for _ in range(int(times)):
        journal.append(large)
        journal.append(small)
    journal.close()


def record_on_both_sides_of_a_fork(home: Path, times: str) -> None:
    ledger = Ledger.open(home)
    _acknowledged(ledger)
    child = os.fork()
    for _ in range(int(times)):
        _acknowledged(ledger)
    if child and os.waitpid(child, 0)[1]:
        os._exit(1)
    os._exit(0)


def rotate_in_little_room(home: Path) -> None:
    """No file may grow while a new journal is due; then it may. Prints how many there are before and after."""
    journal = Journal(home, "1-1-aa", rotate_at=2000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    for _ in range(40):
        journal.append(entry())
    before = len(journals_in(home))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.append(entry())
    os.write(1, f"{before} {len(journals_in(home))}".encode())
    os._exit(0)


def record_and_die(home: Path, count: str) -> None:
    """Ends as by kill -9, with the journal as it is."""
    ledger = Ledger.open(home)
    for _ in range(int(count)):
        _acknowledged(ledger)
    os._exit(0)


def record_in_little_room(home: Path, limit: str) -> None:
    """Files may grow to `limit` bytes only; after the refusal the limit is lifted and one more is recorded."""
    ledger = Ledger.open(home)
    ledger.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    refused = 0
    while refused < 3:
        try:
            _acknowledged(ledger)
        except LedgerError:
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _acknowledged(ledger)
    os._exit(0)


def back_up_in_little_room(home: Path, file: str, limit: str) -> None:
    """Files may grow to `limit` bytes only."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        back_up(Ledger.open(home), Path(file))
    except LedgerError:
        os._exit(0)
    os._exit(1)


def drain(home: Path, times: str) -> None:
    ledger = Ledger.open(home)
    for _ in range(int(times)):
        ledger.flush()
    ledger.close()


def bodies(home: Path, keep: str, canary: str) -> None:
    with Ledger.open(home, keep_bodies=keep == "keep") as ledger:
        made = entry()
        ledger.record(made)
        ledger.record_body(Body(made.attempt_id, NOON, canary.encode(), canary))


def make_key(home: Path, name: str) -> None:
    text, key = Ledger.open(home).keys.create(name)
    print(key.id, text)


def _acknowledged(ledger: Ledger) -> None:
    attempt_id = uuid.uuid4().hex
    ledger.record(entry(attempt_id=attempt_id))
    print(attempt_id, flush=True)


if __name__ == "__main__":
    command, home, *rest = sys.argv[1:]
    globals()[command](Path(home), *rest)
