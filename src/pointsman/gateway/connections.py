"""Endpoints, made on first use: the Ask of a model, of a pool, and the transports that they share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..core import Ask, Clock, Served
from ..dialects import DIALECTS
from ..endpoints.http import HttpEndpoint, Timeouts
from ..endpoints.http1 import Http1Transport
from ..endpoints.local import LocalHost
from ..endpoints.local_model import LocalModelEndpoint
from ..endpoints.simulated import Script, SimulatedEndpoint
from ..endpoints.transport import Transport
from .roster import LOCAL, Model, Provider
from .specs import Config, TimeoutsSpec

LOCAL_TIMEOUTS = Timeouts(ttft=300, idle=120, total=1800)
"""A small CPU reads a long prompt for minutes. It is alive all the while, and its host knows when it is not."""


class Connections:
    """Makes endpoints. Transports are shared, one for each way of connecting."""

    def __init__(self, config: Config, providers: Mapping[str, Provider], *, home: Path, clock: Clock) -> None:
        self._config = config
        self._providers = providers
        self._clock = clock
        self._transports: dict[tuple[float, str, bool], Transport] = {}
        self._host = LocalHost(home, idle=config.local.idle, threads=config.local.threads)

    def endpoint(self, model: Model) -> Ask:
        """The bare endpoint of a model: neither recorded nor limited."""
        served = Served(model.name, model.endpoint, model.provider)
        if model.provider == LOCAL:
            return LocalModelEndpoint(
                served,
                model=model.id,
                host=self._host,
                # llama.cpp closes a connection after a stream without saying so: none is kept.
                transport=self.transport(5, pooled=False),
                clock=self._clock,
                timeouts=LOCAL_TIMEOUTS,
            )
        provider = self._providers[model.provider]
        if provider.dialect == "simulated":
            return SimulatedEndpoint(served, Script(), self._clock)
        timeouts = provider.spec.timeouts or self._config.timeouts
        return HttpEndpoint(
            served,
            model=model.id,
            base_url=provider.base_url,
            dialect=DIALECTS[provider.dialect],
            transport=self.transport(timeouts.connect, proxy=provider.proxy),
            clock=self._clock,
            key=provider.key,
            headers=provider.spec.headers,
            timeouts=_timeouts(timeouts),
        )

    def transport(self, connect_timeout: float, *, proxy: str = "", pooled: bool = True) -> Transport:
        way = (connect_timeout, proxy, pooled)
        if way not in self._transports:
            self._transports[way] = open_transport(connect_timeout, proxy=proxy, pooled=pooled)
        return self._transports[way]

    async def close(self) -> None:
        for transport in self._transports.values():
            await transport.close()
        self._transports.clear()


def open_transport(connect_timeout: float, *, proxy: str = "", pooled: bool = True) -> Transport:
    """`proxy`: the URL of the proxy to go through; '' for none. `pooled`: keep connections for the next call."""
    if not proxy:
        return Http1Transport(connect_timeout=connect_timeout, pooled=pooled)
    from ..endpoints.proxied import ProxiedTransport  # late: most machines have no proxy, and it takes megabytes

    return ProxiedTransport(connect_timeout=connect_timeout, proxy=proxy)


def _timeouts(spec: TimeoutsSpec) -> Timeouts:
    return Timeouts(ttft=spec.ttft, idle=spec.idle, total=spec.total)
