"""Recorded traffic decided anew, against simulated traffic of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean

import pytest
from msgspec import structs

from pointsman.catalog import Price
from pointsman.core import Nanos, Usage, Weighed
from pointsman.lab.replay import Comparison, Replay, replay
from pointsman.lab.replay_caches import Caches, price_of_rereading
from pointsman.lab.replay_policies import ReplayPolicy, always, by_priority, by_weights, cheapest, logged
from pointsman.lab.traffic import (
    AT_ONCE,
    NO_BEGINNING,
    NO_DETAILS,
    NO_ESTIMATES,
    NO_PROBABILITIES,
    NOT_WEIGHED,
    Grade,
    Recorded,
    Traffic,
    best_grades,
    read_traffic,
)
from pointsman.ledger import Entry, Feedback
from pointsman.routing import Weights
from recorded_traffic import MODELS, Simulated, Truth, simulate, without_estimates


def traffic_of(simulated: Simulated) -> Traffic:
    return read_traffic(simulated.entries, best_grades(simulated.feedback))


def nearer_to_cheap(decision: Recorded) -> dict[str, float]:
    """What was in force, with the odds of the cheapest model doubled."""
    odds = {one.model: one.probability * (2 if one.model == "small" else 1) for one in decision.candidates}
    return {model: weight / sum(odds.values()) for model, weight in odds.items()}


POLICIES: Mapping[str, Callable[[], ReplayPolicy]] = {
    "always": lambda: always("mid"),
    "cheapest": cheapest,
    "frugal": lambda: by_priority("frugal"),
    "logged": logged,
    "tilted": lambda: ReplayPolicy("tilted", nearer_to_cheap),
}


def truth_of(
    simulated: Simulated, decisions: list[Recorded], policy: ReplayPolicy, outcome: str
) -> tuple[float, float]:
    """What the policy truly comes to per decision, and by how much that differs from what was in force."""
    values, changes = [], []
    for decision in decisions:
        of_model: Mapping[str, float] = getattr(simulated.truths[decision.id], outcome)
        in_force = sum(one.probability * of_model[one.model] for one in decision.candidates)
        chances = policy.decide(decision)
        value = sum(chance * of_model[model] for model, chance in chances.items()) if chances else in_force
        values.append(value)
        changes.append(value - in_force)
    return fmean(values), fmean(changes)


def held(simulated: Simulated, result: Replay, comparison: Comparison, policy: ReplayPolicy) -> dict[str, bool]:
    decisions = [
        one
        for one in result.traffic.decisions
        if (one.grade if comparison.outcome == "quality" else one.cost) is not None
    ]
    value, change = truth_of(simulated, decisions, policy, comparison.outcome)
    assert comparison.judged == len(decisions)
    return {
        one.method: one.low <= (change if one.method == "difference" else value) <= one.high
        for one in comparison.estimates
        if one.low is not None and one.high is not None
    }


@pytest.mark.parametrize("name", POLICIES)
def test_estimates_hold_the_truth(name: str) -> None:
    """A policy would be switched on for what it was said to bring, and bring something else."""
    policy, found = POLICIES[name](), dict[tuple[str, str], list[bool]]()
    for seed in range(20):
        simulated = simulate(seed, 500, graded=0.6)
        result = replay(traffic_of(simulated), policy)
        for comparison in (result.quality, result.cost):
            for method, holds in held(simulated, result, comparison, policy).items():
                found.setdefault((comparison.outcome, method), []).append(holds)
    # Of 20 intervals that hold 95 % each, 16 or fewer hold twice in a hundred times; IPS and SNIPS hold fewer.
    for (_, method), holds in found.items():
        assert sum(holds) >= len(holds) - (4 if method in ("dr", "difference") else 7), (method, holds)
    assert ("cost", "difference") in found and ("quality", "difference") in found


def test_savings_are_net_of_retries_and_fallbacks() -> None:
    """What failed attempts cost would be left out, and a saving told that never was."""
    simulated = simulate(1, 800, failing=0.2)
    result = replay(traffic_of(simulated), cheapest())
    assert result.savings.spent == sum(entry.cost or 0 for entry in simulated.entries)
    assert result.savings.attempts == len(simulated.entries) > result.savings.decisions == 800
    assert result.savings.saved is not None and result.savings.low is not None and result.savings.high is not None
    _, change = truth_of(simulated, list(result.traffic.decisions), cheapest(), "cost")
    assert result.savings.low <= -800 * change <= result.savings.high
    assert result.savings.saved == pytest.approx(-800 * (result.cost.difference.value or 0))


def turn(number: int, conversation: str, cached: int = 0, *, could: float = 1.0) -> Entry:
    """A turn of a conversation that `big` answered. What was weighed was `big`, and `small` with what is left."""
    return Entry(
        attempt_id=f"a{number}",
        call_id=f"c{number}",
        decision_id=f"d{number}",
        at=float(number),
        model="big",
        endpoint="there/big",
        provider="there",
        status="ok",
        seconds=1.0,
        usage=Usage(input=10, cache_read=cached, output=10),
        cost=Nanos(1000),
        conversation=conversation,
        complexity="simple",
        candidates=(
            Weighed("big", 1.0, could, quality=0.9, cost=1000.0),
            *((Weighed("small", 0.5, 1 - could, quality=0.5, cost=900.0),) if could < 1 else ()),
        ),
    )


def caches_of(*entries: Entry, dearer: float | None = 2.0) -> Caches:
    """Under the policy that takes `small` wherever it could have been chosen."""
    prices = {} if dearer is None else {"big": dearer}
    return replay(read_traffic(entries, {}), always("small"), dearer=prices).savings.caches


def test_savings_are_net_of_caches_that_are_read_anew() -> None:
    """A policy that changes models in the middle of conversations would look as if that cost nothing."""
    first, second, third = turn(1, "s", could=0.5), turn(2, "s", 3000), turn(3, "s", 4000)
    lost = caches_of(first, second, third)  # small at first, then big, which alone could serve, for good
    assert lost == Caches(conversations=1, switches=1, rebuilt_tokens=3000, rebuilt=6000.0)
    others = [
        structs.replace(turn(number, "", could=0.5), model=("big", "small")[number % 2]) for number in range(10, 110)
    ]
    result, without = (
        replay(read_traffic((first, second, *others), {}), always("small"), dearer={"big": price})
        for price in (2.0, 0.0)
    )
    assert without.savings.saved is not None and result.savings.saved == without.savings.saved - 6000
    assert result.savings.low == (without.savings.low or 0) - 6000


def test_only_caches_that_the_policy_loses_are_taken_off() -> None:
    """Savings would be belittled by what would have been lost, or kept, all the same."""
    assert caches_of(turn(1, "s"), turn(2, "s", 3000)).switches == 0  # big alone could serve both
    assert caches_of(turn(1, "s", could=0.5), turn(2, "other", 3000)).rebuilt == 0
    assert caches_of(turn(1, "s", could=0.5), turn(2, "s", 0)).rebuilt == 0
    logged_too = structs.replace(turn(1, "s", could=0.5), model="small")
    assert caches_of(logged_too, turn(2, "s", 3000)).switches == 0  # the log changed the model itself


def test_a_cache_is_that_of_the_turn_that_filled_it() -> None:
    """An agent that lets a small model find titles in between would look as if it had no caches to lose."""
    title = structs.replace(turn(2, "s", could=0.5), model="small")
    lost = caches_of(turn(1, "s", could=0.5), title, turn(3, "s", 3000))
    assert (lost.switches, lost.rebuilt_tokens) == (1, 3000)


def test_conversations_of_before_hashes_were_recorded_are_known_by_their_sessions() -> None:
    """After an update the replay of a month would know of no conversation."""
    first, second = (
        structs.replace(one, conversation="", session="s", key="k")
        for one in (turn(1, "", could=0.5), turn(2, "", 3000))
    )
    assert caches_of(first, second).rebuilt_tokens == 3000
    assert caches_of(structs.replace(first, key="other"), second).rebuilt_tokens == 0


def test_reading_anew_costs_what_the_provider_charges_for_it() -> None:
    """Where writing to a cache is charged extra, what is lost with it would be told too small."""
    plain, with_cache = (Price.per_mtok(input="3", **more) for more in ({}, {"cache_read": "0.3"}))
    written, for_free = (Price.per_mtok(input="3", cache_read="0.3", cache_write=usd) for usd in ("3.75", "0"))
    told = [price_of_rereading(price) for price in (None, Price(), plain, with_cache, written, for_free)]
    assert told == [None, None, 0.0, 2700.0, 3450.0, 2700.0]


def test_caches_of_which_nobody_can_tell_are_counted() -> None:
    """What is not in the savings would be taken for nothing."""
    assert caches_of(turn(1, "", could=0.5), turn(2, "", 3000)).unknown == 1
    assert caches_of(turn(1, "s", 500), turn(2, "s", 3000)).unknown == 1  # whoever filled the first one's
    unpriced = caches_of(turn(1, "s", could=0.5), turn(2, "s", 3000), dearer=None)
    assert (unpriced.unpriced, unpriced.rebuilt) == (1, 0.0)


def test_grades_of_givers_who_err_are_put_right() -> None:
    """Thumbs that are right seven times of ten would make every model look like half."""
    simulated = simulate(3, 3000, reliability=0.4)
    result = replay(traffic_of(simulated), logged())
    value, _ = truth_of(simulated, list(result.traffic.decisions), logged(), "quality")
    assert value > 0.6 and result.quality.logged.value == pytest.approx(value, abs=0.06)
    raw = fmean(one.score for one in simulated.feedback)
    assert abs(raw - value) > 0.06


def test_the_same_seed_gives_the_same_replay() -> None:
    """Two people could not talk of one result."""
    traffic = traffic_of(simulate(1, 300))
    policy = POLICIES["tilted"]()
    one, same, other = (replay(traffic, policy, seed=seed, show=20) for seed in (1, 1, 2))
    assert one == same
    assert one.shown != other.shown
    assert (one.quality, one.cost, one.savings) == (other.quality, other.cost, other.savings)


def test_what_is_in_force_changes_nothing() -> None:
    """Chance alone would look like a change of policy."""
    result = replay(traffic_of(simulate(1, 400)), logged(), seed=7)
    assert result.changed == 0 and not result.shown
    assert result.savings.saved == 0 == result.quality.difference.value


def test_changes_are_counted_by_task_and_shown() -> None:
    """A policy that changes one task alone would look as if it changed all."""
    result = replay(traffic_of(simulate(1, 200)), always("big"), show=5)
    assert {one.task for one in result.by_task} == {"coding", "chat"}
    assert sum(one.decisions for one in result.by_task) == 200
    assert sum(one.changed for one in result.by_task) == result.changed > 0
    assert len(result.shown) == 5 and all(one.model == "big" != one.recorded.model for one in result.shown)
    assert [one.recorded.at for one in result.shown] == sorted(one.recorded.at for one in result.shown)


def test_a_log_that_tried_nothing_else_says_so() -> None:
    """A deterministic log would be made to tell of what it never saw."""
    result = replay(traffic_of(simulate(1, 300, explored=0.0)), always("big"))
    assert result.changed > 0 and result.savings.saved is None
    for comparison in (result.quality, result.cost):
        assert all(one.strength == "none" for one in comparison.estimates)
    assert "probability 1" in result.notes[0].problem and "feedback" in result.notes[0].help


def test_decisions_off_the_logs_support_are_left_to_those_it_can_tell_of() -> None:
    """One private call that could go nowhere else would make the whole log worthless; or be guessed at in silence."""
    explored, certain = simulate(1, 400), simulate(2, 100, explored=0.0, begin=1_796_000_000.0)
    renamed = [structs.replace(entry, decision_id=f"x{entry.decision_id}") for entry in certain.entries]
    traffic = read_traffic((*explored.entries, *renamed), best_grades(explored.feedback))
    result = replay(traffic, always("mid"))
    unseen = sum(one.model != "mid" and max(one.probabilities) == 1 for one in traffic.decisions)
    assert 0 < unseen < 100 and result.cost.judged == 500 - unseen
    assert result.cost.difference.value is not None
    assert f"In {unseen} of 500 decisions" in result.notes[0].problem
    assert f"the other {500 - unseen}" in result.notes[0].problem
    assert "conversation" not in result.notes[0].problem


def test_turns_at_which_nothing_is_tried_out_are_told() -> None:
    """Whoever follows the advice to try out more would wait for what never comes."""
    simulated = simulate(1, 100, failing=0.0)
    stays = [
        structs.replace(
            one, attempt_id=f"s{one.attempt_id}", decision_id=f"s{one.decision_id}", at=one.at + 1, candidates=certain
        )
        for one in simulated.entries
        for certain in [tuple(structs.replace(c, probability=float(c.model == one.model)) for c in one.candidates)]
    ]
    turns = sorted((*simulated.entries, *stays), key=lambda entry: entry.at)
    talks = [structs.replace(entry, conversation=entry.call_id) for entry in turns]
    result = replay(read_traffic(talks, {}), always("mid"))
    staying = sum(entry.model != "mid" for entry in stays)
    assert f"In {staying} of 200" in result.notes[0].problem
    assert f"In {staying} of them a conversation went on" in result.notes[0].problem


def test_few_grades_are_told() -> None:
    """Quality would be judged by a handful of thumbs."""
    result = replay(traffic_of(simulate(1, 400, graded=0.02)), POLICIES["tilted"]())
    assert result.quality.observed < 30 and result.quality.difference.value is None
    assert result.cost.difference.strength == "fair"
    assert any("graded" in note.problem and "30" in note.help for note in result.notes)


def test_a_policy_that_takes_what_was_rarely_tried_is_told_how_much_is_missing() -> None:
    """Nobody would know whether to wait a day or a year."""
    result = replay(traffic_of(simulate(1, 300, explored=0.03)), always("small"))
    assert result.cost.difference.strength == "none" and result.cost.difference.n_eff > 0
    note = next(note for note in result.notes if note.problem.startswith("For cost"))
    assert "About " in note.help and "decisions like these" in note.help


def test_a_cost_that_nobody_knows_is_no_cost_of_nothing() -> None:
    """A model without a price would look as if it saved everything."""
    simulated = simulate(1, 300)
    entries = [structs.replace(e, cost=None) if n % 10 == 0 else e for n, e in enumerate(simulated.entries)]
    result = replay(read_traffic(entries, {}), cheapest())
    assert 0 < result.cost.observed < 300
    assert any(f"Of {300 - result.cost.observed} decisions nobody knows" in note.problem for note in result.notes)


def test_decisions_that_cannot_be_decided_anew_are_counted() -> None:
    """Half the traffic would be missing, and nobody would know."""
    simulated = simulate(1, 50, failing=0.0)
    old = tuple(structs.replace(entry, decision_id=f"o{entry.decision_id}") for entry in simulated.entries[:20])
    first = simulated.entries[0]
    off_the_sum = tuple(structs.replace(one, probability=one.probability / 2) for one in first.candidates)
    entries = (
        *simulated.entries,
        *without_estimates(old),
        structs.replace(first, decision_id="headless", retry=1, candidates=()),
        structs.replace(first, decision_id="damaged", candidates=()),
        structs.replace(first, decision_id="pooled", model="member"),
        structs.replace(first, decision_id="odd", candidates=off_the_sum),
        structs.replace(first, decision_id="raced", strategy="race"),
        structs.replace(first, decision_id="agreed", strategy="consensus"),
        structs.replace(first, decision_id=""),
    )
    traffic = read_traffic(entries, {})
    assert len(traffic.decisions) == 50 and traffic.named == 1
    unreadable = {NO_ESTIMATES: 20, NO_BEGINNING: 1, NO_DETAILS: 1, NOT_WEIGHED: 1, NO_PROBABILITIES: 1}
    assert traffic.left_out == {**unreadable, AT_ONCE: 2}


def test_a_readers_grade_counts_before_a_judges_and_the_latest_before_others() -> None:
    """A judge would overrule whoever read the answer; and a refusal's own grade would count as an opinion."""
    given = [
        Feedback("a", 1.0, 0.2, "user"),
        Feedback("a", 3.0, 0.9, "judge"),
        Feedback("b", 1.0, 0.4, "judge"),
        Feedback("b", 2.0, 0.6, "judge"),
        Feedback("c", 1.0, 0.0, "automatic"),
        Feedback("d", 1.0, 1.0, "user", reliability=0.1),
    ]
    assert best_grades(given) == {"a": Grade(0.2), "b": Grade(0.6)}
    assert best_grades(reversed(given)) == {"a": Grade(0.2), "b": Grade(0.6)}


