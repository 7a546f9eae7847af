"""What an upstream's error means: status, headers and body in, one error of our tree out, free of keys."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from ..core import (
    AttemptError,
    CallRejected,
    ContentFiltered,
    ContextTooLong,
    KeyRejected,
    ModelGone,
    OutOfCredit,
    Overloaded,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)
from .wire import ABSENT

T = TypeVar("T")

MAX_RETRY_AFTER = 3600.0
MAX_MESSAGE = 500
"""Characters of an upstream's message that are kept."""

_KEY = re.compile(
    r"(?:\b(?:sk|pk|rk|pm|xai|csk|nvapi|pplx)-|\b(?:gsk|hf|fw|tgp|r8|glpat|ghp)_|\bAIza|\bAQ\.)[\w*.\-]{6,}"
    r"|\bBearer\s+[^\s\"',]+"
    r"|(?<=key=)[^\s&\"',]+"
    r"|(?<=key: )(?=\S*[\d*])[^\s\"',]{8,}",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"}
_CONTEXT_PHRASES = (
    "prompt is too long",
    "input is too long",
    "maximum context length",
    "exceeds the maximum number of tokens allowed",
    "exceeds the available context size",
    "context_length_exceeded",
)
_FILTER_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "prohibited_content"}
_CREDIT_CODES = {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "insufficient_balance"}
_CREDIT_PHRASES = (
    "credit balance is too low",
    "insufficient balance",
    "exceeded your current quota, please check your",
)
_KEY_CODES = {"invalid_api_key", "authentication_error", "permission_error", "api_key_invalid", "unauthenticated"}
_KEY_PHRASES = ("api key not valid", "api key expired", "incorrect api key")
_STATUS_OF_CODE = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "overloaded_error": 529,
    "overloaded": 529,
    "unavailable": 503,
    "service_unavailable_error": 503,
    "service_tier_capacity_exceeded": 503,
    "not_found_error": 404,
    "model_not_found": 404,
    "not_found": 404,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "request_too_large": 413,
}


