"""What the tests of feedback run in a process of its own: python feedback_child.py COMMAND HOME …"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ledger_samples import NOON

from pointsman.core import LedgerError
from pointsman.ledger import Feedback, Ledger, StoredState

NOBODY = 65534


def give(home: Path, calls: str, key: str) -> None:
    ledger = Ledger.open(home)
    for call_id in calls.split(","):
        ledger.feedback.add(Feedback(call_id, NOON, 1.0, key=key))


def give_and_tell(home: Path, calls: str, key: str) -> None:
    ledger = Ledger.open(home)
    for call_id in calls.split(","):
        ledger.feedback.add(Feedback(call_id, NOON, 1.0, key=key))
        print(call_id, flush=True)


def give_read_only(home: Path, call_id: str) -> None:
    """As somebody who may read the home, and may write nothing of it. Prints the error."""
    os.chdir(home)
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    ledger = Ledger.open(Path("."))
    for write in (
        lambda: ledger.feedback.add(Feedback(call_id, NOON, 1.0)),
        lambda: ledger.states.add(StoredState(1, NOON, 0, b"state")),
    ):
        try:
            write()
        except LedgerError as error:
            print(error)
        else:
            sys.exit("it was written")


def learn(home: Path, rounds: str, name: str) -> None:
    """Adds `rounds` versions that are its own, each to the latest; prints those that it won."""
    states = Ledger.open(home).states
    won = 0
    while won < int(rounds):
        latest = states.latest()
        version = latest.version + 1 if latest else 1
        if states.add(StoredState(version, NOON, version, name.encode())):
            print(version)
            won += 1


if __name__ == "__main__":
    command, home, *rest = sys.argv[1:]
    globals()[command](Path(home), *rest)
