"""Data sets of outcomes: which model answered which prompt how well, and what it cost.

Two layouts are read. A folder with `prompts.parquet` (prompt_id, prompt; task, split where known) and
`outcomes.parquet` (prompt_id, model, score; cost_usd where known), which needs the extra `train`; and a JSONL file with
one outcome a line:

    {"prompt": "What is 2+2?", "model": "small", "score": 1, "cost_usd": 0.0001, "task": "arithmetic"}

Rows that are missing, doubled or contradict each other are counted, told and lived with; only a file that cannot be
read at all, or holds no outcome, is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from ..core import ConfigError

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

PROMPTS, OUTCOMES = "prompts.parquet", "outcomes.parquet"
PARQUET_NEEDED = 'Parquet is read by pyarrow, which is not installed: pip install "pointsman[train]"'


class Found(Struct, frozen=True):
    """What the rows of a data set were like. `told` says it in words."""

    outcomes: int = 0
    """Rows read, good or bad."""
    unreadable: int = 0
    """No object, or one without a prompt, a model or a number as its score."""
    first_unreadable: str = ""
    """Where the first of them is, and what is wrong with it."""
    unknown_prompts: int = 0
    """Outcomes of a prompt that is not in the table of prompts."""
    scores_missing: int = 0
    """Without a score; cells of the table that no row fills are not among them."""
    scores_outside: int = 0
    """Scores below 0 or above 1: taken as missing."""
    costs_missing: int = 0
    costs_outside: int = 0
    """Negative or infinite: taken as missing."""
    doubled: int = 0
    """Said again, with the same score: counted once."""
    contradicted: int = 0
    """Said again, with another score: the mean of them counts."""
    prompts_doubled: int = 0
    """Ids that stand twice in the table of prompts: the first counts."""
    prompts_unanswered: int = 0
    """Without any score: left out."""


class Outcomes(Struct, frozen=True):
    """n prompts and m models. What is unknown is NaN, and an empty word for a task or a split."""

    name: str
    prompts: tuple[str, ...]
    tasks: tuple[str, ...]
    splits: tuple[str, ...]
    """'train', 'val' or 'test' for each prompt."""
    models: tuple[str, ...]
    scores: Floats
    """(n, m), 0 to 1."""
    costs: Floats
    """(n, m), US dollars a call."""
    licence: str = ""
    """What stands beside the data about it; empty where nothing does."""
    found: Found = Found()

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, which: Rows | NDArray[np.bool_]) -> Outcomes:
        """Those prompts alone, in the order asked for: by their numbers, or by a mask."""
        numbers: list[int] = (np.flatnonzero(which) if which.dtype == np.bool_ else which).tolist()
        return msgspec.structs.replace(
            self,
            prompts=tuple(self.prompts[i] for i in numbers),
            tasks=tuple(self.tasks[i] for i in numbers),
            splits=tuple(self.splits[i] for i in numbers),
            scores=self.scores[numbers],
            costs=self.costs[numbers],
        )

    def of(self, models: Sequence[str], name: str = "") -> Outcomes:
        """Those models alone, in the order asked for. Raises ConfigError for one that the data do not hold."""
        unknown = [model for model in models if model not in self.models]
        if unknown:
            raise ConfigError(f"{self.name} holds no outcomes of {', '.join(unknown)}; of {', '.join(self.models)}.")
        columns = [self.models.index(model) for model in models]
        return msgspec.structs.replace(
            self,
            name=name or self.name,
            models=tuple(models),
            scores=self.scores[:, columns],
            costs=self.costs[:, columns],
        )

    def known_tasks(self) -> tuple[str, ...] | None:
        """The tasks, as a router is told them: None where no prompt has one."""
        return self.tasks if any(self.tasks) else None


def told(found: Found) -> tuple[str, ...]:
    """What was odd about the rows, a sentence each; nothing where nothing was."""
    where = f" (the first: {found.first_unreadable})" if found.first_unreadable else ""
    sentences = (
        (found.unreadable, f"could not be read and were left out{where}"),
        (found.unknown_prompts, "are of prompts that are not there and were left out"),
        (found.scores_missing, "have no score"),
        (found.scores_outside, "have a score outside 0 to 1, taken as missing"),
        (found.costs_missing, "have no cost"),
        (found.costs_outside, "have a cost that is negative or infinite, taken as missing"),
        (found.doubled, "were there already and count once"),
        (found.contradicted, "contradict an earlier row of the same prompt and model: the mean of them counts"),
    )
    about_rows = tuple(f"{number:,} of {found.outcomes:,} outcomes {what}." for number, what in sentences if number)
    about_prompts = (
        (found.prompts_doubled, "prompts have an id that was there already and were left out."),
        (found.prompts_unanswered, "prompts have no score of any model and were left out."),
    )
    return about_rows + tuple(f"{number:,} {what}" for number, what in about_prompts if number)


def read_outcomes(path: Path) -> Outcomes:
    """A folder of Parquet or a JSONL file. Raises ConfigError where it cannot be read or holds no outcome."""
    if not path.exists():
        raise ConfigError(f"There is no {path} to read outcomes from.")
    return _read_folder(path) if path.is_dir() else _read_lines(path)


class _Outcome(Struct):
    """One row, as it stands in a file."""

    prompt: str
    model: Annotated[str, Meta(min_length=1)]
    score: float | bool | None
    cost_usd: float | None = None
    task: str | None = None
    split: str | None = None


class _Gatherer:
    """Makes a table of rows that come one by one."""

    def __init__(self) -> None:
        self.keys: dict[object, int] = {}
        """What a prompt is known by in its file → its number."""
        self.prompts: list[str] = []
        self.tasks: list[str] = []
        self.splits: list[str] = []
        self.scores: dict[tuple[int, str], list[float]] = {}
        self.costs: dict[tuple[int, str], list[float]] = {}
        self.count: dict[str, int] = dict.fromkeys(Found.__struct_fields__, 0)
        self.first_unreadable = ""

    def prompt(self, key: object, text: str, task: str | None, split: str | None) -> int:
        """The number of a prompt; a task or a split that was unknown so far is filled in."""
        number = self.keys.setdefault(key, len(self.prompts))
        if number == len(self.prompts):
            self.prompts.append(text)
            self.tasks.append(task or "")
            self.splits.append(split or "")
        else:
            self.tasks[number] = self.tasks[number] or task or ""
            self.splits[number] = self.splits[number] or split or ""
        return number

    def outcome(self, number: int, model: str, score: float | None, cost: float | None) -> None:
        cell = (number, model)
        value = self._accepted(score, 0.0, 1.0, "scores")
        seen = self.scores.setdefault(cell, [])
        if value is not None:
            if seen:
                self.count["doubled" if value in seen else "contradicted"] += 1
            seen.append(value)
        price = self._accepted(cost, 0.0, 1e9, "costs")
        if price is not None:
            self.costs.setdefault(cell, []).append(price)

    def unreadable(self, where: str, why: str) -> None:
        self.count["unreadable"] += 1
        self.first_unreadable = self.first_unreadable or f"{where}: {why}"

    def _accepted(self, value: float | None, low: float, high: float, what: str) -> float | None:
        if value is None or math.isnan(value):
            self.count[f"{what}_missing"] += 1
            return None
        if not low <= value <= high:
            self.count[f"{what}_outside"] += 1
            return None
        return float(value)

    def table(self, name: str, licence: str = "") -> Outcomes:
        models = tuple(sorted({model for _, model in self.scores}))
        scores = self._filled(self.scores, models)
        costs = self._filled(self.costs, models)
        answered = np.isfinite(scores).sum(axis=1) > 0
        self.count["prompts_unanswered"] = int((~answered).sum())
        counts: Mapping[str, Any] = {**self.count, "first_unreadable": self.first_unreadable}
        whole = Outcomes(
            name,
            tuple(self.prompts),
            tuple(self.tasks),
            tuple(self.splits),
            models,
            scores,
            costs,
            licence,
            Found(**counts),
        )
        return whole if answered.all() else whole.rows(answered)

    def _filled(self, cells: Mapping[tuple[int, str], Sequence[float]], models: Sequence[str]) -> Floats:
        column = {model: number for number, model in enumerate(models)}
        table = np.full((len(self.prompts), len(models)), np.nan)
        for (row, model), values in cells.items():
            if values:
                table[row, column[model]] = sum(values) / len(values)
        return table


def _read_lines(path: Path) -> Outcomes:
    gathered = _Gatherer()
    decoder = msgspec.json.Decoder(_Outcome)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(b"\xef\xbb\xbf").strip()
            if not line:
                continue
            gathered.count["outcomes"] += 1
            try:
                row = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                gathered.unreadable(f"line {number}", str(error))
                continue
            prompt = gathered.prompt(row.prompt, row.prompt, row.task, row.split)
            gathered.outcome(prompt, row.model, row.score, row.cost_usd)
    return _that_hold_something(gathered.table(path.stem), path)


def _read_folder(folder: Path) -> Outcomes:
    gathered = _Gatherer()
    prompts = _columns(folder / PROMPTS, ("prompt_id", "prompt"), ("task", "split"))
    for identity, prompt, task, split in prompts:
        if identity is None or not isinstance(prompt, str):
            gathered.unreadable(PROMPTS, "a prompt without an id or a text")
        elif identity in gathered.keys:
            gathered.count["prompts_doubled"] += 1
        else:
            gathered.prompt(identity, prompt, _word(task), _word(split))
    for identity, model, score, cost in _columns(folder / OUTCOMES, ("prompt_id", "model", "score"), ("cost_usd",)):
        gathered.count["outcomes"] += 1
        if identity not in gathered.keys:
            gathered.count["unknown_prompts"] += 1
        elif not isinstance(model, str) or not model or not (_number(score) and _number(cost)):
            gathered.unreadable(
                OUTCOMES, f"an outcome of {identity} without a model, or with a score that is no number"
            )
        else:
            gathered.outcome(gathered.keys[identity], model, score, cost)
    return _that_hold_something(gathered.table(folder.name, _licence(folder)), folder)


def _that_hold_something(outcomes: Outcomes, path: Path) -> Outcomes:
    if len(outcomes):
        return outcomes
    odd = " ".join(told(outcomes.found))
    raise ConfigError(f"{path} holds no outcome that can be used. {odd or 'It is empty.'}")


def _columns(path: Path, needed: Sequence[str], wanted: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """The rows of a Parquet file, as tuples of the columns; a wanted one that is not there is None in all of them."""
    try:
        parquet, arrow = import_module("pyarrow.parquet"), import_module("pyarrow")
    except ImportError:
        raise ConfigError(PARQUET_NEEDED) from None
    if not path.exists():
        raise ConfigError(f"There is no {path.name} in {path.parent}: outcomes are {PROMPTS} beside {OUTCOMES}.")
    try:
        names = parquet.read_schema(path).names
        missing = [name for name in needed if name not in names]
        if missing:
            raise ConfigError(f"{path} has no column {missing[0]!r}; it has {', '.join(names)}.")
        table = parquet.read_table(path, columns=[name for name in (*needed, *wanted) if name in names])
    except (arrow.ArrowException, OSError) as error:
        raise ConfigError(f"{path} cannot be read as Parquet: {error}") from None
    absent = [None] * table.num_rows
    columns = [table.column(name).to_pylist() if name in names else absent for name in (*needed, *wanted)]
    return zip(*columns, strict=True)


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _licence(folder: Path) -> str:
    """The licence of a set, as the table in a README beside its folder tells it: its row begins with the set's name."""
    readme = folder.parent / "README.md"
    if not readme.is_file():
        return ""
    column = None
    for line in readme.read_text("utf-8", errors="replace").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        heads = [bool(re.fullmatch("licen[cs]e", cell, re.IGNORECASE)) for cell in cells]
        if any(heads):
            column = heads.index(True)
        elif column is not None and len(cells) > column and cells[0] == folder.name:
            return cells[column]
    return ""