def read_failure(status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
    """The error that a failed answer means.

    `status` is the HTTP status; one below 400 means that the error stood inside an answer that began well, and then
    its codes decide. `headers` have lower-case names.
    """
    problem = _read_problem(body)
    if status < 400:
        status = next((_STATUS_OF_CODE[code] for code in problem.codes if code in _STATUS_OF_CODE), problem.status)
    message = clean(problem.message) or _describe(body)
    found = _class_of(status, problem)
    told = f"The upstream answered {status}: {message}" if status >= 400 else f"The upstream failed: {message}"
    return found(told, upstream_status=status or None, retry_after=_retry_after(headers, problem))


def clean(message: str, *, limit: int = MAX_MESSAGE, lines: bool = False) -> str:
    """A message made fit to be shown: no control characters, nothing that looks like a key, one line unless `lines`."""
    kept = message[: limit * 4].splitlines() if lines else [message[: limit * 4]]
    text = "\n".join(_KEY.sub("[key]", _CONTROL.sub(" ", line)) for line in kept).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


class _Problem(Struct, frozen=True):
    message: str = ""
    codes: tuple[str, ...] = ()
    """Every code, type and status word, in lower case."""
    status: int = 0
    retry_delay: str = ""


class _Detail(Struct):
    reason: str = ""
    retry_delay: str = msgspec.field(default="", name="retryDelay")


class _Error(Struct):
    """The union of what the formats put into an error; each field may be anything, so each is read by itself."""

    error: Raw = ABSENT
    message: Raw = ABSENT
    detail: Raw = ABSENT
    type: Raw = ABSENT
    code: Raw = ABSENT
    status: Raw = ABSENT
    details: Raw = ABSENT
    metadata: Raw = ABSENT


class _Metadata(Struct):
    raw: str = ""


_error = msgspec.json.Decoder(_Error)
_errors = msgspec.json.Decoder(list[_Error])
_details = msgspec.json.Decoder(list[_Detail])
_metadata = msgspec.json.Decoder(_Metadata)
_word = msgspec.json.Decoder(str)
_number = msgspec.json.Decoder(int)


def _read_problem(body: bytes) -> _Problem:
    if body.lstrip()[:1] == b"[":  # Gemini's OpenAI-compatible endpoint wraps its error in a list
        listed = _try(_errors, body)
        outer = listed[0] if listed else _Error()
    else:
        outer = _try(_error, body) or _Error()
    inner = _try(_error, outer.error) or _Error()
    details = _try(_details, inner.details) or []
    words = (_try(_word, raw) for raw in (inner.code, inner.type, inner.status, outer.code, outer.type, outer.status))
    upstream = _try(_metadata, inner.metadata)
    message = (
        _try(_word, inner.message)
        or _try(_word, outer.error)
        or _try(_word, outer.message)
        or _try(_word, outer.detail)
        or _shown(outer.detail)
        or _shown(outer.error)
    )
    if upstream is not None and upstream.raw:  # OpenRouter puts what its provider said here
        message = f"{message}: {upstream.raw}"
    return _Problem(
        message,
        tuple(word.lower() for word in (*words, *(detail.reason for detail in details)) if word),
        _try(_number, inner.code) or _try(_number, outer.code) or 0,
        next((detail.retry_delay for detail in details if detail.retry_delay), ""),
    )


def _try(decoder: msgspec.json.Decoder[T], data: bytes | Raw) -> T | None:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _shown(raw: Raw) -> str:
    text = bytes(raw).decode(errors="replace")
    return "" if text == "null" else text


def _describe(body: bytes) -> str:
    if not body.strip():
        return "it gave no message"
    start = body.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "a page of HTML instead of an answer"
    return "its message could not be read"


def _class_of(status: int, problem: _Problem) -> type[AttemptError]:
    codes, message = set(problem.codes), problem.message.lower()
    if "string_above_max_length" not in codes and (
        codes & _CONTEXT_CODES
        or (status in (0, 200, 400, 413, 422, 500) and any(phrase in message for phrase in _CONTEXT_PHRASES))
    ):
        return ContextTooLong
    if codes & _FILTER_CODES or "content management policy" in message:
        return ContentFiltered
    if status == 402 or codes & _CREDIT_CODES or any(phrase in message for phrase in _CREDIT_PHRASES):
        return OutOfCredit
    if status in (401, 403) or codes & _KEY_CODES or any(phrase in message for phrase in _KEY_PHRASES):
        return KeyRejected
    return _class_of_status(status, codes)


def _class_of_status(status: int, codes: set[str]) -> type[AttemptError]:
    if status in (404, 410) or "model_not_found" in codes:
        return ModelGone
    if status in (408, 504):
        return UpstreamTimeout
    if status in (503, 529) or codes & {"overloaded_error", "service_tier_capacity_exceeded"}:
        return Overloaded
    if status == 429 or (status == 413 and "rate_limit_exceeded" in codes):
        return RateLimited
    return CallRejected if 400 <= status < 500 else UpstreamFailed


def _retry_after(headers: Mapping[str, str], problem: _Problem) -> float | None:
    """Seconds to wait, from 0 to MAX_RETRY_AFTER; None where the upstream did not say."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _as_number(headers.get(name, ""))
        if milliseconds is not None:
            return _clamp(milliseconds / 1000)
    told = headers.get("retry-after", "")
    seconds = _as_number(told)
    if seconds is None:
        seconds = _seconds_until(told, headers.get("date", ""))
    if seconds is None:
        seconds = _as_number(problem.retry_delay.removesuffix("s"))
    return None if seconds is None else _clamp(seconds)


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds_until(then: str, now: str) -> float | None:
    """Between two HTTP dates. The answer's own `date` is the clock: it is the one that wrote the other."""
    try:
        return (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (TypeError, ValueError):
        return None


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