def decision_between(*candidates: Weighed) -> Recorded:
    return Recorded("d", 0.0, "chat", "moderate", candidates, 0, cost=Nanos(1))


def test_where_a_model_could_not_serve_what_was_decided_stands() -> None:
    """A model without the context that a call needs would be said to answer it."""
    decision = decision_between(Weighed("a", 0.1, 0.5, quality=0.5), Weighed("b", 0.2, 0.5, quality=0.6))
    assert always("c").decide(decision) == {} and always("b").decide(decision) == {"b": 1.0}
    assert replay(Traffic((decision,), {}, 0), always("c")).changed == 0


def test_the_cheapest_is_one_of_which_the_cost_is_known() -> None:
    """Unknown would count as free."""
    decision = decision_between(Weighed("a"), Weighed("b", cost=3.0), Weighed("c", cost=2.0), Weighed("d", cost=2.0))
    assert cheapest().decide(decision) == {"c": 1.0}
    assert cheapest().decide(decision_between(Weighed("a"))) == {}


def test_weights_of_ones_own_choose_among_the_models_that_they_name() -> None:
    """A policy that must not use a model would be judged with it."""
    decision = traffic_of(simulate(1, 1)).decisions[0]
    quality_alone = Weights(quality=1.0, cost=0.0, latency=0.0)
    best = max(decision.candidates, key=lambda one: one.quality or 0.0).model
    assert by_weights("mine", quality_alone).decide(decision)[best] == 1.0
    others = [model for model in MODELS if model != best]
    assert best not in by_weights("mine", quality_alone, others).decide(decision)
    assert by_weights("mine", quality_alone, ["elsewhere"]).decide(decision) == {}


