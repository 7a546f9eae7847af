"""The server as one ASGI application: the doors for models, our own API, and the console's page.

Raw ASGI on purpose: a framework costs more on each call than everything else that a call needs.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Collection
from importlib import resources
from urllib.parse import parse_qs

from ..core import Forbidden, InvalidCall, LedgerError, PointsmanError, Unauthenticated
from ..dialects import DIALECTS
from ..gateway import Gateway, new_id
from ..ledger import Key, parse_since
from .door import ModelDoor
from .http import JSON, ClientGone, Header, Receive, Request, Scope, Send, failure, respond, success
from .listing import Listing
from .metrics import Metrics
from .views import cost_view, decision_view, performance_view

log = logging.getLogger("pointsman.server")

Handler = Callable[[Request, Send], Awaitable[None]]

PAGE_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
CONSOLE_FILES = {
    "/": ("console.html", b"text/html; charset=utf-8"),
    "/console.css": ("console.css", b"text/css; charset=utf-8"),
    "/console.js": ("console.js", b"text/javascript; charset=utf-8"),
    "/favicon.ico": ("favicon.svg", b"image/svg+xml"),
}
MOST_DECISIONS = 200


class Application:
    """The ASGI application over one gateway, which it opens and closes with the server's life."""

    def __init__(self, gateway: Gateway, *, own_key: str = "") -> None:
        self._gateway = gateway
        self._own_key = own_key.encode()
        self._keys = gateway.ledger.key_ring()
        self._metrics = Metrics()
        self._listing = Listing(gateway)
        self._files = {path: _console_file(name) for path, (name, _) in CONSOLE_FILES.items()}
        gateway.observe(self._metrics.attempted)
        self._handlers: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/chat/completions"): self._door("openai"),
            ("POST", "/v1/messages"): self._door("anthropic"),
            ("GET", "/v1/models"): self._models,
            ("GET", "/health"): self._health,
            ("GET", "/ready"): self._ready,
            ("GET", "/metrics"): self._prometheus,
            ("GET", "/api/decisions"): self._decisions,
            ("GET", "/api/costs"): self._costs,
            ("GET", "/api/performance/metrics"): self._performance,
            **{("GET", path): self._page for path in CONSOLE_FILES},
        }
        self._paths = {path for _, path in self._handlers}

    @property
    def routes(self) -> Collection[tuple[str, str]]:
        """Every (method, path) that is answered."""
        return self._handlers.keys()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(Request.of(scope, receive), send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            # A websocket: there is none here. Closing before accepting makes the server answer 403.
            await send({"type": "websocket.close"})

    async def _answer(self, request: Request, send: Send) -> None:
        handler = self._handlers.get((request.method, request.path))
        if handler is None:
            return await self._lost(request, send)
        try:
            await handler(request, send)
        except ClientGone:
            return
        except PointsmanError as error:
            await respond(send, error.status, failure(error.message, error.kind))

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    self._gateway.ledger.start()
                    await self._gateway.open()
                    self._listing.start()
                except PointsmanError as error:
                    await send({"type": "lifespan.startup.failed", "message": error.message})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._listing.stop()
                self._keys.close()
                await self._gateway.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _door(self, dialect: str) -> ModelDoor:
        door = DIALECTS[dialect].door
        assert door is not None, "this dialect has a door"
        return ModelDoor(
            dialect,
            door,
            self._gateway,
            authorise=lambda request: self._authorise(request, "call"),
            metrics=self._metrics,
            new_id=new_id,
            wall=self._gateway.clock.wall,
            max_body=int(self._gateway.config.server.max_body_mb * 1024 * 1024),
        )

    def _authorise(self, request: Request, scope: str) -> Key:
        """The key of a request. Raises Unauthenticated without a good one, Forbidden without the right."""
        stated = request.bearer
        if not stated:
            raise Unauthenticated(
                "This needs a key, in the header `x-api-key` or in `Authorization`. "
                "`pointsman keys create NAME` makes one."
            )
        if self._own_key and hmac.compare_digest(stated.encode(), self._own_key):
            return CONFIGURED_KEY
        key = self._keys.verify(stated)
        if key is None:
            raise Unauthenticated("This key is not known, or was revoked or has expired. See `pointsman keys list`.")
        if scope not in key.scopes:
            raise Forbidden(f"The key {key.name!r} may not do this: it lacks the scope {scope!r}.")
        return key

    async def _models(self, request: Request, send: Send) -> None:
        self._authorise(request, "call")
        anthropic = b"anthropic-version" in request.headers
        await respond(send, 200, await (self._listing.anthropic() if anthropic else self._listing.openai()))

    async def _health(self, request: Request, send: Send) -> None:
        await respond(send, 200, b'{"status":"ok"}')

    async def _ready(self, request: Request, send: Send) -> None:
        problem = self._gateway.ledger.problem
        if problem is None:
            await respond(send, 200, b'{"status":"ready"}')
        else:
            await respond(send, 503, failure(problem, LedgerError.kind))

    async def _prometheus(self, request: Request, send: Send) -> None:
        self._authorise(request, "read")
        body = self._metrics.render(ready=self._gateway.ledger.problem is None)
        await respond(send, 200, body, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),))

    async def _decisions(self, request: Request, send: Send) -> None:
        self._authorise(request, "read")
        count = min(int(_parameter(request, "limit", "50")), MOST_DECISIONS)
        entries = await asyncio.to_thread(self._gateway.ledger.queries.recent, max(count, 1))
        await respond(send, 200, success([decision_view(entry) for entry in entries]))

    async def _costs(self, request: Request, send: Send) -> None:
        self._authorise(request, "read")
        since = parse_since(_parameter(request, "since", "30d"), self._gateway.clock.wall())
        by = _parameter(request, "by", "model")
        ask = self._gateway.ledger.queries.cost
        rows = await asyncio.to_thread(ask, by, since=since)  # type: ignore[arg-type]  # it refuses other words
        await respond(send, 200, success([cost_view(row) for row in rows]))

    async def _performance(self, request: Request, send: Send) -> None:
        self._authorise(request, "read")
        since = parse_since(_parameter(request, "since", "30d"), self._gateway.clock.wall())
        rows = await asyncio.to_thread(self._gateway.ledger.queries.performance, since=since)
        await respond(send, 200, success([performance_view(row) for row in rows]))

    async def _page(self, request: Request, send: Send) -> None:
        _, kind = CONSOLE_FILES[request.path]
        await respond(send, 200, self._files[request.path], ((b"content-type", kind), *PAGE_HEADERS[1:]))

    async def _lost(self, request: Request, send: Send) -> None:
        if request.path in self._paths:
            allowed = ", ".join(method for method, path in self._handlers if path == request.path)
            headers = (JSON, (b"allow", allowed.encode()))
            await respond(send, 405, failure(f"This path takes {allowed}.", "method"), headers)
        else:
            paths = ", ".join(sorted(self._paths))
            await respond(send, 404, failure(f"There is no such path. There are: {paths}.", "path"))


CONFIGURED_KEY = Key(id="config", name="config", created=0.0, scopes=frozenset({"call", "read", "admin"}))
"""Stands for the key that the configuration states (`server.key`)."""


def _console_file(name: str) -> bytes:
    return resources.files(__package__).joinpath("console", name).read_bytes()


def _parameter(request: Request, name: str, default: str) -> str:
    value = parse_qs(request.query).get(name, [default])[-1]
    if name == "limit" and not (value.isdecimal() and len(value) < 10):
        raise InvalidCall(f"`limit` is {value!r}: it must be a whole number.", param="limit")
    return value
