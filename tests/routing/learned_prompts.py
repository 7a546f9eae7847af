"""Synthetic prompts for tests of the learned router: models that are good at different kinds of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pointsman.routing.learned import LearnedRouter
from pointsman.routing.learned.settings import Settings

SMALL = Settings(
    text_directions=30,
    tree_directions=10,
    folds=3,
    hidden=32,
    networks=1,
    blind_networks=1,
    trees=24,
    groups=4,
    group_trees=6,
)
MODELS = ("all-round", "coder", "cheap")
PRICES = np.array([10.0, 8.0, 1.0])
CHANCES = {
    "code": (0.6, 0.95, 0.2),
    "sums": (0.8, 0.5, 0.3),
    "translation": (0.85, 0.3, 0.9),
    "facts": (0.9, 0.4, 0.3),
    "poems": (0.8, 0.35, 0.3),
}
"""How often each of MODELS succeeds, by kind of prompt."""
WORDS = (
    *("river", "stone", "cloud", "engine", "garden", "window", "market"),
    *("letter", "winter", "silver", "bridge", "candle", "forest", "mirror"),
)


class Data(NamedTuple):
    prompts: list[str]
    tasks: list[str]
    scores: NDArray[np.float64]
    costs: NDArray[np.float64]

    def of(self, rows: Sequence[int] | NDArray[np.intp]) -> Data:
        chosen = list(rows)
        return Data(
            [self.prompts[row] for row in chosen],
            [self.tasks[row] for row in chosen],
            self.scores[chosen],
            self.costs[chosen],
        )


def one_prompt(kind: str, dice: Random) -> str:
    first, second, third = dice.sample(WORDS, 3)
    a, b = dice.randrange(2, 99), dice.randrange(2, 99)
    return {
        "code": f"Write a Python function that sorts a list of {first} records by {second} and returns the {third}.",
        "sums": f"A {first} costs {a} dollars and a {second} costs {b} dollars. How much do {b} of each cost in total?",
        "translation": f"Translate into German: the {first} stands near the {second}, and the {third} is far away.",
        "facts": f"Which country is known for its {first} and its {second}?",
        "poems": f"Compose a short poem about a {first}, a {second} and the {third} of my childhood.",
    }[kind]


def data(rows: int, kinds: Sequence[str] = tuple(CHANCES), seed: int = 0) -> Data:
    dice, rng = Random(seed), np.random.default_rng(seed)
    tasks = [kinds[row % len(kinds)] for row in range(rows)]
    prompts = [one_prompt(kind, dice) for kind in tasks]
    chances = np.array([CHANCES[kind] for kind in tasks]).reshape(rows, len(MODELS))
    lengths = np.array([len(prompt) for prompt in prompts], np.float64).reshape(rows, 1)
    return Data(prompts, tasks, (rng.random(chances.shape) < chances).astype(np.float64), PRICES * lengths / 1e6)


def fitted(rows: Data) -> LearnedRouter:
    router = LearnedRouter(pretrained=False, settings=SMALL)
    return router.fit(rows.prompts, rows.tasks, rows.scores, rows.costs, MODELS)


def expected(tasks: Sequence[str], chosen: NDArray[np.intp]) -> float:
    """The true mean chance of the models that were chosen."""
    return float(np.mean([CHANCES[task][model] for task, model in zip(tasks, chosen, strict=True)]))


def best_single(rows: Data) -> int:
    return int(rows.scores.mean(0).argmax())
