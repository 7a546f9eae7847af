"""Every row of the table, through the real gateway: alone, and beside an endpoint that is well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fault_catalogue import FAULTS
from fault_table import BOTH, KEY, PATIENT, SPEECHES, TABLE, Breaks, Fails, Row, Serves, timeouts

from pointsman.core import Answer, AttemptError, Broken, Call, Delta, Gathered, Reply
from pointsman.dialects import DIALECTS
from pointsman.gateway import Environment, Gateway
from pointsman.ledger import Entry
from upstream import ANSWER, Upstream

CONFIG = """
providers:
  bad: {{dialect: {dialect}, base_url: "{url}", api_key: {key}, {more}timeouts: {timeouts}}}
  well: {{dialect: openai, base_url: "{upstream}/v1", api_key: {key}}}
models:
  faulty: {{provider: bad, price: {{input: 1, output: 2}}}}
  healthy: {{provider: well, price: {{input: 1, output: 2}}}}
pools:
  both: {{members: [faulty, healthy], balance: round_robin}}
retries: {{rounds: 0}}
local: {{enabled: false}}
"""


def cases(*kinds: type) -> list[Any]:
    """Each row whose outcome is of these kinds × the upstream's dialect × the caller's × streamed or not."""
    return [
        pytest.param(
            row,
            dialect,
            caller,
            stream,
            id=f"{row.name}-{dialect}-for-{caller}-{'stream' if stream else 'whole'}",
            marks=pytest.mark.fault(row.number, row.behaviour),
        )
        for row in TABLE
        for dialect in row.dialects
        for caller in (("openai", "anthropic") if dialect in BOTH and timeouts(row) == PATIENT else ("openai",))
        for stream in (True, False)
        if isinstance(row.stream if stream else row.whole, kinds)
    ]


def gateway(row: Row, dialect: str, upstream: Upstream, home: Path, *, more: str = "") -> Gateway:
    """`more`: settings of the faulty provider."""
    upstream.plans["faulty"] = row.act(SPEECHES[dialect])
    file = home / "faults.yaml"
    file.write_text(
        CONFIG.format(
            dialect=dialect,
            url=row.url or f"{upstream.url}/v1",
            upstream=upstream.url,
            key=KEY,
            more=more,
            timeouts=timeouts(row),
        )
    )
    return Gateway(environment=Environment(home=home, variables={}, config_file=file))


def call(model: str, caller: str, stream: bool) -> Call:
    """As the door of the caller's dialect makes it."""
    door = DIALECTS[caller].door
    assert door is not None
    messages = [{"role": "user", "content": "Hi"}]
    body = json.dumps({"model": model, "max_tokens": 9, "stream": stream, "messages": messages}).encode()
    return Call(id=f"call-{model}", model=model, dialect=caller, body=body, decode=door.decode_call, stream=stream)


def entries(asked: Gateway) -> list[Entry]:
    asked.ledger.flush()
    return sorted(asked.ledger.queries.entries(), key=lambda entry: (entry.at, entry.retry))


async def read(reply: Reply) -> tuple[Answer, list[Delta | Broken]]:
    """What a reply says, put together, and its items."""
    gathered = Gathered()
    items = [item async for item in reply]
    for item in items:
        if isinstance(item, Delta):
            gathered.add(item)
    return gathered.answer(), items


def written(reply: Reply, items: list[Delta | Broken], caller: str) -> bytes:
    """The stream that the door would write."""
    door = DIALECTS[caller].door
    assert door is not None
    passing = reply.dialect == caller
    encoder = door.encoder(id="x", model="m", created=0, wants_usage=True, passing=passing)
    pieces = [encoder.broken(item.error) if isinstance(item, Broken) else encoder.feed(item) for item in items]
    return b"".join(pieces) + (b"" if isinstance(items[-1], Broken) else encoder.finish())


@pytest.mark.parametrize(("row", "dialect", "caller", "stream"), cases(Fails))
async def test_a_fault_before_the_first_content_is_an_error(
    row: Row, dialect: str, caller: str, stream: bool, upstream: Upstream, home: Path
) -> None:
    """The caller would get half an answer for a whole one, or nothing at all; or a key would be shown."""
    expected = row.stream if stream else row.whole
    assert isinstance(expected, Fails)
    async with gateway(row, dialect, upstream, home) as asked:
        with pytest.raises(AttemptError) as failed:
            await asked(call("faulty", caller, stream))
        assert (failed.value.kind, failed.value.retry_after) == (expected.kind, expected.retry_after)
        assert failed.value.status >= 400
        door = DIALECTS[caller].door
        assert door is not None
        assert KEY not in failed.value.message and KEY.encode() not in door.encode_error(failed.value)
        assert {(entry.status, entry.error) for entry in entries(asked)} == {("failed", expected.kind)}


