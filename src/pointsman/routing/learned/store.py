"""A fitted router as one .npz file, and back: arrays and JSON, never pickled objects.

Every array of a Struct is named by its path ('body.forest.left'). What is not an array (numbers, names, settings, the
report) lies as JSON in 'about'. A file is checked before it is used: its kind, its version, that nothing is missing,
that every number is one, that what points into arrays points inside them, and that it has an answer for a prompt.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from msgspec import Struct

from ...core import ConfigError
from .fitted import Fitted, answer, doubts, tree_columns
from .lexical import LEXICAL
from .reading import SENTENCE, Reading, Readings
from .trees import Forest
from .word_problems import WordProblems
from .words import Terms

VERSION = 2
"""Of the file. It changes as well when a `Reading` does: a router that learnt from other numbers would misread them."""
Kind = TypeVar("Kind", bound=Struct)
T = TypeVar("T")


def write_fitted(fitted: Fitted, file: IO[bytes]) -> None:
    _write("router", fitted, file)


def read_fitted(path: Path) -> Fitted:
    """Raises ConfigError where the file is not there, is damaged, or is not a router of this version."""
    try:
        with path.open("rb") as file, _told_as("it is damaged"):
            fitted = _read("router", Fitted, file)
        with _told_as("its parts do not fit each other"):
            _check(fitted)
            _try_out(fitted)
    except FileNotFoundError:
        raise ConfigError(f"There is no router at {path}. `pointsman train` makes one.") from None
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is not a router that can be used: it is a folder. Take it away.") from error
    except (_OfNoUse, OSError) as error:
        raise ConfigError(f"{path} is not a router that can be used: {error}. Train it again.") from error
    return fitted


def write_word_problems(known: WordProblems, file: IO[bytes]) -> None:
    _write("word problems", known, file)


@cache
def shipped_word_problems() -> WordProblems:
    """The weights that come with this version, read once."""
    with resources.files(__package__).joinpath("weights/word_problems.npz").open("rb") as file:
        return _read("word problems", WordProblems, file)


class _OfNoUse(ValueError):
    """Why a file cannot be used, in words for whoever has it."""


@contextmanager
def _told_as(words: str) -> Iterator[None]:
    """What numpy and others say of a file comes behind the `words` that say what it means."""
    try:
        yield
    except _OfNoUse:
        raise
    except _UNREADABLE as error:
        raise _OfNoUse(f"{words} ({type(error).__name__}: {error})") from error


_UNREADABLE = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, OverflowError, MemoryError, SyntaxError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError, msgspec.MsgspecError),
)
"""What numpy, zipfile and msgspec raise for damaged bytes: found by flipping bits of a file."""


def _write(kind: str, value: Struct, file: IO[bytes]) -> None:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    about = {"kind": kind, "version": VERSION, "value": _take_apart(value, "", arrays)}
    arrays["about"] = np.frombuffer(msgspec.json.encode(about), np.uint8)
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _read(kind: str, wanted: type[Kind], file: IO[bytes]) -> Kind:
    if file.read(len(_ZIP)) != _ZIP:
        raise _OfNoUse("it is no .npz file")  # numpy would say how to load it unsafely
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if "about" not in arrays:
        raise _OfNoUse("it does not say what it holds")
    about = msgspec.json.decode(arrays.pop("about").tobytes(), type=_About)
    if about.kind != kind or about.version != VERSION:
        newer = "; a newer pointsman wrote it" if about.version > VERSION else ""
        raise _OfNoUse(
            f"it holds a {about.kind} of version {about.version}, where a {kind} of version {VERSION} is needed{newer}"
        )
    for name, array in arrays.items():
        _check_numbers(name, array)
    return _put_together(wanted, about.value, "", arrays)


def _check_numbers(name: str, array: np.ndarray[Any, Any]) -> None:
    if array.dtype.kind not in "biuf":
        raise _OfNoUse(f"its part {name} holds no numbers")
    odd = ~np.isfinite(array)
    if name == _THRESHOLDS:
        odd &= array != np.inf
    if odd.any():
        raise _OfNoUse(f"{int(odd.sum()):,} of the {array.size:,} figures in its part {name} are no numbers")


_ZIP = b"PK\x03\x04"
_THRESHOLDS = "body.forest.threshold"
"""Infinite in a leaf."""


class _About(Struct, frozen=True):
    kind: str
    version: int
    value: dict[str, Any]


def _take_apart(value: Struct, path: str, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Arrays go to `arrays`; what is left comes back as values for JSON."""
    rest: dict[str, Any] = {}
    for name in value.__struct_fields__:
        part = getattr(value, name)
        if isinstance(part, np.ndarray):
            arrays[path + name] = part
        elif isinstance(part, Terms):
            arrays[path + name] = part.idf
            rest[name] = part.terms
        elif isinstance(part, Struct) and _holds_arrays(type(part)):
            rest[name] = _take_apart(part, f"{path}{name}.", arrays)
        else:
            rest[name] = msgspec.to_builtins(part)
    return rest


