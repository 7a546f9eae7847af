"""Errors: what an upstream meant by one, and how a caller is told of one."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.core import (
    AttemptError,
    CallRejected,
    ContentFiltered,
    ContextTooLong,
    InvalidCall,
    KeyRejected,
    ModelGone,
    OutOfCredit,
    Overloaded,
    PointsmanError,
    RateLimited,
    Unauthenticated,
    UnknownModel,
    UpstreamFailed,
    UpstreamTimeout,
)
from pointsman.dialects import DIALECTS


def failure(
    status: int, body: object = None, headers: Mapping[str, str] | None = None, dialect: str = "openai"
) -> AttemptError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECTS[dialect].decode_error(status, headers or {}, raw)


def openai(message: str, code: object = None, type: str = "invalid_request_error") -> dict[str, object]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def anthropic(type: str, message: str = "m") -> dict[str, object]:
    return {"type": "error", "error": {"type": type, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, openai("Incorrect API key provided: sk-12345678", "invalid_api_key"), KeyRejected),
        (403, openai("not allowed"), KeyRejected),
        (400, {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}, KeyRejected),
        (402, {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}, OutOfCredit),
        (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), OutOfCredit),
        (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API"), OutOfCredit),
        (404, openai("The model `x` does not exist", "model_not_found"), ModelGone),
        (404, {"error": "model 'x' not found, try pulling it first"}, ModelGone),
        (404, anthropic("not_found_error", "model: x"), ModelGone),
        (404, {"error": {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}}, ModelGone),
        (408, b"", UpstreamTimeout),
        (504, b"<html>504</html>", UpstreamTimeout),
        (413, anthropic("request_too_large"), CallRejected),
        (413, openai("TPM: Limit 6000, Requested 9000", "rate_limit_exceeded", "tokens"), RateLimited),
        (429, openai("Rate limit reached", "rate_limit_exceeded", "requests"), RateLimited),
        (429, b"", RateLimited),
        (429, {"message": "Service tier capacity exceeded", "code": "service_tier_capacity_exceeded"}, Overloaded),
        (503, b"busy", Overloaded),
        (529, anthropic("overloaded_error", "Overloaded"), Overloaded),
        (500, anthropic("api_error"), UpstreamFailed),
        (502, b"<!DOCTYPE html><h1>Bad gateway</h1>", UpstreamFailed),
        (302, b"", UpstreamFailed),
        (400, openai("maximum context length is 8192 tokens", "context_length_exceeded"), ContextTooLong),
        (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000"), ContextTooLong),
        (400, openai("Input is too long for this model", 20015), ContextTooLong),
        (400, {"error": {"code": 400, "message": "too big", "type": "exceed_context_size_error"}}, ContextTooLong),
        (400, {"error": {"message": "input token count exceeds the maximum number of tokens allowed"}}, ContextTooLong),
        (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens"}, ContextTooLong),
        (400, openai("string too long; maximum context length", "string_above_max_length"), CallRejected),
        (400, openai("The response was filtered", "content_filter"), ContentFiltered),
        (400, openai("Unsupported value: 'temperature'", "unsupported_value"), CallRejected),
        (400, openai("token ids: [429, 503, 401] are odd"), CallRejected),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, CallRejected),
        (400, [{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}], CallRejected),
        (200, {"error": {"message": "x", "code": 529}}, Overloaded),
        (200, {"error": {"message": "x"}}, UpstreamFailed),
    ],
)
def test_an_upstreams_error_is_known_for_what_it_is(status: int, body: object, error: type[AttemptError]) -> None:
    """A dead key would be retried, a full context never moved to a larger model, a rate limit blamed on the caller."""
    for dialect in DIALECTS:
        assert type(failure(status, body, dialect=dialect)) is error


NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "999999999"}, 3600.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": NOW}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": NOW}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 -0000", "date": NOW}, None),
        ({"retry-after": "Wed, 99 Oct 2026 07:28:30 GMT", "date": NOW}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    """We would hammer a provider that asked us to wait, or wait for days for one that wrote nonsense."""
    assert failure(429, b"", headers).retry_after == seconds


def test_geminis_retry_delay_is_read_from_the_body() -> None:
    """Gemini's free tier says only there when it may be asked again."""
    details = [{"@type": "x/google.rpc.Help"}, {"@type": "x/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    body = {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": details}}
    assert failure(429, body).retry_after == 34.5


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcDEF123456_-x",
        "sk-ant-api03-abcdefgh",
        "gsk_abcdefgh12345678",
        "AIzaSyA1234567890abcdef",
        "xai-abcdefgh12345678",
        "hf_abcdefgh12345678",
        "pm-abcdefgh12345678",
        "sk-ab***********wxyz",
    ],
)
@pytest.mark.parametrize(
    "frame", ["Incorrect key: {}.", "Bearer {}", "?key={}&x=1", "'{}'", '{{"Authorization": "{}"}}']
)
def test_a_key_that_an_upstream_echoes_is_never_repeated(key: str, frame: str) -> None:
    """A caller, or whoever reads the logs, would learn the provider's key."""
    told = failure(401, openai(frame.format(key)))
    assert key not in told.message
    for name in ("openai", "anthropic"):
        door = DIALECTS[name].door
        assert door is not None
        assert key.encode() not in door.encode_error(PointsmanError(frame.format(key)))


