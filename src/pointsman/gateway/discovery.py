"""What serves on this machine without having been named: Ollama on its usual port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
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


async def ollama_models(base_url: str, transport: Callable[[], Transport]) -> Sequence[str]:
    """The models of the Ollama at `base_url`; none where none runs.

    A bare connection tells first whether anybody is there: an HTTP client is ten megabytes that an idle server spares.
    """
    address = urlsplit(base_url)
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(address.hostname, address.port or 80)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            incoming = await transport().send("GET", f"{address.scheme}://{address.netloc}/api/tags", {}, None)
            try:
                body = b""
                while (chunk := await incoming.chunk()) is not None:
                    body += chunk
            finally:
                await incoming.close()
            if incoming.status != 200:
                return ()
            return [tag.name for tag in msgspec.json.decode(body, type=_Tags).models]
    except (AttemptError, OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ()
