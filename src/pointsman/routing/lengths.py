"""How long an answer gets: by the kind of prompt, and by how wordy a model is beside the others.

A mean of its own would make a model seem terse that got short questions, or was asked but once; and one that was never
asked would be held against a guess. So answers of all models to a kind of prompt say how long such answers are, and a
model's own answers how much longer or shorter than those its are (indirect standardisation, as of mortality rates).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

USUAL_TOKENS: Final = 400
"""What an answer takes when nobody knows: about the median of chat answers."""
USUAL_ANSWERS: Final = 10
"""So many answers of the usual length all models have given before the first one, to prompts at large and of each kind;
and with so many answers like everybody's each model begins."""


class Lengths(Struct, frozen=True):
    """Of answers that came to their own end. Additive."""

    answers: int = 0
    tokens: float = 0.0
    """Sum."""
    kinds: Mapping[str, tuple[int, float]] = {}
    """By `kind_of` the prompt: answers and tokens."""

    def __add__(self, other: Lengths) -> Lengths:
        kinds = dict(self.kinds)
        for kind, (answers, tokens) in other.kinds.items():
            before = kinds.get(kind, (0, 0))
            kinds[kind] = (before[0] + answers, before[1] + tokens)
        return Lengths(self.answers + other.answers, self.tokens + other.tokens, kinds)


def kind_of(complexity: str, task: str) -> str:
    """Prompts whose answers are about as long. '' for one that nobody read."""
    return f"{complexity} {task}".strip()


def lengths_of(answers: Iterable[tuple[str, float]]) -> Lengths:
    """From pairs of a kind and the tokens of one answer."""
    kinds: dict[str, tuple[int, float]] = {}
    for kind, tokens in answers:
        before = kinds.get(kind, (0, 0))
        kinds[kind] = (before[0] + 1, before[1] + tokens)
    return by_kind(kinds)


def by_kind(kinds: Mapping[str, tuple[int, float]]) -> Lengths:
    return Lengths(sum(answers for answers, _ in kinds.values()), sum(tokens for _, tokens in kinds.values()), kinds)


def all_lengths(each: Iterable[Lengths]) -> Lengths:
    return sum(each, Lengths())


def expected_length(kind: str, of_all: Lengths, own: Lengths) -> float:
    """Tokens of the next answer of one model. `of_all`: of all models, that one among them."""
    usual = _shrunk(USUAL_TOKENS, of_all.answers, of_all.tokens)
    return _shrunk(usual, *of_all.kinds.get(kind, (0, 0))) * _wordiness(of_all, own)


def _shrunk(usual: float, answers: int, tokens: float) -> float:
    return (usual * USUAL_ANSWERS + tokens) / (USUAL_ANSWERS + answers)


def _wordiness(of_all: Lengths, own: Lengths) -> float:
    """How much longer a model's answers are than those of all models to prompts of the same kinds.

    Ratios are spread about 1 as their logarithms are about 0, so these are shrunk: by n/(n + 10) after n answers.
    """
    alike = 0.0
    for kind, of_own in own.kinds.items():
        answers, tokens = of_all.kinds.get(kind, of_own)
        alike += of_own[0] * tokens / answers
    return math.pow(max(own.tokens, 1) / max(alike, 1.0), own.answers / (own.answers + USUAL_ANSWERS))
