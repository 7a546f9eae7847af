"""Calls through a whole gateway: who serves, who takes over, and what the ledger holds afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_samples import NO_OLLAMA, Upstream, entries, gateway, items, text_of, upstream

from pointsman.core import (
    Broken,
    Caller,
    CallRejected,
    KeyRejected,
    ManualClock,
    Needs,
    NoCandidate,
    UnknownModel,
    Unreachable,
    UpstreamFailed,
    UpstreamTimeout,
    Usage,
)
from pointsman.gateway import Gateway, as_chat
from pointsman.ledger import MAX_FEATURES, Entry, Ledger

SIMULATED = "providers: {sim: {dialect: simulated, deployment: local}}\n" + NO_OLLAMA


@asynccontextmanager
async def asking(folder: Path, models: str = "", more: str = NO_OLLAMA) -> AsyncIterator[tuple[Gateway, Upstream]]:
    """A gateway with an upstream called `mine`; `models` are the lines of its models."""
    async with upstream() as mine:
        config = (
            f'providers: {{mine: {{base_url: "{mine.base_url}/v1", api_key: {{env: MY_KEY}},'
            " timeouts: {ttft: 1, idle: 1, total: 5}}}\n"
            f"{f'models:{chr(10)}{models}' if models else ''}{more}"
        )
        async with gateway(folder, config, {"MY_KEY": "sk-very-secret"}) as asked:
            yield asked, mine


def priced(*names: str) -> str:
    return "".join(f"  {name}: {{provider: mine, price: {{input: 1, output: 2}}}}\n" for name in names)


async def test_a_simulated_model_answers_and_is_in_the_ledger(tmp_path: Path) -> None:
    """A user could try nothing without spending something."""
    async with gateway(tmp_path, SIMULATED) as asked:
        reply = await asked.ask("Hello there", model="sim/x", caller=Caller(user="u", tags=("red", "blue")))
        assert await text_of(reply) == "simulated: Hello there"
        [entry] = entries(asked)
    assert (entry.model, entry.endpoint, entry.provider) == ("sim/x", "sim/x", "sim")
    assert (entry.status, entry.stream, entry.retry, entry.cost, entry.error) == ("ok", True, 0, 0, "")
    assert (entry.user, entry.tags, entry.decision_id, entry.probability) == ("u", ("red", "blue"), "", None)
    assert entry.usage is not None
    assert entry.usage.estimated


async def test_a_gateway_without_any_configuration_writes_no_file(tmp_path: Path) -> None:
    """A look at what there is would leave a database in every home."""
    async with gateway(tmp_path, "") as asked:
        decision = asked.decide(asked.call(as_chat("Hello!")))
        assert decision.plan == ()
    assert not (tmp_path / "home").exists() or not list((tmp_path / "home").rglob("ledger*"))


def test_merely_making_a_gateway_touches_no_disk(tmp_path: Path) -> None:
    """A read-only home would keep the library from being imported and set up."""
    gateway(tmp_path, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_to_an_upstream_is_priced_and_recorded(tmp_path: Path, stream: bool) -> None:
    """The bill would be wrong."""
    async with asking(tmp_path, priced("one")) as (asked, mine):
        assert await text_of(await asked.ask("Hi", model="one", stream=stream)) == "I am one."
        [entry] = entries(asked)
    assert (entry.status, entry.usage, entry.cost, entry.list_cost) == ("ok", Usage(10, output=5), 20_000, 20_000)
    assert (entry.model, entry.endpoint, entry.provider) == ("one", "mine/one", "mine")
    assert entry.ttft is None if not stream else 0 < (entry.ttft or 0) <= entry.seconds
    assert [headers["authorization"] for _, headers, _ in mine.seen] == ["Bearer sk-very-secret"]


async def test_a_call_that_names_its_model_is_recorded_with_what_it_is(tmp_path: Path) -> None:
    """Most traffic names its model: a report by task, and a replay, would know nothing of it."""
    async with asking(tmp_path, priced("one")) as (asked, _):
        await text_of(await asked.ask("Write a Python function that reverses a string.", model="one"))
        [entry] = entries(asked)
    assert (entry.task, entry.complexity) == ("coding", "simple")
    assert 0 < len(entry.features) <= MAX_FEATURES
    assert (entry.decision_id, entry.probability) == ("", None)


async def test_a_new_process_knows_how_fast_models_were(tmp_path: Path) -> None:
    """A limit on latency would let a model through that took minutes yesterday."""
    clock = ManualClock(1_000_000)
    with Ledger.open(tmp_path / "home", clock=clock.clock) as ledger:
        for index in range(3):
            usage = Usage(10, output=100)
            ledger.record(
                Entry(
                    attempt_id=f"{index:032x}",
                    call_id="1",
                    at=clock.now,
                    model="mine/slow",
                    endpoint="mine/slow",
                    provider="mine",
                    status="ok",
                    seconds=60,
                    ttft=10,
                    usage=usage,
                )
            )
    async with asking(tmp_path) as (asked, _):
        call = asked.call(as_chat("Hi"), model="mine/slow", needs=Needs(max_latency=5))
        [candidate] = asked.decide(call).candidates
    assert candidate.rejected == "takes about 1.8e+02 s, the limit is 5 s"


async def test_the_cost_of_a_model_without_a_price_is_unknown(tmp_path: Path) -> None:
    """A dear model would look free."""
    async with asking(tmp_path) as (asked, _):
        call = asked.call(as_chat("Hi"), model="mine/whatever")
        await text_of(await asked(call))
        [entry] = entries(asked)
    assert (entry.cost, entry.list_cost, entry.usage) == (None, None, Usage(10, output=5))
    assert (call.tally.attempts, call.tally.total) == (1, None)


async def test_usage_that_was_not_told_is_estimated_and_says_so(tmp_path: Path) -> None:
    """Providers that count nothing would serve for nothing."""
    async with asking(tmp_path, priced("no-usage")) as (asked, _):
        await text_of(await asked.ask("Hi", model="no-usage"))
        [entry] = entries(asked)
    assert entry.usage is not None
    assert entry.usage.estimated
    assert entry.usage.input > 0
    assert entry.usage.output > 0
    assert entry.cost


@pytest.mark.parametrize(
    ("model", "kind", "error", "upstream_status", "cost"),
    [
        ("status-500", UpstreamFailed, "upstream_failed", 500, 0),
        ("status-401", KeyRejected, "key_rejected", 401, 0),
        ("status-400", CallRejected, "call_rejected", 400, 0),
        ("silent", UpstreamTimeout, "timeout", None, None),
    ],
)
async def test_an_attempt_that_fails_is_an_entry(
    tmp_path: Path, model: str, kind: type[Exception], error: str, upstream_status: int | None, cost: int | None
) -> None:
    """Failures would be invisible, or be billed for what nobody knows."""
    async with asking(tmp_path, priced(model)) as (asked, _):
        with pytest.raises(kind) as failed:
            await asked.ask("Hi", model=model)
        [entry] = entries(asked)
    assert (entry.status, entry.error, entry.upstream_status, entry.cost) == ("failed", error, upstream_status, cost)
    assert (entry.ttft, entry.usage) == (None, None)
    assert "sk-very-secret" not in str(failed.value)


async def test_a_reply_that_breaks_off_is_an_entry_with_what_was_delivered(tmp_path: Path) -> None:
    """Half an answer would count as none, or as a whole one."""
    async with asking(tmp_path, priced("breaks")) as (asked, _):
        got = await items(await asked.ask("Hi", model="breaks"))
        [entry] = entries(asked)
    assert isinstance(got[-1], Broken)
    assert (entry.status, entry.error) == ("broken", "broken_reply")
    assert entry.ttft is not None
    assert entry.usage is not None
    assert entry.usage.estimated
    assert entry.cost is not None


async def test_a_reply_that_is_left_closes_the_connection_and_is_an_entry(tmp_path: Path) -> None:
    """A model would go on writing, and billing, for a caller who left."""
    async with asking(tmp_path, priced("endless")) as (asked, mine):
        async with await asked.ask("Hi", model="endless") as reply:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await reply.read()
        await asyncio.wait_for(mine.left.wait(), 10)
        [entry] = entries(asked)
    assert (entry.status, entry.error) == ("cancelled", "")
    assert entry.usage is not None
    assert entry.usage.estimated


async def test_cancelling_before_the_first_word_is_an_entry(tmp_path: Path) -> None:
    """What a provider may bill for an abandoned call would be forgotten."""
    async with asking(tmp_path, priced("silent")) as (asked, mine):
        waiting = asyncio.create_task(asked.ask("Hi", model="silent"))
        async with asyncio.timeout(10):
            while not mine.seen:  # noqa: ASYNC110  # the upstream is a socket away: there is no event to wait for
                await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        [entry] = entries(asked)
    assert (entry.status, entry.error, entry.usage, entry.cost) == ("cancelled", "", None, None)


async def test_a_fallback_is_an_entry_of_the_same_decision(tmp_path: Path) -> None:
    """Nobody could see that the first choice had failed, or why the second served."""
    models = (
        "  status-503: {provider: mine, quality: 0.9, price: {input: 0, output: 0}}\n"
        "  second: {provider: mine, quality: 0.5, price: {input: 1, output: 2}}\n"
    )
    more = NO_OLLAMA + "route: {candidates: [status-503, second]}\n"
    async with asking(tmp_path, models, more) as (asked, _):
        call = asked.call(as_chat("Hello!"))
        reply = await asked(call)
        assert await text_of(reply) == "I am second."
        first, second = entries(asked)
    assert [(e.model, e.status, e.retry) for e in (first, second)] == [("status-503", "failed", 0), ("second", "ok", 1)]
    assert first.decision_id == second.decision_id == reply.provenance.decision_id != ""
    assert first.call_id == second.call_id == call.id
    assert (first.probability, second.probability) == (1, 0)
    assert [candidate.model for candidate in first.candidates] == ["status-503", "second"]
    assert second.candidates == ()
    assert (first.task, first.complexity, first.policy, first.strategy) == (
        *("chat", "simple"),
        *("objective:frugal", "single"),
    )
    assert 0 < len(first.features) <= 256
    assert (call.tally.attempts, call.tally.total) == (2, second.cost)


async def test_when_every_attempt_fails_the_last_failure_is_told(tmp_path: Path) -> None:
    """The caller would hang, or see an empty answer."""
    models = priced("status-500", "status-503")
    more = NO_OLLAMA + "route: {candidates: ['status-*']}\n"
    async with asking(tmp_path, models, more) as (asked, _):
        with pytest.raises(Exception, match="No: 50"):
            await asked.ask("Hello!")
        assert sorted(entry.model for entry in entries(asked)) == ["status-500", "status-503"]


async def test_what_an_upstream_calls_malformed_is_not_sent_elsewhere(tmp_path: Path) -> None:
    """One bad call would be refused, and counted, by every provider."""
    models = "  status-400: {provider: mine, quality: 0.9, price: {input: 0, output: 0}}\n" + priced("second")
    async with asking(tmp_path, models, NO_OLLAMA + "route: {candidates: [status-400, second]}\n") as (asked, mine):
        with pytest.raises(CallRejected):
            await asked.ask("Hello!")
        assert mine.models == ["status-400"]


@pytest.mark.parametrize("keep", [True, False])
async def test_prompts_and_answers_are_kept_only_when_asked_for(tmp_path: Path, keep: bool) -> None:
    """What a user wrote would lie on a disk without his leave."""
    more = NO_OLLAMA + f"ledger: {{bodies: {str(keep).lower()}}}\n"
    async with asking(tmp_path, priced("one"), more) as (asked, _):
        await text_of(await asked.ask("A marvellous secret", model="one"))
        [entry] = entries(asked)
        body = asked.ledger.queries.body(entry.attempt_id)
    assert (body is not None) is keep
    if body is not None:
        assert b"A marvellous secret" in body.prompt
        assert body.answer == "I am one."
    written = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert (b"A marvellous secret" in written) is keep
    assert b"sk-very-secret" not in written


async def test_features_are_kept_unless_they_are_switched_off(tmp_path: Path) -> None:
    """A user who wants no trace of his prompts would leave one."""
    config = SIMULATED + "models: {x: {provider: sim}}\nroute: {candidates: [x]}\nledger: {features: false}\n"
    async with gateway(tmp_path, config) as asked:
        await text_of(await asked.ask("Hello!"))
        assert [entry.features for entry in entries(asked)] == [b""]


async def test_an_unknown_name_gets_the_nearest_ones(tmp_path: Path) -> None:
    """After a slip of the finger the user would have to search the list."""
    async with gateway(tmp_path) as asked:
        for name, meant in (("gpt-5-mimi", "gpt-5-mini"), ("atuo", "auto"), ("frugel", "frugal")):
            with pytest.raises(UnknownModel) as unknown:
                await asked.ask("Hi", model=name)
            assert meant in unknown.value.nearest
        with pytest.raises(UnknownModel):
            await asked.ask("Hi", model="")


async def test_no_candidate_lists_each_with_its_reason(tmp_path: Path) -> None:
    """The user would not know what to give up, or what to install."""
    models = priced("dear") + "  unpriced: {provider: mine}\n"
    async with asking(tmp_path, models, NO_OLLAMA + "route: {candidates: [dear, unpriced]}\n") as (asked, mine):
        with pytest.raises(NoCandidate) as none:
            await asked.ask("Hello!", budget="0.000001")
        assert none.value.reasons["dear"].startswith("may cost $")
        assert none.value.reasons["unpriced"] == "has no known price, so the budget could not be kept"
        assert mine.seen == []


async def test_decide_lists_what_cannot_serve_too_and_calls_nothing(tmp_path: Path) -> None:
    """`route --explain` would hide the model that the user is looking for."""
    async with asking(tmp_path, priced("one")) as (asked, mine):
        decision = asked.decide(asked.call(as_chat("Hello!")))
        assert decision.plan == ("one",)
        assert decision.reasons["gpt-5"] == "has no key: set OPENAI_API_KEY"
        assert decision.id
        named = asked.decide(asked.call(as_chat("Hello!"), model="gpt-5"))
        assert (named.plan, named.reasons) == ((), {"gpt-5": "has no key: set OPENAI_API_KEY"})
        assert mine.seen == []
        assert entries(asked) == []


async def test_a_mode_fills_in_what_its_caller_leaves_out(tmp_path: Path) -> None:
    """A mode's limits would hold for nobody."""
    more = NO_OLLAMA + "modes: {cheap: {candidates: [one], max_cost: 0.000001, task: coding}}\n"
    async with asking(tmp_path, priced("one"), more) as (asked, _):
        with pytest.raises(NoCandidate, match="budget"):
            await asked.ask("Hello!", model="cheap")
        with pytest.raises(NoCandidate, match="budget"):
            await asked.ask("Hello!", model="cheap", budget="1000")
        assert asked.decide(asked.call(as_chat("Hello!"), model="cheap")).task == "coding"


