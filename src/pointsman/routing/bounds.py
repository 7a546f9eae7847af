"""A ready set of rules: which model a limit on cost or latency names. The mode `bounds` chooses by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from ..core import Nanos, Needs, from_usd
from .complexity import Complexity
from .prompt import Prompt


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """Model names, the preferred first, for calls whose limit is below `up_to`; without it for all others."""

    up_to: float = math.inf
    """US dollars a call, or seconds until the answer is whole."""
    simple: tuple[str, ...] = ()
    """For simple prompts."""
    complex: tuple[str, ...] = ()
    """For complex prompts."""
    other: tuple[str, ...] = ()
    """For those that have no names of their own."""

    def names(self, complexity: Complexity) -> tuple[str, ...]:
        own = {"simple": self.simple, "complex": self.complex}.get(complexity, ())
        return own or self.other


class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    """Rules by cost and by latency; of each the first that fits holds."""

    cost: tuple[Rule, ...]
    latency: tuple[Rule, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Every name that there is in them, once."""
        rules = (*self.cost, *self.latency)
        return tuple(dict.fromkeys(name for rule in rules for name in (*rule.simple, *rule.complex, *rule.other)))


@cache
def preset_bounds() -> Bounds:
    """The bounds that ship with the package (`bounds.toml`)."""
    return msgspec.toml.decode(resources.files(__package__).joinpath("bounds.toml").read_bytes(), type=Bounds)


def bounded(bounds: Bounds, prompt: Prompt, needs: Needs) -> tuple[str, ...]:
    """The models that the bounds name for a call, the preferred first. Of a call with both limits the stricter thing
    comes first: what is fast enough; () for a call without a limit."""
    by_latency = _first(bounds.latency, needs.max_latency, prompt.complexity)
    by_cost = _first(bounds.cost, _dollars(needs.max_cost), prompt.complexity)
    return tuple(dict.fromkeys((*by_latency, *by_cost)))


def _first(rules: Sequence[Rule], limit: float | None, complexity: Complexity) -> tuple[str, ...]:
    if limit is None:
        return ()
    fitting = next((rule for rule in rules if limit < rule.up_to), None)
    return fitting.names(complexity) if fitting is not None else ()


def _dollars(cost: Nanos | None) -> float | None:
    return None if cost is None else cost / from_usd(1)
