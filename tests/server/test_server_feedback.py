"""What users say of answers, over HTTP: taken from whoever made the call, and from nobody else."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from running import Running, configured

from pointsman.ledger import Ledger
from upstream import Upstream

DOCS = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
CALL = {"model": "small", "messages": [{"role": "user", "content": "hello"}]}
CHAT, FEEDBACK = "/v1/chat/completions", "/v1/feedback"

Post = Callable[..., tuple[int, dict[str, Any], dict[str, str]]]


@pytest.fixture
def post(server: Running) -> Post:
    return lambda path, body, key=server.key, **headers: posted(server, path, body, key, **headers)


def posted(
    server: Running, path: str, body: dict[str, Any] | bytes, key: str, **headers: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON and headers."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    stated = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", path, content, {**stated, **given})
        answer = connection.getresponse()
        text = answer.read().decode()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, json.loads(text) if text[:1] == "{" else {}, found


def call_of(post: Post, **more: Any) -> str:
    """The id of a call that was answered, as its client sees it."""
    status, _, headers = post(CHAT, CALL | more)
    assert status == 200
    return headers["x-pointsman-call"]


def test_a_judge_is_told_from_a_user(server: Running, post: Post) -> None:
    """What a model says of another model's answers would count as much as what people say of them."""
    call_id = call_of(post)
    assert post(FEEDBACK, {"call_id": call_id, "score": 1, "source": "judge", "reliability": 0.25})[0] == 200
    assert post(FEEDBACK, {"call_id": call_id, "score": 0, "source": "user"})[0] == 200
    assert post(FEEDBACK, {"call_id": call_id, "score": 0.5, "source": None, "reliability": None})[0] == 200
    with Ledger.open(server.home) as ledger:
        said = [(one.source, one.score, one.reliability) for one in ledger.feedback.of(call_id)]
    assert said == [("judge", 1.0, 0.25), ("user", 0.5, 1.0)]


def kept(server: Running, call_id: str) -> list[tuple[float, str, str]]:
    """(score, source, key) of each feedback of a call."""
    with Ledger.open(server.home) as ledger:
        return [
            (one.feedback.score, one.feedback.source, one.feedback.key)
            for one in ledger.feedback.graded(0, 100_000)
            if one.feedback.call_id == call_id
        ]


@pytest.mark.parametrize(
    ("grade", "score"),
    [
        ({"score": 0.8}, 0.8),
        ({"score": 0}, 0.0),
        ({"score": 1}, 1.0),
        ({"thumb": "up"}, 1.0),
        ({"thumb": "down", "comment": "It is wrong."}, 0.0),
        ({"rating": 1}, 0.0),
        ({"rating": 4}, 0.75),
        ({"rating": 5, "score": None}, 1.0),
    ],
)
@pytest.mark.parametrize("field", ["call_id", "id"])
def test_a_grade_is_taken_at_once(server: Running, post: Post, grade: dict[str, Any], score: float, field: str) -> None:
    """What a user says the moment an answer is there, while its entry still lies in a journal, would be refused."""
    call_id = call_of(post)
    status, told, _ = post(FEEDBACK, {field: call_id, **grade})
    del told["task"]  # of calls that name their model, only so many a second are read
    assert (status, told) == (200, {"call_id": call_id, "model": "small", "score": score, "object": "feedback"})
    assert [(given, source) for given, source, _ in kept(server, call_id)] == [(score, "user")]


def test_streamed_and_routed_calls_are_graded_too(server: Running, post: Post) -> None:
    """Most calls of a chat could not be graded."""
    call_id = call_of(post, model="auto", stream=True)
    status, told, _ = post(FEEDBACK, {"call_id": call_id, "thumb": "up"})
    assert status == 200 and told["task"] and told["model"] in ("small", "twin", "opus")


def test_the_id_in_a_translated_answer_is_taken(server: Running, post: Post) -> None:
    """A client that sees no headers could not grade."""
    status, answer, _ = post(CHAT, CALL | {"model": "opus"})
    assert status == 200
    assert post(FEEDBACK, {"id": answer["id"], "thumb": "up"})[0] == 200


