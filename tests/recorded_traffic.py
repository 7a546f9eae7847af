"""Traffic of which the truth is known: decisions of a policy that explores, with outcomes from seeded dice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from random import Random

from msgspec import Struct

from pointsman.core import Nanos, Usage, Weighed
from pointsman.ledger import Entry, Feedback

MODELS = ("small", "mid", "big")
PRICES = {"small": 20_000, "mid": 200_000, "big": 2_000_000}
"""Nano-dollars that an answer costs on average."""
BEGIN = 1_795_000_000.0  # 2026-11-18 11:06:40 UTC
STAND_IN = "mid"
"""Answers when the model that was asked first fails."""


class Truth(Struct, frozen=True):
    """Of one decision: what asking each model first comes to on average."""

    quality: Mapping[str, float]
    cost: Mapping[str, float]


class Simulated(Struct, frozen=True):
    entries: tuple[Entry, ...]
    feedback: tuple[Feedback, ...]
    truths: Mapping[str, Truth]
    """By decision."""


def simulate(
    seed: int,
    decisions: int,
    *,
    explored: float = 0.3,
    graded: float = 1.0,
    failing: float = 0.05,
    reliability: float = 1.0,
    begin: float = BEGIN,
) -> Simulated:
    """`explored`: the share of decisions that is spread over all models, the rest goes to the one with the best score;
    `graded`: that of decisions whose answer is graded; `failing`: that of first attempts that fail."""
    rng = Random(seed)
    entries: list[Entry] = []
    feedback: list[Feedback] = []
    truths = {}
    for number in range(decisions):
        ability = {model: 0.35 + 0.25 * place for place, model in enumerate(MODELS)}
        ease = rng.uniform(-0.25, 0.15)
        quality = {model: min(max(value + ease, 0.05), 0.95) for model, value in ability.items()}
        weighed = _weighed(rng, quality, explored)
        chosen = rng.choices(weighed, [one.probability for one in weighed])[0].model
        decision_id, call_id = f"{number:031x}d", f"{number:031x}c"
        fails = rng.random() < failing
        answered = STAND_IN if fails else chosen
        common = {"call_id": call_id, "decision_id": decision_id, "task": rng.choice(("coding", "chat"))}
        at = begin + 60 * number
        if fails:
            failure = {"status": "failed", "error": "overloaded", "cost": Nanos(0), "usage": None}
            entries.append(_entry(rng, chosen, at, **common, candidates=weighed, **failure))
            entries.append(_entry(rng, answered, at + 1, **common, retry=1))
        else:
            entries.append(_entry(rng, answered, at, **common, candidates=weighed))
        if rng.random() < graded:
            good = rng.random() < quality[answered]
            score = float(good if rng.random() < (1 + reliability) / 2 else not good)
            feedback.append(Feedback(call_id, at + 30, score, reliability=reliability))
        truths[decision_id] = Truth(
            {model: (1 - failing) * quality[model] + failing * quality[STAND_IN] for model in MODELS},
            {model: (1 - failing) * PRICES[model] + failing * PRICES[STAND_IN] for model in MODELS},
        )
    return Simulated(tuple(entries), tuple(feedback), truths)


def _weighed(rng: Random, quality: Mapping[str, float], explored: float) -> tuple[Weighed, ...]:
    believed = {model: min(max(value + rng.gauss(0, 0.1), 0.0), 1.0) for model, value in quality.items()}
    scores = {model: believed[model] - 0.06 * math.log10(PRICES[model]) for model in MODELS}
    best = max(MODELS, key=scores.__getitem__)
    serving = tuple(
        Weighed(
            model,
            score=scores[model],
            probability=explored / len(MODELS) + (1 - explored) * (model == best),
            quality=believed[model],
            cost=PRICES[model] * 1.2,
            seconds=1.0 + place,
            prior=believed[model],
        )
        for place, model in enumerate(MODELS)
    )
    return (*serving, Weighed("barred", rejected="has no key"))


def _entry(rng: Random, model: str, at: float, **changes: object) -> Entry:
    plain: dict[str, object] = {
        "attempt_id": rng.randbytes(16).hex(),
        "at": at,
        "model": model,
        "endpoint": f"there/{model}",
        "provider": "there",
        "status": "ok",
        "seconds": 1.5,
        "usage": Usage(input=100, output=20),
        "cost": Nanos(round(PRICES[model] * rng.uniform(0.5, 1.5))),
        "complexity": "moderate",
        "policy": "objective:balanced",
    }
    return Entry(**(plain | changes))  # type: ignore[arg-type]


def without_estimates(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """As they were recorded before estimates were."""
    for entry in entries:
        bare = tuple(Weighed(one.model, one.score, one.probability, one.rejected) for one in entry.candidates)
        yield Entry(**{name: getattr(entry, name) for name in entry.__struct_fields__} | {"candidates": bare})
