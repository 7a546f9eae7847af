"""What the ledger tells: sums that are exact, means of their own values, unknown never taken for 0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from ledger_samples import NOON, entry

from pointsman.core import InvalidCall, Nanos, Usage, Weighed
from pointsman.ledger import Body, By, Feedback, Ledger, automatic, parse_since

DAY = 86_400.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path, keep_bodies=True) as opened:
        yield opened


def record(ledger: Ledger, *changes: dict[str, object]) -> None:
    for change in changes:
        ledger.record(entry(**change))
    ledger.flush()


def test_costs_are_summed_by_model_and_unknown_ones_are_counted(ledger: Ledger) -> None:
    """A bill would pass off unknown costs as free."""
    record(
        ledger,
        {"model": "a", "call_id": "1", "cost": Nanos(2), "list_cost": Nanos(5)},
        {"model": "a", "call_id": "1", "cost": None, "status": "failed", "usage": None},
        {"model": "a", "call_id": "2", "cost": Nanos(3), "usage": Usage(1, 2, 3, 4, 5, 6)},
        {"model": "b", "call_id": "3", "cost": Nanos(0)},
    )
    dear, cheap = ledger.queries.cost("model")
    assert (dear.group, dear.calls, dear.attempts, dear.ok) == ("a", 2, 3, 2)
    assert (dear.input_tokens, dear.output_tokens) == (110, 31)
    assert (dear.cost, dear.unknown_costs, dear.list_cost) == (5, 1, 5)
    assert (cheap.group, cheap.cost, cheap.unknown_costs) == ("b", 0, 0)


@pytest.mark.parametrize("by", get_args(By))
def test_costs_can_be_asked_by_every_dimension(ledger: Ledger, by: By) -> None:
    """A dimension that the command line offers would fail, or mix up its groups."""
    named = {"day": "2026-11-18", "status": "ok", "tag": "red"}
    changes = {"tags": ("red",)} if by == "tag" else {} if by in named else {by: f"some {by}"}
    record(ledger, changes)
    (row,) = ledger.queries.cost(by)
    assert (row.group, row.attempts, row.cost) == (named.get(by, f"some {by}"), 1, 1_500_000)


def test_an_attempt_with_two_tags_counts_for_both_and_one_without_for_none(ledger: Ledger) -> None:
    """A team's bill would miss calls that another tag stands on too."""
    record(ledger, {"tags": ("red", "blue")}, {"tags": ("red",)}, {})
    assert {row.group: row.attempts for row in ledger.queries.cost("tag")} == {"red": 2, "blue": 1, "": 1}


def test_a_dimension_that_there_is_not_is_refused(ledger: Ledger) -> None:
    """A typo, or an injection, would reach SQL."""
    with pytest.raises(InvalidCall, match="try model"):
        ledger.queries.cost("model; DROP TABLE entries")  # type: ignore[arg-type]


def test_a_period_holds_its_start_and_not_its_end(ledger: Ledger) -> None:
    """An attempt at midnight would be billed twice, or never."""
    record(ledger, {"at": NOON}, {"at": NOON + DAY}, {"at": NOON + 2 * DAY})
    (row,) = ledger.queries.cost("model", since=NOON, until=NOON + DAY)
    assert row.attempts == 1
    assert [one.at for one in ledger.queries.entries(since=NOON + DAY)] == [NOON + DAY, NOON + 2 * DAY]


def test_performance_takes_each_mean_over_its_own_values(ledger: Ledger) -> None:
    """A fast failure would make a model look quick, an unknown cost would make it look cheap."""
    record(
        ledger,
        *({"seconds": float(second), "ttft": None if second < 11 else 0.5} for second in range(1, 21)),
        {"seconds": 0.001, "status": "failed", "cost": None, "usage": None},
        {"seconds": 0.001, "status": "cancelled", "cost": Nanos(22_500_000), "usage": Usage(output=540)},
    )
    (row,) = ledger.queries.performance()
    assert (row.requests, row.ok, row.cancelled) == (22, 20, 1)
    assert row.success_rate == pytest.approx(20 / 21)
    assert (row.seconds.count, row.seconds.mean, row.seconds.p50) == (20, 10.5, 10.5)
    assert row.seconds.p95 == pytest.approx(19.05)
    assert (row.ttft.count, row.ttft.mean) == (10, 0.5)
    assert (row.total_tokens, row.mean_tokens) == (2940, 140)
    assert (row.total_cost, row.mean_cost, row.unknown_costs) == (52_500_000, 2_500_000, 1)


