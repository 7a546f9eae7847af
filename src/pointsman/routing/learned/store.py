"""A fitted router as one .npz file, and back: arrays and JSON, never pickled objects.

Every array of a Struct is named by its path ('body.forest.left'). What is not an array (numbers, names, settings, the
report) lies as JSON in 'about'. A file is checked before it is used: its kind, its version, that nothing is missing,
that every number is one, that what points into arrays points inside them, and that it has an answer for a prompt.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any, TypeVar, get_args, get_type_hints

import msgspec
import numpy as np
from msgspec import Struct

from ...core import ConfigError
from .arrays import Floats
from .fitted import Fitted, answer, doubts, tree_columns
from .lexical import LEXICAL
from .reading import SENTENCE, Reading, Readings
from .trees import Forest
from .word_problems import WordProblems
from .words import Terms

VERSION = 2
"""Of the file. It changes as well when a `Reading` does: a router that learnt from other numbers would misread them."""
Kind = TypeVar("Kind", bound=Struct)


def write_fitted(fitted: Fitted, file: IO[bytes]) -> None:
    _write("router", fitted, file)


def read_fitted(path: Path) -> Fitted:
    """Raises ConfigError where the file is not there, is damaged, or is not a router of this version."""
    try:
        with path.open("rb") as file:
            fitted = _read("router", Fitted, file)
        _check(fitted)
        _try_out(fitted)
    except FileNotFoundError:
        raise ConfigError(f"There is no router at {path}. `pointsman train` makes one.") from None
    except (*_UNREADABLE, OSError) as error:
        raise ConfigError(f"{path} is not a router that can be used ({error}). Train it again.") from error
    return fitted


def write_word_problems(known: WordProblems, file: IO[bytes]) -> None:
    _write("word problems", known, file)


@cache
def shipped_word_problems() -> WordProblems:
    """The weights that come with this version, read once."""
    with resources.files(__package__).joinpath("weights/word_problems.npz").open("rb") as file:
        return _read("word problems", WordProblems, file)


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
        raise ValueError("it is no .npz file")  # numpy would say how to load it unsafely
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if "about" not in arrays:
        raise ValueError("it does not say what it holds")
    about = msgspec.json.decode(arrays.pop("about").tobytes(), type=_About)
    if about.kind != kind or about.version != VERSION:
        newer = "; a newer pointsman wrote it" if about.version > VERSION else ""
        raise ValueError(
            f"it holds a {about.kind} of version {about.version}, where a {kind} of version {VERSION} is needed{newer}"
        )
    for name, array in arrays.items():
        _check_numbers(name, array)
    return _put_together(wanted, about.value, "", arrays)


def _check_numbers(name: str, array: np.ndarray[Any, Any]) -> None:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds no numbers")
    odd = ~np.isfinite(array)
    if name == _THRESHOLDS:
        odd &= array != np.inf
    if odd.any():
        raise ValueError(f"{int(odd.sum()):,} of {array.size:,} in {name} are not a number")


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
        if path + name in arrays and kind is not Terms:
            fields[name] = arrays[path + name]
        elif kind is Terms:
            fields[name] = Terms(msgspec.convert(rest[name], tuple[str, ...]), arrays[path + name])
        elif rest[name] is not None and _holds_arrays(inner):
            fields[name] = _put_together(inner, rest[name], f"{path}{name}.", arrays)
        else:
            fields[name] = msgspec.convert(rest[name], kind)
    return wanted(**fields)


def _holds_arrays(kind: Any) -> bool:
    """Of a Struct of ours that is compared by identity, since arrays cannot be compared."""
    return isinstance(kind, type) and issubclass(kind, Struct) and not kind.__struct_config__.eq


def _check(fitted: Fitted) -> None:
    """Raises ValueError where the parts do not fit each other: a file may have been edited."""
    models = len(fitted.models)
    _shaped("success", fitted.success, (models,))
    _shaped("lines", fitted.lines.lines, (2, models))
    _shaped("mean", fitted.lines.mean, (models,))
    _shaped("known", fitted.lines.known, (models,))
    _shaped("prior_doubt", fitted.prior_doubt, (models,))
    if not -1 <= fitted.best < models or (models and fitted.best < 0):
        raise ValueError(f"model {fitted.best} of {models} cannot be the best one")
    if fitted.body is None:
        return
    body, terms = fitted.body, len(fitted.body.text.terms)
    tasks = body.tasks.table.shape[0]
    inputs = body.tasks.weights.shape[0]
    _shaped("text.weights", body.text.weights, (terms, body.text.directions + models + tasks))
    _shaped("text.scaling.mean", body.text.scaling.mean, (LEXICAL,))
    _shaped("neighbours.mean", body.neighbours.mean, (SENTENCE,))
    _shaped("tasks.weights", body.tasks.weights, (inputs, tasks))
    _shaped("tasks.table", body.tasks.table, (tasks, models))
    _shaped("seeing.inward", body.seeing.inward, (inputs + tasks, body.seeing.inward.shape[1]))
    _shaped("blind.inward", body.blind.inward, (inputs, body.blind.inward.shape[1]))
    _shaped("neighbours.deviations", body.neighbours.deviations, (len(body.neighbours.rows), models))
    axes = body.mixture.axes.shape[1]
    _shaped("mixture.axes", body.mixture.axes, (models, axes))
    _shaped("mixture.leaves", body.mixture.leaves, (axes, models))
    _shaped("cost.spread", body.cost.spread, (2, models))
    outputs = len(body.mixture.leaves) + len(body.cost.leaves)
    _check_forest(body.forest, tree_columns(body, fitted.settings), outputs)


def _try_out(fitted: Fitted) -> None:
    """Raises ValueError where the answer is no number, or what numpy does where there is none: each part may be well,
    and all of them of no use together."""
    nothing = Readings.of([Reading(np.zeros(SENTENCE, np.float32), np.zeros(LEXICAL, np.float32), [])])
    with np.errstate(all="ignore"):
        answers = answer(fitted, nothing, np.zeros(1), None)
        found = (answers.chances, answers.costs, answers.novelty, *doubts(fitted, answers))
    if not all(np.isfinite(figures).all() for figures in found):
        raise ValueError("what it expects of a prompt is not a number")


def _shaped(name: str, array: Floats, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has the shape {array.shape}, not {shape}")


def _check_forest(forest: Forest, columns: int, outputs: int) -> None:
    nodes = len(forest.feature)
    _shaped("forest.value", forest.value, (nodes, outputs))
    for name, indices in (("left", forest.left), ("roots", forest.roots), ("feature", forest.feature)):
        if indices.dtype != np.intp or (len(indices) and indices.min() < 0):
            raise ValueError(f"forest.{name} does not point to nodes")
    inside = np.isfinite(forest.threshold)
    if not nodes or max(forest.roots.max(), (forest.left + inside).max()) >= nodes or forest.feature.max() >= columns:
        raise ValueError("the forest points beyond its nodes, or beyond what trees see")
