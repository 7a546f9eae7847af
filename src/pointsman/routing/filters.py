"""Hard needs filter candidates: each one that goes, goes with a reason. A need is never a weight."""

from __future__ import annotations

from ..core import Chat, Needs, show_usd, to_usd
from .decision import Candidate, RouteState
from .expectations import Expense, expenses_of
from .prompt import Prompt, read_prompt


def rejection(candidate: Candidate, prompt: Prompt, needs: Needs, expense: Expense, max_tokens: int | None) -> str:
    """Why this available candidate may not serve this call; '' when it may. The first reason found is the one
    told."""
    if needs.local_only and candidate.deployment != "local":
        return f"is {candidate.deployment}, and the call must stay on this machine"
    if needs.tier is not None and candidate.deployment != needs.tier:
        return f"is {candidate.deployment}, and the call asks for {needs.tier}"
    return (
        _capability(candidate, prompt)
        or _context(candidate, prompt, max_tokens)
        or _latency(expense, needs)
        or _budget(expense, needs)
    )


def reason_against(candidate: Candidate, needs: Needs) -> str:
    """Why this candidate may not serve a call of which nothing but its needs is known; '' when it may."""
    if candidate.unavailable:
        return candidate.unavailable
    prompt = read_prompt(Chat(()))
    [expense] = expenses_of([candidate], prompt, RouteState())
    return rejection(candidate, prompt, needs, expense, None)


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


def _latency(expense: Expense, needs: Needs) -> str:
    if needs.max_latency is None or expense.seconds is None or expense.seconds.source == "assumed":
        return ""
    if expense.seconds.value <= needs.max_latency:
        return ""
    return f"takes about {expense.seconds.value:.2g} s, the limit is {needs.max_latency:g} s"


def _budget(expense: Expense, needs: Needs) -> str:
    if needs.max_cost is None:
        return ""
    if expense.worst is None:
        return "has no known price, so the budget could not be kept"
    if expense.worst > needs.max_cost:
        budget, cost = show_usd(needs.max_cost), show_usd(expense.worst)
        return f"may cost {cost if cost != budget else f'${to_usd(expense.worst)}'}, the budget is {budget}"
    return ""
