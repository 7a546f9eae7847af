"""Whole groups of tasks are left out of a light fit and then judged: the only way to see what happens on new tasks.

Three things are learnt from it: what a novel prompt looks like, by what margin a model must lead the best single one,
and how wrong the chances are there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import Floats, Ints, softmax
from .calibration import Checked
from .contrasts import Axes
from .fitted import Mixture, disagreement, with_posterior
from .heads import Nearby, Neighbours, View
from .labels import sure_means
from .margins import Trial, choose_margins
from .networks import Lesson, train_networks, usual_epochs
from .novelty import Margins, Novelty, novelty_signs
from .settings import Settings
from .simple import CostSteps, Rows, task_table
from .solvers import clusters, ridge, softmax_regression
from .trees import grow_forest

FEWEST_TASKS = 4
"""With fewer, clusters of the rows are left out in their place."""
FEWEST_REMAINING = 30
CLUSTERS = 6


class NewTasks(NamedTuple):
    """What was learnt."""

    novelty: Novelty
    margins: Margins
    trials: tuple[Trial, ...]
    checked: Checked
    cost_errors: Floats
    """(n, models): cost less what the ridge without the row's tasks says; NaN where unknown"""


class _Told(NamedTuple):
    """What was said of the rows of one group, or of all, by estimators fitted without their group."""

    means: Floats
    """(n, models): mean scores of the rows that remained"""
    forest: Floats
    """(n, models)"""
    networks: Floats
    """(n, models): mean of both kinds of networks"""
    disagreement: Floats
    posterior: Floats
    """(n, tasks)"""
    costs: Floats
    """(n, models): beyond the lines, in units of the mean costs"""


def leave_tasks_out(
    rows: Rows,
    view: View,
    axes: Axes,
    neighbours: Neighbours,
    nearby: Nearby,
    cost: CostSteps,
    mixture: Mixture,
    mean_costs: Floats,
    settings: Settings,
    seed: int,
) -> NewTasks:
    """nearby: what the rows say of each other. mean_costs (models,)"""
    seen = np.concatenate([view.lexical, view.text[:, : settings.tree_directions]], 1)
    units = _units(rows, seed)
    groups = _groups(units, settings.groups, seed)
    told = _tell_without_each(rows, seen, axes, groups, cost.residuals, settings, seed)

    elsewhere = neighbours.each_without(groups).similarity
    novelty = _tell_novelty((rows.posterior, nearby.similarity), (told.posterior, elsewhere))
    how_novel = novelty.predict(told.posterior, elsewhere)
    chances = told.means + mixture.beyond(told.forest, told.networks)
    best = int(sure_means(rows.labels.scores).argmax())
    saving = np.tile((mean_costs[best] - mean_costs) / mean_costs.max(), (len(chances), 1))
    margins, trials = choose_margins(chances, saving, how_novel, rows.labels, units, best, settings)
    return NewTasks(
        novelty=novelty,
        margins=margins,
        trials=trials,
        checked=Checked(chances, rows.labels.scores, told.disagreement, how_novel, units),
        cost_errors=cost.residuals - told.costs,
    )


def _units(rows: Rows, seed: int) -> Ints:
    """(n,): the tasks, or clusters of like rows where there are too few tasks."""
    if int(rows.tasks.max()) + 1 >= FEWEST_TASKS:
        return rows.tasks
    return clusters(rows.likeness, CLUSTERS, seed)


def _groups(units: Ints, count: int, seed: int) -> Ints:
    """(n,): each unit goes, in random order, to the group that has the fewest rows so far."""
    sizes = np.bincount(units)
    load = np.zeros(min(count, len(sizes)))
    group_of = np.zeros(len(sizes), np.intp)
    for unit in np.random.default_rng(seed + 77).permutation(len(sizes)):
        group_of[unit] = load.argmin()
        load[group_of[unit]] += sizes[unit]
    groups: Ints = group_of[units]
    return groups


