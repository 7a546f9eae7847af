"""What the server answers: the doors for models, our own API, and the console's page."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, Coroutine
from importlib import resources
from typing import Any

import msgspec
from msgspec import structs

from ..core import (
    CallError,
    Forbidden,
    LedgerError,
    MemoryState,
    PointsmanError,
    Unauthenticated,
    UnknownModel,
)
from ..dialects import DIALECTS
from ..dialects.anthropic_count import read_to_count
from ..gateway import Gateway, new_id
from ..ledger import Key, parse_since
from ..routing import estimate_tokens
from .admission import Admission
from .door import ModelDoor, stopping
from .exchange import Exchange, Header, lines
from .feedback import FeedbackDoor
from .http import JSON_LINES, failure, json_body, parameter, refuse, stated_key, success, whole_number
from .idempotency import Once
from .listing import Listing
from .metrics import Metrics
from .origins import Origins
from .replay import ReplayDoor
from .route import RouteDoor
from .views import budget_view, cost_view, decision_view, endpoint_view, performance_view

Handling = Coroutine[Any, Any, None] | None
Handler = Callable[[Exchange], Handling]

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
    (b"cross-origin-resource-policy", b"same-origin"),
)
CONSOLE_FILES = {
    "/": ("console.html", b"text/html; charset=utf-8"),
    "/console.css": ("console.css", b"text/css; charset=utf-8"),
    "/console.js": ("console.js", b"text/javascript; charset=utf-8"),
    "/favicon.ico": ("favicon.svg", b"image/svg+xml"),
}
MOST_DECISIONS = 200
ONE_MODEL = "/v1/models/{id}"


class Application:
    """Answers exchanges over one gateway, which it opens and closes."""

    def __init__(self, gateway: Gateway, *, own_key: str = "", is_local: bool = True) -> None:
        """`own_key`: the key that the configuration states; `is_local`: only this machine can reach the address."""
        self._gateway = gateway
        self._own_key = own_key.encode()
        self._keys = gateway.ledger.key_ring()
        self._origins = Origins(gateway.config.server.hosts, is_local=is_local)
        self._max_body = int(gateway.config.server.max_body_mb * 1024 * 1024)
        self._metrics = Metrics()
        self._once = Once(gateway, gateway.clock)
        self._admission = _admission(gateway)
        self._listing = Listing(gateway)
        self._files = {path: _console_file(name) for path, (name, _) in CONSOLE_FILES.items()}
        gateway.count(self._metrics.attempted)
        self._is_draining = False
        feedback = FeedbackDoor(
            gateway.ledger, gateway.elected, gateway.clock, authorise=self._authorise, max_body=self._max_body
        )
        doors = {dialect: self._door(dialect) for dialect in ("openai", "anthropic")}
        route = RouteDoor(gateway, doors, authorise=self._authorise, dialect=_dialect, max_body=self._max_body)
        replay = ReplayDoor(gateway, authorise=self._authorise)
        guarded = self._guarded
        self._handlers: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/chat/completions"): doors["openai"],
            ("POST", "/v1/messages"): doors["anthropic"],
            ("POST", "/v1/messages/count_tokens"): guarded(self._count),
            ("POST", "/v1/feedback"): guarded(feedback.take),
            ("GET", "/v1/models"): guarded(self._models),
            ("GET", ONE_MODEL): guarded(self._model),
            ("GET", "/health"): self._health,
            ("GET", "/ready"): self._ready,
            ("GET", "/metrics"): self._prometheus,
            ("GET", "/api/decisions"): guarded(self._decisions),
            ("GET", "/api/costs"): guarded(self._costs),
            ("POST", "/api/route"): guarded(route.take),
            ("GET", "/api/replay"): guarded(replay.take),
            ("GET", "/api/performance/metrics"): guarded(self._performance),
            ("GET", "/api/endpoints"): self._endpoints,
            ("GET", "/api/budgets"): guarded(self._budgets),
            **{("GET", path): self._page for path in CONSOLE_FILES},
        }
        self._paths = {path for _, path in self._handlers}

    @property
    def routes(self) -> Collection[tuple[str, str]]:
        """Every (method, path) that is answered."""
        return self._handlers.keys()

    def __call__(self, exchange: Exchange) -> Handling:
        """Answers at once, or gives back what answers."""
        try:
            head = exchange.head
            return (self._handlers.get((head.method, head.path)) or self._find(exchange))(exchange)
        except PointsmanError as error:
            _refuse(exchange, error)
            return None

    async def open(self) -> None:
        """Raises ConfigError or LedgerError where there is nothing to serve with."""
        self._gateway.ledger.start()
        await self._gateway.open()
        self._listing.start()

    def drain(self) -> None:
        """From now on it is not ready: load balancers are to send calls elsewhere."""
        self._is_draining = True

    async def close(self) -> None:
        await self._listing.stop()
        self._keys.close()
        await self._gateway.close()

    def _find(self, exchange: Exchange) -> Handler:
        """The handler of what is not in the table as it stands. Raises UnknownPath or WrongMethod."""
        method, path = exchange.method, exchange.path
        if path.startswith(ONE_MODEL[: ONE_MODEL.index("{")]):
            path = ONE_MODEL
        handler = self._handlers.get(("GET" if method == "HEAD" else method, path))
        if handler is not None:
            return handler
        allowed = ", ".join(known for known, at in self._handlers if at == path)
        if allowed:
            raise WrongMethod(f"{exchange.path} takes {allowed}, and was asked by {method[:20]}.", allowed)
        raise UnknownPath(_no_such_path(exchange.path, self._paths))

    def _guarded(self, handle: Callable[[Exchange], Awaitable[None]]) -> Handler:
        """A handler that waits for something."""

        async def guarded(exchange: Exchange) -> None:
            try:
                await handle(exchange)
            except PointsmanError as error:
                _refuse(exchange, error)
            except asyncio.CancelledError:
                if not exchange.is_stopped:
                    raise
                _refuse(exchange, stopping())

        return guarded

    def _door(self, dialect: str) -> ModelDoor:
        door = DIALECTS[dialect].door
        assert door is not None, "this dialect has a door"
        return ModelDoor(
            dialect,
            door,
            self._gateway,
            once=self._once,
            authorise=self._authorise,
            admission=self._admission,
            metrics=self._metrics,
            new_id=new_id,
            wall=self._gateway.clock.wall,
            max_body=self._max_body,
        )

    def _authorise(self, exchange: Exchange, scope: str = "call") -> Key:
        """The key of an exchange. Raises Unauthenticated without a good one, Forbidden without the right, and for a
        page of another origin."""
        head = exchange.head
        stated = head.stated_key
        if stated is None:
            self._origins.check(exchange)
            stated = head.stated_key = stated_key(exchange)
        if self._own_key and stated and hmac.compare_digest(stated.encode(), self._own_key):
            self._gateway.meet(CONFIGURED_KEY)
            return CONFIGURED_KEY
        if not stated:
            raise Unauthenticated(
                "This needs a key, in the header `x-api-key` or in `Authorization`. "
                "`pointsman keys create NAME` makes one."
            )
        key = self._keys.verify(stated)
        if key is None:
            raise Unauthenticated("This key is not known, or was revoked or has expired. See `pointsman keys list`.")
        if scope not in key.scopes:
            raise Forbidden(f"The key {key.name!r} may not do this: it lacks the scope {scope!r}.")
        self._gateway.meet(key)
        return key

    async def _models(self, exchange: Exchange) -> None:
        self._authorise(exchange, "call")
        listing = self._listing.anthropic() if _dialect(exchange) == "anthropic" else self._listing.openai()
        exchange.respond(200, JSON_LINES, await listing)

    async def _model(self, exchange: Exchange) -> None:
        self._authorise(exchange, "call")
        name = exchange.path[ONE_MODEL.index("{") :]
        found = await self._listing.one(_dialect(exchange), name)
        if found is None:
            raise UnknownModel(name[:100])
        exchange.respond(200, JSON_LINES, found)

    async def _count(self, exchange: Exchange) -> None:
        """Counts here: nothing is sent on, and nothing is recorded."""
        self._authorise(exchange, "call")
        chat = read_to_count(await json_body(exchange, self._max_body))
        exchange.respond(200, JSON_LINES, b'{"input_tokens":%d}' % estimate_tokens(chat))

    def _health(self, exchange: Exchange) -> None:
        exchange.respond(200, JSON_LINES, b'{"status":"ok"}')

    def _ready(self, exchange: Exchange) -> None:
        if self._is_draining:
            raise stopping()
        problem = self._gateway.ledger.problem
        if problem is not None:
            raise LedgerError(problem)
        # Limits are then kept by each process for itself: worth knowing, and no reason not to serve.
        degraded = self._gateway.state.problem
        told = {"status": "ready"} if degraded is None else {"status": "ready", "degraded": degraded}
        exchange.respond(200, JSON_LINES, msgspec.json.encode(told))

    def _prometheus(self, exchange: Exchange) -> None:
        self._authorise(exchange, "read")
        ready = self._gateway.ledger.problem is None
        self._gateway.tell()
        body = self._metrics.render(ready=ready, in_flight=self._admission.in_flight)
        exchange.respond(200, lines((b"content-type", b"text/plain; version=0.0.4; charset=utf-8")), body)

    async def _decisions(self, exchange: Exchange) -> None:
        self._authorise(exchange, "read")
        count = min(whole_number(exchange, "limit", 50), MOST_DECISIONS)
        entries = await asyncio.to_thread(self._gateway.ledger.queries.recent, max(count, 1))
        exchange.respond(200, JSON_LINES, success([decision_view(entry) for entry in entries]))

    async def _costs(self, exchange: Exchange) -> None:
        self._authorise(exchange, "read")
        since = parse_since(parameter(exchange, "since", "30d"), self._gateway.clock.wall())
        by = parameter(exchange, "by", "model")
        ask = self._gateway.ledger.queries.cost
        rows = await asyncio.to_thread(ask, by, since=since)  # type: ignore[arg-type]  # it refuses other words
        exchange.respond(200, JSON_LINES, success([cost_view(row) for row in rows]))

    async def _performance(self, exchange: Exchange) -> None:
        self._authorise(exchange, "read")
        since = parse_since(parameter(exchange, "since", "30d"), self._gateway.clock.wall())
        rows = await asyncio.to_thread(self._gateway.ledger.queries.performance, since=since)
        exchange.respond(200, JSON_LINES, success([performance_view(row) for row in rows]))

    def _endpoints(self, exchange: Exchange) -> None:
        self._authorise(exchange, "read")
        exchange.respond(200, JSON_LINES, success([endpoint_view(gate) for gate in self._gateway.gates.everyone()]))

    async def _budgets(self, exchange: Exchange) -> None:
        self._authorise(exchange, "read")
        found = await asyncio.to_thread(self._gateway.budgets.status)
        exchange.respond(200, JSON_LINES, success([budget_view(status) for status in found]))

    def _page(self, exchange: Exchange) -> None:
        self._origins.check(exchange)
        _, kind = CONSOLE_FILES[exchange.path]
        exchange.respond(200, lines((b"content-type", kind), *PAGE_HEADERS[1:]), self._files[exchange.path])


class UnknownPath(CallError):
    """There is nothing at this path."""

    kind = "path"
    status = 404


class WrongMethod(CallError):
    """What is at this path takes another method: one of those in `allowed`."""

    kind = "method"
    status = 405

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


CONFIGURED_KEY = Key(id="config", name="config", created=0.0, scopes=frozenset({"call", "read", "admin"}))
"""Stands for the key that the configuration states (`server.key`)."""


def _dialect(exchange: Exchange) -> str:
    """The one that a caller under /v1 speaks: Anthropic's clients say their version with every exchange."""
    is_anthropic = b"anthropic-version" in exchange.headers or exchange.path.startswith("/v1/messages")
    return "anthropic" if is_anthropic else "openai"


