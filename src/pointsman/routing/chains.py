"""Chains local → free → paid: for a task, the models that are named to serve it in each tier."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from ..core import Nanos
from .complexity import Complexity


class Chain(Struct, frozen=True, forbid_unknown_fields=True):
    """Model names in each tier, the preferred first."""

    local: tuple[str, ...] = ()
    """Models of this machine."""
    free: tuple[str, ...] = ()
    """Models of free tiers."""
    paid: tuple[str, ...] = ()
    """Models of paid APIs."""

    @property
    def tiers(self) -> tuple[tuple[str, ...], ...]:
        return self.local, self.free, self.paid


@cache
def preset_chains() -> Mapping[str, Chain]:
    """The chains that ship with the package (`chains.toml`), by task type."""
    text = resources.files(__package__).joinpath("chains.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Chain])


def route(chain: Chain, complexity: Complexity, max_cost: Nanos | None) -> tuple[str, ...]:
    """The models of a chain in the order in which they should be tried.

    With a budget of nothing nothing is paid; simple tasks go local, then free, then paid; the rest pays first.
    """
    if max_cost == 0:
        return chain.local + chain.free
    if complexity == "simple":
        return chain.local + chain.free + chain.paid
    return chain.paid + chain.free + chain.local


def preferred(
    chains: Mapping[str, Chain], task: str, complexity: Complexity, max_cost: Nanos | None
) -> tuple[str, ...]:
    """The chain of a task in its order; () where no chain is named for it."""
    chain = chains.get(task)
    return route(chain, complexity, max_cost) if chain is not None else ()
