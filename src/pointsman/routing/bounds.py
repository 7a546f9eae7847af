"""A ready set of rules: which model a limit on cost or latency names, and what is asked of several at once. The mode
`bounds` chooses by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Literal

import msgspec
from msgspec import Struct

from ..core import Nanos, Needs, Priority, from_usd
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


class Several(Struct, frozen=True, forbid_unknown_fields=True):
    """Calls for which several are asked at once: those that all of its bounds fit."""

    way: Literal["race", "consensus"]
    count: int
    """How many: of a race calls of one model, of a consensus models."""
    most: int = 0
    """With those that are asked after them where they do not agree."""
    latency_below: float | None = None
    """Seconds."""
    quality_above: float | None = None
    """0 to 1."""
    priority: Priority | None = None
    models: tuple[str, ...] = ()
    """Those that are asked before the strongest of all others."""

    def fits(self, needs: Needs, priority: Priority) -> bool:
        """`priority`: that the call is decided by, whoever stated it."""
        fast, good = self.latency_below, self.quality_above
        return (
            (fast is None or (needs.max_latency is not None and needs.max_latency < fast))
            and (good is None or (needs.min_quality is not None and needs.min_quality > good))
            and (self.priority is None or self.priority == priority)
        )


class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    """Rules by cost and by latency, and for several at once; of each the first that fits holds."""

    cost: tuple[Rule, ...]
    latency: tuple[Rule, ...]
    several: tuple[Several, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Every name that there is in them, once."""
        rules = (*self.cost, *self.latency)
        named = [name for rule in rules for name in (*rule.simple, *rule.complex, *rule.other)]
        return tuple(dict.fromkeys((*named, *(name for rule in self.several for name in rule.models))))


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
