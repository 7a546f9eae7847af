"""Which calls are put to several models at once, and to which."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from decision_samples import HARD, call, candidate
from hypothesis import given
from hypothesis import strategies as some

from pointsman.core import Call, Message, Needs, Priority, Text, ToolResult, ToolUse, from_usd
from pointsman.routing import (
    Candidate,
    Conversation,
    Decision,
    Objective,
    RouteState,
    Together,
    preset_bounds,
    read_prompt,
)

FIVE = [candidate(name, quality) for name, quality in (("e", 0.5), ("b", 0.8), ("a", 0.9), ("d", 0.6), ("c", 0.7))]


def decided(
    candidates: list[Candidate],
    asked: Call | None = None,
    priority: Priority = "balanced",
    conversation: Conversation | None = None,
    **needs: Any,
) -> Decision:
    asked = asked or call(needs=Needs(**needs))
    policy = Objective(priority, bounds=preset_bounds())
    prompt = read_prompt(asked.chat)
    return policy(asked, prompt, candidates, RouteState(), Random(1), conversation=conversation)


def test_a_quality_above_95_is_put_to_the_three_strongest() -> None:
    """The rule would stand in the documentation alone."""
    decision = decided(FIVE, min_quality=0.96)
    assert decision.together == Together("consensus", ("a", "b", "c"), 3)
    assert decision.plan[:3] == ("a", "b", "c") and decision.probability == 1
    assert "a, b and c are asked at once, and what 2 of them say is the answer; else a answers." in decision.reason
    assert decided(FIVE, min_quality=0.95).together is None


def test_a_tenth_of_a_second_is_a_race_of_the_fast_one() -> None:
    """Five different models would be as slow to be billed as to be fast: the rule is five of one."""
    fast = [
        candidate(name, 0.9 - ttft, ttft=ttft, output_rate=10_000.0) for name, ttft in (("one", 0.02), ("two", 0.01))
    ]
    decision = decided(fast, max_latency=0.09)
    assert decision.together == Together("race", ("two",) * 5, 5) and decision.chosen == "two"
    assert "5 calls of two, the fastest as far as it is known, race" in decision.reason
    assert decided(fast, max_latency=0.1).together is None


@pytest.mark.parametrize(
    ("deployment", "why"), [("local", "share this machine's processor"), ("free", "its free limit")]
)
def test_what_costs_nothing_runs_no_race(deployment: str, why: str) -> None:
    """Five calls would share one processor, and take five times as long; or a day of free calls would last an hour."""
    fast = candidate("fast", 0.5, deployment=deployment, ttft=0.01, output_rate=10_000.0)
    decision = decided([fast], max_latency=0.09)
    assert decision.together is None and why in decision.reason


def test_of_equals_the_dearer_has_the_last_word() -> None:
    """The cheapest of three would speak for all where they differ, for being the cheapest."""
    equals = [candidate(name, 0.9, output_price=from_usd(price)) for name, price in (("a", 1), ("b", 3), ("c", 2))]
    together = decided(equals, min_quality=0.96).together
    assert together is not None and together.models == ("b", "c", "a")


def test_an_analysis_is_put_to_two_and_to_a_third_where_they_differ() -> None:
    """Claude and DeepSeek are named for it; a stronger one breaks their tie."""
    named = [candidate("claude-3-5-sonnet", 0.6), candidate("deepseek-chat-v3", 0.65)]
    decision = decided([*FIVE, *named], priority="analytical")
    assert decision.together == Together("consensus", ("deepseek-chat-v3", "claude-3-5-sonnet", "a"), 2)
    assert "where they differ a is asked, too" in decision.reason
    two = decided(named, priority="analytical")
    assert two.together == Together("consensus", ("deepseek-chat-v3", "claude-3-5-sonnet"), 2)
    assert decided(FIVE, priority="creative").together is None


def test_other_modes_ask_one() -> None:
    """Who asks `auto` for quality would pay three times without a word."""
    asked = call(needs=Needs(min_quality=0.99))
    decision = Objective("balanced")(asked, read_prompt(asked.chat), FIVE, RouteState(), Random(1))
    assert decision.together is None


def test_a_consensus_needs_another_opinion() -> None:
    """One model would be asked, read to its end, and called agreed with itself."""
    decision = decided(FIVE[:1], min_quality=0.99)
    assert decision.together is None and decision.plan == ("e",) and "no other one may serve" in decision.reason
    assert decided([], min_quality=0.99).plan == ()


def test_however_many_are_asked_the_budget_holds() -> None:
    """Each keeps the limit, and all of them together break it."""
    priced = [candidate(name, 0.9, input_price=0, output_price=from_usd(1)) for name in ("a", "b", "c")]
    worst = from_usd("0.0001")  # 100 tokens at a dollar a million
    for room, models in ((3, 3), (2, 2)):
        asked = call(needs=Needs(min_quality=0.99, max_cost=worst * room), max_tokens=100)
        together = decided(priced, asked).together
        assert together is not None and len(together.models) == models
    alone = decided(priced, call(needs=Needs(min_quality=0.99, max_cost=worst), max_tokens=100))
    assert alone.together is None and "the budget has no room" in alone.reason


def test_the_result_of_a_tool_goes_to_the_one_who_called_it() -> None:
    """Two others would be handed the result of a call that they never made."""
    asked = call(HARD, needs=Needs(min_quality=0.99))
    use = Message("assistant", (ToolUse("1", "f", "{}"),))
    result = Message("tool", (ToolResult("1", (Text("12"),)),))
    chat = asked.chat.__class__((*asked.chat.messages, use, result))
    in_loop = Call(id="1", model="bounds", chat=chat, needs=asked.needs)
    decision = decided(FIVE, in_loop, conversation=Conversation("d", is_pinned=True))
    assert decision.together is None and decision.chosen == "d"


@given(
    some.lists(
        some.builds(candidate, some.sampled_from("abcdef"), some.none() | some.floats(0, 1)),
        max_size=6,
        unique_by=lambda one: one.name,
    ),
    some.floats(0, 0.2),
    some.floats(0.9, 1),
    some.none() | some.integers(0, 10**7),
    some.sampled_from(["balanced", "analytical", "creative"]),
)
def test_what_is_asked_at_once_is_in_the_plan(
    candidates: list[Candidate], latency: float, quality: float, cost: int | None, priority: Priority
) -> None:
    """A model that was ruled out would be asked by another door."""
    decision = decided(candidates, priority=priority, max_latency=latency, min_quality=quality, max_cost=cost)
    if decision.together is not None:
        assert set(decision.together.models) <= set(decision.plan)
        assert decision.together.models[0] == decision.chosen
        assert 2 <= decision.together.first <= len(decision.together.models)
    serving = [one.probability for one in decision.candidates if not one.rejected]
    assert not serving or sum(serving) == pytest.approx(1)
