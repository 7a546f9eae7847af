"""A provider is data: where it is, how it is spoken to, which variable holds its key, and what it gives for nothing."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

Deployment = Literal["local", "free", "paid"]
DialectName = Literal["openai", "anthropic", "gemini", "ollama"]

Quirk = Literal["max_completion_tokens", "no_stream_options", "strict_fields", "no_message_names"]
"""Where a provider departs from its dialect:

- `max_completion_tokens`: newer models refuse `max_tokens` and want this name instead.
- `no_stream_options`: `stream_options` is refused; usage comes unasked, in the stream's last chunk.
- `strict_fields`: any field that it does not know, or not in that place, is refused with a 422.
- `no_message_names`: `name` on a message is refused.
"""


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
    price_provider: str = ""
    """Its id in the price library; '' where the library does not have it."""
    discover: str = ""
    """For a server on this machine: the path, from the base URL's host, that answers when it is there."""
    console: str = ""
    """Where a person gets a key."""

    def deployment_of(self, model_id: str) -> Deployment:
        """As the row says, but for a model that its free tier does not cover: that one is paid."""
        if self.deployment == "free" and self.free_tier is not None and not self.free_tier.includes(model_id):
            return "paid"
        return self.deployment


THIS_MACHINE = ProviderRow(name="local", title="This machine", dialect="openai", base_url="", deployment="local")
"""The models that this package runs itself, each in a process of its own. There is no URL to call beforehand."""
