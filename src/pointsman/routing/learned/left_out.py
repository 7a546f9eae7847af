"""Whole groups of tasks are left out of a light fit and then judged: the only way to see what happens on new tasks.

Four things are learnt from it: which components of the contrasts survive, what a novel prompt looks like, by what
margin a model must lead the best single one, and how wrong the chances are there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import Floats, Ints, centred, softmax
from .calibration import Checked
from .contrasts import Contrasts
from .fitted import disagreement, with_posterior
from .heads import Nearby, Neighbours, View
from .margins import Trial, choose_margins
from .networks import Lesson, train_networks, usual_epochs
from .novelty import Margins, Novelty, novelty_signs
from .settings import Settings
from .simple import CostSteps, Rows, task_table
from .solvers import clusters, ridge, softmax_regression
from .trees import grow_forest

COMMON_TREES = 10
FEWEST_TASKS = 4
"""With fewer, clusters of the rows are left out in their place."""
FEWEST_REMAINING = 30
CLUSTERS = 6


class NewTasks(NamedTuple):
    """What was learnt."""

    surviving: Floats
    """(models,): of each component of the contrasts, the part that survives"""
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
    """(n, models): contrasts"""
    networks: Floats
    """(n, models): contrasts, of both kinds of networks"""
    common: Floats
    """(n, 1): the part that all models share"""
    disagreement: Floats
    posterior: Floats
    """(n, tasks)"""
    costs: Floats
    """(n, models): beyond the lines, in units of the mean costs"""


def leave_tasks_out(
    rows: Rows,
    view: View,
    contrasts: Contrasts,
    neighbours: Neighbours,
    nearby: Nearby,
    cost: CostSteps,
    settings: Settings,
    seed: int,
    trust: float,
    mean_costs: Floats,
) -> NewTasks:
    """nearby: what the rows say of each other. trust: how far contrasts are believed. mean_costs (models,)"""
    seen = np.concatenate([view.lexical, view.text[:, : settings.tree_directions]], 1)
    units = _units(rows, seed)
    groups = _groups(units, settings.groups, seed)
    told = _tell_without_each(rows, seen, contrasts, groups, cost.residuals, settings, seed)
    deviations = np.where(rows.labels.known, rows.labels.scores - told.means, 0)
    mixed = 0.5 * told.forest + 0.5 * told.networks

    surviving = _surviving(mixed @ contrasts.between, deviations @ contrasts.between, groups, settings)
    elsewhere = neighbours.each_without(groups).similarity
    novelty = _tell_novelty((rows.posterior, nearby.similarity), (told.posterior, elsewhere), settings)
    how_novel = novelty.predict(told.posterior, elsewhere)
    replaced = novelty.replaced(how_novel)
    believed = centred((mixed @ contrasts.between * surviving) @ contrasts.back)
    answers = trust * settings.boost * ((1 - replaced) * told.forest + replaced * believed)
    chances = told.means + trust * told.common * (1 - 0.5 * replaced) + answers
    best = int(rows.success.argmax())
    saving = np.tile((mean_costs[best] - mean_costs) / mean_costs.max(), (len(chances), 1))
    margins, trials = choose_margins(chances, saving, how_novel, rows.labels, units, best, settings)
    return NewTasks(
        surviving=surviving,
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
    contrasts: Contrasts,
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
        common=np.zeros((n, 1), np.float32),
        disagreement=np.zeros((n, models), np.float32),
        posterior=np.zeros_like(rows.posterior),
        costs=np.zeros((n, models), np.float32),
    )
    for group in range(int(groups.max()) + 1):
        remaining, held = np.flatnonzero(groups != group), np.flatnonzero(groups == group)
        if len(remaining) < FEWEST_REMAINING or not len(held):
            continue
        part = _tell_without(rows, seen, contrasts, cost_residuals, remaining, held, group, settings, seed)
        for whole, of_group in zip(told, part, strict=True):
            whole[held] = of_group
    return told


def _tell_without(
    rows: Rows,
    seen: Floats,
    contrasts: Contrasts,
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
    tries = settings.tries
    weighted = grow_forest(
        inputs,
        deviations @ contrasts.weighted,
        trees=settings.group_trees,
        leaf=settings.leaf[1],
        tries=tries,
        seed=[seed, 20 + group],
    )
    outcomes = grow_forest(
        inputs,
        deviations @ contrasts.outcomes,
        trees=COMMON_TREES,
        leaf=settings.leaf[0],
        tries=tries,
        seed=[seed, 40 + group],
    )
    forest = centred(weighted.predict(inputs_held) @ contrasts.weighted_back)
    common = (outcomes.predict(inputs_held) @ contrasts.outcomes.T).mean(1, keepdims=True)
    table = posterior @ task_table(rows.tasks[remaining], rows.posterior.shape[1], deviations)
    cost_weights = ridge(linear, np.nan_to_num(cost_residuals[remaining]), settings.cost_ridge)
    return _Told(
        means=means,
        forest=forest,
        networks=0.5 * centred(by_seeing + by_blind),
        common=common,
        disagreement=disagreement([common + forest, by_seeing, table]),
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


def _surviving(said: Floats, true: Floats, groups: Ints, settings: Settings) -> Floats:
    """(models,): the slope of each true component on the said one, less a part of its standard error over groups.

    Its root is taken, which lies between the slope, least wrong, and 1, which keeps the choices apart.
    """
    product, square = said * true, said * said
    numbers = np.unique(groups)
    by_group = np.stack([product[groups == number].sum(0) for number in numbers])
    squares = np.stack([square[groups == number].sum(0) for number in numbers])
    total = squares.sum(0) + 1e-9
    slope = by_group.sum(0) / total
    error = np.sqrt(((by_group - slope * squares) ** 2).sum(0)) / total
    surviving = np.sqrt(np.clip(slope - settings.doubt * error, 0, 1))
    surviving[settings.carried :] = 0
    surviving[0] = max(surviving[0], settings.least_carried)
    kept: Floats = surviving.astype(np.float32)
    return kept


def _tell_novelty(usual: tuple[Floats, Floats], novel: tuple[Floats, Floats], settings: Settings) -> Novelty:
    """A logistic between rows among their own and as of a task left out; each pair is (posterior, similarity)."""
    signs = np.concatenate([novelty_signs(*usual), novelty_signs(*novel)])
    is_novel = np.repeat([0, 1], [len(usual[0]), len(novel[0])])
    mean, spread = signs.mean(0), signs.std(0) + 1e-9
    weights, bias = softmax_regression(
        ((signs - mean) / spread).astype(np.float32), is_novel, 2, tolerance=10.0, iterations=60
    )
    weight = (weights[:, 1] - weights[:, 0]) / spread
    offset = float(bias[1] - bias[0] - mean @ weight)
    return Novelty(weight, offset, settings.novel_from, settings.novel_to)
