"""Several models at once at the door of the gateway: no more money, and no more attempts, than one call may take."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from gateway_samples import Upstream, entries, gateway, upstream

from pointsman.core import BrokenReply, Nanos, Needs, PointsmanError, from_usd
from pointsman.gateway import Gateway, as_chat

NAMES = ("one", "two", "three")


@asynccontextmanager
async def voting(folder: Path, way: str = "", more: str = "") -> AsyncIterator[tuple[Gateway, Upstream]]:
    """The mode `voted` has three models at a dollar for a million tokens in, two out, that all behave in one `way`."""
    async with upstream() as mine:
        models = "".join(
            f"  {name}: {{provider: mine, id: {way or name}, quality: 0.{9 - place}, price: {{input: 1, output: 2}}}}\n"
            for place, name in enumerate(NAMES)
        )
        config = (
            f'providers:\n  mine: {{base_url: "{mine.base_url}/v1"}}\nmodels:\n{models}'
            f"  spare: {{provider: mine, id: {way or 'spare'}}}\n"
            f"modes:\n  voted: {{rules: bounds, candidates: [{', '.join(NAMES)}]}}\n"
            f"local: {{ollama: false}}\nfallback: {{any_model: false}}\n{more}"
        )
        async with gateway(folder, config) as asked:
            yield asked, mine


async def test_a_budget_for_each_call_holds_for_all_that_it_asks_at_once(tmp_path: Path) -> None:
    """Each of three would find the whole budget, and all of them together spend it three times."""
    budget = 'budgets: [{scope: server, usd: "0.0003", window: request}]\n'  # room for one at 100 tokens
    async with voting(tmp_path, more=budget) as (asked, mine):
        async with await asked.ask("Hi", model="voted", quality=0.96, max_tokens=100) as reply:
            assert (await reply.read()).text and reply.provenance.agreed == (1, 1)
        assert mine.models == ["one"]
        assert sum(entry.held or 0 for entry in entries(asked)) <= from_usd("0.0003")


@pytest.mark.parametrize("most", [1, 2, 4, 6])
@pytest.mark.parametrize("name", ["voted", "pooled"])
async def test_a_call_makes_no_more_attempts_than_it_may(tmp_path: Path, name: str, most: int) -> None:
    """Three at a time would be begun while there is room for one."""
    pool = f"retries: {{attempts: {most}}}\npools: {{pooled: {{members: [spare, voted], balance: round_robin}}}}\n"
    async with voting(tmp_path, "status-503", pool) as (asked, mine):
        for _ in range(2):
            mine.seen.clear()
            with pytest.raises(PointsmanError):
                await asked.ask("Hi", model=name, quality=0.96)
            assert 1 <= len(mine.models) <= most


async def test_what_broke_off_leaves_less_of_a_budget(tmp_path: Path) -> None:
    """A second round would spend the caller's budget a second time."""
    async with voting(tmp_path, "breaks") as (asked, mine):
        chat, needs = as_chat("Hi", max_tokens=100), Needs(min_quality=0.96)
        expected = asked.decide(asked.call(chat, model="voted", needs=needs))
        budget = Nanos(sum(one.worst or 0 for one in expected.candidates))
        call = asked.call(chat, model="voted", needs=Needs(min_quality=0.96, max_cost=budget))
        with pytest.raises(BrokenReply):
            await asked(call)
        assert len(mine.models) == 3
        assert 0 < sum(entry.cost or 0 for entry in entries(asked)) <= budget


async def test_what_never_went_out_costs_nothing(tmp_path: Path) -> None:
    """The losers of a race, still without a connection, would eat up a budget."""
    with closing(socket.socket()) as full, closing(socket.socket()) as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())  # who comes now waits until this one is taken, which it never is
        config = (
            f'providers:\n  mine: {{base_url: "http://127.0.0.1:{full.getsockname()[1]}/v1"}}\n'
            "models:\n  paid: {provider: mine, price: {input: 1, output: 2}}\n"
            "budgets: [{scope: server, usd: 1}]\nlocal: {ollama: false}\n"
        )
        async with gateway(tmp_path, config) as asked:
            asking = asyncio.create_task(asked.ask("Hi", model="paid", max_tokens=100))
            await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.wait([asking])
            [entry] = entries(asked)
            [status] = asked.budgets.status()
    assert (entry.status, entry.cost, status.spent) == ("cancelled", 0, 0)
    assert (entry.held or 0) > 0
