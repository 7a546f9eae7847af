"""The measures of learned routing, of any router on any pools: what `pointsman bench routing` runs.

Six measures, each a few lines of figures (docs/routing.md says what they mean):

known    RGC and gap on unseen prompts of known tasks
unseen   the same on whole fields of tasks that were left out of fitting
apgr     APGR and CPT between two models, cross-validated
small    the same with 1,500 labels
carried  APGR on sets that nothing was fitted on
speed    the time of one decision

Every router is fitted on the same rows and scored on the same others.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args
from zlib import crc32

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from .outcomes import Outcomes
from .routing_baselines import Router
from .routing_measures import (
    DRAWS,
    Floats,
    Judged,
    Sampled,
    Value,
    draws,
    gain,
    joined,
    judged,
    known,
    mean_of,
    ranked,
    sampled,
)
from .routing_pools import Rows, by_field, by_question

Measure = Literal["known", "unseen", "apgr", "small", "carried", "speed"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
Rivals = Mapping[str, Callable[[], Router]]
"""Routers by name. The first is the one measured, the second the one that it is compared with."""

FOLDS = 5
FEW_LABELS = 1_500
FEW_LABELS_DRAWS = 4
CARRIED_TASKS = re.compile("gsm")
"""Tasks of word problems: a published router was judged on such a set without being fitted on it (docs/routing.md)."""
FEWEST = 200
"""Prompts that a pool needs to be fitted on; a smaller one is a target of `carried` alone."""
APART = 0.2
"""Two models are a strong and a weak one where their mean scores differ by this much."""
TIMED_CHARS = 576
"""About 144 tokens of English."""
TIMED_PROMPTS, TIMED_CALLS, WARM_CALLS = 100, 2_000, 100


class Line(Struct, frozen=True):
    """One figure of every router that was measured."""

    measure: Measure
    pool: str
    figure: str
    values: dict[str, Value]
    difference: Value | None
    """The first router less the second, paired; None where a difference says nothing."""
    rows: int
    """Prompts scored."""


class Plan(Struct, frozen=True):
    """How to measure. With `folds`, rows of the split `test` are neither fitted on nor scored."""

    usual: Rivals
    carried: Rivals
    seed: int = 0
    folds: int = 0
    """0: fit on train and val, score test."""
    tell_tasks: bool = True
    """Whether fitting is told the tasks."""
    samples: int = DRAWS


class Fold(Struct, frozen=True):
    """Rows to fit on and rows to score."""

    fitted: Rows
    scored: Rows


Forecast = tuple[Floats, Floats]
"""(quality, cost): (n, m) each."""


class Bench:
    """Measures routers on pools. `tell` hears of each step; `left_out` is what could not be measured, and why."""

    def __init__(self, pools: Sequence[Outcomes], plan: Plan, tell: Callable[[str], None] = lambda _: None) -> None:
        self._pools = pools
        self._plan = plan
        self._tell = tell
        self.left_out: list[str] = []

    def lines(self, measures: Sequence[Measure] = MEASURES) -> Iterator[Line]:
        """In the order of MEASURES."""
        for measure in MEASURES:
            if measure in measures:
                yield from self._of(measure)

    def _of(self, measure: Measure) -> Iterator[Line]:
        if measure in ("known", "unseen"):
            return self._gains(measure)
        if measure in ("apgr", "small"):
            return self._ranks(measure)
        return self._carried() if measure == "carried" else self._speed()

    # RGC and gap

    def _gains(self, measure: Measure) -> Iterator[Line]:
        found: list[dict[str, list[Sampled]]] = []
        for pool in self._pools:
            folds = self._folds_of(measure, pool)
            if not folds:
                continue
            parts: dict[str, list[Judged]] = {name: [] for name in self._plan.usual}
            for fold in folds:
                fitted, scored = pool.rows(fold.fitted), pool.rows(fold.scored)
                reference = known(fitted.scores, fitted.costs)
                for name, (quality, cost) in self._forecasts(measure, self._plan.usual, fitted, scored).items():
                    parts[name].append(judged(quality, cost, scored.scores, scored.costs, reference))
            figures = {name: self._sampled_gain(pool, joined(judgements)) for name, judgements in parts.items()}
            rows = sum(len(part) for part in next(iter(parts.values())))
            for at, figure in enumerate(("RGC", "gap", "score")):
                yield self._line(measure, pool.name, figure, {name: three[at] for name, three in figures.items()}, rows)
            found.append(figures)
        if len(found) > 1:
            yield from self._over_pools(measure, found)

    def _over_pools(self, measure: Measure, found: Sequence[Mapping[str, Sequence[Sampled]]]) -> Iterator[Line]:
        names = list(self._plan.usual)
        means = {name: mean_of([figures[name][0] for figures in found]) for name in names}
        yield self._line(measure, "mean of pools", "RGC", means, 0)
        worst = {name: min((figures[name][1] for figures in found), key=_harm) for name in names}
        values = {name: gap.figure() for name, gap in worst.items()}
        yield Line(measure, "worst of pools", "gap", values, None, 0)

    def _folds_of(self, measure: Measure, pool: Outcomes) -> list[Fold]:
        """Empty, with the reason told, where a pool cannot be measured."""
        priced = bool(np.isfinite(pool.costs).any(axis=0).all())
        if len(pool) < FEWEST or len(pool.models) < 2 or not priced:
            self._leave_out(f"{measure} {pool.name}", f"not {FEWEST} prompts, two models and costs of all of them")
            return []
        folds = self._with_known_tasks(pool) if measure == "known" else self._with_fields_left_out(pool)
        if not folds:
            self._leave_out(f"{measure} {pool.name}", "too few prompts or tasks to leave some out")
        return folds

    def _with_known_tasks(self, pool: Outcomes) -> list[Fold]:
        held = np.array([split == "test" for split in pool.splits])
        if held.any() and not self._plan.folds:
            return [Fold(np.flatnonzero(~held), np.flatnonzero(held))] if not held.all() else []
        rows = np.flatnonzero(~held)
        return _folds(rows, by_question([pool.prompts[row] for row in rows], self._plan.folds or FOLDS))

    def _with_fields_left_out(self, pool: Outcomes) -> list[Fold]:
        rows = _not_test(pool)
        return _folds(rows, by_field(pool.tasks)[rows]) if pool.known_tasks() else []

    def _sampled_gain(self, pool: Outcomes, rows: Judged) -> list[Sampled]:
        def three(weights: Floats | None) -> Floats:
            found = gain(rows, weights)
            return np.array([found.rgc, found.gap, found.score])

        return sampled(three, self._samples(pool, len(rows)))

    # APGR and CPT

    def _ranks(self, measure: Measure) -> Iterator[Line]:
        pools = [pool for pool in self._pools if _is_a_pair(pool)]
        if not pools:
            self._leave_out(measure, f"no pool of two models and {FEWEST} prompts")
        for pool in pools:
            rows = _not_test(pool) if self._plan.folds else np.arange(len(pool))
            folds = self._apgr_folds(pool, rows) if measure == "apgr" else self._few_labels(rows)
            ranks: dict[str, list[Floats]] = {name: [] for name in self._plan.usual}
            pair = _strong_and_weak(pool)
            for fold in folds:
                fitted, scored = pool.rows(fold.fitted), pool.rows(fold.scored)
                for name, (quality, _) in self._forecasts(measure, self._plan.usual, fitted, scored).items():
                    ranks[name].append(quality[:, pair[0]] - quality[:, pair[1]])
            runs = [fold.scored for fold in folds]
            found = {name: self._sampled_rank(pool, runs, each, [pair]) for name, each in ranks.items()}
            yield from self._rank_lines(measure, pool.name, found, len(rows))

    def _apgr_folds(self, pool: Outcomes, rows: Rows) -> list[Fold]:
        prompts = [pool.prompts[row] for row in rows]
        return _folds(rows, by_question(prompts, self._plan.folds or FOLDS, "apgr"))

    def _few_labels(self, rows: Rows) -> list[Fold]:
        """FEW_LABELS rows by chance, or half of what there is, to fit on; the others are scored."""
        few = min(FEW_LABELS, len(rows) // 2)
        orders = [np.random.default_rng([self._plan.seed, at]).permutation(rows) for at in range(FEW_LABELS_DRAWS)]
        return [Fold(np.sort(order[:few]), np.sort(order[few:])) for order in orders]

    def _sampled_rank(
        self, pool: Outcomes, runs: Sequence[Rows], ranks: Sequence[Floats], pairs: Sequence[tuple[int, int]]
    ) -> list[Sampled]:
        """(APGR, CPT50, CPT80): means over runs and pairs of models. A row of several runs is drawn for all of them."""

        def three(weights: Floats | None) -> Floats:
            found = [
                ranked(
                    rank, pool.scores[run, strong], pool.scores[run, weak], weights if weights is None else weights[run]
                )
                for run, rank in zip(runs, ranks, strict=True)
                for strong, weak in pairs
            ]
            means: Floats = np.mean([[each.apgr, each.cpt50, each.cpt80] for each in found], axis=0)
            return means

        return sampled(three, self._samples(pool, len(pool)))

    def _rank_lines(
        self, measure: Measure, pool: str, found: Mapping[str, Sequence[Sampled]], rows: int
    ) -> Iterator[Line]:
        for at, figure in enumerate(("APGR", "CPT50", "CPT80")):
            yield self._line(measure, pool, figure, {name: three[at] for name, three in found.items()}, rows)

    # Carried over

    def _carried(self) -> Iterator[Line]:
        """A router of two models, fitted on all but the rows of `test`, ranks the prompts of other sets."""
        source = next((pool for pool in self._pools if _is_a_pair(pool)), None)
        targets = [target for pool in self._pools if source for target in self._targets(source, pool)]
        if source is None or not targets:
            self._leave_out("carried", "no pool of two models beside a set of the same models or of word problems")
            return
        fitted = source.rows(_not_test(source))
        strong, weak = _strong_and_weak(source)
        routers = {name: self._fitted("carried", name, make, fitted) for name, make in self._plan.carried.items()}
        for target, pairs in targets:
            forecasts = {name: router.predict(target.prompts)[0] for name, router in routers.items()}
            ranks = {name: quality[:, strong] - quality[:, weak] for name, quality in forecasts.items()}
            everything = [np.arange(len(target))]
            found = {name: self._sampled_rank(target, everything, [rank], pairs) for name, rank in ranks.items()}
            yield from self._rank_lines("carried", target.name, found, len(target))

    def _targets(self, source: Outcomes, pool: Outcomes) -> Iterator[tuple[Outcomes, list[tuple[int, int]]]]:
        """Rows of another set, and the pairs of a strong and a weak model that they are ranked for."""
        if pool.name == source.name:
            return
        rows = _not_test(pool) if self._plan.folds else np.arange(len(pool))
        if pool.models == source.models:
            yield pool.rows(rows), [_strong_and_weak(source)]
            return
        for task in sorted({task for task in pool.tasks if CARRIED_TASKS.search(task)}):
            of_task = pool.rows(np.array([row for row in rows if pool.tasks[row] == task], np.intp))
            means = known(of_task.scores, of_task.costs).scores
            order = range(len(means))
            pairs = [(one, other) for one in order for other in order if means[one] - means[other] >= APART]
            if pairs:
                yield _named(of_task, f"{pool.name}: {task}"), pairs

    # Time

    def _speed(self) -> Iterator[Line]:
        """Milliseconds from a text to its forecast, one prompt after the other in this thread."""
        if not self._pools:
            return
        pool = max(self._pools, key=lambda pool: len(pool.models) * len(pool))
        fitted = pool.rows(_not_test(pool))
        by_length = np.argsort([abs(len(prompt) - TIMED_CHARS) for prompt in fitted.prompts], kind="stable")
        prompts = [fitted.prompts[row] for row in by_length[:TIMED_PROMPTS]]
        times = {
            name: _times(self._fitted("speed", name, make, fitted), prompts) for name, make in self._plan.usual.items()
        }
        for percent in (50, 95):
            values = {name: Value(float(np.percentile(each, percent)), np.nan) for name, each in times.items()}
            yield Line("speed", pool.name, f"p{percent} ms", values, None, TIMED_CALLS)

    # What all share

    def _leave_out(self, what: str, why: str) -> None:
        self.left_out.append(f"{what}: {why}")
        self._tell(f"left out: {what}: {why}")

    def _forecasts(self, measure: Measure, rivals: Rivals, fitted: Outcomes, scored: Outcomes) -> dict[str, Forecast]:
        return {
            name: self._fitted(measure, name, make, fitted).predict(scored.prompts) for name, make in rivals.items()
        }

    def _fitted(self, measure: Measure, name: str, make: Callable[[], Router], rows: Outcomes) -> Router:
        began = time.perf_counter()
        tasks = rows.known_tasks() if self._plan.tell_tasks else None
        router = make().fit(rows.prompts, tasks, rows.scores, rows.costs, rows.models)
        seconds = time.perf_counter() - began
        self._tell(f"{measure} {rows.name}: {name} fitted on {len(rows):,} prompts in {seconds:.1f} s")
        return router

    def _samples(self, pool: Outcomes, rows: int) -> Floats:
        """The same for pools that share their prompts, so that their errors add up as they should."""
        return draws(rows, self._plan.samples, (self._plan.seed, crc32(pool.prompts[0].encode())))

    def _line(self, measure: Measure, pool: str, figure: str, found: Mapping[str, Sampled], rows: int) -> Line:
        difference = None
        if len(found) > 1:
            first, second, *_ = found.values()
            difference = first.less(second).figure()
        return Line(measure, pool, figure, {name: each.figure() for name, each in found.items()}, difference, rows)


def _harm(gap: Sampled) -> float:
    return float(np.nan_to_num(gap.value, nan=np.inf))


def _folds(rows: Rows, fold: NDArray[np.intp]) -> list[Fold]:
    """Each fold scored by what was fitted on the others; none where there are less than two."""
    there = sorted(set(fold.tolist()))
    return [Fold(rows[fold != at], rows[fold == at]) for at in there] if len(there) > 1 else []


def _not_test(pool: Outcomes) -> Rows:
    return np.flatnonzero([split != "test" for split in pool.splits])


def _is_a_pair(pool: Outcomes) -> bool:
    return len(pool.models) == 2 and len(pool) >= FEWEST


def _strong_and_weak(pool: Outcomes) -> tuple[int, int]:
    strong = known(pool.scores, pool.costs).best
    return strong, 1 - strong


def _named(outcomes: Outcomes, name: str) -> Outcomes:
    return outcomes.of(outcomes.models, name)


def _times(router: Router, prompts: Sequence[str]) -> Floats:
    """(TIMED_CALLS,) milliseconds."""
    for call in range(WARM_CALLS):
        router.predict([prompts[call % len(prompts)]])
    times = np.empty(TIMED_CALLS)
    for call in range(TIMED_CALLS):
        began = time.perf_counter()
        router.predict([prompts[call % len(prompts)]])
        times[call] = 1_000 * (time.perf_counter() - began)
    return times
