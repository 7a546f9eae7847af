"""Which of the scored candidates is taken: conversations that stay, and what is tried out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from decision_samples import HARD, call, candidate, decide
from msgspec import structs

from pointsman.core import Nanos, Needs, from_usd
from pointsman.routing import Candidate, Conversation, Decision, Exploration, Forecast, Grade, RouteState, learn

CONTEXT = (1.0, 0.0, 0.0)
LEARNED = learn(RouteState(), [Grade("a", CONTEXT, score, 0.6) for score in (1.0, 0.0, 1.0, 1.0, 0.0)])
"""A state in which a little is known of one model."""


def choose(candidates: list[Candidate], *, needs: Needs | None = None, **given: Any) -> Decision:
    forecast = Forecast(context=CONTEXT)
    return decide(
        candidates, call(needs=needs), priority="performance", forecast=forecast, **({"state": LEARNED} | given)
    )


def test_without_a_grade_nothing_is_tried_out() -> None:
    """Callers would get worse answers for a learner that has nothing to learn from."""
    decisions = [choose([candidate("a", 0.61), candidate("b")], state=RouteState(), seed=seed) for seed in range(50)]
    assert {decision.chosen for decision in decisions} == {"a"}
    assert {decision.probability for decision in decisions} == {1.0}


def test_without_exploration_the_best_is_always_taken() -> None:
    """Whoever wants the same choice every time could not have it."""
    decisions = [choose([candidate("a"), candidate("b", 0.59)], exploration=None, seed=seed) for seed in range(50)]
    assert {(decision.chosen, decision.probability) for decision in decisions} == {("a", 1.0)}


def test_the_probability_that_is_told_is_that_with_which_it_happens() -> None:
    """Every estimate of what another policy would have done divides by this number."""
    candidates = [candidate("a", 0.6), candidate("b", 0.58), candidate("c", 0.5)]
    chosen = Counter(choose(candidates, seed=seed).chosen for seed in range(3_000))
    told = {one.model: one.probability for one in choose(candidates).candidates}
    assert sum(told.values()) == pytest.approx(1)
    for model, probability in told.items():
        assert chosen[model] / 3_000 == pytest.approx(probability, abs=0.03)


def test_what_may_be_as_good_gets_at_least_its_share_of_the_floor() -> None:
    """A model that began badly would never be asked again, and nobody would hear that it became better."""
    exploration = Exploration(floor=0.1, spread=0.0)
    decision = choose([candidate("a", 0.6), candidate("b", 0.55)], exploration=exploration)
    assert {one.model: one.probability for one in decision.candidates} == pytest.approx({"a": 0.95, "b": 0.05})


def test_what_is_clearly_worse_is_not_tried() -> None:
    """Exploring would cost quality that nobody has agreed to."""
    decision = choose([candidate("a", 0.9), candidate("b", 0.2)], exploration=Exploration(floor=0.2))
    assert {one.model: one.probability for one in decision.candidates} == {"a": 1.0, "b": 0.0}


def test_nothing_is_tried_below_the_quality_that_was_asked_for() -> None:
    """A caller's floor would hold only on average."""
    candidates = [candidate("a", 0.95), candidate("b", 0.9), candidate("c", 0.55)]
    exploration = Exploration(floor=0.5, margin=0.9)
    decision = choose(candidates, needs=Needs(min_quality=0.9), exploration=exploration)
    assert {one.model for one in decision.candidates if one.probability} == {"a", "b"}


def test_nothing_is_tried_where_none_reaches_the_quality_that_was_asked_for() -> None:
    """Who asked for more than there is would get something else than the best of it, to learn from. Where nobody asked,
    what is no worse than the best may be tried, or a hard prompt would teach nothing."""
    candidates = [candidate("a", 0.6), candidate("b", 0.6), candidate("c", 0.55)]
    exploration = Exploration(floor=0.5, margin=0.9)
    asked = choose(candidates, needs=Needs(min_quality=0.9), exploration=exploration)
    assert {one.model: one.probability for one in asked.candidates} == {"a": 1.0, "b": 0.0, "c": 0.0}
    hard = decide(
        candidates,
        call(HARD),
        forecast=Forecast(context=CONTEXT),
        state=RouteState(evidence=LEARNED.evidence, beliefs=LEARNED.beliefs),
        exploration=exploration,
    )
    assert hard.complexity == "complex" and {one.model for one in hard.candidates if one.probability} >= {"a", "b"}


