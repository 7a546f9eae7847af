"""`LearnedRouter.fit`, step by step. numpy and scipy; everything random is seeded.

1. Text: TF-IDF and its principal directions, beside the sentence vectors and the lexical features.
2. Tasks: a softmax regression; where no tasks are given they are found by clustering.
3. Simple heads: networks, a ridge on the terms, a table of tasks, neighbours. What they say of the rows of the fit is
   said out of fold, so that the next step can learn how far to believe them.
4. A forest over the features and the heads' answers. It predicts what the models have in common on a prompt and the
   contrasts between them, with the weight on those that get chosen; and the costs of the rows in its leaves.
5. Tasks left out (`left_out.py`): what novelty looks like, the margin, the errors.
"""

from __future__ import annotations

import numpy as np
from msgspec import structs

from .arrays import Floats, centred
from .calibration import Checked, doubt_of
from .contrasts import axes_of, use_by_price
from .fitted import Body, CostLines, Fitted, Mixture, Report, disagreement, tree_rows
from .growing import grow, tell_each_half, trust_in
from .heads import TaskHeads
from .labels import Labels, means_of, sure_means
from .left_out import NewTasks, leave_tasks_out
from .perception import Tasks, read_text, tell_tasks
from .settings import FEWEST_ROWS, Settings
from .simple import Held, Rows, cost_head, fit_cost, fit_heads, fit_neighbours, rows_of, text_heads
from .solvers import clusters
from .word_problems import WordProblems

UNSEEN_SPREAD = 0.15
"""Assumed standard deviation of a model's success between kinds of prompts, where too little is known to measure it."""
ENOUGH_WORD_PROBLEMS = 50
ROWS_OF_A_CLUSTER, FEWEST_CLUSTERS, MOST_CLUSTERS = 40, 4, 64


def fit(labels: Labels, settings: Settings, seed: int, shipped: WordProblems | None, packed: bool) -> Fitted:
    """A fitted router. With fewer than FEWEST_ROWS rows or two models: the mean scores and costs alone."""
    prior = _prior(labels, settings, packed)
    if len(labels.scores) < FEWEST_ROWS or len(labels.models) < 2:
        return prior
    return _learn(labels, settings, seed, shipped, prior)


def _prior(labels: Labels, settings: Settings, packed: bool) -> Fitted:
    models, count, success = len(labels.models), labels.known.sum(0), means_of(labels.scores)
    few = len(labels.scores) < FEWEST_ROWS or models < 2
    return Fitted(
        models=labels.models,
        success=success,
        best=int(sure_means(labels.scores).argmax()) if models else -1,
        lines=_cost_lines(labels),
        prior_doubt=np.sqrt(success * (1 - success) / (count + 2) + UNSEEN_SPREAD**2),
        settings=settings,
        packed=packed,
        report=Report(counts=labels.counts, only_means=few),
    )


def _cost_lines(labels: Labels) -> CostLines:
    """A least-squares line in thousands of characters for each model; its mean where it has too few costs."""
    known, models = np.isfinite(labels.costs), len(labels.models)
    lines = np.zeros((2, models))
    mean = np.full(models, float(np.nanmean(labels.costs)) if known.any() else 1.0)
    lines[0] = mean
    for model in range(models):
        rows = known[:, model]
        if not rows.any():
            continue
        costs = labels.costs[rows, model]
        mean[model] = costs.mean()
        lines[:, model] = mean[model], 0
        if rows.sum() > 5:
            lengths = np.stack([np.ones(rows.sum()), labels.characters[rows] / 1000], 1)
            lines[:, model] = np.linalg.lstsq(lengths, costs, rcond=None)[0]
    return CostLines(lines, np.maximum(mean, 1e-12), known.sum(0) > 0)


def _learn(labels: Labels, settings: Settings, seed: int, shipped: WordProblems | None, prior: Fitted) -> Fitted:
    n, success, mean_costs = len(labels.scores), prior.success, prior.lines.mean
    dice = np.random.default_rng(seed)
    thirds, fifths, halves = (dice.integers(0, folds, n) for folds in (3, settings.folds, 2))

    text = read_text(labels, settings, seed)
    tasks = tell_tasks(text, labels, thirds, seed)
    rows = rows_of(labels, success, text, tasks)
    heads = fit_heads(rows, text, settings, fifths, seed)
    neighbours = fit_neighbours(rows, settings)
    nearby = neighbours.each_without(np.arange(n))

    use = use_by_price(success + 0.5 * (heads.held.seeing + heads.held.table), mean_costs)
    axes = axes_of(rows.deviations, use, settings.components, settings.common)
    answers = [*heads.held, nearby.near, nearby.around]
    seen = tree_rows(text.view, tasks.posterior, answers, axes.out, settings.tree_directions)
    cost = fit_cost(rows, prior.lines, halves, settings)
    forest = grow(seen, rows.deviations @ axes.out, cost.targets, settings, seed)

    halved = tell_each_half(seen, rows.deviations, axes, halves, settings, seed)
    trust = trust_in(centred(halved), centred(rows.deviations))
    mixture = Mixture.of(axes, trust, settings)
    new = leave_tasks_out(rows, text.view, axes, neighbours, nearby, cost, mixture, mean_costs, settings, seed)
    novelty = new.novelty.predict(tasks.posterior, nearby.similarity)
    known = _check_known(rows, heads.held, halved, mixture, novelty, seed)
    body = Body(
        text=text_heads(text, heads, tasks),
        tasks=TaskHeads(tasks.weights, tasks.bias, heads.table),
        seeing=heads.seeing,
        blind=heads.blind,
        neighbours=neighbours,
        forest=forest,
        mixture=mixture,
        cost=cost_head(cost, new.cost_errors),
        novelty=new.novelty,
        margins=new.margins,
        doubt=doubt_of(known, new.checked, success * (1 - success) / (labels.known.sum(0) + 2)),
        word_problems=_covered(labels, shipped),
    )
    return structs.replace(prior, body=body, report=_report(prior.report, body, new, tasks, labels))


def _check_known(rows: Rows, held: Held, halved: Floats, mixture: Mixture, novelty: Floats, seed: int) -> Checked:
    """What the halves say of each other, in clusters of like rows."""
    count = min(max(len(halved) // ROWS_OF_A_CLUSTER, FEWEST_CLUSTERS), MOST_CLUSTERS)
    return Checked(
        chances=rows.success + mixture.beyond(halved, held.seeing),
        scores=rows.labels.scores,
        disagreement=disagreement([halved, held.seeing, held.table]),
        novelty=novelty,
        groups=clusters(rows.likeness, count, seed),
    )


def _report(before: Report, body: Body, new: NewTasks, tasks: Tasks, labels: Labels) -> Report:
    return structs.replace(
        before,
        tasks=int(tasks.numbers.max()) + 1,
        tasks_found=labels.tasks is None,
        trust=body.mixture.trust,
        trials=new.trials,
        novel_margin=new.margins.novel,
        known_doubt=body.doubt.known,
        novel_doubt=body.doubt.novel,
    )


def _covered(labels: Labels, shipped: WordProblems | None) -> float:
    """0 to 1: how well word problems are covered."""
    if shipped is None:
        return 1.0
    found = (shipped.predict(labels.readings) > 0.5).sum()
    return min(1.0, float(found) / ENOUGH_WORD_PROBLEMS)