@pytest.mark.parametrize(("row", "dialect", "caller", "stream"), cases(Fails))
async def test_after_a_fault_before_the_first_content_the_next_endpoint_serves(
    row: Row, dialect: str, caller: str, stream: bool, upstream: Upstream, home: Path
) -> None:
    """One provider's trouble would be the caller's."""
    expected = row.stream if stream else row.whole
    assert isinstance(expected, Fails)
    async with gateway(row, dialect, upstream, home) as asked:
        for _ in range(2):  # the members take turns: once the faulty one is the first
            answer, items = await read(await asked(call("both", caller, stream)))
            assert answer.text == ANSWER
            assert not any(isinstance(item, Broken) for item in items)
        found = [(entry.model, entry.status, entry.error) for entry in entries(asked)]
    assert ("faulty", "failed", expected.kind) in found
    assert found.count(("healthy", "ok", "")) == 2


@pytest.mark.parametrize(("row", "dialect", "caller", "stream"), cases(Breaks))
async def test_a_fault_after_the_first_content_never_ends_clean(
    row: Row, dialect: str, caller: str, stream: bool, upstream: Upstream, home: Path
) -> None:
    """Half an answer would pass for a whole one: the caller's program would act on it."""
    expected = row.stream
    assert isinstance(expected, Breaks)
    async with gateway(row, dialect, upstream, home) as asked:
        async with await asked(call("faulty", caller, stream)) as reply:
            _, items = await read(reply)
        last = items[-1]
        assert isinstance(last, Broken) and last.error.kind == expected.kind
        assert not any(isinstance(item, Broken) or item.finish for item in items[:-1])
        assert any(isinstance(item, Delta) and item.has_content for item in items)
        wire = written(reply, items, caller)
        [entry] = entries(asked)
    assert b"error" in wire and not any(end in wire for end in (b"[DONE]", b"message_stop", b'"finish_reason":"stop"'))
    assert (entry.status, entry.error) == ("broken", expected.kind)
    assert entry.usage is not None and entry.usage.output > 0


@pytest.mark.parametrize(("row", "dialect", "caller", "stream"), cases(Serves))
async def test_what_can_be_served_is_served(
    row: Row, dialect: str, caller: str, stream: bool, upstream: Upstream, home: Path
) -> None:
    """A provider that departs from its format a little could not be used, or a bill would be wrong."""
    expected = row.stream if stream else row.whole
    assert isinstance(expected, Serves)
    async with gateway(row, dialect, upstream, home) as asked:
        async with await asked(call("faulty", caller, stream)) as reply:
            if stream:
                answer, items = await read(reply)
                wire = written(reply, items, caller)
            else:
                answer = await reply.read()
                wire = _whole(answer, reply, caller)
        [entry] = entries(asked)
    assert answer.text == expected.text
    assert tuple(tool.arguments for tool in answer.tools) == expected.tools
    assert entry.status == "ok" and entry.usage is not None
    if expected.usage is None:
        assert entry.usage.estimated and entry.usage.input > 0
    else:
        assert (entry.usage.input_tokens, entry.usage.output_tokens) == expected.usage
        assert not entry.usage.estimated
    if reply.dialect == caller and answer_is_passed(row, stream):
        assert expected.passed in wire
    wire.decode()
    if stream:
        assert wire.count(b"data: [DONE]" if caller == "openai" else b"event: message_stop") == 1


def answer_is_passed(row: Row, stream: bool) -> bool:
    """A stream that was gathered, or an answer that became a stream, is written anew."""
    return stream is (row in (row for row in TABLE if row.number >= 48))


def _whole(answer: Answer, reply: Reply, caller: str) -> bytes:
    if answer.raw and reply.dialect == caller:
        return answer.raw
    door = DIALECTS[caller].door
    assert door is not None
    return door.encode_answer(answer, id="x", model="m", created=0)


def test_the_table_is_about_known_faults() -> None:
    """A row under a wrong number would show what nobody claimed."""
    known: Mapping[int, str] = {number: what for faults in FAULTS.values() for number, what in faults.items()}
    assert {row.number for row in TABLE} <= set(known)
    assert len({row.name for row in TABLE}) == len(TABLE)
