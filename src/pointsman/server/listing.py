"""/v1/models, answered from memory: one dead provider must not blank a client's list."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from ..gateway import Gateway, Listed

REFRESH_SECONDS = 30


class Listing:
    """The models of a gateway in both shapes, kept up to date in the background."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._task: asyncio.Task[None] | None = None
        self._made = asyncio.Event()
        self._openai = b""
        self._anthropic = b""
        self._one: dict[tuple[str, str], bytes] = {}
        """By dialect and name."""

    def start(self) -> None:
        """Makes the first list beside the first calls: on a new machine the price library is read for it."""
        self._task = asyncio.create_task(self._keep())

    async def openai(self) -> bytes:
        await self._made.wait()
        return self._openai

    async def anthropic(self) -> bytes:
        await self._made.wait()
        return self._anthropic

    async def one(self, dialect: str, name: str) -> bytes | None:
        """None for a name that is not listed."""
        await self._made.wait()
        return self._one.get((dialect, name))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        while True:
            self._make(await asyncio.to_thread(self._gateway.listed))
            self._made.set()
            await asyncio.sleep(REFRESH_SECONDS)
            await self._gateway.refresh()

    def _make(self, named: Sequence[Listed]) -> None:
        rows = [
            {
                "id": one.name,
                "object": "model",
                "created": 0,
                "owned_by": one.owner,
                "context_length": one.context,
                "max_output_tokens": one.max_output,
            }
            for one in named
        ]
        self._openai = msgspec.json.encode({"object": "list", "data": rows})
        others = [
            {"type": "model", "id": one.name, "display_name": one.name, "created_at": "1970-01-01T00:00:00Z"}
            for one in named
        ]
        self._anthropic = msgspec.json.encode(
            {
                "data": others,
                "has_more": False,
                "first_id": named[0].name if named else None,
                "last_id": named[-1].name if named else None,
            }
        )
        self._one = {("openai", str(row["id"])): msgspec.json.encode(row) for row in rows}
        self._one |= {("anthropic", row["id"]): msgspec.json.encode(row) for row in others}
