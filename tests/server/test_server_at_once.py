"""Several models at once, over HTTP: what comes of the answers, of those that lost, and of the bill."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import anthropic
import openai
import pytest
from running import Running

from pointsman.ledger import Entry, Ledger
from upstream import (
    ANSWER,
    SSE,
    Plan,
    Received,
    Upstream,
    anthropic_answer,
    anthropic_events,
    error,
    head,
    openai_answer,
    openai_events,
    stream,
    whole,
)

HELLO = [{"role": "user", "content": "What is six times seven?"}]
GOOD, FAST = {"x-pointsman-quality": "0.96"}, {"x-pointsman-max-latency": "0.09"}
MEMBERS = ("voter-1", "voter-2", "voter-3")
EACH = 9 * 1 + 5 * 2
"""Dollars per million calls, of each: the usage that the upstream tells, at the prices of the configuration."""

Answered = tuple[str, http.client.HTTPMessage]


@pytest.fixture
def say(upstream: Upstream) -> Iterator[Any]:
    """Lets each of the three say what it is given: a text, or how its upstream behaves."""

    def says(*plans: Any) -> None:
        for name, plan in zip(MEMBERS, plans, strict=False):
            upstream.plans[name] = _saying(plan) if isinstance(plan, str) else plan

    yield says
    for name in MEMBERS:
        upstream.plans.pop(name, None)


def _saying(text: str) -> Any:
    def plan(received: Received) -> Plan:
        if received.path.endswith("/messages"):
            block = {"type": "text", "text": text}
            return stream(anthropic_events(block)) if received.json.get("stream") else whole(anthropic_answer(block))
        return stream(openai_events([text])) if received.json.get("stream") else whole(openai_answer(text))

    return plan


def asked(server: Running, headers: dict[str, str], **fields: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The body of the answer, and its headers."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        body = json.dumps({"model": "several", "messages": HELLO, **fields})
        sent = {"authorization": f"Bearer {server.key}", "content-type": "application/json", **headers}
        connection.request("POST", "/v1/chat/completions", body, sent)
        answer = connection.getresponse()
        return json.loads(answer.read()), {name.lower(): value for name, value in answer.getheaders()}


def content(body: dict[str, Any]) -> str:
    return str(body["choices"][0]["message"]["content"])


def attempts(server: Running, headers: dict[str, str], least: int) -> list[Entry]:
    return server.entries(headers["x-pointsman-call"], least)


def test_three_are_asked_and_two_decide(server: Running, say: Any) -> None:
    """The strongest would be asked, and two others paid for nothing."""
    say("41", "The answer is 42.", "42")
    body, headers = asked(server, GOOD)
    assert content(body) == "The answer is 42." and headers["x-pointsman-model"] == "voter-2"
    assert headers["x-pointsman-agreed"] == "2 of 3" and headers["x-pointsman-quality-met"] == "false"
    assert float(headers["x-pointsman-cost-usd"]) == pytest.approx(3 * EACH / 1e6)
    entries = attempts(server, headers, 3)
    assert [(one.model, one.status, one.strategy) for one in entries] == [(name, "ok", "consensus") for name in MEMBERS]
    assert len({one.decision_id for one in entries}) == 1


@pytest.mark.parametrize("elected", ["voter-1", "voter-2"])
async def test_streams_of_both_apis_bear_the_elected_answer(server: Running, say: Any, elected: str) -> None:
    """A stream would come from a model that was outvoted, or translated twice."""
    say("41" if elected == "voter-2" else "42", "42", "42")
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=server.key, max_retries=0) as client:
        created = await client.chat.completions.create(model="several", messages=HELLO, stream=True, extra_headers=GOOD)
        pieces = [piece.choices[0].delta.content or "" async for piece in created if piece.choices]
    assert "".join(pieces) == "42"
    async with (
        anthropic.AsyncAnthropic(base_url=server.url, api_key=server.key, max_retries=0) as client,
        client.messages.stream(model="several", max_tokens=50, messages=HELLO, extra_headers=GOOD) as message,
    ):
        assert await message.get_final_text() == "42"
        assert message.response.headers["x-pointsman-model"] == elected


def test_one_that_fails_does_not_break_it(server: Running, upstream: Upstream) -> None:
    """Three models would be three times as likely to fail as one."""
    upstream.plans["frail-1"] = error(500)
    body, headers = asked(server, GOOD, model="frail")
    assert content(body) == ANSWER and headers["x-pointsman-agreed"] == "2 of 3"
    assert [one.status for one in attempts(server, headers, 3)] == ["failed", "ok", "ok"]
    upstream.plans |= {"frail-2": error(500), "frail-3": error(500)}
    body, headers = asked(server, GOOD, model="frail")
    assert headers["x-pointsman-model"] == "small" and "x-pointsman-agreed" not in headers
    assert attempts(server, headers, 3)[-1].strategy == "single"


def test_a_vote_that_is_won_lets_go_of_the_last(server: Running, upstream: Upstream, say: Any) -> None:
    """A model that hangs would hold up what two agree on."""
    say("42", "42", [head(200, SSE), "hang"])
    body, headers = asked(server, GOOD)
    assert content(body) == "42"
    upstream.last("voter-3").left()
    assert [one.status for one in attempts(server, headers, 3)] == ["ok", "ok", "cancelled"]


def test_five_run_and_four_are_let_go(server: Running, upstream: Upstream, say: Any) -> None:
    """Whoever is in a hurry would wait for the slowest connection, or pay for five answers."""
    seen = len(upstream.received)

    def runners() -> list[Received]:
        """Which of the three is the fastest is known by what was measured before."""
        return [one for one in upstream.received[seen:] if one.model in MEMBERS]

    def plan(received: Received) -> Plan:
        return _saying("F")(received) if len(runners()) >= 5 else [head(200, SSE), "hang"]

    say(plan, plan, plan)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        body = json.dumps({"model": "several", "messages": HELLO, "stream": True})
        connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {server.key}", **FAST})
        answer = connection.getresponse()
        assert b'"F"' in answer.read()
    five = runners()
    assert len(five) == 5 and all(one.left() for one in five[:4])
    entries = server.entries(answer.getheader("x-pointsman-call") or "", 5)
    assert sorted(one.status for one in entries) == ["cancelled"] * 4 + ["ok"]
    assert {one.strategy for one in entries} == {"race"} and len({one.model for one in entries}) == 1


def test_a_grade_is_of_the_one_whose_words_were_given(server: Running, say: Any) -> None:
    """A model that was outvoted would be praised for what another said."""
    say("41", "42", "42")
    _, headers = asked(server, GOOD)
    call_id = headers["x-pointsman-call"]
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        sent = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
        connection.request("POST", "/v1/feedback", json.dumps({"call_id": call_id, "score": 1}), sent)
        assert json.loads(connection.getresponse().read())["model"] == "voter-2"
    with Ledger.open(server.home) as ledger:
        [graded] = [one for one in ledger.feedback.graded(0, 100_000) if one.entry.call_id == call_id]
    assert graded.entry.model == "voter-2" and graded.entry.candidates


def test_a_consensus_is_told_before_it_is_asked(server: Running) -> None:
    """Nobody could see what a call will be put to, and cost."""
    sent = {"authorization": f"Bearer {server.key}", "content-type": "application/json", **GOOD}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", "/api/route", json.dumps({"model": "several", "messages": HELLO}), sent)
        told = json.loads(connection.getresponse().read())
    told = told.get("data", told)
    assert told["together"] == {"way": "consensus", "models": list(MEMBERS), "first": 3}
    assert "asked at once" in told["reason"] and told["chosen"] == "voter-1"
