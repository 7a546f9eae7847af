"""The simple predictors whose answers the trees see: linear ones, a table of tasks, neighbours.

Each is frozen data with a `predict`. How they are fitted stands in `fitting.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from msgspec import Struct

from .arrays import Floats, Ints, softmax, unit
from .reading import Readings
from .words import Terms

SENTENCE_SCALE, TEXT_SCALE, LEXICAL_SCALE = 6.0, 5.0, 0.3
"""What the three parts of the linear view are multiplied by, so that one penalty fits all."""
NEAR, AROUND = 15, 60
"""Neighbours in the narrow and in the wide mean."""
TWENTIETH = 19
BLOCK = 512


class View(NamedTuple):
    """n prompts as the heads see them."""

    sentences: Floats
    """(n, 256)"""
    lexical: Floats
    """(n, features), standardised, within ±4"""
    text: Floats
    """(n, directions): TF-IDF on its principal directions, scaled"""
    answers: Floats
    """(n, models): what the ridge on TF-IDF says"""
    task_logits: Floats
    """(n, tasks): what the terms say of the task"""

    @property
    def linear(self) -> Floats:
        """(n, inputs): all dense parts side by side."""
        parts = [SENTENCE_SCALE * self.sentences, self.text, LEXICAL_SCALE * self.lexical]
        rows: Floats = np.concatenate(parts, 1).astype(np.float32)
        return rows


class Scaling(Struct, frozen=True, eq=False):
    """Mean and spread of the lexical features over the rows of the fit."""

    mean: Floats
    spread: Floats

    def apply(self, lexical: Floats) -> Floats:
        standardised: Floats = np.clip((lexical - self.mean) / self.spread, -4, 4).astype(np.float32)
        return standardised


class TextHeads(Struct, frozen=True, eq=False):
    """Everything that is linear in TF-IDF, so that the terms of a prompt are walked over once."""

    terms: Terms
    scaling: Scaling
    weights: Floats
    """(terms, directions + models + tasks): principal directions, the ridge, what the terms say of the task"""
    directions: int
    models: int

    def view(self, readings: Readings) -> View:
        told = np.zeros((len(readings.words), self.weights.shape[1]), np.float32)
        for row, words in enumerate(readings.words):
            told[row] = self.terms.dot(words, self.weights)
        text, answers, logits = np.split(told, [self.directions, self.directions + self.models], axis=1)
        return View(
            readings.sentences, self.scaling.apply(readings.lexical), np.float32(TEXT_SCALE) * text, answers, logits
        )


class TaskHeads(Struct, frozen=True, eq=False):
    """Which task a prompt is likely to be of, and how each model does on that task."""

    weights: Floats
    """(inputs, tasks), on the linear view"""
    bias: Floats
    table: Floats
    """(tasks, models): score beyond the model's mean, shrunk"""

    def posterior(self, view: View, linear: Floats) -> Floats:
        return softmax(linear @ self.weights + view.task_logits + self.bias)

    def predict(self, posterior: Floats) -> Floats:
        """(n, models): the table under the posterior."""
        answers: Floats = posterior @ self.table
        return answers


class Nearby(NamedTuple):
    near: Floats
    """(n, models): score of the nearest NEAR rows beyond the models' means"""
    around: Floats
    """the same of the nearest AROUND"""
    similarity: Floats
    """(n, 2): cosine to the nearest row and to the twentieth"""


class Neighbours(Struct, frozen=True, eq=False):
    """The rows of the fit, by their sentence vectors in a few principal directions."""

    mean: Floats
    directions: Floats
    """(256, directions)"""
    rows: Floats
    """(rows, directions), of length 1"""
    deviations: Floats
    """(rows, models): score beyond the model's mean; 0 where unknown"""

    def predict(self, sentences: Floats) -> Nearby:
        return self._look(unit((sentences - self.mean) @ self.directions) @ self.rows.T)

    def each_without(self, groups: Ints) -> Nearby:
        """What the rows of the fit say of each other: none looks at a row of its own group. groups (rows,)"""
        found = []
        for begin in range(0, len(self.rows), BLOCK):
            part = slice(begin, begin + BLOCK)
            cosine = self.rows[part] @ self.rows.T
            cosine[groups[part, None] == groups] = -2
            found.append(self._look(cosine))
        return Nearby(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _look(self, cosine: Floats) -> Nearby:
        """cosine (n, rows): weights are exp(8·cosine)."""
        count = min(AROUND, cosine.shape[1] - 1)
        nearest = np.argpartition(cosine, cosine.shape[1] - count, 1)[:, -count:]
        row = np.arange(len(cosine))[:, None]
        nearest = nearest[row, (-cosine[row, nearest]).argsort(1)]
        closeness = cosine[row, nearest]
        weight = np.exp(8 * (closeness - closeness[:, :1]))
        scores = self.deviations[nearest]

        def mean_of(first: int) -> Floats:
            summed = (weight[:, None, :first] @ scores[:, :first])[:, 0]
            mean: Floats = summed / weight[:, :first].sum(1, keepdims=True)
            return mean

        similarity = np.stack([closeness[:, 0], closeness[:, min(TWENTIETH, count - 1)]], 1)
        return Nearby(mean_of(min(NEAR, count)), mean_of(count), similarity)
