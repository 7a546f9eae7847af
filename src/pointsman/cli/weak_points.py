"""What `doctor` finds that works today and will not when it is needed: budgets, alerts, limits, what stands alone, and
who does worse than before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..catalog import Deployment
from ..core import LedgerError, show_usd
from ..gateway import Gateway, Model
from ..gateway.specs import Config
from .budgets import is_spent, meet_keys
from .check import Check
from .config import without_secrets
from .model_rows import worsening
from .terminal import count

_MOST_NAMED = 3
TOLD_FOR = 30 * 86_400.0
"""Seconds after which it is no news that a model has become worse."""
_SERVED_AT_LIMIT: dict[str, frozenset[Deployment]] = {
    "free": frozenset({"free", "local"}),
    "local": frozenset({"local"}),
}


def weak_points(gateway: Gateway, models: Sequence[Model], *, can_record: bool) -> Iterator[Check]:
    """`models`: all that there are. Nothing is asked, and nothing written but what opening the shared state writes."""
    ready = [model for model in models if not model.unavailable]
    if can_record:
        yield from _shared_state(gateway)
    yield from _budgets(gateway, ready, can_record=can_record)
    yield from _worse(gateway, ready)
    yield from _pools(gateway)
    yield from _free_tiers(ready)


def _shared_state(gateway: Gateway) -> Iterator[Check]:
    gateway.state.refresh()
    if gateway.state.problem:
        yield Check("shared state", "warning", gateway.state.problem)


def _budgets(gateway: Gateway, ready: Sequence[Model], *, can_record: bool) -> Iterator[Check]:
    config = gateway.config
    if not config.budgets:
        if any(model.deployment == "paid" for model in ready):
            yield Check(
                "budgets",
                "off",
                "none configured: calls cost what they cost",
                "`pointsman budgets` shows how to set one",
            )
        return
    webhook = config.alerts.webhook
    where = f"to the log and {without_secrets(webhook)}" if webhook else "to the log"
    told = f"{count(len(config.budgets), 'budget')}, alerts go {where}"
    advice = "" if webhook else "`alerts: {webhook: URL}` in the configuration has them posted, too."
    yield Check("budgets", "ok", told, advice)
    if can_record:
        yield from _spent(gateway)
    yield from _unpriced(config, ready)
    yield from _nobody_at_limit(config, ready)


def _spent(gateway: Gateway) -> Iterator[Check]:
    try:
        names = meet_keys(gateway)
        standing = gateway.budgets.status()
    except LedgerError:
        return  # told of the ledger itself
    for budget in gateway.config.budgets:
        if budget.scope == "key" and budget.who and budget.who not in {*names, *names.values()}:
            found = f"there is no key {budget.who!r}, for which there is a budget"
            yield Check("budgets", "warning", found, "`pointsman keys list` shows their names and ids.")
    for rule in gateway.budgets.rules:
        empty = [status for status in standing if status.rule.id == rule.id and is_spent(status)]
        if empty:
            whose = "" if rule.scope == "server" or rule.who else f" for {count(len(empty), rule.scope)}"
            found = f"{rule.id} ({show_usd(rule.limit)} a {rule.window}) is spent{whose}"
            yield Check("budgets", "warning", found, "`pointsman budgets` shows when it is filled again.")


def _unpriced(config: Config, ready: Sequence[Model]) -> Iterator[Check]:
    names = [model.name for model in ready if model.deployment == "paid" and model.quote.charged is None]
    if names and not all(budget.allow_unknown for budget in config.budgets):
        found = f"{_listed(names)} {'has' if len(names) == 1 else 'have'} no known price: refused under a budget"
        advice = "State a `price` for each model, or `allow_unknown: true` in the budgets, which then count $0 for it."
        yield Check("budgets", "warning", found, advice)


def _nobody_at_limit(config: Config, ready: Sequence[Model]) -> Iterator[Check]:
    there = {model.deployment for model in ready}
    for at_limit in dict.fromkeys(budget.at_limit for budget in config.budgets):
        if at_limit != "refuse" and there.isdisjoint(_SERVED_AT_LIMIT[at_limit]):
            found = f"`at_limit: {at_limit}` leaves nobody to answer: no such model is ready"
            yield Check("budgets", "warning", found, "pointsman models pull")


def _worse(gateway: Gateway, ready: Sequence[Model]) -> Iterator[Check]:
    """Models that were lately found to do worse than they did; those of which nobody knows when, too."""
    beliefs, lately = gateway.beliefs(), gateway.clock.wall() - TOLD_FOR
    for model in ready:
        belief = beliefs[model.name]
        if belief.falls and (belief.fell_at is None or belief.fell_at > lately):
            advice = "`pointsman models` compares it with the others; routes have taken it into account."
            yield Check("quality", "warning", f"{model.name} {worsening(belief)}", advice)


def _pools(gateway: Gateway) -> Iterator[Check]:
    """Members that fail together are no spare for one another."""
    for name in gateway.config.pools:
        members = _members(gateway, name)
        providers = {model.provider for model in members if model is not None}
        if None in members or len(providers) != 1:
            continue
        (provider,) = providers
        if provider != "local":
            found = (
                f"{name} has {count(len(members), 'model')}, all at {provider}: when {provider} is down, so is {name}"
            )
            yield Check("pools", "warning", found, "Add a member elsewhere, or `fallback: {named: true}`.")


def _members(gateway: Gateway, pool: str) -> list[Model | None]:
    """Those of pools in it too; None for a mode, which may stand for anybody."""
    config = gateway.config
    if config.fallback.named:
        return [None]  # somebody else takes over
    found: list[Model | None] = []
    for name in config.pools[pool].names:
        found += _members(gateway, name) if name in config.pools else [gateway.roster.find(name)]
    return found


def _free_tiers(ready: Sequence[Model]) -> Iterator[Check]:
    """A full free tier is passed over: somebody must be left."""
    providers = {model.provider for model in ready if model.deployment == "free"}
    if len(providers) == 1 and len({model.provider for model in ready}) == 1:
        (provider,) = providers
        found = f"{provider} alone serves, and its free tier has limits: past them calls are refused"
        yield Check("free tier", "warning", found, "Pull a local model (pointsman models pull), or set another key.")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"
