"""How good a router is: what it gains over every mix of models that does not read the prompt, and what it costs.

A router says for each prompt i and model j the probability of success p[i, j] and the cost c[i, j]. Two families of
measures are taken from that:

* RGC and gap, where each model has a price. At a price λ on cost the router picks argmax_j p[i, j] − λ c[i, j]/c_max.
  As λ runs over LAMBDAS, (mean cost, mean score) draws a curve. AIQ (RouterBench, arXiv 2403.12031) is the mean height
  of its non-decreasing concave hull over the range of the models' costs. With the oracle, which picks by the true
  scores and costs in the same way, and the static hull, which is that of the models themselves,

      RGC = (AIQ_router − AIQ_static) / (AIQ_oracle − AIQ_static)
      gap = (score at λ = 0 − best single) / (oracle at λ = 0 − best single)

  RGC is 0 for the best mix that reads no prompt and 1 for the oracle; a negative gap says that routing does harm.
* APGR and CPT, between a strong and a weak model (RouteLLM, arXiv 2406.18665). When the prompts with the highest rank
  go to the strong one until it has a share f of them, PGR(f) = (score − weak) / (strong − weak). APGR is the area under
  PGR, CPT(x) the least share that reaches x. A rank by chance has .5, and CPT(x) = x.

Errors are standard errors by the bootstrap over prompts; two routers are compared on the same draws (paired).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LAMBDAS: Floats = np.concatenate([[0.0], np.logspace(-3, 2.5, 45)])
"""46 prices on cost, from 'quality alone' to 'the cheapest'."""
DRAWS = 200
"""Of the bootstrap."""
_TINY = 1e-9


class Value(Struct, frozen=True):
    """A figure and its standard error. NaN where there is nothing to measure."""

    value: float
    error: float


class Known(Struct, frozen=True):
    """What fitting knew of the m models: mean score and mean cost over the rows that were fitted on."""

    scores: Floats
    costs: Floats

    @property
    def best(self) -> int:
        """The best single model; in a tie the first."""
        return int(np.nanargmax(self.scores))

    @property
    def cheapest(self) -> int:
        return int(np.nanargmin(self.costs))


class Judged(Struct, frozen=True):
    """A router's choices and what they brought, a row for each of n prompts; L is the number of LAMBDAS."""

    scores: Floats
    """(n, m), 0 where unknown."""
    costs: Floats
    known: NDArray[np.bool_]
    """(n, m): the cells that can be chosen."""
    router: Path
    oracle: Path
    best: NDArray[np.intp]
    """(n,): the best single model, as it was known when fitting."""
    cheapest: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.scores)


class Path(Struct, frozen=True):
    """What is paid and what is got at each λ: both (n, L)."""

    scores: Floats
    costs: Floats


class Gain(Struct, frozen=True):
    """RGC and gap are NaN where the oracle gains nothing over a single model."""

    rgc: float
    gap: float
    score: float
    """Mean score at λ = 0."""


def known(scores: Floats, costs: Floats) -> Known:
    """Of the rows that were fitted on: (n, m) each, NaN where unknown. A model without any row has NaN."""
    return Known(_column_means(scores), _column_means(costs))


def judged(quality: Floats, cost: Floats, scores: Floats, costs: Floats, reference: Known) -> Judged:
    """A router's forecasts of `quality` and `cost` on rows whose true `scores` and `costs` are known: (n, m) each.

    Cells whose score or cost is unknown cannot be chosen, by the router or by the oracle.
    """
    there = np.isfinite(scores) & np.isfinite(costs)
    keep = there.any(axis=1)
    there, true_scores, true_costs = there[keep], np.nan_to_num(scores[keep]), np.nan_to_num(costs[keep])
    dearest = float(np.nanmax(reference.costs)) or 1.0
    rows = len(there)

    def path(forecast: Floats, price: Floats) -> Path:
        picked_scores, picked_costs = np.empty((rows, len(LAMBDAS))), np.empty((rows, len(LAMBDAS)))
        everyone = np.arange(rows)
        for at, weight in enumerate(LAMBDAS):
            worth = np.nan_to_num(forecast - weight * price / dearest, nan=-np.inf)
            choice = np.where(there, worth, -np.inf).argmax(axis=1)
            picked_scores[:, at] = true_scores[everyone, choice]
            picked_costs[:, at] = true_costs[everyone, choice]
        return Path(picked_scores, picked_costs)

    return Judged(
        true_scores,
        true_costs,
        there,
        path(quality[keep], cost[keep]),
        path(true_scores, true_costs),
        np.full(rows, reference.best),
        np.full(rows, reference.cheapest),
    )


