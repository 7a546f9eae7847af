"""The few shapes that the doors share: a JSON body within bounds, a key in a header, a refusal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from urllib.parse import parse_qs

import msgspec

from ..core import InvalidCall, KeyRejected, ModelGone, PointsmanError
from .exchange import Exchange, Header, lines

JSON: Header = (b"content-type", b"application/json")
JSON_LINES = lines(JSON)
FORM = "application/x-www-form-urlencoded"


def stated_key(exchange: Exchange) -> str:
    """The key, from `Authorization: Bearer` or `x-api-key`; never from the URL."""
    stated = exchange.header(b"authorization")
    if stated[:7].lower() == "bearer ":
        return stated[7:].strip()
    return exchange.header(b"x-api-key").strip()


async def json_body(exchange: Exchange, limit: int) -> bytes:
    """As `Exchange.body`; InvalidCall for what is not declared as JSON, too."""
    check_kind(exchange)
    return await exchange.body(limit)


def check_kind(exchange: Exchange) -> None:
    """Raises InvalidCall for a body that is not declared as JSON."""
    kind = exchange.header(b"content-type").split(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return
    # What `curl -d` states, and what no page can send so: a browser tells the origin of each POST.
    if kind in ("", FORM) and b"origin" not in exchange.headers and b"sec-fetch-site" not in exchange.headers:
        return
    raise InvalidCall(f"The content type must be application/json; it is {kind or 'not given'}.")


def parameter(exchange: Exchange, name: str, default: str = "") -> str:
    """Of the query: the last one of that name."""
    return parse_qs(exchange.query).get(name, [default])[-1]


def whole_number(exchange: Exchange, name: str, default: int, *, most: int = 10**9) -> int:
    """Of the query, from 0 up to `most`. Raises InvalidCall."""
    text = parameter(exchange, name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise InvalidCall(f"`{name}` is {text[:50]!r}: it must be a whole number up to {most:,}.", param=name)
    return int(text)


def refuse(exchange: Exchange, error: PointsmanError, body: bytes, headers: Iterable[Header] = ()) -> None:
    """Sends an error, its `body` in the caller's format, with what a client needs to know of trying again."""
    told = [JSON, (b"x-pointsman-error", error.kind.encode()), *headers]
    retry_after: float | None = getattr(error, "retry_after", None)
    if retry_after is not None:
        told.append((b"retry-after", b"%d" % max(0, math.ceil(retry_after))))
    if isinstance(error, KeyRejected | ModelGone):
        # OpenAI's and Anthropic's clients would try twice more, as after every 502. Somebody must act first.
        told.append((b"x-should-retry", b"false"))
    exchange.respond(error.status, lines(*told), body)


def success(data: object) -> bytes:
    """The body of an answer of our own API."""
    return msgspec.json.encode({"success": True, "data": data})


def failure(error: PointsmanError) -> bytes:
    """The body of an error of our own API."""
    return msgspec.json.encode({"success": False, "error": {"type": error.kind, "message": error.message}})
