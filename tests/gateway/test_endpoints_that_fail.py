"""Endpoints that fail, are full, or come back: who serves then, and what callers hear."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_samples import Upstream, entries, gateway, text_of, upstream

from pointsman.core import ContextTooLong, KeyRejected, NoCandidate, RateLimited, UpstreamFailed, UpstreamTimeout
from pointsman.gateway import Gateway

QUIET = "local: {ollama: false}\n"


@asynccontextmanager
async def house(folder: Path, config: str) -> AsyncIterator[tuple[Gateway, Upstream, Upstream]]:
    """Two upstreams, `one` and `two`; the configuration may name `{one}` and `{two}`."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with upstream() as one, upstream() as two:
        text = config.replace("{one}", f"{one.base_url}/v1").replace("{two}", f"{two.base_url}/v1")
        async with gateway(folder, QUIET + text) as asked:
            yield asked, one, two


TWO = "providers: {one: {base_url: '{one}'}, two: {base_url: '{two}'}}\n"


async def test_a_sole_endpoint_that_fails_is_asked_three_times(tmp_path: Path) -> None:
    """A hiccup would be an outage; or nobody could say how many calls an outage makes."""
    async with house(tmp_path, TWO) as (asked, one, _):
        with pytest.raises(UpstreamFailed):
            await asked.ask("Hi", model="one/status-500")
        assert len(one.models) == 3
        assert [entry.retry for entry in entries(asked)] == [0, 1, 2]


async def test_a_pool_learns_which_member_fails(tmp_path: Path) -> None:
    """Every other call would run into the same wall, again and again."""
    pools = "pools: {both: {members: [one/status-500, two/good], balance: round_robin}}\n"
    async with house(tmp_path, TWO + pools) as (asked, one, two):
        for _ in range(30):
            assert await text_of(await asked.ask("Hi", model="both")) == "I am good."
        assert len(one.models) == 5
        assert len(two.models) == 30


async def test_an_endpoint_that_was_put_out_comes_back_when_its_provider_answers(tmp_path: Path) -> None:
    """One bad minute would put a member out for good."""
    pools = "pools: {both: {members: [one/status-500, two/good], balance: round_robin}}\n"
    async with house(tmp_path, TWO + pools) as (asked, one, _):
        for _ in range(12):
            await text_of(await asked.ask("Hi", model="both"))
        [gate] = [gate for gate in asked.gates.everyone() if gate.name == "one/status-500"]
        assert not gate.is_healthy
        tried = len(one.models)
        await asked.probe()
        assert gate.is_healthy
        assert one.seen[-1][0] == "/v1/models"
        for _ in range(4):
            await text_of(await asked.ask("Hi", model="both"))
        assert len(one.models) == tried + 1


async def test_an_idle_gateway_asks_nobody_anything(tmp_path: Path) -> None:
    """Health checks would cost money, or wake what sleeps."""
    async with house(tmp_path, TWO) as (asked, one, two):
        await text_of(await asked.ask("Hi", model="one/good"))
        before = len(one.seen)
        for _ in range(3):
            await asked.probe()
        assert (len(one.seen), len(two.seen)) == (before, 0)


async def test_a_requests_own_fault_puts_nobody_out(tmp_path: Path) -> None:
    """One caller's mistakes would take the only endpoint from all others."""
    pools = "pools: {sole: {members: [one/status-400]}}\n"
    async with house(tmp_path, TWO + pools) as (asked, one, _):
        for _ in range(20):
            with pytest.raises(Exception, match="400"):
                await asked.ask("Hi", model="sole")
        [gate] = asked.gates.everyone()
        assert gate.is_healthy
        assert len(one.models) == 20


async def test_a_full_limit_is_passed_over_before_the_call(tmp_path: Path) -> None:
    """A free tier would be found full by being refused, which counts as a call, too."""
    config = (
        "providers: {one: {base_url: '{one}', limits: {requests_per_minute: 3}}, two: {base_url: '{two}'}}\n"
        "pools: {both: {members: [one/good, two/good], balance: round_robin}}\n"
    )
    async with house(tmp_path, config) as (asked, one, two):
        for _ in range(10):
            await text_of(await asked.ask("Hi", model="both"))
        assert (len(one.models), len(two.models)) == (3, 7)
        with pytest.raises(RateLimited) as refused:
            await asked.ask("Hi", model="one/good")
        assert 0 < (refused.value.retry_after or 0) <= 20
        assert len(one.models) == 3


async def test_keys_of_one_account_share_one_bucket(tmp_path: Path) -> None:
    """Two keys of one account would each take the whole of its limit."""
    limits = "account: acme, limits: {requests_per_minute: 4}"
    config = (
        f"providers: {{one: {{base_url: '{{one}}', {limits}}}, two: {{base_url: '{{two}}', {limits}}}}}\n"
        "pools: {both: {members: [one/good, two/good], balance: round_robin}}\n"
    )
    async with house(tmp_path, config) as (asked, one, two):
        done = [await asyncio.gather(asked.ask("Hi", model="both"), return_exceptions=True) for _ in range(8)]
        kinds = Counter(type(reply).__name__ for [reply] in done)
        assert kinds == {"Reply": 4, "RateLimited": 4}
        assert len(one.models) + len(two.models) == 4