def test_weights_that_no_record_holds_are_told() -> None:
    """Whoever tunes the weight of a quota would believe that it was tried."""
    assert not any("quota" in remark for remark in by_weights("mine", Weights()).remarks[1:])
    assert "quota, risk" in by_weights("mine", Weights(quota=2.0, risk=1.0)).remarks[1]


def test_a_clock_that_was_set_back_hides_no_decision() -> None:
    """A retry that seems to come before its first attempt would put the decision among those that began too early."""
    simulated = simulate(1, 30, failing=1.0)
    early = [structs.replace(entry, at=entry.at - 5) if entry.retry else entry for entry in simulated.entries]
    traffic = read_traffic(sorted(early, key=lambda entry: entry.at), {})
    assert len(traffic.decisions) == 30 and not traffic.left_out
    assert all(decision.attempts == 2 and decision.cost for decision in traffic.decisions)


def test_a_priority_that_judges_by_another_task_is_told_to_be_approximate() -> None:
    """`creative` would be judged by how models calculate, and nobody would know."""
    assert any("writing" in remark for remark in by_priority("creative").remarks)
    assert len(by_priority("frugal").remarks) == 1


def test_nothing_at_all_is_no_crash() -> None:
    """A fresh ledger would end in a traceback."""
    result = replay(read_traffic((), {}), cheapest(), show=3)
    assert result.changed == 0 and not result.by_task and result.savings.saved is None
    assert result.quality.believed is None and result.cost.logged.value is None


def test_the_simulation_has_one_truth_for_each_decision() -> None:
    """The other tests would hold estimates against nothing."""
    simulated = simulate(1, 20)
    assert len(simulated.truths) == 20
    assert all(isinstance(truth, Truth) and set(truth.cost) == set(MODELS) for truth in simulated.truths.values())
