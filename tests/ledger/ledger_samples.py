"""Entries as a busy gateway makes them, and a child process that records them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from random import Random
from typing import Any

from pointsman.core import Nanos, Usage, Weighed
from pointsman.ledger import Entry

CHILD = Path(__file__).with_name("ledger_child.py")
NOON = 1_795_000_000.0  # 2026-11-18 11:06:40 UTC
REJECTED = tuple(Weighed(f"vendor/model-{number}", rejected="no key: set VENDOR_API_KEY") for number in range(25))


def entry(**changes: Any) -> Entry:
    """A plain attempt that went well, with an id of its own."""
    plain: dict[str, Any] = {
        "attempt_id": uuid.uuid4().hex,
        "call_id": uuid.uuid4().hex,
        "at": NOON,
        "model": "gpt-5-mini",
        "endpoint": "openai/gpt-5-mini",
        "provider": "openai",
        "status": "ok",
        "seconds": 1.5,
        "ttft": 0.25,
        "usage": Usage(input=100, output=20),
        "cost": Nanos(1_500_000),
    }
    return Entry(**(plain | changes))


def busy_entry(rng: Random, number: int) -> Entry:
    """An attempt with every field in use."""
    models = ("openai/gpt-5-mini", "anthropic/claude-haiku", "groq/llama", "local/qwen2.5-coder-0.5b")
    ordered = f"{number:012x}"
    return Entry(
        attempt_id=ordered + rng.randbytes(10).hex(),
        call_id=ordered + rng.randbytes(10).hex(),
        at=NOON + number + rng.random(),
        model=rng.choice(models),
        endpoint=rng.choice(models),
        provider="openai",
        status=rng.choice(("ok", "ok", "ok", "failed", "broken", "cancelled")),
        seconds=rng.random() * 3,
        ttft=rng.random(),
        dialect="openai",
        stream=True,
        usage=Usage(input=rng.randrange(4000), cache_read=rng.randrange(2000), output=rng.randrange(900)),
        cost=Nanos(rng.randrange(10**8)),
        list_cost=Nanos(rng.randrange(10**8)),
        task="coding",
        complexity="simple",
        strategy="single",
        decision_id=ordered + rng.randbytes(10).hex(),
        probability=rng.random(),
        policy="chain",
        state_version="17",
        features=rng.randbytes(160),
        candidates=(*(Weighed(model, rng.random(), rng.random()) for model in models), *REJECTED),
        key="abcdefgh",
        user=f"user-{rng.randrange(200)}",
        session=rng.randbytes(16).hex(),
        tags=("team-a", "prod"),
        version="0.1.0",
    )


def recorded(journal: Path) -> bytes:
    """The records of a process that was killed, without the room that it had made for more. None may end in a zero."""
    return journal.read_bytes().rstrip(b"\0")


def child(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A process of its own that runs one of the commands in ledger_child.py."""
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed; fails where it failed."""
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return out
