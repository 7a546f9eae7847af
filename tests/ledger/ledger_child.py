"""What the tests run in a process of its own: python ledger_child.py COMMAND HOME …"""

from __future__ import annotations

import os
import resource
import sys
import uuid
from pathlib import Path

from ledger_samples import NOON, entry

from pointsman.core import LedgerError
from pointsman.ledger import Body, Ledger, back_up


def record(home: Path, count: str) -> None:
    """Records, and acknowledges each id by one line once it is recorded; then closes in order."""
    with Ledger.open(home) as ledger:
        for _ in range(int(count)):
            _acknowledged(ledger)


def record_until_killed(home: Path) -> None:
    ledger = Ledger.open(home)
    while True:
        _acknowledged(ledger)


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
