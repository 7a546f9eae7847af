"""Fit what `pointsman.routing.learned` ships about outcomes: what tells word problems from all else, and what is usual
among them.

    python training/word_problems.py --data DIR --out src/pointsman/routing/learned/weights/word_problems.npz

DIR holds a folder for each of SETS, with prompts.parquet and outcomes.parquet. Rows of the split `test` are not read.
It needs the extra `train`, takes half a minute, and prints how well word problems are told.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pointsman.lab.outcomes import Outcomes, read_outcomes
from pointsman.routing.learned.arrays import Ints
from pointsman.routing.learned.heads import Scaling
from pointsman.routing.learned.reading import Reader
from pointsman.routing.learned.solvers import softmax_regression
from pointsman.routing.learned.store import write_word_problems
from pointsman.routing.learned.word_problems import WordProblems, hardness_features, word_problem_inputs

SETS = {"routellm_mmlu": "Apache-2.0", "mmlupro": "Apache-2.0", "llmrouter_mix": "MIT"}
"""What is read, and its licence."""
WORD_PROBLEMS = "llmrouter_mix:gsm8k", "llmrouter_mix:agentverse-mgsm"
"""The tasks that are word problems; those of the first are the usual ones."""
TRIED = (
    "hi",
    "What is the capital of France?",
    "Prove that every bounded analytic function on the plane is constant.",
    "A farmer sells 48 eggs in the morning and half as many at noon. How many eggs does the farmer sell that day?",
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="the folder with the sets")
    options.add_argument("--out", type=Path, required=True, help="where to write the weights")
    chosen = options.parse_args()
    sets = {name: _without_test(read_outcomes(chosen.data / name)) for name in SETS}
    prompts = [prompt for outcomes in sets.values() for prompt in outcomes.prompts]
    tasks = np.array([f"{name}:{task}" for name, outcomes in sets.items() for task in outcomes.tasks])
    print(f"{len(prompts)} prompts of {len(set(tasks))} tasks")
    word_problems = learn(prompts, tasks)
    with chosen.out.open("wb") as file:
        write_word_problems(word_problems, file)
    print(f"{chosen.out}: {chosen.out.stat().st_size:,} bytes")
    for text, chance in zip(TRIED, word_problems.predict(Reader().read_many(TRIED)), strict=True):
        print(f"{chance:.3f}  {text}")


def learn(prompts: list[str], tasks: Ints) -> WordProblems:
    """tasks (n,): their names"""
    readings = Reader().read_many(prompts)
    scaling = Scaling(readings.lexical.mean(0), readings.lexical.std(0) + np.float32(1e-3))
    is_one = np.isin(tasks, WORD_PROBLEMS).astype(np.intp)
    inputs = word_problem_inputs(scaling, readings).astype(np.float32)
    by_class, bias = softmax_regression(inputs, is_one, 2, tolerance=1.0, iterations=80)
    usual = hardness_features(readings)[tasks == WORD_PROBLEMS[0]]
    word_problems = WordProblems(
        scaling=scaling,
        weights=(by_class[:, 1] - by_class[:, 0]).astype(np.float32),
        bias=float(bias[1] - bias[0]),
        usual=np.stack([usual.mean(0), usual.std(0)]).astype(np.float32),
    )
    told = word_problems.predict(readings) > 0.5
    missed = float(told[is_one == 0].mean())
    print(f"word problems: {told[is_one == 1].mean():.3f} of them told, {missed:.4f} of all else taken for one")
    return word_problems


def _without_test(outcomes: Outcomes) -> Outcomes:
    return outcomes.rows(np.flatnonzero(np.array(outcomes.splits) != "test"))


if __name__ == "__main__":
    main()
