"""What a client is told beside the answer: headers, errors in its own words, counts."""

from __future__ import annotations

import base64
import http.client
import json
import re
from contextlib import closing
from pathlib import Path

import anthropic
import openai
import pytest
from running import Running

from upstream import Upstream, anthropic_answer, error, openai_answer, whole

DOCS = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
HELLO = [{"role": "user", "content": "hello"}]
CALL = {"model": "small", "max_tokens": 9, "messages": HELLO}
DOORS = ("/v1/chat/completions", "/v1/messages")
ANTHROPIC = {"anthropic_version": "2023-06-01"}
FIELDS_OF_HTTP = {"date", "content-length", "content-type", "transfer-encoding", "connection"}


class Told:
    """A whole answer; names of headers in lower case."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.text = answer.read().decode()

    def json(self) -> dict:
        return json.loads(self.text)


@pytest.fixture
def ask(server: Running):
    """Asks with a good key, unless the headers state another."""

    def ask(method: str, path: str, call: dict | bytes | None = None, **headers: str) -> Told:
        body = json.dumps(call) if isinstance(call, dict) else call
        stated = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
            connection.request(method, path, body, {**stated, **given})
            return Told(connection.getresponse())

    return ask


@pytest.fixture
def claude(server: Running):
    with anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("path", DOORS)
def test_every_answer_of_a_door_names_its_call(server: Running, upstream: Upstream, ask, path: str) -> None:
    """Whoever sees an error could not find it in the ledger."""
    upstream.plans["down"] = error(500, "boom")
    failed = ask("POST", path, CALL | {"model": "mine/down"})
    entry = server.entries(failed.headers["x-pointsman-call"])[0]
    assert (entry.model, entry.error) == ("mine/down", failed.headers["x-pointsman-error"])
    for answer in (
        ask("POST", path, CALL),
        ask("POST", path, b"{"),
        ask("POST", path, CALL, authorization="Bearer pm-no"),
        ask("POST", path, CALL, origin="http://evil.example"),
        ask("POST", path, CALL | {"model": "nothing"}),
    ):
        assert len(answer.headers["x-pointsman-call"]) == 32
        assert ("x-pointsman-error" in answer.headers) == (answer.status != 200)


def test_every_header_that_is_sent_is_on_the_page(ask, upstream: Upstream) -> None:
    """A header that nobody can look up, or a page that promises one that is not sent."""
    upstream.plans |= {
        "limited": error(429, "slow down", headers={"retry-after": "2"}),
        "key-no": error(401, "wrong key"),
    }
    answers = [
        ask("POST", DOORS[0], CALL | {"model": "several"}, x_pointsman_quality="0.96"),
        *(ask("POST", path, CALL | more) for path in DOORS for more in ({}, {"stream": True}, {"model": "auto"})),
        *(ask("POST", DOORS[0], CALL | {"model": f"mine/{name}"}) for name in ("limited", "key-no")),
        *(ask("GET", path) for path in ("/v1/models", "/metrics", "/api/costs", "/", "/nowhere", DOORS[0])),
        ask("POST", "/v1/messages/count_tokens", CALL),
        ask("POST", DOORS[0], CALL | {"model": "auto"}, x_pointsman_quality="0.5"),
    ]
    sent = {name for answer in answers for name in answer.headers} - FIELDS_OF_HTTP
    section = DOCS.partition("## Headers of a reply")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)`", section, re.MULTILINE)) == sent


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("DELETE", "/v1/models", 405), ("GET", "/v1/models", 401), ("PUT", DOORS[0], 405)],
)
def test_under_v1_errors_come_in_the_callers_dialect(ask, method: str, path: str, status: int) -> None:
    """A client would show the raw bytes, or fail on them, instead of the reason."""
    plain = ask(method, path, authorization="")
    assert plain.status == status and set(plain.json()) == {"error"}
    assert plain.json()["error"]["code"] == plain.headers["x-pointsman-error"]
    theirs = ask(method, path, authorization="", **ANTHROPIC)
    assert theirs.status == status and theirs.json()["type"] == "error"
    assert theirs.json()["error"]["kind"] == theirs.headers["x-pointsman-error"]
    assert status != 405 or theirs.json()["error"]["type"] == "invalid_request_error"


def test_elsewhere_errors_come_in_our_own_shape(ask) -> None:
    """The console and scripts on our own API would find no reason."""
    for method, path, status in (("GET", "/api/costs", 401), ("GET", "/api/no", 404), ("POST", "/api/costs", 405)):
        answer = ask(method, path, authorization="", **ANTHROPIC)
        assert (answer.status, answer.json()["success"]) == (status, False)
    assert answer.headers["allow"] == "GET"


def test_a_wrong_base_url_is_told_with_the_right_one(server: Running) -> None:
    """The likeliest mistake of all would cost a search."""
    with (
        openai.OpenAI(base_url=server.url, api_key=server.key, max_retries=0) as client,
        pytest.raises(openai.NotFoundError, match="/v1/chat/completions.*ends in /v1"),
    ):
        client.chat.completions.create(model="small", messages=HELLO)
    with (
        anthropic.Anthropic(base_url=server.url + "/v1", api_key=server.key, max_retries=0) as claude,
        pytest.raises(anthropic.NotFoundError, match="Anthropic's does not"),
    ):
        claude.messages.create(**CALL)


def test_an_upstreams_refusal_says_whose_it_is_and_is_not_tried_again_in_vain(
    server: Running, upstream: Upstream
) -> None:
    """A caller would hold the server's key at a provider for his own, and the client would ask three times."""
    upstream.plans["no-key"] = error(401, "Incorrect API key")
    with (
        openai.OpenAI(base_url=server.url + "/v1", api_key=server.key, max_retries=2) as client,
        pytest.raises(openai.InternalServerError, match="mine/no-key: .*not the caller's"),
    ):
        client.chat.completions.create(model="mine/no-key", messages=HELLO)
    assert len(upstream.of("no-key")) == 1


