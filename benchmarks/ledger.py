"""What the ledger costs: CPU time of an entry from `record` until it is in SQLite, and how long a full one takes to
answer. Entries come in batches as a busy server's do; time is that of the whole process, so its threads count too.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from pointsman.core import Nanos, Usage, Weighed
from pointsman.ledger import Entry, Ledger

BATCH = 250
"""What comes in a quarter of a second at 1,000 calls a second."""
DAYS = 30
NOW = 1_795_000_000.0
MODELS = tuple(f"vendor/model-{number}" for number in range(12))
REJECTED = tuple(Weighed(f"other/model-{number}", rejected="no key: set OTHER_API_KEY") for number in range(25))


def named(dice: random.Random, at: float) -> Entry:
    """Of a call that named its model."""
    model = dice.choice(MODELS)
    return Entry(
        attempt_id=_id(dice, at),
        call_id=_id(dice, at),
        at=at,
        model=model,
        endpoint=model,
        provider="vendor",
        status=dice.choice(("ok",) * 19 + ("failed",)),
        seconds=dice.random() * 3,
        ttft=dice.random(),
        dialect="openai",
        usage=Usage(input=dice.randrange(4000), output=dice.randrange(900)),
        cost=Nanos(dice.randrange(10**8)),
        list_cost=Nanos(dice.randrange(10**8)),
        key=f"key-{dice.randrange(20)}",
        version="0.1.0",
        deployment="paid",
    )


def routed(dice: random.Random, at: float) -> Entry:
    """Of a call for which 29 candidates were weighed."""
    plain = named(dice, at)
    fields = {name: getattr(plain, name) for name in Entry.__struct_fields__}
    fields |= {
        "decision_id": _id(dice, at),
        "probability": 0.25,
        "policy": "chain",
        "state_version": str(dice.randrange(50)),
        "features": dice.randbytes(160),
        "task": "coding",
        "complexity": "simple",
        "strategy": "single",
        "candidates": (*(Weighed(model, dice.random(), 0.25) for model in MODELS[:4]), *REJECTED),
    }
    return Entry(**fields)


def fill(home: Path, make: Callable[[random.Random, float], Entry], rows: int) -> list[float]:
    """Records so many entries; CPU microseconds an entry of each batch."""
    dice, micros = random.Random(1), []
    with Ledger.open(home) as ledger:
        ledger.start()
        for start in range(0, rows, BATCH):
            entries = [make(dice, NOW + (start + number) / rows * DAYS * 86_400) for number in range(BATCH)]
            before = time.process_time()
            for entry in entries:
                ledger.record(entry)
            ledger.flush()
            micros.append((time.process_time() - before) / BATCH * 1e6)
    return micros


def ask(home: Path) -> dict[str, list[float]]:
    """Milliseconds of each question, several times."""
    queries = Ledger.open(home).queries
    last_day = NOW + (DAYS - 1) * 86_400
    questions: dict[str, tuple[int, Callable[[], object]]] = {
        "the newest 50": (40, queries.recent),
        "how fast models were": (10, queries.speeds),
        "cost by model, a day": (10, lambda: queries.cost("model", since=last_day)),
        "cost by model, everything": (3, lambda: queries.cost("model")),
        "cost by key, everything": (3, lambda: queries.cost("key")),
        "performance, a day": (3, lambda: queries.performance(since=last_day)),
    }
    return {name: [_milliseconds(question) for _ in range(times)] for name, (times, question) in questions.items()}


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("| entries | CPU µs (median) | worst tenth from | bytes in SQLite |")
        print("| --- | --- | --- | --- |")
        for name, make, count in (("29 candidates", routed, min(rows, 20_000)), ("model named", named, rows)):
            home = Path(folder) / name
            micros = fill(home, make, count)
            size = sum(file.stat().st_size for file in home.glob("ledger.sqlite*")) / count
            worst = statistics.quantiles(micros, n=10)[-1]
            print(f"| {name} | {statistics.median(micros):.1f} | {worst:.1f} | {size:.0f} |")
        print(f"\n| question to {rows:,} entries | median ms | p95 ms |\n| --- | --- | --- |")
        for question, times in ask(home).items():
            print(f"| {question} | {statistics.median(times):.0f} | {statistics.quantiles(times, n=20)[-1]:.0f} |")


def _milliseconds(question: Callable[[], object]) -> float:
    before = time.perf_counter()
    question()
    return (time.perf_counter() - before) * 1000


def _id(dice: random.Random, at: float) -> str:
    """As gateways make them: they begin with the time, so that new ones stand together."""
    return uuid.UUID(int=int(at * 1000) << 80 | dice.getrandbits(80)).hex


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=200_000)
    main(arguments.parse_args().rows)
