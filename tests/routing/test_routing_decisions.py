"""Decisions: what is filtered and why, in which order the rest stands, and what is learnt from outcomes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import structs

from pointsman.catalog import shipped_catalog
from pointsman.core import Call, Chat, Image, Message, Nanos, Needs, Part, Priority, Text, Tool, from_usd
from pointsman.routing import (
    TASKS,
    Candidate,
    Chain,
    Considered,
    Conversation,
    Decision,
    Estimate,
    Forecast,
    Objective,
    Outcome,
    RouteState,
    Rubric,
    learn,
    preset_chains,
    quality_of,
    read_prompt,
    route,
)
from pointsman.routing.expectations import log_odds

PRIORITIES: tuple[Priority, ...] = ("performance", "balanced", "frugal")
SIMPLE = "Hello!"
HARD = "Prove this theorem step by step, analyze the edge cases, and compare it with the algorithm in depth."


def call(
    prompt: str = SIMPLE, *parts: Part, needs: Needs | None = None, max_tokens: int | None = None, tools: bool = False
) -> Call:
    chat = Chat((Message("user", (Text(prompt), *parts)),), max_tokens=max_tokens, tools=(Tool("f"),) if tools else ())
    return Call(id="1", model="auto", chat=chat, needs=needs or Needs())


def candidate(name: str, **known: Any) -> Candidate:
    """One at a dollar per million tokens of which all is known, but for what `known` changes."""
    plain: dict[str, Any] = {
        "deployment": "paid",
        "context": 8_000,
        "max_output": 4_000,
        "capabilities": frozenset({"tools", "json", "image"}),
        "input_price": from_usd(1),
        "output_price": from_usd(1),
        "quality": 0.6,
        "ttft": 0.5,
        "output_rate": 100.0,
    }
    return Candidate(name=name, **(plain | known))


def decide(
    candidates: list[Candidate],
    asked: Call | None = None,
    *,
    priority: Priority = "frugal",
    state: RouteState | None = None,
    chains: dict[str, Chain] | None = None,
) -> Decision:
    asked = asked or call()
    policy = Objective(priority, chains or {})
    return policy(asked, read_prompt(asked.chat), candidates, state or RouteState(), Random(0))


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


OUTCOMES = some.lists(
    some.builds(
        Outcome,
        model=some.sampled_from(["a", "b"]),
        ok=some.booleans(),
        seconds=some.integers(0, 1000).map(float),
        ttft=some.none() | some.integers(0, 100).map(float),
        output_tokens=some.integers(0, 1000),
    ),
    max_size=12,
)


@given(OUTCOMES, some.randoms(use_true_random=False), some.integers(0, 12))
def test_what_is_learnt_is_a_sum(outcomes: list[Outcome], dice: Any, cut: int) -> None:
    """What two workers have learnt could not be put together."""
    shuffled = outcomes.copy()
    dice.shuffle(shuffled)
    at_once = learn(RouteState(), outcomes)
    assert learn(RouteState(), shuffled).seen == at_once.seen
    assert learn(learn(RouteState(), outcomes[:cut]), outcomes[cut:]).seen == at_once.seen
    assert sum(seen.calls for seen in at_once.seen.values()) == len(outcomes)
    assert sum(seen.failed for seen in at_once.seen.values()) == sum(not outcome.ok for outcome in outcomes)


def test_learning_gives_a_new_version_and_leaves_the_old_one() -> None:
    """A decision could not be replayed with the state that it was made with."""
    before = RouteState()
    after = learn(before, [Outcome("a", True, 1.0)])
    assert (before.version, dict(before.seen), after.version) == (0, {}, 1)
    assert decide([candidate("a")], state=after).state_version == 1


def test_measured_speed_replaces_what_was_stated_after_a_few_calls() -> None:
    """A model that is slow here would be chosen for its maker's figures for ever."""
    fast, slow = candidate("fast"), candidate("slow", ttft=0.6)
    state = learn(RouteState(), [Outcome("fast", True, 60.0, 50.0, 100)] * 2)
    assert decide([fast, slow], state=state).chosen == "fast"
    state = learn(state, [Outcome("fast", True, 60.0, 50.0, 100)])
    decision = decide([fast, slow], state=state)
    assert decision.chosen == "slow"
    tokens = (400 * 10 + 100 * 3) / 13
    assert {c.model: c.expected_seconds for c in decision.candidates}["fast"] == pytest.approx(50 + tokens / 10)


