"""A YAML file → a frozen Struct, with file, line and the likely spelling in every complaint.

Only the plain part of YAML is read: scalars, lists, maps. Tags (`!!python…`), merge keys and aliases that unfold to
more than they are (the "billion laughs") are refused.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from ..core import ConfigError

MAX_NODES = 50_000
MAX_DEPTH = 50
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))

S = TypeVar("S", bound=msgspec.Struct)
Where = tuple[str | int, ...]


def load(path: Path, kind: type[S]) -> tuple[S, Lines]:
    """Read a YAML file.

    Raises ConfigError with file and line for what is no YAML, for an unknown key (with the likely spelling) and for a
    value of the wrong type.
    """
    return parse(_text_of(path), kind, file=str(path))


def load_list(path: Path, kind: type[S]) -> tuple[tuple[S, ...], Lines]:
    """As `load`, for a file that is a list of maps. The first step of each path is the place in the list, from 0."""
    lines = Lines(str(path))
    data = _Reader(lines).read(_text_of(path))
    if not isinstance(data, list):
        raise lines.error((), f"Here stands {_word(data)}, and a list is needed.")
    typer = _Typer(lines)
    return tuple(typer.struct(item, kind, (place,)) for place, item in enumerate(data)), lines


def parse(text: str, kind: type[S], *, file: str) -> tuple[S, Lines]:
    """As `load`, from text; `file` is the name for messages."""
    lines = Lines(file)
    data = _Reader(lines).read(text)
    return _Typer(lines).struct({} if data is None else data, kind, ()), lines


def _text_of(path: Path) -> str:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError("There is no such file. `--config FILE` names another.", file=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file cannot be read: {error}.", file=str(path)) from None
    return text


class Lines:
    """Where each path of a file stands, for complaints that come after reading (an unknown name, a cycle)."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._lines: dict[Where, int] = {}

    def put(self, where: Where, line: int) -> None:
        self._lines.setdefault(where, line)

    def of(self, where: Where) -> int | None:
        """The line (from 1) of a path, or of the nearest part of it that stands in the file."""
        while where and where not in self._lines:
            where = where[:-1]
        return self._lines.get(where)

    def error(self, where: Where, message: str) -> ConfigError:
        at = f"`{'.'.join(str(part) for part in where)}`: " if where else ""
        return ConfigError(at + message, file=self.file, line=self.of(where))


