"""What calls have taught: the same, whether a process saw them or reads of them in the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from pointsman.core import Usage
from pointsman.gateway.lessons import outcomes_of, seen_by
from pointsman.ledger import CUT_SHORT, Entry, Ledger
from pointsman.routing import Lengths, Prefill, RouteState, learn


def attempt(number: int, **changes: Any) -> Entry:
    plain: dict[str, Any] = {
        "attempt_id": f"{number:032x}",
        "call_id": f"{number:032x}",
        "at": 1_795_000_000.0 + number,
        "model": "a",
        "endpoint": "a",
        "provider": "a",
        "status": "ok",
        "seconds": 2.0,
        "ttft": 0.5,
        "usage": Usage(input=100, output=20, reasoning=5),
    }
    return Entry(**(plain | changes))


ATTEMPTS = [
    attempt(1),
    attempt(2, ttft=4.0, usage=Usage(input=3_000, cache_read=1_000, cache_write=50, output=7)),
    attempt(3, ttft=None),
    attempt(4, usage=None),
    attempt(5, status="failed", error="timeout", ttft=None, usage=None),
    attempt(6, status="broken", error="timeout", ttft=30.0),
    attempt(7, model="b", ttft=1.0, usage=Usage(input=10, output=1)),
    attempt(8, model="b", task="coding", complexity="complex", finish="stop"),
    *(attempt(number, model="b", task="coding", complexity="complex") for number in (9, 10)),
    *(attempt(number, model="b", finish=finish) for number, finish in enumerate(CUT_SHORT, 11)),
]


def test_a_new_process_knows_of_speeds_what_an_old_one_has_seen(tmp_path: Path) -> None:
    """After a restart a model that reads slowly would get long prompts again."""
    seen = learn(RouteState(), outcomes_of(ATTEMPTS)).seen
    with Ledger.open(tmp_path) as ledger:
        for one in ATTEMPTS:
            ledger.record(one)
        ledger.flush()
        read = seen_by(ledger.queries.speeds())
    assert read == seen
    assert seen["a"].prefill == Prefill(2, 100 + 3_050, 0.5 + 4.0, 100**2 + 3_050**2, 100 * 0.5 + 3_050 * 4.0)
    assert (seen["a"].calls, seen["a"].timed, seen["a"].failed) == (6, 4, 2)
    assert seen["a"].lengths == Lengths(3, 25 + 7 + 25, {"": (3, 57)})
    assert seen["b"].lengths == Lengths(4, 76, {"": (1, 1), "complex coding": (3, 75)}), "none that was cut off"


@pytest.mark.parametrize("tokens", [0, 10**15])
def test_absurd_counts_of_tokens_do_not_keep_speeds_from_being_known(tokens: int, tmp_path: Path) -> None:
    """One upstream that counts wrongly would end all learning from the ledger."""
    with Ledger.open(tmp_path) as ledger:
        for number in range(20):
            ledger.record(attempt(number, usage=Usage(input=tokens, cache_read=tokens // 2)))
        ledger.record(structs.replace(attempt(21), usage=Usage(cache_read=5)))
        ledger.flush()
        (speed,) = ledger.queries.speeds()
    assert speed.streamed == 21 and speed.tokens >= 0
