"""Answers that fail by what they are, noticed by the server itself: from real upstreams, through both doors."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from msgspec import Struct
from running import Running

from pointsman.ledger import Entry, Feedback, Ledger
from upstream import (
    Plan,
    Received,
    Upstream,
    anthropic_answer,
    anthropic_events,
    openai_answer,
    openai_chunk,
    openai_events,
    stream,
    whole,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
JSON_MODE = {"response_format": {"type": "json_object"}}
JSON_SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY}}}
TOOL = {"tools": [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]}
CLAUDE_TOOL = {"tools": [{"name": "weather", "input_schema": CITY}]}
CLAUDE_SCHEMA = {"output_config": {"format": {"type": "json_schema", "schema": CITY}}}


class Case(Struct, frozen=True):
    """What is asked, what is answered, and what is noticed: '' for nothing."""

    name: str
    why: str
    text: str = "Points set, train passed."
    arguments: str | None = None
    """Of a call of the tool `weather`, in place of the text."""
    finish: str = "stop"
    asked: dict[str, Any] = {}
    claude: bool = False
    kind: str = ""
    """The finish that is recorded, where it is not the same word."""


CASES = (
    Case("plain", ""),
    Case("never-asked", "", text="no JSON"),
    Case("text-format", "", text="no JSON", asked={"response_format": {"type": "text"}}),
    Case("good-json", "", text=' [1, {"a": "\\ud800"}]\n', asked=JSON_MODE),
    Case("good-schema", "", text='{"city": "Bern"}', asked=JSON_SCHEMA),
    Case("good-tool", "", arguments='{"city": "Bern"}', asked=TOOL | JSON_SCHEMA),
    Case("no-arguments", "", arguments="", asked={"tools": [{"type": "function", "function": {"name": "weather"}}]}),
    Case("tool-not-used", "", text="It rains.", asked=TOOL),
    Case("own-bound", "", finish="length", asked={"max_tokens": 5}),
    Case("cut-json", "", text='{"city": "Be', finish="length", asked=JSON_SCHEMA | {"max_tokens": 5}),
    Case(
        "bad-schema",
        "",
        text="{}",
        asked={"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}}},
    ),
    Case("several", "", text="no JSON", asked=JSON_MODE | {"n": 2}),
    Case("error", "refused", finish=""),
    Case("filtered", "refused", finish="content_filter", kind="filter"),
    Case("declined", "refused", finish="refusal", claude=True),
    Case("its-own-limit", "cut_off", finish="length"),
    Case("far-below", "cut_off", finish="length", asked={"max_tokens": 100}),
    Case("claude-cut", "cut_off", finish="max_tokens", kind="length", asked={"max_tokens": 100}, claude=True),
    Case("not-json", "not_json", text="Here it is: {}", asked=JSON_MODE),
    Case("nothing", "not_json", text="", asked=JSON_SCHEMA),
    Case("nan", "not_json", text='{"city": NaN}', asked=JSON_MODE),
    Case("wrong-type", "schema", text='{"city": 7}', asked=JSON_SCHEMA),
    Case("claude-schema", "schema", text='{"town": "Bern"}', finish="end_turn", asked=CLAUDE_SCHEMA, claude=True),
    Case("broken-arguments", "tool_arguments", arguments='{"city": "Be', asked=TOOL),
    Case("list-of-arguments", "tool_arguments", arguments='["Bern"]', asked=TOOL),
    Case("wrong-arguments", "tool_arguments", arguments='{"town": "Bern"}', asked=TOOL),
    Case("claude-tool", "tool_arguments", arguments='{"town": "Bern"}', asked=CLAUDE_TOOL, claude=True),
)


class Noticed(Struct, frozen=True):
    case: Case
    entry: Entry
    feedback: Sequence[Feedback]


def plan(case: Case, received: Received) -> Plan:
    if case.name == "error":
        return whole({"error": {"message": "No.", "code": "content_policy_violation"}}, 400)
    streams = bool(received.json.get("stream"))
    if case.claude:
        block: dict[str, Any] = {"type": "text", "text": case.text}
        reason = case.finish
        if case.arguments is not None:
            block = {"type": "tool_use", "id": "t1", "name": "weather", "input": json.loads(case.arguments)}
            reason = "tool_use"
        if streams:
            return stream(anthropic_events(block, stop_reason=reason))
        return whole(anthropic_answer(block, stop_reason=reason))
    called = {"index": 0, "id": "t1", "type": "function", "function": {"name": "weather", "arguments": case.arguments}}
    tools = [] if case.arguments is None else [called]
    text = case.text if case.arguments is None else ""
    if streams:
        return stream(
            openai_chunk({}, case.finish) if b'"finish_reason": "stop"' in event else event
            for event in openai_events((text,), tools=tools)
        )
    answer = openai_answer(text, **({"tool_calls": tools} if tools else {}))
    if not tools:
        answer["choices"][0]["message"]["content"] = text
        answer["choices"][0]["finish_reason"] = case.finish
    return whole(answer)


def call_of(server: Running, case: Case, streams: bool) -> str:
    """The id of the call."""
    path, provider = ("/v1/messages", "claude") if case.claude else ("/v1/chat/completions", "mine")
    messages = [{"role": "user", "content": "Which city?"}]
    bound = {"max_tokens": 50} if case.claude else {}
    body = {"model": f"{provider}/{case.name}", "messages": messages, "stream": streams, **bound, **case.asked}
    headers = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == (400 if case.name == "error" else 200), said
        return str(answer.getheader("x-pointsman-call"))


@pytest.fixture(scope="module")
def noticed(server: Running, upstream: Upstream) -> dict[tuple[str, bool], Noticed]:
    """All cases at once, since the server takes some seconds to look. The good ones are asked first: when the others
    were noticed, they were looked at."""
    calls = {}
    for case in CASES:
        upstream.plans[case.name] = lambda received, case=case: plan(case, received)  # type: ignore[misc]
        for streams in (False, True):
            calls[case.name, streams] = call_of(server, case, streams)
    bad = [calls[case.name, streams] for case in CASES if case.why for streams in (False, True)]
    deadline = time.monotonic() + 20
    with Ledger.open(server.home) as ledger:
        while not all(ledger.feedback.of(call_id) for call_id in bad) and time.monotonic() < deadline:
            time.sleep(0.1)
        ledger.flush()
        entries = {entry.call_id: entry for entry in ledger.queries.entries()}
        return {
            (case.name, streams): Noticed(
                case,
                entries[calls[case.name, streams]],
                ledger.feedback.of(calls[case.name, streams]),
            )
            for case in CASES
            for streams in (False, True)
        }


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_what_failed_by_itself_is_noticed_and_nothing_else(
    noticed: dict[tuple[str, bool], Noticed], name: str, streams: bool
) -> None:
    """A model that answers with rubbish would go on being asked; or a good one would be blamed for what it did not."""
    found = noticed[name, streams]
    assert [said.why for said in found.feedback] == ([found.case.why] if found.case.why else [])
    for said in found.feedback:
        assert (said.score, said.source, said.attempt_id) == (0.0, "automatic", found.entry.attempt_id)
        assert 0 < said.reliability < 1


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_how_an_answer_ended_is_recorded(noticed: dict[tuple[str, bool], Noticed], streams: bool) -> None:
    """An answer that was cut off, or refused, could not be told from a good one."""
    for case in CASES:
        finish = "tools" if case.arguments is not None else "stop" if case.finish == "end_turn" else case.finish
        assert noticed[case.name, streams].entry.finish == (case.kind or finish), case.name


def test_no_word_of_an_answer_is_kept(noticed: dict[tuple[str, bool], Noticed], server: Running) -> None:
    """What is looked at for its form would lie on the disk, where prompts and answers are not to be kept."""
    assert noticed
    for file in server.home.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert b"Bern" not in data and b"Here it is" not in data, file.name
