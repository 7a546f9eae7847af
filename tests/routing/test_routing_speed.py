"""What calls tell of a model's speed, and how long the next answer will take."""

from __future__ import annotations

from typing import Any

import pytest
from decision_samples import call, candidate, decide
from hypothesis import given
from hypothesis import strategies as some

from pointsman.core import Needs, from_usd
from pointsman.routing import Conversation, Estimate, Outcome, RouteState, learn

OUTCOMES = some.lists(
    some.builds(
        Outcome,
        model=some.sampled_from(["a", "b"]),
        ok=some.booleans(),
        seconds=some.integers(0, 1000).map(float),
        ttft=some.none() | some.integers(0, 100).map(float),
        output_tokens=some.integers(0, 1000),
        input_tokens=some.none() | some.integers(0, 100_000),
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


WORD = "words "
"""About one token and a quarter, by estimate."""


def timed(name: str, *lengths: int, fixed: float = 0.25, tokens_a_second: float = 400.0) -> list[Outcome]:
    """Streamed answers of ten tokens to prompts of these lengths, each a second long once it has begun."""
    waits = [(length, fixed + length / tokens_a_second) for length in lengths]
    return [Outcome(name, True, wait + 1.0, wait, 10, length) for length, wait in waits]


def seconds(name: str, words: int, state: RouteState, conversation: Conversation | None = None) -> Estimate:
    """Until an answer of one token is whole."""
    decision = decide([candidate(name)], call(WORD * words, max_tokens=1), state=state, conversation=conversation)
    (expected,) = (one.seconds for one in decision.candidates)
    assert expected is not None
    return expected


def test_a_model_that_reads_slowly_is_left_out_where_a_long_prompt_must_be_answered_soon() -> None:
    """A local model would get a book to read where its answer is awaited within seconds."""
    slow, quick = candidate("slow", quality=0.7), candidate("quick", quality=0.6)
    lengths = [50, 200, 800, 2_000] * 5
    state = learn(RouteState(), timed("slow", *lengths) + timed("quick", *lengths, tokens_a_second=1e9))
    soon = Needs(max_latency=5)
    brief = decide([slow, quick], call("Hello!", needs=soon, max_tokens=10), state=state, priority="performance")
    assert brief.chosen == "slow"
    book = decide([slow, quick], call(WORD * 5_000, needs=soon, max_tokens=10), state=state, priority="performance")
    assert book.plan == ("quick",)
    assert book.reasons["slow"] == "takes about 16 s, the limit is 5 s"
    assert seconds("slow", 4_000, state).value == pytest.approx(0.25 + 5_000 / 400, rel=0.1)


def test_prompts_that_were_all_about_as_long_say_nothing_of_longer_ones() -> None:
    """Noise of a few calls would pass for seconds a token, and no long prompt would ever go there again."""
    waits = ((400, 0.5), (410, 1.5), (405, 1.0))
    state = learn(RouteState(), [Outcome("a", True, wait + 1, wait, 10, length) for length, wait in waits])
    near, far = seconds("a", 320, state), seconds("a", 8_000, state)
    assert near.value == pytest.approx(1.1, rel=0.01) and far.value == pytest.approx(near.value, rel=0.01 + 0.1)
    assert far.sd > 5 * near.sd, "and what nobody knows is told"


def test_a_model_that_answered_longer_prompts_sooner_is_not_taken_to_read_backwards() -> None:
    """A long prompt would be expected in less than no time."""
    waits = ((100, 9.0), (5_000, 1.0), (9_000, 0.5))
    state = learn(RouteState(), [Outcome("a", True, wait + 1, wait, 10, length) for length, wait in waits])
    assert seconds("a", 1, state).value == pytest.approx(seconds("a", 8_000, state).value) == pytest.approx(3.6)


def test_what_a_conversation_s_model_has_in_its_cache_is_not_waited_for() -> None:
    """The model that can go on at once would be given up for one that has to read everything."""
    state = learn(RouteState(), timed("a", *[100, 1_000, 4_000] * 5))
    fresh = seconds("a", 4_000, state)
    held = seconds("a", 4_000, state, Conversation("a", cached_tokens=4_900))
    assert fresh.value > 10 and held.value < 1


def test_answers_that_came_whole_keep_what_was_measured_of_their_time() -> None:
    """A model that is asked without streaming would seem to answer at once, or twice as late."""
    whole = [Outcome("a", True, 5.0, None, 10, length) for length in (100, 2_000, 9_000)]
    state = learn(RouteState(), whole)
    assert seconds("a", 8_000, state).value == pytest.approx(0.5), "one of ten tokens"
    both = learn(state, timed("a", 100, 2_000, 9_000))
    assert seconds("a", 8_000, both).value > seconds("a", 100, both).value > 0


@given(OUTCOMES, some.integers(0, 4_000), some.integers(0, 4_000))
def test_a_longer_prompt_is_never_expected_to_take_less(outcomes: list[Outcome], words: int, more: int) -> None:
    """Whoever pads a prompt would get the answer sooner."""
    state = learn(RouteState(), outcomes)
    short, long = seconds("a", words, state), seconds("a", words + more, state)
    assert 0 <= short.value <= long.value + 1e-9
    assert short.sd >= 0