async def test_a_limit_is_kept_over_a_restart(tmp_path: Path) -> None:
    """Each `pointsman ask` would find the free tier untouched."""
    config = "providers: {one: {base_url: '{one}', limits: {requests_per_day: 2}}}\n"
    async with upstream() as one:
        text = QUIET + config.replace("{one}", f"{one.base_url}/v1")
        kinds = []
        for _ in range(4):
            async with gateway(tmp_path, text) as asked:
                try:
                    await text_of(await asked.ask("Hi", model="one/good"))
                    kinds.append("served")
                except RateLimited:
                    kinds.append("full")
        assert kinds == ["served", "served", "full", "full"]


async def test_the_router_passes_over_what_another_process_has_used_up(tmp_path: Path) -> None:
    """`auto` would choose a free tier that is full, and say that it can serve."""
    config = (
        "providers: {one: {base_url: '{one}', deployment: free, limits: {requests_per_day: 1}}}\n"
        "models: {little: {provider: one, id: good, price: {input: 0, output: 0}}}\nroute: {candidates: [little]}\n"
    )
    async with upstream() as one:
        text = QUIET + config.replace("{one}", f"{one.base_url}/v1")
        async with gateway(tmp_path, text) as asked:
            await text_of(await asked.ask("Hi"))
        async with gateway(tmp_path, text) as asked:
            with pytest.raises(NoCandidate, match="limit that is used up"):
                await asked.ask("Hi")
        assert len(one.models) == 1


async def test_a_refused_key_goes_to_another_provider_and_is_left_alone(tmp_path: Path) -> None:
    """Each call would knock at a door that stays shut."""
    pools = "pools: {both: {members: [one/status-401, two/good], balance: round_robin}}\n"
    async with house(tmp_path, TWO + pools) as (asked, one, _):
        for _ in range(10):
            assert await text_of(await asked.ask("Hi", model="both")) == "I am good."
        assert len(one.models) == 1
        with pytest.raises(KeyRejected):
            await asked.ask("Hi", model="one/status-401")


async def test_tiers_of_fallback_are_gone_through_in_order(tmp_path: Path) -> None:
    """The emergency would go to whatever comes first."""
    config = (
        TWO + "models: {main: {provider: one, id: status-500}}\nretries: {rounds: 0}\nfallback: "
        "{named: true, any_model: false, premium: [one/status-503], speed: [two/fast], research: [two/slow]}\n"
    )
    async with house(tmp_path, config) as (asked, _, two):
        assert await text_of(await asked.ask("Hi", model="main")) == "I am fast."
        assert two.models == ["fast"]
        assert [(entry.model, entry.stage) for entry in entries(asked)] == [
            ("main", ""),
            ("one/status-503", "fallback:premium"),
            ("two/fast", "fallback:speed"),
        ]


async def test_a_model_that_is_named_has_no_stand_in_unless_one_is_wanted(tmp_path: Path) -> None:
    """An answer would come from a model that nobody asked for."""
    config = TWO + "models: {main: {provider: one, id: status-500}, other: {provider: two}}\nretries: {rounds: 0}\n"
    async with house(tmp_path, config) as (asked, _, two):
        with pytest.raises(UpstreamFailed):
            await asked.ask("Hi", model="main")
        assert two.models == []


@pytest.mark.parametrize("where", ["", "pools: {sole: {members: [one/silent], timeouts: {ttft: 0.2}}}\n"])
async def test_the_first_content_has_a_deadline_of_its_own(tmp_path: Path, where: str) -> None:
    """A silent upstream would hold its caller for ten minutes."""
    config = TWO + (where or "timeouts: {ttft: 0.2}\n")
    async with house(tmp_path, config) as (asked, _, _two):
        with pytest.raises(UpstreamTimeout, match=r"0\.2 s"):
            await asyncio.wait_for(asked.ask("Hi", model="sole" if where else "one/silent"), 5)


async def test_a_context_that_is_too_long_is_the_callers_when_nobody_has_a_larger_one(tmp_path: Path) -> None:
    """The caller would be told that everything is down."""
    async with house(tmp_path, TWO) as (asked, one, _):
        with pytest.raises(ContextTooLong):
            await asked.ask("Hi", model="one/too-long")
        assert len(one.models) == 1


async def test_limits_are_learnt_from_headers(tmp_path: Path) -> None:
    """A limit that the provider tells with every answer would be found by running into it."""
    pools = "pools: {both: {members: [one/last-one, two/good], balance: round_robin}}\n"
    async with house(tmp_path, TWO + pools) as (asked, one, two):
        for _ in range(8):
            await text_of(await asked.ask("Hi", model="both", stream=False))
        assert (len(one.models), len(two.models)) == (1, 7)
