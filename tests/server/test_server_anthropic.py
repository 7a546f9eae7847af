"""Anthropic's own client against the real server, in front of upstreams of both formats."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import anthropic
import pytest
from running import Running

from upstream import (
    ANSWER,
    Upstream,
    anthropic_answer,
    anthropic_events,
    error,
    openai_answer,
    openai_chunk,
    openai_events,
    stream,
    whole,
)

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {
    "name": "switch",
    "description": "Sets a switch.",
    "input_schema": {"type": "object", "properties": {"track": {"type": "integer"}}},
}
USES = [{"type": "tool_use", "id": f"toolu_{n}", "name": "switch", "input": {"track": n}} for n in (1, 2)]
THOUGHT = {"type": "thinking", "thinking": "Left or right?", "signature": "c2lnbmF0dXJl"}
SAID = {"type": "text", "text": ANSWER}


@pytest.fixture
async def client(server: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
        yield client


def asked(model: str, **fields) -> dict:
    return {"model": model, "max_tokens": 100, "messages": HELLO, **fields}


async def streamed(client: anthropic.AsyncAnthropic, model: str, **fields) -> anthropic.types.Message:
    """The message that the client's own accumulator makes of a stream."""
    async with client.messages.stream(**asked(model, **fields)) as events:
        return await events.get_final_message()


@pytest.mark.parametrize("model", ["opus", "small"])
async def test_a_plain_call_is_answered_with_usage(client: anthropic.AsyncAnthropic, model: str) -> None:
    """Claude's tools could not use the server, or could not count."""
    reply = await client.messages.create(**asked(model))
    assert [block.text for block in reply.content] == [ANSWER]
    assert (reply.stop_reason, reply.usage.input_tokens, reply.usage.output_tokens) == ("end_turn", 9, 5)


@pytest.mark.parametrize("model", ["opus", "small", "auto", "fast", "careful"])
async def test_a_stream_is_a_whole_message(client: anthropic.AsyncAnthropic, model: str) -> None:
    """The client's accumulator fails on an event out of order."""
    message = await streamed(client, model)
    assert [block.text for block in message.content] == [ANSWER]
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 5)


def test_the_synchronous_client_is_served_too(server: Running) -> None:
    """Scripts without asyncio could not call."""
    with anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
        assert client.messages.create(**asked("small")).content[0].text == ANSWER
        with client.messages.stream(**asked("opus")) as events:
            assert "".join(events.text_stream) == ANSWER


async def test_markers_images_and_unknown_fields_go_through_unchanged(
    client: anthropic.AsyncAnthropic, upstream: Upstream
) -> None:
    """Prompt caching would silently stop to work, and its discount with it."""
    data = base64.b64encode(bytes(range(256)) * 30).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    messages = [{"role": "user", "content": [image, {"type": "text", "text": "what?"}]}]
    tools = [{**TOOL, "cache_control": {"type": "ephemeral"}}]
    await client.messages.create(
        **asked("claude/marked", system=system, messages=messages, tools=tools), extra_body={"novel": {"a": [1.50]}}
    )
    received = upstream.last("marked")
    assert received.json["system"] == system
    assert received.json["messages"] == messages
    assert received.json["tools"] == tools
    assert received.json["novel"] == {"a": [1.5]}
    assert received.headers["anthropic-version"]


async def test_signed_thinking_goes_back_as_it_came(client: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    """The provider refuses a tool loop whose thinking was touched."""
    upstream.plans["signed"] = stream(anthropic_events(THOUGHT, *USES, stop_reason="tool_use"))
    message = await streamed(client, "claude/signed", tools=[TOOL])
    blocks = [block.model_dump(exclude_none=True) for block in message.content]
    assert [block["type"] for block in blocks] == ["thinking", "tool_use", "tool_use"]
    assert blocks[0]["signature"] == THOUGHT["signature"]
    results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "set"} for use in USES]
    messages = [*HELLO, {"role": "assistant", "content": [THOUGHT, *USES]}, {"role": "user", "content": results}]
    await client.messages.create(**asked("claude/signed-2", messages=messages, tools=[TOOL]))
    assert upstream.last("signed-2").json["messages"] == messages


