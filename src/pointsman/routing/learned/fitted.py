"""A fitted router: frozen data, and what it answers. numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from .arrays import Floats, Ints, centred
from .contrasts import Axes
from .heads import Neighbours, TaskHeads, TextHeads, View
from .labels import Counts
from .margins import Trial
from .networks import Networks
from .novelty import Margin, Margins, Novelty, prefer_best
from .reading import Readings
from .settings import Settings
from .trees import Forest
from .word_problems import WordProblems

HEADS = 5
"""Whose answers the trees see."""
FLOOR = 0.06
"""Disagreement that is there before scaling even where the estimators agree."""
LEAST_DOUBT, MOST_DOUBT = 0.02, 0.5
"""No chance is known better than the one, and none, being between 0 and 1, is worse known than the other."""
LEAST_COST = 0.1
"""No cost is expected below this share of what length alone says, or of the mean."""


class Answers(NamedTuple):
    """What a fitted router says of n prompts."""

    chances: Floats
    """(n, models), 0 to 1 (nearly): without the margin"""
    costs: Floats
    """(n, models), in the unit of the costs of the fit"""
    novelty: Floats
    """(n,), 0 to 1"""
    saving: Floats
    """(n, models): as `prefer_best` takes it"""
    estimates: tuple[Floats, ...]
    """(n, models) each: what single estimators say of the chances, but for a constant of each model"""


class CostLines(Struct, frozen=True, eq=False):
    """What a prompt costs by its length alone, a line for each model."""

    lines: Floats
    """(2, models): at no length, and for each thousand characters more"""
    mean: Floats
    """(models,), more than 0"""
    known: Ints
    """(models,), bool: a cost of the model was ever told"""

    def predict(self, characters: Floats) -> Floats:
        costs: Floats = self.lines[0] + np.outer(characters / 1000, self.lines[1])
        return costs

    def bounded(self, costs: Floats, by_length: Floats) -> Floats:
        bounded: Floats = np.maximum(costs, LEAST_COST * np.maximum(by_length, LEAST_COST * self.mean))
        return bounded


class CostHead(Struct, frozen=True, eq=False):
    """What it costs beyond its line: half a ridge on the linear view, half the forest."""

    ridge: Floats
    """(inputs, models)"""
    leaves: Floats
    """(outputs of the forest for costs, models)"""
    mean: Floats
    """(models,): added to the forest's answer"""
    spread: Floats
    """(2, models): standard deviation of a cost round its estimate, as a share of the mean cost, on prompts of known
    tasks and of tasks left out"""


class Doubt(Struct, frozen=True, eq=False):
    """How wrong the chances may be: variance = scale² · (floor² + variance of the mean score + disagreement²).

    Disagreement is the standard deviation, over three estimators (forest, networks, the table of tasks), of what each
    says of a model on a prompt. The scale is the one with which the errors of means over groups of rows are as large as
    told: for known tasks by rows out of fold, for new ones by tasks left out (see `calibration.py`). In between the
    variance goes by the square of the novelty, since most rows of known tasks look a little novel.
    """

    known: float
    """The scale on prompts of known tasks."""
    novel: float
    mean_variance: Floats
    """(models,): of the mean score, by the number of labels of the model"""

    def predict(self, disagreement: Floats, novelty: Floats) -> Floats:
        """disagreement (n, models), novelty (n,)"""
        raw = FLOOR**2 + self.mean_variance + disagreement**2
        scale = self.known**2 + (self.novel**2 - self.known**2) * novelty[:, None] ** 2
        deviation: Floats = np.sqrt(np.maximum(scale, 0) * raw)
        return np.clip(deviation, LEAST_DOUBT, MOST_DOUBT)


class Mixture(Struct, frozen=True, eq=False):
    """How the answers of the forest and of the networks become one."""

    axes: Floats
    """(models, axes): heads' answers to what the trees see of them"""
    leaves: Floats
    """(axes, models): the forest's answers to scores beyond the models' means"""
    networks: float
    """The part of the contrasts that the networks tell; the forest tells the rest, and what all models share."""
    trust: float
    """0 to 1: how far what is told of a prompt is believed at all."""
    boost: float

    @classmethod
    def of(cls, axes: Axes, trust: float, settings: Settings) -> Mixture:
        return cls(axes.out, axes.back, settings.networks_share, trust, settings.boost)

    def beyond(self, forest: Floats, networks: Floats) -> Floats:
        """(n, models): scores beyond the models' means, of what both say of them."""
        contrasts = centred((1 - self.networks) * forest + self.networks * networks)
        beyond: Floats = self.trust * (forest.mean(1, keepdims=True) + self.boost * contrasts)
        return beyond


class Body(Struct, frozen=True, eq=False):
    """All that is learnt where there are rows enough."""

    text: TextHeads
    tasks: TaskHeads
    seeing: Networks
    """Networks that see the posterior of the tasks."""
    blind: Networks
    neighbours: Neighbours
    forest: Forest
    """Scores on their axes and costs, side by side."""
    mixture: Mixture
    cost: CostHead
    novelty: Novelty
    margins: Margins
    doubt: Doubt
    word_problems: float
    """0 to 1: how well word problems are covered by the rows of the fit."""