def _put_together(
    wanted: type[Kind], rest: Mapping[str, Any], path: str, arrays: Mapping[str, np.ndarray[Any, Any]]
) -> Kind:
    fields: dict[str, Any] = {}
    for name, kind in get_type_hints(wanted).items():
        inner = next((option for option in get_args(kind) if option is not type(None)), kind)
        part = path + name
        if get_origin(kind) is np.ndarray:
            fields[name] = _found(part, part, arrays)
            continue
        told = _found(part, name, rest)
        with _told_as(f"its part {part} cannot be read"):
            if kind is Terms:
                fields[name] = Terms(msgspec.convert(told, tuple[str, ...]), _found(part, part, arrays))
            elif told is not None and _holds_arrays(inner):
                fields[name] = _put_together(inner, msgspec.convert(told, dict[str, Any]), f"{part}.", arrays)
            else:
                fields[name] = msgspec.convert(told, kind)
    return wanted(**fields)


def _found(part: str, name: str, among: Mapping[str, T]) -> T:
    if name not in among:
        raise _OfNoUse(f"its part {part} is missing")
    return among[name]


def _holds_arrays(kind: Any) -> bool:
    """Of a Struct of ours that is compared by identity, since arrays cannot be compared."""
    return isinstance(kind, type) and issubclass(kind, Struct) and not kind.__struct_config__.eq


def _check(fitted: Fitted) -> None:
    """Raises _OfNoUse where the parts do not fit each other: a file may have been edited."""
    models, body = len(fitted.models), fitted.body
    sizes = {"models": models}
    _check_shapes(fitted, _SHAPES, sizes)
    if not -1 <= fitted.best < models or (models and fitted.best < 0):
        raise _OfNoUse(f"model {fitted.best} of {models} cannot be the best one")
    if body is None:
        return
    directions = body.text.directions
    sizes |= {"terms": len(body.text.terms), "directions": directions, "inputs": SENTENCE + directions + LEXICAL}
    _check_shapes(fitted, _BODY_SHAPES, sizes)
    _check_forest(body.forest, tree_columns(body, fitted.settings))


