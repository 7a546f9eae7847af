"""What an upstream did is remembered for a while: nobody runs into the same wall call after call."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_table import SPEECHES, TABLE, Plan, Row, after_content
from test_faults import call, gateway

from pointsman.core import AttemptError
from upstream import ANSWER, Upstream

ROWS = {row.name: row for row in TABLE}


def asked_of(upstream: Upstream, since: int) -> int:
    """How many calls have reached the faulty endpoint since so many had."""
    return len(upstream.of("faulty")) - since


async def failures(row: Row, upstream: Upstream, home: Path, calls: int) -> tuple[list[str], int]:
    """The kinds of error of so many calls in a row, and how many of them were sent."""
    before = len(upstream.of("faulty"))
    kinds = []
    async with gateway(row, "openai", upstream, home) as asked:
        for _ in range(calls):
            with pytest.raises(AttemptError) as failed:
                await asked(call("faulty", "openai", False))
            kinds.append(failed.value.kind)
    return kinds, asked_of(upstream, before)


async def passed_over(row: Row, upstream: Upstream, home: Path, calls: int) -> int:
    """How many of so many calls to a pool, each of which another endpoint serves in the end, reach the faulty one."""
    before = len(upstream.of("faulty"))
    async with gateway(row, "openai", upstream, home) as asked:
        for _ in range(calls):
            assert (await (await asked(call("both", "openai", False))).read()).text == ANSWER
    return asked_of(upstream, before)


@pytest.mark.fault(22, "After five in a row the endpoint is left alone for a while, where another can serve.")
@pytest.mark.parametrize("name", ["22-500", "22-502", "22-503", "22-504", "18-length-too-short", "16-empty"])
async def test_an_endpoint_that_keeps_failing_is_left_alone(name: str, upstream: Upstream, home: Path) -> None:
    """Each call would wait for a server that is down, and keep it down."""
    assert await passed_over(ROWS[name], upstream, home, 16) == 5


@pytest.mark.fault(24, "It is not asked again before the wait is over.")
@pytest.mark.parametrize(
    ("name", "kind"),
    [("24-seconds", "rate_limited"), ("25-date", "rate_limited"), ("26-absurd", "rate_limited")],
)
async def test_a_provider_that_asks_to_wait_is_left_alone(name: str, kind: str, upstream: Upstream, home: Path) -> None:
    """Calls that cannot succeed would count against the limit, or lead to a ban."""
    assert await failures(ROWS[name], upstream, home, 4) == ([kind] * 4, 1)


@pytest.mark.fault(28, "The key is not used again for a while, where another endpoint can serve.")
@pytest.mark.fault(32, "The model is not asked for again for ten minutes, where another can serve.")
@pytest.mark.parametrize("name", ["28-key-quoted", "32-404"])
async def test_what_is_gone_is_not_asked_for_again(name: str, upstream: Upstream, home: Path) -> None:
    """Each call would begin with an attempt that cannot succeed."""
    assert await passed_over(ROWS[name], upstream, home, 8) == 1


@pytest.mark.fault(29, "It says nothing about the endpoint, which goes on serving others.")
@pytest.mark.parametrize("name", ["29-openai", "30-filter"])
async def test_a_call_s_own_fault_is_not_held_against_the_endpoint(name: str, upstream: Upstream, home: Path) -> None:
    """One user's long prompt would shut everybody out."""
    _, sent = await failures(ROWS[name], upstream, home, 8)
    assert sent == 8


@pytest.mark.fault(12, "The call is refused at once, as too many, or goes to the next endpoint.")
async def test_a_call_for_which_there_is_no_place_is_told_at_once(upstream: Upstream, home: Path) -> None:
    """It would wait, unseen, until its deadline."""

    def endless(speech: object) -> Plan:
        return after_content("hang")(SPEECHES["openai"])

    row = Row(12, "full", "", endless, None, None)
    before = len(upstream.of("faulty"))
    async with gateway(row, "openai", upstream, home, more="max_concurrent: 1, ") as asked:
        async with await asked(call("faulty", "openai", True)):
            with pytest.raises(AttemptError) as refused:
                await asked(call("faulty", "openai", True))
            assert refused.value.kind in ("rate_limited", "overloaded")
            assert refused.value.status in (429, 503)
            for _ in range(2):
                assert (await (await asked(call("both", "openai", False))).read()).text == ANSWER
        assert asked_of(upstream, before) == 1
