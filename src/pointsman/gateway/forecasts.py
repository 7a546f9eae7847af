"""The forecaster of a gateway: made at the first call that is routed, and made anew when another router was fitted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from ..core import Clock
from ..routing import NO_FORECAST, Forecast, Prompt
from .weights import learned_path, load_learned

if TYPE_CHECKING:
    from ..routing.forecasting import RouterForecaster

LOOK_EVERY = 5.0
"""Seconds between two looks whether another router was put in place."""


class InUse(Struct, frozen=True):
    """Which fitted router is in use."""

    digest: str = ""
    """Of its file; '' where there is none."""
    since: float = 0.0
    """Unix seconds."""


class Forecasts:
    """A Forecaster. Making one loads numpy and the token table, some 0.1 s, so a process that routes nothing makes
    none, and an event loop leaves it to a thread (`ready`)."""

    def __init__(self, home: Path, clock: Clock, *, enabled: bool, warn: Callable[[str], None]) -> None:
        self._home = home
        self._steady = clock.steady
        self._enabled = enabled
        self._warn = warn
        self._forecaster: RouterForecaster | None = None
        self._making = threading.Lock()
        self._loading: asyncio.Future[None] | None = None
        self._stamp: tuple[int, int] | None = None
        self._look_at = 0.0
        self._in_use = InUse()
        self._looked_at: tuple[int, int] | None = None
        """The stamp of what is in use."""

    async def ready(self) -> None:
        """Returns once forecasts take no time worth a thread."""
        if self._is_stale():
            await asyncio.to_thread(self._make)

    def load_beside(self) -> None:
        """Makes one in a thread; whoever needs it sooner waits for that."""
        if self._enabled and self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._make))

    def __call__(self, prompt: Prompt) -> Forecast:
        return self._present()(prompt) if self._enabled else NO_FORECAST

    def recall(self, prompt: Prompt | None) -> Forecast:
        """Of a prompt that was read earlier, and whose text is gone. None: of any."""
        return self._present().recall(prompt) if self._enabled else NO_FORECAST

    def vector(self, prompt: Prompt) -> bytes:
        """What is recorded of a prompt for which nothing was forecast, once anything was or `load_beside` was called: a
        process that neither routes nor learns reads no vectors, and loads nothing for it."""
        if self.is_loading:
            self._make()
        return b"" if self._forecaster is None else self._forecaster.vector(prompt)

    @property
    def is_loading(self) -> bool:
        """Whether a vector must be waited for."""
        return self._loading is not None and not self._loading.done()

    def in_use(self) -> InUse:
        """Looked up anew. May be asked from any thread."""
        path = learned_path(self._home)
        stamp = _stamp(path)
        if stamp != self._looked_at:
            try:
                digest = "" if stamp is None else blake2b(path.read_bytes(), digest_size=8).hexdigest()
            except OSError:
                return self._in_use  # it is being replaced
            self._in_use = InUse(digest, 0.0 if stamp is None else stamp[0] / 1e9)
            self._looked_at = stamp
        return self._in_use

    def _present(self) -> RouterForecaster:
        if self._is_stale():
            self._make()
        assert self._forecaster is not None, "it was just made"
        return self._forecaster

    def _is_stale(self) -> bool:
        if not self._enabled:
            return False
        if self._forecaster is None:
            return True
        now = self._steady()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY
        return self._stamp != _stamp(learned_path(self._home))

    def _make(self) -> None:
        from ..routing.forecasting import RouterForecaster  # late: it brings numpy

        with self._making:
            stamp = _stamp(learned_path(self._home))
            if self._forecaster is None or stamp != self._stamp:
                self._forecaster = RouterForecaster(load_learned(self._home, self._warn))
                self._stamp = stamp


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
