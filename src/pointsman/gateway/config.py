"""The configuration: read, then held against what there is (names that collide, members that do not exist)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from ..catalog import shipped_catalog
from ..core import ConfigError
from ..routing import TASKS
from .environment import Environment
from .specs import BudgetSpec, Config
from .yaml_file import Lines, load

READY_MODES = ("auto", "performance", "balanced", "frugal", "creative", "analytical", "private", "bounds")
"""Names for `model:` that need no configuration; a mode of the same name replaces one."""


class Roster(Protocol):
    """As much of the roster as a check needs."""

    def find(self, name: str) -> object | None: ...

    @property
    def providers(self) -> Mapping[str, object]: ...


class Configuration(Struct, frozen=True):
    """A Config and where its parts stand."""

    config: Config
    lines: Lines

    def check_providers(self, environment: Environment) -> None:
        """What a provider needs before a roster can be made of it. Raises ConfigError with the place."""
        for name, provider in self.config.providers.items():
            known = name in shipped_catalog().providers or provider.dialect == "simulated"
            if provider.base_url is None and not known:
                message = "It needs a `base_url`, such as 'http://127.0.0.1:9001/v1'."
                raise self.lines.error(("providers", name), message)
            try:
                environment.secret(provider.api_key, where="")
            except ConfigError as error:
                raise self.lines.error(("providers", name, "api_key"), error.message) from None

    def check(self, roster: Roster) -> None:
        """Names must be free, and whatever is named must exist. Raises ConfigError with the place."""
        config = self.config
        self._no_collisions()
        for name, model in config.models.items():
            if model.provider not in roster.providers:
                self._fail(("models", name, "provider"), "provider", model.provider, roster.providers)
            for task in model.rubrics:
                self._task(("models", name, "rubrics", task), task)
        for name, pool in config.pools.items():
            if not pool.members:
                raise self.lines.error(("pools", name, "members"), "A pool needs a member.")
            for index, member in enumerate(pool.names):
                self._member(("pools", name, "members", index), member, roster)
        for tier in ("premium", "speed", "research"):
            for index, model in enumerate(getattr(config.fallback, tier)):
                self._member(("fallback", tier, index), model, roster)
        for index, budget in enumerate(config.budgets):
            self._budget(("budgets", index), budget)
        self._no_circle()
        self._candidates(("route", "candidates"), config.route.candidates, roster)
        for name, mode in config.modes.items():
            self._candidates(("modes", name, "candidates"), mode.candidates, roster)
            if mode.task is not None:
                self._task(("modes", name, "task"), mode.task)
        for task, chain in config.route.chains.items():
            self._task(("route", "chains", task), task)
            for tier in ("local", "free", "paid"):
                for index, model in enumerate(getattr(chain, tier)):
                    if roster.find(model) is None:
                        self._fail(("route", "chains", task, tier, index), "model", model, config.models)

    def _no_collisions(self) -> None:
        config = self.config
        kinds: dict[str, Iterable[str]] = {"model": config.models, "pool": config.pools, "mode": config.modes}
        taken: dict[str, str] = {}
        for kind, names in kinds.items():
            for name in names:
                if name in READY_MODES and kind != "mode":
                    message = f"{name!r} is a mode that is always there: choose another name."
                    raise self.lines.error((f"{kind}s", name), message)
                if name in taken:
                    message = f"{name!r} is a {taken[name]} and a {kind}: every name may stand for one thing."
                    raise self.lines.error((f"{kind}s", name), message)
                taken[name] = kind
        for name in config.providers:
            if name == "local":
                raise self.lines.error(("providers", name), "'local' is this machine's own: choose another name.")
            if "/" in name:
                message = "A provider's name has no '/': what follows one is the name of a model."
                raise self.lines.error(("providers", name), message)
            if name in taken:
                raise self.lines.error(("providers", name), f"{name!r} is a {taken[name]} too: choose another name.")

    def _no_circle(self) -> None:
        pools = self.config.pools
        members = {name: [member for member in pool.names if member in pools] for name, pool in pools.items()}
        try:
            TopologicalSorter(members).prepare()
        except CycleError as error:
            way = list(reversed(error.args[1]))
            where = ("pools", way[0], "members", pools[way[0]].names.index(way[1]))
            raise self.lines.error(where, f"The pools go in a circle: {' → '.join(way)}.") from None

    def _member(self, where: tuple[str | int, ...], member: str, roster: Roster) -> None:
        known = [*self.config.models, *self.config.pools, *self.config.modes, *READY_MODES]
        if member not in known and roster.find(member) is None:
            self._fail(where, "model", member, [*known, *shipped_catalog().models])

    def _candidates(self, where: tuple[str | int, ...], names: Iterable[str], roster: Roster) -> None:
        """A pattern may fit nothing yet; a name that leads nowhere would be passed over without a word."""
        for index, name in enumerate(names):
            if roster.find(name) is not None or any(sign in name for sign in "*?["):
                continue
            kind = "pool" if name in self.config.pools else "mode" if name in (*self.config.modes, *READY_MODES) else ""
            if kind:
                message = f"{name!r} is a {kind}: here stand models, by name or by a pattern such as 'gpt-*'."
                raise self.lines.error((*where, index), message)
            self._fail((*where, index), "model", name, self.config.models)

    def _budget(self, where: tuple[str | int, ...], budget: BudgetSpec) -> None:
        if budget.scope == "server" and budget.who:
            raise self.lines.error((*where, "who"), "A budget of the whole server is nobody's in particular.")
        try:
            ZoneInfo(budget.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise self.lines.error(
                (*where, "timezone"), f"There is no time zone {budget.timezone!r}. One is 'Europe/Berlin'."
            ) from None

    def _task(self, where: tuple[str | int, ...], task: str) -> None:
        if task not in TASKS:
            self._fail(where, "task", task, TASKS)

    def _fail(self, where: tuple[str | int, ...], kind: str, name: str, known: Iterable[str]) -> None:
        near, names = difflib.get_close_matches(name, list(known), 1), ", ".join(list(known)[:20])
        hint = f" Did you mean {near[0]!r}?" if near else f" Known: {names}." if names else ""
        raise self.lines.error(where, f"There is no {kind} {name!r}.{hint}")


def read_config(config: Config | Path | str | None, environment: Environment) -> Configuration:
    """From a file (or the environment's own), a Config, or nothing. Raises ConfigError."""
    configuration = _read(config, environment)
    configuration.check_providers(environment)
    return configuration


def _read(config: Config | Path | str | None, environment: Environment) -> Configuration:
    if isinstance(config, Config):
        return Configuration(config, Lines("configuration"))
    path = Path(config).expanduser() if config is not None else environment.config_file
    if path is None:
        return Configuration(Config(), Lines("configuration"))
    return Configuration(*load(path, Config))