def test_a_model_that_writes_more_is_expected_to_cost_and_take_more() -> None:
    """A model that thinks for thousands of tokens would pass for as cheap as its price for a token."""
    brief, verbose = candidate("brief"), candidate("verbose")
    outcomes = [Outcome(name, True, 1.0 + n / 100, 1.0, n) for name, n in (("brief", 50), ("verbose", 4_000))] * 50
    state = learn(RouteState(), outcomes)
    terse, wordy = decide([verbose, brief], state=state).candidates
    assert (terse.model, wordy.model) == ("brief", "verbose")
    assert (wordy.expected_seconds or 0) > 10 * (terse.expected_seconds or 0)
    assert (wordy.expected_cost or 0) > 10 * (terse.expected_cost or 0)
    capped = decide([verbose, brief], call(max_tokens=20), state=state)
    assert len({c.expected_cost for c in capped.candidates}) == 1
    poor = call(needs=Needs(max_cost=from_usd("0.003")))
    assert "may cost" in decide([verbose], poor, state=state).reasons["verbose"]


def test_what_a_router_expects_to_pay_says_how_long_the_answer_takes() -> None:
    """Latency would be the same for a greeting and for an essay."""
    one = candidate("a", cached_price=0)
    asked = call()
    prompt = read_prompt(asked.chat)

    def expected(usd: float, max_tokens: int | None = None, held: Conversation | None = None) -> Considered:
        forecast = Forecast(cost={"a": Estimate(usd * from_usd(1), 0.0, "learned")})
        limited = call(max_tokens=max_tokens)
        policy = Objective("balanced")
        return policy(limited, prompt, [one], RouteState(), Random(0), forecast=forecast, conversation=held).candidates[
            0
        ]

    asking = prompt.input_tokens / 1e6
    assert expected(asking + 0.001).expected_seconds == pytest.approx(0.5 + 1_000 / 100)
    assert expected(asking + 0.0001).expected_seconds == pytest.approx(0.5 + 100 / 100)
    assert expected(asking + 0.001, max_tokens=200).expected_seconds == pytest.approx(0.5 + 200 / 100)
    assert expected(0.0).expected_seconds == pytest.approx(0.5 + 1 / 100)
    cached = Conversation("a", cached_tokens=prompt.input_tokens)
    assert expected(asking + 0.001, held=cached).expected_cost == from_usd("0.001")
    unknown = structs.replace(one, input_price=None)
    forecast = Forecast(cost={"a": Estimate(7.0, 0.0, "learned")})
    decided = Objective("balanced")(asked, prompt, [unknown], RouteState(), Random(0), forecast=forecast)
    assert decided.candidates[0].expected_cost == 7


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


def test_an_unknown_speed_is_taken_only_where_no_known_one_will_do() -> None:
    """A limit of time would be kept least by whoever was never measured."""
    known, unknown = candidate("known"), candidate("unknown", ttft=None, quality=0.9)
    in_time, too_soon = call(needs=Needs(max_latency=10)), call(needs=Needs(max_latency=0.1))
    decision = decide([known, unknown], in_time, priority="performance")
    assert decision.plan == ("known",)
    assert decision.reasons["unknown"] == "has no known speed, and others are known to keep the limit of 10 s"
    assert decide([known, unknown], too_soon, priority="performance").plan == ("unknown",)


