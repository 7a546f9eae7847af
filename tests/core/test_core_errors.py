"""The tree of errors, as it is drawn and as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pointsman.core import (
    AttemptError,
    CallError,
    CallRejected,
    ConfigError,
    InvalidCall,
    NoCandidate,
    PointsmanError,
    UnknownModel,
    errors,
)

DRAWN = re.compile(r"^([│ ├└─]*)([A-Z]\w+)(?:\s+(\d{3}))?(?:\s|$)")


def drawn() -> Iterator[tuple[str, str, int | None]]:
    """(name, parent, status) of each line of the drawing."""
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = DRAWN.match(line)
        if not found or not (found[1] or found[2] == "PointsmanError"):
            continue
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        yield found[2], above[depth - 1] if depth else "Exception", int(found[3]) if found[3] else None


def real(kind: type[PointsmanError] = PointsmanError) -> Iterator[type[PointsmanError]]:
    """The errors of `core`; a room may have finer ones of its own, of the same kind."""
    if kind.__module__ == errors.__name__:
        yield kind
    for child in kind.__subclasses__():
        yield from real(child)


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """Whoever catches errors by the drawing would miss one, or catch one that is never raised."""
    tree = {(kind.__name__, kind.__bases__[0].__name__) for kind in real()}
    assert tree == {(name, parent) for name, parent, _ in drawn()}


@pytest.mark.parametrize(("name", "status"), [(name, status) for name, _, status in drawn() if status])
def test_an_error_has_the_status_that_is_drawn(name: str, status: int) -> None:
    """A client would retry what it must not, or give up what it could retry."""
    assert getattr(errors, name).status == status


def test_every_kind_is_one_word_of_one_error() -> None:
    """Two errors would be one in the ledger, and in every alert that is set on it."""
    kinds = [kind.kind for kind in real()]
    assert len(set(kinds)) == len(kinds)
    assert all(re.fullmatch(r"[a-z_]+", kind) for kind in kinds)


def test_the_kinds_are_those_that_ledgers_hold_already() -> None:
    """A renamed kind would split every report at the day of the update."""
    assert {kind.kind for kind in real()} == {
        *("error", "config", "ledger", "call", "attempt"),
        *(
            "invalid_call",
            "unauthenticated",
            "over_budget",
            "forbidden",
            "unknown_model",
            "call_too_large",
            "busy",
            "over_limit",
        ),
        *(
            "no_candidate",
            "unservable",
            "call_rejected",
            "context_too_long",
            "content_filtered",
            "key_rejected",
            "out_of_credit",
        ),
        *("model_gone", "rate_limited", "overloaded", "upstream_failed", "timeout", "unreachable", "broken_reply"),
    }


def test_whose_fault_an_error_is_follows_the_tree() -> None:
    """A caller's mistake would put a healthy endpoint out of its pool."""
    assert {kind.blame for kind in real(CallRejected)} == {"caller"}
    assert {kind.blame for kind in real(AttemptError) if not issubclass(kind, CallRejected)} == {"upstream", "key"}
    assert {kind.blame for kind in real(CallError)} == {"caller", "us"}


def test_the_place_of_a_config_error_comes_first() -> None:
    """An editor could not jump to it."""
    assert str(ConfigError("No.", file="a.yaml", line=3)) == "a.yaml:3: No."
    assert str(ConfigError("No.", file="a.yaml")) == "a.yaml: No."
    assert str(ConfigError("No.", line=3)) == "No."


def test_an_unknown_model_names_the_nearest() -> None:
    """After a slip of the finger the user would have to search the list."""
    error = UnknownModel("gpt-5-mimi", ["gpt-5-mini", "gpt-5"])
    assert "Did you mean 'gpt-5-mini' or 'gpt-5'?" in error.message
    assert error.nearest == ("gpt-5-mini", "gpt-5")
    assert "Did you mean" not in UnknownModel("x").message


def test_no_candidate_lists_each_with_its_reason() -> None:
    """The user would not know which of his needs to give up."""
    error = NoCandidate("None left:", {"a": "is too dear", "b": "has no key"})
    assert str(error) == "None left:\n  a: is too dear\n  b: has no key"
    assert error.reasons == {"a": "is too dear", "b": "has no key"}


def test_an_invalid_call_names_the_field() -> None:
    """A client library could not point at the argument."""
    assert InvalidCall("No.", param="max_tokens").param == "max_tokens"


def test_reasons_of_one_kind_are_told_once() -> None:
    """Two hundred lines that differ in a price would hide the one that says what to do."""
    refused = NoCandidate(
        "Nobody can:",
        {
            "a": "may cost $0.02, the budget is $0.001",
            "key": "has no key: set X",
            "b-4.5": "may cost $0.0013, the budget is $0.001",
            "x/c": "x/c has failed and is left alone for 12 s.",
            "d": "may cost $5, the budget is $0.001",
            "x/e": "x/e has failed and is left alone for 2.5 s.",
            "x/f": "x/f has failed and is left alone for 100 s.",
            "g": "has a context of 8,000 tokens, the call needs about 20,000",
            "h": "The account of gpt-4, of mine/h, is used up: try again in 3 s.",
        },
    )
    assert refused.message.splitlines()[1:] == [
        "  a, b-4.5 and 1 more: may cost $0.0013 to $5, the budget is $0.001",
        "  key: has no key: set X",
        "  x/c, x/e and 1 more: has failed and is left alone for 2.5 to 100 s.",
        "  g: has a context of 8,000 tokens, the call needs about 20,000",
        "  h: The account of gpt-4 is used up: try again in 3 s.",
    ]
    assert len(refused.reasons) == 9
