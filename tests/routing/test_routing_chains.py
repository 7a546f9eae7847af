"""Chains: the models that a task names, and in which order."""

from __future__ import annotations

from typing import Any

import pytest
from decision_samples import candidate, decide

from pointsman.catalog import shipped_catalog
from pointsman.core import Nanos, from_usd
from pointsman.routing import TASKS, Chain, preset_chains, route


def test_a_chain_prefers_the_models_that_it_names() -> None:
    """Naming models for a task in the configuration would change nothing."""
    equals = [candidate(name) for name in ("a", "b", "c")]
    assert decide(equals, chains={"chat": Chain(paid=("c", "b"))}).plan == ("c", "b", "a")
    assert decide(equals, chains={"coding": Chain(paid=("c", "b"))}).plan == ("a", "b", "c")


CHAIN = Chain(local=("l",), free=("f",), paid=("p",))


@pytest.mark.parametrize(
    ("complexity", "max_cost", "order"),
    [
        ("simple", None, ("l", "f", "p")),
        ("moderate", None, ("p", "f", "l")),
        ("complex", None, ("p", "f", "l")),
        ("simple", from_usd(1), ("l", "f", "p")),
        ("complex", from_usd(1), ("p", "f", "l")),
        ("simple", Nanos(0), ("l", "f")),
        ("complex", Nanos(0), ("l", "f")),
    ],
)
def test_a_chain_is_ordered_by_complexity_and_budget(complexity: Any, max_cost: Any, order: tuple[str, ...]) -> None:
    """A budget of nothing would be spent, or hard tasks would go to the smallest model first."""
    assert route(CHAIN, complexity, max_cost) == order


def test_the_nine_tasks_of_orchestration_have_chains() -> None:
    """`route` would have nothing to say about a task that it promises."""
    assert set(preset_chains()) == set(TASKS[:9])
    for chain in preset_chains().values():
        assert chain.local
        assert chain.free
        assert chain.paid


def test_every_model_of_a_chain_is_one_that_candidates_are_named_by() -> None:
    """A name that no candidate ever bears would prefer nothing, and nobody would notice."""
    catalog = shipped_catalog()
    for task, chain in preset_chains().items():
        for name in (*chain.local, *chain.free, *chain.paid):
            assert name in catalog.models or name.startswith("ollama/"), f"{name} of {task}"
            assert catalog.find(name) is not None, f"{name} of {task}"
