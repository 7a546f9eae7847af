"""The second step of a fit: simple heads, and what they say out of fold of the rows that they are fitted on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arrays import Floats, Ints, unit
from .fitted import CostHead, CostLines, with_posterior
from .heads import Neighbours, TextHeads
from .labels import Labels
from .networks import Lesson, Networks, train_networks, usual_epochs
from .perception import Tasks, Text
from .settings import Settings
from .solvers import ridge, sparse_ridge

SHRINKAGE = 10
COST_COMPONENTS = 6
"""Principal components of the costs that a forest predicts at once."""


class Rows(NamedTuple):
    """The rows of a fit, with what the first steps made of them."""

    labels: Labels
    success: Floats
    """(models,): mean scores"""
    deviations: Floats
    """(n, models): score less mean; 0 where unknown"""
    linear: Floats
    """(n, inputs)"""
    likeness: Floats
    """(n, columns): where like rows lie close to each other"""
    task_rows: Any
    """(n, columns), dense or sparse: what the softmax regression on tasks sees"""
    tolerance: float
    """Of that regression."""
    tasks: Ints
    """(n,): numbers from 0"""
    posterior: Floats
    """(n, tasks), out of fold"""


def rows_of(labels: Labels, success: Floats, text: Text, tasks: Tasks) -> Rows:
    return Rows(
        labels=labels,
        success=success,
        deviations=np.where(labels.known, labels.scores - success, 0).astype(np.float32),
        linear=text.view.linear,
        likeness=text.likeness,
        task_rows=tasks.rows,
        tolerance=tasks.tolerance,
        tasks=tasks.numbers,
        posterior=tasks.posterior,
    )


class Held(NamedTuple):
    """Scores beyond the models' means, (n, models) each, told out of fold; in the order in which the trees see them."""

    seeing: Floats
    ridge: Floats
    table: Floats


class Heads(NamedTuple):
    held: Held
    seeing: Networks
    blind: Networks
    ridge: Floats
    table: Floats


def fit_heads(rows: Rows, text: Text, settings: Settings, folds: Ints, seed: int) -> Heads:
    labels, success, deviations = rows.labels, rows.success, rows.deviations
    inputs, count = with_posterior(rows.linear, rows.posterior), rows.posterior.shape[1]

    def train(chosen: Ints, seeds: range) -> Networks:
        lesson = Lesson(inputs[chosen], labels.scores[chosen], labels.known[chosen], success)
        return train_networks(lesson, hidden=settings.hidden, epochs=usual_epochs(len(chosen)), seeds=seeds)

    held = Held(*(np.zeros_like(deviations) for _ in range(3)))
    for fold in range(settings.folds):
        rest, here = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        held.seeing[here] = train(rest, range(seed + fold, seed + fold + 1)).predict(inputs[here]) - success
        held.ridge[here] = text.matrix[here] @ sparse_ridge(text.matrix[rest], deviations[rest], settings.ridge)
        held.table[here] = rows.posterior[here] @ task_table(rows.tasks[rest], count, deviations[rest])
    everything = np.arange(len(deviations))
    to_guess = Lesson(rows.linear, labels.scores, labels.known, success, rows.tasks, count)
    return Heads(
        held=held,
        seeing=train(everything, range(seed, seed + settings.networks)),
        blind=train_networks(
            to_guess,
            hidden=settings.hidden,
            epochs=2 * usual_epochs(len(deviations)),
            seeds=range(seed + 10, seed + 10 + settings.blind_networks),
        ),
        ridge=sparse_ridge(text.matrix, deviations, settings.ridge),
        table=task_table(rows.tasks, count, deviations),
    )


def text_heads(text: Text, heads: Heads, tasks: Tasks) -> TextHeads:
    return TextHeads(
        terms=text.terms,
        scaling=text.scaling,
        weights=np.concatenate([text.directions, heads.ridge, tasks.term_weights], 1),
        directions=text.directions.shape[1],
        models=heads.ridge.shape[1],
    )


def task_table(tasks: Ints, count: int, deviations: Floats) -> Floats:
    """(count, models): the mean deviation (n, models) of each task, shrunk as by SHRINKAGE rows of no effect."""
    table = np.zeros((count, deviations.shape[1]), np.float32)
    np.add.at(table, tasks, deviations)
    shrunk: Floats = table / (np.bincount(tasks, minlength=count) + SHRINKAGE)[:, None]
    return shrunk


def fit_neighbours(rows: Rows, settings: Settings) -> Neighbours:
    sentences = rows.labels.readings.sentences
    mean = sentences.mean(0)
    directions = np.linalg.svd(sentences - mean, full_matrices=False)[2][: settings.neighbour_directions].T
    directions = np.ascontiguousarray(directions)
    return Neighbours(mean, directions, unit((sentences - mean) @ directions), rows.deviations)


class CostSteps(NamedTuple):
    residuals: Floats
    """(n, models): cost beyond its line, in units of the mean cost; NaN where unknown"""
    errors: Floats
    """(n, models): what a ridge on the other half of the rows leaves of it"""
    ridge: Floats
    mean: Floats
    targets: Floats
    """(n, components), for a forest"""
    leaves: Floats
    """(components, models): the forest's answers to costs"""


def fit_cost(rows: Rows, lines: CostLines, halves: Ints, settings: Settings) -> CostSteps:
    by_length = lines.predict(rows.labels.characters)
    residuals = ((rows.labels.costs - by_length) / lines.mean).astype(np.float32)
    filled = np.nan_to_num(residuals)
    errors = residuals.copy()
    for half in (0, 1):
        here, rest = halves == half, halves != half
        errors[here] -= rows.linear[here] @ ridge(rows.linear[rest], filled[rest], settings.cost_ridge)
    mean = filled.mean(0)
    directions = np.linalg.svd(filled - mean, full_matrices=False)[2].T[:, :COST_COMPONENTS]
    return CostSteps(
        residuals=residuals,
        errors=errors,
        ridge=(ridge(rows.linear, filled, settings.cost_ridge) * lines.mean).astype(np.float32),
        mean=(mean * lines.mean).astype(np.float32),
        targets=(filled - mean) @ directions,
        leaves=(directions.T * lines.mean).astype(np.float32),
    )


def cost_head(cost: CostSteps, errors_on_new: Floats) -> CostHead:
    """errors_on_new (n, models): as `CostSteps.errors`, of what was fitted without the row's tasks."""
    spread = np.stack([_spread_of(cost.errors), _spread_of(errors_on_new)])
    return CostHead(cost.ridge, cost.leaves, cost.mean, spread)


def _spread_of(errors: Floats) -> Floats:
    """(models,): root mean square of the known ones."""
    known = np.isfinite(errors)
    squares = np.where(known, errors, 0).astype(np.float64) ** 2
    spread: Floats = np.sqrt(squares.sum(0) / np.maximum(known.sum(0), 1))
    return spread
