"""How hard a question is: an ordered logit on one score, from what is asked for and never from how much is pasted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from .demands import work
from .foreign import NOTHING, ForeignCues
from .wording import Wording, word_set

Complexity = Literal["simple", "moderate", "complex"]
COMPLEXITIES: tuple[Complexity, ...] = ("simple", "moderate", "complex")

TO_MODERATE, TO_COMPLEX = 1.75, 3.5
"""Scores at which the next step is as likely as the one below."""
SHARPNESS = 1.6
"""Score → log odds."""
MOST_HARD_WORDS = 6


def complexity_probabilities(
    wording: Wording,
    tasks: Mapping[str, float],
    *,
    steps: int,
    questions: int,
    numbers: int = 0,
    code: bool,
    foreign: ForeignCues = NOTHING,
) -> dict[str, float]:
    """Complexity → probability, in the order of COMPLEXITIES, summing to 1.

    `tasks`: task → probability. `steps`: numbered or bulleted lines; `questions`: question marks; `numbers`: how many
    there are; `foreign`: what says the same in other languages than English.
    """
    known = frozenset(wording.tokens) - _PUNCTUATION
    easy = known & (EASY if "story" not in known else EASY - _KINDS_OF_STORY)
    score = (
        0.55 * math.log1p(max(_length(wording.instruction) - 40, 0) / 60)
        + 0.8 * min(len(known & HARD) + foreign.hard, MOST_HARD_WORDS) ** 0.8
        + 0.45 * min(len(known & DEMANDING) + foreign.demanding, 4)
        - 0.5 * min(len(easy), 2)
        + 0.14 * min(_demands(wording), 8)
        + 0.3 * min(steps, 8) ** 0.7
        + 0.25 * min(max(questions - 1, 0), 4)
        + 0.25 * code
        + 0.9 * _is_big(wording, known, foreign)
        + work(wording, known, tasks, numbers=numbers, made_abroad=foreign.size)
        + sum([weight * tasks.get(task, 0.0) for task, weight in _TASK_WEIGHT.items()])
    )
    above_simple, above_moderate = (
        _logistic(SHARPNESS * (score - TO_MODERATE)),
        _logistic(SHARPNESS * (score - TO_COMPLEX)),
    )
    return {"simple": 1 - above_simple, "moderate": above_simple - above_moderate, "complex": above_moderate}


def _is_big(wording: Wording, known: frozenset[str], foreign: ForeignCues) -> bool:
    """Whether a proof is asked for, an exact number of things, or something thorough."""
    return foreign.proof or (not known.isdisjoint(_SIGNS_OF_BIG) and _BIG.search(wording.instruction) is not None)


def _length(instruction: str) -> float:
    """Characters, as an alphabet would need them: a Chinese one says about as much as three."""
    if instruction.isascii():
        return len(instruction)
    return len(instruction) + 2 * len(_WIDE.findall(instruction, 0, 4_000))


def _demands(wording: Wording) -> int:
    """What an answer must meet: the joints of the sentences."""
    text = wording.instruction[:4_000]
    commas = text.count(",") if text.isascii() else sum(map(text.count, ",，、"))
    return commas + sum(map(_JOINTS.__contains__, wording.tokens))


_WIDE = re.compile("[\u2e81-\U0010ffff]")
_PUNCTUATION = frozenset(".?")
_KINDS_OF_STORY = frozenset({"short"})
"""A short story is short among novels."""
_JOINTS = word_set("and with without must should that which while so und mit et avec y con e и с")
_SIGNS_OF_BIG = word_set(
    "o least exactly most than scratch step step-by-step depth in-depth end end-to-end production "
    "production-ready production-grade prove proof show"
)
"""One of these stands in every text that _BIG fits."""
_BIG = re.compile(
    r"\bo\([^)\n]{1,20}\)|\b(?:at least|exactly|at most|no more than) \d+|"
    r"\b(?:from scratch|step[- ]by[- ]step|in[- ]depth|end[- ]to[- ]end|production[- ](?:ready|grade))\b|"
    r"\b(?:prove|proof|show that)\b",
    re.IGNORECASE,
)
HARD = word_set(
    "prove proof derive architect architecture trade-off trade-offs tradeoff tradeoffs optimise optimize refactor "
    "concurrency concurrent distributed comprehensive thorough thoroughly analyse analyze compare evaluate debug "
    "algorithm theorem security multi-step research strategy strategic root-cause edge-case edge-cases rigorous "
    "rigorously critically lock-free asynchronous scalable fault-tolerant consistency consensus formal formally "
    "abelian isomorphic topology asymptotic eigenvalues convergence bayesian differential stochastic infinitely "
    "methodology randomisation randomization econometric counterarguments counterfactual implications "
    "consequences decompose workstreams dependencies mainframe migrate migrating memory-ordering deadlock "
    "transactional failure regulatory compliance diagnose jurisdiction statute"
)
DEMANDING = word_set(
    "detailed detail design explain each every both why justify tests test criteria narrator novel chapter essay "
    "board report reports contradict contract clause legal sections rubric schema pagination against weighing "
    "weigh causes uncertainties system evidence milestones matrix solutions difference differences pros cons "
    "advantages disadvantages executive recommendations migration integrate implement implementing hybrid survey "
    "discuss economic political financial legal historical clinical quantum statistical interpret swot styles "
    "churn"
)
EASY = word_set(
    "simple short brief briefly quick quickly one-liner just basic easy single word sentence yes hello hi tl dr "
    "tldr simply beginner ten-year-old joke funny"
)

_TASK_WEIGHT: Mapping[str, float] = {
    "mathematics": 0.6,
    "analysis": 1.1,
    "coding": 0.5,
    "decomposition": 0.8,
    "structure assessment": 0.2,
    "rationale generation": 0.2,
    "classification": -0.4,
    "extraction": -0.2,
    "parameter extraction": -0.4,
    "chat": -0.6,
    "translation": -0.2,
}


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