async def test_a_pool_passes_over_a_member_that_fails(tmp_path: Path) -> None:
    """One broken member would fail every other call."""
    more = NO_OLLAMA + "pools: {p: {members: [status-500, one], balance: round_robin}}\n"
    async with asking(tmp_path, priced("status-500", "one"), more) as (asked, _):
        for _ in range(4):
            assert await text_of(await asked.ask("Hi", model="p")) == "I am one."
        assert {entry.status for entry in entries(asked)} == {"ok", "failed"}


@pytest.mark.parametrize("balance", ["p2c", "round_robin", "least_busy", "fastest"])
async def test_a_pool_uses_all_of_its_members(tmp_path: Path, balance: str) -> None:
    """One member would carry everything while the others stand idle."""
    more = NO_OLLAMA + f"pools: {{p: {{members: [one, two], balance: {balance}}}}}\n"
    async with asking(tmp_path, priced("one", "two"), more) as (asked, mine):
        replies = [await asked.ask("Hi", model="p") for _ in range(24)]
        for reply in replies:
            await text_of(reply)
        assert set(mine.models) == {"one", "two"}


async def test_a_name_that_means_several_things_nests(tmp_path: Path) -> None:
    """A mode could not stand where a model may."""
    more = (
        NO_OLLAMA
        + "pools: {outer: {members: [inner]}, inner: {members: [chooser]}}\nmodes: {chooser: {candidates: [one]}}\n"
    )
    async with asking(tmp_path, priced("one"), more) as (asked, _):
        assert await text_of(await asked.ask("Hi", model="outer")) == "I am one."
        assert [entry.strategy for entry in entries(asked)] == ["single"]


