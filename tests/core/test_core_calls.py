"""Calls, their copies, and what goes with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pointsman.core import (
    Call,
    Caller,
    Chat,
    InvalidCall,
    ManualClock,
    Message,
    Nanos,
    Needs,
    Tally,
    Text,
    Trace,
    Usage,
    Weighed,
)

CHAT = Chat((Message("user", (Text("Hi."),)),))


def test_a_body_is_decoded_once_and_only_when_it_is_looked_at() -> None:
    """Every proxied call would pay for a view that nobody reads."""
    decoded = []

    def decode(body: bytes) -> Chat:
        decoded.append(body)
        return CHAT

    call = Call(id="1", model="m", body=b"{}", dialect="openai", decode=decode)
    assert decoded == []
    assert call.chat is call.chat is CHAT
    assert call.traced(Trace()).chat is CHAT
    assert decoded == [b"{}"]


def test_a_body_that_cannot_be_read_is_told_each_time() -> None:
    """A second look at a bad call would find an empty one."""

    def decode(body: bytes) -> Chat:
        raise InvalidCall("No.")

    call = Call(id="1", model="m", body=b"{", decode=decode)
    for _ in range(2):
        with pytest.raises(InvalidCall):
            _ = call.chat


def test_copies_of_a_call_share_its_tally_and_keep_everything_else() -> None:
    """The bill of a call would forget the attempts of its strategy."""
    call = Call(
        id="1",
        model="m",
        chat=CHAT,
        dialect="openai",
        body=b"{}",
        stream=True,
        wants_usage=False,
        needs=Needs(local_only=True),
        caller=Caller(user="u"),
        task="coding",
    )
    traced = call.traced(Trace(stage="draft"))
    needy = traced.with_needs(Needs(min_quality=0.5), task="")
    assert call.tally is traced.tally is needy.tally
    assert (traced.needs.local_only, traced.task, traced.trace.stage) == (True, "coding", "draft")
    assert (needy.needs, needy.task, needy.trace.stage) == (Needs(min_quality=0.5), "", "draft")
    same = ("id", "model", "op", "dialect", "body", "stream", "wants_usage", "caller")
    assert all(getattr(copy, name) == getattr(call, name) for copy in (traced, needy) for name in same)


def test_two_calls_share_no_tally() -> None:
    """One caller would see another's bill."""
    assert Call(id="1", model="m", chat=CHAT).tally is not Call(id="2", model="m", chat=CHAT).tally


def test_the_repr_of_a_call_holds_no_prompt() -> None:
    """A log line would hold what the user did not allow to be kept."""
    assert "secret" not in repr(Call(id="1", model="m", body=b'{"secret": 1}', dialect="openai"))


@given(some.lists(some.one_of(some.none(), some.integers(0, 10**12))))
def test_a_total_is_unknown_while_a_part_of_it_is(costs: list[int | None]) -> None:
    """A bill with an unknown part would look whole."""
    tally = Tally()
    for cost in costs:
        tally.add(None if cost is None else Nanos(cost), 1)
    assert tally.cost == sum(cost or 0 for cost in costs)
    assert tally.total == (None if None in costs else tally.cost)


@given(*[some.integers(0, 10**6)] * 6)
def test_usage_adds_up_over_disjoint_buckets(
    fresh: int, read: int, write: int, hour: int, out: int, think: int
) -> None:
    """Cached tokens would be billed twice, or not at all."""
    usage = Usage(fresh, read, write, hour, out, think)
    assert usage.input_tokens == fresh + read + write + hour
    assert usage.output_tokens == out + think


def test_a_trace_knows_the_probability_of_each_candidate() -> None:
    """A policy could not be judged from the log afterwards."""
    trace = Trace(candidates=(Weighed("a", 1.0, 0.75), Weighed("b", 0.5, 0.25)))
    assert (trace.probability_of("a"), trace.probability_of("b"), trace.probability_of("c")) == (0.75, 0.25, None)


def test_the_text_of_a_message_is_its_text_parts_joined() -> None:
    """The router would read something that the user did not write."""
    assert Message("user", (Text("a"), Text("b"))).text == "ab"


def test_a_manual_clock_stands_still() -> None:
    """A test of a breaker would depend on the speed of the machine."""
    manual = ManualClock(5)
    clock = manual.clock
    assert clock.wall() == clock.steady() == 5
    manual.advance(2.5)
    assert clock.wall() == clock.steady() == 7.5
