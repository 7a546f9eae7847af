"""Which answers come to the same thing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.core import Answer, ToolUse
from pointsman.judging import says_the_same
from pointsman.judging.sameness import final_answer

LONG = "First we add the two numbers, then we look at what is left over, and so we come to the end of it. "


def same(one: str, other: str) -> bool:
    return says_the_same(Answer(text=one), Answer(text=other))


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("so x = \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("The answer is \\boxed{42}.", "42"),
        ("3 + 4 = 7\n#### 7", "7"),
        ("The answer is **42**.", "**42**."),
        ("**Final Answer:** 3.14", "3.14"),
        ("**Answer**: B.", "B."),
        ("The answer is:\n\n12", "12"),
        ("The answer is Dr. Jones.", "Dr. Jones."),
        ("\\boxed{1} and \\boxed{2}", ""),
        ("Q1 answer: 3\nQ2 answer: 5", ""),
        ("Answer: Paris\nIt lies on the Seine.", ""),
        ("Answer:\n```python\nprint()\n```", ""),
        ("#### Conclusion\nSell it.", ""),
        ("Nobody knows the answer", ""),
        ("\\boxed{never closed", ""),
        ("answer:", ""),
        ("", ""),
    ],
)
def test_what_a_text_ends_with_is_its_answer(text: str, stated: str) -> None:
    """Two models that reason at length never use the same words; and a heading, or one part of many, is no answer."""
    assert final_answer(text) == stated


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LONG + "The answer is $1,250.00.", "1250"),
        ("**Final Answer**\n\n12", "### Answer\n12"),
        ("The answer is (B).", "Answer: B"),
        ("\\boxed{\\text{A}}", "\\boxed{(A)}"),
        ("Hence $x = \\boxed{1{,}250}$.", "1250"),
        ("The capital is **Paris**.", "The capital is Paris."),
        ("Die Antwort ist 12.", "\u7b54\u6848\uff1a12"),
        ("\u5df4\u9ece\u3002", "\u5df4\u9ece"),
        ("Yes!", "yes."),
        (LONG + "\n#### 7", "\\boxed{7}"),
        ("Sydney", "**sydney**."),
        ("Don't.", "Don\u2019t"),
        ("+3", "3.0"),
        (".5", "0.5"),
        ("\u22124", "-4"),
        ('{"a": 1, "b": [true]}', '```json\n{"b": [true], "a": 1}\n```'),
        (LONG * 3, f" {LONG * 3}\n"),
    ],
)
def test_answers_that_come_to_the_same(one: str, other: str) -> None:
    """Those who agree would be taken to differ, and a vote would never be won."""
    assert same(one, other) and same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The answer is 42.", "The answer is 43."),
        ("3.14", "3.15"),
        ("1" * 40, "1" * 39 + "2"),
        ("-5", "5"),
        (".5", "5"),
        ("1,5", "15"),
        ("$5", "\u20ac5"),
        ("5%", "$5"),
        ("5!", "5"),
        ("50%", "50"),
        ("3.10", "3.1"),
        ("02134", "2134"),
        ("Aa", "aa"),
        ("git branch -d it", "git branch -D it"),
        ("`rm -rf *`", "`rm -rf`"),
        ("Answer: cd ..", "Answer: cd ."),
        ("**kwargs", "*kwargs"),
        ("2**3**4", "234"),
        ("for t in x:\n    y\n    z", "for t in x:\n    y\nz"),
        ("x = -\\boxed{5}", "x = \\boxed{5}"),
        ("$\\boxed{12}$ meters", "$\\boxed{12}$ feet"),
        ("If x > 0 the answer is 3", "If x < 0 the answer is 3"),
        ("A common wrong answer is 10", "The answer is 10"),
        ("No, I don't think the answer is 42.", "Yes, the answer is 42."),
        ("x < 3", "x > 3"),
        ("[0,1)", "(0,1]"),
        ("5 mW", "5 MW"),
        ("rm -rf ./build", "rm -rf /build"),
        ("return !ok", "return ok"),
        ("The answer is Dr. Smith.", "The answer is Dr. Jones."),
        ("The answer is 5. Wait, no. It is 7.", "5"),
        ("Q1 answer: 3\nQ2 answer: 5", "Q1 answer: 4\nQ2 answer: 5"),
        ("#### Conclusion\nSell it.", "#### Conclusion\nKeep it."),
        (LONG * 9 + "So it is 42.", LONG * 9 + "So it is 43."),
        (LONG * 9 + "So it is.", LONG * 9 + "So it is not."),
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"a": true}'),
        ("[1, 2]", "[2, 1]"),
        ("42", LONG),
        ("", ""),
        (" ", "\n"),
    ],
)
def test_answers_that_do_not(one: str, other: str) -> None:
    """A wrong answer would be given as one that several models vouch for."""
    assert not same(one, other) and not same(other, one)


@given(
    st.lists(
        st.sampled_from(["5", "$5", "5%", "5.0", "\u20ac5", "(A)", "A", "a", "Yes", "yes!", "**Yes**"]),
        min_size=3,
        max_size=3,
    )
)
def test_who_agrees_with_one_agrees_with_all(texts: list[str]) -> None:
    """How many agree would depend on who was the first to answer."""
    one, two, three = texts
    assert not (same(one, two) and same(two, three)) or same(one, three)


def test_calls_of_tools_are_held_against_each_other() -> None:
    """A model that calls another tool, or with other arguments, says another thing."""
    one = Answer(tools=(ToolUse("1", "weather", '{"city": "Bern", "days": 2}'),), finish="tools")
    same_call = Answer(text="Let me look.", tools=(ToolUse("x", "weather", '{"days":2,"city":"Bern"}'),))
    assert says_the_same(one, same_call)
    assert not says_the_same(one, Answer(tools=(ToolUse("1", "weather", '{"city": "Basel", "days": 2}'),)))
    assert not says_the_same(one, Answer(tools=(ToolUse("1", "clock", '{"city": "Bern", "days": 2}'),)))
    assert not says_the_same(one, Answer(text="It is warm in Bern."))
    assert not says_the_same(Answer(tools=(*one.tools, *one.tools)), one)
    assert says_the_same(Answer(tools=(ToolUse("1", "now", ""),)), Answer(tools=(ToolUse("2", "now", "{ }"),)))
    assert not says_the_same(
        Answer(tools=(ToolUse("1", "pay", '{"n": 1}'),)), Answer(tools=(ToolUse("1", "pay", '{"n": true}'),))
    )


def test_those_who_refuse_agree_with_each_other_alone() -> None:
    """Two refusals in different words are one opinion; a refusal and an answer are two."""
    assert says_the_same(Answer(refusal="I can't."), Answer(refusal="No, sorry."))
    assert not says_the_same(Answer(refusal="I can't."), Answer(text="I can't."))


@given(st.text(), st.text())
def test_any_two_texts_can_be_held_against_each_other(one: str, other: str) -> None:
    """What a model says must never break a vote."""
    assert same(one, other) == same(other, one)
    assert same(one, one) == bool(one.strip())


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 100_000, "answer: " * 50_000, "\\boxed{" * 50_000, "\ud800", "1e999999999"]
)
def test_monstrous_texts_are_texts(text: str) -> None:
    """A model that runs wild would take the server with it."""
    assert same(text, text)
    final_answer(text)
