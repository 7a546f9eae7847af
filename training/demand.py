"""Fit what `pointsman.routing.learned` ships about outcomes: the demand of prompts, and what tells word problems.

    python training/demand.py --data DIR --out src/pointsman/routing/learned/weights/demand.npz

DIR holds a folder for each of SETS, with prompts.parquet and outcomes.parquet. Rows of the split `test` are not read.
It needs the extra `train`, takes a minute, and prints how well the demand of tasks that were left out is told.

The demand of a prompt is how far its models' scores lie below their means, in standard deviations. Sets are put on one
scale by what they share: the mix holds questions of MMLU, and one model answered both MMLU and MMLU-Pro. The ridge is
told by tasks left out: its penalty, and how large its errors are there.
"""

from __future__ import annotations

import argparse
import math
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from pointsman.lab.outcomes import Outcomes, read_outcomes
from pointsman.routing.learned.arrays import Floats, Ints, sigmoid
from pointsman.routing.learned.demand import STEEPNESS, Demand, demand_inputs
from pointsman.routing.learned.heads import Scaling
from pointsman.routing.learned.reading import Reader, Readings
from pointsman.routing.learned.solvers import softmax_regression
from pointsman.routing.learned.store import write_demand

SETS = {"routellm_mmlu": "Apache-2.0", "mmlupro": "Apache-2.0", "llmrouter_mix": "MIT"}
"""What is read, and its licence."""
IN_BOTH = {"routellm_mmlu": "mistralai/Mixtral-8x7B-Instruct-v0.1", "mmlupro": "Mixtral-8x7B-Instruct-v0.1"}
"""The model that answered MMLU as well as MMLU-Pro, by its names there."""
SHARED_TASK = "mmlu"
"""The task of the mix that is MMLU."""
WORD_PROBLEMS = ("gsm8k", "agentverse-mgsm")
"""The tasks of the mix that are word problems; the length of the first is what length is measured by."""

FOLDS = 8
"""Groups of tasks that are left out in turn."""
PENALTIES = 10.0, 30.0, 100.0, 300.0
TASK_ROWS = 30.0, 100.0, 300.0
"""A task counts as at most so many rows, since its prompts have their difficulty in common."""
DIRECTIONS = 48
TRIED = (
    "hi",
    "what is 2+2",
    "translate good morning to German",
    "What is the capital of France?",
    "Prove that every bounded analytic function on the plane is constant.",
    "A farmer sells 48 eggs in the morning and half as many at noon. How many eggs does the farmer sell that day?",
)


class Rows(NamedTuple):
    readings: Readings
    demand: Floats
    """(n,)"""
    tasks: Ints
    """(n,): numbers"""
    names: list[str]
    """Of the tasks: 'set:task'."""
    log_characters: Floats


