"""What is told of a router before anything is switched: how it did on rows that it was not fitted on.

A policy takes, at a cost weight w, the model with the highest p − κ·sd − w·c/c_max: p the success that it expects, sd
how uncertain that is (0 for its best single model, from which it departs with caution κ), c the cost, c_max the mean
cost of the dearest model. At w = 0 quality alone counts; at w = 0.1 the price of the dearest model is worth a tenth of
success. What a policy would have brought is told by the grades that there are, put right for those that are not (the
doubly robust estimate: Dudík, Langford & Li 2011; `stats/offpolicy.py` has the same for replay). Of a model on a row:

    v = q + (grade − q) / e   where the grade is known, else q

q is what was expected of it when the call was decided, where the ledger has that, else its mean over the rows of the
fit. e is the chance that the grade would be known: what a policy drew it with where the ledger has that, else the share
of the rows of the fit that have it. A table without gaps has e = 1, so v is the grade itself.

Where a policy takes a model that was drawn with less than LEAST_CHANCE, or that has hardly any grades, nobody can tell
what it would have brought. The figures of a policy are of the other rows: the same ones for it and for the single model
that it is compared with. For the verdict all rows count, and those of which nobody can tell are no gain: a loss, where
that was expected.

Intervals hold 95 %, by the bootstrap over questions, the same samples for all policies. A sample that happens to miss
the rare grades that count for many looks much too certain, so no error is below what the chances alone make of it: the
variance (1/e − 1)·(q(1 − q) + UNSURE) for each v.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from .routing_measures import draws
from .training_rows import Floats, Rows

Choice = NDArray[np.intp]

CAUTIONS: Mapping[float, float] = {0.0: 1.0, 0.1: 0.5, 0.3: 0.0}
"""κ by cost weight: as cautious as the priorities `performance`, `balanced` and `frugal` are."""
DRAWS = 1_000
LEAST_CHANCE = 0.05
"""A grade counts for at most twenty: what was drawn with less says nothing."""
FEWEST_TELLING = 10
"""Held-out rows: with fewer of them that can tell a standard error says nothing."""
HARDLY_ANY = 10
"""Grades: a model with fewer is told, and nobody can tell what it would have brought."""
MOST_TOLD = 5
"""Of such models by name."""
STANDARD_ERRORS = 2.0
NORMAL = 1.96
UNSURE = 0.02
"""Variance of a grade beyond that of a yes or no: for what is not known of its mean."""
BINS = 5

NEW, SINGLE, IN_USE, PROFILES = "new router", "best single", "in use", "profiles"


class Span(Struct, frozen=True):
    """A figure with the interval that holds it 95 times of 100, and its standard error."""

    value: float
    low: float
    high: float
    error: float


class ModelReport(Struct, frozen=True):
    """One model on the held-out rows that have its grade. All but `rows` are None where there is no such row."""

    model: str
    rows: int
    score: float | None
    """Mean grade, 0 to 1."""
    predicted: float | None
    """Mean of what was expected of it on the same rows."""
    brier: float | None
    """Mean squared error of what was expected."""
    brier_of_mean: float | None
    """Of always expecting its mean over the rows of the fit: a forecast worth having is below that."""
    calibration: float | None
    """How far grades lie from what was expected, in the mean over a few groups of rows of like expectation."""


class PolicyReport(Struct, frozen=True):
    policy: str
    rows: int
    """Held-out rows that its figures are of: those of which the grades can tell what it and the best single model would
    have brought (for that model: what it and the new router would have). Below FEWEST_TELLING there are no figures."""
    quality: Span | None
    cost_usd: Span | None
    """A call. None where no cost is known."""
    gain: Span | None
    """Quality less weighted cost, above that of the best single model; None for that model itself."""


class WeightReport(Struct, frozen=True):
    cost_weight: float
    best_single: tuple[str, ...]
    """By the rows of each fit; the one that it was for most rows first."""
    policies: tuple[PolicyReport, ...]


class Report(Struct, frozen=True):
    source: str
    rows: int
    models: int
    grades: int
    missing: int
    """Cells of the table of rows and models without a grade."""
    missing_costs: int
    """Grades without a cost."""
    repeated: int
    contradicting: int
    remarks: tuple[str, ...]
    folds: int
    """Every row was held out once, of so many parts in turn; 1: one part of five was held out."""
    held_out: int
    telling: int
    """Held-out rows on which the new router and the best single model differ and a grade of theirs is known."""
    by_model: tuple[ModelReport, ...]
    by_weight: tuple[WeightReport, ...]
    gain: Span
    """Of the new router over the best single model, on all held-out rows: the mean over the cost weights. Rows of which
    nobody can tell are no gain."""
    gain_over_in_use: Span | None
    """Over the router in use, on the rows that came after it."""
    rows_after_in_use: int
    """Held-out rows that the router in use cannot have been fitted on, 0 where nobody knows of any."""
    is_better: bool
    """It may be switched to."""
    verdict: str


class Forecasts(NamedTuple):
    """What a router expects of n rows and m models: (n, m) each, NaN for a model that it does not know."""

    quality: Floats
    doubt: Floats
    """Standard deviation of `quality`; 0 for the model that it takes for the best single one."""
    cost: Floats
    """US dollars; NaN where it knows of none."""


class HeldOut(Struct, frozen=True):
    """n rows with what was expected of m models by who had not seen them."""

    rows: Rows
    new: Forecasts
    known_scores: Floats
    """(n, m) and so all below: mean scores over the rows of the fit."""
    sure_scores: Floats
    """The same, drawn to the mean of all models and one standard error less: by which the best single model is told, so
    that it is none with a few scores, all of them good."""
    known_costs: Floats
    shares: Floats
    """The part of the rows of the fit that have a score; 0 with less than HARDLY_ANY, of which nobody can tell."""
    prior: Floats
    """What profiles say; NaN for models without one."""
    in_use: Forecasts | None = None
    in_use_since: float = 0.0
    """Unix seconds: rows after that were not there when it was fitted."""


def report_of(source: str, rows: Rows, held_out: HeldOut, folds: int, seed: int) -> Report:
    """Judge the new router by its held-out rows, of all the `rows` that there are."""
    judge = _Judge(held_out, seed)
    weights = tuple(CAUTIONS) if judge.has_costs else (0.0,)
    overall = judge.span(judge.gain(NEW, SINGLE, weights))
    quality = judge.span(judge.gain(NEW, SINGLE, (0.0,)))
    after = held_out.rows.times > held_out.in_use_since
    over_in_use = judge.over_in_use(weights, after)
    telling = judge.telling(weights)
    is_better, verdict = _verdict(overall, quality, over_in_use, telling)
    return Report(
        source=source,
        rows=len(rows),
        models=len(rows.models),
        grades=rows.grades,
        missing=rows.scores.size - rows.grades,
        missing_costs=int((np.isfinite(rows.scores) & ~np.isfinite(rows.costs)).sum()),
        repeated=rows.repeated,
        contradicting=rows.contradicting,
        remarks=(*rows.remarks, *_scarce(rows)),
        folds=folds,
        held_out=len(held_out.rows),
        telling=telling,
        by_model=tuple(_model_report(held_out, column) for column in range(len(rows.models))),
        by_weight=tuple(judge.weight_report(weight) for weight in weights),
        gain=overall,
        gain_over_in_use=over_in_use,
        rows_after_in_use=int(after.sum()) if over_in_use else 0,
        is_better=is_better,
        verdict=verdict,
    )


def _scarce(rows: Rows) -> tuple[str, ...]:
    """Models that are known by a few grades alone, in a sentence. A name that was misspelt is one."""
    counts = dict(zip(rows.models, np.isfinite(rows.scores).sum(axis=0).tolist(), strict=True))
    known = [model for model, grades in counts.items() if grades >= HARDLY_ANY]
    few = [
        f"{model} {grades}{f' ({near[0]}?)' if (near := get_close_matches(model, known, 1, 0.8)) else ''}"
        for model, grades in counts.items()
        if grades < HARDLY_ANY
    ]
    more = f" and {len(few) - MOST_TOLD} more" if len(few) > MOST_TOLD else ""
    return (f"Hardly any grades, of which little can be learned: {', '.join(few[:MOST_TOLD])}{more}.",) if few else ()


def _verdict(overall: Span, quality: Span, over_in_use: Span | None, telling: int) -> tuple[bool, str]:
    """Whether it may be switched to, and why, in a sentence."""
    figures = f"{overall.value:+.3f} ± {overall.error:.3f}"
    if telling < FEWEST_TELLING:
        return False, (
            f"Not shown to be better than the best single model: there are {telling} held-out rows that could tell "
            f"them apart, and {FEWEST_TELLING} are the least."
        )
    if not overall.value > STANDARD_ERRORS * overall.error:
        return False, f"Not shown to be better than the best single model ({figures}; two standard errors are needed)."
    if quality.value < -STANDARD_ERRORS * quality.error:
        return False, (
            f"Better than the best single model where cost counts ({figures}), but worse by more than two standard "
            f"errors where quality alone does ({quality.value:+.3f} ± {quality.error:.3f})."
        )
    if over_in_use is not None and over_in_use.value < -STANDARD_ERRORS * over_in_use.error:
        return False, (
            f"Better than the best single model ({figures}), but worse than the router in use by more than two "
            f"standard errors ({over_in_use.value:+.3f} ± {over_in_use.error:.3f})."
        )
    return True, f"Better than the best single model by more than two standard errors ({figures})."


class _Judge:
    """Values choices by the grades of held-out rows."""

    def __init__(self, held_out: HeldOut, seed: int) -> None:
        self._held = held_out
        rows = held_out.rows
        self.has_costs = bool(np.isfinite(rows.costs).any())
        # Where no row of the fit has a model's grade, or its cost, what all models have in the mean stands for it.
        self._mean_scores = _filled(held_out.known_scores)
        self._mean_costs = _filled(held_out.known_costs) if self.has_costs else np.zeros(rows.costs.shape)
        self._dearest = self._mean_costs.max(axis=1, keepdims=True)
        self._dearest = np.where(self._dearest > 0, self._dearest, 1.0)
        self._expected = np.where(np.isfinite(rows.expected), rows.expected, self._mean_scores)
        drawn = np.isfinite(rows.chances)
        chances = np.where(drawn, rows.chances, held_out.shares)
        self._can_tell = np.where(drawn, chances >= LEAST_CHANCE, chances > 0)
        self._scores = _put_right(self._expected, rows.scores, chances)
        self._costs = _put_right(self._mean_costs, rows.costs, chances)
        chances = np.clip(chances, LEAST_CHANCE, 1.0)
        self._scatter = (1 / chances - 1) * (self._expected * (1 - self._expected) + UNSURE)
        questions = np.unique(np.array(rows.stems), return_inverse=True)[1]
        self._questions: NDArray[np.intp] = questions
        self._samples = draws(int(questions.max()) + 1, DRAWS, (seed, 1))
        certain = np.zeros(rows.scores.shape)
        self._forecasts = {
            NEW: held_out.new,
            SINGLE: Forecasts(held_out.sure_scores, certain, self._mean_costs),
        }
        if held_out.in_use is not None and np.isfinite(held_out.in_use.quality).any():
            self._forecasts[IN_USE] = held_out.in_use
        if np.isfinite(held_out.prior).any():
            self._forecasts[PROFILES] = Forecasts(held_out.prior, certain, self._mean_costs)

    def choice(self, policy: str, weight: float) -> Choice:
        """(n,) the model that a policy takes for each row; the best single one where it knows none."""
        quality, doubt, cost = self._forecasts[policy]
        price = np.where(np.isfinite(cost), cost, self._mean_costs) / self._dearest
        worth = quality - CAUTIONS[weight] * doubt - weight * price
        knows = np.isfinite(worth).any(axis=1)
        taken: Choice = np.where(np.isfinite(worth), worth, -np.inf).argmax(axis=1)
        return taken if knows.all() else np.where(knows, taken, self.choice(SINGLE, weight))

    def gain(self, policy: str, other: str, weights: Sequence[float]) -> _PerRow:
        """How much more one policy is worth than another on each row, in the mean over cost weights."""
        parts = [self._gain(policy, other, weight) for weight in weights]
        return _PerRow(*(np.mean(part, axis=0) for part in zip(*parts, strict=True)))

    def _gain(self, policy: str, other: str, weight: float) -> _PerRow:
        taken, others = self.choice(policy, weight), self.choice(other, weight)
        told = self.told(policy, other, weight)
        price = weight / self._dearest
        by_grades = self._scores - price * self._costs
        by_belief = self._expected - price * self._mean_costs
        untold = np.minimum(_cells(by_belief, taken) - _cells(by_belief, others), 0.0)
        parts = (self._one_of(taken) - self._one_of(others)) * told[:, None]
        return _PerRow(np.where(told, _cells(by_grades, taken) - _cells(by_grades, others), untold), parts)

    def told(self, policy: str, other: str, weight: float) -> NDArray[np.bool_]:
        """(n,) whether the grades can tell what both would have brought."""
        choices = (self.choice(policy, weight), self.choice(other, weight))
        can_tell: NDArray[np.bool_] = np.logical_and(*(_cells(self._can_tell, taken) for taken in choices))
        return can_tell

    def _one_of(self, taken: Choice) -> Floats:
        """(n, m) 1 for the model that was taken."""
        ones: Floats = (np.arange(self._scores.shape[1]) == taken[:, None]).astype(np.float64)
        return ones

    def telling(self, weights: Sequence[float]) -> int:
        """Rows on which, at one weight at least, the new router and the best single model differ and a grade of theirs
        is known."""
        graded = np.isfinite(self._held.rows.scores)
        tells = np.zeros(len(graded), dtype=bool)
        for weight in weights:
            taken, single = self.choice(NEW, weight), self.choice(SINGLE, weight)
            tells |= (
                (taken != single) & self.told(NEW, SINGLE, weight) & (_cells(graded, taken) | _cells(graded, single))
            )
        return int(tells.sum())

    def over_in_use(self, weights: Sequence[float], after: NDArray[np.bool_]) -> Span | None:
        """The new router's gain over the one in use, on rows that came after that; None with too few of them."""
        if IN_USE not in self._forecasts or after.sum() < FEWEST_TELLING:
            return None
        return self.span(self.gain(NEW, IN_USE, weights), after)

    def weight_report(self, weight: float) -> WeightReport:
        singles = Counter(self._held.rows.models[model] for model in self.choice(SINGLE, weight).tolist())
        policies = tuple(self._policy_report(policy, weight) for policy in self._forecasts)
        return WeightReport(weight, tuple(name for name, _ in singles.most_common()), policies)

    def _policy_report(self, policy: str, weight: float) -> PolicyReport:
        told = self.told(policy, SINGLE if policy != SINGLE else NEW, weight)
        if told.sum() < FEWEST_TELLING:
            return PolicyReport(policy, int(told.sum()), None, None, None)
        taken = self.choice(policy, weight)
        quality = _PerRow(_cells(self._scores, taken), self._one_of(taken))
        cost = _PerRow(_cells(self._costs, taken), np.zeros(self._costs.shape))
        return PolicyReport(
            policy=policy,
            rows=int(told.sum()),
            quality=_possible(self.span(quality, told)),
            cost_usd=self.span(cost, told) if self.has_costs else None,
            gain=None if policy == SINGLE else self.span(self.gain(policy, SINGLE, (weight,)), told),
        )

    def span(self, per_row: _PerRow, which: NDArray[np.bool_] | None = None) -> Span:
        """The mean over rows, all or those of a mask. A question is drawn with all of its rows."""
        here = np.ones(len(per_row.values)) if which is None else which.astype(float)
        questions = self._samples.shape[1]
        sums = np.bincount(self._questions, per_row.values * here, questions)
        sizes = np.bincount(self._questions, here, questions)
        means = (self._samples @ sums) / np.maximum(self._samples @ sizes, 1.0)
        value, error = float(sums.sum() / sizes.sum()), float(means.std())
        least = math.sqrt(float(here @ (per_row.parts**2 * self._scatter).sum(axis=1))) / float(sizes.sum())
        if error < least:
            return Span(value, value - NORMAL * least, value + NORMAL * least, least)
        low, high = np.quantile(means, [0.025, 0.975])
        return Span(value, float(low), float(high), error)


