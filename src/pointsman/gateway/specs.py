"""What a configuration says, as frozen values. Every key of the YAML is a field here; nothing else is.

`yaml_file` reads a file into a `Config`; `build` makes a gateway of one.
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


class TimeoutsSpec(Struct, frozen=True, kw_only=True):
    """Seconds."""

    connect: Seconds = 5
    ttft: Seconds = 30
    """Until the first content."""
    idle: Seconds = 30
    """Between two chunks."""
    total: Seconds = 600


class ProviderSpec(Struct, frozen=True, kw_only=True):
    """Where models are served. A provider of the catalogue (`openai`, `groq`, …) may be named to change it."""

    dialect: Literal["openai", "anthropic", "gemini", "ollama", "simulated"] | None = None
    base_url: Url | None = None
    api_key: str | FromEnv | None = None
    deployment: Literal["local", "free", "paid"] | None = None
    headers: dict[str, str] = {}
    timeouts: TimeoutsSpec | None = None
    enabled: bool = True


class PriceSpec(Struct, frozen=True, kw_only=True):
    """US dollars per million tokens, as numbers or decimal strings. It wins over every price list."""

    input: Dollars | DollarText
    output: Dollars | DollarText
    cache_read: Dollars | DollarText | None = None
    cache_write: Dollars | DollarText | None = None


class RubricSpec(Struct, frozen=True, kw_only=True):
    """0 to 10."""

    performance: Mark
    speed: Mark = 5


class ModelSpec(Struct, frozen=True, kw_only=True):
    """A model by our name. What is left out comes from the catalogue, or stays unknown."""

    provider: str
    id: str | None = None
    """The provider's name for it; ours where it is left out."""
    context: Tokens | None = None
    max_output: Tokens | None = None
    capabilities: frozenset[Literal["tools", "json", "image", "audio", "document"]] | None = None
    price: PriceSpec | None = None
    quality: Share | None = None
    """0 to 1."""
    rubrics: dict[str, RubricSpec] = {}


class PoolSpec(Struct, frozen=True, kw_only=True):
    """Several models behind one name, any of which may serve."""

    members: tuple[str, ...]
    balance: Literal["p2c", "round_robin", "least_busy", "fastest"] = "p2c"


class ModeSpec(Struct, frozen=True, kw_only=True):
    """A name for `model:` that routes: among which candidates, and with what needs."""

    candidates: tuple[str, ...] = ()
    """Names, with `*` as a wildcard; empty means every model there is."""
    priority: Priority | None = None
    task: str | None = None
    max_cost: Dollars | DollarText | None = None
    """US dollars a call."""
    max_latency: Seconds | None = None
    """Seconds."""
    min_quality: Share | None = None
    local_only: bool = False


class RouteSpec(Struct, frozen=True, kw_only=True):
    """How `auto` chooses."""

    priority: Priority | None = None
    """None: `frugal`."""
    candidates: tuple[str, ...] = ()
    chains: dict[str, Chain] = {}
    """By task type; each replaces the chain that ships for it."""


class LedgerSpec(Struct, frozen=True, kw_only=True):
    bodies: bool = False
    """Keep prompts and answers."""
    features: bool = True
    """Keep a prompt's feature vector (at most 256 bytes), for replay."""


class LocalSpec(Struct, frozen=True, kw_only=True):
    enabled: bool = True
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
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8484
    key: str | FromEnv | None = None
    """A key of your own beside those that `pointsman keys create` makes."""
    max_body_mb: Annotated[float, Meta(gt=0, le=1024)] = 32


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration. Nothing in it is needed to start."""

    providers: dict[str, ProviderSpec] = {}
    models: dict[str, ModelSpec] = {}
    pools: dict[str, PoolSpec] = {}
    modes: dict[str, ModeSpec] = {}
    route: RouteSpec = RouteSpec()
    ledger: LedgerSpec = LedgerSpec()
    local: LocalSpec = LocalSpec()
    server: ServerSpec = ServerSpec()
    timeouts: TimeoutsSpec = TimeoutsSpec()