_Axes = tuple[int | str, ...]
"""Of an array: how long each is, or the name of its length; "a+b" is as long as both together."""
_SHAPES: Mapping[str, _Axes] = {
    "success": ("models",),
    "lines.lines": (2, "models"),
    "lines.mean": ("models",),
    "lines.known": ("models",),
    "prior_doubt": ("models",),
}
_BODY_SHAPES: Mapping[str, _Axes] = {
    "body.tasks.table": ("tasks", "models"),
    "body.tasks.weights": ("inputs", "tasks"),
    "body.tasks.bias": ("tasks",),
    "body.text.terms.idf": ("terms",),
    "body.text.scaling.mean": (LEXICAL,),
    "body.text.scaling.spread": (LEXICAL,),
    "body.text.weights": ("terms", "directions+models+tasks"),
    "body.seeing.inward": ("inputs+tasks", "seeing units"),
    "body.seeing.inward_bias": ("seeing units",),
    "body.seeing.outward": ("seeing networks", "units of a seeing one", "models"),
    "body.seeing.outward_bias": ("seeing networks", "models"),
    "body.blind.inward": ("inputs", "blind units"),
    "body.blind.inward_bias": ("blind units",),
    "body.blind.outward": ("blind networks", "units of a blind one", "models"),
    "body.blind.outward_bias": ("blind networks", "models"),
    "body.neighbours.mean": (SENTENCE,),
    "body.neighbours.directions": (SENTENCE, "directions of rows"),
    "body.neighbours.rows": ("rows", "directions of rows"),
    "body.neighbours.deviations": ("rows", "models"),
    "body.mixture.axes": ("models", "axes"),
    "body.mixture.leaves": ("axes", "models"),
    "body.cost.ridge": ("inputs", "models"),
    "body.cost.leaves": ("components of cost", "models"),
    "body.cost.mean": ("models",),
    "body.cost.spread": (2, "models"),
    "body.forest.feature": ("nodes",),
    "body.forest.threshold": ("nodes",),
    "body.forest.left": ("nodes",),
    "body.forest.value": ("nodes", "axes+components of cost"),
    "body.forest.roots": ("trees",),
    "body.novelty.weights": (4,),
    "body.doubt.mean_variance": ("models",),
}


def _check_shapes(fitted: Fitted, shapes: Mapping[str, _Axes], sizes: dict[str, int]) -> None:
    """`sizes`: name → length; the first part in which a name stands says how long what it names is."""
    for part, axes in shapes.items():
        shape: tuple[int, ...] = attrgetter(part)(fitted).shape
        if len(shape) == len(axes):
            for axis, length in zip(axes, shape, strict=True):
                sizes.setdefault(str(axis), length)
        wanted = tuple(_length(axis, sizes) for axis in axes)
        if shape != wanted:
            raise _OfNoUse(
                f"its part {part} does not fit the others: its size is {_times(shape)}, not {_times(wanted)}"
            )


def _length(axis: int | str, sizes: Mapping[str, int]) -> int | str:
    """The name itself where nobody has said how long it is."""
    if isinstance(axis, int):
        return axis
    names = axis.split("+")
    return sum(sizes[name] for name in names) if sizes.keys() >= set(names) else axis


def _times(lengths: tuple[int | str, ...]) -> str:
    return " × ".join(map(str, lengths)) or "1"


def _try_out(fitted: Fitted) -> None:
    """Raises _OfNoUse where the answer is no number, or what numpy does where there is none: each part may be well,
    and all of them of no use together."""
    nothing = Readings.of([Reading(np.zeros(SENTENCE, np.float32), np.zeros(LEXICAL, np.float32), [])])
    with np.errstate(all="ignore"):
        answers = answer(fitted, nothing, np.zeros(1), None)
        found = (answers.chances, answers.costs, answers.novelty, *doubts(fitted, answers))
    if not all(np.isfinite(figures).all() for figures in found):
        raise _OfNoUse("what it expects of a prompt is not a number")


def _check_forest(forest: Forest, columns: int) -> None:
    nodes = len(forest.feature)
    for name, indices in (("left", forest.left), ("roots", forest.roots), ("feature", forest.feature)):
        if indices.dtype != np.intp or (len(indices) and indices.min() < 0):
            raise _OfNoUse(f"its part body.forest.{name} does not point to nodes, or to columns")
    inside = np.isfinite(forest.threshold)
    if not nodes or max(forest.roots.max(), (forest.left + inside).max()) >= nodes or forest.feature.max() >= columns:
        raise _OfNoUse("its trees (body.forest) point beyond their nodes, or beyond what they see")
