"""Fits a router on graded rows, and tells how it does on rows that it was not fitted on.

Rows are parted by their questions, so that no variant of a question is on both sides. Few rows are held out in turn,
each part by a router of its own, so that all of them can tell; of many a fifth is enough. The router that comes out is
fitted on all rows, with one more fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from ..core import PointsmanError
from ..routing.learned import LearnedRouter, Reader, Reading, Readings, pack, unpack
from ..routing.learned.labels import sure_means
from ..routing.learned.settings import Settings
from .training_report import HARDLY_ANY, Forecasts, HeldOut, Report, report_of
from .training_rows import Floats, Rows, fold_of

FEWEST = 40
"""Rows: with fewer a router learns nothing but means."""
PARTS = 5
IN_TURN_BELOW = 1_500
"""Rows: below, each part is held out in turn; from there on one of them."""
AT_ONCE = 512
"""Rows that a router judges in one go, so that memory stays bounded."""


USUAL = Settings()

Mask = NDArray[np.bool_]


class NotTrainable(PointsmanError):
    """The rows are too few, or too much alike, to fit a router on and to judge it."""

    kind = "not_trainable"


class Trained(NamedTuple):
    report: Report
    router: LearnedRouter
    """Fitted on all rows."""


class InUse(NamedTuple):
    """The router in use, and since when (unix seconds)."""

    router: LearnedRouter
    since: float


def train(
    rows: Rows,
    *,
    source: str,
    prior: Floats | None = None,
    in_use: InUse | None = None,
    seed: int = 0,
    settings: Settings = USUAL,
    tell: Callable[[str], None] = lambda text: None,
) -> Trained:
    """Fit, judge, and fit on everything. `prior` (n, m): what profiles say of each model on each row, NaN where they
    say nothing. `tell` hears of each step. Raises NotTrainable."""
    if len(rows) < FEWEST:
        found = "1 graded prompt is" if len(rows) == 1 else f"{len(rows)} graded prompts are"
        raise NotTrainable(f"{found} too few to fit a router on: {FEWEST} are the least.")
    if len(rows.models) < 2:
        raise NotTrainable(f"All grades are of {rows.models[0]}: to choose takes grades of two models at least.")
    readings = read_rows(rows)
    folds = np.array([fold_of(stem, PARTS) for stem in rows.stems])
    parts = PARTS if len(rows) < IN_TURN_BELOW else 1
    judged = np.isin(folds, [part for part in range(parts) if (folds != part).any()])
    if not judged.any():
        raise NotTrainable("All graded prompts ask the same question: none of them can be held out.")

    def fit(which: Mask) -> LearnedRouter:
        return _fitted(rows, readings, which, seed, settings)

    held_out = _held_out(rows, readings, np.where(judged, folds, -1), fit, tell)
    if prior is not None:
        held_out = structs.replace(held_out, prior=prior[judged])
    if in_use is not None:
        forecasts = forecast(in_use.router, rows.models, readings, rows.chars, judged)
        held_out = structs.replace(held_out, in_use=forecasts, in_use_since=in_use.since)
    report = report_of(source, rows, held_out, parts, seed)
    tell("all rows")
    return Trained(report, fit(np.ones(len(rows), dtype=bool)))


def read_rows(rows: Rows) -> list[Reading]:
    """Every row as numbers. Where some have no text, all are read as if none had: a router must not learn from which of
    them a text was kept."""
    reader = Reader()
    if rows.have_text:
        return [reader.read(text) for text in rows.prompts]
    return [unpack(vector or pack(reader.read(text))) for text, vector in zip(rows.prompts, rows.vectors, strict=True)]


def forecast(
    router: LearnedRouter, models: Sequence[str], readings: Sequence[Reading], chars: Floats, which: Mask
) -> Forecasts:
    """What a router expects of the rows of a mask and of these models, of which it may not know all."""
    numbers = np.flatnonzero(which).tolist()
    parts = [numbers[begin : begin + AT_ONCE] for begin in range(0, len(numbers), AT_ONCE)]
    found = [router.estimate(Readings.of([readings[i] for i in part]), chars[part].tolist()) for part in parts]
    column = {model: number for number, model in enumerate(router.models)}
    doubt = np.concatenate([one.p_sd for one in found])
    doubt[:, router.best_single] = 0.0

    def of_models(table: Floats) -> Floats:
        unknown = np.full(len(table), np.nan)
        return np.stack([table[:, column[model]] if model in column else unknown for model in models], axis=1)

    quality, cost = np.concatenate([one.p for one in found]), np.concatenate([one.cost for one in found])
    return Forecasts(of_models(quality), of_models(doubt), of_models(cost))


def _held_out(
    rows: Rows,
    readings: Sequence[Reading],
    parts: NDArray[np.intp],
    fit: Callable[[Mask], LearnedRouter],
    tell: Callable[[str], None],
) -> HeldOut:
    """Each part held out in turn: `parts` (n,) is that of each row, -1 for a row that is only fitted on."""
    turns = np.unique(parts[parts >= 0])
    new = Forecasts(*(np.full(rows.scores.shape, np.nan) for _ in range(3)))
    scores, sure, costs, shares = (np.full(rows.scores.shape, np.nan) for _ in range(4))
    for number, part in enumerate(turns, 1):
        away = parts == part
        tell(f"held-out part {number} of {len(turns)}")
        for table, values in zip(new, forecast(fit(~away), rows.models, readings, rows.chars, away), strict=True):
            table[away] = values
        scores[away], costs[away] = _means(rows.scores[~away]), _means(rows.costs[~away])
        sure[away] = sure_means(rows.scores[~away])
        graded = np.isfinite(rows.scores[~away])
        shares[away] = np.where(graded.sum(axis=0) >= HARDLY_ANY, graded.mean(axis=0), 0.0)
    judged = parts >= 0
    return HeldOut(
        rows=rows.take(judged),
        new=Forecasts(*(table[judged] for table in new)),
        known_scores=scores[judged],
        sure_scores=sure[judged],
        known_costs=costs[judged],
        shares=shares[judged],
        prior=np.full(rows.scores[judged].shape, np.nan),
    )


def _fitted(rows: Rows, readings: Sequence[Reading], which: Mask, seed: int, settings: Settings) -> LearnedRouter:
    numbers = np.flatnonzero(which).tolist()
    return LearnedRouter(seed=seed, settings=settings).fit_readings(
        [readings[number] for number in numbers],
        rows.chars[numbers].tolist(),
        None if rows.tasks is None else [rows.tasks[number] for number in numbers],
        rows.scores[numbers],
        rows.costs[numbers],
        rows.models,
    )


def _means(table: Floats) -> Floats:
    """(m,) NaN for a column without a number."""
    known = np.isfinite(table)
    return np.where(
        known.any(axis=0), np.where(known, table, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan
    )
