"""What serves on this machine without having been named: Ollama on its usual port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from ..core import AttemptError
from ..endpoints.transport import Transport

PATIENCE = 1.0
"""Seconds: a server of this machine that takes longer is not one to route to."""


class _Tag(Struct):
    name: str


class _Tags(Struct):
    models: list[_Tag] = []


async def ollama_models(base_url: str, transport: Transport) -> Sequence[str]:
    """The models of the Ollama at `base_url`; none where none runs."""
    address = urlsplit(base_url)
    try:
        async with asyncio.timeout(PATIENCE):
            incoming = await transport.send("GET", f"{address.scheme}://{address.netloc}/api/tags", {}, None)
            try:
                body = b""
                while (chunk := await incoming.chunk()) is not None:
                    body += chunk
            finally:
                await incoming.close()
            if incoming.status != 200:
                return ()
            return [tag.name for tag in msgspec.json.decode(body, type=_Tags).models]
    except (AttemptError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError):
        return ()