async def test_an_upstream_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    """A wrong address would look like a fault of the model."""
    config = 'providers: {mine: {base_url: "http://127.0.0.1:9/v1"}}\n' + NO_OLLAMA
    async with gateway(tmp_path, config) as asked:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
            await asked.ask("Hi", model="mine/x")


async def test_observers_see_every_entry(tmp_path: Path) -> None:
    """The console and the metrics would miss calls."""
    seen = []
    async with gateway(tmp_path, SIMULATED) as asked:
        asked.observe(seen.append)
        await text_of(await asked.ask("Hi", model="sim/x"))
        assert seen == entries(asked)


async def test_a_gateway_learns_from_what_it_served(tmp_path: Path) -> None:
    """A model that is slow here would be judged by its maker's figures for ever."""
    async with gateway(tmp_path, SIMULATED + "models: {x: {provider: sim}}\nroute: {candidates: [x]}\n") as asked:
        for _ in range(3):
            await text_of(await asked.ask("Hello!"))
        decision = asked.decide(asked.call(as_chat("Hello!")))
        assert decision.state_version == 3
        [seconds] = [c.expected_seconds for c in decision.candidates if c.model == "x"]
        assert seconds is not None


async def test_many_calls_at_once_are_each_recorded_once(tmp_path: Path) -> None:
    """Calls that overlap would share a bill."""
    async with asking(tmp_path, priced("one")) as (asked, _):

        async def one() -> str:
            return await text_of(await asked.ask("Hi", model="one"))

        assert set(await asyncio.gather(*(one() for _ in range(30)))) == {"I am one."}
        recorded = entries(asked)
    assert len(recorded) == 30
    assert len({entry.attempt_id for entry in recorded}) == len({entry.call_id for entry in recorded}) == 30
    assert {entry.cost for entry in recorded} == {20_000}


