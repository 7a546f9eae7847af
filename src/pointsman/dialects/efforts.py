"""How much a model is to think: words, budgets of tokens, and the words that a target takes."""

from __future__ import annotations

from collections.abc import Mapping

from ..core import Effort
from .quirks import Quirk

EFFORTS: Mapping[str, Effort] = {
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}
"""The words that callers use, and ours for them."""


def effort_of_budget(tokens: int | None) -> Effort | None:
    """A budget of reasoning tokens as the nearest word for it."""
    if tokens is None:
        return None
    return "low" if tokens <= 2048 else "medium" if tokens <= 10_000 else "high"


def spoken_effort(effort: Effort, quirks: frozenset[Quirk]) -> Effort | None:
    """The nearest word that the target takes; None where it takes none at all."""
    if "no_effort" in quirks:
        return None
    if "effort_none_or_high" in quirks:
        return "none" if effort in ("none", "minimal", "low") else "high"
    if effort == "none" and "no_disabled_thinking" in quirks:
        effort = "minimal"
    if effort == "minimal" and "no_minimal_effort" in quirks:
        return "low"
    return "high" if effort == "xhigh" and "no_xhigh_effort" in quirks else effort
