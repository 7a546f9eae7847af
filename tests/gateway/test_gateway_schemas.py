"""Schemas of callers, checked within bounds: those that are harmless, and those that were made to do harm."""

from __future__ import annotations

import json
import socket
import sys
import time
from contextlib import closing
from typing import Any

import pytest

from pointsman.gateway.schemas import breaks

LIMIT = 10.0
"""Seconds of this thread, whatever else the machine does. A check takes some tens of milliseconds at most; those below
would take minutes, or for ever."""

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "pattern": "^[a-z]+$"},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "right": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}


def is_broken(schema: Any, value: Any) -> bool:
    text = json.dumps(value)
    began = time.thread_time()
    found = breaks(json.dumps(schema).encode(), value, len(text))
    assert time.thread_time() - began < LIMIT
    return found


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, 7, 7.5),
        ({"enum": ["a", "b"]}, "a", "c"),
        ({"items": {"type": "integer"}}, [1, 2], [1, "2"]),
        ({"prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2, 3], [1, 3]),
        ({"properties": {"$id": {"type": "string"}}, "additionalProperties": False}, {"$id": "x"}, {"id": "x"}),
        ({"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$"}, "a-b-1", "a--b"),
        ({"patternProperties": {"^x-": {"type": "string"}}}, {"x-a": "b", "y": 1}, {"x-a": 1}),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {"a": 1, "b": 2}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"const": 1}]}, [1], [2]),
        ({"properties": {"a/b": {"type": "null"}}, "items": {"$ref": "#/properties/a~1b"}}, [None], [1]),
        (TREE, {"name": "a", "left": {"name": "b", "left": None}}, {"name": "a", "right": {"left": None}}),
    ],
)
def test_a_value_is_held_against_its_schema(schema: Any, good: Any, bad: Any) -> None:
    """Whoever asks for data would get something else, and the router would not know."""
    assert not is_broken(schema, good)
    assert is_broken(schema, bad)


def test_a_deep_tree_is_checked() -> None:
    """Schemas that speak of themselves, as those of trees do, would count for nothing."""
    tree: dict[str, Any] = {"name": "a"}
    for _ in range(20):
        tree = {"name": "a", "left": tree, "right": {"name": "b"}}
    assert not is_broken(TREE, tree)
    tree["right"] = {"name": "B"}
    assert is_broken(TREE, tree)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nope"},
        {"type": 7},
        [],
        "string",
        {"pattern": "("},
        {"required": "a"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#missing"},
        {"$ref": 7},
        {"$schema": "http://127.0.0.1:1/schema", "type": "string"},
        {"$schema": 5, "type": "string"},
        {"pattern": "(?=a)b"},
        {"allOf": [{"type": "string"}] * 40_000},
    ],
)
def test_a_schema_that_is_none_tells_nothing(schema: Any) -> None:
    """A caller's slip would be held against each model that he asks."""
    assert not is_broken(schema, {"a": [1, 2]})


@pytest.mark.parametrize(
    "schema", [b"", b"{", b"\xff", b"[" * 50_000, b'{"items":' * 300 + b"{}" + b"}" * 300, b'{"type": NaN}']
)
def test_bytes_that_are_no_schema_tell_nothing(schema: bytes) -> None:
    """One call could end what looks at the answers of all others."""
    assert not breaks(schema, [1], 3)


def doubling(levels: int) -> dict[str, Any]:
    """Of which each level is looked at twice."""
    parts: dict[str, Any] = {f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(levels)}
    return {"$defs": {**parts, f"a{levels}": {"type": "string"}}, "$ref": "#/$defs/a0"}


NESTED: Any = 1
for _ in range(150):
    NESTED = {"a": NESTED}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (doubling(60), 1),
        ({"$ref": "#"}, 1),
        ({"allOf": [{"$ref": "#"}, {"type": "string"}]}, 1),
        ({"properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}, "type": "object"}, NESTED),
        ({"additionalProperties": {"$ref": "#"}, "patternProperties": {"": {"$ref": "#"}}, "minimum": 2}, NESTED),
        ({"$recursiveAnchor": True, "properties": {"a": {"$recursiveRef": "#"}}, "type": "object"}, NESTED),
        ({"type": "string", "pattern": "[01]*1[01]{2000}2"}, "01101" * 40_000),
        ({"type": "string", "pattern": "^([01]{1,30}1){30}2"}, "01101" * 40_000),
        ({"items": {"pattern": "[01]*1[01]{200}2"}}, ["01101" * 400] * 100),
        ({"patternProperties": {"[01]*1[01]{200}2": {}, "x{3,7}": False}}, {"01101" * 40_000: 1}),
        ({"anyOf": [{"pattern": f"(?:.{{0,{n}}}a){{0,50}}b"} for n in range(400)]}, "c"),
        ({"items": {"enum": list(range(9000))}}, [-1] * 50_000),
        ({"unevaluatedProperties": {"$ref": "#"}, "allOf": [{"$ref": "#/unevaluatedProperties"}]}, NESTED),
    ],
)
def test_a_schema_that_would_take_for_ever_is_not_checked(schema: Any, value: Any) -> None:
    """Whoever has a key could stop the server for everybody."""
    assert not is_broken(schema, value)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(x+x+)+y", "^(a|aa)+$", "(.*a){20}b"])
def test_patterns_that_stop_other_engines_are_checked(pattern: str) -> None:
    """The usual trap: some dozens of characters, and minutes."""
    assert is_broken({"type": "string", "pattern": pattern}, "a" * 2000 + "!")


@pytest.mark.parametrize("place", ["$ref", "$schema", "$id", "$dynamicRef", "items"])
def test_nothing_is_fetched_for_a_schema(place: str) -> None:
    """A caller could let the server ask what only the server can reach."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(0.05)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema"
        schema = {"items": {"$ref": url}} if place == "items" else {place: url, "items": {"$ref": "other"}}
        assert not is_broken(schema, [1])
        with pytest.raises(TimeoutError):
            listener.accept()


def test_nothing_is_read_from_this_machine_for_a_schema() -> None:
    """A caller could find out what lies on the disk."""
    assert not is_broken({"$ref": f"file://{sys.executable}"}, 1)
