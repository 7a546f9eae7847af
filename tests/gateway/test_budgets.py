"""Budgets at the door of the gateway: what is reserved, what is sent, what is spent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_samples import NO_OLLAMA, Upstream, entries, gateway, text_of, upstream

from pointsman.catalog import Price
from pointsman.core import Call, Caller, OverBudget, UpstreamFailed
from pointsman.dialects import DIALECTS
from pointsman.gateway import Gateway
from pointsman.gateway.spending import Dearest, most_cost

SIM = "  sim: {dialect: simulated, deployment: local}\n"


@asynccontextmanager
async def spending(folder: Path, budgets: str, more: str = "") -> AsyncIterator[tuple[Gateway, Upstream]]:
    """`paid` costs a dollar for a million tokens in, two out; `dear` a dollar a token."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with upstream() as mine:
        config = (
            f'providers:\n  mine: {{base_url: "{mine.base_url}/v1"}}\n{SIM}'
            "models:\n"
            "  paid: {provider: mine, price: {input: 1, output: 2}}\n"
            "  status-500: {provider: mine, price: {input: 1, output: 2}}\n"
            "  silent: {provider: mine, price: {input: 1, output: 2}}\n"
            "  unpriced: {provider: mine}\n"
            "  free: {provider: sim}\n"
            f"budgets: {budgets}\ntimeouts: {{ttft: 0.3}}\n{more}{NO_OLLAMA}"
        )
        async with gateway(folder, config) as asked:
            yield asked, mine


def spent(asked: Gateway) -> int:
    asked.ledger.flush()
    [status] = asked.budgets.status()
    return status.spent


async def test_what_is_spent_is_what_was_billed(tmp_path: Path) -> None:
    """A budget would run out early, or never."""
    async with spending(tmp_path, "[{scope: server, usd: 1}]") as (asked, _):
        for _ in range(3):
            await text_of(await asked.ask("Hi", model="paid"))
        assert spent(asked) == 3 * (10 * 1000 + 5 * 2000)
        assert sum(entry.cost or 0 for entry in entries(asked)) == spent(asked)


async def test_a_budget_that_is_spent_refuses_and_sends_nothing(tmp_path: Path) -> None:
    """The bill would go past the sum that was set."""
    async with spending(tmp_path, '[{scope: server, usd: "0.000001"}]') as (asked, mine):
        with pytest.raises(OverBudget, match="budget") as refused:
            await asked.ask("Hi", model="paid", max_tokens=10)
        assert mine.models == []
        assert (refused.value.retry_after or 0) > 0
        assert entries(asked) == []


@pytest.mark.parametrize("stream", [True, False])
async def test_many_calls_at_once_spend_no_more_than_there_is(tmp_path: Path, stream: bool) -> None:
    """Checking first and paying later lets a crowd through."""
    async with spending(tmp_path, '[{scope: server, usd: "0.0005"}]') as (asked, mine):
        calls = [asked.ask("Hi", model="paid", max_tokens=5, stream=stream) for _ in range(60)]
        replies = await asyncio.gather(*calls, return_exceptions=True)
        for reply in replies:
            if not isinstance(reply, BaseException):
                await text_of(reply)
        assert {type(reply) for reply in replies if isinstance(reply, BaseException)} <= {OverBudget}
        assert 0 < spent(asked) <= 500_000
        assert len(mine.models) == len(entries(asked))


async def test_free_and_local_models_are_never_held_up_by_money(tmp_path: Path) -> None:
    """A spent budget would stop what costs nothing."""
    async with spending(tmp_path, "[{scope: server, usd: 0}]") as (asked, _):
        assert await text_of(await asked.ask("Hi", model="free")) == "simulated: Hi"


@pytest.mark.parametrize("at_limit", ["free", "local"])
async def test_at_the_limit_models_that_cost_nothing_take_over(tmp_path: Path, at_limit: str) -> None:
    """The user asked for a fallback and got a refusal."""
    budget = f'[{{scope: server, usd: "0.000001", at_limit: {at_limit}}}]'
    async with spending(tmp_path, budget) as (asked, mine):
        assert await text_of(await asked.ask("Hi", model="paid", max_tokens=10)) == "simulated: Hi"
        assert mine.models == []


