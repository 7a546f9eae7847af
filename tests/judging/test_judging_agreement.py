"""Which answers agree: known pairs, and what holds for any."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.judging import agreement
from pointsman.judging.agreement import MOST_SHOWN_LINES

STORY = "The last train of the night came down from the hills, and the pointsman set the points for the town. " * 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Sydney", "sydney."),
        ("**Canberra**", "  Canberra\n"),
        ("Yes, it is.", "yes it is"),
        ("“42”", "42"),
        ("東京。", "東京"),
        (STORY, STORY.replace("town", "harbour", 1)),
        (STORY, STORY.upper()),
    ],
)
def test_answers_that_say_the_same_words_agree(one: str, other: str) -> None:
    """A full stop or a capital would be reported as a disagreement."""
    assert agreement([("a", one), ("b", other)]).unanimous


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Sydney", "Canberra"),
        ("-5", "5"),
        ("3.14", "314"),
        ("$7", "7"),
        ("Sydney", "The capital of Australia is Sydney."),
        ("It is not Sydney.", "It is Sydney."),
        ("?", "!!!"),
        ("東京", "京都"),
        (STORY, "Sydney"),
        (STORY, "Nothing of the kind happened in this village, where no rails were ever laid. " * 4),
    ],
)
def test_answers_that_say_different_things_differ(one: str, other: str) -> None:
    """A user would be told that models agree where they contradict each other."""
    assert len(agreement([("a", one), ("b", other)]).clusters) == 2


def test_the_largest_group_stands_first_and_equals_keep_their_order() -> None:
    """The head of the report would name an odd one out as the answer."""
    found = agreement([("a", "Sydney"), ("b", "Canberra"), ("c", "canberra."), ("d", "Perth")])
    assert [(c.text, c.engines) for c in found.clusters] == [
        ("Canberra", ("b", "c")),
        ("Sydney", ("a",)),
        ("Perth", ("d",)),
    ]
    assert found.compared == ("b", "a")
    assert not found.unanimous


def test_short_answers_need_no_diff_and_long_ones_get_one() -> None:
    """Long answers that differ in one sentence would have to be compared by eye."""
    assert agreement([("a", "Sydney"), ("b", "Canberra")]).diff == ()
    found = agreement([("a", STORY + "He slept."), ("b", STORY + "He wept.")])
    assert found.unanimous and found.compared == ("a", "b")
    assert "-He slept." in found.diff and "+He wept." in found.diff
    assert found.shared is not None and 0.9 < found.shared < 1


def test_the_same_text_twice_has_nothing_to_compare() -> None:
    """An empty diff under a heading looks like a fault."""
    found = agreement([("a", STORY), ("b", STORY + "\n")])
    assert found.unanimous and found.compared == () and found.diff == ()


def test_no_answer_or_one_is_no_agreement() -> None:
    """One model that answered would be reported as unanimous."""
    assert agreement([]).clusters == ()
    assert not agreement([("a", "Sydney")]).unanimous


def test_huge_answers_are_compared_in_bounded_time_and_room() -> None:
    """Two endless answers would hang the report, or bury it."""
    started = time.monotonic()
    one = "\n".join(f"line {n % 7} of one" for n in range(60_000))
    other = "\n".join(f"line {n % 5} of the other" for n in range(60_000))
    found = agreement([("a", one), ("b", other)])
    assert len(found.diff) <= MOST_SHOWN_LINES + 1 and "more lines" in found.diff[-1]
    assert time.monotonic() - started < 30


@given(st.lists(st.text(max_size=60), max_size=6))
def test_each_answer_stands_in_exactly_one_group(texts: list[str]) -> None:
    """An answer would be lost from the report, or counted twice."""
    answers = [(str(number), text) for number, text in enumerate(texts)]
    found = agreement(answers)
    assert sorted(engine for c in found.clusters for engine in c.engines) == sorted(name for name, _ in answers)
    sizes = [len(c.engines) for c in found.clusters]
    assert sizes == sorted(sizes, reverse=True)
