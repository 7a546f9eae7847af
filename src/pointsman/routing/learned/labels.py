"""What a fit is given, checked: prompts with scores and costs of models. What is wrong is counted, not fatal."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from .arrays import Floats, Ints
from .reading import Readings


class Counts(Struct, frozen=True):
    """What was found in the rows that were given."""

    rows: int
    """That have a score of some model: the others are left out."""
    models: int
    rows_without_score: int = 0
    missing_scores: int = 0
    """In the rows that are used; NaN and infinite ones."""
    scores_out_of_range: int = 0
    """Below 0 or above 1: cut off there."""
    missing_costs: int = 0
    """NaN, infinite or negative."""
    repeated_rows: int = 0
    """Rows whose prompt stood there before. All are used."""
    contradictory_rows: int = 0
    """Of these, the ones in which a model has another score than before."""


class Labels(Struct, frozen=True, eq=False):
    """Rows fit to learn from."""

    readings: Readings
    characters: Floats
    """(n,)"""
    scores: Floats
    """(n, models), 0 to 1; NaN where unknown"""
    costs: Floats
    """(n, models), not negative; NaN where unknown"""
    tasks: tuple[str, ...] | None
    models: tuple[str, ...]
    counts: Counts

    @property
    def known(self) -> Ints:
        """(n, models), bool: there is a score."""
        return np.isfinite(self.scores)


def check(
    readings: Readings,
    characters: ArrayLike,
    tasks: Sequence[object] | None,
    scores: ArrayLike,
    costs: ArrayLike | None,
    models: Sequence[str],
    prompts: Sequence[Hashable],
) -> Labels:
    """`prompts`: what tells one prompt from another. Raises ValueError where the lengths do not agree."""
    rows, columns = len(readings.words), len(models)
    score_table = _table("scores", scores, rows, columns)
    cost_table = np.full((rows, columns), np.nan) if costs is None else _table("costs", costs, rows, columns)
    lengths = np.asarray(characters, np.float64)
    for name, count in (("characters", len(lengths)), ("tasks", rows if tasks is None else len(tasks))):
        if count != rows:
            raise ValueError(f"There are {rows} prompts, but {name} has {count} rows: give one for each prompt.")
    if len(set(models)) != columns:
        raise ValueError(f"Each model may be named once; these were given: {', '.join(models)}.")

    score_table[~np.isfinite(score_table)] = np.nan
    with np.errstate(invalid="ignore"):
        cost_table[~np.isfinite(cost_table) | (cost_table < 0)] = np.nan
        out_of_range = int(((score_table < 0) | (score_table > 1)).sum())
    kept = np.isfinite(score_table).any(1)
    used = np.flatnonzero(kept).tolist()
    score_table, cost_table = np.clip(score_table[used], 0, 1), cost_table[used]
    repeated, contradictory = _repeats([prompts[row] for row in used], score_table)
    return Labels(
        readings=Readings(
            readings.sentences[used],
            np.nan_to_num(readings.lexical[used]),
            [readings.words[row] for row in used],
        ),
        characters=lengths[used],
        scores=score_table,
        costs=cost_table,
        tasks=None if tasks is None else tuple(str(tasks[row]) for row in used),
        models=tuple(models),
        counts=Counts(
            rows=len(used),
            models=columns,
            rows_without_score=rows - len(used),
            missing_scores=int(np.isnan(score_table).sum()),
            scores_out_of_range=out_of_range,
            missing_costs=int(np.isnan(cost_table).sum()),
            repeated_rows=repeated,
            contradictory_rows=contradictory,
        ),
    )


def means_of(scores: Floats) -> Floats:
    """(models,): the mean score of each, two more of the mean over all among them. scores (n, models)"""
    known = np.isfinite(scores)
    of_all = float(np.nanmean(scores)) if known.any() else 0.5
    means: Floats = (np.where(known, scores, 0).sum(0) + 2 * of_all) / (known.sum(0) + 2)
    return means


def sure_means(scores: Floats) -> Floats:
    """The same, one standard error less. By these the best single model is told: one with few scores, all of them good,
    must not become what everything else is held against."""
    means = means_of(scores)
    lower: Floats = means - np.sqrt(means * (1 - means) / (np.isfinite(scores).sum(0) + 2))
    return lower


def _table(name: str, values: ArrayLike, rows: int, columns: int) -> Floats:
    """A copy as (rows, columns)."""
    try:
        table = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be a table of numbers, a row for each prompt, of equal length: {error}"
        ) from None
    if table.size == 0 and rows * columns == 0 and (table.ndim < 2 or len(table) == rows):
        return np.zeros((rows, columns))
    if table.shape != (rows, columns):
        shape = " x ".join(map(str, table.shape))
        raise ValueError(
            f"{name} is {shape}, but there are {rows} prompts and {columns} models: "
            f"give {rows} rows of {columns} numbers, NaN where one is unknown."
        )
    return table


def _repeats(prompts: Sequence[Hashable], scores: Floats) -> tuple[int, int]:
    """(rows whose prompt came before, those of them that contradict it)."""
    first: dict[Hashable, Floats] = {}
    repeated = contradictory = 0
    for prompt, row in zip(prompts, scores, strict=True):
        before = first.get(prompt)
        if before is None:
            first[prompt] = row
            continue
        repeated += 1
        both = np.isfinite(before) & np.isfinite(row)
        contradictory += bool((before[both] != row[both]).any())
    return repeated, contradictory
