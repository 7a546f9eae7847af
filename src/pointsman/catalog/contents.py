"""The catalogue: every model and provider that this package knows, read from the two files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from .cards import ModelCard, Offer
from .providers import THIS_MACHINE, ProviderRow

Niche = Literal["best", "budget", "local", "free"]


class Catalog(Struct, frozen=True, dict=True):
    """What is known of models and providers. A user's own rows are added by `with_own`."""

    models: Mapping[str, ModelCard]
    providers: Mapping[str, ProviderRow]
    specialists: Mapping[str, Mapping[Niche, tuple[str, ...]]]
    """Task → niche → model ids, the first choice first."""

    def find(self, name: str) -> ModelCard | None:
        """By our id, an alias, an endpoint ('openai/gpt-5-mini'), or a provider's own id; None when it is not known."""
        return self.models.get(name) or self._by_other_name.get(name)

    def offer(self, endpoint: str) -> Offer | None:
        """'openai/gpt-5-mini' → the provider and its id for it; None where no such provider is known.

        The model need not be in the catalogue: a provider may sell what we have never heard of.
        """
        provider, slash, model_id = endpoint.partition("/")
        if not slash or not model_id or self.provider(provider) is None:
            return None
        return Offer(provider, model_id)

    def provider(self, name: str) -> ProviderRow | None:
        """The row of that name; 'local' is this machine itself, which needs none in a file."""
        return THIS_MACHINE if name == THIS_MACHINE.name else self.providers.get(name)

    def nearest(self, name: str, n: int = 3) -> list[str]:
        """The `n` likeliest names meant, best first."""
        known = [*self.models, *self._by_other_name]
        ids: dict[str, None] = {}
        for match in get_close_matches(name.lower(), known, n=4 * n, cutoff=0.5):
            card = self.find(match)
            if card is not None:
                ids.setdefault(card.id)
        return list(ids)[:n]

    def with_own(self, models: Mapping[str, ModelCard], providers: Mapping[str, ProviderRow]) -> Catalog:
        """The same catalogue with a user's rows added; his win where a name is taken."""
        return Catalog({**self.models, **models}, {**self.providers, **providers}, self.specialists)

    @cached_property
    def _by_other_name(self) -> dict[str, ModelCard]:
        names: dict[str, ModelCard] = {}
        for card in self.models.values():
            for name in (*card.aliases, *(offer.endpoint for offer in card.served)):
                names.setdefault(name, card)
        for card in self.models.values():
            for offer in card.served:
                names.setdefault(offer.id, card)
        return names


@cache
def shipped_catalog() -> Catalog:
    """The catalogue that the package ships, read on first use and kept."""
    return read_catalog(_HERE / "models.toml", _HERE / "providers.toml")


def read_catalog(models_file: Path, providers_file: Path) -> Catalog:
    """Read both files. Raises msgspec.ValidationError for a field that is not known or not of its type."""
    models = msgspec.toml.decode(models_file.read_bytes(), type=_ModelsFile)
    providers = msgspec.toml.decode(providers_file.read_bytes(), type=_ProvidersFile)
    return Catalog(
        models={card.id: card for card in models.models},
        providers={row.name: row for row in providers.providers},
        specialists=models.specialists,
    )


_HERE = Path(__file__).parent


class _ModelsFile(Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[ModelCard, ...]
    specialists: dict[str, dict[Niche, tuple[str, ...]]]


class _ProvidersFile(Struct, frozen=True, forbid_unknown_fields=True):
    providers: tuple[ProviderRow, ...]
