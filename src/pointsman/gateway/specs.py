"""What a configuration says, as frozen values. Every key of the YAML is a field here; nothing else is.

`yaml_file` reads a file into a `Config`; `Gateway` is made of one. What stands under a field here is its line in
docs/settings.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..core import Priority, Timeouts
from ..dialects import Quirk
from ..endpoints.pool import Balance
from ..routing import Chain

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=1000)]
Mark = Annotated[float, Meta(ge=0, le=10)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
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
    """Seconds. What a call states comes first, then what its pool does, its provider, the top of the file; in the end
    5, 30, 30 and 600."""

    connect: Seconds | None = None
    """Until the connection stands."""
    ttft: Seconds | None = None
    """Until a stream's first content: pings are none."""
    idle: Seconds | None = None
    """Between two chunks after it."""
    total: Seconds | None = None
    """The whole of a call: all its attempts, and the pauses between them."""

    @property
    def value(self) -> Timeouts:
        return Timeouts(connect=self.connect, ttft=self.ttft, idle=self.idle, total=self.total)


class LimitsSpec(Struct, frozen=True, kw_only=True):
    """How much may be sent. What is left out has no limit that we know of."""

    requests_per_minute: Count | None = None
    """Requests a minute."""
    tokens_per_minute: Count | None = None
    """Tokens a minute: of prompts and answers together."""
    requests_per_day: Count | None = None
    """Requests a day."""
    tokens_per_day: Count | None = None
    """Tokens a day."""


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
    quirks: frozenset[Quirk] | None = None
    """How it departs from its dialect: see `docs/providers.md`. The catalogue's row says, else nothing."""
    timeouts: TimeoutsSpec | None = None
    """Its own, instead of those at the top."""
    account: Name | None = None
    """Whose limits it shares: providers of one account share one bucket. Its own name where left out."""
    limits: LimitsSpec | None = None
    """What the account may send; for a free tier the catalogue's row says."""
    max_concurrent: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Calls at once for each model; it starts at 200 and adapts to 429 and 529 where left out."""
    private_network: bool = False
    """Its name may lead to an address of a private network."""
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


class MemberSpec(Struct, frozen=True, kw_only=True):
    """A member of a pool that is to get more than the others."""

    model: Name
    """A model, pool or mode."""
    weight: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Its share of the calls, where the pool's `balance` is `weighted`."""


class PoolSpec(Struct, frozen=True, kw_only=True):
    """Several models behind one name, any of which may serve."""

    members: tuple[str | MemberSpec, ...]
    """Models, pools or modes."""
    balance: Balance = "p2c"
    """Who is asked first: the better of two drawn at random (by time to the first content and calls in flight), each in
    turn, each in turn by weight, the least busy, or the fastest. Members that are out of order are passed over."""
    timeouts: TimeoutsSpec | None = None
    """For calls to this pool, instead of those of its members' providers."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its members' names, in their order."""
        return tuple(member if isinstance(member, str) else member.model for member in self.members)


class WeightsSpec(Struct, frozen=True, kw_only=True):
    """How much each thing counts, in points of quality. What is left out is as the priority has it."""

    quality: Weight | None = None
    """Of the expected quality, 0 to 1."""
    cost: Weight | None = None
    """Of the expected cost on a scale of tens: a tenth of a cent is 0.4, a dollar 1."""
    latency: Weight | None = None
    """Of the expected time on a scale of tens: 100 ms is 0.1, 100 s is 1."""
    quota: Weight | None = None
    """Of a free tier's limit that is used up."""
    shortfall: Weight | None = None
    """Of the quality that is missing to what is good enough."""
    risk: Weight | None = None
    """Of the learned router's uncertainty: standard deviations by which a model must be ahead of the one that does best
    over all prompts."""
    switch: Weight | None = None
    """Of changing the model of a conversation."""


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
    weights: WeightsSpec = WeightsSpec()
    """How much quality, cost and time count."""
    rules: Literal["bounds"] | None = None
    """Ready rules that go before the weights: `bounds` names models by the call's limits on cost and time, and puts
    some calls to several at once."""


class RouteSpec(Struct, frozen=True, kw_only=True):
    """How `auto` chooses."""

    priority: Priority | None = None
    """What counts among models that are good enough; `frugal` where left out."""
    candidates: tuple[str, ...] = ()
    """Names, with `*` as a wildcard; empty means every model there is."""
    chains: dict[str, Chain] = {}
    """By task type; each replaces the chain that ships for it."""
    weights: WeightsSpec = WeightsSpec()
    """How much quality, cost and time count."""


class LearningSpec(Struct, frozen=True, kw_only=True):
    """What is learned from calls that were graded, and by a router that `pointsman train` has fitted."""

    enabled: bool = True
    """Whether it counts, and whether what a prompt is like is recorded for it, as numbers without its text."""
    explore: Annotated[float, Meta(ge=0, le=0.5)] = 0.01
    """The share of routed calls that tries out, evenly, what may be as good as the best. It begins with the first
    grade; private calls and conversations that go on are left out."""
    spread: Annotated[float, Meta(ge=0, le=1)] = 0.25
    """How much of the uncertainty is believed when a model is drawn: 1 is Thompson sampling; with 0 for both nothing is
    tried out."""
    most_cost: Share = 0.1
    """The share of what is spent that trying out may cost."""


