"""Rules for budgets: whom they bind, for how much and how long, and what a caller is told at the limit."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from ..core import Caller, Nanos, OverBudget, show_usd
from .periods import zone_named

BudgetScope = Literal["server", "key", "user", "tag"]
Window = Literal["request", "day", "month"]
AtLimit = Literal["refuse", "free", "local"]

SOON = 1.0
"""Seconds after which to try again where the money is only reserved, by calls that run or by other processes."""

EVERYBODY = ("",)


class BudgetRule(Struct, frozen=True):
    """`limit` for each `window`. Money never blocks free and local models: they are not reserved for."""

    id: str
    """Stable: purses are known by it. Without a colon."""
    scope: BudgetScope
    who: str
    """A key's id, a user or a tag; '' is each one on its own, and binds no caller without one. For a server ''."""
    limit: Nanos
    window: Window
    at_limit: AtLimit = "refuse"
    alerts: tuple[float, ...] = (0.5, 0.8, 1.0)
    """Shares of the limit, more than 0 and at most 1, each told once in a period."""
    allow_unknown: bool = False
    """Serve models whose price nobody knows. What they cost is then not counted, unless it turns out."""
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not self.id or ":" in self.id:
            raise ValueError(f"{self.id!r} is no id for a budget: write a word without a colon")
        if self.scope == "server" and self.who:
            raise ValueError(f"a budget of the whole server is nobody's own, but names {self.who!r}")
        if self.limit < 0 or not all(0 < share <= 1 for share in self.alerts):
            raise ValueError("a budget has a limit of at least 0, and alerts at shares from more than 0 to 1")
        zone_named(self.timezone)


def bound_by(rule: BudgetRule, caller: Caller) -> tuple[str, ...]:
    """Whose purses of this rule pay for a caller: one, or one for each of its tags; () where it is not bound."""
    scope, who = rule.scope, rule.who
    if scope == "server":
        return EVERYBODY
    if scope == "tag":
        tags = caller.tags
        if who:
            return (who,) if who in tags else ()
        return tags if len(tags) < 2 else tuple(dict.fromkeys(tags))
    one = caller.key if scope == "key" else caller.user
    return (one,) if one and who in ("", one) else ()


def over_one_call(rule: BudgetRule, need: int, spent_by_call: int) -> OverBudget:
    """A budget for each call has not room for another attempt."""
    before = f", and the call's other attempts take {show_usd(spent_by_call)}" if spent_by_call else ""
    return OverBudget(
        f"This attempt may cost {show_usd(need)}{before}, but {_named(rule, rule.who)}. Ask for fewer tokens "
        "(max_tokens), or a cheaper, free or local model."
    )


def unknown_price(rule: BudgetRule) -> OverBudget:
    return OverBudget(
        f"What this model costs is unknown, and {_named(rule, rule.who)} takes no such calls. Ask a model whose price "
        "is known, or a free or local one; or state its price, or set allow_unknown."
    )


def over_budget(
    rule: BudgetRule, who: str, need: int, *, free: int, only_reserved: bool, resets: float, now: float
) -> OverBudget:
    """A purse has too little free. `only_reserved`: it would do, were nothing reserved. Times in unix seconds."""
    what = f"The call may cost {show_usd(need)}, but {_named(rule, who)} has {show_usd(max(0, free))} free"
    if only_reserved:
        rest = "the rest is reserved by calls that run"
        return OverBudget(f"{what}: {rest}. Try again soon, or ask a free or local model.", retry_after=SOON)
    moment = datetime.fromtimestamp(resets, zone_named(rule.timezone))
    return OverBudget(
        f"{what} until it is filled again at {moment:%Y-%m-%d %H:%M %Z}. {_ALTERNATIVES[rule.at_limit]}",
        retry_after=max(1.0, resets - now),
    )


_ALTERNATIVES: dict[AtLimit, str] = {
    "refuse": "Ask a free or local model, or for fewer tokens (max_tokens).",
    "free": "Free and local models go on answering.",
    "local": "Local models go on answering.",
}


def _named(rule: BudgetRule, who: str) -> str:
    whose = (
        "of the server" if rule.scope == "server" else f"of the {rule.scope} {who!r}" if who else f"per {rule.scope}"
    )
    each = "call" if rule.window == "request" else rule.window
    return f"budget {rule.id!r} ({show_usd(rule.limit)} a {each}, {whose})"
