"""JSON Schemas that callers state, checked within bounds: whoever may call must not be able to stop the server.

A check runs in one go, and nothing can stop it. So what it may cost at most is counted before (`_Ways`), and what may
cost too much is not checked. Patterns run on an engine without backtracking. Nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MOST_SCHEMA: Final = 64 * 1024
"""Bytes of a schema."""
MOST_PATTERNS: Final = 20
"""In one schema: each may take some milliseconds to be compiled."""
PATTERN_SIZE: Final = 2**18
"""Bytes of a compiled pattern."""
COSTLY: Final = 3_000
"""What a pattern may cost for each character, and to divide numbers of hundreds of digits, where another keyword counts
1."""
MOST_WORK: Final = 20_000_000
"""Keywords times characters of the value: what was made to cost most takes some tenths of a second."""


def breaks(schema: bytes, value: Any, size: int) -> bool:
    """Whether a value, `size` characters of JSON, breaks a schema. False too where that cannot be told: the schema is
    none, points to somewhere else, or the check might take too long."""
    ready = _ready(schema) if len(schema) <= MOST_SCHEMA else None
    if ready is None or ready.ways(_depth(value)) * size > MOST_WORK:
        return False
    try:
        return not ready.validator.is_valid(value)
    except ValueError:  # a text with half a surrogate pair
        return False


class _Ready:
    """A schema that can be checked."""

    def __init__(self, schema: dict[str, Any], validator: Validator) -> None:
        self.validator = validator
        self._schema = schema
        self._ways: dict[int, int] = {}

    def ways(self, depth: int) -> int:
        """The most that is looked at along one path into a value of that depth; more than MOST_WORK for much more."""
        if depth not in self._ways:
            try:
                self._ways[depth] = _Ways(self._schema).of(self._schema, depth)
            except (RecursionError, _Unbounded):
                self._ways[depth] = MOST_WORK + 1
        return self._ways[depth]


@lru_cache(64)
def _ready(schema: bytes) -> _Ready | None:
    try:
        read = msgspec.json.decode(schema)
        if not isinstance(read, dict) or _patterns(read) > MOST_PATTERNS:
            return None
        from jsonschema_rs import RegexOptions, validator_for  # late: most processes see no schema

        options = RegexOptions(size_limit=PATTERN_SIZE, dfa_size_limit=2 * PATTERN_SIZE)
        validator = validator_for(read, offline=True, validate_formats=False, pattern_options=options)
    except (ValueError, RecursionError):  # jsonschema_rs.ValidationError is a ValueError, and so is msgspec's
        return None
    return _Ready(read, validator)


class _Unbounded(Exception):
    """What a check of this schema may cost cannot be told beforehand."""


class _Ways:
    """Counts for each part of a schema what is looked at along one path into a value: from one level to the next goes
    one name or index, and of `properties` only the one of that name."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[tuple[int, int], int | None] = {}
        """By part and depth; None while it is being counted."""

    def of(self, part: Any, depth: int) -> int:
        """Raises _Unbounded."""
        if not isinstance(part, dict):
            return 1 + (len(part) if isinstance(part, list) else 0)
        place = (id(part), depth)
        if place not in self._known:
            self._known[place] = None
            self._known[place] = self._count(part, depth)
        count = self._known[place]
        if count is None or count > MOST_WORK:  # it leads back to itself; or it is enough to know that it is too much
            raise _Unbounded
        return count

    def _count(self, part: dict[str, Any], depth: int) -> int:
        if not part.keys().isdisjoint(_FAR) or (part is not self._root and "$id" in part):
            raise _Unbounded
        count = 1 + sum(len(value) for value in part.values() if isinstance(value, list | dict))
        count += COSTLY * (("pattern" in part) + ("multipleOf" in part) + len(_named(part, "patternProperties")))
        count += sum(self.of(other, depth) for other in self._here(part))
        if depth > 0:
            count += max((self.of(one, depth - 1) for one in _one_below(part)), default=0)
            count += sum(self.of(one, depth - 1) for one in _all_below(part))
        return count

    def _here(self, part: dict[str, Any]) -> Iterator[Any]:
        """The parts that look at the same value."""
        if "$ref" in part:
            yield self._target(part["$ref"])
        for name in ("not", "if", "then", "else"):
            yield part.get(name)
        for name in ("allOf", "anyOf", "oneOf"):
            yield from _listed(part, name)
        for name in ("dependentSchemas", "dependentRequired", "dependencies"):
            yield from _named(part, name).values()

    def _target(self, reference: object) -> Any:
        """Of a reference within the schema. Raises _Unbounded for any other."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")) or "%" in reference:
            raise _Unbounded
        found: Any = self._root
        for step in reference.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(step)] if isinstance(found, list) else found[step]
            except (LookupError, TypeError, ValueError):
                raise _Unbounded from None
        return found


_FAR = frozenset(
    ("$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems", "$anchor", "$dynamicAnchor")
)
"""Keywords of which one cannot tell from where they stand what they look at."""


def _one_below(part: dict[str, Any]) -> Iterator[Any]:
    """The parts of which one name or index meets at most one."""
    yield from _named(part, "properties").values()
    yield from _listed(part, "prefixItems")
    yield from _listed(part, "items")


def _all_below(part: dict[str, Any]) -> Iterator[Any]:
    """The parts that may all look at the same item or field."""
    for name in ("additionalProperties", "items", "additionalItems", "contains", "propertyNames", "contentSchema"):
        yield part.get(name)
    yield from _named(part, "patternProperties").values()


def _listed(part: dict[str, Any], name: str) -> list[Any]:
    value = part.get(name)
    return value if isinstance(value, list) else []


def _named(part: dict[str, Any], name: str) -> dict[str, Any]:
    value = part.get(name)
    return value if isinstance(value, dict) else {}


def _patterns(value: Any) -> int:
    """How many a schema has, wherever they stand."""
    if isinstance(value, list):
        return sum(map(_patterns, value))
    if not isinstance(value, dict):
        return 0
    own = ("pattern" in value) + len(_named(value, "patternProperties"))
    return own + sum(map(_patterns, value.values()))


def _depth(value: Any) -> int:
    """Levels of arrays and objects within each other; 0 for a plain value."""
    depth = 0
    level = [value]
    while level := [
        item
        for one in level
        if isinstance(one, list | dict)
        for item in (one.values() if isinstance(one, dict) else one)
    ]:
        depth += 1
    return depth
