"""Endpoints, made on first use: the Ask of a model, of a pool, and the transports that they share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..core import Ask, AttemptError, Clock, Served, Timeouts
from ..dialects import DIALECTS
from ..endpoints.http import DEFAULT_TIMEOUTS, HttpEndpoint
from ..endpoints.http1 import Http1Transport
from ..endpoints.local import LocalHost
from ..endpoints.local_model import LocalModelEndpoint
from ..endpoints.simulated import Script, SimulatedEndpoint
from ..endpoints.transport import Transport
from .roster import LOCAL, Model, Provider
from .specs import Config, TimeoutsSpec

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 5.0
LOCAL_TIMEOUTS = Timeouts(connect=5, ttft=300, idle=120)
"""A small CPU reads a long prompt for minutes. It is alive all the while, and its host knows when it is not."""


class Connections:
    """Makes endpoints. Transports are shared, one for each way of connecting."""

    def __init__(self, config: Config, providers: Mapping[str, Provider], *, home: Path, clock: Clock) -> None:
        self._config = config
        self._providers = providers
        self._clock = clock
        self._transports: dict[tuple[float, str, bool, bool], Transport] = {}
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
        timeouts = self._timeouts(provider.spec.timeouts)
        return HttpEndpoint(
            served,
            model=model.id,
            base_url=provider.base_url,
            dialect=DIALECTS[provider.dialect],
            transport=self.transport(timeouts.connect, provider=provider),
            clock=self._clock,
            key=provider.key,
            quirks=model.quirks,
            headers=provider.spec.headers,
            timeouts=timeouts,
        )

    async def answers(self, name: str) -> bool:
        """Whether a provider lists its models, for which none takes money. One that we run ourselves always does."""
        provider = self._providers.get(name)
        if provider is None or provider.dialect == "simulated":
            return True
        dialect = DIALECTS[provider.dialect]
        headers = {**(dialect.auth(provider.key) if provider.key else {}), **provider.spec.headers}
        url = provider.base_url.rstrip("/") + dialect.models_path
        try:
            until = self._clock.steady() + PROBE_SECONDS
            incoming = await self.transport(provider=provider).send("GET", url, headers, None, until)
            await incoming.close()
        except (AttemptError, TimeoutError):
            return False
        return incoming.status < 500

    def _timeouts(self, own: TimeoutsSpec | None) -> Timeouts:
        common = self._config.timeouts.value.over(DEFAULT_TIMEOUTS)
        return common if own is None else own.value.over(common)

    def transport(
        self, connect_timeout: float | None = None, *, provider: Provider | None = None, pooled: bool = True
    ) -> Transport:
        """The way to a provider; without one, to an address that the configuration names."""
        proxy, private = (provider.proxy, provider.spec.private_network) if provider is not None else ("", False)
        way = (connect_timeout or CONNECT_SECONDS, proxy, pooled, private)
        if way not in self._transports:
            self._transports[way] = open_transport(way[0], proxy=proxy, pooled=pooled, private_network=private)
        return self._transports[way]

    async def close(self) -> None:
        for transport in self._transports.values():
            await transport.close()
        self._transports.clear()


def open_transport(
    connect_timeout: float, *, proxy: str = "", pooled: bool = True, private_network: bool = False
) -> Transport:
    """`proxy`: the URL of the proxy to go through; '' for none. `pooled`: keep connections for the next call."""
    if not proxy:
        return Http1Transport(connect_timeout=connect_timeout, pooled=pooled, private_network=private_network)
    from ..endpoints.proxied import ProxiedTransport  # late: most machines have no proxy, and it takes megabytes

    return ProxiedTransport(connect_timeout=connect_timeout, proxy=proxy)
