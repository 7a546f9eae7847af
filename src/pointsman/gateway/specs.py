"""What a configuration says, as frozen values. Every key of the YAML is a field here; nothing else is.

`yaml_file` reads a file into a `Config`; `Gateway` is made of one. What stands under a field here is its line in
docs/settings.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..core import Priority
from ..routing import Chain

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Share = Annotated[float, Meta(ge=0, le=1)]
Mark = Annotated[float, Meta(ge=0, le=10)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
DollarText = Annotated[str, Meta(pattern=r"^\d{1,6}(\.\d+)?$", description="such as '0.15'")]
Url = Annotated[str, Meta(pattern=r"^https?://[^/\s]", description="such as 'http://127.0.0.1:9001/v1'")]
Name = Annotated[str, Meta(pattern=r"\S", description="that is not empty")]


class FromEnv(Struct, frozen=True, kw_only=True):
    """A secret that stands in the environment (or in a .env file) and not in the configuration."""

    env: Name
    """The name of the variable."""


class TimeoutsSpec(Struct, frozen=True, kw_only=True):
    """Seconds."""

    connect: Seconds = 5
    """Until the connection stands."""
    ttft: Seconds = 30
    """Until the first content."""
    idle: Seconds = 30
    """Between two chunks."""
    total: Seconds = 600
    """The whole of a reply."""


class ProviderSpec(Struct, frozen=True, kw_only=True):
    """Where models are served. A provider of the catalogue (`openai`, `groq`, …) may be named to change it."""

    dialect: Literal["openai", "anthropic", "gemini", "ollama", "simulated"] | None = None
    """How it is spoken to; the catalogue's row says, else `openai`. `simulated` is for trying."""
    base_url: Url | None = None
    """Where its API begins, such as `http://127.0.0.1:9001/v1`. Needed unless the catalogue knows the provider."""
    api_key: str | FromEnv | None = None
    """Its key: as text, or better the variable that holds it."""
    deployment: Literal["local", "free", "paid"] | None = None
    """Where it runs and who pays: this machine, a free tier, a paid API. The catalogue's row says, else `paid`."""
    headers: dict[str, str] = {}
    """Further headers for every call."""
    timeouts: TimeoutsSpec | None = None
    """Its own, instead of those at the top."""
    enabled: bool = True
    """`false` switches it off."""


class PriceSpec(Struct, frozen=True, kw_only=True):
    """US dollars per million tokens, as numbers or decimal strings. It wins over every price list."""

    input: Dollars | DollarText
    """Of a token that is read."""
    output: Dollars | DollarText
    """Of a token that is written."""
    cache_read: Dollars | DollarText | None = None
    """Of a token read from the provider's cache; `input` where left out."""
    cache_write: Dollars | DollarText | None = None
    """Of a token written to it; `input` where left out."""


class RubricSpec(Struct, frozen=True, kw_only=True):
    """0 to 10."""

    performance: Mark
    """How well it does the task."""
    speed: Mark = 5
    """How fast."""


class ModelSpec(Struct, frozen=True, kw_only=True):
    """A model by our name. What is left out comes from the catalogue, or stays unknown."""

    provider: str
    """A provider of this file or of the catalogue."""
    id: str | None = None
    """The provider's name for it; ours where it is left out."""
    context: Tokens | None = None
    """Tokens of prompt and answer together."""
    max_output: Tokens | None = None
    """Tokens of the longest answer."""
    capabilities: frozenset[Literal["tools", "json", "image", "audio", "document"]] | None = None
    """What it can take. Left out: what the catalogue says; for an unknown model nothing is ruled out."""
    price: PriceSpec | None = None
    """What it costs. An unknown price stays unknown."""
    quality: Share | None = None
    """0 to 1, over all tasks."""
    rubrics: dict[str, RubricSpec] = {}
    """By task type."""


class PoolSpec(Struct, frozen=True, kw_only=True):
    """Several models behind one name, any of which may serve."""

    members: tuple[str, ...]
    """Models, pools or modes."""
    balance: Literal["p2c", "round_robin", "least_busy", "fastest"] = "p2c"
    """Who is asked first: the better of two drawn at random (by time to the first content and calls in flight), each in
    turn, the least busy, or the fastest."""


class ModeSpec(Struct, frozen=True, kw_only=True):
    """A name for `model:` that routes: among which candidates, and with what needs."""

    candidates: tuple[str, ...] = ()
    """Names, with `*` as a wildcard; empty means every model there is."""
    priority: Priority | None = None
    """What counts among models that are good enough."""
    task: str | None = None
    """The task type, where it is always the same."""
    max_cost: Dollars | DollarText | None = None
    """US dollars a call."""
    max_latency: Seconds | None = None
    """Seconds until the answer should be whole."""
    min_quality: Share | None = None
    """0 to 1: the quality that is good enough."""
    local_only: bool = False
    """Nothing leaves this machine, whatever fails."""


class RouteSpec(Struct, frozen=True, kw_only=True):
    """How `auto` chooses."""

    priority: Priority | None = None
    """What counts among models that are good enough; `frugal` where left out."""
    candidates: tuple[str, ...] = ()
    """Names, with `*` as a wildcard; empty means every model there is."""
    chains: dict[str, Chain] = {}
    """By task type; each replaces the chain that ships for it."""


class LedgerSpec(Struct, frozen=True, kw_only=True):
    bodies: bool = False
    """Keep prompts and answers."""
    features: bool = True
    """Keep a prompt's feature vector (at most 256 bytes), for replay."""


class LocalSpec(Struct, frozen=True, kw_only=True):
    enabled: bool = True
    """`false`: run no model ourselves, look for none on this machine."""
    official_only: bool = False
    """Refuse model files whose origin is not a named author."""
    idle: Seconds = 300
    """Seconds without a call after which the model host ends."""
    threads: Annotated[int, Meta(ge=1, le=1024)] = 1
    """CPU threads a model. More than one pays only on cores that nobody else uses."""
    ollama: bool = True
    """Look for Ollama on its usual port."""


class ServerSpec(Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    """The address to listen at."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8484
    """The port; 0 takes any free one."""
    key: str | FromEnv | None = None
    """A key of your own beside those that `pointsman keys create` makes."""
    max_body_mb: Annotated[float, Meta(gt=0, le=1024)] = 32
    """Megabytes of the largest body that is taken."""


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration. Nothing in it is needed to start."""

    providers: dict[str, ProviderSpec] = {}
    """Where models are served, by name."""
    models: dict[str, ModelSpec] = {}
    """Models by the name that callers use."""
    pools: dict[str, PoolSpec] = {}
    """Several models behind one name."""
    modes: dict[str, ModeSpec] = {}
    """Names that route."""
    route: RouteSpec = RouteSpec()
    """How `auto` chooses."""
    ledger: LedgerSpec = LedgerSpec()
    """What is kept."""
    local: LocalSpec = LocalSpec()
    """Models that this machine runs."""
    server: ServerSpec = ServerSpec()
    """What `serve` does."""
    timeouts: TimeoutsSpec = TimeoutsSpec()
    """For every provider that states none of its own."""