def test_who_changes_his_mind_counts_once(server: Running, post: Post) -> None:
    """A click on the other thumb would leave both."""
    call_id = call_of(post)
    for thumb in ("up", "down", "up", "down"):
        assert post(FEEDBACK, {"call_id": call_id, "thumb": thumb})[0] == 200
    assert [score for score, _, _ in kept(server, call_id)] == [0.0]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "call_id"),
        ({"score": 1}, "call_id"),
        ({"call_id": "", "score": 1}, "call_id"),
        ({"call_id": "x" * 300, "score": 1}, "call_id"),
        ({"call_id": "a\nb", "score": 1}, "call_id"),
        ({"call_id": 7, "score": 1}, "call_id"),
        ({"call_id": "a", "id": "b", "score": 1}, "call_id"),
        ({"call_id": "a"}, "score"),
        ({"call_id": "a", "score": 1, "thumb": "up"}, "score"),
        ({"call_id": "a", "score": 1.01}, "score"),
        ({"call_id": "a", "score": -0.01}, "score"),
        ({"call_id": "a", "score": "good"}, "score"),
        ({"call_id": "a", "score": True}, "score"),
        ({"call_id": "a", "thumb": "sideways"}, "thumb"),
        ({"call_id": "a", "rating": 0}, "rating"),
        ({"call_id": "a", "rating": 5.5}, "rating"),
        ({"call_id": "a", "score": 1, "source": "automatic"}, "source"),
        ({"call_id": "a", "score": 1, "source": ""}, "source"),
        ({"call_id": "a", "score": 1, "source": 7}, "source"),
        ({"call_id": "a", "score": 1, "reliability": 1.01}, "reliability"),
        ({"call_id": "a", "score": 1, "reliability": -1}, "reliability"),
        ({"call_id": "a", "score": 1, "reliability": "much"}, "reliability"),
        (b'{"call_id": "a", "score": 1e999}', "score"),
        (b'{"call_id": "a", "score": NaN}', None),
        (b"[]", None),
        (b"", None),
        (b"{", None),
        (b"\xff", None),
        (b"[" * 10_000, None),
    ],
)
def test_a_grade_that_is_none_is_refused(post: Post, body: dict[str, Any] | bytes, param: str | None) -> None:
    """One absurd number would pull a model's mean anywhere; or the client would not learn what it did wrong."""
    status, told, headers = post(FEEDBACK, body)
    assert (status, headers["x-pointsman-error"]) == (400, "invalid_call")
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert param is None or told["error"]["param"] == param


def test_a_body_past_the_cap_is_refused(post: Post) -> None:
    """Whoever has a key could fill the memory."""
    assert post(FEEDBACK, b'{"call_id": "a", "score": 1, "comment": "%b"}' % (b"x" * 20_000))[0] == 413
    assert post(FEEDBACK, b"{}", content_type="text/plain")[0] == 400


@pytest.mark.parametrize(
    "call_id", ["0" * 32, "019c1e0f6c3a7c5e9d1b2a3f4c5d6e7f", "chatcmpl-123", "' OR 1=1 --", "☃", "%"]
)
def test_a_call_that_is_not_known_is_told_with_a_hint(post: Post, call_id: str) -> None:
    """A client that sends the wrong one of two ids would believe that its users are heard."""
    status, told, headers = post(FEEDBACK, {"call_id": call_id, "score": 1})
    assert (status, told["error"]["code"], headers["x-pointsman-error"]) == (404, "unknown_call", "unknown_call")
    assert "x-pointsman-call" in told["error"]["message"]


def test_a_call_that_failed_has_nothing_to_grade(post: Post) -> None:
    """A model would be blamed for a connection that failed."""
    status, _, headers = post(CHAT, CALL | {"model": "dead/any"})
    assert status == 502
    assert post(FEEDBACK, {"call_id": headers["x-pointsman-call"], "thumb": "down"})[0] == 404


