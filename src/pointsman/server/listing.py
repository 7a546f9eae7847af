"""/v1/models, answered from memory: one dead provider must not blank a client's list."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from ..gateway import Gateway

REFRESH_SECONDS = 30


class Listing:
    """The models of a gateway in both shapes, kept up to date in the background."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._task: asyncio.Task[None] | None = None
        self.openai = b'{"object":"list","data":[]}'
        self.anthropic = b'{"data":[],"has_more":false,"first_id":null,"last_id":null}'

    def start(self) -> None:
        self._make()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self._gateway.refresh()
            self._make()

    def _make(self) -> None:
        named = self._gateway.listed()
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
        self.openai = msgspec.json.encode({"object": "list", "data": rows})
        others = [
            {"type": "model", "id": one.name, "display_name": one.name, "created_at": "1970-01-01T00:00:00Z"}
            for one in named
        ]
        self.anthropic = msgspec.json.encode(
            {
                "data": others,
                "has_more": False,
                "first_id": named[0].name if named else None,
                "last_id": named[-1].name if named else None,
            }
        )
