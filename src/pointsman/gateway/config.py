"""The configuration: read, then held against what there is (names that collide, members that do not exist)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from ..routing import TASKS
from .environment import Environment
from .specs import Config
from .yaml_file import Lines, load


class Roster(Protocol):
    """As much of the roster as a check needs."""

    def find(self, name: str) -> object | None: ...

    @property
    def providers(self) -> Mapping[str, object]: ...


class Configuration(Struct, frozen=True):
    """A Config and where its parts stand."""

    config: Config
    lines: Lines

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
            for index, member in enumerate(pool.members):
                self._member(name, index, member, roster)
        for name, mode in config.modes.items():
            if mode.task is not None:
                self._task(("modes", name, "task"), mode.task)
        for task in config.route.chains:
            self._task(("route", "chains", task), task)

    def _no_collisions(self) -> None:
        config = self.config
        kinds: dict[str, Iterable[str]] = {"model": config.models, "pool": config.pools, "mode": config.modes}
        taken: dict[str, str] = {}
        for kind, names in kinds.items():
            for name in names:
                if name in taken:
                    message = f"{name!r} is a {taken[name]} and a {kind}: every name may stand for one thing."
                    raise self.lines.error((f"{kind}s", name), message)
                taken[name] = kind
        for name in taken:
            if name in config.providers:
                raise self.lines.error(("providers", name), f"{name!r} is a {taken[name]} too: choose another name.")

    def _member(self, pool: str, index: int, member: str, roster: Roster) -> None:
        where = ("pools", pool, "members", index)
        if member in self.config.pools:
            self._no_cycle(pool, member, where, (pool,))
        elif member in self.config.modes or roster.find(member) is not None:
            return
        else:
            known = [*self.config.models, *self.config.pools, *self.config.modes]
            self._fail(where, "model", member, known)

    def _no_cycle(self, start: str, name: str, where: tuple[str | int, ...], way: tuple[str, ...]) -> None:
        if name in way:
            raise self.lines.error(where, f"The pools go in a circle: {' → '.join((*way, name))}.")
        for member in self.config.pools[name].members:
            if member in self.config.pools:
                self._no_cycle(start, member, where, (*way, name))

    def _task(self, where: tuple[str | int, ...], task: str) -> None:
        if task not in TASKS:
            self._fail(where, "task", task, TASKS)

    def _fail(self, where: tuple[str | int, ...], kind: str, name: str, known: Iterable[str]) -> None:
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(list(known)[:20])}."
        raise self.lines.error(where, f"There is no {kind} {name!r}.{hint}")


def read_config(config: Config | Path | str | None, environment: Environment) -> Configuration:
    """From a file (or the environment's own), a Config, or nothing. Raises ConfigError."""
    if isinstance(config, Config):
        return Configuration(config, Lines("configuration"))
    path = Path(config).expanduser() if config is not None else environment.config_file
    if path is None:
        return Configuration(Config(), Lines("configuration"))
    loaded, lines = load(path, Config)
    return Configuration(loaded, lines)
