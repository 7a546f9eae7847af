"""What routers are judged on: pools of models with their outcomes, and the ways of leaving rows out.

A pool is a set of outcomes (lab/outcomes.py) and the models among which a router chooses there. Rows are left out in
two ways: by question, where every task stays known, and by whole fields of tasks, where the left-out ones are news.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core import ConfigError
from .outcomes import OUTCOMES, PROMPTS, Outcomes, read_outcomes

Rows = NDArray[np.intp]

SELECTIONS: Mapping[str, tuple[str, Sequence[str]]] = {
    "mmlupro-8": (
        "mmlupro",
        (
            "gemini-1.5-pro-002",
            "gemini-1.5-flash-002",
            "Meta-Llama-3_1-70B-Instruct",
            "Meta-Llama-3_1-8B-Instruct",
            "Qwen1.5-72B-Chat",
            "Mixtral-8x7B-Instruct-v0.1",
            "Phi-3-mini-4k-instruct",
            "mathstral-7B",
        ),
    ),
}
"""Pools beside the one that each folder makes of all its models: eight instruct models that a person would put side by
side, where the whole set has many near-equal ones."""

FIELDS: Sequence[Mapping[str, str]] = (
    {
        "numbers": "abstract_algebra college_mathematics elementary_mathematics high_school_mathematics formal_logic "
        "high_school_statistics high_school_physics college_physics conceptual_physics electrical_engineering "
        "astronomy machine_learning college_computer_science high_school_computer_science computer_security",
        "life": "anatomy clinical_knowledge college_biology high_school_biology college_medicine professional_medicine "
        "human_aging human_sexuality medical_genetics nutrition virology college_chemistry high_school_chemistry",
        "society": "high_school_psychology professional_psychology sociology high_school_geography public_relations "
        "high_school_government_and_politics us_foreign_policy security_studies global_facts miscellaneous",
        "humanities": "moral_disputes moral_scenarios philosophy prehistory high_school_world_history world_religions "
        "high_school_us_history high_school_european_history logical_fallacies international_law jurisprudence "
        "professional_law",
        "business": "high_school_macroeconomics high_school_microeconomics econometrics professional_accounting "
        "marketing management business_ethics",
    },
    {
        "minds": "psychology history",
        "money": "business economics",
        "living": "biology chemistry health",
        "math": "math",
        "physics": "physics engineering",
        "words": "computer_science philosophy law other",
    },
)
"""Fields of the subjects of MMLU and of the categories of MMLU-Pro. A field is left out as a whole, since subjects such
as college and high school physics tell of each other. Tasks of other sets are left out one by one."""

MOST_FIELDS = 12
"""More tasks than these, with no field known, are dealt out to this many groups."""


def pools(
    directory: Path, names: Sequence[str] = (), *, tell: Callable[[str], None] = lambda problem: None
) -> Iterator[Outcomes]:
    """The pools of a directory, or those named, in the order of their names. A selection of models that are not all
    there is no pool, unless it is named. A folder that cannot be read is told and passed over, unless it is named.

    Raises ConfigError where there is none, or none of a name, or where none can be read.
    """
    there = pool_names(directory)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ConfigError(f"{directory} holds no pool {unknown[0]!r}; it has {', '.join(there)}.")
    unreadable: dict[str, ConfigError] = {}
    for name in names or there:
        folder, models = SELECTIONS.get(name, (name, ()))
        try:
            outcomes = read_outcomes(directory / folder)
        except ConfigError as error:
            if names:
                raise
            unreadable[folder] = error
            continue
        if names or set(models) <= set(outcomes.models):
            yield outcomes.of(models, name) if models else outcomes
    if unreadable and len(unreadable) == len({SELECTIONS.get(name, (name, ()))[0] for name in there}):
        raise next(iter(unreadable.values()))
    for folder, problem in unreadable.items():
        tell(f"{folder} is left out: {problem.message}")


def pool_names(directory: Path) -> tuple[str, ...]:
    """Every folder with both tables, and the selections of its models. Raises ConfigError where there is none."""
    if not directory.is_dir():
        raise ConfigError(f"There is no directory {directory} to read outcomes from.")
    folders = {path.parent.name for path in directory.glob(f"*/{OUTCOMES}") if (path.parent / PROMPTS).is_file()}
    if not folders:
        raise ConfigError(f"No folder in {directory} holds {PROMPTS} and {OUTCOMES}.")
    selections = {name for name, (folder, _) in SELECTIONS.items() if folder in folders}
    return tuple(sorted(folders | selections))


def by_question(prompts: Sequence[str], folds: int, salt: str = "") -> Rows:
    """The fold of each prompt: (n,). Prompts with the same question, whatever its options, come into one fold."""
    return np.array([_bucket(salt + _question(prompt), folds) for prompt in prompts], dtype=np.intp)


def by_field(tasks: Sequence[str]) -> Rows:
    """The group of each prompt: (n,). A group is a field of tasks, or a task where no field is known."""
    field = _field_of(sorted(set(tasks)))
    numbers = {name: number for number, name in enumerate(sorted(set(field.values())))}
    return np.array([numbers[field[task]] for task in tasks], dtype=np.intp)


def _field_of(tasks: Sequence[str]) -> Mapping[str, str]:
    for fields in FIELDS:
        known = {subject: name for name, subjects in fields.items() for subject in subjects.split()}
        plain = {task: task.replace(" ", "_") for task in tasks}
        if all(word in known for word in plain.values()):
            return {task: known[word] for task, word in plain.items()}
    if len(tasks) <= MOST_FIELDS:
        return {task: task for task in tasks}
    return {task: str(_bucket(task, MOST_FIELDS)) for task in tasks}


_FIRST_OPTION = re.compile(r"\n\(?A[.)] ")
_BETWEEN_WORDS = re.compile(r"\W+")
_MOST_CHARS = 400


def _question(prompt: str) -> str:
    stem = _FIRST_OPTION.split(prompt, maxsplit=1)[0]
    return _BETWEEN_WORDS.sub(" ", stem.lower()).strip()[:_MOST_CHARS] or prompt


def _bucket(text: str, buckets: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") % buckets