class _PerRow(NamedTuple):
    """Something that is made of values v of models on each row."""

    values: Floats
    """(n,)"""
    parts: Floats
    """(n, m): what a model's v counts for in it"""


def _possible(quality: Span) -> Span:
    """The interval within 0 and 1, where all grades lie."""
    return Span(quality.value, max(quality.low, 0.0), min(quality.high, 1.0), quality.error)


def _model_report(held_out: HeldOut, column: int) -> ModelReport:
    scores = held_out.rows.scores[:, column]
    graded = np.isfinite(scores)
    name, count = held_out.rows.models[column], int(graded.sum())
    if not count:
        return ModelReport(name, 0, None, None, None, None, None)
    scores, expected = scores[graded], held_out.new.quality[graded, column]
    means = _filled(held_out.known_scores)[graded, column]
    return ModelReport(
        model=name,
        rows=count,
        score=float(scores.mean()),
        predicted=float(expected.mean()),
        brier=float(((expected - scores) ** 2).mean()),
        brier_of_mean=float(((means - scores) ** 2).mean()),
        calibration=_calibration(expected, scores),
    )


def _calibration(expected: Floats, scores: Floats) -> float:
    """The mean distance of grades from what was expected, over BINS groups of equally many rows."""
    groups = np.array_split(np.argsort(expected, kind="stable"), min(BINS, len(expected)))
    distances = [abs(float((expected[group] - scores[group]).mean())) * len(group) for group in groups]
    return sum(distances) / len(expected)


def _put_right(expected: Floats, values: Floats, chances: Floats) -> Floats:
    known = np.isfinite(values)
    return expected + np.where(known, values - expected, 0.0) / np.clip(chances, LEAST_CHANCE, 1.0)


def _filled(table: Floats) -> Floats:
    """(n, m) NaN replaced by the mean of its row."""
    known = np.isfinite(table)
    means = np.where(known, table, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known, table, means[:, None])


def _cells(table: NDArray[Any], columns: Choice) -> NDArray[Any]:
    """(n,) of each row the one cell that `columns` names."""
    return table[np.arange(len(table)), columns]
