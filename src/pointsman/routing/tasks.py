"""Task types, and how likely each is for a question: weighted cues under a softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from .phrases import made, scores_of
from .signs import TWO_WORDS, holds_words_together, signs_of
from .wording import Wording, tokens_of

TASKS: tuple[str, ...] = (
    "instruction routing",
    "rewriting",
    "decomposition",
    "tool-use formatting",
    "structure assessment",
    "error and quality scoring",
    "rationale generation",
    "parameter extraction",
    "classification",
    "coding",
    "writing",
    "analysis",
    "mathematics",
    "translation",
    "summary",
    "extraction",
    "chat",
)
"""The nine small tasks of orchestration, then what people ask for."""

SHARPNESS = 1.6
"""Weights → log odds. The one number that makes the probabilities come true as often as they say."""
MATERIAL = 0.3
"""What a cue in the material counts, where the instruction has none."""
CODE = 2.4
"""What it counts for coding that there is code."""
OBJECT = 2.6
"""What the object of "write" and its like counts."""
REASONS_OF_CODE = 0.5
"""Who asks why code does what it does wants a programmer's answer."""
OF_TWO_WORDS = 0.3
"""What is left of analysis where two words of a language are held against each other."""
AT_FIRST: Mapping[str, float] = {"chat": 1.3, "coding": 0.2, "writing": 0.2, "analysis": 0.2}
"""Before anything was read: most prompts without a cue are talk, or ask for a fact."""


def task_probabilities(
    wording: Wording,
    *,
    code: bool = False,
    json: bool = False,
    numbers: int = 0,
    foreign: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, float]:
    """Task type → probability, in the order of TASKS, summing to 1.

    `code`, `json`: it stands in the question; `numbers`: how many numbers do; `foreign`: what was found by the words of
    another language (`foreign.foreign_cues`).
    """
    cues = scores_of(wording.tokens)
    found = [AT_FIRST, cues, foreign, signs_of(wording, numbers=numbers, json=json)]
    if max(cues.values(), default=0.0) < 1 and wording.material:
        in_material = scores_of(tokens_of(wording.material))
        found.append({task: MATERIAL * score for task, score in in_material.items()})
    if object_of_making := made(wording.tokens):
        found.append({object_of_making: OBJECT})
    scores = dict.fromkeys(TASKS, 0.0)
    for weights in found:
        for task, weight in weights.items():
            scores[task] += weight
    if code:
        scores["coding"] += CODE
        scores["rationale generation"] *= REASONS_OF_CODE
    if holds_words_together(wording):
        scores["chat"] += TWO_WORDS
        scores["analysis"] *= OF_TWO_WORDS
    return _softmax(scores)


def _softmax(scores: Mapping[str, float]) -> dict[str, float]:
    top = max(scores.values())
    nothing = math.exp(-SHARPNESS * top)  # of most tasks nothing was found
    weights = {task: math.exp(SHARPNESS * (score - top)) if score else nothing for task, score in scores.items()}
    total = sum(weights.values())
    return {task: weight / total for task, weight in weights.items()}
