"""OpenAI's own client against the real server: what it sends arrives, what comes back is what it expects."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import openai
import pytest
from running import Running

from upstream import (
    ANSWER,
    JSON,
    SSE,
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
    "type": "function",
    "function": {
        "name": "switch",
        "description": "Sets a switch.",
        "parameters": {"type": "object", "properties": {"track": {"type": "integer"}}, "required": ["track"]},
    },
}
CALLED = {
    "tool_calls": [
        {"id": "call_a", "type": "function", "function": {"name": "switch", "arguments": '{"track": 1}'}},
        {"id": "call_b", "type": "function", "function": {"name": "switch", "arguments": '{"track": 2}'}},
    ]
}
PIECES = [
    {"index": 0, "id": "call_a", "type": "function", "function": {"name": "switch", "arguments": ""}},
    {"index": 0, "function": {"arguments": '{"track"'}},
    {"index": 1, "id": "call_b", "type": "function", "function": {"name": "switch", "arguments": '{"tr'}},
    {"index": 0, "function": {"arguments": ": 1}"}},
    {"index": 1, "function": {"arguments": 'ack": 2}'}},
]


@pytest.fixture
async def client(server: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=server.key, max_retries=0) as client:
        yield client


async def streamed(client: openai.AsyncOpenAI, model: str, **fields) -> list:
    """All chunks of a streamed call."""
    return [chunk async for chunk in await client.chat.completions.create(**asked(model, stream=True, **fields))]


def asked(model: str, **fields) -> dict:
    return {"model": model, "messages": HELLO, **fields}


def text_of(chunks: list) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def arguments_of(chunks: list) -> dict[str, str]:
    """The arguments of each tool call in a stream, by the call's id."""
    ids: dict[int, str] = {}
    found: dict[str, str] = {}
    for chunk in chunks:
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            ids.setdefault(call.index, call.id)
            found[ids[call.index]] = found.get(ids[call.index], "") + (call.function.arguments or "")
    return found


async def test_a_plain_call_is_answered_with_usage(client: openai.AsyncOpenAI) -> None:
    """The first thing that anybody tries would fail."""
    reply = await client.chat.completions.create(**asked("small"))
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None and reply.usage.total_tokens == 14


def test_the_synchronous_client_is_served_too(server: Running) -> None:
    """Scripts without asyncio could not call."""
    with openai.OpenAI(base_url=server.url + "/v1", api_key=server.key, max_retries=0) as client:
        assert client.chat.completions.create(**asked("small")).choices[0].message.content == ANSWER
        assert text_of(list(client.chat.completions.create(**asked("small", stream=True)))) == ANSWER


@pytest.mark.parametrize("model", ["small", "opus"])
async def test_a_stream_is_whole_whatever_the_upstream_speaks(client: openai.AsyncOpenAI, model: str) -> None:
    """Words would be lost, doubled, or never come to an end."""
    chunks = await streamed(client, model)
    assert text_of(chunks) == ANSWER
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]


@pytest.mark.parametrize("model", ["small", "opus"])
async def test_usage_comes_in_a_stream_only_when_asked_for(client: openai.AsyncOpenAI, model: str) -> None:
    """Clients that did not ask break on a chunk without choices; those that did could not count."""
    assert not any(chunk.usage for chunk in await streamed(client, model))
    *_, last = await streamed(client, model, stream_options={"include_usage": True})
    assert last.usage is not None and (last.usage.prompt_tokens, last.usage.completion_tokens) == (9, 5)


