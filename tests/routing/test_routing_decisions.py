"""Decisions: in which order those candidates stand that may serve."""

from __future__ import annotations

from typing import Any

import pytest
from decision_samples import HARD, PRIORITIES, SIMPLE, call, candidate, decide
from hypothesis import given
from hypothesis import strategies as some
from msgspec import structs

from pointsman.core import Call, Needs, Priority, from_usd
from pointsman.routing import TASKS, Candidate, Outcome, RouteState, Rubric, learn, quality_of

AMOUNTS = some.none() | some.integers(0, 10**11)
CANDIDATES = some.builds(
    Candidate,
    name=some.text("abcdef", min_size=1, max_size=6),
    deployment=some.sampled_from(["local", "free", "paid"]),
    context=some.none() | some.integers(1, 10**6),
    capabilities=some.none() | some.just(frozenset()),
    input_price=AMOUNTS,
    output_price=AMOUNTS,
    quality=some.none() | some.floats(0, 1),
    rubrics=some.dictionaries(some.sampled_from(TASKS), some.builds(Rubric, some.floats(0, 10), some.just(5.0))),
    ttft=some.none() | some.floats(0, 1000),
    output_rate=some.none() | some.floats(0.1, 10_000),
    unavailable=some.sampled_from(["", "", "has no key"]),
)
CALLS = some.builds(
    call,
    some.sampled_from([SIMPLE, HARD, ""]),
    needs=some.builds(
        Needs,
        max_cost=some.none() | some.integers(0, 10**9),
        max_latency=some.none() | some.floats(0, 100),
        min_quality=some.none() | some.floats(0, 1),
        local_only=some.booleans(),
        tier=some.sampled_from([None, None, "local", "free", "paid"]),
    ),
    max_tokens=some.none() | some.integers(1, 10_000),
    tools=some.booleans(),
)
MANY = some.lists(CANDIDATES, max_size=6, unique_by=lambda candidate: candidate.name)