def joined(parts: Sequence[Judged]) -> Judged:
    """The rows of several fits as one, each judged by what its own fit knew."""
    return Judged(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.costs for part in parts]),
        np.concatenate([part.known for part in parts]),
        _joined_paths([part.router for part in parts]),
        _joined_paths([part.oracle for part in parts]),
        np.concatenate([part.best for part in parts]),
        np.concatenate([part.cheapest for part in parts]),
    )


def gain(rows: Judged, weights: Floats | None = None) -> Gain:
    """RGC, gap and score over rows that count `weights` times each (once by default)."""
    times = np.ones(len(rows)) if weights is None else weights
    total = times.sum()
    cells = times[:, None] * rows.known
    seen = cells.sum(axis=0) > 0
    each = cells.sum(axis=0)[seen]
    score, cost = (cells * rows.scores).sum(axis=0)[seen] / each, (cells * rows.costs).sum(axis=0)[seen] / each
    low, high = float(cost.min()), float(cost.max())
    ends = [_single(rows, rows.cheapest, times), _single(rows, rows.best, times)]

    def area(path: Path) -> float:
        costs = np.concatenate([times @ path.costs / total, [end[1] for end in ends]])
        scores = np.concatenate([times @ path.scores / total, [end[0] for end in ends]])
        return hull_area(costs, scores, low, high)

    static, oracle = hull_area(cost, score, low, high), area(rows.oracle)
    first = float(times @ rows.router.scores[:, 0] / total)
    perfect = float(times @ rows.oracle.scores[:, 0] / total)
    best = ends[1][0]
    return Gain(
        rgc=_share(area(rows.router) - static, oracle - static),
        gap=_share(first - best, perfect - best),
        score=first,
    )


def hull_area(costs: Floats, scores: Floats, low: float, high: float) -> float:
    """The mean height over costs `low` to `high` of the non-decreasing concave hull of the points (AIQ).

    Left of the first point it is as high as there, right of the last as high as at the last. With one cost alone it is
    the height there.
    """
    hull = _hull(costs, scores)
    across, heights = np.array([x for x, _ in hull]), np.array([y for _, y in hull])
    if high <= low:
        return float(np.interp(high, across, heights))
    inside = across[(across > low) & (across < high)]
    grid = np.concatenate([[low], inside, [high]])
    return _area(grid, np.interp(grid, across, heights)) / (high - low)


class Ranked(Struct, frozen=True):
    """APGR and the shares of strong calls that recover 50 and 80 % of the gap; NaN where the strong model is not the
    better one."""

    apgr: float
    cpt50: float
    cpt80: float


def ranked(rank: ArrayLike, strong: ArrayLike, weak: ArrayLike, weights: Floats | None = None) -> Ranked:
    """APGR and CPT of a rank: the higher, the sooner a prompt goes to the strong model. All (n,).

    Prompts of one rank go in no order: the curve runs straight across them, as it does on average in a random order.
    Prompts of which one score is unknown do not count.
    """
    keys, gains = np.asarray(rank, float), np.asarray(strong, float) - np.asarray(weak, float)
    there = np.isfinite(gains)
    times = (np.ones(len(keys)) if weights is None else weights)[there]
    order = np.argsort(-keys[there], kind="stable")
    keys, times, gains = keys[there][order], times[order], gains[there][order] * times[order]
    whole = gains.sum()
    if not whole > _TINY:
        return Ranked(np.nan, np.nan, np.nan)
    last_of_rank = np.append(keys[1:] != keys[:-1], True)
    share = np.concatenate([[0.0], np.cumsum(times)[last_of_rank]]) / times.sum()
    recovered = np.concatenate([[0.0], np.cumsum(gains)[last_of_rank]]) / whole
    return Ranked(_area(share, recovered), *(_reached(share, recovered, level) for level in (0.5, 0.8)))


