"""What a server lets in: keys with limits, rights and budgets, one bound on all, with one worker and with two."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from running import Running, configured

from pointsman.core import from_usd
from pointsman.ledger import Key, Ledger
from upstream import SPOKEN, Upstream, openai_answer, whole

PATHS = ("/v1/chat/completions", "/v1/messages")


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "home").mkdir()
    yield tmp_path / "home"


def make_key(home: Path, name: str, **rights: Any) -> str:
    with Ledger.open(home) as ledger:
        text, _ = ledger.keys.create(name, **rights)
    return text


def serving(home: Path, upstream: Upstream, workers: int, more: str = "") -> Running:
    config = configured(upstream.url).replace("server: {max_body_mb: 1,", f"server: {{workers: {workers},")
    return Running(home, config + more)


def post(server: Running, key: str, model: str = "small", path: str = PATHS[0], **more: Any) -> tuple[int, Any, Any]:
    """(status, body, headers) of a call."""
    call = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}], **more}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        with urlopen(Request(server.url + path, json.dumps(call).encode(), headers), timeout=30) as answer:
            return answer.status, json.loads(answer.read()), answer.headers
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers


def statuses(server: Running, key: str, count: int, **more: Any) -> Counter[int]:
    """Of calls that are made all at once."""
    with ThreadPoolExecutor(16) as pool:
        return Counter(status for status, _, _ in pool.map(lambda _: post(server, key, **more), range(count)))


def test_a_keys_requests_a_minute_hold_over_all_workers(home: Path, upstream: Upstream, workers: int) -> None:
    """Each process would give the whole of what one key may send."""
    key = make_key(home, "bounded", requests_per_minute=6)
    with serving(home, upstream, workers) as server:
        found = statuses(server, key, 24)
        assert found[200] + found[429] == 24
        assert 6 <= found[200] <= 7
        status, body, headers = post(server, key)
        assert (status, body["error"]["type"]) == (429, "rate_limit_error")
        assert 0 < float(headers["retry-after"]) <= 60


def test_a_keys_tokens_a_minute_are_counted_as_they_are_used(home: Path, upstream: Upstream) -> None:
    """A limit would go by what a caller says, and not by what was used; or be used up by estimates."""
    key = make_key(home, "bounded", tokens_per_minute=2000)
    with serving(home, upstream, 1) as server:
        # Each reserves over a thousand, and uses a few.
        assert [post(server, key, max_tokens=1000)[0] for _ in range(6)] == [200] * 6
        upstream.plans["long"] = whole(openai_answer() | {"usage": {"prompt_tokens": 1500, "completion_tokens": 600}})
        assert post(server, key, "mine/long")[0] == 200
        assert post(server, key)[0] == 429


@pytest.mark.parametrize("path", PATHS)
def test_a_key_names_only_what_it_may(home: Path, upstream: Upstream, path: str) -> None:
    """A key for one cheap model would open them all."""
    key = make_key(home, "narrow", models=("small", "mine/*"))
    with serving(home, upstream, 1) as server:
        assert [post(server, key, model, path)[0] for model in ("small", "mine/other")] == [200, 200]
        for model in ("twin", "auto", "fast", "opus"):
            status, body, _ = post(server, key, model, path)
            assert status == 403
            assert "small" in body["error"]["message"]


def test_a_keys_own_budget_holds_over_all_workers(home: Path, upstream: Upstream, workers: int) -> None:
    """Twice the money would be spent with twice the processes."""
    key = make_key(home, "thrifty", budget=from_usd("0.0004"), budget_window="day")
    with serving(home, upstream, workers) as server:
        found = statuses(server, key, 60)
        assert set(found) == {200, 402}
        # What one process had at hand may come back to the other.
        refused = next(body for status, body, _ in (post(server, key) for _ in range(20)) if status == 402)
        assert "budget" in refused["error"]["message"]
        shown = get(server, key, "/api/budgets")["data"]
    with Ledger.open(home) as ledger:
        ledger.flush()
        spent = sum(entry.cost or 0 for entry in ledger.queries.entries())
    assert 0 < spent <= 400_000
    assert [(one["scope"], one["window"], one["limit_usd"]) for one in shown] == [("key", "day", "0.0004")]


def test_a_budget_of_the_configuration_finds_its_key_by_name(home: Path, upstream: Upstream) -> None:
    """A budget that is written for a name would bind nobody."""
    poor, rich = make_key(home, "poor"), make_key(home, "rich")
    budgets = 'budgets: [{scope: key, who: poor, usd: "0.000001"}]\n'
    with serving(home, upstream, 1, budgets) as server:
        assert (post(server, poor)[0], post(server, rich)[0]) == (402, 200)


def test_calls_of_a_key_count_for_its_user(home: Path, upstream: Upstream) -> None:
    """A caller would spend from another's budget by writing another's name."""
    key = make_key(home, "ann's", user="ann")
    with serving(home, upstream, 1) as server:
        assert post(server, key, user="ben")[0] == 200
        assert server.newest("small").user == "ann"


def test_past_its_bound_a_server_says_so_at_once(home: Path, upstream: Upstream) -> None:
    """Calls would queue until all of them time out."""
    key = make_key(home, "any")
    upstream.plans["endless"] = [*SPOKEN, "hang"]
    with serving(home, upstream, 1, "limits: {server: 2}\n") as server:
        call = {"model": "mine/endless", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        asked = Request(
            server.url + PATHS[0],
            json.dumps(call).encode(),
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        with urlopen(asked, timeout=10), urlopen(asked, timeout=10):
            status, body, headers = post(server, key)
            assert (status, headers["retry-after"]) == (503, "1")
            assert "limits.server" in body["error"]["message"]
            server.key = key
            assert "pointsman_calls_in_flight 2" in server.text("/metrics")


def test_endpoints_are_shown_with_why_they_are_passed_over(home: Path, upstream: Upstream) -> None:
    """Nobody could find out why a pool has gone quiet."""
    key = make_key(home, "any")
    with serving(home, upstream, 1) as server:
        assert post(server, key)[0] == 200
        for _ in range(5):
            post(server, key, "dead/x")
        found = {one["endpoint"]: one for one in get(server, key, "/api/endpoints")["data"]}
        assert found["mine/small"]["open"]
        assert not found["dead/x"]["open"]
        assert "has failed" in found["dead/x"]["reason"]
        assert 0 < found["dead/x"]["retry_after"] <= 30


def get(server: Running, key: str, path: str) -> Any:
    with urlopen(Request(server.url + path, headers={"authorization": f"Bearer {key}"}), timeout=10) as answer:
        return json.loads(answer.read())


def test_a_key_is_a_value() -> None:
    """Rights could be widened by whoever holds a key in memory."""
    key = Key(id="a", name="a", created=0.0, scopes=frozenset({"call"}), models=("small",))
    with pytest.raises(AttributeError):
        key.models = ()  # type: ignore[misc]
