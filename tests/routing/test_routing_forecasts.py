"""Decisions beside a learned router: what it knows, what it never saw, and what it doubts."""

from __future__ import annotations

import pytest
from decision_samples import call, candidate, decide
from msgspec import structs

from pointsman.core import from_usd
from pointsman.routing import Considered, Conversation, Estimate, Forecast, read_prompt
from pointsman.routing.expectations import log_odds


def known_by_a_router(**qualities: float) -> Forecast:
    """A router that expects so much of each model where 0.6 is usual: `demand` says the same for all others."""
    harder = sum(log_odds(0.6) - log_odds(value) for value in qualities.values()) / len(qualities)
    return Forecast(
        quality={model: Estimate(value, 0.02, "learned") for model, value in qualities.items()},
        usual=dict.fromkeys(qualities, 0.6),
        best_single=next(iter(qualities)),
        demand=Estimate(harder),
    )


def test_a_learned_forecast_counts_more_than_a_profile() -> None:
    """What was measured on a user's own prompts would give way to what a table says."""
    candidates = [candidate("a", quality=0.9), candidate("b", quality=0.3)]
    assert decide(candidates, priority="performance", forecast=known_by_a_router(a=0.4, b=0.7)).chosen == "b"


def test_what_the_router_never_saw_is_judged_by_its_ability_and_the_prompt_s_demand() -> None:
    """A new model could not be weighed against known ones: its profile says 0.8 where others, as good, have 0.6."""
    candidates = [candidate("a", quality=0.8), candidate("new", quality=0.8)]
    for expected in (0.9, 0.6, 0.2):
        decision = decide(candidates, priority="performance", forecast=known_by_a_router(a=expected))
        told = {one.model: one.quality.value for one in decision.candidates if one.quality}
        assert told["new"] == pytest.approx(told["a"])
    better = [candidate("a", quality=0.8), candidate("new", quality=0.9)]
    assert decide(better, priority="performance", forecast=known_by_a_router(a=0.6)).chosen == "new"


def test_a_doubtful_lead_does_not_beat_the_best_single_model() -> None:
    """On prompts unlike any that it knows the router would do harm."""
    candidates = [candidate("a"), candidate("b")]
    forecast = known_by_a_router(a=0.6, b=0.65)
    assert decide(candidates, priority="performance", forecast=forecast).chosen == "b"
    doubtful = structs.replace(forecast, quality={**forecast.quality, "b": Estimate(0.65, 0.2, "learned")})
    decision = decide(candidates, priority="performance", forecast=doubtful)
    assert decision.chosen == "a"
    assert {one.model: one.terms.get("doubt") for one in decision.candidates} == {"a": None, "b": -0.2}


def test_beside_a_router_doubt_counts_for_models_that_it_does_not_know() -> None:
    """Whoever is known least would pay nothing for it, and win."""
    known, unknown = candidate("known"), candidate("unknown")
    forecast = Forecast(quality={"known": Estimate(0.6, 0.02, "learned")}, usual={"known": 0.6}, best_single="known")
    decision = decide([unknown, known], priority="performance", forecast=forecast)
    assert decision.chosen == "known"
    assert {c.model: "doubt" in c.terms for c in decision.candidates} == {"known": False, "unknown": True}


def test_what_a_router_expects_to_pay_says_how_long_the_answer_takes() -> None:
    """Latency would be the same for a greeting and for an essay."""
    one = candidate("a", cached_price=0)
    prompt = read_prompt(call().chat)

    def expected(usd: float, max_tokens: int | None = None, held: Conversation | None = None) -> Considered:
        forecast = Forecast(cost={"a": Estimate(usd * from_usd(1), 0.0, "learned")})
        return decide([one], call(max_tokens=max_tokens), forecast=forecast, conversation=held).candidates[0]

    asking = prompt.input_tokens / 1e6
    assert expected(asking + 0.001).expected_seconds == pytest.approx(0.5 + 1_000 / 100)
    assert expected(asking + 0.0001).expected_seconds == pytest.approx(0.5 + 100 / 100)
    assert expected(asking + 0.001, max_tokens=200).expected_seconds == pytest.approx(0.5 + 200 / 100)
    assert expected(0.0).expected_seconds == pytest.approx(0.5 + 1 / 100)
    cached = Conversation("a", cached_tokens=prompt.input_tokens)
    assert expected(asking + 0.001, held=cached).expected_cost == from_usd("0.001")
    unpriced = structs.replace(one, input_price=None)
    decision = decide([unpriced], forecast=Forecast(cost={"a": Estimate(7.0, 0.0, "learned")}))
    assert decision.candidates[0].expected_cost == 7
