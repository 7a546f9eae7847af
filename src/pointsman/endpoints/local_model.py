"""A model that this machine runs, as an Ask: lease it from the model host, then speak to it like to any other."""

from __future__ import annotations

from ..core import Call, Clock, Reply, Served, Timeouts
from ..dialects import DIALECTS
from .http import HttpEndpoint
from .local import LocalHost
from .transport import Transport


class LocalModelEndpoint:
    """Holds a lease for as long as a reply is under way, so that the host knows that its model is in use."""

    def __init__(
        self,
        served: Served,
        *,
        model: str,
        host: LocalHost,
        transport: Transport,
        clock: Clock,
        timeouts: Timeouts,
    ) -> None:
        self.served = served
        self._model = model
        self._host = host
        self._transport = transport
        self._clock = clock
        self._timeouts = timeouts

    async def __call__(self, call: Call) -> Reply:
        """Raises Unreachable when the model cannot be started, with what to do about it."""
        started = self._clock.steady()
        lease = await self._host.lease(self._model)
        try:
            endpoint = HttpEndpoint(
                self.served,
                model=self.served.model,
                base_url=lease.base_url,
                dialect=DIALECTS["openai"],
                transport=self._transport,
                clock=self._clock,
                key=lease.api_key,
                timeouts=self._timeouts,
            )
            reply = await endpoint.send(call, started)
        except BaseException:
            lease.close()
            raise
        reply.on_end(lambda ending: lease.close())
        return reply
