"""What graded calls tell of models, and how to choose while that is uncertain.

A grade is the prior of its model plus a linear function of the prompt's context φ (d numbers, 1 first):

    y = prior + φᵀ(β + θ_m) + noise,   β ~ N(0, 0.05²·I),   θ_m ~ N(0, diag(0.08², 0.06², …, 0.12², …))

β is shared: what one model finds hard, others may. Both posteriors are Gaussian and follow from sums over the grades
(`Evidence`), so evidence that several processes gathered adds up. Choosing is by Thompson sampling (Thompson 1933;
for linear rewards Agrawal & Goyal, "Thompson Sampling for Contextual Bandits with Linear Payoffs", ICML 2013): each
model is chosen with about the probability that it is the best one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from .decision import Believes, Estimate, Evidence, Grade
from .learned.reading import CONTEXT

SHARED_SD = 0.05
LEVEL_SD = 0.08
"""Of a model's grades about its prior, over all prompts."""
KIND_SD = 0.12
"""Over prompts of one kind of task: what was learned of one kind leaves others in doubt. Together: a stated profile is
off by about so much."""
SLOPE_SD = 0.06
"""By what is read in the text."""
NOISE = 0.2
"""Variance of a grade from 0 to 1 that is not explained by its prompt: that of successes and failures."""

PRIOR_SD = math.hypot(LEVEL_SD, KIND_SD)
"""Of a model that was never graded."""
LEAST_RELIABLE = 0.05

CELLS = 48
"""Of the grid on which the probabilities are integrated."""
REACH = 3.2
"""Standard deviations on either side that the grid covers."""
LEAST_SPREAD = 1e-9
"""Of the grid: with less doubt than that the best mean is the best, and its cells would be nothing wide."""

Floats = NDArray[np.float64]


class Beliefs:
    """The posterior of β + θ_m for each model: means [M, d] and covariances [M, d, d]. A model without evidence has the
    prior's."""

    def __init__(self, models: Sequence[str], means: Floats, covariances: Floats) -> None:
        """The last row is that of a model without evidence."""
        self._row = {model: row for row, model in enumerate(models)}
        self._means = means
        self._covariances = covariances

    def about(self, context: Sequence[float], models: Sequence[str]) -> Sequence[Estimate]:
        """How much better or worse each model will do on this prompt than its prior says. A context of another length
        (from another version of the reading of prompts) tells nothing."""
        phi = np.asarray(context)
        if len(phi) != self._means.shape[1]:
            return [Estimate(0.0, PRIOR_SD, "assumed")] * len(models)
        rows = [self._row.get(model, -1) for model in models]
        means = self._means[rows] @ phi
        variances = np.einsum("i,mij,j->m", phi, self._covariances[rows], phi)
        return [
            Estimate(float(mean), float(sd), "learned")
            for mean, sd in zip(means, np.sqrt(np.maximum(variances, 0.0)), strict=True)
        ]

    def of(self, model: str) -> tuple[Floats, Floats]:
        """Mean (d,) and covariance (d, d) of one model's β + θ."""
        row = self._row.get(model, -1)
        return self._means[row], self._covariances[row]


def believe(evidence: Mapping[str, Evidence]) -> Beliefs | None:
    """The posterior after all evidence; None where there is none.

    With A = Σ w·φφᵀ and b = Σ w·φy of one model, P its prior precision and S = (P + A)⁻¹, θ is integrated out of the
    precision of β: I/0.05² + Σ (A − A·S·A); then β + θ = S·P·β + S·b.
    """
    graded = {model: one for model, one in evidence.items() if one.grades}
    if not graded:
        return None
    size = len(next(iter(graded.values())).moment)
    spread = _spread(size)
    precision = np.diag(1 / spread**2)
    shared_precision = np.eye(size) / SHARED_SD**2
    shared_moment = np.zeros(size)
    spreads, moments = [], []
    for one in graded.values():
        gram = np.asarray(one.gram).reshape(size, size)
        moment = np.asarray(one.moment)
        own = np.linalg.inv(precision + gram)
        shared_precision += gram - gram @ own @ gram
        shared_moment += moment - gram @ own @ moment
        spreads.append(own)
        moments.append(moment)
    shared_spread = np.linalg.inv(shared_precision)
    shared = shared_spread @ shared_moment
    means, covariances = [], []
    for own, moment in zip(spreads, moments, strict=True):
        kept = own @ precision
        means.append(kept @ shared + own @ moment)
        covariances.append(own + kept @ shared_spread @ kept.T)
    means.append(shared)
    covariances.append(np.diag(spread**2) + shared_spread)
    return Beliefs(list(graded), np.array(means), np.array(covariances))


def _spread(size: int) -> Floats:
    """The standard deviations of θ before any grade."""
    spread = np.full(size, SLOPE_SD)
    spread[0], spread[CONTEXT:] = LEVEL_SD, KIND_SD
    return spread


