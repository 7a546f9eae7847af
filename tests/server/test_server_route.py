"""What would be chosen, and what another policy would have done, over HTTP: from the real server."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec
import openai
import pytest
from running import Running

from pointsman.gateway.foreseen import RouteJson
from pointsman.lab.replay_json import ReplayJson
from pointsman.ledger import Ledger
from pointsman.server.route import MOST_PROMPTS
from upstream import Upstream

ROUTE = "/api/route"
HELLO = [{"role": "user", "content": "Write a Python function that reverses a string."}]

Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask(server: Running) -> Ask:
    return lambda body, **headers: asked(server, "POST", ROUTE, body, **headers)


def asked(
    server: Running, method: str, path: str, body: dict[str, Any] | bytes | None = None, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Status and JSON."""
    stated = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    content = json.dumps(body) if isinstance(body, dict) else body
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, path, content, {**stated, **given})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def attempts(server: Running) -> list[str]:
    """What was counted of those that were recorded."""
    return [line for line in server.text("/metrics").splitlines() if line.startswith("pointsman_attempts_total")]


def told(answer: tuple[int, dict[str, Any]]) -> Any:
    status, body = answer
    assert status == 200 and body["success"] is True, body
    return body["data"]


def test_a_prompt_is_decided_and_explained_and_nobody_is_called(ask: Ask, server: Running, upstream: Upstream) -> None:
    """A program would have to pay for an answer to learn who would give it."""
    calls, before = len(upstream.received), attempts(server)
    data = told(ask({"prompt": HELLO[0]["content"]}))
    decided = msgspec.convert(data, RouteJson, strict=True)
    assert decided.task == "coding" and decided.chosen in ("small", "twin", "opus") and decided.reason
    best = decided.candidates[0]
    assert best.score == pytest.approx(sum(best.terms.values())) and best.expected_cost_usd
    assert sum(one.probability for one in decided.candidates) == pytest.approx(1)
    assert len(upstream.received) == calls and attempts(server) == before


def test_needs_are_headers_as_those_of_calls_are(ask: Ask) -> None:
    """What is foretold would not be what the doors do."""
    prompt = {"prompt": "hello"}
    assert told(ask(prompt, x_pointsman_priority="performance"))["policy"] == "objective:performance"
    private = told(ask(prompt, x_pointsman_local_only="true"))
    assert private["chosen"] is None and private["candidates"][0]["rejected"]
    assert told(ask(prompt, x_pointsman_budget_usd="0.0000001"))["chosen"] is None
    assert told(ask(prompt, x_pointsman_task="translation"))["task"] == "translation"
    assert "0.99" in told(ask(prompt, x_pointsman_quality="0.99"))["reason"]
    assert told(ask({**prompt, "model": "careful"}))["policy"] == "objective:performance"
    assert told(ask({**prompt, "model": "fast"}))["chosen"] == "fast"
    assert told(ask({**prompt, "model": "small", "max_tokens": 5000}))["chosen"] is None
    assert ask(prompt, x_pointsman_quality="2")[0] == 400
    for seconds in ("0.0001", "86401"):
        status, refused = ask(prompt, x_pointsman_max_latency=seconds)
        assert status == 400 and "from 0.001 to 86400" in refused["error"]["message"]


def test_many_prompts_are_decided_at_once(ask: Ask) -> None:
    """A file of prompts would take a connection for each."""
    decided = told(ask({"prompts": [HELLO[0]["content"], "", "Translate this to German: good morning"]}))
    assert [one["task"] for one in decided][::2] == ["coding", "translation"]
    assert all(one["chosen"] for one in decided)


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_whole_call_is_decided_as_its_door_would(ask: Ask, dialect: str) -> None:
    """A client would have to take its calls apart to have them explained."""
    if dialect == "openai":
        tools = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}]
        data = told(ask({"model": "frugal", "messages": HELLO, "tools": tools, "stream": True}))
    else:
        body = {"model": "frugal", "max_tokens": 9, "system": [{"type": "text", "text": "Be short."}]}
        messages = [{"role": "user", "content": [{"type": "text", "text": HELLO[0]["content"]}]}]
        data = told(ask({**body, "messages": messages}, anthropic_version="2023-06-01"))
    assert (data["task"], data["policy"]) == ("coding", "objective:frugal") and data["chosen"]


