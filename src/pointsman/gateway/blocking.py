"""The gateway for programs that do not await: the same calls, one at a time.

with BlockingGateway() as gateway:
    print(gateway.ask("Write a haiku about points and trains.").text)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from ..core import Answer, Broken, Delta, Reply
from ..routing import Decision
from .environment import Environment
from .gateway import Gateway, as_chat
from .specs import Config


class BlockingGateway:
    """A Gateway and an event loop of its own. Not for use from several threads, nor inside a running loop."""

    def __init__(self, config: Config | Path | str | None = None, *, environment: Environment | None = None) -> None:
        """As `Gateway`. Raises ConfigError."""
        self._gateway = Gateway(config, environment=environment)
        self._runner = asyncio.Runner()

    def ask(self, prompt: Any, **options: Any) -> Answer:
        """The whole answer. Options as for `Gateway.ask`. Raises what it raises, and the error of a broken reply."""
        return self._runner.run(self._read(prompt, {"stream": False, **options}))

    def stream(self, prompt: Any, **options: Any) -> Iterator[Delta]:
        """The answer as it comes. Raises the error of a reply that breaks, after what came before it."""
        reply: Reply = self._runner.run(self._gateway.ask(prompt, **options))
        try:
            while True:
                item = self._runner.run(_next(reply))
                if item is None:
                    return
                if isinstance(item, Broken):
                    raise item.error
                yield item
        finally:
            self._runner.run(reply.aclose())

    def decide(self, prompt: Any, *, model: str = "auto", task: str = "") -> Decision:
        """What would be chosen. Calls nothing."""
        return self._gateway.decide(self._gateway.call(as_chat(prompt), model=model, task=task))

    def close(self) -> None:
        self._runner.run(self._gateway.close())
        self._runner.close()

    def __enter__(self) -> Self:
        self._runner.run(self._gateway.open())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def _read(self, prompt: Any, options: dict[str, Any]) -> Answer:
        async with await self._gateway.ask(prompt, **options) as reply:
            return await reply.read()


async def _next(reply: Reply) -> Delta | Broken | None:
    return await anext(aiter(reply), None)
