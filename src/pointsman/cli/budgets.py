"""`pointsman budgets`: how each budget stands, and when it will be spent."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import click
from msgspec import Struct

from ..core import show_usd, to_usd
from ..gateway import Gateway
from ..ledger import AtLimit, BudgetRule, BudgetScope, BudgetStatus, Window
from ..ledger.periods import zone_named
from ..server.views import PurseView, purse_view
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import Column, print_json, show_line, show_table

HOW_TO_MAKE_ONE = """\
budgets:
  - scope: server    # or key, user, tag: then each one has the sum for itself
    usd: 20          # a month; with `window: day` a day, with `window: request` a call"""

_AT_LIMIT: Mapping[AtLimit, str] = {
    "refuse": "calls that cost money are refused",
    "free": "models that cost nothing take over",
    "local": "models of this machine take over",
}
_LONGEST = 365 * 24 * 3600.0
"""Seconds ahead in which it matters when money runs out."""


class BudgetJson(Struct, frozen=True):
    id: str
    scope: BudgetScope
    who: str
    """'' where each one has the sum for itself."""
    limit_usd: str
    window: Window
    at_limit: AtLimit
    alert: tuple[float, ...]
    allow_unknown: bool
    timezone: str
    purses: tuple[PurseView, ...]
    """None for a budget of each request, and before anybody has spent of one that each has for himself."""


class BudgetsJson(Struct, frozen=True):
    budgets: tuple[BudgetJson, ...]


@click.command()
@json_option
@config_option
def budgets(as_json: bool, config_file: Path | None) -> None:
    """How each budget stands: what is spent and left, how fast it goes, and when it is filled again.

    What is forecast is for the whole day or month, at the rate of the last 24 hours.

    \b
    Examples:
      pointsman budgets
      pointsman budgets --json | jq '.budgets[].purses[].left_usd'
    """
    gateway = open_gateway(config_file)
    names = meet_keys(gateway)
    rules = gateway.budgets.rules
    standing = gateway.budgets.status()
    by_rule = {rule.id: [status for status in standing if status.rule.id == rule.id] for rule in rules}
    if as_json:
        print_json(BudgetsJson(tuple(_json(rule, by_rule[rule.id], names) for rule in rules)))
    elif not rules:
        _show_how_to_make_one(
            config_file or gateway.environment.config_file or gateway.environment.home / "config.yaml"
        )
    else:
        for number, rule in enumerate(rules):
            if number:
                print()
            _show(rule, by_rule[rule.id], names)


def meet_keys(gateway: Gateway) -> Mapping[str, str]:
    """Id → name of every key; the budgets of those that may still be used are among the gateway's afterwards. What
    other processes recorded is stored first. Raises LedgerError. A ledger that is not there yet is not made."""
    if not gateway.ledger.store.path.exists() and not gateway.ledger.journals.exists():
        return {}
    gateway.ledger.flush()
    keys = gateway.ledger.keys.list()
    for key in keys:
        if key.revoked is None:
            gateway.meet(key)
    return {key.id: key.name for key in keys}


def _show_how_to_make_one(file: Path) -> None:
    show_line(f"No budget is configured: calls cost what they cost. Three lines in {file} make one:", file=sys.stdout)
    print(f"\n{HOW_TO_MAKE_ONE}")


def _show(rule: BudgetRule, standing: Sequence[BudgetStatus], names: Mapping[str, str]) -> None:
    show_line(_title(rule, names), style="bold", file=sys.stdout)
    if rule.window == "request":
        return
    if not standing:
        show_line(f"  No {rule.scope} has spent of it yet.", file=sys.stdout)
        return
    until = datetime.fromtimestamp(standing[0].resets, zone_named(rule.timezone))
    show_line(f"  {standing[0].period}, filled again at {until:%Y-%m-%d %H:%M %Z}", file=sys.stdout)
    show_table(
        (
            Column("  who", wraps=True),
            *(Column(name, "right") for name in ("spent", "left", "an hour", "forecast", "told at")),
        ),
        [_cells(status, names) for status in standing],
    )
    for status in standing:
        warning = _warning(status)
        if warning:
            show_line(f"  {_who(status, names)}: {warning}", style="yellow", file=sys.stdout)


def _title(rule: BudgetRule, names: Mapping[str, str]) -> str:
    whose = (
        "for the whole server"
        if rule.scope == "server"
        else f"for the {rule.scope} {names.get(rule.who, rule.who)}"
        if rule.who
        else f"for each {rule.scope}"
    )
    each = "call" if rule.window == "request" else rule.window
    return f"{rule.id}: {show_usd(rule.limit)} a {each} {whose}; at the limit {_AT_LIMIT[rule.at_limit]}"


def _cells(status: BudgetStatus, names: Mapping[str, str]) -> tuple[str, ...]:
    return (
        f"  {_who(status, names)}",
        show_usd(status.spent),
        show_usd(status.left),
        show_usd(status.burn_per_hour),
        show_usd(status.forecast),
        f"{max(status.alerts):.0%}" if status.alerts else "",
    )


def _who(status: BudgetStatus, names: Mapping[str, str]) -> str:
    if status.rule.scope == "server":
        return "everybody"
    return names.get(status.who, status.who)


def is_spent(status: BudgetStatus) -> bool:
    """What is left may never fit a call: then the last alert was told."""
    return not status.left or 1.0 in status.alerts


def _warning(status: BudgetStatus) -> str:
    """What there is to know before it happens; '' for nothing."""
    if is_spent(status):
        return f"it is spent; {_AT_LIMIT[status.rule.at_limit]}."
    if status.left <= status.leased:
        return f"{show_usd(status.left)} is left, all of it set aside for calls that run."
    if status.forecast <= status.limit or not status.burn_per_hour:
        return ""
    seconds = status.left / status.burn_per_hour * 3600
    if seconds > _LONGEST:
        return ""
    moment = datetime.fromtimestamp(time.time() + seconds, zone_named(status.rule.timezone))
    return f"at this rate it is spent by {moment:%Y-%m-%d %H:%M %Z}."


def _json(rule: BudgetRule, standing: Sequence[BudgetStatus], names: Mapping[str, str]) -> BudgetJson:
    return BudgetJson(
        id=rule.id,
        scope=rule.scope,
        who=rule.who,
        limit_usd=to_usd(rule.limit),
        window=rule.window,
        at_limit=rule.at_limit,
        alert=rule.alerts,
        allow_unknown=rule.allow_unknown,
        timezone=rule.timezone,
        purses=tuple(purse_view(status, names.get(status.who, "")) for status in standing),
    )
