"""How long answers get: by what is asked, and by who answers, each told from the other."""

from __future__ import annotations

import pytest
from decision_samples import HARD, SIMPLE, call, candidate, decide
from hypothesis import given
from hypothesis import strategies as some

from pointsman.core import Chat, Message, Text
from pointsman.routing import Outcome, RouteState, kind_of, learn, merge, read_prompt
from pointsman.routing.lengths import USUAL_TOKENS, all_lengths, expected_length, lengths_of

ANSWERS = some.lists(some.tuples(some.sampled_from(["", "simple chat", "complex coding"]), some.integers(0, 10**15)))


def kind(text: str) -> str:
    prompt = read_prompt(Chat((Message("user", (Text(text),)),)))
    return kind_of(prompt.complexity, prompt.task)


def answers(model: str, tokens: int, count: int, *, to: str = SIMPLE, ended: bool = True) -> list[Outcome]:
    return [Outcome(model, True, 1.0, 0.5, tokens, kind=kind(to), ended=ended)] * count


def costs(state: RouteState, prompt: str = SIMPLE) -> dict[str, float]:
    decision = decide([candidate("a"), candidate("b")], call(prompt), state=state)
    return {one.model: float(one.expected_cost or 0) for one in decision.candidates}


@pytest.mark.parametrize("tokens", [5, 4_000])
@pytest.mark.parametrize("count", [1, 100])
def test_whoever_was_asked_first_is_neither_cheap_nor_dear_for_that(tokens: int, count: int) -> None:
    """The model that got the first calls would keep all of them, or get none any more: the others are held against a
    guess of what answers take."""
    of = costs(learn(RouteState(), answers("a", tokens, count)))
    assert of["a"] == pytest.approx(of["b"])


def test_a_model_that_was_only_asked_what_is_short_is_not_taken_for_terse() -> None:
    """A route gives simple prompts to the cheap, hard ones to the strong: hard ones would seem cheap where they never
    were answered."""
    assert kind(SIMPLE) != kind(HARD)
    state = learn(RouteState(), [*answers("a", 20, 60), *answers("b", 900, 60, to=HARD)])
    of = costs(state, HARD)
    assert of["a"] == pytest.approx(of["b"])
    assert of["b"] > 3 * costs(state, SIMPLE)["b"]


def test_a_wordy_model_is_known_by_what_others_answer_to_the_like() -> None:
    """A model that writes ten times as much would pass for as cheap as its price for a token."""
    state = learn(RouteState(), [*answers("a", 80, 90), *answers("b", 800, 10)])
    of = costs(state)
    assert of["b"] > 2 * of["a"]
    more = costs(learn(state, answers("b", 800, 200)))
    assert more["b"] > 5 * more["a"]


def test_an_answer_that_was_cut_off_makes_no_model_cheap() -> None:
    """A model all of whose answers are cut off would be the cheapest, and be asked for ever."""
    state = learn(RouteState(), answers("b", 300, 20))
    cut = learn(state, answers("a", 5, 20, ended=False))
    assert costs(cut) == costs(state)


@given(ANSWERS, ANSWERS)
def test_lengths_add_up_and_what_is_expected_is_a_number_of_tokens(
    one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    """Two processes would expect other costs than one, or none could be expected any more."""
    own, others = lengths_of(one), lengths_of(other)
    together = all_lengths([own, others])
    assert together == lengths_of([*one, *other])
    for model in (own, others, lengths_of([])):
        assert 0 < expected_length("simple chat", together, model) < 1e18
    if not (one or other):
        assert expected_length("", together, own) == USUAL_TOKENS


def test_lengths_of_merged_states_are_those_of_all_calls() -> None:
    """What was learned on two machines would be told apart by the machine."""
    first, second = answers("a", 50, 7), [*answers("a", 70, 2, to=HARD), *answers("b", 900, 5)]
    apart = merge(learn(RouteState(), first), learn(RouteState(), second))
    together = learn(RouteState(), [*first, *second])
    assert apart.lengths == together.lengths == all_lengths(one.lengths for one in together.seen.values())


def test_a_speed_that_nobody_knows_is_that_of_its_like() -> None:
    """Among slow models the one that was never measured would pass for quick, and be taken for that."""
    slow = [candidate(name, ttft=12.0) for name in ("slow", "slower")]
    local = candidate("local", deployment="local", ttft=0.1)
    by_name = {
        one.model: one
        for one in decide(
            [*slow, local, candidate("new", ttft=None), candidate("free", deployment="free", ttft=None)]
        ).candidates
    }
    assert by_name["new"].seconds is not None and by_name["new"].seconds.source == "assumed"
    assert by_name["new"].terms["latency"] == pytest.approx(by_name["slow"].terms["latency"])
    assert not by_name["new"].has_known_speed and by_name["slow"].has_known_speed
    assert by_name["free"].seconds is None, "and of none that is free anything is known"
