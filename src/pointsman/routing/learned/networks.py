"""Small neural networks: one hidden layer, one output a model, dropout and Adam in numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from .arrays import Floats, Ints, sigmoid, softmax

DROPOUT = 0.5
RATE = 3e-3
"""Of learning, in Adam."""
DECAY = 1.0
"""Of the weights in a step, times the rate (decoupled, as in AdamW)."""
TASK_LOSS = 0.3
"""The weight of guessing the task against guessing the scores."""
BATCH = 256


class Networks(Struct, frozen=True, eq=False):
    """Some networks whose answers are averaged; the hidden units of all lie next to each other."""

    inward: Floats
    """(inputs, networks x hidden)"""
    inward_bias: Floats
    outward: Floats
    """(networks, hidden, models)"""
    outward_bias: Floats
    """(networks, models)"""

    def predict(self, rows: Floats) -> Floats:
        """(n, inputs) to the mean probability of success, (n, models)."""
        activity = np.maximum(rows @ self.inward + self.inward_bias, 0)
        count, hidden, models = self.outward.shape
        total: Floats = np.zeros((len(rows), models), np.float32)
        for number in range(count):
            part = activity[:, number * hidden : (number + 1) * hidden]
            total = total + sigmoid(part @ self.outward[number] + self.outward_bias[number])
        return total / np.float32(count)


class Lesson(Struct, frozen=True, eq=False):
    """What networks are trained on."""

    rows: Floats
    """(n, inputs)"""
    scores: Floats
    """(n, models), 0 to 1; anything where `known` is false."""
    known: Ints
    """(n, models), bool"""
    success: Floats
    """(models,): the mean scores, where the outputs begin."""
    tasks: Ints | None = None
    """(n,): numbers of the tasks, for networks that are to guess them as well."""
    task_count: int = 0


def usual_epochs(rows: int) -> int:
    """More rows need fewer passes: the steps grow with the root of the rows."""
    return round(min(max(round(60 * math.sqrt(rows / 4000) * BATCH / rows), 2), 30))


def train_networks(lesson: Lesson, *, hidden: int, epochs: int, seeds: Sequence[int]) -> Networks:
    """One network a seed."""
    rows = np.ascontiguousarray(lesson.rows, np.float32)
    known = lesson.known.astype(np.float32)
    scores = np.where(lesson.known, lesson.scores, 0).astype(np.float32)
    networks = []
    for seed in seeds:
        network = _Network(rows.shape[1], hidden, lesson, seed)
        for _ in range(epochs):
            network.pass_over(rows, scores, known, lesson.tasks)
        networks.append(network)
    models = lesson.scores.shape[1]
    return Networks(
        inward=np.ascontiguousarray(np.concatenate([network.inward for network in networks], 1)),
        inward_bias=np.concatenate([network.inward_bias for network in networks]),
        outward=np.stack([network.outward[:, :models] for network in networks]),
        outward_bias=np.stack([network.outward_bias[:models] for network in networks]),
    )


class _Network:
    """Rectified hidden units; a sigmoid for each model (cross-entropy over the known scores) and, for networks that
    guess the task, a softmax over tasks."""

    def __init__(self, inputs: int, hidden: int, lesson: Lesson, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.models = lesson.scores.shape[1]
        start = np.clip(lesson.success, 0.01, 0.99)
        self.inward = (self.rng.standard_normal((inputs, hidden)) * math.sqrt(2 / inputs)).astype(np.float32) * 0.5
        self.inward_bias = np.zeros(hidden, np.float32)
        outputs = self.models + lesson.task_count
        self.outward = (self.rng.standard_normal((hidden, outputs)) * math.sqrt(1 / hidden)).astype(np.float32) * 0.3
        logits = np.concatenate([np.log(start / (1 - start)), np.zeros(lesson.task_count)])
        self.outward_bias = logits.astype(np.float32)
        self.weights = [self.inward, self.inward_bias, self.outward, self.outward_bias]
        self.mean = [np.zeros_like(weight) for weight in self.weights]
        self.square = [np.zeros_like(weight) for weight in self.weights]
        self.steps = 0

    def pass_over(self, rows: Floats, scores: Floats, known: Floats, tasks: Ints | None) -> None:
        """One epoch: all rows once, in random order."""
        order = self.rng.permutation(len(rows))
        for begin in range(0, len(rows), BATCH):
            batch = order[begin : begin + BATCH]
            if len(batch) < 32 and len(rows) > 64:
                continue
            self._learn(rows[batch], scores[batch], known[batch], None if tasks is None else tasks[batch])

    def _learn(self, rows: Floats, scores: Floats, known: Floats, tasks: Ints | None) -> None:
        activity = rows @ self.inward + self.inward_bias
        kept = (self.rng.random(activity.shape, np.float32) > DROPOUT) & (activity > 0)
        activity = activity * kept * (1 / (1 - DROPOUT))
        logits = activity @ self.outward + self.outward_bias
        error = np.empty_like(logits)
        models, count = self.models, len(rows)
        error[:, :models] = (sigmoid(logits[:, :models]) - scores) * known / (count * models)
        if tasks is not None:
            guess = softmax(logits[:, models:])
            guess[np.arange(count), tasks] -= 1
            error[:, models:] = guess * (TASK_LOSS / count)
        back = error @ self.outward.T * kept * (1 / (1 - DROPOUT))
        self._step([rows.T @ back, back.sum(0), activity.T @ error, error.sum(0)])

    def _step(self, gradients: Sequence[Floats]) -> None:
        """Adam (Kingma, Ba 2015) with decoupled decay of the matrices (Loshchilov, Hutter 2019)."""
        self.steps += 1
        mean_seen, square_seen = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        for weight, gradient, mean, square in zip(self.weights, gradients, self.mean, self.square, strict=True):
            mean *= 0.9
            mean += 0.1 * gradient
            square *= 0.999
            square += 0.001 * gradient * gradient
            if weight.ndim == 2:
                weight *= 1 - RATE * DECAY
            weight -= (RATE / mean_seen) * mean / (np.sqrt(square / square_seen) + 1e-8)
