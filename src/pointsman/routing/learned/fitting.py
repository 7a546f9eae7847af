"""`LearnedRouter.fit`, step by step. numpy and scipy; everything random is seeded.

1. Text: TF-IDF and its principal directions, beside the sentence vectors and the lexical features.
2. Tasks: a softmax regression; where no tasks are given they are found by clustering.
3. Simple heads: networks, a ridge on the terms, a table of tasks, neighbours. What they say of the rows of the fit is
   said out of fold, so that the next step can learn how far to believe them.
4. Forests over the features and the heads' answers: of outcomes, of contrasts between models, of contrasts weighted
   towards the models that get chosen, of costs.
5. Tasks left out (`left_out.py`): what survives on new tasks, what novelty looks like, the margin, the errors.
"""

from __future__ import annotations

import numpy as np
from msgspec import structs

from .arrays import Floats, centred
from .calibration import Checked, doubt_of
from .contrasts import Contrasts, contrasts_of, use_by_price
from .demand import Demand
from .fitted import Body, CostLines, Fitted, Mixture, Report, disagreement, tree_rows
from .growing import Halved, Plan, grow_forests, plan_forests, tell_each_half, trust_in
from .heads import TaskHeads
from .labels import Labels
from .left_out import NewTasks, leave_tasks_out
from .perception import Tasks, read_text, tell_tasks
from .settings import FEWEST_ROWS, Settings
from .simple import Held, Rows, cost_head, fit_cost, fit_heads, fit_neighbours, rows_of, text_heads
from .solvers import clusters

UNSEEN_SPREAD = 0.15
"""Assumed standard deviation of a model's success between kinds of prompts, where too little is known to measure it."""
ENOUGH_WORD_PROBLEMS = 50
ROWS_OF_A_CLUSTER, FEWEST_CLUSTERS, MOST_CLUSTERS = 40, 4, 64


def fit(labels: Labels, settings: Settings, seed: int, demand: Demand | None, packed: bool) -> Fitted:
    """A fitted router. With fewer than FEWEST_ROWS rows or two models: the mean scores and costs alone."""
    prior = _prior(labels, settings, packed)
    if len(labels.scores) < FEWEST_ROWS or len(labels.models) < 2:
        return prior
    return _learn(labels, settings, seed, demand, prior)


def _prior(labels: Labels, settings: Settings, packed: bool) -> Fitted:
    known, models = labels.known, len(labels.models)
    count = known.sum(0)
    of_all = float(np.nanmean(labels.scores)) if known.any() else 0.5
    success = (np.where(known, labels.scores, 0).sum(0) + 2 * of_all) / (count + 2)
    few = len(labels.scores) < FEWEST_ROWS or models < 2
    return Fitted(
        models=labels.models,
        success=success,
        best=int(success.argmax()) if models else -1,
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


def _learn(labels: Labels, settings: Settings, seed: int, demand: Demand | None, prior: Fitted) -> Fitted:
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
    contrasts = contrasts_of(rows.deviations, use, settings.components)
    answers = [*heads.held, nearby.near, nearby.around]
    seen = tree_rows(text.view, tasks.posterior, answers, contrasts.weighted, settings.tree_directions)
    plan = plan_forests(n, settings)
    cost = fit_cost(rows, prior.lines, halves, settings)
    forest = grow_forests(seen, rows.deviations, contrasts, cost, plan, settings, seed)

    halved = tell_each_half(seen, rows, contrasts, halves, settings, seed)
    trust = trust_in(halved.contrasts @ contrasts.between, rows.deviations @ contrasts.between)
    new = leave_tasks_out(rows, text.view, contrasts, neighbours, nearby, cost, settings, seed, trust, mean_costs)
    novelty = new.novelty.predict(tasks.posterior, nearby.similarity)
    known = _check_known(rows, heads.held, halved, novelty, trust * settings.boost, trust, seed)
    body = Body(
        text=text_heads(text, heads, tasks),
        tasks=TaskHeads(tasks.weights, tasks.bias, heads.table),
        seeing=heads.seeing,
        blind=heads.blind,
        neighbours=neighbours,
        forest=forest,
        mixture=_mixture(contrasts, new.surviving, plan, trust, settings),
        cost=cost_head(cost, new.cost_errors),
        novelty=new.novelty,
        margins=new.margins,
        doubt=doubt_of(known, new.checked, success * (1 - success) / (labels.known.sum(0) + 2)),
        word_problems=_covered(labels, demand),
    )
    return structs.replace(prior, body=body, report=_report(prior.report, body, new, tasks, labels))


def _check_known(
    rows: Rows, held: Held, halved: Halved, novelty: Floats, stretch: float, trust: float, seed: int
) -> Checked:
    """What the halves say of each other, in clusters of like rows."""
    contrasts = centred(halved.contrasts)
    count = min(max(len(contrasts) // ROWS_OF_A_CLUSTER, FEWEST_CLUSTERS), MOST_CLUSTERS)
    return Checked(
        chances=rows.success + trust * halved.common + stretch * contrasts,
        scores=rows.labels.scores,
        disagreement=disagreement([halved.common + contrasts, held.seeing, held.table]),
        novelty=novelty,
        groups=clusters(rows.likeness, count, seed),
    )


def _report(before: Report, body: Body, new: NewTasks, tasks: Tasks, labels: Labels) -> Report:
    return structs.replace(
        before,
        tasks=int(tasks.numbers.max()) + 1,
        tasks_found=labels.tasks is None,
        trust=body.mixture.trust,
        surviving=tuple(round(float(part), 3) for part in new.surviving if part > 0),
        trials=new.trials,
        novel_margin=new.margins.novel,
        known_doubt=body.doubt.known,
        novel_doubt=body.doubt.novel,
    )


def _mixture(contrasts: Contrasts, surviving: Floats, plan: Plan, trust: float, settings: Settings) -> Mixture:
    models = len(contrasts.between)
    centring = np.eye(models) - 1 / models
    backs = (contrasts.outcomes.T, contrasts.back, contrasts.weighted_back)
    parts = [weight * back @ centring for weight, back in zip(plan.weight, backs, strict=True)]
    survives = (contrasts.between * surviving) @ contrasts.back @ centring
    return Mixture(
        components=contrasts.weighted,
        leaves=np.concatenate(parts).astype(np.float32),
        common=contrasts.outcomes.mean(0).astype(np.float32),
        survives=survives.astype(np.float32),
        calm=plan.calm,
        trust=trust,
        boost=settings.boost,
    )


def _covered(labels: Labels, demand: Demand | None) -> float:
    """0 to 1: how well word problems are covered."""
    if demand is None:
        return 1.0
    found = (demand.word_problems(labels.readings) > 0.5).sum()
    return min(1.0, float(found) / ENOUGH_WORD_PROBLEMS)