async def test_the_upstream_is_always_asked_for_usage(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    """Streams of callers that do not ask for usage would be billed by guess."""
    await streamed(client, "mine/usage-wanted")
    assert upstream.last("usage-wanted").json["stream_options"] == {"include_usage": True}


async def test_parallel_tool_calls_and_their_results_make_the_round(
    client: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    """Agents would see calls run together, or their results would reach the wrong call."""
    upstream.plans["caller"] = lambda received: (
        whole(openai_answer()) if len(received.json["messages"]) > 1 else whole(openai_answer("", **CALLED))
    )
    first = await client.chat.completions.create(**asked("mine/caller", tools=[TOOL]))
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.model_dump(exclude_none=True, exclude={"content", "role"}) == CALLED
    results = [{"role": "tool", "tool_call_id": id, "content": "set"} for id in ("call_a", "call_b")]
    messages = [*HELLO, message.model_dump(exclude_none=True), *results]
    last = await client.chat.completions.create(**asked("mine/caller", messages=messages, tools=[TOOL]))
    assert last.choices[0].message.content == ANSWER
    assert upstream.last("caller").json["messages"] == messages
    assert upstream.last("caller").json["tools"] == [TOOL]


async def test_interleaved_pieces_of_tool_calls_stay_apart(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    """Arguments of parallel calls would be mixed to invalid JSON."""
    upstream.plans["pieces"] = stream(openai_events([], tools=PIECES))
    assert arguments_of(await streamed(client, "mine/pieces", tools=[TOOL])) == {
        "call_a": '{"track": 1}',
        "call_b": '{"track": 2}',
    }


async def test_tools_of_an_anthropic_model_reach_an_openai_client(
    client: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    """OpenAI's clients could not use tools with Claude."""
    uses = [{"type": "tool_use", "id": f"toolu_{n}", "name": "switch", "input": {"track": n}} for n in (1, 2)]

    def plan(received):
        if received.json.get("stream"):
            return stream(anthropic_events(*uses, stop_reason="tool_use"))
        return whole(anthropic_answer(*uses, stop_reason="tool_use"))

    upstream.plans["claude-tools"] = plan
    reply = await client.chat.completions.create(**asked("claude/claude-tools", tools=[TOOL]))
    calls = reply.choices[0].message.tool_calls
    assert calls is not None and reply.choices[0].finish_reason == "tool_calls"
    assert [(call.id, json.loads(call.function.arguments)) for call in calls] == [
        ("toolu_1", {"track": 1}),
        ("toolu_2", {"track": 2}),
    ]
    assert upstream.last("claude-tools").json["tools"][0]["input_schema"] == TOOL["function"]["parameters"]
    pieces = arguments_of(await streamed(client, "claude/claude-tools", tools=[TOOL]))
    assert {id: json.loads(arguments) for id, arguments in pieces.items()} == {
        "toolu_1": {"track": 1},
        "toolu_2": {"track": 2},
    }


async def test_tool_results_of_an_openai_client_reach_an_anthropic_model(
    client: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    """A tool loop with Claude would end after its first round."""
    results = [{"role": "tool", "tool_call_id": id, "content": "set"} for id in ("call_a", "call_b")]
    messages = [*HELLO, {"role": "assistant", **CALLED}, *results]
    await client.chat.completions.create(**asked("claude/results", messages=messages, tools=[TOOL]))
    user, assistant, answers = upstream.last("results").json["messages"]
    assert [part["id"] for part in assistant["content"]] == ["call_a", "call_b"]
    assert [part["input"] for part in assistant["content"]] == [{"track": 1}, {"track": 2}]
    assert [(part["type"], part["tool_use_id"]) for part in answers["content"]] == [
        ("tool_result", "call_a"),
        ("tool_result", "call_b"),
    ]


async def test_reasoning_of_an_anthropic_model_reaches_an_openai_client(
    client: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    """What the model thought would be lost, or be taken for its answer."""
    thought = {"type": "thinking", "thinking": "Left or right?", "signature": "c2ln"}
    said = {"type": "text", "text": ANSWER}
    upstream.plans["thinker"] = stream(anthropic_events(thought, said))
    chunks = await streamed(client, "claude/thinker")
    reasoning = [getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks if chunk.choices]
    assert "".join(reasoning) == "Left or right?"
    assert text_of(chunks) == ANSWER


async def test_images_schemas_and_unknown_fields_go_through_unchanged(
    client: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    """A picture would be re-encoded, a schema weakened, a vendor's own field dropped."""
    image = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 40).decode()
    content = [
        {"type": "text", "text": "what is it?", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": image, "detail": "high"}},
    ]
    schema = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}}}
    await client.chat.completions.create(
        **asked("mine/untouched", messages=[{"role": "user", "content": content}], response_format=schema),
        extra_body={"vendor_thing": {"deep": [1, 2.50, None]}},
    )
    received = upstream.last("untouched")
    assert received.json["messages"][0]["content"] == content
    assert received.json["response_format"] == schema
    assert received.json["vendor_thing"] == {"deep": [1, 2.5, None]}
    assert image.encode() in received.body


async def test_unknown_fields_of_a_reply_come_back(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    """A vendor's own additions, such as citations, would be lost."""
    upstream.plans["extra"] = whole(openai_answer() | {"citations": ["https://example.org"]})
    reply = await client.chat.completions.create(**asked("mine/extra"))
    assert reply.model_extra == {"citations": ["https://example.org"]}


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", openai.BadRequestError),
        (422, "invalid_request_error", openai.BadRequestError),
        (401, "authentication_error", openai.InternalServerError),
        (403, "permission_error", openai.InternalServerError),
        (404, "not_found_error", openai.InternalServerError),
        (429, "rate_limit_error", openai.RateLimitError),
        (500, "api_error", openai.InternalServerError),
        (503, "overloaded", openai.InternalServerError),
        (529, "overloaded_error", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_upstreams_error_arrives_as_the_clients_own_exception(
    client: openai.AsyncOpenAI, upstream: Upstream, status: int, kind: str, expected: type[Exception], streaming: bool
) -> None:
    """Programs that handle OpenAI's exceptions would not recognise ours; our wrong key would look like theirs."""
    name = f"failing-{status}-{streaming}"
    upstream.plans[name] = error(status, "no such luck", type=kind)
    with pytest.raises(expected, match="no such luck"):
        await client.chat.completions.create(**asked(f"mine/{name}", stream=streaming))


async def test_retry_after_is_passed_on_and_honoured(server: Running, upstream: Upstream) -> None:
    """Clients would hammer a provider that had told them when to come back."""
    upstream.plans["limited"] = lambda received: (
        whole(openai_answer())
        if len(upstream.of("limited")) > 1
        else error(429, "slow down", headers={"retry-after": "1"}, type="rate_limit_error")
    )
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=server.key, max_retries=1) as client:
        reply = await client.chat.completions.create(**asked("mine/limited"))
    assert reply.choices[0].message.content == ANSWER
    first, second = upstream.of("limited")
    assert second.at - first.at > 0.9


async def test_a_wrong_key_is_an_authentication_error(server: Running) -> None:
    """A client would take a wrong key for a fault of the server and retry."""
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="pm-wrong-key") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(**asked("small"))
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


@pytest.mark.fault(76, "404 with the nearest names.")
async def test_an_unknown_model_is_not_found_and_the_nearest_is_named(client: openai.AsyncOpenAI) -> None:
    """A typo in a model's name would cost a search."""
    with pytest.raises(openai.NotFoundError, match="small"):
        await client.chat.completions.create(**asked("smal"))


async def test_the_list_of_models_has_context_windows(client: openai.AsyncOpenAI) -> None:
    """Clients fill the context that they believe in: a wrong or missing one breaks long conversations."""
    models = {model.id: model.model_extra or {} for model in (await client.models.list()).data}
    assert {"auto", "fast", "careful", "small", "opus"} <= set(models)
    assert models["small"]["context_length"] == 32_000
    assert models["opus"]["context_length"] == 200_000
    assert models["small"]["max_output_tokens"] == 4000


@pytest.mark.parametrize("model", ["auto", "fast", "careful", "small", "mine/anything-at-all", "fake/echo"])
@pytest.mark.parametrize("streaming", [False, True])
async def test_every_kind_of_name_serves_and_the_headers_say_who(
    server: Running, client: openai.AsyncOpenAI, model: str, streaming: bool
) -> None:
    """Nobody could tell which model answered, or why."""
    raw = await client.chat.completions.with_raw_response.create(**asked(model, stream=streaming))
    if streaming:
        async for _ in raw.parse():
            pass
    headers = raw.headers
    routed = model in ("auto", "careful")
    assert bool(headers.get("x-pointsman-decision")) == routed
    (entry,) = server.entries(headers["x-pointsman-call"])
    assert (entry.model, entry.endpoint) == (headers["x-pointsman-model"], headers["x-pointsman-endpoint"])
    assert (entry.status, entry.stream, entry.decision_id) == ("ok", streaming, headers.get("x-pointsman-decision", ""))
    assert entry.usage is not None


async def test_the_cost_stands_in_the_header_and_unknown_is_not_zero(client: openai.AsyncOpenAI) -> None:
    """A bill could not be checked call by call, or an unknown price would look like a free one."""
    known = await client.chat.completions.with_raw_response.create(**asked("small"))
    assert known.headers["x-pointsman-cost-usd"] == "0.000019"
    unknown = await client.chat.completions.with_raw_response.create(**asked("mine/no-price"))
    assert unknown.headers["x-pointsman-cost-usd"] == "unknown"


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_next_candidate_is_asked_when_one_fails_before_it_began(
    server: Running, client: openai.AsyncOpenAI, upstream: Upstream, streaming: bool
) -> None:
    """One provider's bad minute would be the caller's."""
    upstream.plans["small"] = error(503, "busy")
    try:
        raw = await client.chat.completions.with_raw_response.create(**asked("careful", stream=streaming))
        if streaming:
            assert text_of([chunk async for chunk in raw.parse()]) == ANSWER
    finally:
        del upstream.plans["small"]
    first, second = server.entries(raw.headers["x-pointsman-call"], 2)
    assert raw.headers["x-pointsman-model"] == "twin"
    assert [(first.model, first.status), (second.model, second.status)] == [("small", "failed"), ("twin", "ok")]
    assert first.decision_id == second.decision_id == raw.headers["x-pointsman-decision"]


async def test_a_call_that_must_stay_here_is_refused_with_every_reason(
    client: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    """A private prompt would leave the machine, or its author would not learn why it was refused."""
    before = len(upstream.received)
    with pytest.raises(openai.InternalServerError, match="(?s)small.*twin") as caught:
        await client.chat.completions.create(**asked("sealed"))
    assert caught.value.status_code == 503
    assert len(upstream.received) == before


async def test_a_stream_that_breaks_raises_and_never_finishes(
    server: Running, client: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    """Half an answer would pass for a whole one."""
    upstream.plans["breaking"] = [*stream(openai_events()[:3])[:-1], 0.1, "reset"]
    chunks = []
    with pytest.raises(openai.APIError):
        async for chunk in await client.chat.completions.create(**asked("mine/breaking", stream=True)):
            chunks.append(chunk)
    assert text_of(chunks)
    assert not any(choice.finish_reason for chunk in chunks for choice in chunk.choices)
    assert server.newest("mine/breaking").status == "broken"


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_upstream_that_answers_in_the_other_manner_is_converted(
    client: openai.AsyncOpenAI, upstream: Upstream, streaming: bool
) -> None:
    """Servers that ignore `stream`, or always stream, could not be used."""
    upstream.plans["contrary"] = stream(openai_events()) if not streaming else whole(openai_answer())
    if streaming:
        assert text_of(await streamed(client, "mine/contrary")) == ANSWER
    else:
        reply = await client.chat.completions.create(**asked("mine/contrary"))
        assert reply.choices[0].message.content == ANSWER


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_line_ends_comments_and_marks_in_a_stream_do_no_harm(
    client: openai.AsyncOpenAI, upstream: Upstream, newline: bytes
) -> None:
    """Upstreams behind other servers end their lines differently."""
    events = [b"\xef\xbb\xbf: hello\n\n", *openai_events(), openai_chunk({"content": "more"}), b"data: [DONE]\n\n"]
    upstream.plans["lines"] = stream((event.replace(b"\n", newline) for event in events), headers=SSE)
    assert text_of(await streamed(client, "mine/lines")) == ANSWER


async def test_a_page_of_html_is_no_answer(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    """A captive portal's page would be shown as the model's words."""
    upstream.plans["portal"] = whole(b"<!doctype html><p>Log in</p>", headers={"content-type": "text/html"})
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(**asked("mine/portal"))
    with pytest.raises(openai.InternalServerError):
        await streamed(client, "mine/portal")


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{}]}', b"NaN", b"[" * 100_000, b"\xff\xfe{}", b"{"],
)
async def test_an_answer_without_an_answer_is_an_error(
    client: openai.AsyncOpenAI, upstream: Upstream, body: bytes
) -> None:
    """Nothing at all would pass for an answer, or kill the server."""
    upstream.plans["hollow"] = whole(body, headers=JSON)
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(**asked("mine/hollow"))
