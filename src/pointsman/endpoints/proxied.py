"""The way to an upstream through a proxy: pyreqwest, which knows how to speak to one.

Only there, since a call that is cancelled before the head of its reply has come is not closed by it (pyreqwest 0.15).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import (
    ConnectError,
    ConnectTimeoutError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from ..core import AttemptError, BrokenReply, Unreachable, UpstreamTimeout
from .coding import uncoded
from .egress import literal_address
from .transport import Incoming, Sink, flow_by_chunks


class ProxiedTransport:
    """pyreqwest's client. Redirects are never followed, so a key never reaches another host. `proxy`: its URL."""

    def __init__(self, *, connect_timeout: float, proxy: str) -> None:
        builder = (
            ClientBuilder()
            .proxy(ProxyBuilder.all(proxy))
            .connect_timeout(timedelta(seconds=connect_timeout))
            .follow_redirects(False)
            .error_for_status(False)
            .http1_only()
            .tcp_nodelay(True)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
        )
        self._client = builder.build()

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, until: float = math.inf
    ) -> Incoming:
        """Names are looked up by the proxy, so only an address that the URL itself states is judged here."""
        literal_address(_host(url))
        headers = {"accept-encoding": "identity", **headers}
        try:
            builder = self._client.request(method, url).headers(headers)
        except ValueError:
            # Its message would show the header, which may be a key.
            raise Unreachable(f"The address or a header for {_host(url)} cannot be used: is its key whole?") from None
        if body is not None:
            builder = builder.body_bytes(body)
        # A limit above 0 would hold back a stream until so many bytes have come.
        request = builder.streamed_read_buffer_limit(0).build_streamed()
        try:
            async with _within(until):
                response = await request.__aenter__()
        except PyreqwestError as error:
            raise _attempt_error(error, url) from None
        return uncoded(_ReqwestIncoming(request, response, url))

    async def close(self) -> None:
        await self._client.close()


class _ReqwestIncoming:
    __slots__ = ("_request", "_response", "_reader", "_url", "_is_closed", "status")

    def __init__(self, request: StreamRequest, response: Response, url: str) -> None:
        self._request = request
        self._response = response
        self._reader = response.body_reader
        self._url = url
        self._is_closed = False
        self.status = response.status

    def header(self, name: str) -> str:
        return self._response.get_header(name) or ""

    def headers(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self._response.headers.items()}

    def whole(self) -> bytes | None:
        return None

    async def chunk(self, until: float = math.inf) -> bytes | None:
        try:
            async with _within(until):
                chunk = await self._reader.read_chunk()
        except PyreqwestError as error:
            raise _attempt_error(error, self._url) from None
        return None if chunk is None else bytes(chunk)

    def flow(self, sink: Sink, until: float) -> Awaitable[None]:
        return flow_by_chunks(self, sink, until)

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            await self._request.__aexit__(None, None, None)


def _within(until: float) -> asyncio.Timeout:
    return asyncio.timeout(None if until == math.inf else until - time.monotonic())


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return url.partition("://")[2].partition("/")[0]


def _attempt_error(error: PyreqwestError, url: str) -> AttemptError:
    host = url.split("/", 3)[2]
    if isinstance(error, ConnectTimeoutError | PoolTimeoutError):
        return UpstreamTimeout(f"{host} did not take the connection in time.")
    if isinstance(error, RequestTimeoutError):
        return UpstreamTimeout(f"{host} did not answer in time.")
    if isinstance(error, ConnectError):
        return Unreachable(f"{host} cannot be reached ({_cause(error)}).")
    return BrokenReply(f"The connection to {host} failed ({_cause(error)}).")


def _cause(error: PyreqwestError) -> str:
    """The innermost cause, which is the one that says something: 'Connection refused (os error 111)'."""
    details = getattr(error, "details", None) or {}
    causes = details.get("causes") or []
    text = str(causes[-1].get("message") if causes else error) or type(error).__name__
    return text[:200]
