"""`ask(timeout=…)` of the library."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from gateway_samples import NO_OLLAMA, gateway, text_of, upstream

from pointsman.core import InvalidCall, UpstreamTimeout


async def test_a_call_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    """A program would wait ten minutes for a provider that hangs."""
    async with upstream() as mine:
        config = (
            f'providers: {{mine: {{base_url: "{mine.base_url}/v1"}}}}\n'
            "models: {silent: {provider: mine}, echo: {provider: mine}}\n"
        )
        async with gateway(tmp_path, config + NO_OLLAMA) as asked:
            started = time.monotonic()
            with pytest.raises(UpstreamTimeout):
                await asked.ask("Hi", model="silent", timeout=0.2)
            assert time.monotonic() - started < 5
            assert await text_of(await asked.ask("Hi", model="echo", timeout=30))


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf])
async def test_a_timeout_that_is_none_is_refused(tmp_path: Path, timeout: float) -> None:
    """A slip would mean no limit at all, or a call that never had a chance."""
    async with gateway(tmp_path, NO_OLLAMA) as asked:
        with pytest.raises(InvalidCall, match="timeout"):
            await asked.ask("Hi", timeout=timeout)