def draws(rows: int, number: int = DRAWS, seed: Sequence[int] = (0,)) -> Floats:
    """How often each row stands in each sample with replacement: (number, rows). One seed gives the same samples, so
    that differences are paired."""
    dice = np.random.default_rng(list(seed))
    return dice.multinomial(rows, np.full(rows, 1 / rows), number).astype(float)


class Sampled(Struct, frozen=True):
    """A figure, and what it was in each sample of the bootstrap. Figures of the same samples can be compared."""

    value: float
    samples: Floats

    def less(self, other: Sampled) -> Sampled:
        return Sampled(self.value - other.value, self.samples - other.samples)

    def figure(self) -> Value:
        """NaN for its error where no sample had a figure."""
        there = self.samples[np.isfinite(self.samples)]
        return Value(self.value, float(there.std()) if len(there) else np.nan)


def sampled(measure: Callable[[Floats | None], Floats], samples: Floats) -> list[Sampled]:
    """`measure` gives one or more figures for the weights of the rows, None for once each."""
    drawn = np.array([measure(weights) for weights in samples])
    return [Sampled(float(value), drawn[:, at]) for at, value in enumerate(measure(None))]


def mean_of(figures: Sequence[Sampled]) -> Sampled:
    return Sampled(
        float(np.mean([figure.value for figure in figures])), np.mean([figure.samples for figure in figures], axis=0)
    )


def _column_means(table: Floats) -> Floats:
    there = np.isfinite(table)
    number = there.sum(axis=0)
    return np.where(number > 0, np.where(there, table, 0.0).sum(axis=0) / np.maximum(number, 1), np.nan)


def _joined_paths(paths: Sequence[Path]) -> Path:
    return Path(np.concatenate([path.scores for path in paths]), np.concatenate([path.costs for path in paths]))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > _TINY else np.nan


def _single(rows: Judged, model: NDArray[np.intp], times: Floats) -> tuple[float, float]:
    """(mean score, mean cost) of always taking one model, over the rows where its outcome is known."""
    everyone = np.arange(len(rows))
    here = times * rows.known[everyone, model]
    total = max(here.sum(), _TINY)
    return float(here @ rows.scores[everyone, model] / total), float(here @ rows.costs[everyone, model] / total)


def _hull(costs: Floats, scores: Floats) -> list[tuple[float, float]]:
    """The corners from the cheapest on: each dearer and better than the one before, at a slope that only falls."""
    corners: list[tuple[float, float]] = []
    for at in np.lexsort((-scores, costs)):
        x, y = float(costs[at]), float(scores[at])
        if corners and y <= corners[-1][1]:
            continue
        if corners and x == corners[-1][0]:
            corners.pop()
        while len(corners) >= 2 and not _turns_down(corners[-2], corners[-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    return corners


def _turns_down(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    """Whether the way over `middle` lies above the straight line from `first` to `last`."""
    rise, run = middle[1] - first[1], middle[0] - first[0]
    return rise * (last[0] - middle[0]) > (last[1] - middle[1]) * run


def _reached(share: Floats, recovered: Floats, level: float) -> float:
    """The least share at which the curve has come to `level`, read off the straight lines between its points."""
    at = int(np.argmax(recovered >= level - _TINY))
    before, after = recovered[at - 1], recovered[at]
    part = min(max((level - before) / max(after - before, _TINY), 0.0), 1.0)
    return float(share[at - 1] + part * (share[at] - share[at - 1]))


def _area(across: Floats, heights: Floats) -> float:
    """Under straight lines between the points."""
    return float(((heights[1:] + heights[:-1]) * np.diff(across)).sum() / 2)