class RetriesSpec(Struct, frozen=True, kw_only=True):
    """A call that fails before it has begun to answer goes on to the next place at once; when all have failed, it is
    tried again after a pause."""

    attempts: Annotated[int, Meta(ge=1, le=20)] = 6
    """Attempts of one call, over all places and rounds."""
    rounds: Annotated[int, Meta(ge=0, le=10)] = 2
    """How often all places are tried again, after up to 0.5 s, 1 s, … and what the upstream's Retry-After asks for."""


class FallbackSpec(Struct, frozen=True, kw_only=True):
    """Who takes over when all that a route has chosen fails."""

    premium: tuple[str, ...] = ()
    """Models to try first, in this order."""
    speed: tuple[str, ...] = ()
    """Models to try next: fast ones."""
    research: tuple[str, ...] = ()
    """And then these."""
    any_model: bool = True
    """In the end, whatever model can serve."""
    named: bool = False
    """Also for a call that names one model or pool. Else such a call fails when those do."""


class BudgetSpec(Struct, frozen=True, kw_only=True):
    """A sum that is not overspent. Free and local models are never held up by it."""

    scope: Literal["server", "key", "user", "tag"]
    """Whose calls count."""
    usd: Dollars | DollarText
    """US dollars."""
    window: Literal["request", "day", "month"] = "month"
    """For each call, or in all for each day or month."""
    who: str = ""
    """The key's name or id, the user, or the tag. Left out: each one has this sum for itself."""
    at_limit: Literal["refuse", "free", "local"] = "refuse"
    """What then: refuse, or serve by models that cost nothing, or by those of this machine."""
    alert: tuple[Share, ...] = (0.5, 0.8, 1)
    """Shares at which to tell: in the log, and to `alerts.webhook`."""
    allow_unknown: bool = False
    """Let models through whose price is not known: they count nothing."""
    timezone: str = "UTC"
    """Where days and months begin."""


class AlertsSpec(Struct, frozen=True, kw_only=True):
    webhook: Url | None = None
    """Alerts are posted there, as JSON."""


class KeyLimitsSpec(Struct, frozen=True, kw_only=True):
    """For each virtual key that has no limits of its own."""

    requests_per_minute: Count | None = None
    """Requests a minute."""
    tokens_per_minute: Count | None = None
    """Tokens a minute: of prompts and answers together."""


class ServerLimitsSpec(Struct, frozen=True, kw_only=True):
    """What the server takes at once. Past a bound it says so at once, with a time to come back."""

    server: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096
    """Calls at once."""
    keys: KeyLimitsSpec = KeyLimitsSpec()
    """For each key."""


class LedgerSpec(Struct, frozen=True, kw_only=True):
    bodies: bool = False
    """Keep prompts and answers."""
    features: bool = True
    """Keep a prompt's feature vector (at most 256 bytes), and a hash of which conversation it is of, for replay."""


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


class DrainSpec(Struct, frozen=True, kw_only=True):
    """How `serve` ends when it is told to (SIGTERM). Ctrl-C leaves the grace out; told twice, it ends at once."""

    grace: Annotated[float, Meta(ge=0, le=3600)] = 5
    """Seconds in which it still takes calls, while `/ready` says no: load balancers need some to notice."""
    longest: Annotated[float, Meta(ge=0, le=3600)] = 60
    """Seconds after which calls that still run are broken off, with an error that says why."""


class ServerSpec(Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    """The address to listen at."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8484
    """The port; 0 takes any free one."""
    key: str | FromEnv | None = None
    """A key of your own beside those that `pointsman keys create` makes."""
    hosts: tuple[Name, ...] = ()
    """Names by which clients reach the server, beside localhost and plain addresses: a reverse proxy's, say."""
    max_body_mb: Annotated[float, Meta(gt=0, le=1024)] = 32
    """Megabytes of the largest body that is taken."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes that serve."""
    drain: DrainSpec = DrainSpec()
    """How it ends."""
    keep_alive: Annotated[float, Meta(ge=0.1, le=3600)] = 10
    """Seconds without a word after which a stream's client is sent a sign of life."""


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
    learning: LearningSpec = LearningSpec()
    """What is learned from use."""
    ledger: LedgerSpec = LedgerSpec()
    """What is kept."""
    local: LocalSpec = LocalSpec()
    """Models that this machine runs."""
    server: ServerSpec = ServerSpec()
    """What `serve` does."""
    timeouts: TimeoutsSpec = TimeoutsSpec()
    """For every call, pool and provider that states none of its own."""
    retries: RetriesSpec = RetriesSpec()
    """How often a call is tried again."""
    fallback: FallbackSpec = FallbackSpec()
    """Who takes over in the end."""
    limits: ServerLimitsSpec = ServerLimitsSpec()
    """What `serve` takes at once."""
    budgets: tuple[BudgetSpec, ...] = ()
    """Sums that are not overspent."""
    alerts: AlertsSpec = AlertsSpec()
    """Where alerts go, beside the log."""
