"""Who may serve: every model that can be named here, with all that is known of it and why it cannot serve now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from urllib.parse import urlsplit

from msgspec import Struct

from ..catalog import (
    FREE,
    Catalog,
    Deployment,
    ModelCard,
    Offer,
    Price,
    PriceBook,
    ProviderRow,
    Quote,
)
from ..core import ConfigError
from ..dialects import Quirk
from ..routing import TASKS, Candidate, Rubric
from .environment import THIS_MACHINE, Environment
from .specs import Config, ModelSpec, ProviderSpec

LOCAL = "local"
"""The provider that is this machine: models that we run ourselves."""


class Provider(Struct, frozen=True):
    """A provider as configured: its row of the catalogue, changed by the user's own words, and its key."""

    name: str
    dialect: str
    base_url: str
    row: ProviderRow | None
    spec: ProviderSpec
    key: str
    unavailable: str = ""
    """Why it cannot serve; '' when it can, as far as we know without asking it."""
    proxy: str = ""
    """The URL of the proxy through which it is reached; '' for none."""

    def deployment_of(self, model_id: str) -> Deployment:
        if self.spec.deployment is not None:
            return self.spec.deployment
        if self.row is None:
            return "paid"
        stated = self.row.deployment_of(model_id)
        # Ollama and its like on another machine cost nothing, but what is sent there has left this one.
        return "free" if stated == "local" and not self.is_on_this_machine else stated

    def quirks_of(self, model_id: str) -> frozenset[Quirk]:
        """What the user states; else what the catalogue's row does, as long as it is spoken to as the row says."""
        if self.spec.quirks is not None:
            return self.spec.quirks
        if self.row is None or self.dialect != self.row.dialect:
            return frozenset()
        return self.row.quirks_of(model_id)

    @property
    def is_on_this_machine(self) -> bool:
        return (urlsplit(self.base_url).hostname or "") in THIS_MACHINE


class Model(Struct, frozen=True):
    """A model at one endpoint, by the name that callers use."""

    name: str
    endpoint: str
    provider: str
    id: str
    """The provider's own name for it."""
    deployment: Deployment
    card: ModelCard | None
    quote: Quote
    candidate: Candidate
    quirks: frozenset[Quirk] = frozenset()
    """How the provider departs from its dialect for this model."""

    @property
    def unavailable(self) -> str:
        return self.candidate.unavailable

    @property
    def is_legacy(self) -> bool:
        """Superseded: it serves who names it, and is never chosen unasked."""
        return self.card is not None and self.card.legacy