class Ridge(NamedTuple):
    middle: Floats
    weights: Floats
    level: float
    information: Floats
    """(inputs, inputs): of the rows, without the penalty"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="the folder with the sets")
    options.add_argument("--out", type=Path, required=True, help="where to write the weights")
    chosen = options.parse_args()
    rows = read_rows(chosen.data)
    spread = rows.readings.lexical.std(0) + np.float32(1e-3)
    scaling = Scaling(rows.readings.lexical.mean(0), spread)
    inputs = demand_inputs(scaling, rows.readings)
    print(f"{len(inputs)} prompts of {len(rows.names)} tasks")
    penalty, task_rows = choose(inputs, rows)
    demand = assemble(scaling, inputs, rows, penalty, task_rows)
    with chosen.out.open("wb") as file:
        write_demand(demand, file)
    print(f"{chosen.out}: {chosen.out.stat().st_size:,} bytes")
    for text, mean, deviation in zip(TRIED, *demand.predict(Reader().read_many(TRIED)), strict=True):
        print(f"{mean:+.2f} ± {deviation:.2f}  {text}")


def read_rows(data: Path) -> Rows:
    """The prompts of all sets, their demand on one scale with mean 0."""
    sets = {name: _without_test(read_outcomes(data / name)) for name in SETS}
    demands = {name: _demand_within(outcomes) for name, outcomes in sets.items()}
    by_set = [_ability(sets[name], model) for name, model in IN_BOTH.items()]
    demands["mmlupro"] = demands["mmlupro"] + (by_set[0] - by_set[1]) / STEEPNESS
    mix = demands["llmrouter_mix"]
    mix -= mix[np.array(sets["llmrouter_mix"].tasks) == SHARED_TASK].mean()
    demand = np.concatenate([demands[name] for name in SETS])
    labels = [f"{name}:{task}" for name, outcomes in sets.items() for task in outcomes.tasks]
    prompts = [prompt for outcomes in sets.values() for prompt in outcomes.prompts]
    names, numbers = np.unique(labels, return_inverse=True)
    return Rows(
        readings=Reader().read_many(prompts),
        demand=(demand - demand.mean()) / demand.std(),
        tasks=numbers,
        names=names.tolist(),
        log_characters=np.log([len(prompt) + 1 for prompt in prompts]),
    )


def fit_ridge(inputs: Floats, demand: Floats, tasks: Ints, penalty: float, task_rows: float) -> Ridge:
    """Each task weighs as at most `task_rows` rows."""
    share = np.minimum(1.0, task_rows / np.bincount(tasks)[tasks])
    middle = (share @ inputs) / share.sum()
    level = float(share @ demand / share.sum())
    away = inputs.astype(np.float64) - middle
    information = (away * share[:, None]).T @ away
    weights = np.linalg.solve(information + penalty * np.eye(len(middle)), away.T @ (share * (demand - level)))
    return Ridge(middle, weights, level, information)


class Told(NamedTuple):
    """Of each row, by a ridge without its task."""

    demand: Floats
    unknown: Floats
    """(n,): x'(X'X + penalty)⁻¹x, the variance but for its scale"""


def tell_left_out(inputs: Floats, rows: Rows, penalty: float, task_rows: float) -> Told:
    folds = np.random.default_rng(0).permutation(len(rows.names)) % FOLDS
    told = Told(np.zeros(len(inputs)), np.zeros(len(inputs)))
    for fold in range(FOLDS):
        held = folds[rows.tasks] == fold
        numbers = np.unique(rows.tasks[~held], return_inverse=True)[1]
        ridge = fit_ridge(inputs[~held], rows.demand[~held], numbers, penalty, task_rows)
        away = inputs[held] - ridge.middle
        told.demand[held] = away @ ridge.weights + ridge.level
        covariance = np.linalg.inv(ridge.information + penalty * np.eye(len(ridge.middle)))
        told.unknown[held] = ((away @ covariance) * away).sum(1)
    return told


def choose(inputs: Floats, rows: Rows) -> tuple[float, float]:
    """The penalty and the rows of a task with which the means of tasks left out are told best."""
    errors = {}
    for penalty, task_rows in product(PENALTIES, TASK_ROWS):
        told = tell_left_out(inputs, rows, penalty, task_rows)
        error = float((_by_task(rows, rows.demand - told.demand) ** 2).mean())
        print(f"penalty {penalty:g}, {task_rows:g} rows a task: mean squared error of tasks {error:.4f}")
        errors[penalty, task_rows] = error
    print(f"knowing nothing: {float((_by_task(rows, rows.demand) ** 2).mean()):.4f}")
    return min(errors, key=lambda setting: errors[setting])


def assemble(scaling: Scaling, inputs: Floats, rows: Rows, penalty: float, task_rows: float) -> Demand:
    told = tell_left_out(inputs, rows, penalty, task_rows)
    errors, unknown = _by_task(rows, rows.demand - told.demand), _by_task(rows, told.unknown)
    noise = _by_task(rows, (rows.demand - told.demand) ** 2) / np.bincount(rows.tasks)
    least, scale = _variances(errors, unknown, noise)
    deviation = np.sqrt(least + scale * unknown + noise)
    means, told_means = _by_task(rows, rows.demand), _by_task(rows, told.demand)
    print(f"tasks left out: correlation of their means {np.corrcoef(means, told_means)[0, 1]:.2f}")
    print(f"  errors in standard errors: root mean square {math.sqrt(float(((errors / deviation) ** 2).mean())):.2f}")
    for name in SETS:
        of_set = np.array([task.startswith(name + ":") for task in rows.names])
        own = of_set[rows.tasks]
        over_prompts = np.corrcoef(rows.demand[own], told.demand[own])[0, 1]
        over_tasks = np.corrcoef(means[of_set], told_means[of_set])[0, 1]
        print(f"  {name}: correlation over prompts {over_prompts:.3f}, over tasks {over_tasks:.2f}")
    ridge = fit_ridge(inputs, rows.demand, rows.tasks, penalty, task_rows)
    values, vectors = np.linalg.eigh(ridge.information)
    largest = np.argsort(values)[::-1][:DIRECTIONS]
    word_weights, word_bias = _word_problems(inputs, rows)
    lengths = rows.log_characters[np.array(rows.names)[rows.tasks] == f"llmrouter_mix:{WORD_PROBLEMS[0]}"]
    return Demand(
        scaling=scaling,
        middle=ridge.middle.astype(np.float32),
        weights=ridge.weights.astype(np.float32),
        level=ridge.level,
        directions=vectors[:, largest].astype(np.float32),
        learnt=(values[largest] / (values[largest] + penalty)).astype(np.float32),
        prior_variance=scale / penalty,
        least_variance=least,
        word_weights=word_weights.astype(np.float32),
        word_bias=word_bias,
        word_length=np.array([lengths.mean(), lengths.std()], np.float32),
    )


def _without_test(outcomes: Outcomes) -> Outcomes:
    return outcomes.rows(np.flatnonzero(np.array(outcomes.splits) != "test"))


def _demand_within(outcomes: Outcomes) -> Floats:
    """(n,): how far the scores of a prompt lie below the models' means, in standard deviations over the set."""
    below = np.nanmean(np.nanmean(outcomes.scores, 0) - outcomes.scores, 1)
    return below / below.std()