def _tell_without_each(
    rows: Rows,
    seen: Floats,
    axes: Axes,
    groups: Ints,
    cost_residuals: Floats,
    settings: Settings,
    seed: int,
) -> _Told:
    n, models = rows.deviations.shape
    told = _Told(
        means=np.tile(rows.success, (n, 1)),
        forest=np.zeros((n, models), np.float32),
        networks=np.zeros((n, models), np.float32),
        disagreement=np.zeros((n, models), np.float32),
        posterior=np.zeros_like(rows.posterior),
        costs=np.zeros((n, models), np.float32),
    )
    for group in range(int(groups.max()) + 1):
        remaining, held = np.flatnonzero(groups != group), np.flatnonzero(groups == group)
        if len(remaining) < FEWEST_REMAINING or not len(held):
            continue
        part = _tell_without(rows, seen, axes, cost_residuals, remaining, held, group, settings, seed)
        for whole, of_group in zip(told, part, strict=True):
            whole[held] = of_group
    return told


def _tell_without(
    rows: Rows,
    seen: Floats,
    axes: Axes,
    cost_residuals: Floats,
    remaining: Ints,
    held: Ints,
    group: int,
    settings: Settings,
    seed: int,
) -> _Told:
    known, scores = rows.labels.known[remaining], rows.labels.scores[remaining]
    count = known.sum(0)
    means = np.where(count > 0, np.where(known, scores, 0).sum(0) / np.maximum(count, 1), 0.5)
    deviations = np.where(known, scores - means, 0).astype(np.float32)
    posterior, own = _posterior_without(rows, remaining, held), rows.posterior[remaining]

    linear, linear_held = rows.linear[remaining], rows.linear[held]
    lesson = Lesson(with_posterior(linear, own), scores, known, means)
    epochs = usual_epochs(len(remaining))
    seeing = train_networks(lesson, hidden=settings.hidden, epochs=epochs, seeds=[seed])
    to_guess = Lesson(linear, scores, known, means, rows.tasks[remaining], rows.posterior.shape[1])
    blind = train_networks(to_guess, hidden=settings.hidden, epochs=2 * epochs, seeds=[seed + 1])
    by_seeing = seeing.predict(with_posterior(linear_held, posterior)) - means
    by_blind = blind.predict(linear_held) - means

    inputs, inputs_held = np.concatenate([seen[remaining], own], 1), np.concatenate([seen[held], posterior], 1)
    grown = grow_forest(
        inputs,
        deviations @ axes.out,
        trees=settings.group_trees,
        leaf=settings.leaf,
        tries=settings.tries,
        seed=[seed, 20 + group],
    )
    forest = grown.predict(inputs_held) @ axes.back
    table = posterior @ task_table(rows.tasks[remaining], rows.posterior.shape[1], deviations)
    cost_weights = ridge(linear, np.nan_to_num(cost_residuals[remaining]), settings.cost_ridge)
    return _Told(
        means=means,
        forest=forest,
        networks=0.5 * (by_seeing + by_blind),
        disagreement=disagreement([forest, by_seeing, table]),
        posterior=posterior,
        costs=linear_held @ cost_weights,
    )


def _posterior_without(rows: Rows, remaining: Ints, held: Ints) -> Floats:
    """(held, tasks): which of the remaining tasks the held rows look like."""
    own, numbers = np.unique(rows.tasks[remaining], return_inverse=True)
    weights, bias = softmax_regression(
        rows.task_rows[remaining], numbers, len(own), tolerance=rows.tolerance, iterations=25
    )
    posterior = np.zeros((len(held), rows.posterior.shape[1]), np.float32)
    posterior[:, own] = softmax(rows.task_rows[held] @ weights + bias)
    return posterior


def _tell_novelty(usual: tuple[Floats, Floats], novel: tuple[Floats, Floats]) -> Novelty:
    """A logistic between rows among their own and as of a task left out; each pair is (posterior, similarity)."""
    signs = np.concatenate([novelty_signs(*usual), novelty_signs(*novel)])
    is_novel = np.repeat([0, 1], [len(usual[0]), len(novel[0])])
    mean, spread = signs.mean(0), signs.std(0) + 1e-9
    weights, bias = softmax_regression(
        ((signs - mean) / spread).astype(np.float32), is_novel, 2, tolerance=10.0, iterations=60
    )
    weight = (weights[:, 1] - weights[:, 0]) / spread
    offset = float(bias[1] - bias[0] - mean @ weight)
    return Novelty(weight, offset)
