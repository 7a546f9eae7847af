"""One idempotency key, sent many times: one upstream call, one bill, the same answer for everybody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fault_table import KEY
from running import Running, configured
from serving import Said, ask, stored
from test_faults import entries

from pointsman.core import Broken, Call, Caller, InvalidCall, ManualClock, Needs, Reply, UpstreamFailed
from pointsman.dialects import DIALECTS
from pointsman.gateway import Environment, Gateway, new_id
from pointsman.server.idempotency import LIFETIME, LONGEST_NAME, MOST_BYTES, NameReused, Once
from upstream import ANSWER, SSE, Upstream, chunk, error, head, openai_answer, openai_events, stream, whole

CONFIG = """
providers:
  mine: {{dialect: openai, base_url: "{url}/v1", api_key: {key}}}
models:
  one: {{provider: mine, price: {{input: 1, output: 2}}}}
retries: {{rounds: 0}}
local: {{enabled: false}}
"""
SLOW = [0.3, *whole(openai_answer())]
SLOW_STREAM = [head(200, SSE), *(step for event in openai_events() for step in (chunk(event), 0.05)), chunk(b"")]


@pytest.fixture
async def gateway(upstream: Upstream, home: Path) -> AsyncIterator[Gateway]:
    file = home / "once.yaml"
    file.write_text(CONFIG.format(url=upstream.url, key=KEY))
    upstream.received.clear()
    async with Gateway(environment=Environment(home=home, variables={}, config_file=file)) as asked:
        yield asked


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000.0)


@pytest.fixture
def once(gateway: Gateway, clock: ManualClock) -> Once:
    return Once(gateway, clock.clock)


def call(*, streamed: bool = False, prompt: str = "hello", key: str = "ann", needs: Needs | None = None) -> Call:
    door = DIALECTS["openai"].door
    assert door is not None
    body = {"model": "one", "max_tokens": 9, "stream": streamed, "messages": [{"role": "user", "content": prompt}]}
    return Call(
        id=new_id(),
        model="one",
        dialect="openai",
        body=json.dumps(body).encode(),
        decode=door.decode_call,
        stream=streamed,
        needs=needs or Needs(),
        caller=Caller(key=key),
    )


async def text(once: Once, name: str, asked: Call) -> str:
    """What a door would read of it."""
    async with await once.under(name)(asked) as reply:
        if not asked.stream:
            return (await reply.read()).text
        return "".join([told(item) async for item in reply])


def told(item: object) -> str:
    if isinstance(item, Broken):
        raise item.error
    return str(item.text)  # type: ignore[attr-defined]  # the rest of a reply's items are deltas


@pytest.mark.fault(75, "One upstream call, one entry in the ledger, the same answer for all; for a day, then anew.")
@pytest.mark.parametrize("streamed", [False, True])
async def test_fifty_at_once_are_one_call(
    once: Once, gateway: Gateway, upstream: Upstream, clock: ManualClock, streamed: bool
) -> None:
    """A client that times out and tries again would pay for each try."""
    upstream.plans["one"] = SLOW_STREAM if streamed else SLOW
    said = await asyncio.gather(*(text(once, "order-1", call(streamed=streamed)) for _ in range(50)))
    assert said == [ANSWER] * 50
    assert await text(once, "order-1", call(streamed=streamed)) == ANSWER
    assert (len(upstream.of("one")), len(entries(gateway))) == (1, 1)
    clock.advance(LIFETIME)
    assert await text(once, "order-1", call(streamed=streamed)) == ANSWER
    assert len(upstream.of("one")) == 2


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_comes_again_as_it_came(once: Once, upstream: Upstream, streamed: bool) -> None:
    """Fields that we do not know would be in the first answer and not in the second."""
    upstream.plans["one"] = stream(openai_events()) if streamed else whole(openai_answer() | {"unknown": 7})

    async def bytes_of() -> tuple[str, bytes]:
        async with await once.under("same")(call(streamed=streamed)) as reply:
            raw = b"".join([item.raw async for item in reply]) if streamed else (await reply.read()).raw
            return reply.dialect, raw

    first, again = await bytes_of(), await bytes_of()
    assert first == again and first[0] == "openai" and len(first[1]) > 100


async def test_a_name_belongs_to_its_caller_and_to_one_call(once: Once, upstream: Upstream) -> None:
    """One caller would get another's answer, or the answer to another question."""
    upstream.plans.pop("one", None)
    assert await text(once, "n", call()) == ANSWER
    assert await text(once, "n", call(key="bob", prompt="else")) == ANSWER
    assert len(upstream.of("one")) == 2
    for other in (call(prompt="else"), call(streamed=True), call(needs=Needs(local_only=True))):
        with pytest.raises(NameReused):
            await text(once, "n", other)
    with pytest.raises(InvalidCall):
        await text(once, "n" * (LONGEST_NAME + 1), call())
    assert len(upstream.of("one")) == 2


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_failed_is_tried_again(once: Once, upstream: Upstream, streamed: bool) -> None:
    """A failure of a second would last a day."""
    upstream.plans["one"] = [0.2, *error(500)]
    failed = await asyncio.gather(*(text(once, "n", call(streamed=streamed)) for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in failed] == [UpstreamFailed] * 5
    assert len({id(one) for one in failed}) == 5, "each has its own: messages are added to"
    assert len(upstream.of("one")) == 1
    upstream.plans["one"] = [*SLOW_STREAM[:6], "reset"]
    with pytest.raises(Exception, match="broke|closed|reset|ended"):
        await text(once, "n", call(streamed=True, key="cut"))
    del upstream.plans["one"]
    assert await text(once, "n", call(streamed=streamed)) == ANSWER
    assert await text(once, "n", call(streamed=True, key="cut")) == ANSWER


@pytest.mark.parametrize("streamed", [False, True])
async def test_when_the_first_leaves_the_next_is_served(once: Once, upstream: Upstream, streamed: bool) -> None:
    """The second try of a client that gave up would wait for ever, or fail with the first."""
    upstream.plans["one"] = ["hang"] if not streamed else [*SLOW_STREAM[:6], "hang"]
    first = asyncio.create_task(text(once, "n", call(streamed=streamed)))
    await asyncio.to_thread(upstream.last, "one")
    others = [asyncio.create_task(text(once, "n", call(streamed=streamed))) for _ in range(3)]
    await asyncio.sleep(0.2)
    del upstream.plans["one"]
    others[0].cancel()
    first.cancel()
    assert await asyncio.wait_for(asyncio.gather(*others[1:]), 5) == [ANSWER] * 2
    assert len(upstream.of("one")) == 2
    upstream.received[0].left()


async def test_a_reply_that_nobody_reads_lets_the_next_in(once: Once, upstream: Upstream) -> None:
    """A client that leaves just as its answer begins would leave its name taken."""
    upstream.plans["one"] = [*SLOW_STREAM[:6], "hang"]
    reply: Reply = await once.under("n")(call(streamed=True))
    await reply.aclose()
    del upstream.plans["one"]
    assert await asyncio.wait_for(text(once, "n", call(streamed=True)), 5) == ANSWER


async def test_what_is_kept_is_bounded(once: Once, upstream: Upstream) -> None:
    """Anybody with a key could fill the memory."""
    upstream.plans["one"] = whole(openai_answer("x" * 3_000_000))
    for number in range(12):
        await text(once, f"n{number}", call())
    assert 0 < once.kept_bytes <= MOST_BYTES
    before = len(upstream.of("one"))
    await text(once, "n11", call())
    assert len(upstream.of("one")) == before
    await text(once, "n0", call())
    assert len(upstream.of("one")) == before + 1


@pytest.mark.fault(75, "So it is at the doors, in the header `Idempotency-Key`; another call under it is a 422.")
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("streamed", [False, True])
def test_fifty_requests_at_once_are_one_call(upstream: Upstream, home: Path, path: str, streamed: bool) -> None:
    """As above, from clients that know nothing of each other."""
    upstream.plans["order"] = SLOW_STREAM if streamed else SLOW
    upstream.received.clear()
    with Running(home, configured(upstream.url)) as server, ThreadPoolExecutor(50) as pool:

        def send(prompt: str = "hello") -> Said:
            return ask(server, "mine/order", stream=streamed, prompt=prompt, path=path, idempotency_key="order-1")

        said = [one.result() for one in [pool.submit(send) for _ in range(50)]]
        assert {one.status for one in said} == {200}
        assert all(b"passed." in one.body for one in said)
        assert send().status == 200
        assert len(upstream.of("order")) == 1
        reused = send("another")
        assert (reused.status, b"idempotency key" in reused.body) == (422, True)
        assert server.stop() == 0
    assert len(stored(home)) == 1
