"""Comparisons through a real gateway, over real sockets, with engines that fail in every way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import pytest

from pointsman.core import Answer, Ask, Broken, Call, Clock, Delta, Nanos, NoCandidate, Reply, Served
from pointsman.gateway import Config, Environment, Gateway, as_chat, new_id
from pointsman.gateway.specs import LocalSpec, ModelSpec, PriceSpec, ProviderSpec
from pointsman.lab import Comparison, Engine, EngineResult, Progress, compare
from upstream import Upstream, chunk, error, head, openai_chunk, openai_events, stream

CLOCK = Clock(wall=time.time, steady=time.monotonic)
PROMPT = as_chat("What is the capital of Australia?")
SSE = {"content-type": "text/event-stream"}
DEAD_URL = "http://127.0.0.1:9/v1"


def gateway(upstream: Upstream, home: Path, *models: str) -> Gateway:
    """A gateway whose models `models` live at the upstream, at known prices; `dead/x` can never be reached."""
    config = Config(
        providers={
            "mine": ProviderSpec(dialect="openai", base_url=f"{upstream.url}/v1", api_key="sk-test"),
            "dead": ProviderSpec(dialect="openai", base_url=DEAD_URL, api_key="sk-test"),
        },
        models={name: ModelSpec(provider="mine", price=PriceSpec(input="1", output="2")) for name in models},
        local=LocalSpec(enabled=False),
    )
    return Gateway(config, environment=Environment(home=home, variables={}))


async def run(
    gateway: Gateway,
    names: Sequence[str],
    *,
    timeout: float = 10,
    stop: asyncio.Event | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    more: Sequence[Engine] = (),
) -> Comparison:
    return await compare(
        PROMPT,
        [*(Engine(name, gateway.find(name)) for name in names), *more],
        timeout=timeout,
        clock=CLOCK,
        new_id=new_id,
        progress=progress,
        stop=stop,
    )


def by_name(comparison: Comparison) -> dict[str, EngineResult]:
    return {result.name: result for result in comparison.engines}


async def test_one_engine_of_each_kind_of_failure_spoils_no_other(upstream: Upstream, tmp_path: Path) -> None:
    """A user pays for five answers and gets none, because a sixth engine hung."""
    upstream.plans |= {
        "good": stream(openai_events(["Canberra"])),
        "slow": stream(openai_events(["Canberra", "."]), pause=0.1),
        "hangs": ["hang"],
        "stalls": [head(200, SSE), chunk(openai_chunk({"content": "Can"})), "hang"],
        "refuses": error(500, "out of order"),
        "cut": [head(200, SSE), chunk(openai_chunk({"content": "Can"})), "reset"],
        "rubbish": stream([b"data: {not json\n\n"]),
        "empty": stream(openai_events([])),
    }
    names = ["good", "slow", "hangs", "stalls", "refuses", "cut", "rubbish", "empty", "dead/x"]
    async with gateway(upstream, tmp_path, *names[:-1]) as engines:
        started = time.monotonic()
        found = by_name(await run(engines, names, timeout=3))
        took = time.monotonic() - started
    assert took < 15
    assert list(found) == names
    assert [found[name].status for name in ("good", "slow", "empty")] == ["ok"] * 3
    assert [found[name].status for name in ("hangs", "stalls")] == ["timeout"] * 2
    assert [found[name].status for name in ("refuses", "rubbish", "dead/x")] == ["failed"] * 3
    assert found["cut"].status == "broken" and found["cut"].text == "Can"
    assert found["stalls"].text == "Can" and found["stalls"].finish is None
    assert found["good"].text == "Canberra" and found["good"].finish == "stop"
    assert found["empty"].text == ""
    assert found["refuses"].error is not None and "out of order" in found["refuses"].error.message
    assert found["dead/x"].error is not None and found["dead/x"].error.kind == "unreachable"


async def test_only_whole_answers_count_for_agreement(upstream: Upstream, tmp_path: Path) -> None:
    """Half an answer would be reported as one that disagrees."""
    upstream.plans |= {
        "one": stream(openai_events(["Canberra"])),
        "two": stream(openai_events(["canberra."])),
        "cut": [head(200, SSE), chunk(openai_chunk({"content": "Syd"})), "reset"],
        "empty": stream(openai_events([])),
    }
    names = ["one", "two", "cut", "empty"]
    async with gateway(upstream, tmp_path, *names) as engines:
        agreement = (await run(engines, names)).agreement
    assert agreement.unanimous and agreement.clusters[0].engines == ("one", "two")


async def test_tokens_and_cost_are_those_of_the_ledger(upstream: Upstream, tmp_path: Path) -> None:
    """The report and the bill would contradict each other."""
    upstream.plans["hangs"] = ["hang"]
    async with gateway(upstream, tmp_path, "good", "hangs") as engines:
        comparison = await run(engines, ["good", "hangs", "mine/unpriced"], timeout=2)
        found = by_name(comparison)
        engines.ledger.flush()
        entries = {entry.stage: entry for entry in engines.ledger.queries.entries()}
    assert found["good"].cost == entries["good"].cost == Nanos(9 * 1000 + 5 * 2000)
    assert found["good"].usage is not None and found["good"].usage.output_tokens == 5
    assert found["hangs"].cost is None and entries["hangs"].cost is None
    assert found["mine/unpriced"].cost is None and found["mine/unpriced"].status == "ok"
    assert {entry.run_id for entry in entries.values()} == {comparison.run_id}
    assert {entry.strategy for entry in entries.values()} == {"compare"}
    assert entries["hangs"].status == "cancelled" and entries["good"].task


async def test_progress_tells_the_first_words_and_the_end_of_each(upstream: Upstream, tmp_path: Path) -> None:
    """A user could not see whether an engine is at work or dead."""
    upstream.plans["slow"] = stream(openai_events(["It", "is", "Canberra"]), pause=0.05)
    upstream.plans["refuses"] = error(500)
    progress: list[Progress] = []
    async with gateway(upstream, tmp_path, "slow", "refuses") as engines:
        await run(engines, ["slow", "refuses"], progress=progress.append)
    slow = [p for p in progress if p.engine == "slow"]
    assert [p.stage for p in slow][:2] == ["asked", "writing"] and slow[-1].stage == "ok"
    assert slow[0].ttft is None and slow[-1].ttft is not None and slow[-1].tokens == 5
    assert [p.seconds for p in slow] == sorted(p.seconds for p in slow)
    assert [p.stage for p in progress if p.engine == "refuses"] == ["asked", "failed"]


async def test_stopping_keeps_what_has_come_and_closes_the_rest(upstream: Upstream, tmp_path: Path) -> None:
    """Ctrl-C would throw away answers that were paid for, or leave upstreams writing for nobody."""
    upstream.plans |= {
        "good": stream(openai_events(["Canberra"])),
        "stalls": [head(200, SSE), chunk(openai_chunk({"content": "Can"})), "hang"],
        "hangs": ["hang"],
    }
    stop, under_way = asyncio.Event(), asyncio.Event()
    progress: list[Progress] = []

    def tell(told: Progress) -> None:
        progress.append(told)
        if {("good", "ok"), ("stalls", "writing")} <= {(p.engine, p.stage) for p in progress}:
            under_way.set()

    async with gateway(upstream, tmp_path, "good", "stalls", "hangs") as engines:
        running = asyncio.create_task(run(engines, ["good", "stalls", "hangs"], timeout=60, stop=stop, progress=tell))
        await under_way.wait()
        await asyncio.to_thread(upstream.last, "hangs")
        stop.set()
        comparison = await running
        found = by_name(comparison)
    assert comparison.stopped
    assert [found[name].status for name in ("good", "stalls", "hangs")] == ["ok", "stopped", "stopped"]
    assert found["good"].text == "Canberra" and found["stalls"].text == "Can"
    upstream.last("stalls").left(within=5)


async def test_cancelling_a_comparison_closes_every_upstream(upstream: Upstream, tmp_path: Path) -> None:
    """A program that gives up would go on paying."""
    upstream.plans["stalls"] = [head(200, SSE), chunk(openai_chunk({"content": "Can"})), "hang"]
    async with gateway(upstream, tmp_path, "stalls") as engines:
        running = asyncio.create_task(run(engines, ["stalls"], timeout=60))
        await asyncio.to_thread(upstream.last, "stalls")
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    upstream.last("stalls").left(within=5)


async def test_a_fault_in_an_engine_stands_in_the_report(upstream: Upstream, tmp_path: Path) -> None:
    """A bug in one engine of a library's user would take all other answers with it."""

    async def faulty(call: Call) -> Reply:
        raise KeyError("choices")

    async def faulty_later(call: Call) -> Reply:
        return replying(_then_raise(ZeroDivisionError("by zero")))

    async def refused(call: Call) -> Reply:
        raise NoCandidate("Nobody may serve this.")

    more = [Engine("faulty", faulty), Engine("later", faulty_later), Engine("refused", refused)]
    async with gateway(upstream, tmp_path, "good") as engines:
        found = by_name(await run(engines, ["good"], more=more))
    assert found["good"].status == "ok"
    assert found["faulty"].status == "failed" and found["faulty"].error is not None
    assert found["faulty"].error.kind == "KeyError"
    assert found["later"].status == "broken" and found["later"].text == "Can"
    assert found["faulty"].cost is None, "nobody recorded it, so nobody knows"
    assert found["refused"].cost == 0, "turned away before any attempt"


