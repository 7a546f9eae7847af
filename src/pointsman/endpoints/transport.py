"""The way to an upstream: one HTTP/1.1 client with a warm pool, on pyreqwest, behind a seam of two small shapes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import (
    ConnectError,
    ConnectTimeoutError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from ..core import AttemptError, BrokenReply, Unreachable, UpstreamTimeout


class Incoming(Protocol):
    """A response whose head has come. It must be closed."""

    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str:
        """The first header of that name; '' where there is none."""
        ...

    def headers(self) -> Mapping[str, str]:
        """All headers, names in lower case."""
        ...

    async def chunk(self) -> bytes | None:
        """The next bytes as they come, or None at the end. Raises an AttemptError when the connection fails."""
        ...

    async def close(self) -> None: ...


class Transport(Protocol):
    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Incoming:
        """Returns when the head of the response is there. Raises an AttemptError."""
        ...

    async def close(self) -> None: ...


class ReqwestTransport:
    """pyreqwest's client. Redirects are never followed, so a key never reaches another host.

    `direct`: no proxy, for addresses of this machine. `pooled`: keep connections for the next call; off for llama.cpp,
    which closes a connection after a stream without saying so.
    """

    def __init__(self, *, connect_timeout: float, direct: bool, pooled: bool = True) -> None:
        builder = (
            ClientBuilder()
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
        if direct:
            builder = builder.no_proxy()
        if not pooled:
            builder = builder.pool_max_idle_per_host(0)
        self._client = builder.build()

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Incoming:
        try:
            builder = self._client.request(method, url).headers(headers)
        except ValueError:
            # Its message would show the header, which may be a key.
            host = url.partition("://")[2].partition("/")[0]
            raise Unreachable(f"The address or a header for {host} cannot be used: is its key whole?") from None
        if body is not None:
            builder = builder.body_bytes(body)
        # A limit above 0 would hold back a stream until so many bytes have come.
        request = builder.streamed_read_buffer_limit(0).build_streamed()
        try:
            response = await request.__aenter__()
        except PyreqwestError as error:
            raise _attempt_error(error, url) from None
        return _ReqwestIncoming(request, response, url)

    async def close(self) -> None:
        await self._client.close()


class _ReqwestIncoming:
    __slots__ = ("_request", "_response", "_reader", "_url", "status")

    def __init__(self, request: StreamRequest, response: Response, url: str) -> None:
        self._request = request
        self._response = response
        self._reader = response.body_reader
        self._url = url
        self.status = response.status

    def header(self, name: str) -> str:
        return self._response.get_header(name) or ""

    def headers(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self._response.headers.items()}

    async def chunk(self) -> bytes | None:
        try:
            chunk = await self._reader.read_chunk()
        except PyreqwestError as error:
            raise _attempt_error(error, self._url) from None
        return None if chunk is None else bytes(chunk)

    async def close(self) -> None:
        await self._request.__aexit__(None, None, None)


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
