"""Hard needs: what is filtered, with which reason, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from decision_samples import PRIORITIES, call, candidate, decide

from pointsman.core import Call, Image, Nanos, Needs, from_usd


@pytest.mark.parametrize(
    ("known", "asked", "reason"),
    [
        ({"unavailable": "has no key: set X"}, call(), "has no key: set X"),
        ({}, call(needs=Needs(local_only=True)), "is paid, and the call must stay on this machine"),
        ({"deployment": "free"}, call(needs=Needs(local_only=True)), "is free, and the call must stay"),
        ({}, call(needs=Needs(tier="free")), "is paid, and the call asks for free"),
        ({"capabilities": frozenset()}, call(tools=True), "cannot take tools"),
        ({"capabilities": frozenset()}, call("x", Image(url="u"), tools=True), "cannot take image or tools"),
        ({"context": 1_000}, call("word " * 1_000), "has a context of 1,000 tokens, the call needs about"),
        ({"context": 1_000}, call(max_tokens=1_000), "has a context of 1,000 tokens, the call needs about"),
        ({}, call(max_tokens=4_001), "writes at most 4,000 tokens, 4,001 are asked for"),
        ({}, call(needs=Needs(max_latency=1)), "takes about 4.5 s, the limit is 1 s"),
        ({}, call(needs=Needs(max_cost=Nanos(1_000))), "may cost $0.00041, the budget is $0.0000010"),
        ({}, call(needs=Needs(max_cost=Nanos(405_999))), "may cost $0.000406, the budget is $0.00041"),
        ({"input_price": None}, call(needs=Needs(max_cost=from_usd(1))), "has no known price, so the budget could not"),
        ({"output_price": None}, call(needs=Needs(max_cost=from_usd(1))), "has no known price, so the budget could"),
    ],
)
def test_each_need_filters_with_its_reason(known: dict[str, Any], asked: Call, reason: str) -> None:
    """The user would not learn why a model was passed over, or a need would not be kept."""
    decision = decide([candidate("a", **known)], asked)
    assert decision.plan == ()
    assert decision.reasons["a"].startswith(reason)


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ({"capabilities": None}, call("x", Image(url="u"), tools=True)),
        ({"context": None}, call("word " * 100_000)),
        ({"max_output": None}, call(max_tokens=7_000)),
        ({"ttft": None}, call(needs=Needs(max_latency=1))),
        ({"input_price": None, "output_price": None}, call()),
        ({"quality": None}, call()),
    ],
)
def test_what_nobody_knows_does_not_filter(known: dict[str, Any], asked: Call) -> None:
    """A model that a user has just named would never be used."""
    assert decide([candidate("a", **known)], asked).plan == ("a",)


def test_an_unknown_speed_is_taken_only_where_no_known_one_will_do() -> None:
    """A limit of time would be kept least by whoever was never measured."""
    known, unknown = candidate("known"), candidate("unknown", ttft=None, quality=0.9)
    in_time, too_soon = call(needs=Needs(max_latency=10)), call(needs=Needs(max_latency=0.1))
    decision = decide([known, unknown], in_time, priority="performance")
    assert decision.plan == ("known",)
    assert decision.reasons["unknown"] == "has no known speed, and others are known to keep the limit of 10 s"
    assert decide([known, unknown], too_soon, priority="performance").plan == ("unknown",)


def test_a_free_candidate_keeps_a_budget_of_nothing() -> None:
    """A user without money could not use what costs none."""
    free = candidate("a", deployment="free", input_price=0, output_price=0)
    assert decide([free, candidate("b")], call(needs=Needs(max_cost=Nanos(0)))).plan == ("a",)


def test_a_budget_is_held_against_the_longest_answer_that_is_allowed() -> None:
    """A long answer would cost more than the budget."""
    asked = call(max_tokens=4_000, needs=Needs(max_cost=from_usd("0.002")))
    assert decide([candidate("a")], asked).reasons["a"].startswith("may cost $0.0040")


def test_nonsense_in_max_tokens_does_not_crash_a_decision() -> None:
    """A negative number in a library call would end in a fault of ours."""
    for nonsense in (-1, -(10**12), 0):
        for priority in PRIORITIES:
            decision = decide([candidate("a"), candidate("b")], call(max_tokens=nonsense), priority=priority)
            assert len(decision.plan) == 2


def test_nothing_to_choose_from_is_said() -> None:
    """The user would see an empty plan without a word."""
    decision = decide([])
    assert (decision.plan, decision.probability) == ((), 0.0)
    assert "no model to choose from" in decision.reason
    assert "The one candidate may not serve" in decide([candidate("a", unavailable="is gone")]).reason
