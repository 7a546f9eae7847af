"""The first steps of a fit: what the prompts are seen as, and which tasks they are of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arrays import Floats, Ints, softmax
from .heads import TEXT_SCALE, Scaling, View
from .labels import Labels
from .settings import Settings
from .solvers import Sparse, beside, clusters, principal_directions, softmax_regression, sparse_rows
from .words import Terms

FEW_TASKS = 15
"""Up to so many tasks, the terms themselves tell which it is; beyond, their principal directions alone."""


class Text(NamedTuple):
    terms: Terms
    scaling: Scaling
    directions: Floats
    matrix: Sparse
    """(n, terms): TF-IDF"""
    view: View
    likeness: Floats
    """(n, columns): where like rows lie close to each other"""


def read_text(labels: Labels, settings: Settings, seed: int) -> Text:
    readings, n = labels.readings, len(labels.scores)
    terms = Terms.of(readings.words, in_documents=3 if n > 2500 else 2, at_most=settings.vocabulary)
    matrix = sparse_rows([terms.row(words) for words in readings.words], len(terms))
    directions = principal_directions(matrix, min(settings.text_directions, n // 3), seed)
    scaling = Scaling(readings.lexical.mean(0), readings.lexical.std(0) + np.float32(1e-3))
    text = matrix @ directions
    nothing = np.zeros((n, 0), np.float32)
    view = View(readings.sentences, scaling.apply(readings.lexical), np.float32(TEXT_SCALE) * text, nothing, nothing)
    likeness = np.concatenate([4 * readings.sentences, 4 * text], 1)
    return Text(terms, scaling, directions, matrix, view, likeness)


class Tasks(NamedTuple):
    numbers: Ints
    """(n,): from 0"""
    posterior: Floats
    """(n, tasks): out of fold"""
    weights: Floats
    bias: Floats
    term_weights: Floats
    rows: Any
    """What the regression sees, and its tolerance for large weights."""
    tolerance: float


def tell_tasks(text: Text, labels: Labels, folds: Ints, seed: int) -> Tasks:
    linear, n = text.view.linear, len(labels.scores)
    if labels.tasks is None:
        numbers = clusters(text.likeness, min(max(n // 120, 4), 20), seed)
    else:
        numbers = np.unique(np.array(labels.tasks), return_inverse=True)[1]
    count = int(numbers.max()) + 1
    few, terms = count <= FEW_TASKS, text.matrix.shape[1]
    rows: Any = beside(np.float32(TEXT_SCALE) * text.matrix, linear) if few else linear
    tolerance = 1.0 if few else 0.2

    def learn(chosen: Ints) -> tuple[Floats, Floats]:
        return softmax_regression(rows[chosen], numbers[chosen], count, tolerance=tolerance, iterations=40)

    posterior = np.zeros((n, count), np.float32)
    for fold in range(3):
        weights, bias = learn(np.flatnonzero(folds != fold))
        held = np.flatnonzero(folds == fold)
        posterior[held] = softmax(rows[held] @ weights + bias)
    weights, bias = learn(np.arange(n))
    if not few:
        return Tasks(numbers, posterior, weights, bias, np.zeros((terms, count), np.float32), rows, tolerance)
    term_weights = np.float32(TEXT_SCALE) * weights[:terms]
    return Tasks(numbers, posterior, weights[terms:], bias, term_weights, rows, tolerance)
