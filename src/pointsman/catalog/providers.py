"""A provider is data: where it is, how it is spoken to, which variable holds its key, and what it gives for nothing."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from ..dialects import Quirk

Deployment = Literal["local", "free", "paid"]
DialectName = Literal["openai", "anthropic", "gemini", "ollama"]


class FreeTier(Struct, frozen=True, forbid_unknown_fields=True):
    """What a provider gives for nothing. None means that the limit is not known, not that there is none."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    covers: tuple[str, ...] = ("*",)
    """Shell-style patterns of the provider's model ids."""

    def includes(self, model_id: str) -> bool:
        return any(fnmatchcase(model_id, pattern) for pattern in self.covers)


class ModelQuirks(Struct, frozen=True, forbid_unknown_fields=True):
    """How some of a provider's models depart from its dialect, beyond what all of them do."""

    models: tuple[str, ...]
    """Shell-style patterns of the provider's model ids, so that one which comes out tomorrow is covered too."""
    quirks: frozenset[Quirk] = frozenset()

    def covers(self, model_id: str) -> bool:
        return any(fnmatchcase(model_id, pattern) for pattern in self.models)


class ProviderRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One provider. A user's own is a row too, made from three lines of configuration."""

    name: str
    title: str = ""
    """The name for people."""
    dialect: DialectName
    base_url: str
    key_env: tuple[str, ...] = ()
    """Variables that may hold the key: the first one set wins. () for a server that needs none."""
    deployment: Deployment = "paid"
    """What its endpoints are unless the user says otherwise. 'free' holds for what the free tier covers."""
    free_tier: FreeTier | None = None
    quirks: frozenset[Quirk] = frozenset()
    """How all of its models depart from its dialect."""
    model_quirks: tuple[ModelQuirks, ...] = ()
    """What else some of them do: the first that covers a model counts, and no other."""
    price_provider: str = ""
    """Its id in the price library; '' where the library does not have it."""
    discover: str = ""
    """For a server on this machine: the path, from the base URL's host, that answers when it is there."""
    console: str = ""
    """Where a person gets a key."""

    def quirks_of(self, model_id: str) -> frozenset[Quirk]:
        own = next((each.quirks for each in self.model_quirks if each.covers(model_id)), frozenset[Quirk]())
        return self.quirks | own

    def deployment_of(self, model_id: str) -> Deployment:
        """As the row says, but for a model that its free tier does not cover: that one is paid."""
        if self.deployment == "free" and self.free_tier is not None and not self.free_tier.includes(model_id):
            return "paid"
        return self.deployment


THIS_MACHINE = ProviderRow(name="local", title="This machine", dialect="openai", base_url="", deployment="local")
"""The models that this package runs itself, each in a process of its own. There is no URL to call beforehand."""