class _Reader:
    """Text → plain data. The line of each path goes to `lines`."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._nodes = 0

    def read(self, text: str) -> Any:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            self._measure(yaml.parse(text, Loader=loader))
            node = yaml.compose(text, Loader=loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            raise ConfigError(f"This is not YAML: {error.problem}.", file=self._lines.file, line=line) from None
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"This is not YAML: {reason}.", file=self._lines.file) from None
        return None if node is None else self._plain(node, ())

    def _measure(self, events: Iterable[yaml.Event]) -> None:
        """Refuse what is nested too deep before it is composed: libyaml's composer recurses, and would crash."""
        depth = 0
        for event in events:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise self._too_much(event.start_mark.line + 1 if event.start_mark else 1)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    def _too_much(self, line: int) -> ConfigError:
        return ConfigError("This unfolds to more than a configuration can be.", file=self._lines.file, line=line)

    def _plain(self, node: yaml.Node, where: Where) -> Any:
        line = node.start_mark.line + 1
        self._lines.put(where, line)
        self._nodes += 1
        if self._nodes > MAX_NODES or len(where) > MAX_DEPTH:
            raise self._too_much(line)
        self._refuse_tag(node)
        if isinstance(node, yaml.MappingNode):
            return self._map(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*where, index)) for index, item in enumerate(node.value)]
        try:
            return yaml.SafeLoader("").construct_object(node)
        # What PyYAML's constructors raise for text that is not what its tag says: `!!int ""`, `!!bool maybe`.
        except (ValueError, LookupError, yaml.YAMLError):
            kind = node.tag.rpartition(":")[2]
            message = f"{_short(node.value)} cannot be read as {kind}: write it in quotes if it is text."
            raise ConfigError(message, file=self._lines.file, line=line) from None

    def _refuse_tag(self, node: yaml.Node) -> None:
        if node.tag not in PLAIN_TAGS:
            message = f"The tag {node.tag!r} is not read: write plain values, and text such as a date in quotes."
            raise ConfigError(message, file=self._lines.file, line=node.start_mark.line + 1)

    def _map(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("A key must be a word.", file=self._lines.file, line=line)
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise ConfigError("Merge keys (`<<`) are not read: write it out.", file=self._lines.file, line=line)
            self._refuse_tag(key_node)
            key = str(key_node.value)
            if key in plain:
                raise ConfigError(f"The key {key!r} stands here twice.", file=self._lines.file, line=line)
            self._lines.put((*where, key), line)
            plain[key] = self._plain(value_node, (*where, key))
        return plain


class _Typer:
    """Plain data → frozen Structs, going down type and data together, so that every complaint knows its place."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def struct(self, data: Any, kind: type[S], where: Where) -> S:
        if not isinstance(data, dict):
            raise self._lines.error(where, f"Here stands {_word(data)}, and a map is needed.")
        hints, required = _fields(kind)
        for key in data:
            if key not in hints:
                raise self._lines.error((*where, key), f"There is no such key.{_likely(key, hints)}")
        for name in required:
            if name not in data:
                raise self._lines.error(where, f"The key {name!r} is missing.")
        return kind(**{key: self.value(item, hints[key], (*where, key)) for key, item in data.items()})

    def value(self, data: Any, kind: Any, where: Where) -> Any:
        options = _options(kind)
        for option in options:
            origin = get_origin(option)
            if isinstance(option, type) and issubclass(option, msgspec.Struct) and isinstance(data, dict):
                return self.struct(data, option, where)
            if origin is dict and isinstance(data, dict):
                inner = get_args(option)[1]
                return {key: self.value(item, inner, (*where, key)) for key, item in data.items()}
            if origin in (tuple, frozenset) and isinstance(data, list):
                inner = get_args(option)[0]
                return origin(self.value(item, inner, (*where, index)) for index, item in enumerate(data))
        try:
            return msgspec.convert(data, kind, strict=True)
        except msgspec.ValidationError:
            words = [word for option in options if get_origin(option) is Literal for word in get_args(option)]
            if words:
                message = f"{_short(data)} is none of {', '.join(words)}.{_did_you_mean(str(data), words)}"
            else:
                message = f"Here stands {_word(data)}, and {_wanted(options)} is needed."
            raise self._lines.error(where, message) from None


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The type of each field by its name, and those that must be there: once, since each annotation is compiled."""
    required = tuple(field.name for field in msgspec.structs.fields(kind) if field.required)
    return get_type_hints(kind, include_extras=True), required


def _likely(key: str, known: dict[str, Any]) -> str:
    return _did_you_mean(key, list(known)) or f" Known here: {', '.join(known)}."


def _did_you_mean(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f" Did you mean {near[0]!r}?" if near else ""


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a map", list: "a list"}


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _word(data: Any) -> str:
    if data is None:
        return "nothing"
    if isinstance(data, dict | list):
        return _WORDS[type(data)]
    return _short(data)


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _wanted(options: tuple[Any, ...]) -> str:
    names = []
    for option in options:
        origin = get_origin(option) or option
        if origin is types.NoneType:
            continue
        if origin is Annotated:
            bare, bounds = get_args(option)
            names.append(_WORDS[bare] + _bounded(bounds))
        elif origin in (tuple, frozenset):
            names.append("a list")
        elif isinstance(origin, type) and issubclass(origin, msgspec.Struct):
            names.append(f"a map with {' and '.join(get_type_hints(origin))}")
        else:
            names.append(_WORDS.get(origin, str(origin)))
    return " or ".join(names)


def _bounded(bounds: msgspec.Meta) -> str:
    """What a number or a text must be beside its type: ' from 0 to 1'."""
    if bounds.pattern is not None:
        return f" {bounds.description}"
    lowest = ""
    if bounds.ge is not None:
        lowest = f" from {bounds.ge:,.10g}"
    elif bounds.gt is not None:
        lowest = f" above {bounds.gt:,.10g}"
    return lowest if bounds.le is None else f"{lowest} up to {bounds.le:,.10g}"
