"""What a learned router is measured against: neighbours with a tuned k, no reading at all, and the length alone.

Tuned nearest neighbours on sentence vectors are the baseline to beat: "Rethinking Predictive Modeling for LLM Routing"
(arXiv 2505.12601) finds that they match learned routers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .routing_measures import Known, gain, judged, known

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Encoder = Callable[[Sequence[str]], Vectors]
"""Texts → unit vectors, or zeros: (n, d)."""


class Router(Protocol):
    """What is fitted on outcomes and forecasts them: scores 0 to 1, costs in US dollars, both (n, m), NaN unknown."""

    def fit(
        self,
        prompts: Sequence[str],
        tasks: Sequence[str] | None,
        scores: Floats,
        costs: Floats,
        models: Sequence[str],
    ) -> Self: ...

    def predict(self, prompts: Sequence[str]) -> tuple[Floats, Floats]:
        """(quality, cost) of each prompt and model."""
        ...


class Simple(ABC):
    """A Router that needs neither tasks nor names of models."""

    def fit(
        self,
        prompts: Sequence[str],
        tasks: Sequence[str] | None,
        scores: Floats,
        costs: Floats,
        models: Sequence[str],
    ) -> Self:
        self._learn(prompts, scores, costs)
        return self

    @abstractmethod
    def predict(self, prompts: Sequence[str]) -> tuple[Floats, Floats]: ...

    @abstractmethod
    def _learn(self, prompts: Sequence[str], scores: Floats, costs: Floats) -> None: ...


class NoReading(Simple):
    """Forecasts the mean for every prompt: the best single model at λ = 0, and cheaper ones as λ grows."""

    _known: Known

    def predict(self, prompts: Sequence[str]) -> tuple[Floats, Floats]:
        rows = (len(prompts), 1)
        return np.tile(self._known.scores, rows), np.tile(self._known.costs, rows)

    def _learn(self, prompts: Sequence[str], scores: Floats, costs: Floats) -> None:
        self._known = known(scores, costs)


class Length(NoReading):
    """Believes that longer prompts need the better models, and nothing else: a rank, not a probability."""

    def predict(self, prompts: Sequence[str]) -> tuple[Floats, Floats]:
        quality, cost = super().predict(prompts)
        chars = np.array([[len(prompt)] for prompt in prompts], float).reshape(-1, 1)
        return np.log1p(chars) * np.nan_to_num(self._known.scores), cost


class Neighbours(Simple):
    """Means over the k nearest prompts, the nearer ones counting more: exp(8 (similarity − the greatest one)).

    k is the one of TRIED with the best RGC on a fifth of the rows, which were not among the neighbours.
    """

    TRIED = (20, 40, 80, 160, 320)
    SHARPNESS = 8.0
    AT_ONCE = 512
    """Prompts whose neighbours are looked up together; bounds the memory."""

    def __init__(self, encode: Encoder, seed: int = 0) -> None:
        self._encode = encode
        self._seed = seed
        self.k = self.TRIED[1]

    def predict(self, prompts: Sequence[str]) -> tuple[Floats, Floats]:
        return self._forecast(self._encode(prompts), self.k)

    def _learn(self, prompts: Sequence[str], scores: Floats, costs: Floats) -> None:
        vectors = self._encode(prompts)
        costs = costs if np.isfinite(costs).any() else np.zeros_like(scores)  # no price is known: quality alone counts
        held_out = np.random.default_rng(self._seed).random(len(prompts)) < 0.2
        rest = np.flatnonzero(~held_out)
        if held_out.any() and len(rest):
            self._keep(vectors[rest], scores[rest], costs[rest])
            self.k = max(self.TRIED, key=lambda k: self._worth(k, vectors[held_out], scores[held_out], costs[held_out]))
        self._keep(vectors, scores, costs)

    def _keep(self, vectors: Vectors, scores: Floats, costs: Floats) -> None:
        self._vectors = vectors
        self._means = known(scores, costs)
        self._tables = (
            (np.isfinite(scores), _above(scores, self._means.scores), self._means.scores),
            (
                np.isfinite(costs),
                _above(costs, self._means.costs),
                self._means.costs,
            ),
        )

    def _worth(self, k: int, vectors: Vectors, scores: Floats, costs: Floats) -> float:
        quality, cost = self._forecast(vectors, k)
        return float(np.nan_to_num(gain(judged(quality, cost, scores, costs, self._means)).rgc))

    def _forecast(self, vectors: Vectors, k: int) -> tuple[Floats, Floats]:
        parts = [self._near(vectors[at : at + self.AT_ONCE], k) for at in range(0, len(vectors), self.AT_ONCE)]
        empty = np.empty((0, len(self._means.scores)))
        return (
            np.concatenate([quality for quality, _ in parts] or [empty]),
            np.concatenate([cost for _, cost in parts] or [empty]),
        )

    def _near(self, vectors: Vectors, k: int) -> tuple[Floats, Floats]:
        similar = vectors @ self._vectors.T
        k = min(k, similar.shape[1])
        nearest = np.argpartition(similar, similar.shape[1] - k, axis=1)[:, -k:]
        near = np.take_along_axis(similar, nearest, axis=1).astype(float)
        weight = np.exp(self.SHARPNESS * (near - near.max(axis=1, keepdims=True)))
        quality, cost = (
            mean + _weighted(weight, there[nearest], above[nearest]) for there, above, mean in self._tables
        )
        return quality, cost


def _above(table: Floats, means: Floats) -> Floats:
    """How far each cell is above its column's mean; 0 where it is unknown."""
    return np.where(np.isfinite(table), table - means, 0.0)


def _weighted(weight: Floats, there: NDArray[np.bool_], above: Floats) -> Floats:
    """(n, k), (n, k, m), (n, k, m) → the weighted mean over the k rows whose cell is known: (n, m)."""
    total = np.einsum("nk,nkm->nm", weight, there.astype(float))
    mean: Floats = np.einsum("nk,nkm->nm", weight, above) / np.maximum(total, 1e-9)
    return mean