async def test_an_engine_that_ignores_its_time_does_not_hold_the_others() -> None:
    """One engine that cannot be cancelled would keep the report back for ever."""
    release = asyncio.Event()

    async def stubborn(call: Call) -> Reply:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        raise NoCandidate("late")

    async def quick(call: Call) -> Reply:
        return Reply(SERVED, clock=CLOCK, started=CLOCK.steady(), answer=Answer(text="Canberra"))

    comparison = await compare(PROMPT, {"stubborn": stubborn, "quick": quick}, timeout=0.2, clock=CLOCK, new_id=new_id)
    release.set()
    found = by_name(comparison)
    assert found["quick"].text == "Canberra" and found["stubborn"].status != "ok"
    assert found["stubborn"].cost is None


async def test_an_endless_answer_is_cut_off() -> None:
    """One engine that never stops writing would fill the memory."""

    async def endless() -> AsyncGenerator[Sequence[Delta | Broken], None]:
        while True:
            yield [Delta(text="a" * 10_000)]
            await asyncio.sleep(0)

    async def ask(call: Call) -> Reply:
        return replying(endless())

    engines: dict[str, Ask] = {"endless": ask}
    (result,) = (await compare(PROMPT, engines, timeout=30, clock=CLOCK, new_id=new_id)).engines
    assert result.status == "broken" and result.error is not None and result.error.kind == "too_long"
    assert len(result.text) < 1_100_000


async def test_text_that_no_file_can_hold_is_made_whole() -> None:
    """A lone surrogate, which JSON can carry, would make every report fail to be written."""

    async def ask(call: Call) -> Reply:
        return Reply(SERVED, clock=CLOCK, started=CLOCK.steady(), answer=Answer(text="bad \ud800 half"))

    (result,) = (await compare(PROMPT, {"one": ask}, timeout=5, clock=CLOCK, new_id=new_id)).engines
    assert result.text == "bad ? half"


async def test_nobody_to_ask_is_an_empty_comparison() -> None:
    """It would wait for ever."""
    comparison = await compare(PROMPT, {}, timeout=60, clock=CLOCK, new_id=new_id)
    assert comparison.engines == () and not comparison.stopped


SERVED = Served("m", "p/m", "p")


def replying(source: AsyncGenerator[Sequence[Delta | Broken], None]) -> Reply:
    return Reply(SERVED, clock=CLOCK, started=CLOCK.steady(), source=source)


async def _then_raise(error: Exception) -> AsyncGenerator[Sequence[Delta | Broken], None]:
    yield [Delta(text="Can")]
    raise error
