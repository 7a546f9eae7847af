"""Graded prompts whose truth is known: which of five models is good at which of three kinds of prompt."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

MODELS = ("coder", "large", "mathematician", "poet", "small")
KINDS = ("sum", "poem", "code")
SKILL = np.array(
    [
        # coder, large, mathematician, poet, small
        [0.25, 0.70, 0.95, 0.25, 0.40],
        [0.25, 0.70, 0.25, 0.95, 0.40],
        [0.95, 0.70, 0.25, 0.25, 0.40],
    ]
)
"""(kinds, models): the chance of a good answer. The best single model is `large`, at 0.7; a router can have 0.95."""
COST = np.array([0.001, 0.01, 0.001, 0.001, 0.0001])
"""US dollars a call."""

_WORDS = ("river", "stone", "winter", "lantern", "harbour", "orchard", "thunder", "copper", "velvet", "meadow", "ember")


def prompts(count: int, seed: int = 0) -> tuple[list[str], NDArray[np.intp]]:
    """Texts that are all different, and the kind of each."""
    dice = Random(seed)
    kinds = [dice.randrange(3) for _ in range(count)]
    return [_prompt(KINDS[kind], dice, number) for number, kind in enumerate(kinds)], np.array(kinds)


def grades(kinds: NDArray[np.intp], seed: int = 0) -> NDArray[np.float64]:
    """(n, 5): 1 for a good answer, else 0, by the models' skill at each kind."""
    dice = np.random.default_rng([seed, 7])
    return (dice.random((len(kinds), len(MODELS))) < SKILL[kinds]).astype(float)


def write_outcomes(path: Path, count: int, seed: int = 0, *, shuffled: bool = False) -> Path:
    """As JSON lines, every model on every prompt. `shuffled`: each prompt has the grades of another one."""
    texts, kinds = prompts(count, seed)
    scores = grades(kinds, seed)
    if shuffled:
        scores = np.random.default_rng([seed, 8]).permutation(scores)
    with path.open("w", encoding="utf-8") as file:
        for text, row in zip(texts, scores, strict=True):
            for model, score, cost in zip(MODELS, row, COST, strict=True):
                file.write(json.dumps({"prompt": text, "model": model, "score": score, "cost_usd": cost}) + "\n")
    return path


def _prompt(kind: str, dice: Random, number: int) -> str:
    one, other = dice.sample(_WORDS, 2)
    if kind == "sum":
        return f"What is {dice.randrange(99)} plus {number} times {dice.randrange(99)}? Calculate the total number."
    if kind == "poem":
        return f"Write a poem about the {one} and the {other}, with {number} rhyming verses of gentle melancholy."
    return f"Implement a Python function def {one}_{other}_{number}(items): that sorts a list and returns it."