async def test_foreign_thinking_is_not_sent_to_another_provider(
    client: anthropic.AsyncAnthropic, upstream: Upstream
) -> None:
    """Switching the model in the middle of a conversation would fail with a 400."""
    messages = [*HELLO, {"role": "assistant", "content": [THOUGHT, SAID]}, *HELLO]
    await client.messages.create(**asked("mine/switched", messages=messages))
    received = upstream.last("switched")
    assert THOUGHT["signature"].encode() not in received.body
    assert [message["role"] for message in received.json["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_parallel_tools_of_an_openai_model_make_the_round(
    client: anthropic.AsyncAnthropic, upstream: Upstream, streaming: bool
) -> None:
    """Claude's tools could not use other models: calls would be lost or mixed."""
    pieces = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "switch", "arguments": '{"tra'}},
        {"index": 1, "id": "call_2", "type": "function", "function": {"name": "switch", "arguments": '{"track":'}},
        {"index": 0, "function": {"arguments": 'ck": 1}'}},
        {"index": 1, "function": {"arguments": " 2}"}},
    ]
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "switch", "arguments": json.dumps({"track": n})}}
        for n in (1, 2)
    ]
    upstream.plans["other-tools"] = (
        stream(openai_events(["I", "set"], tools=pieces))
        if streaming
        else whole(openai_answer("I set", tool_calls=calls))
    )
    ask = streamed if streaming else lambda client, model, **fields: client.messages.create(**asked(model, **fields))
    message = await ask(client, "mine/other-tools", tools=[TOOL])
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert [(block.id, block.input) for block in message.content[1:]] == [
        ("call_1", {"track": 1}),
        ("call_2", {"track": 2}),
    ]
    results = [{"type": "tool_result", "tool_use_id": f"call_{n}", "content": f"set {n}"} for n in (1, 2)]
    spoken = [block.model_dump(exclude_none=True) for block in message.content]
    messages = [*HELLO, {"role": "assistant", "content": spoken}, {"role": "user", "content": results}]
    await client.messages.create(**asked("mine/other-results", messages=messages, tools=[TOOL]))
    _, assistant, *answers = upstream.last("other-results").json["messages"]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_1", "call_2"]
    assert [(said["role"], said["tool_call_id"], said["content"]) for said in answers] == [
        ("tool", "call_1", "set 1"),
        ("tool", "call_2", "set 2"),
    ]


async def test_reasoning_of_an_openai_model_is_thinking(client: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    """Reasoning would be shown as the answer."""
    events = openai_events()
    upstream.plans["reasoner"] = stream([events[0], openai_chunk({"reasoning_content": "Hm."}), *events[1:]])
    message = await streamed(client, "mine/reasoner")
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "Hm."


async def test_the_system_prompt_and_limits_reach_an_openai_model(
    client: anthropic.AsyncAnthropic, upstream: Upstream
) -> None:
    """The model would not know its instructions, or would not stop."""
    await client.messages.create(
        **asked("mine/instructed", system="Be brief.", stop_sequences=["END"]),
        extra_body={"temperature": 0.5, "top_p": 0.9},
    )
    body = upstream.last("instructed").json
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["max_tokens"], body["stop"], body["temperature"], body["top_p"]) == (100, ["END"], 0.5, 0.9)


@pytest.mark.parametrize("model", ["claude/wrong", "mine/wrong"])
@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (529, "overloaded_error", anthropic.InternalServerError),
    ],
)
async def test_an_upstreams_error_arrives_as_the_clients_own_exception(
    client: anthropic.AsyncAnthropic,
    upstream: Upstream,
    model: str,
    status: int,
    kind: str,
    expected: type[Exception],
) -> None:
    """Programs that handle Anthropic's exceptions would not recognise ours."""
    upstream.plans[f"wrong-{status}"] = error(status, "no such luck", type=kind, headers={"retry-after": "7"})
    with pytest.raises(expected, match="no such luck") as caught:
        await client.messages.create(**asked(f"{model}-{status}"))
    assert caught.value.response.headers["retry-after"] == "7"


async def test_a_wrong_key_is_an_authentication_error(server: Running) -> None:
    """A client would take a wrong key for a fault of the server and retry."""
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="pm-no") as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(**asked("small"))


@pytest.mark.parametrize("way", [{"api_key": None, "auth_token": "KEY"}, {"api_key": "KEY"}])
async def test_the_key_may_stand_in_either_header(server: Running, way: dict) -> None:
    """Claude Code sends its token as a bearer, other clients in x-api-key."""
    keys = {name: server.key if value else None for name, value in way.items()}
    async with anthropic.AsyncAnthropic(base_url=server.url, max_retries=0, **keys) as client:
        assert (await client.messages.create(**asked("small"))).content[0].text == ANSWER


@pytest.mark.parametrize("model", ["claude/cut", "mine/cut"])
async def test_a_stream_that_breaks_raises_and_never_stops_cleanly(
    client: anthropic.AsyncAnthropic, upstream: Upstream, model: str
) -> None:
    """Half an answer would pass for a whole one."""
    upstream.plans["cut"] = lambda received: (
        stream((anthropic_events() if received.path.endswith("messages") else openai_events())[:4])[:-1] + ["close"]
    )
    kinds = []
    with pytest.raises(anthropic.APIError):
        async for event in await client.messages.create(**asked(model, stream=True)):
            kinds.append(event.type)
    assert "content_block_delta" in kinds
    assert "message_stop" not in kinds and "message_delta" not in kinds


async def test_the_list_of_models_has_anthropics_shape(client: anthropic.AsyncAnthropic) -> None:
    """Claude's tools offer what they find here."""
    found = {model.id async for model in client.models.list()}
    assert {"auto", "fast", "opus"} <= found


async def test_a_whole_answer_of_anthropic_comes_back_byte_for_byte(
    client: anthropic.AsyncAnthropic, upstream: Upstream
) -> None:
    """Fields that we do not know would be lost."""
    answer = anthropic_answer(SAID) | {"container": {"id": "c", "expires_at": "2030-01-01T00:00:00Z"}, "news": [1]}
    upstream.plans["exact"] = whole(answer)
    raw = await client.messages.with_raw_response.create(**asked("claude/exact"))
    assert json.loads(raw.http_response.content) == answer