def _prior(size: int) -> tuple[Floats, Floats]:
    """Mean and covariance of β + θ before any grade."""
    return np.zeros(size), np.diag(_spread(size) ** 2 + SHARED_SD**2)


def gather(grades: Sequence[Grade], epoch: int = 0) -> Evidence:
    """The sums over grades of one model. All contexts have the same length, and at least one grade is given."""
    contexts = np.array([grade.context for grade in grades])
    truths, weights = zip(*(unbiased(grade) for grade in grades), strict=True)
    weighted = contexts * np.array(weights)[:, None]
    beyond = np.array(truths) - np.array([grade.prior for grade in grades])
    return Evidence(
        epoch=epoch,
        grades=len(grades),
        gram=tuple(map(float, (weighted.T @ contexts).ravel())),
        moment=tuple(map(float, weighted.T @ beyond)),
    )


def corrected(evidence: Evidence, grades: Sequence[Grade]) -> Evidence:
    """With these grades in place of what they retract, where that is in the evidence. What lay before a fall is not:
    it tells nothing of the model as it is, whatever is thought of it by now."""
    for grade in grades:
        before = grade.instead
        if before is None or before.number <= evidence.since or len(grade.context) != len(evidence.moment):
            continue
        added = gather([grade])
        taken = gather([structs.replace(grade, score=before.score, reliability=before.reliability)])
        evidence = structs.replace(
            evidence,
            gram=_exchanged(evidence.gram, taken.gram, added.gram),
            moment=_exchanged(evidence.moment, taken.moment, added.moment),
        )
    return evidence


def _exchanged(sums: Sequence[float], taken: Sequence[float], added: Sequence[float]) -> tuple[float, ...]:
    return tuple(total + (more - less) for total, less, more in zip(sums, taken, added, strict=True))


def unbiased(grade: Grade) -> tuple[float, float]:
    """What the grade says once its giver's errors are taken out, and its weight (one over the noise's variance).

    Of a giver with reliability r, who is right with probability (1 + r)/2, a truth t comes out as r·t + (1 − r)/2 on
    average: a thumb that is right in 7 of 10 cases has r = 0.4, and is read as (score − 0.3)/0.4.
    """
    sharpness = min(max(grade.reliability, LEAST_RELIABLE), 1.0)
    noise = NOISE + (1 - sharpness**2) / (4 * sharpness**2)
    return (grade.score - (1 - sharpness) / 2) / sharpness, 1 / noise


def surprises(grades: Sequence[Grade], beliefs: Believes | None) -> list[float]:
    """How far below its expectation each grade of one model lies, in standard deviations of what a grade may be.

    What is expected follows the grades one by one, from `beliefs` on: those before them. So no surprise is told twice,
    however many grades come at once: the first bad poem is a surprise, the tenth is none.
    """
    mean, covariance = beliefs.of(grades[0].model) if isinstance(beliefs, Beliefs) else _prior(len(grades[0].context))
    found = []
    for grade in grades:
        phi = np.asarray(grade.context)
        truth, weight = unbiased(grade)
        shared = covariance @ phi
        variance = float(phi @ shared) + 1 / weight
        beyond = truth - grade.prior - float(phi @ mean)
        found.append(-beyond / math.sqrt(variance))
        gain = shared / variance
        mean, covariance = mean + gain * beyond, covariance - np.outer(gain, shared)
    return found


def chances_to_be_best(means: Sequence[float], sds: Sequence[float]) -> list[float]:
    """The probability of each of several independent normals to be the largest; they sum to 1.

    Integrated over a grid of 48 cells, with F(z) ≈ 1/(1 + exp(−(1.5957691·z + 0.07056·z³))) (Page 1977) for the normal
    distribution: P(a) = Σ over cells of ΔF_a · Π_{j≠a} F_j(middle). A choice is drawn from these numbers themselves, so
    what is logged is exact however coarse the grid.
    """
    mean = np.asarray(means, float)[:, None]
    spread = np.asarray(sds, float)[:, None]
    low, high = float((mean - REACH * spread).max()), float((mean + REACH * spread).max())
    if high - low < LEAST_SPREAD:
        best = mean[:, 0] == mean.max()
        return [float(share) for share in best / best.sum()]
    cell = (high - low) / CELLS
    spread = np.maximum(spread, 0.8 * cell)
    edges = np.linspace(low, high, CELLS + 1)
    below_edges = _normal(np.clip((edges - mean) / spread, -8, 8))
    below_edges[:, 0] = 0.0  # what lies below the grid counts as in its first cell
    below_middles = np.maximum(_normal(np.clip((edges[:-1] + cell / 2 - mean) / spread, -8, 8)), 1e-12)
    logs = np.log(below_middles)
    others = np.exp(logs.sum(axis=0) - logs)
    shares = (np.diff(below_edges, axis=1) * others).sum(axis=1)
    return [float(share) for share in shares / shares.sum()]


def _normal(z: Floats) -> Floats:
    distribution: Floats = 1 / (1 + np.exp(-(1.5957691 * z + 0.07056 * z**3)))
    return distribution