def _refuse(exchange: Exchange, error: PointsmanError) -> None:
    allowed = [(b"allow", error.allowed.encode())] if isinstance(error, WrongMethod) else []
    refuse(exchange, error, _told(error, exchange), allowed)


def _told(error: PointsmanError, exchange: Exchange) -> bytes:
    """The body of an error, in the words of whoever asked."""
    door = DIALECTS[_dialect(exchange)].door if f"{exchange.path}/".startswith("/v1/") else None
    return door.encode_error(error) if door is not None else failure(error)


def _no_such_path(asked: str, paths: Collection[str]) -> str:
    """The likeliest mistake is a base URL with or without /v1, where the client wants the other."""
    end = asked.rstrip("/").rpartition("/v1")[2]
    near = [path for path in paths if path.startswith("/v1/") and end in (path, path.removeprefix("/v1"))]
    if near:
        return (
            f"There is nothing at {asked[:100]!r}; there is {near[0]}. The base URL of OpenAI's clients ends in /v1, "
            "that of Anthropic's does not."
        )
    others = sorted(path for path in paths if path.startswith("/v1/") or not asked.startswith("/v1/"))
    return f"There is nothing at {asked[:100]!r}. There are: {', '.join(others)}."


def _admission(gateway: Gateway) -> Admission:
    """Several processes share what their keys may send; each takes its part of what the server takes at once."""
    limits, workers = gateway.config.limits, gateway.config.server.workers
    if workers == 1:
        return Admission(limits, MemoryState(gateway.clock))
    return Admission(structs.replace(limits, server=max(1, limits.server // workers)), gateway.state)


def _console_file(name: str) -> bytes:
    return resources.files(__package__).joinpath("console", name).read_bytes()
