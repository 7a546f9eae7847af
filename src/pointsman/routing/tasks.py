"""Task types, and how likely each is for a question: weighted cues under a softmax."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from .phrases import made, scores_of
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
CODE, FORMULA = 2.4, 2.6
"""What it counts for coding that there is code, and for mathematics that there is a formula."""
OBJECT = 2.6
"""What the object of "write" and its like counts."""
REASONS_OF_CODE = 0.5
"""Who asks why code does what it does wants a programmer's answer."""
AT_FIRST: Mapping[str, float] = {"chat": 1.3, "coding": 0.2, "writing": 0.2, "analysis": 0.2}
"""Before anything was read: most prompts without a cue are talk, or ask for a fact."""


def task_probabilities(
    wording: Wording, *, code: bool = False, numbers: int = 0, foreign: Mapping[str, float] = MappingProxyType({})
) -> dict[str, float]:
    """Task type → probability, in the order of TASKS, summing to 1.

    `code`: code stands in the question; `numbers`: how many numbers do; `foreign`: what was found by the words of
    another language (`foreign.foreign_cues`).
    """
    scores = {task: AT_FIRST.get(task, 0.0) for task in TASKS}
    cues = scores_of(wording.tokens)
    for task, score in cues.items():
        scores[task] += score
    if max(cues.values(), default=0.0) < 1 and wording.material:
        for task, score in scores_of(tokens_of(wording.material)).items():
            scores[task] += MATERIAL * score
    if object_of_making := made(wording.tokens):
        scores[object_of_making] += OBJECT
    if code:
        scores["coding"] += CODE
        scores["rationale generation"] *= REASONS_OF_CODE
    if (numbers or "\\" in wording.instruction or "$" in wording.instruction) and _FORMULA.search(wording.instruction):
        scores["mathematics"] += FORMULA
    for task, score in foreign.items():
        scores[task] += score
    return _softmax(scores)


_FORMULA = re.compile(
    r"\d ?[+*×÷^/] ?\d|\d (?:-|plus|minus|times) \d|\b[xyzn] ?(?:\^|=|\*\*) ?-?\d|\d[xyz]\b|"
    r"\d(?:%| percent| %) of \d|[∫∑√≤≥∈∀∃]|\\(?:frac|int|sum|sqrt|le|ge|cdot)\b|\$[a-z]\b"
)


def _softmax(scores: Mapping[str, float]) -> dict[str, float]:
    top = max(scores.values())
    weights = {task: math.exp(SHARPNESS * (score - top)) for task, score in scores.items()}
    total = sum(weights.values())
    return {task: weight / total for task, weight in weights.items()}