async def test_an_unknown_price_is_refused_under_a_budget(tmp_path: Path) -> None:
    """A model that nobody has priced would spend without an end."""
    async with spending(tmp_path, "[{scope: server, usd: 5}]") as (asked, mine):
        with pytest.raises(OverBudget, match="unknown"):
            await asked.ask("Hi", model="unpriced")
        assert mine.models == []
    async with spending(tmp_path / "b", "[{scope: server, usd: 5, allow_unknown: true}]") as (asked, mine):
        await text_of(await asked.ask("Hi", model="unpriced"))
        assert mine.models == ["unpriced"]


async def test_an_attempt_that_was_refused_costs_nothing(tmp_path: Path) -> None:
    """Failures would eat the budget."""
    async with spending(tmp_path, "[{scope: server, usd: 5}]") as (asked, _):
        with pytest.raises(UpstreamFailed):
            await asked.ask("Hi", model="status-500")
        assert spent(asked) == 0


async def test_what_nobody_knows_the_cost_of_counts_as_reserved(tmp_path: Path) -> None:
    """A provider may bill an answer for which we did not wait: to count nothing would overspend."""
    async with spending(tmp_path, "[{scope: server, usd: 5}]") as (asked, _):
        with pytest.raises(Exception, match="no first content"):
            await asked.ask("Hi", model="silent", max_tokens=100)
        [entry] = entries(asked)
        assert entry.cost is None
        assert entry.held is not None
        assert spent(asked) == entry.held >= 100 * 2000


async def test_a_reply_that_is_left_gives_back_what_it_did_not_use(tmp_path: Path) -> None:
    """Every caller who leaves would take the most that his call could have cost out of the budget."""
    async with spending(tmp_path, '[{scope: server, usd: "0.01"}]') as (asked, _):
        for _ in range(20):
            reply = await asked.ask("Hi", model="paid", max_tokens=2000)
            await anext(aiter(reply))
            await reply.aclose()
        assert 0 < spent(asked) < 2_000_000


async def test_without_a_bound_an_answer_gets_one(tmp_path: Path) -> None:
    """No budget can hold an answer that may be of any length."""
    async with spending(tmp_path, "[{scope: server, usd: 5}]") as (asked, mine):
        await text_of(await asked.ask("Hi", model="paid"))
        assert json.loads(mine.seen[-1][2])["max_tokens"] == 16_384
    async with spending(tmp_path / "b", '[{scope: server, usd: "0.01"}]') as (asked, mine):
        await text_of(await asked.ask("Hi", model="paid"))
        assert json.loads(mine.seen[-1][2])["max_tokens"] == 2_048
    async with spending(tmp_path / "c", "[]") as (asked, mine):
        await text_of(await asked.ask("Hi", model="paid"))
        assert "max_tokens" not in json.loads(mine.seen[-1][2])


def test_several_answers_are_reserved_for_as_such() -> None:
    """A call for nine answers would reserve for one."""
    rates = Dearest.of(Price.per_mtok(input="1", output="2"))
    assert rates is not None
    asked = []
    for n in (1, 9):
        body = json.dumps({"model": "m", "n": n, "messages": [{"role": "user", "content": "Hi"}]}).encode()
        call = Call(id="c", model="m", dialect="openai", body=body, decode=DIALECTS["openai"].door.decode_call)
        asked.append(most_cost(call, rates, 1000))
    assert asked[1] - asked[0] == 8 * 1000 * 2000


async def test_each_user_has_a_budget_of_his_own(tmp_path: Path) -> None:
    """One user would spend what is another's."""
    async with spending(tmp_path, '[{scope: user, usd: "0.00006"}]') as (asked, _):
        anna, ben = Caller(user="anna"), Caller(user="ben")
        with pytest.raises(OverBudget):
            for _ in range(10):
                await text_of(await asked.ask("Hi", model="paid", max_tokens=5, caller=anna))
        await text_of(await asked.ask("Hi", model="paid", max_tokens=5, caller=ben))
        await text_of(await asked.ask("Hi", model="paid", max_tokens=5))


async def test_alerts_are_told_in_the_log_and_posted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The money would be gone before anybody heard of it."""
    async with upstream() as hook:
        budget = '[{scope: server, usd: "0.00004", alert: [0.25, 0.5, 1]}]'
        async with spending(tmp_path, budget, f'alerts: {{webhook: "{hook.base_url}/hook"}}\n') as (asked, _):
            await text_of(await asked.ask("Hi", model="paid", max_tokens=5))
        posted = [json.loads(body) for path, _, body in hook.seen if path == "/hook"]
    assert sorted(alert["share"] for alert in posted) == [0.25, 0.5]
    assert posted[0]["spent_usd"] == "0.00002"
    assert "has spent $0.000020 of $0.000040" in caplog.text