def test_beside_a_router_doubt_counts_for_models_that_it_does_not_know() -> None:
    """Whoever is known least would pay nothing for it, and win."""
    known, unknown = candidate("known"), candidate("unknown")
    forecast = Forecast(quality={"known": Estimate(0.6, 0.02, "learned")}, usual={"known": 0.6}, best_single="known")
    asked = call()
    decision = Objective("performance")(
        asked, read_prompt(asked.chat), [unknown, known], RouteState(), Random(0), forecast=forecast
    )
    assert decision.chosen == "known"
    assert {c.model: "doubt" in c.terms for c in decision.candidates} == {"known": False, "unknown": True}


def test_a_candidate_is_a_value() -> None:
    """A decision could change what it was made from."""
    with pytest.raises(AttributeError):
        candidate("a").name = "b"  # type: ignore[misc]
    assert structs.replace(candidate("a"), name="b") == candidate("b")


def known_by_a_router(**qualities: float) -> Forecast:
    """A router that expects so much of each model where 0.6 is usual: `demand` says the same for all others."""
    harder = sum(log_odds(0.6) - log_odds(value) for value in qualities.values()) / len(qualities)
    return Forecast(
        quality={model: Estimate(value, 0.02, "learned") for model, value in qualities.items()},
        usual=dict.fromkeys(qualities, 0.6),
        best_single=next(iter(qualities)),
        demand=Estimate(harder),
    )


def forecast_for(candidates: list[Candidate], forecast: Forecast, priority: Priority = "performance") -> Decision:
    asked = call()
    policy = Objective(priority)
    return policy(asked, read_prompt(asked.chat), candidates, RouteState(), Random(0), forecast=forecast)


def test_a_learned_forecast_counts_more_than_a_profile() -> None:
    """What was measured on a user's own prompts would give way to what a table says."""
    candidates = [candidate("a", quality=0.9), candidate("b", quality=0.3)]
    assert forecast_for(candidates, known_by_a_router(a=0.4, b=0.7)).chosen == "b"


def test_what_the_router_never_saw_is_judged_by_its_ability_and_the_prompt_s_demand() -> None:
    """A new model could not be weighed against known ones: its profile says 0.8 where others, as good, have 0.6."""
    candidates = [candidate("a", quality=0.8), candidate("new", quality=0.8)]
    for expected in (0.9, 0.6, 0.2):
        decision = forecast_for(candidates, known_by_a_router(a=expected))
        told = {one.model: one.quality.value for one in decision.candidates if one.quality}
        assert told["new"] == pytest.approx(told["a"])
    better = [candidate("a", quality=0.8), candidate("new", quality=0.9)]
    assert forecast_for(better, known_by_a_router(a=0.6)).chosen == "new"


def test_a_doubtful_lead_does_not_beat_the_best_single_model() -> None:
    """On prompts unlike any that it knows the router would do harm."""
    candidates = [candidate("a"), candidate("b")]
    forecast = known_by_a_router(a=0.6, b=0.65)
    assert forecast_for(candidates, forecast).chosen == "b"
    doubtful = structs.replace(forecast, quality={**forecast.quality, "b": Estimate(0.65, 0.2, "learned")})
    decision = forecast_for(candidates, doubtful)
    assert decision.chosen == "a"
    assert {one.model: one.terms.get("doubt") for one in decision.candidates} == {"a": None, "b": -0.2}


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


def test_creative_and_analytical_judge_by_their_own_tasks() -> None:
    """The words would be names without a meaning."""
    poet = candidate("poet", rubrics={"writing": Rubric(9, 5), "analysis": Rubric(3, 5)})
    analyst = candidate("analyst", rubrics={"writing": Rubric(3, 5), "analysis": Rubric(9, 5)})
    assert decide([poet, analyst], priority="creative").chosen == "poet"
    assert decide([poet, analyst], priority="analytical").chosen == "analyst"
