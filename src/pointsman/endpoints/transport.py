"""The way to an upstream, as two small shapes: a Transport sends, what comes back is an Incoming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


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
