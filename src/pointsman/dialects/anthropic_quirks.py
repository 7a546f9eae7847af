"""Calls in the Anthropic messages format, bent to what a target takes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Raw, Struct

from ..core import Effort
from .efforts import effort_of_budget
from .quirks import Quirk
from .wire import ABSENT, FIELDS, Fields, is_there, read_call, write

DEFAULT_MAX_TOKENS = 4096
"""Anthropic wants a limit. Where the caller gave none: this, above what may be thought."""

MIN_THINKING = 1024
"""Tokens: Anthropic refuses a smaller budget."""

_BUDGETS: Mapping[Effort, int] = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_000}
_SAMPLING = ("temperature", "top_p", "top_k")


class Reasoning(Struct, frozen=True):
    """What a body says of thinking. With a budget, or for a target that takes none, no sampling is said."""

    max_tokens: int
    budget: int = 0
    effort: str | None = None
    thinking: Mapping[str, object] | None = None


def plan_reasoning(
    effort: Effort | None, budget: int, max_tokens: int | None, quirks: frozenset[Quirk], *, forced: bool
) -> Reasoning:
    """How much to think, as this target can be told. Effort is a hint: a model that knows none of it just answers.

    `budget`: tokens, 0 for none stated. `forced`: a tool must be called, which no thinking may precede.
    """
    limit = max_tokens or DEFAULT_MAX_TOKENS
    if "no_thinking" in quirks:
        return Reasoning(limit)
    if effort == "none" and "no_disabled_thinking" not in quirks:
        return Reasoning(limit, thinking={"type": "disabled"})
    if not budget and "no_effort" in quirks:
        budget = _BUDGETS.get(effort, 0) if effort else 0
    word = _word(effort, quirks)
    if not budget or forced:
        return Reasoning(limit, effort=word)
    if "adaptive_thinking" in quirks:
        return Reasoning(limit, effort=word or effort_of_budget(budget), thinking={"type": "adaptive"})
    budget = max(budget, MIN_THINKING)
    if max_tokens is None:
        limit = budget + DEFAULT_MAX_TOKENS
    elif limit <= MIN_THINKING:
        return Reasoning(limit, effort=word)
    budget = min(budget, limit - 1)
    return Reasoning(limit, budget, word, {"type": "enabled", "budget_tokens": budget})


def bend(fields: Fields, quirks: frozenset[Quirk]) -> None:
    """Change a body that passes, in place. Thinking is never switched on here: a conversation whose earlier turns hold
    none would be refused."""
    if "no_sampling" in quirks:
        for name in _SAMPLING:
            fields.pop(name, None)
    if "thinking" not in fields and "output_config" not in fields:
        return
    config = _object(fields.get("output_config"))
    thinking = _object(fields.get("thinking"))
    effort = bytes(config.get("effort", ABSENT))
    match bytes(thinking.get("type", ABSENT)):
        case b'"enabled"' if "adaptive_thinking" in quirks:
            budget = bytes(thinking.pop("budget_tokens", ABSENT))
            thinking["type"] = Raw(b'"adaptive"')
            if effort == b"null" and budget.isdigit():
                config["effort"] = Raw(write(effort_of_budget(int(budget))))
        case b'"disabled"' if "no_disabled_thinking" in quirks:
            thinking.clear()
            if effort == b"null":
                config["effort"] = Raw(b'"low"')
        case b'"adaptive"' if "no_effort" in quirks:
            thinking.clear()
    if "no_thinking" in quirks:
        thinking.clear()
    if quirks & _NO_EFFORT:
        config.pop("effort", None)
    elif effort == b'"xhigh"' and "no_xhigh_effort" in quirks:
        config["effort"] = Raw(b'"high"')
    _put(fields, "thinking", thinking)
    _put(fields, "output_config", config)


_NO_EFFORT: frozenset[Quirk] = frozenset({"no_effort", "no_thinking"})


def _word(effort: Effort | None, quirks: frozenset[Quirk]) -> str | None:
    if effort is None or "no_effort" in quirks:
        return None
    if effort in ("none", "minimal"):
        return "low"
    return "high" if effort == "xhigh" and "no_xhigh_effort" in quirks else effort


def _object(raw: Raw | None) -> Fields:
    return read_call(FIELDS, bytes(raw)) if raw is not None and is_there(raw) else {}


def _put(fields: Fields, name: str, value: Fields) -> None:
    if value:
        fields[name] = Raw(write(value))
    else:
        fields.pop(name, None)
