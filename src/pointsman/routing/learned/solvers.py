"""The numerical work of a fit: regressions, principal directions, clusters. The one module that needs scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse

from .arrays import Floats, Ints

Sparse = Any
"""scipy.sparse.csr_matrix, float32."""


def sparse_rows(rows: list[tuple[Ints, Floats]], columns: int) -> Sparse:
    """Rows given as (columns, values) to a sparse matrix (n, columns)."""
    ends = np.cumsum([0, *(len(indices) for indices, _ in rows)])
    indices = np.concatenate([indices for indices, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return scipy.sparse.csr_matrix((values, indices, ends), shape=(len(rows), columns), dtype=np.float32)


def beside(left: Sparse, right: Floats) -> Sparse:
    return scipy.sparse.hstack([left, scipy.sparse.csr_matrix(right)]).tocsr().astype(np.float32)


def principal_directions(matrix: Sparse, count: int, seed: int) -> Floats:
    """(columns, count): the first right singular vectors, by subspace iteration from random vectors (Halko, Martinsson,
    Tropp 2011)."""
    count = min(count, min(matrix.shape) - 1)
    if count < 1:
        return np.zeros((matrix.shape[1], 0), np.float32)
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(matrix @ rng.standard_normal((matrix.shape[1], count + 20)).astype(np.float32))[0]
    for _ in range(4):
        basis = np.linalg.qr(matrix.T @ basis)[0]
        basis = np.linalg.qr(matrix @ basis)[0]
    directions = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)[2]
    return np.ascontiguousarray(directions[:count].T, np.float32)


def softmax_regression(
    rows: Any, classes: Ints, count: int, *, tolerance: float, iterations: int
) -> tuple[Floats, Floats]:
    """Weights (columns, count) and bias (count,) with the penalty |weights|²/(2·tolerance). Rows dense or sparse."""
    if count < 2:
        return np.zeros((rows.shape[1], count), np.float32), np.zeros(count, np.float32)
    n, columns = rows.shape
    truth = np.zeros((n, count), np.float32)
    truth[np.arange(n), classes] = 1
    across = rows.T.tocsr() if scipy.sparse.issparse(rows) else rows.T

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat[: columns * count].reshape(columns, count).astype(np.float32)
        logits = rows @ weights + flat[columns * count :].astype(np.float32)
        logits -= logits.max(1, keepdims=True)
        powers = np.exp(logits)
        sums = powers.sum(1, keepdims=True)
        surprise = float((np.log(sums[:, 0]) - logits[np.arange(n), classes]).sum())
        penalty = 0.5 / tolerance * float((weights * weights).sum())
        error = powers / sums - truth
        gradient = np.concatenate([(across @ error + weights / tolerance).ravel(), error.sum(0)])
        return surprise + penalty, gradient.astype(np.float64)

    start = np.concatenate([np.zeros(columns * count), np.log(truth.mean(0) + 1e-6)])
    options = {"maxiter": iterations, "maxcor": 8}
    flat = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x.astype(np.float32)
    return flat[: columns * count].reshape(columns, count), flat[columns * count :]


def ridge(rows: Floats, targets: Floats, penalty: float) -> Floats:
    """(columns, targets), without an intercept; solved over the rows where they are fewer than the columns."""
    n, columns = rows.shape
    rows, targets = rows.astype(np.float32, copy=False), targets.astype(np.float32, copy=False)
    if columns <= n:
        gram = rows.T @ rows
        gram.flat[:: columns + 1] += penalty
        weights = scipy.linalg.solve(gram, rows.T @ targets, assume_a="pos", check_finite=False)
    else:
        gram = rows @ rows.T
        gram.flat[:: n + 1] += penalty
        weights = rows.T @ scipy.linalg.solve(gram, targets, assume_a="pos", check_finite=False)
    solved: Floats = weights.astype(np.float32)
    return solved


def sparse_ridge(matrix: Sparse, targets: Floats, penalty: float) -> Floats:
    """The same for a sparse matrix, by at most 40 conjugate gradients on all targets at once."""
    across = matrix.T.tocsr()
    residual = across @ targets
    weights = np.zeros_like(residual)
    step, square = residual.copy(), (residual * residual).sum(0)
    for _ in range(40):
        moved = across @ (matrix @ step) + penalty * step
        length = square / np.maximum((step * moved).sum(0), 1e-12)
        weights += length * step
        residual -= length * moved
        before, square = square, (residual * residual).sum(0)
        if square.size == 0 or square.max() < 1e-6:
            break
        step = residual + (square / np.maximum(before, 1e-12)) * step
    solved: Floats = weights.astype(np.float32)
    return solved


def clusters(rows: Floats, count: int, seed: int) -> Ints:
    """(n,): numbers from 0 of at most `count` groups of like rows, by k-means."""
    rng = np.random.default_rng(seed)
    centres = rows[rng.choice(len(rows), count, replace=False)]
    for _ in range(25):
        distance = (rows * rows).sum(1)[:, None] - 2 * rows @ centres.T + (centres * centres).sum(1)
        nearest = distance.argmin(1)
        for number in range(count):
            if (nearest == number).any():
                centres[number] = rows[nearest == number].mean(0)
    numbers: Ints = np.unique(nearest, return_inverse=True)[1]
    return numbers