def test_a_page_of_html_becomes_one_plain_sentence() -> None:
    """Callers would be shown a proxy's page of markup."""
    assert "<" not in failure(502, b"<html><body>Bad gateway</body></html>").message
    assert failure(500, b"").message == "The upstream answered 500: it gave no message"


def test_a_foreign_message_is_one_short_line() -> None:
    """A message could write over a terminal, forge lines in a log, or fill the disk."""
    told = failure(400, openai("a\r\n\x1b[31mred\x00" + "x" * 100_000)).message
    assert told.isprintable()
    assert len(told) < 600


@given(st.integers(100, 999), st.binary(max_size=80))
def test_any_status_and_body_give_an_attempt_error(status: int, body: bytes) -> None:
    """An odd error of an upstream would become an internal error of ours."""
    assert isinstance(failure(status, body), AttemptError)


@given(
    st.dictionaries(
        st.sampled_from(["error", "message", "code", "type", "details", "detail", "metadata", "status"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["error", "message", "code", "details", "metadata"]), inner, max_size=3
                )
            ),
        ),
    )
)
def test_any_shape_of_error_gives_an_attempt_error(body: object) -> None:
    """An odd error of an upstream would become an internal error of ours."""
    assert isinstance(failure(500, body), AttemptError)


@pytest.mark.parametrize(
    ("error", "openai_type", "code", "anthropic_type"),
    [
        (InvalidCall("m", param="model"), "invalid_request_error", "invalid_call", "invalid_request_error"),
        (Unauthenticated("m"), "authentication_error", "unauthenticated", "authentication_error"),
        (UnknownModel("m"), "invalid_request_error", "unknown_model", "not_found_error"),
        (RateLimited("m"), "rate_limit_error", "rate_limited", "rate_limit_error"),
        (Overloaded("m"), "server_error", "overloaded", "overloaded_error"),
        (KeyRejected("m"), "server_error", "key_rejected", "api_error"),
        (ContextTooLong("m"), "invalid_request_error", "context_length_exceeded", "invalid_request_error"),
    ],
)
def test_callers_are_told_of_errors_in_their_own_format(
    error: PointsmanError, openai_type: str, code: str, anthropic_type: str
) -> None:
    """A client's own handling of errors, such as backing off or compacting, would not work through us."""
    doors = {name: DIALECTS[name].door for name in ("openai", "anthropic")}
    assert doors["openai"] is not None and doors["anthropic"] is not None
    told = json.loads(doors["openai"].encode_error(error))["error"]
    assert (told["type"], told["code"]) == (openai_type, code)
    assert told["param"] == ("model" if isinstance(error, InvalidCall) else None)
    told = json.loads(doors["anthropic"].encode_error(error))
    assert (told["type"], told["error"]["type"], told["error"]["kind"]) == ("error", anthropic_type, error.kind)


def test_a_full_context_is_told_in_the_words_that_claude_code_knows() -> None:
    """Claude Code would not compact its conversation and would fail for good."""
    door = DIALECTS["anthropic"].door
    assert door is not None
    error = ContextTooLong("The upstream answered 400: maximum context length is 8192 tokens")
    assert "prompt is too long" in json.loads(door.encode_error(error))["error"]["message"]
