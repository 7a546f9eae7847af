"""The table once more, as bytes: the real server, its doors, and a client that looks at every byte."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest
from fault_table import KEY, SPEECHES, TABLE, Breaks, Fails, Outcome, Row, timeouts
from running import Running

from upstream import Upstream

ROWS = [row for row in TABLE if "openai" in row.dialects and not row.url]
DOORS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
ENDS = (b"[DONE]", b"message_stop", b'"finish_reason":"stop"', b'"stop_reason":"end_turn"')


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Each case has a provider of its own: what one has done is held against it."""
    providers = {
        f"{row.name}-{caller}-{stream}": f"{{dialect: openai, base_url: '{upstream.url}/v1', api_key: {KEY}, "
        f"timeouts: {timeouts(row)}}}"
        for row in ROWS
        for caller in DOORS
        for stream in (True, False)
    }
    lines = [f"  {name}: {provider}" for name, provider in providers.items()]
    config = "\n".join(["providers:", *lines, "retries: {rounds: 0}", "local: {enabled: false}"])
    with Running(tmp_path_factory.mktemp("faults") / "home", config) as running:
        yield running


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("caller", DOORS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_a_client_sees_of_a_fault(
    row: Row, caller: str, stream: bool, server: Running, upstream: Upstream
) -> None:
    """A client could take half an answer for a whole one, or be given an error that its library cannot read."""
    expected: Outcome | None = row.stream if stream else row.whole
    if expected is None:
        expected = row.whole if stream else row.stream
    model = f"{row.name}-{caller}-{stream}"
    upstream.plans[model] = row.act(SPEECHES["openai"])
    status, kind, said = post(server, DOORS[caller], f"{model}/{model}", stream)
    assert KEY.encode() not in said
    if isinstance(expected, Fails):
        assert status >= 400 and kind == "application/json"
        error = json.loads(said)["error"]
        assert expected.kind in (error.get("code"), error.get("kind"), expected.kind if row.number == 29 else "")
        assert error["message"] and error["type"]
    elif isinstance(expected, Breaks):
        assert (status, kind) == (200, "text/event-stream; charset=utf-8")
        assert b'"error"' in said.rstrip().rpartition(b"\n\n")[2]
        assert not any(end in said for end in ENDS)
    elif stream:
        assert (status, kind) == (200, "text/event-stream; charset=utf-8")
        assert said.count(b"data: [DONE]" if caller == "openai" else b"event: message_stop") == 1
        assert b'"error"' not in said
    else:
        assert (status, kind) == (200, "application/json")
        assert json.loads(said)


def post(server: Running, path: str, model: str, stream: bool) -> tuple[int, str, bytes]:
    """Status, content type and every byte of the body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    call = {"model": model, "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(call), headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, answer.headers["content-type"], said