def test_a_key_grades_its_own_calls_only(server: Running, post: Post) -> None:
    """One user could ruin a model for all, or find out whether another's call was made."""
    with Ledger.open(server.home) as ledger:
        mine, known = ledger.keys.create("mine", scopes=("call",))
        other, _ = ledger.keys.create("other", scopes=("call", "read"))
        admin, _ = ledger.keys.create("admin", scopes=("call", "admin"))
        reader, _ = ledger.keys.create("reader", scopes=("read",))
    status, _, headers = posted(server, CHAT, CALL, mine)
    assert status == 200
    grade = {"call_id": headers["x-pointsman-call"], "score": 0.5}
    refused, missing = posted(server, FEEDBACK, grade, other), post(FEEDBACK, grade | {"call_id": "0" * 32}, other)
    assert refused[0] == missing[0] == 404
    assert refused[1]["error"]["message"].replace(grade["call_id"], "0" * 32) == missing[1]["error"]["message"]
    assert posted(server, FEEDBACK, grade, reader)[0] == 403
    assert posted(server, FEEDBACK, grade, "")[0] == 401
    assert kept(server, grade["call_id"]) == []
    assert posted(server, FEEDBACK, grade, mine)[0] == 200
    assert posted(server, FEEDBACK, grade | {"score": 0.25}, admin)[0] == 200
    found = kept(server, grade["call_id"])
    assert [score for score, _, _ in found] == [0.5, 0.25] and found[0][2] == known.id


def test_a_fallbacks_grade_goes_to_the_model_that_answered(upstream: Upstream, tmp_path: Path) -> None:
    """The model that failed would be praised."""
    config = configured(upstream.url).replace("members: [small, twin]", "members: [gone, twin]")
    config = config.replace("models:\n", "models:\n  gone: {provider: dead}\n")
    attempts = set()
    with Running(tmp_path / "home", config) as server:
        for _ in range(2):  # each member is asked first once
            status, _, headers = posted(server, CHAT, CALL | {"model": "fast"}, server.key)
            assert (status, headers["x-pointsman-model"]) == (200, "twin")
            grade = {"call_id": headers["x-pointsman-call"], "thumb": "up"}
            status, told, _ = posted(server, FEEDBACK, grade, server.key)
            assert (status, told["model"]) == (200, "twin")
            attempts.add(len(server.entries(grade["call_id"])))
    assert attempts == {1, 2}


def test_many_grade_at_once(server: Running, post: Post) -> None:
    """Feedback would be lost when many are given at once, or fail for a lock."""
    calls = [call_of(post) for _ in range(12)]
    found: list[int] = []

    def give(call_id: str) -> None:
        found.extend(post(FEEDBACK, {"call_id": call_id, "rating": 4})[0] for _ in range(4))

    threads = [threading.Thread(target=give, args=(call_id,)) for call_id in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 48
    assert [len(kept(server, call_id)) for call_id in calls] == [1] * 12


def test_what_the_page_shows_is_taken(server: Running, post: Post) -> None:
    """Whoever pastes what the documentation shows would be refused."""
    (example,) = re.findall(r"```json\n(\{\"call_id\".*?)\n```", DOCS, re.DOTALL)
    body = json.loads(example)
    assert post(FEEDBACK, body)[0] == 404
    assert post(FEEDBACK, body | {"call_id": call_of(post)})[0] == 200


def test_a_decision_says_how_sure_it_was_of_what_it_read(server: Running, post: Post) -> None:
    """Whoever asks why a model was taken would not see that its prompt was taken for something else."""
    call_id = call_of(post, model="auto", stream=True)
    server.entries(call_id)
    row = next(one for one in server.get("/api/decisions?limit=20")["data"] if one["call"] == call_id)
    assert max(row["tasks"], key=row["tasks"].get) == row["task"]
    assert max(row["complexities"], key=row["complexities"].get) == row["complexity"]
    assert 0.9 < sum(row["complexities"].values()) < 1.01
