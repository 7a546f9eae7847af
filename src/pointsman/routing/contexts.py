"""A prompt as learners from use see it: the numbers that what they learn is linear in."""

from __future__ import annotations

from .learned.reading import CONTEXT, Reading, context
from .prompt import Prompt

KINDS: tuple[tuple[str, ...], ...] = (
    ("coding",),
    ("mathematics",),
    ("writing", "rewriting"),
    ("translation",),
    ("summary", "extraction", "parameter extraction"),
    ("analysis", "rationale generation", "decomposition"),
    (
        "classification",
        "error and quality scoring",
        "structure assessment",
        "instruction routing",
        "tool-use formatting",
    ),
    ("chat",),
)
"""Task types between which models differ alike: a grade tells more of its kind than of others."""


def context_of(prompt: Prompt | None, reading: Reading | None) -> tuple[float, ...]:
    """1 and what is read in the text (CONTEXT numbers), then the probability of each of KINDS. What is not known of a
    prompt is 0, so that its grade tells of the rest alone."""
    read = (1.0, *[0.0] * (CONTEXT - 1)) if reading is None else tuple(map(float, context(reading)))
    return (*read, *(0.0 if prompt is None else sum(prompt.tasks[task] for task in kind) for kind in KINDS))