def test_private_calls_are_never_tried_on() -> None:
    """What must stay on this machine is not for experiments either."""
    local = [candidate("a", 0.6, deployment="local"), candidate("b", 0.6, deployment="local")]
    exploration = Exploration(floor=0.5)
    assert choose(local, exploration=exploration).probability < 1
    assert choose(local, needs=Needs(local_only=True), exploration=exploration).probability == 1


def test_once_exploring_has_cost_its_share_nothing_dearer_is_tried() -> None:
    """A bandit would run up a bill."""
    dear = candidate("b", 0.6, output_price=from_usd(3))
    exploration = Exploration(floor=0.2)
    within = structs.replace(LEARNED, spent=Nanos(1_000), explored=Nanos(99))
    beyond = structs.replace(LEARNED, spent=Nanos(1_000), explored=Nanos(101))
    assert choose([candidate("a"), dear], state=within, exploration=exploration).probability < 1
    assert choose([candidate("a"), dear], state=beyond, exploration=exploration).probability == 1


def test_a_choice_that_was_drawn_says_so() -> None:
    """Whoever asks why a model was chosen would be told that it has the best score."""
    decisions = [choose([candidate("a"), candidate("b", 0.58)], seed=seed) for seed in range(200)]
    drawn = next(decision for decision in decisions if decision.explored)
    assert drawn.chosen == "b" and ": a has the best" in drawn.reason and "b was drawn all the same" in drawn.reason
    assert drawn.plan == ("b", "a")


def test_a_conversation_keeps_its_model() -> None:
    """The voice would change between two turns, and what the provider has in its cache would be paid for again."""
    candidates = [candidate("a", 0.63), candidate("b", 0.6)]
    assert choose(candidates, state=RouteState()).chosen == "a"
    stays = choose(candidates, conversation=Conversation("b"))
    assert (stays.chosen, stays.probability, stays.explored) == ("b", 1.0, False)
    assert "b stays: a is ahead by less than changing the model of a conversation costs" in stays.reason


def test_a_conversation_moves_when_another_model_is_clearly_better() -> None:
    """A conversation that began with small talk could never go to a model that can do the work."""
    assert choose([candidate("a", 0.9), candidate("b", 0.4)], conversation=Conversation("b")).chosen == "a"


def test_a_conversation_whose_model_may_not_serve_goes_on_with_another() -> None:
    """It would end when its model has an outage."""
    gone = candidate("b", unavailable="has failed")
    assert choose([candidate("a"), gone], conversation=Conversation("b", is_pinned=True)).chosen == "a"


def test_a_tool_s_result_goes_back_to_the_model_that_called_it() -> None:
    """The result would reach a model that knows nothing of the call."""
    candidates = [candidate("a", 1.0), candidate("b", 0.1)]
    decision = choose(candidates, conversation=Conversation("b", is_pinned=True))
    assert decision.chosen == "b" and decision.probability == 1
    assert "b awaits the result of a tool that it called" in decision.reason


def test_what_a_model_has_in_its_cache_makes_it_cheaper() -> None:
    """A switch would be weighed without what it costs to read everything again."""
    one = candidate("a", context=None, input_price=from_usd(10), cached_price=from_usd(1))
    long = call("words " * 8_000)
    fresh, cached = (
        decide([one], long, priority="balanced", conversation=conversation).candidates[0].expected_cost
        for conversation in (None, Conversation("a", cached_tokens=10_000))
    )
    assert fresh is not None and cached is not None
    assert fresh - cached == pytest.approx(10_000 * 9 * from_usd(1) / 1_000_000, rel=0.01)
