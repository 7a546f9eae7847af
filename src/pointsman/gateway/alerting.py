"""Where alerts go: into the log, and to a webhook where one is configured."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from ..core import AttemptError, show_usd, to_usd
from ..endpoints.transport import Transport
from ..ledger import Alert

log = logging.getLogger("pointsman.alerts")

PATIENCE = 10.0
"""Seconds that a webhook may take."""
TRIES = 3


class Notice(Struct, frozen=True):
    """What is posted. Money in US dollars, as decimal text."""

    text: str
    budget: str
    scope: str
    who: str
    window: str
    period: str
    share: float
    limit_usd: str
    spent_usd: str


class Change(Struct, frozen=True):
    """What is posted of a model that was found to have changed."""

    text: str
    model: str


class Alerting:
    """Tells alerts at once and without waiting. `transport` is opened when the first one is posted."""

    def __init__(self, webhook: str, transport: Callable[[], Transport]) -> None:
        self._webhook = webhook
        self._transport = transport
        self._posting: set[asyncio.Task[None]] = set()

    def tell(self, alert: Alert) -> None:
        notice = _notice(alert)
        self._send(notice.text, msgspec.json.encode(notice))

    def tell_change(self, model: str) -> None:
        """A model does worse than it did."""
        text = f"{model} does worse than it did: what was learned of it before counts no more."
        self._send(text, msgspec.json.encode(Change(text, model)))

    def warn(self, text: str) -> None:
        """Into the log alone. May be called from any thread."""
        log.warning("%s", text)

    async def close(self) -> None:
        """Waits for what is being posted."""
        if self._posting:
            await asyncio.wait(self._posting, timeout=PATIENCE)

    def _send(self, text: str, body: bytes) -> None:
        log.warning("%s", text)
        if self._webhook:
            task = asyncio.get_running_loop().create_task(self._post(body))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    async def _post(self, body: bytes) -> None:
        why = ""
        for again in range(TRIES):
            await asyncio.sleep(again)
            try:
                headers = {"content-type": "application/json"}
                until = time.monotonic() + PATIENCE
                incoming = await self._transport().send("POST", self._webhook, headers, body, until)
                await incoming.close()
            except (AttemptError, TimeoutError) as error:
                why = str(error) or "no answer in time"
                continue
            if incoming.status < 300:
                return
            why = f"it answered {incoming.status}"
        log.error("The webhook for alerts could not be told: %s", why)


def _notice(alert: Alert) -> Notice:
    whose = "the server" if alert.scope == "server" else f"{alert.scope} {alert.who}"
    text = (
        f"{whose} has spent {show_usd(alert.spent)} of {show_usd(alert.limit)} for {alert.period}: "
        f"{alert.share:.0%} of the budget {alert.rule}."
    )
    return Notice(
        text=text,
        budget=alert.rule,
        scope=alert.scope,
        who=alert.who,
        window=alert.window,
        period=alert.period,
        share=alert.share,
        limit_usd=to_usd(alert.limit),
        spent_usd=to_usd(alert.spent),
    )