@pytest.mark.parametrize("streaming", [False, True])
def test_the_body_names_the_model_by_one_rule(ask, upstream: Upstream, streaming: bool) -> None:
    """A program would see another name in a stream than in a whole answer."""
    name = "streamed-name" if streaming else "whole-name"
    if not streaming:
        upstream.plans[name] = lambda received: whole(
            (anthropic_answer() if received.path.endswith("messages") else openai_answer())
            | {"model": "upstream-model"}
        )
    for path, provider, expected in (
        (DOORS[0], "mine", "upstream-model"),
        (DOORS[0], "claude", f"claude/{name}"),
        (DOORS[1], "claude", "upstream-model"),
        (DOORS[1], "mine", f"mine/{name}"),
    ):
        answer = ask("POST", path, CALL | {"model": f"{provider}/{name}", "stream": streaming})
        assert answer.headers["x-pointsman-model"] == f"{provider}/{name}"
        assert set(re.findall(r'"model":\s*"([^"]+)"', answer.text)) == {expected}


def count(client: anthropic.Anthropic, **fields) -> int:
    return client.messages.count_tokens(**{"model": "auto", "messages": HELLO, **fields}).input_tokens


def user(*blocks: dict) -> list[dict]:
    return [{"role": "user", "content": list(blocks)}]


def test_tokens_are_counted_here_and_nothing_is_sent_or_recorded(
    server: Running, claude: anthropic.Anthropic, upstream: Upstream
) -> None:
    """Claude's tools count before each turn: it would cost money, or fail."""
    before = len(upstream.received)
    assert 1 <= count(claude, model="mine/counted-only") <= 10
    long = user({"type": "text", "text": "word " * 200})
    assert 190 <= count(claude, model="mine/counted-only", messages=long) <= 230
    assert len(upstream.received) == before
    after = claude.messages.with_raw_response.create(**CALL)
    server.entries(after.headers["x-pointsman-call"])
    assert "mine/counted-only" not in {row["model"] for row in server.get("/api/decisions?limit=200")["data"]}


def test_images_tools_documents_and_system_prompts_count_too(claude: anthropic.Anthropic) -> None:
    """A conversation would be over the limit long before its count says so."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"}}
    kept = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    pdf = base64.b64encode(b"%PDF" * 3000).decode()
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": pdf}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [picture, document]}
    linked = {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}
    for block in (picture, kept, document, linked, result):
        assert count(claude, messages=user(block)) >= 1000, block["type"]
    schema = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(40)}}
    assert count(claude, tools=[{"name": "switch", "input_schema": schema}]) > 200
    assert count(claude, system="Be brief. " * 100) > 200


def test_what_only_anthropic_can_run_is_counted_all_the_same(claude: anthropic.Anthropic) -> None:
    """Claude Code's web search would make each count fail."""
    searched = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "points " * 100}}
    messages = [*HELLO, {"role": "assistant", "content": [searched]}]
    assert count(claude, messages=messages) > 150
    assert count(claude, tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]) > 15


def test_a_count_of_rubbish_or_without_a_key_is_refused(server: Running, claude: anthropic.Anthropic) -> None:
    """A mistake would pass for a short prompt."""
    for fields in ({"messages": []}, {"messages": [5]}, {"tools": [5]}, {"messages": user({"type": 5})}):
        with pytest.raises(anthropic.BadRequestError):
            count(claude, **fields)
    with pytest.raises(anthropic.AuthenticationError):
        count(claude.with_options(api_key="pm-no"))