@given(MANY, CALLS, some.sampled_from(PRIORITIES))
def test_a_decision_holds_every_candidate_in_the_order_of_its_plan(
    candidates: list[Candidate], asked: Call, priority: Priority
) -> None:
    """A rejected model would be called, or one would be missing in the explanation."""
    decision = decide(candidates, asked, priority=priority)
    assert {c.model for c in decision.candidates} == {c.name for c in candidates}
    left = [c for c in decision.candidates if not c.rejected]
    assert decision.plan == tuple(c.model for c in left)
    assert decision.candidates[: len(left)] == tuple(left)
    assert all((c.score is None) == bool(c.rejected) for c in decision.candidates)
    scores = [c.score for c in left if c.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert sum(c.probability for c in decision.candidates) == (1 if left else 0)
    assert decision.reason.endswith(".")


@given(MANY, CALLS, some.sampled_from(PRIORITIES))
def test_the_same_question_gets_the_same_decision(candidates: list[Candidate], asked: Call, priority: Priority) -> None:
    """A replay would decide otherwise than the router did."""
    assert decide(candidates, asked, priority=priority) == decide(candidates, asked, priority=priority)


@given(MANY, CALLS, some.sampled_from(PRIORITIES))
def test_the_order_in_which_candidates_are_given_changes_no_score(
    candidates: list[Candidate], asked: Call, priority: Priority
) -> None:
    """A model would be judged by its place in the catalogue."""
    there = {c.model: (c.score, c.rejected) for c in decide(candidates, asked, priority=priority).candidates}
    back = {c.model: (c.score, c.rejected) for c in decide(candidates[::-1], asked, priority=priority).candidates}
    assert there == back


@given(
    some.floats(0, 1),
    some.floats(0, 0.5),
    some.integers(0, 10**10),
    some.integers(0, 10**9),
    some.floats(0.01, 60),
    some.floats(0, 60),
    some.sampled_from(["local", "free", "paid"]),
    some.sampled_from([SIMPLE, HARD]),
    some.sampled_from(PRIORITIES),
)
def test_what_is_no_worse_in_anything_never_ranks_lower(
    quality: float,
    better: float,
    price: int,
    dearer: int,
    ttft: float,
    slower: float,
    deployment: Any,
    prompt: str,
    priority: Priority,
) -> None:
    """A model would be passed over for one that is worse, dearer and slower."""
    worse = candidate(
        "worse",
        deployment=deployment,
        quality=quality,
        input_price=price + dearer,
        output_price=price + dearer,
        ttft=ttft + slower,
    )
    good = candidate(
        "good",
        deployment=deployment,
        quality=min(1.0, quality + better),
        input_price=price,
        output_price=price,
        ttft=ttft,
    )
    scores = {c.model: c.score for c in decide([worse, good], call(prompt), priority=priority).candidates}
    assert scores["good"] is not None
    assert scores["worse"] is not None
    assert scores["good"] >= scores["worse"] - 1e-12


@given(some.integers(1, 10**11), some.integers(1, 10**11), some.sampled_from(PRIORITIES))
def test_of_two_equals_the_cheaper_comes_first(one: int, other: int, priority: Priority) -> None:
    """The user would pay more for the same."""
    prices = {"one": one, "other": other}
    decision = decide(
        [candidate(name, input_price=price, output_price=price) for name, price in prices.items()], priority=priority
    )
    expected = {c.model: c.expected_cost for c in decision.candidates}
    first, second = (expected[name] for name in decision.plan)
    assert first is not None
    assert second is not None
    assert first <= second


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize("prompt", [SIMPLE, HARD])
def test_equals_go_from_local_over_free_to_paid(priority: Priority, prompt: str) -> None:
    """Money would be spent, or a scarce free quota, where this machine could serve."""
    equals = [
        candidate("paid"),
        candidate("free", deployment="free", input_price=0, output_price=0),
        candidate("local", deployment="local", input_price=0, output_price=0),
    ]
    assert decide(equals, call(prompt), priority=priority).plan == ("local", "free", "paid")


def small_and_great() -> list[Candidate]:
    return [
        candidate("local", deployment="local", quality=0.4, input_price=0, output_price=0, ttft=1.0),
        candidate("small", quality=0.6, input_price=from_usd("0.1"), output_price=from_usd("0.4")),
        candidate("great", quality=1.0, input_price=from_usd(5), output_price=from_usd(25), ttft=2.0),
    ]


def test_the_priorities_order_the_same_candidates_sensibly() -> None:
    """'Frugal' would be dear, or 'performance' would be poor."""
    first = {
        (priority, prompt): decide(small_and_great(), call(prompt), priority=priority).chosen
        for priority in PRIORITIES
        for prompt in (SIMPLE, HARD)
    }
    assert first[("frugal", SIMPLE)] == "local"
    assert first[("frugal", HARD)] != "local"
    assert first[("performance", SIMPLE)] == first[("performance", HARD)] == "great"
    chosen = [first[(priority, HARD)] for priority in ("frugal", "balanced", "performance")]
    order = ["local", "small", "great"]
    assert [order.index(name) for name in chosen] == sorted(order.index(name) for name in chosen)


def test_a_higher_quality_that_is_asked_for_moves_the_choice_up() -> None:
    """`--quality` would change nothing."""
    low = decide(small_and_great(), call(needs=Needs(min_quality=0.1))).chosen
    high = decide(small_and_great(), call(needs=Needs(min_quality=0.95))).chosen
    assert (low, high) == ("local", "great")


def test_frugal_pays_where_nothing_cheaper_is_good_enough() -> None:
    """The cheapest that is good enough would be the cheapest."""
    free = candidate("free", deployment="free", quality=0.6)
    good = candidate("good", quality=0.8, input_price=from_usd(2), output_price=from_usd(10))
    assert decide([free, good], call(HARD)).chosen == "good"
    assert decide([free, good], call(SIMPLE)).chosen == "free"
    nearest = decide([free, candidate("worse", quality=0.4)], call(HARD))
    assert nearest.chosen == "free" and "0.60 of the quality 0.70, which no candidate reaches" in nearest.reason
    dear = structs.replace(good, input_price=from_usd(20_000), output_price=from_usd(90_000))
    assert "and good, which reaches it, costs too much more" in decide([free, dear], call(HARD)).reason


def test_creative_and_analytical_judge_by_their_own_tasks() -> None:
    """The words would be names without a meaning."""
    poet = candidate("poet", rubrics={"writing": Rubric(9, 5), "analysis": Rubric(3, 5)})
    analyst = candidate("analyst", rubrics={"writing": Rubric(3, 5), "analysis": Rubric(9, 5)})
    assert decide([poet, analyst], priority="creative").chosen == "poet"
    assert decide([poet, analyst], priority="analytical").chosen == "analyst"


def test_an_unknown_price_is_never_taken_for_nothing() -> None:
    """The dearest model would look like the cheapest, because nobody knows its price."""
    unknown = candidate("unknown", input_price=None, output_price=None)
    decision = decide([unknown, candidate("known")])
    assert decision.plan == ("known", "unknown")
    assert {c.model: c.expected_cost for c in decision.candidates}["unknown"] is None


def test_a_rubric_of_the_task_wins_over_the_profile() -> None:
    """A model that is good at code and poor elsewhere would never get code."""
    known = candidate("a", quality=0.2, rubrics={"coding": Rubric(9, 5)})
    assert (quality_of(known, "coding"), quality_of(known, "chat")) == (0.9, 0.2)
    assert quality_of(candidate("b", quality=None), "chat") == 0.5


def test_models_that_fail_often_are_worth_less() -> None:
    """A model that times out every third call would be the first choice of every one of them."""
    candidates = [candidate("a", quality=0.62), candidate("b", quality=0.6)]
    state = learn(RouteState(), [Outcome("a", number % 3 > 0, 1.0) for number in range(60)])
    assert decide(candidates, priority="performance").chosen == "a"
    assert decide(candidates, priority="performance", state=state).chosen == "b"


def test_a_free_tier_that_runs_out_is_kept_for_later() -> None:
    """What is left of the day would be gone on calls that another model serves as well."""
    fresh, used = (candidate(name, deployment="free", quota_left=left) for name, left in (("a", 0.9), ("b", 0.1)))
    assert decide([used, fresh]).chosen == "a"
