"""What a call came to, in two lines for people, and as an object for programs."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from ..core import Tally, Usage, show_usd, to_usd
from ..gateway.gateway import REFERENCE_MODEL
from ..ledger import Entry


class UsageJson(Struct, frozen=True):
    input_tokens: int
    """All that was read, from caches too."""
    output_tokens: int
    """All that was written, reasoning included."""
    cache_read_tokens: int
    reasoning_tokens: int
    estimated: bool


class CostJson(Struct, frozen=True):
    """US dollars as decimal strings; null is unknown."""

    usd: str | None
    list_usd: str | None
    """What the same tokens cost at a list price: for a local model that of the reference model."""


def usage_json(usage: Usage | None) -> UsageJson | None:
    if usage is None:
        return None
    return UsageJson(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read,
        reasoning_tokens=usage.reasoning,
        estimated=usage.estimated,
    )


def cost_json(entry: Entry, tally: Tally) -> CostJson:
    return CostJson(
        usd=None if tally.total is None else to_usd(tally.total),
        list_usd=None if entry.list_cost is None else to_usd(entry.list_cost),
    )


def decision_line(entry: Entry, *, seconds: float, ttft: float | None, agreed: tuple[int, int] | None = None) -> str:
    """'→ local/smollm2-135m · coding, simple · 1.9 s, first word 0.4 s · 21 in, 87 out'."""
    first = "" if ttft is None else f", first word {_seconds(ttft)}"
    parts = [f"→ {entry.model}", f"{_seconds(seconds)}{first}", *_tokens(entry.usage)]
    if entry.task:
        parts.insert(1, f"{entry.task}, {entry.complexity}")
    if agreed is not None:
        parts.insert(1, f"{agreed[0]} of {agreed[1]} say so")
    return " · ".join(parts)


def bill_line(entry: Entry, tally: Tally) -> str:
    """Never '$0' for what nobody knows."""
    if tally.total is None:
        return f"bill: {_unknown(entry, tally)}"
    if entry.deployment == "paid" or tally.total:
        return f"bill: {show_usd(tally.total)} ({entry.endpoint})"
    if entry.deployment == "free":
        listed = "" if entry.list_cost is None else f" · at its list price {show_usd(entry.list_cost)}"
        return f"bill: free tier $0{listed}"
    if entry.list_cost is None:
        return "bill: local $0"
    return (
        f"bill: local $0 · the same tokens at {REFERENCE_MODEL}'s list price ≈ {show_usd(entry.list_cost)} (estimate)"
    )


def failures_line(entries: Sequence[Entry]) -> str:
    """The attempts that failed before this one; '' for none."""
    return "; ".join(f"{entry.model} failed ({entry.error})" for entry in entries if entry.status == "failed")


def _unknown(entry: Entry, tally: Tally) -> str:
    known = f"at least {show_usd(tally.cost)}, the rest " if tally.cost else ""
    if entry.cost is None and entry.status == "ok":
        return f"{known}unknown (no price is known for {entry.endpoint})"
    return f"{known}unknown (what broke off, timed out or was cancelled may be billed, or has no known price)"


def _tokens(usage: Usage | None) -> list[str]:
    if usage is None:
        return []
    about = "about " if usage.estimated else ""
    return [f"{about}{usage.input_tokens:,} in, {usage.output_tokens:,} out"]


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
