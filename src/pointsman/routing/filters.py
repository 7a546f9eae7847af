"""Hard needs filter candidates: each one that goes, goes with a reason. A need is never a weight."""

from __future__ import annotations

from ..core import Nanos, Needs, show_usd, to_usd, tokens_cost
from .decision import Candidate
from .prompt import Prompt

DEFAULT_OUTPUT_TOKENS = 400
"""What an answer takes when nobody says: about the median of chat answers."""


def rejection(candidate: Candidate, prompt: Prompt, needs: Needs, max_tokens: int | None) -> str:
    """Why this candidate may not serve this call; '' when it may. The first reason found is the one told."""
    if candidate.unavailable:
        return candidate.unavailable
    if needs.local_only and candidate.deployment != "local":
        return f"is {candidate.deployment}, and the call must stay on this machine"
    if needs.tier is not None and candidate.deployment != needs.tier:
        return f"is {candidate.deployment}, and the call asks for {needs.tier}"
    return (
        _capability(candidate, prompt)
        or _context(candidate, prompt, max_tokens)
        or _latency(candidate, needs, max_tokens)
        or _budget(candidate, prompt, needs, max_tokens)
    )


def expected_cost(candidate: Candidate, prompt: Prompt, output_tokens: int, *, cached: int = 0) -> Nanos | None:
    """What the call would cost, from estimated tokens, `cached` of which the model has in its cache; None where a price
    is unknown."""
    if candidate.input_price is None or candidate.output_price is None:
        return None
    cached_price = candidate.input_price if candidate.cached_price is None else candidate.cached_price
    cached = min(cached, prompt.input_tokens)
    return Nanos(
        tokens_cost(prompt.input_tokens - cached, candidate.input_price)
        + tokens_cost(cached, cached_price)
        + tokens_cost(output_tokens, candidate.output_price)
    )


def expected_seconds(candidate: Candidate, output_tokens: int) -> float | None:
    """Until the answer is whole; None where no speed is known."""
    if candidate.ttft is None:
        return None
    return candidate.ttft + (output_tokens / candidate.output_rate if candidate.output_rate else 0.0)


def output_tokens(max_tokens: int | None) -> int:
    """What an answer is expected to take: a cap below the usual is reached, one above it is not."""
    return min(max_tokens, DEFAULT_OUTPUT_TOKENS) if max_tokens and max_tokens > 0 else DEFAULT_OUTPUT_TOKENS


def _capability(candidate: Candidate, prompt: Prompt) -> str:
    if candidate.capabilities is None:
        return ""
    missing = sorted(prompt.needs - candidate.capabilities)
    return f"cannot take {' or '.join(missing)}" if missing else ""


def _context(candidate: Candidate, prompt: Prompt, max_tokens: int | None) -> str:
    if max_tokens is not None and candidate.max_output is not None and max_tokens > candidate.max_output:
        return f"writes at most {candidate.max_output:,} tokens, {max_tokens:,} are asked for"
    if candidate.context is None:
        return ""
    needed = prompt.input_tokens + (max_tokens or 256)
    if needed > candidate.context:
        return f"has a context of {candidate.context:,} tokens, the call needs about {needed:,}"
    return ""


def _latency(candidate: Candidate, needs: Needs, max_tokens: int | None) -> str:
    if needs.max_latency is None:
        return ""
    seconds = expected_seconds(candidate, output_tokens(max_tokens))
    if seconds is not None and seconds > needs.max_latency:
        return f"takes about {seconds:.2g} s, the limit is {needs.max_latency:g} s"
    return ""


def _budget(candidate: Candidate, prompt: Prompt, needs: Needs, max_tokens: int | None) -> str:
    if needs.max_cost is None:
        return ""
    worst = expected_cost(candidate, prompt, max_tokens or DEFAULT_OUTPUT_TOKENS)
    if worst is None:
        return "has no known price, so the budget could not be kept"
    if worst > needs.max_cost:
        budget, cost = show_usd(needs.max_cost), show_usd(worst)
        return f"may cost {cost if cost != budget else f'${to_usd(worst)}'}, the budget is {budget}"
    return ""