def _ability(outcomes: Outcomes, model: str) -> float:
    """The log odds of a model's success."""
    column = outcomes.models.index(model)
    share = float(np.nanmean(outcomes.scores[:, column]))
    return math.log(share / (1 - share))


def _by_task(rows: Rows, values: Floats) -> Floats:
    """(tasks,): means."""
    return np.bincount(rows.tasks, values) / np.bincount(rows.tasks)


def _variances(errors: Floats, unknown: Floats, noise: Floats) -> tuple[float, float]:
    """(least, scale) for which error² is about least + scale·unknown + noise: non-negative least squares on tasks."""
    design = np.stack([np.ones_like(unknown), unknown], 1)
    least, scale = nnls(design, np.maximum(errors**2 - noise, 0))[0]
    return float(least), float(scale)


def _word_problems(inputs: Floats, rows: Rows) -> tuple[Floats, float]:
    wanted = {f"llmrouter_mix:{task}" for task in WORD_PROBLEMS}
    is_one = np.array([rows.names[number] in wanted for number in rows.tasks]).astype(np.intp)
    weights, bias = softmax_regression(inputs.astype(np.float32), is_one, 2, tolerance=1.0, iterations=80)
    weight, offset = weights[:, 1] - weights[:, 0], float(bias[1] - bias[0])
    told = sigmoid(inputs @ weight + offset) > 0.5
    missed = float((told[is_one == 0]).mean())
    print(f"word problems: {told[is_one == 1].mean():.3f} of them told, {missed:.4f} of all else taken for one")
    return weight, offset


if __name__ == "__main__":
    main()