class Roster:
    """Finds models by name. `local` maps the ids of pulled models to the context that each is run with."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        prices: PriceBook,
        environment: Environment,
        *,
        local: Callable[[], Mapping[str, int]],
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._prices = prices
        self._environment = environment
        self._local = local
        self._ollama: tuple[str, ...] = ()
        self._made: dict[tuple[str, str], Model] = {}
        """By name and endpoint, as they were made last: of most nothing has changed."""
        names = [name for name in (*catalog.providers, *config.providers) if name != LOCAL]
        self._providers = {name: self._provider(name) for name in names}

    @property
    def providers(self) -> Mapping[str, Provider]:
        return self._providers

    def found_ollama(self, models: Sequence[str]) -> None:
        """The models that the Ollama of this machine offers now."""
        self._ollama = tuple(models)

    def find(self, name: str) -> Model | None:
        """A model of the configuration, of the catalogue, or `provider/anything`; None when there is no such name."""
        if name in self._config.models:
            return self._configured(name, self._config.models[name])
        if name.startswith(f"{LOCAL}/"):
            return self._local_model(name, self._local())
        provider, _, model_id = name.partition("/")
        if model_id and provider in self._providers:
            return self._served(name, self._providers[provider], model_id, self._catalog.find(name))
        card = self._catalog.find(name)
        if card is None or card.id.startswith(f"{LOCAL}/"):
            return None
        return self._from_card(card)

    def everyone(self) -> Iterator[Model]:
        """Every model that has a name here, whether it can serve or not, each name once: those of the configuration,
        then local ones, Ollama's, the catalogue's."""
        seen: set[str] = set()
        for model in self._all():
            if model.name not in seen:
                seen.add(model.name)
                yield model

    def _all(self) -> Iterator[Model]:
        for name, spec in self._config.models.items():
            yield self._configured(name, spec)
        contexts = self._local()
        for card in self._catalog.models.values():
            if card.id.startswith(f"{LOCAL}/"):
                yield self._local_model(card.id, contexts)
        for tag in self._ollama:
            name = f"ollama/{tag}"
            yield self._served(name, self._providers["ollama"], tag, self._catalog.find(name))
        for card in self._catalog.models.values():
            if card.kind == "chat" and card.served and (model := self._from_card(card)) is not None:
                yield model

    def _provider(self, name: str) -> Provider:
        row = self._catalog.providers.get(name)
        spec = self._config.providers.get(name, ProviderSpec())
        dialect = spec.dialect or (row.dialect if row else "openai")
        base_url = spec.base_url or (row.base_url if row else "")
        if not base_url and dialect != "simulated":
            raise ConfigError(f"The provider {name!r} needs a `base_url`, such as 'http://127.0.0.1:9001/v1'.")
        key, unavailable = self._key(name, row, spec)
        if not spec.enabled:
            unavailable = "is switched off in the configuration"
        return Provider(name, dialect, base_url, row, spec, key, unavailable, self._environment.proxy_for(base_url))

    def _key(self, name: str, row: ProviderRow | None, spec: ProviderSpec) -> tuple[str, str]:
        if spec.api_key is not None:
            return self._environment.secret(spec.api_key, where=f"providers.{name}.api_key"), ""
        if row is None or not row.key_env:
            return "", ""
        found = self._environment.first(row.key_env)
        return (found[1], "") if found else ("", f"has no key: set {row.key_env[0]}")

    def _configured(self, name: str, spec: ModelSpec) -> Model:
        model_id = spec.id or name
        provider = self._providers[spec.provider]
        endpoint = f"{provider.name}/{model_id}"
        card = self._catalog.find(endpoint) or self._catalog.find(name)
        return self._served(name, provider, model_id, card, spec)

    def _from_card(self, card: ModelCard) -> Model | None:
        """At the first provider of the card that can serve; else at its first one, with the reason."""
        offers = [offer for offer in card.served if offer.provider in self._providers]
        if not offers:
            return None
        offer = next((o for o in offers if not self._unavailable(o)), offers[0])
        return self._served(card.id, self._providers[offer.provider], offer.id, card)

    def _unavailable(self, offer: Offer) -> str:
        provider = self._providers[offer.provider]
        if provider.unavailable:
            return provider.unavailable
        if provider.name == "ollama" and offer.id not in self._ollama:
            return "is not among Ollama's models"
        if provider.deployment_of(offer.id) == "local" and provider.name not in self._config.providers:
            # Servers that may or may not run on this machine count once the user has named them.
            return "" if provider.name == "ollama" else f"needs {provider.name} in the configuration"
        return ""

    def _served(
        self, name: str, provider: Provider, model_id: str, card: ModelCard | None, spec: ModelSpec | None = None
    ) -> Model:
        deployment = provider.deployment_of(model_id)
        quote = self._quote(provider, model_id, deployment, spec)
        context = spec.context if spec and spec.context else self._context(provider, model_id, card)
        unavailable = self._unavailable(Offer(provider.name, model_id)) if spec is None else provider.unavailable
        endpoint = f"{provider.name}/{model_id}"
        made = self._made.get((name, endpoint))
        if made is not None and made.quote == quote and made.candidate.unavailable == unavailable:
            return made
        made = Model(
            name=name,
            endpoint=endpoint,
            provider=provider.name,
            id=model_id,
            deployment=deployment,
            card=card,
            quote=quote,
            candidate=_candidate(name, deployment, card, spec, context, quote.charged, unavailable),
            quirks=provider.quirks_of(model_id),
        )
        if len(self._made) >= MOST_MADE:
            self._made.clear()
        self._made[name, endpoint] = made
        return made

    def _context(self, provider: Provider, model_id: str, card: ModelCard | None) -> int | None:
        """The smaller of what the model has and what this provider gives it."""
        if provider.name == "ollama":
            return OLLAMA_CONTEXT
        known = (card and card.context, self._prices.context(provider.name, model_id))
        return min((context for context in known if context), default=None)

    def _quote(self, provider: Provider, model_id: str, deployment: Deployment, spec: ModelSpec | None) -> Quote:
        if spec is not None and spec.price is not None:
            own = Price.per_mtok(
                **{
                    bucket: str(amount)
                    for bucket in ("input", "output", "cache_read", "cache_write")
                    if (amount := getattr(spec.price, bucket)) is not None
                }
            )
            return Quote(own, own)
        if deployment == "local":
            return Quote(FREE, None)
        if provider.row is None:
            listed = self._prices.price(provider.name, model_id)
            return Quote(listed if deployment == "paid" else FREE, listed)
        return self._prices.quote(provider.row, model_id, deployment=deployment)

    def _local_model(self, name: str, contexts: Mapping[str, int]) -> Model:
        model_id = name.removeprefix(f"{LOCAL}/")
        card = self._catalog.models.get(name)
        if not self._config.local.enabled:
            unavailable = "is switched off (`local.enabled`)"
        elif find_spec("xllamacpp") is None:
            unavailable = 'needs the engine: pip install "pointsman[local]"'
        elif model_id not in contexts:
            unavailable = f"is not here yet: pointsman models pull {model_id}"
        else:
            unavailable = ""
        context = contexts.get(model_id) or (card.context if card else None)
        return Model(
            name=name,
            endpoint=name,
            provider=LOCAL,
            id=model_id,
            deployment="local",
            card=card,
            quote=Quote(FREE, None),
            candidate=_candidate(name, "local", card, None, context, FREE, unavailable),
        )


MOST_MADE = 1_000
"""Models that are kept ready: their names may come from callers."""
OLLAMA_CONTEXT = 4096
"""What Ollama gives a model unless it is told otherwise. It cuts longer prompts without a word, so none is sent."""


def _candidate(
    name: str,
    deployment: Deployment,
    card: ModelCard | None,
    spec: ModelSpec | None,
    context: int | None,
    price: Price | None,
    unavailable: str,
) -> Candidate:
    quality = spec.quality if spec and spec.quality is not None else None
    if quality is None and card is not None and card.profile is not None:
        quality = card.profile.quality / 5
    rubrics = {} if card is None else _rubrics(card)
    if spec is not None:
        rubrics |= {task: Rubric(rubric.performance, rubric.speed) for task, rubric in spec.rubrics.items()}
    latency = card.profile.latency if card is not None and card.profile is not None else None
    return Candidate(
        name=name,
        deployment=deployment,
        context=context,
        max_output=(spec and spec.max_output) or (card and card.max_output) or None,
        capabilities=_capabilities(card, spec),
        input_price=price.input if price else None,
        output_price=price.output if price else None,
        cached_price=price.cache_read if price else None,
        quality=quality,
        rubrics=rubrics,
        ttft=sum(latency) / 2000 if latency else None,
        unavailable=unavailable,
    )


def _rubrics(card: ModelCard) -> dict[str, Rubric]:
    marks = ((task, card.rubric(task)) for task in TASKS)
    return {task: Rubric(mark.performance, mark.speed) for task, mark in marks if mark is not None}


def _capabilities(card: ModelCard | None, spec: ModelSpec | None) -> frozenset[str] | None:
    if spec is not None and spec.capabilities is not None:
        return frozenset(spec.capabilities)
    if card is None:
        return None
    sees = {"image", "document"} if "image" in card.inputs else set()
    return frozenset(sees | (card.inputs & {"audio"}) | (card.capabilities & {"tools", "json"}))