class Report(Struct, frozen=True):
    """What a fit has to tell."""

    counts: Counts
    only_means: bool = False
    """There were too few rows or models: nothing but their mean scores and costs was learnt."""
    tasks: int = 0
    """Among which the prompts were told apart."""
    tasks_found: bool = False
    """No tasks were given: they were found by clustering."""
    trust: float = 0.0
    """0 to 1: how far what was learnt about a prompt is believed beyond the mean scores."""
    trials: tuple[Trial, ...] = ()
    """Margins that were tried on tasks left out."""
    novel_margin: Margin | None = None
    """The one that was chosen for novel prompts."""
    known_doubt: float = 0.0
    """The scale of the doubt on prompts like those of the fit …"""
    novel_doubt: float = 0.0
    """… and on new ones."""


class Fitted(Struct, frozen=True, eq=False):
    """What `fit` gives and `save` keeps."""

    models: tuple[str, ...]
    success: Floats
    """(models,): mean score, shrunk towards the mean of all"""
    best: int
    """The best single model, by `success`; -1 where there is no model."""
    lines: CostLines
    prior_doubt: Floats
    """(models,): the standard error of `success` as an answer for any prompt"""
    settings: Settings
    report: Report
    packed: bool = False
    """Fitted on readings that had been packed: a prompt is then seen the same way."""
    body: Body | None = None
    """None where there were too few rows or models."""


def answer(fitted: Fitted, readings: Readings, characters: Floats, shipped: WordProblems | None) -> Answers:
    """characters (n,): the length of each prompt. `shipped`: where what ships is to be used."""
    if fitted.body is None:
        return _prior(fitted, characters)
    return _learned(fitted, fitted.body, readings, characters, shipped)


def ranked(fitted: Fitted, answers: Answers) -> Floats:
    """(n, models): the chances with the margin in them."""
    if fitted.body is None:
        return answers.chances
    return prefer_best(answers.chances, answers.saving, fitted.best, fitted.body.margins, answers.novelty)


def doubts(fitted: Fitted, answers: Answers) -> tuple[Floats, Floats]:
    """(n, models) and (n, models): the standard error of the chances, and the standard deviation of a single cost."""
    body = fitted.body
    if body is None:
        return np.tile(fitted.prior_doubt, (len(answers.chances), 1)), answers.costs
    usual, novel = body.cost.spread
    spread = usual + answers.novelty[:, None] * (novel - usual)
    return body.doubt.predict(disagreement(answers.estimates), answers.novelty), spread * answers.costs


def tree_rows(view: View, posterior: Floats, heads: list[Floats], axes: Floats, directions: int) -> Floats:
    """(n, columns): what the trees see. `heads`: answers (n, models) of each head. axes: as in `Mixture`."""
    answers = np.stack(heads, 1)
    parts = [
        view.lexical,
        view.text[:, :directions],
        posterior,
        (answers @ axes).reshape(len(posterior), -1),
    ]
    return np.ascontiguousarray(np.concatenate(parts, 1), np.float32)


def tree_columns(body: Body, settings: Settings) -> int:
    """How many columns `tree_rows` has."""
    text = len(body.text.scaling.mean) + min(settings.tree_directions, body.text.directions)
    axes: int = body.mixture.axes.shape[1]
    return text + len(body.tasks.table) + HEADS * axes


def with_posterior(linear: Floats, posterior: Floats) -> Floats:
    """(n, inputs + tasks): what the networks see that see the tasks."""
    rows: Floats = np.concatenate([linear, 2 * np.sqrt(posterior)], 1)
    return rows


def disagreement(estimates: Sequence[Floats]) -> Floats:
    """(n, models): the standard deviation over the estimators."""
    deviation: Floats = np.stack(estimates).std(0)
    return deviation


def _prior(fitted: Fitted, characters: Floats) -> Answers:
    count, models = len(characters), len(fitted.models)
    by_length = fitted.lines.predict(characters)
    return Answers(
        chances=np.tile(fitted.success, (count, 1)),
        costs=np.maximum(by_length, LEAST_COST * fitted.lines.mean),
        novelty=np.ones(count),
        saving=np.zeros((count, models)),
        estimates=(),
    )


def _learned(
    fitted: Fitted, body: Body, readings: Readings, characters: Floats, shipped: WordProblems | None
) -> Answers:
    success, mixture = fitted.success, body.mixture
    view = body.text.view(readings)
    linear = view.linear
    posterior = body.tasks.posterior(view, linear)
    seeing = body.seeing.predict(with_posterior(linear, posterior)) - success
    blind = body.blind.predict(linear) - success
    table = body.tasks.predict(posterior)
    nearby = body.neighbours.predict(view.sentences)
    heads = [seeing, view.answers, table, nearby.near, nearby.around]
    leaves = body.forest.predict(tree_rows(view, posterior, heads, mixture.axes, fitted.settings.tree_directions))
    of_scores = mixture.leaves.shape[0]
    forest = leaves[:, :of_scores] @ mixture.leaves
    beyond = mixture.beyond(forest, 0.5 * (seeing + blind))
    if shipped is not None:
        missing = 1 - body.word_problems
        beyond = shipped.leave_hard_to_strong(beyond, readings, success, missing)

    by_length = fitted.lines.predict(characters)
    dearer = 0.5 * (linear @ body.cost.ridge) + 0.5 * (leaves[:, of_scores:] @ body.cost.leaves + body.cost.mean)
    costs = fitted.lines.bounded(by_length + dearer, by_length)
    return Answers(
        chances=success + beyond,
        costs=costs,
        novelty=body.novelty.predict(posterior, nearby.similarity),
        saving=np.clip((costs[:, [fitted.best]] - costs) / fitted.lines.mean.max(), -1.5, 1.5),
        estimates=(forest, seeing, table),
    )
