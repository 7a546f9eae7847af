"""The few shapes of ASGI that the doors need: read a body within bounds, send a whole answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from ..core import CallTooLarge, InvalidCall

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")


class ClientGone(Exception):
    """The client has closed its connection: there is nobody to answer."""


class Request(Struct, frozen=True):
    """The head of a request, and the way to its body."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    """Names in lower case; of a header that comes twice the last counts."""
    receive: Receive

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Request:
        return cls(
            scope["method"], scope["path"], scope["query_string"].decode("latin-1"), dict(scope["headers"]), receive
        )

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def bearer(self) -> str:
        """The key, from `Authorization: Bearer` or `x-api-key`; never from the URL."""
        stated = self.header(b"authorization")
        if stated[:7].lower() == "bearer ":
            return stated[7:].strip()
        return self.header(b"x-api-key").strip()

    async def body(self, limit: int) -> bytes:
        """Raises CallTooLarge past `limit` bytes, InvalidCall for what is not declared as JSON, ClientGone."""
        kind = self.header(b"content-type").split(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise InvalidCall(f"The content type must be application/json; it is {kind or 'not given'}.")
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            raise CallTooLarge(f"The body has {int(declared):,} bytes; at most {limit:,} are taken.")
        message = await self.receive()
        if not message.get("more_body", False) and message["type"] == "http.request":
            return _within(bytes(message.get("body", b"")), limit)
        chunks: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise CallTooLarge(f"The body is larger than {limit:,} bytes.")
            if not message.get("more_body", False):
                return b"".join(chunks)
            message = await self.receive()


async def respond(send: Send, status: int, body: bytes, headers: Iterable[Header] = (JSON,)) -> None:
    """Send a whole answer."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def success(data: object) -> bytes:
    """The body of an answer of our own API."""
    return msgspec.json.encode({"success": True, "data": data})


def failure(message: str, kind: str) -> bytes:
    return msgspec.json.encode({"success": False, "error": {"type": kind, "message": message}})


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise CallTooLarge(f"The body is larger than {limit:,} bytes.")
    return body
