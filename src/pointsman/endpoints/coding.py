"""Bodies that come compressed although nobody asked for it: read all the same, but never in one piece."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Awaitable, Mapping

from ..core import BrokenReply
from .transport import Incoming, Sink, flow_by_chunks

PIECE = 256 * 1024
"""Bytes that are decompressed at once: a small body may hold gigabytes, and its reader must be able to stop."""

_WINDOW_OF = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def uncoded(incoming: Incoming) -> Incoming:
    """The same reply with its body as it was meant. A coding that we do not know fails with the first chunk."""
    coding = incoming.header("content-encoding")
    if not coding or coding.lower() == "identity":
        return incoming
    return _Compressed(incoming, coding.lower())


class _Compressed:
    __slots__ = ("_incoming", "_coding", "_inflater", "_rest", "status")

    def __init__(self, incoming: Incoming, coding: str) -> None:
        self._incoming = incoming
        self._coding = coding
        self._inflater = zlib.decompressobj(_WINDOW_OF.get(coding, 31))
        self._rest = b""
        self.status = incoming.status

    def header(self, name: str) -> str:
        return self._incoming.header(name)

    def headers(self) -> Mapping[str, str]:
        return self._incoming.headers()

    def whole(self) -> bytes | None:
        return None  # in one piece it could be of any size

    async def chunk(self, until: float = math.inf) -> bytes | None:
        if self._coding not in _WINDOW_OF:
            raise BrokenReply(f"The upstream compressed its answer by {self._coding[:40]!r}, which nobody asked for.")
        while True:
            if not self._rest:
                chunk = await self._incoming.chunk(until)
                if chunk is None:
                    self._end()
                    return None
                self._rest = chunk
            if piece := self._inflate():
                await asyncio.sleep(0)  # other calls go on while a large body is read
                return piece

    def flow(self, sink: Sink, until: float) -> Awaitable[None]:
        return flow_by_chunks(self, sink, until)

    async def close(self) -> None:
        await self._incoming.close()

    def _inflate(self) -> bytes:
        if self._inflater.eof:  # gzip files may follow each other
            self._inflater = zlib.decompressobj(_WINDOW_OF[self._coding])
        try:
            piece = self._inflater.decompress(self._rest, PIECE)
        except zlib.error:
            raise BrokenReply(f"The upstream's {self._coding} data is damaged.") from None
        self._rest = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
        return piece

    def _end(self) -> None:
        if not self._inflater.eof:
            raise BrokenReply(f"The upstream's {self._coding} data ended before it was whole.")