def test_answers_that_were_of_no_use_are_no_success(ledger: Ledger) -> None:
    """A model all of whose answers broke the form that was asked for would be shown as one that never fails."""
    record(ledger, *({"call_id": f"{number:032x}", "at": NOON + number} for number in range(1, 5)))
    *_, third, last = ledger.queries.entries()
    ledger.feedback.add(automatic(last, "not_json"))
    ledger.feedback.add(automatic(third, "cut_off"))
    ledger.feedback.add(Feedback(last.call_id, NOON, 0.0))
    (row,) = ledger.queries.performance()
    assert (row.ok, row.useless, row.success_rate) == (4, pytest.approx(1.2), pytest.approx(2.8 / 4))
    (earlier,) = ledger.queries.performance(until=last.at)
    assert earlier.useless == pytest.approx(0.3)


def test_performance_of_a_model_that_never_answered_is_unknown(ledger: Ledger) -> None:
    """It would be shown as answering in 0 seconds."""
    record(ledger, {"status": "cancelled", "usage": None, "cost": None, "ttft": None})
    (row,) = ledger.queries.performance()
    assert (row.success_rate, row.seconds.mean, row.ttft.p95, row.mean_tokens, row.mean_cost) == (None,) * 5


def test_an_empty_ledger_answers_everything(ledger: Ledger) -> None:
    """The first command on a fresh machine would fail."""
    queries = ledger.queries
    assert (queries.cost(), queries.performance(), queries.recent(), list(queries.entries())) == ([], [], [], [])
    assert (queries.get("a" * 32), queries.body("a" * 32)) == (None, None)


def test_recent_decisions_come_newest_first_with_every_candidate(ledger: Ledger) -> None:
    """The console could not say why a model was chosen."""
    candidates = (Weighed("a", 0.9, 0.8), Weighed("b", None, 0.2), Weighed("c", rejected="context 8k < 12k"))
    record(ledger, {"at": 1.0}, {"at": 3.0, "candidates": candidates, "probability": 0.8}, {"at": 2.0})
    recent = ledger.queries.recent(2)
    assert [one.at for one in recent] == [3.0, 2.0]
    assert (recent[0].candidates, recent[0].probability) == (candidates, 0.8)


def test_choices_of_routes_are_found_with_what_they_were_drawn_among(ledger: Ledger) -> None:
    """What trying out models has cost could not be known, and so not be bounded."""
    drawn = (
        Weighed("dear", 0.75, 0.25, quality=0.5, cost=1024.0),
        Weighed("cheap", 0.5, 0.75, cost=None),
        Weighed("never", 0.25, 0.0, cost=8.0),
        Weighed("gone", rejected="is away"),
    )
    routed = {"decision_id": "1" * 32, "candidates": drawn, "probability": 0.25, "model": "dear", "cost": Nanos(7)}
    record(
        ledger,
        routed | {"at": NOON - DAY},
        routed,
        routed | {"status": "cancelled"},
        routed | {"status": "failed", "error": "key_rejected"},
        routed | {"retry": 1, "candidates": ()},
        routed | {"probability": 1.0, "cost": None},
        {"model": "named"},
    )
    certain, tried = ledger.queries.chosen(NOON - 1)
    assert (certain.model, certain.cost, certain.candidates) == ("dear", None, ())
    assert (tried.model, tried.cost) == ("dear", 7)
    assert tried.candidates == (Weighed("dear", 0.75, 0.25, cost=1024.0), Weighed("cheap", 0.5, 0.75))
    assert len(ledger.queries.chosen(0)) == 3 and len(ledger.queries.chosen(0, latest=1)) == 1


def test_a_kept_body_is_found_by_its_attempt(ledger: Ledger) -> None:
    """Prompts that were asked to be kept could not be read."""
    body = Body("not-a-uuid", NOON, b"\xff prompt", "answer \U0001f600")
    ledger.record_body(body)
    ledger.flush()
    assert ledger.queries.body("not-a-uuid") == body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOON - 1800),
        ("24h", NOON - DAY),
        (" 7d ", NOON - 7 * DAY),
        ("2w", NOON - 14 * DAY),
        ("1970-01-02", DAY),
        ("1970-01-02T01:00+01:00", DAY),
        ("1970-01-02T00:00:00Z", DAY),
    ],
)
def test_since_takes_spans_and_dates(text: str, expected: float) -> None:
    """`--since 7d` would show another week."""
    assert parse_since(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "7", "7y", "-7d", "yesterday", "2026-13-01", "7d; --", "٧d", "9" * 40 + "d"])
def test_since_refuses_anything_else_and_says_what_it_takes(text: str) -> None:
    """A typo would silently show all time."""
    with pytest.raises(InvalidCall, match="7d"):
        parse_since(text, NOON)
