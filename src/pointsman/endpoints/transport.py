"""The way to an upstream, as two small shapes: a Transport sends, what comes back is an Incoming.

`until` is the moment, of time.monotonic, at which whoever waits has waited long enough: TimeoutError is raised then,
a twentieth of a second late at most and never early. It's a moment and not a span, since one call has several awaits.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol


class Incoming(Protocol):
    """A response whose head has come. It must be closed, by its one reader."""

    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str:
        """The first header of that name, which is in lower case; '' where there is none."""
        ...

    def headers(self) -> Mapping[str, str]:
        """All headers, names in lower case."""
        ...

    def whole(self) -> bytes | None:
        """The body, where nothing of it was read and all of it is there already: that closes the response. Else None,
        and it is to be read by `chunk`."""
        ...

    def chunk(self, until: float = math.inf) -> Awaitable[bytes | None]:
        """The next bytes as they come, or None at the end. Raises an AttemptError when the connection fails."""
        ...

    def flow(self, sink: Sink, until: float) -> Awaitable[None]:
        """Hands the body to `sink` piece by piece, until that wants no more or the body ends. Raises as `chunk` does,
        and what the sink raises. Where many pieces come, a step of the caller for each would cost as much again."""
        ...

    async def close(self) -> None: ...


Sink = Callable[[bytes], float]
"""Takes a piece of a body, and gives the time limit of the next; 0.0 where it wants no more for now."""


async def flow_by_chunks(incoming: Incoming, sink: Sink, until: float) -> None:
    """`Incoming.flow` by `Incoming.chunk`."""
    while until and (chunk := await incoming.chunk(until)) is not None:
        until = sink(chunk)


class Transport(Protocol):
    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, until: float = math.inf
    ) -> Incoming:
        """Returns when the head of the response is there. Raises an AttemptError."""
        ...

    async def close(self) -> None: ...
