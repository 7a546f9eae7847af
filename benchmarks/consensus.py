"""Whether a consensus is right more often than the strongest of its models alone, and what it costs.

    pointsman models pull smollm2-135m qwen2.5-coder-0.5b qwen2.5-coder-1.5b
    python benchmarks/consensus.py

Questions with one right answer (sums, products, the larger of two numbers, capitals) are drawn with a fixed seed and
put to each model alone, and then to all of them, through the gateway's own rules (`bounds`, a quality of .96). An
answer is right where it comes to the same as the true one by the rule that votes go by. It takes some minutes, and no
network.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from math import comb, sqrt
from pathlib import Path
from random import Random

from msgspec import Struct

from pointsman.core import Answer, Chat, Message, Needs, Text
from pointsman.gateway import Gateway
from pointsman.judging import says_the_same

MODELS = ("local/qwen2.5-coder-1.5b", "local/qwen2.5-coder-0.5b", "local/smollm2-135m")
CAPITALS = {
    "France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Egypt": "Cairo", "Canada": "Ottawa", "Kenya": "Nairobi",
    "Norway": "Oslo", "Peru": "Lima", "Cuba": "Havana", "Greece": "Athens", "Iraq": "Baghdad", "Chile": "Santiago",
    "Poland": "Warsaw", "Ghana": "Accra", "Nepal": "Kathmandu", "Fiji": "Suva", "Mali": "Bamako", "Laos": "Vientiane",
    "Turkey": "Ankara", "Australia": "Canberra", "Morocco": "Rabat", "Latvia": "Riga", "Ireland": "Dublin",
}  # fmt: skip
HOW = " Answer with that alone, without a word beside it."


class Question(Struct, frozen=True):
    text: str
    truth: str


class Asked(Struct, frozen=True):
    """What one way of asking gave."""

    right: list[bool]
    seconds: float
    calls: int
    agreed: list[bool] = []
    """Of a consensus: whether there was one."""


def questions(each: int, seed: int) -> list[Question]:
    dice = Random(seed)
    found: list[Question] = []
    for _ in range(each):
        a, b = dice.randrange(11, 99), dice.randrange(11, 99)
        found.append(Question(f"What is {a} + {b}?", str(a + b)))
        a, b = dice.randrange(3, 10), dice.randrange(11, 99)
        found.append(Question(f"What is {a} times {b}?", str(a * b)))
        a, b = dice.sample(range(100, 1000), 2)
        found.append(Question(f"Which number is larger, {a} or {b}?", str(max(a, b))))
    countries = dice.sample(sorted(CAPITALS), min(each, len(CAPITALS)))
    return found + [Question(f"What is the capital of {land}?", CAPITALS[land]) for land in countries]


async def asked(gateway: Gateway, model: str, all_of_it: list[Question]) -> Asked:
    right, agreed, calls, begin = [], [], 0, time.perf_counter()
    needs = Needs(min_quality=0.96) if model == "voted" else Needs()
    for question in all_of_it:
        chat = Chat((Message("user", (Text(question.text + HOW),)),), max_tokens=24, temperature=0.0)
        call = gateway.call(chat, model=model, needs=needs)
        async with await gateway(call) as reply:
            answer = await reply.read()
        right.append(says_the_same(answer, Answer(text=question.truth)))
        votes = reply.provenance.agreed
        agreed += [] if votes is None else [votes[0] > 1]
        calls += call.tally.attempts
    return Asked(right, time.perf_counter() - begin, calls, agreed)


async def run(each: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        voted = f"modes:\n  voted: {{rules: bounds, candidates: [{', '.join(MODELS)}]}}\n"
        file.write_text(f"{voted}learning: {{enabled: false}}\nlocal: {{ollama: false}}\n", "utf-8")
        async with Gateway(file) as gateway:
            all_of_it = questions(each, seed)
            print(f"{len(all_of_it)} questions, seed {seed}")
            print(f"{'':28s}{'right':>7s}   {'95 % (Wilson)':16s}{'calls':>6s}{'seconds':>9s}")
            found = {}
            for model in (*MODELS, "voted"):
                found[model] = await asked(gateway, model, all_of_it)
                _tell(model, found[model])
            _tell_difference(found[MODELS[0]], found["voted"])


def _tell(name: str, one: Asked) -> None:
    n, k = len(one.right), sum(one.right)
    low, high = wilson(k, n)
    print(f"{name:28s}{k / n:7.3f}   {low:.3f} to {high:.3f}  {one.calls:6d}{one.seconds:9.1f}", flush=True)


def _tell_difference(strongest: Asked, voted: Asked) -> None:
    pairs = list(zip(strongest.right, voted.right, strict=True))
    won, lost = sum(ours and not theirs for theirs, ours in pairs), sum(theirs and not ours for theirs, ours in pairs)
    agreed = [right for right, is_agreed in zip(voted.right, voted.agreed, strict=True) if is_agreed]
    print(f"Two agreed on {len(agreed)}, and were right on {sum(agreed)} of them.")
    print(f"Against {MODELS[0]} alone: right where it was wrong {won} times, wrong where it was right {lost} times,")
    print(f"p = {mcnemar(won, lost):.3g} (exact McNemar), at {voted.calls / strongest.calls:.1f} times the calls.")


def wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share (Wilson, 1927)."""
    middle, spread = (k + z * z / 2) / (n + z * z), z / (n + z * z) * sqrt(k * (n - k) / n + z * z / 4)
    return middle - spread, middle + spread


def mcnemar(won: int, lost: int) -> float:
    """Two-sided, exact."""
    n, k = won + lost, min(won, lost)
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20, help="questions of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    asyncio.run(run(options.each, options.seed))
