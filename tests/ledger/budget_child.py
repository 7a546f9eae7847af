"""What the tests of budgets run in a process of its own: python budget_child.py COMMAND HOME …"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
import uuid
from pathlib import Path
from random import Random

from budget_samples import LIMIT, budgets_of, paid, rule

from pointsman.core import Caller, LedgerError, Nanos, OverBudget
from pointsman.ledger import Ledger

DEAREST = LIMIT // 100


async def spend_all(home: Path, seed: str) -> None:
    """Until the first refusal; prints what it spent."""
    rng, total = Random(int(seed)), 0
    with Ledger.open(home) as ledger:
        budgets = budgets_of(ledger, [rule()])
        _wait_for(home / "go")
        try:
            while True:
                hold = await budgets.reserve(Caller(key="k"), Nanos(rng.randint(1, DEAREST)))
                await asyncio.sleep(0)
                cost = Nanos(rng.randint(0, hold.amount))
                ledger.record(paid(hold, cost))
                hold.settle(cost)
                total += cost
        except OverBudget:
            print(total)
        budgets.close()


async def spend_until_killed(home: Path, seed: str) -> None:
    """Prints the id and the cost of each attempt once it is recorded."""
    rng = Random(int(seed))
    ledger = Ledger.open(home)
    budgets = budgets_of(ledger, [rule(), rule(id="day", window="day", scope="server")])
    while True:
        hold = await budgets.reserve(Caller(key="k"), Nanos(rng.randint(1, DEAREST // 2000)))
        cost = None if rng.random() < 0.1 else Nanos(rng.randint(0, hold.amount))
        attempt_id = uuid.uuid4().hex
        ledger.record(paid(hold, cost, attempt_id=attempt_id))
        hold.settle(cost)
        print(attempt_id, hold.amount if cost is None else cost, flush=True)


async def hold_until_killed(home: Path, amount: str) -> None:
    ledger = Ledger.open(home)
    budgets = budgets_of(ledger, [rule()])
    hold = await budgets.reserve(Caller(key="k"), Nanos(int(amount)))
    print(hold.amount, flush=True)
    await asyncio.sleep(60)


async def spend_in_little_room(home: Path, limit: str) -> None:
    """Files may grow to `limit` bytes only: what can't be leased or recorded is not spent. Then the limit is lifted."""
    ledger = Ledger.open(home)
    budgets = budgets_of(ledger, [rule(scope="user", limit=Nanos(1000))])
    ledger.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    refused = spent = number = 0
    while refused < 3:
        number += 1
        try:
            hold = await budgets.reserve(Caller(user=f"user {number}"), Nanos(100))
        except LedgerError:
            refused += 1
            continue
        try:
            ledger.record(paid(hold, 60))
        except LedgerError:
            refused += 1
            hold.settle(Nanos(0))
        else:
            hold.settle(Nanos(60))
            spent += 60
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    hold = await budgets.reserve(Caller(user="last"), Nanos(1000))
    ledger.record(paid(hold, 40))
    print(spent + 40, flush=True)
    hold.settle(Nanos(40))
    os._exit(0)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.001)


if __name__ == "__main__":
    command, home, *rest = sys.argv[1:]
    asyncio.run(globals()[command](Path(home), *rest))