def test_the_model_of_a_task_is_told_along_its_chain(ask: Ask) -> None:
    """Whoever knows what he asks for would have to write a prompt to learn who serves it."""
    status, refused = ask({"task_type": "classification", "complexity": "simple", "budget": "0"})
    assert status == 503 and "chain of 'classification'" in refused["error"]["message"]
    status, refused = ask({"task_type": "juggling", "complexity": "simple"})
    assert status == 400 and "No chain is named" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({}, 400, "it has none"),
        ({"prompt": "x", "prompts": ["y"]}, 400, "prompt and prompts"),
        ({"prompt": 5}, 400, "prompt: Expected"),
        ({"prompts": []}, 400, "empty"),
        ({"prompts": ["x"] * (MOST_PROMPTS + 1)}, 413, f"at most {MOST_PROMPTS}"),
        ({"prompts": ["x", None]}, 400, "prompts[1]"),
        ({"prompt": "x", "max_tokens": -1}, 400, "max_tokens"),
        ({"prompt": "x", "model": "smal"}, 404, "'small'"),
        ({"messages": HELLO}, 400, "model"),
        ({"messages": "x", "model": "auto"}, 400, "messages"),
        ({"task_type": "coding"}, 400, "complexity"),
        ({"task_type": "coding", "complexity": "hard"}, 400, "complexity"),
        ({"task_type": "rewriting", "complexity": "simple", "budget": "lots"}, 400, "budget"),
        (b'{"prompt": "\xff"}', 400, "UTF-8"),
        (b'{"prompt": "x", "y": ' + b"[" * 100_000, 400, "nested too deep"),
        (b'{"prompt": "' + b"x" * (1 << 20) + b'"}', 413, "bytes"),
        (b"[1", 400, "object"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(ask: Ask, body: dict[str, Any] | bytes, status: int, why: str) -> None:
    """A mistake would be answered with a decision on something else, or cost the server more than a look."""
    found, answer = ask(body)
    assert (found, answer["success"]) == (status, False) and why in answer["error"]["message"]


def test_a_key_is_told_only_of_models_that_it_may_name(ask: Ask, server: Running) -> None:
    """A key for one model would be told what the others cost and how good they are, though its call is refused."""
    with Ledger.open(server.home) as ledger:
        text, _ = ledger.keys.create("one", scopes=("read", "call"), models=("small",))
    narrow = f"Bearer {text}"
    assert told(ask({"prompt": "hello", "model": "small"}, authorization=narrow))["chosen"] == "small"
    assert told(ask({"messages": HELLO, "model": "small"}, authorization=narrow))["chosen"] == "small"
    call = {"model": "auto", "messages": HELLO}
    status, refused = asked(server, "POST", "/v1/chat/completions", call, authorization=narrow)
    why = refused["error"]["message"]
    assert status == 403 and "may name small." in why
    chain = {"task_type": "coding", "complexity": "simple"}
    for body in (call, {"prompt": "hello"}, {"prompts": ["hello"]}, chain):
        status, answer = ask(body, authorization=narrow)
        assert (status, answer["error"]["message"]) == (403, why)
    status, answer = ask({"prompt": "hello", "model": "nobody"}, authorization=narrow)
    assert status == 403 and "'nobody'" in answer["error"]["message"]


def test_a_routed_answer_says_whether_it_has_the_quality_that_was_asked_for(server: Running) -> None:
    """A program would take the best there is for good enough."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:

        def met(model: str, quality: str, *, stream: bool = False) -> str | None:
            asked_for = {"x-pointsman-quality": quality} if quality else {}
            answer = client.chat.completions.with_raw_response.create(
                model=model, messages=[{"role": "user", "content": "hello"}], stream=stream, extra_headers=asked_for
            )
            return answer.headers.get("x-pointsman-quality-met")

        assert [met("auto", "0.99", stream=stream) for stream in (False, True)] == ["false", "false"]
        assert met("auto", "0.05") == "true"
        assert met("auto", "") is None and met("small", "0.99") is None


def test_recorded_traffic_is_decided_anew(server: Running) -> None:
    """What another policy would cost could be asked on the server's machine alone."""
    for _ in range(2):
        asked(server, "POST", "/v1/chat/completions", {"model": "auto", "messages": HELLO})
    path = "/api/replay?policy=logged&since=2026-01-01&until=2100-01-01&seed=3&show=2"
    data = told(asked(server, "GET", path))
    assert data["decisions"] >= 2 and data["changed"] == 0 and (data["policy"], data["seed"]) == ("logged", 3)
    assert tuple(data) == ReplayJson.__struct_fields__
    assert told(asked(server, "GET", path)) == data
    always = told(asked(server, "GET", "/api/replay?policy=always:opus&show=1"))
    assert always["changed"] >= 1 and len(always["shown"]) == 1


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "missing"),
        ("policy=frgal", "frugal"),
        ("policy=always:nobody", "nobody"),
        ("policy=always:", "followed by a model's name"),
        ("policy=/etc/passwd.yaml", "pointsman replay"),
        ("policy=frugal&since=never", "no time"),
        ("policy=frugal&seed=-1", "seed"),
        ("policy=frugal&seed=4294967296", "seed"),
        ("policy=frugal&show=201", "show"),
        ("policy=%00%ff", "There are"),
    ],
)
def test_a_replay_of_what_cannot_be_is_refused(server: Running, query: str, why: str) -> None:
    """A slip of the pen would be an error of the server, or read a file of its machine."""
    status, answer = asked(server, "GET", f"/api/replay?{query}")
    assert status == 400 and why in answer["error"]["message"]


def test_replays_come_one_at_a_time_and_end(server: Running) -> None:
    """Whoever may read could keep every core of the server busy."""
    found: list[int] = []
    path = "/api/replay?policy=frugal&since=2026-01-01"
    threads = [threading.Thread(target=lambda: found.append(asked(server, "GET", path)[0])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 200 in found and set(found) <= {200, 503}
