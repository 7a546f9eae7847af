"""The price library in our own types: what it knows of each provider's models, and how it finds them by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Literal

import msgspec
import xxhash
from msgspec import Raw, Struct, structs

Bucket = Literal["input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning"]


class Equals(Struct, frozen=True, array_like=True, tag="eq"):
    text: str

    def matches(self, name: str) -> bool:
        return name == self.text


class StartsWith(Struct, frozen=True, array_like=True, tag="start"):
    text: str

    def matches(self, name: str) -> bool:
        return name.startswith(self.text)


class EndsWith(Struct, frozen=True, array_like=True, tag="end"):
    text: str

    def matches(self, name: str) -> bool:
        return name.endswith(self.text)


class Contains(Struct, frozen=True, array_like=True, tag="in"):
    text: str

    def matches(self, name: str) -> bool:
        return self.text in name


class Regex(Struct, frozen=True, array_like=True, tag="re"):
    pattern: str

    def matches(self, name: str) -> bool:
        return re.search(self.pattern, name) is not None


class AnyOf(Struct, frozen=True, array_like=True, tag="or"):
    clauses: tuple[Clause, ...]

    def matches(self, name: str) -> bool:
        return any(clause.matches(name) for clause in self.clauses)


class AllOf(Struct, frozen=True, array_like=True, tag="and"):
    clauses: tuple[Clause, ...]

    def matches(self, name: str) -> bool:
        return all(clause.matches(name) for clause in self.clauses)


Clause = Equals | StartsWith | EndsWith | Contains | Regex | AnyOf | AllOf
"""Says which names mean a model. Texts and names are in lower case."""


class Rate(Struct, frozen=True, array_like=True):
    """Nano-dollars per million tokens, and what they become above a length of the prompt: (tokens, rate), ascending."""

    base: int
    above: tuple[tuple[int, int], ...] = ()


class Rule(Struct, frozen=True, array_like=True):
    """Rates, and when they hold: from the minute `since` (since 1970, UTC), or daily between two minutes of the day."""

    rates: dict[Bucket, Rate]
    call: int | None = None
    since: int | None = None
    daily: tuple[int, int] | None = None
    service_tier: str = ""

    def holds(self, minute: int) -> bool:
        if self.since is not None:
            return minute >= self.since
        if self.daily is None:
            return True
        start, end = self.daily
        now = minute % MINUTES_A_DAY
        return start <= now < end if start <= end else now >= start or now < end


class LibraryModel(Struct, frozen=True, array_like=True):
    id: str
    name: str
    match: Clause
    context: int | None
    rules: tuple[Rule, ...]
    """The last that holds is the standard price; the first, where none does."""
    variants: tuple[Rule, ...]
    """Prices of other service tiers. The first that holds wins, bucket by bucket."""
    left_out: tuple[str, ...]
    """Units of the library that a Usage cannot count: hours of audio, searches, pages, …"""


class LibraryProvider(Struct, frozen=True, array_like=True):
    id: str
    fallbacks: tuple[str, ...]
    """Providers whose prices hold for what this one only resells."""
    models: tuple[LibraryModel, ...]

    def find(self, name: str) -> LibraryModel | None:
        return next((model for model in self.models if model.match.matches(name)), None)


class Snapshot:
    """All that the library knows. A provider is decoded when first asked for: most processes need two or three."""

    def __init__(self, providers: dict[str, Raw]) -> None:
        self._raw = providers
        self._decoded: dict[str, LibraryProvider] = {}

    def find(self, provider_id: str, model_id: str) -> LibraryModel | None:
        """The model that the library means by this name at this provider, as the library itself would find it."""
        provider = self._provider(provider_id)
        if provider is None:
            return None
        name = model_id.lower()
        found = self._find(provider, name)
        dashed = _dashed_date(name)
        return self._find(provider, dashed) if found is None and dashed != name else found

    def providers(self) -> Iterator[LibraryProvider]:
        """Every provider, decoded for the occasion and not kept."""
        return (_PROVIDER.decode(raw) for raw in self._raw.values())

    def _find(self, provider: LibraryProvider, name: str) -> LibraryModel | None:
        for candidate in (provider, *map(self._provider, provider.fallbacks)):
            model = None if candidate is None else candidate.find(name)
            if model is not None:
                # What is only resold has no service tiers of its own: the library says so too.
                return model if candidate is provider else structs.replace(model, variants=())
        return None

    def _provider(self, provider_id: str) -> LibraryProvider | None:
        if provider_id not in self._decoded and provider_id in self._raw:
            self._decoded[provider_id] = _PROVIDER.decode(self._raw[provider_id])
        return self._decoded.get(provider_id)


def pack(providers: dict[str, LibraryProvider]) -> bytes:
    """The file's content: a mark of its format, a checksum, and the providers, each packed by itself."""
    body = msgspec.msgpack.encode({key: Raw(msgspec.msgpack.encode(value)) for key, value in providers.items()})
    return _MARK + xxhash.xxh3_64_digest(body) + body


def unpack(data: bytes) -> Snapshot | None:
    """None where `data` is not what `pack` made, whole."""
    mark, checksum, body = data[:8], data[8:16], data[16:]
    if mark != _MARK or checksum != xxhash.xxh3_64_digest(body):
        return None
    return Snapshot(msgspec.msgpack.decode(body, type=dict[str, Raw]))


MINUTES_A_DAY = 24 * 60

_MARK = b"pmprice1"
_PROVIDER = msgspec.msgpack.Decoder(LibraryProvider)
_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)(?=[-:]|$)")


def _dashed_date(name: str) -> str:
    """'gpt-5.2-20251211' → 'gpt-5.2-2025-12-11': aggregators write the date so, price lists with dashes."""

    def dashed(match: re.Match[str]) -> str:
        year, month, day = match.groups()
        try:
            return f"-{date(int(year), int(month), int(day)).isoformat()}"
        except ValueError:
            return match.group()

    return _COMPACT_DATE.sub(dashed, name)