@pytest.mark.parametrize("name", ["one", "mine/anything", "p"])
async def test_a_private_call_that_names_a_model_or_a_pool_stays_here(tmp_path: Path, name: str) -> None:
    """What must stay on this machine would leave it, because a name was given."""
    async with asking(tmp_path, priced("one"), NO_OLLAMA + "pools: {p: {members: [one]}}\n") as (asked, mine):
        with pytest.raises(NoCandidate, match="must stay on this machine"):
            await asked.ask("A secret", model=name, local_only=True)
        assert mine.seen == []


async def test_a_budget_holds_for_a_model_that_is_named(tmp_path: Path) -> None:
    """`--budget` would be ignored together with `--model`."""
    async with asking(tmp_path, priced("one")) as (asked, mine):
        with pytest.raises(NoCandidate, match="the budget is"):
            await asked.ask("Hi", model="one", budget="0.0000001")
        assert mine.seen == []


async def test_a_reply_that_nobody_reads_closes_its_connection_too(tmp_path: Path) -> None:
    """A caller who only wanted to know who serves would leave a model writing, and a connection open."""
    async with asking(tmp_path, priced("endless")) as (asked, mine):
        reply = await asked.ask("Hi", model="endless")
        await reply.aclose()
        await asyncio.wait_for(mine.left.wait(), 10)
        assert [entry.status for entry in entries(asked)] == ["cancelled"]


async def test_a_route_makes_its_endpoints_once(tmp_path: Path) -> None:
    """Each routed call would build every endpoint of its plan anew, and write its headers anew."""
    async with asking(tmp_path, priced("one", "two") + "route: {candidates: [one, two]}\n") as (asked, _):
        for _ in range(3):
            await text_of(await asked.ask("Hi"))
        kept = dict(asked._directory._choices)
        await text_of(await asked.ask("Hi"))
        assert {name: choice.ask for name, choice in asked._directory._choices.items()} == {
            name: choice.ask for name, choice in kept.items()
        }
        assert set(kept) == {"one", "two"}
