"""Small sets of outcomes with known answers, as files in both layouts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

Row = Mapping[str, Any]


def write_folder(folder: Path, prompts: Sequence[Row], outcomes: Sequence[Row]) -> Path:
    """The two tables of a set."""
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(prompts)), folder / "prompts.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(outcomes)), folder / "outcomes.parquet")
    return folder


def write_lines(file: Path, rows: Sequence[Row]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def set_of_two(folder: Path, number: int = 240) -> Path:
    """A weak model answers one-line sums, a strong and dearer one everything; 'test' is every tenth prompt.

    Whoever reads the prompt can send each to the cheapest model that answers it.
    """
    dice = np.random.default_rng(7)
    prompts, outcomes = [], []
    for at in range(number):
        hard = bool(dice.random() < 0.5)
        one, other = dice.integers(1, 99, 2)
        text = (
            f"Prove for all integers n that {one} n + {other} divides its own square." if hard else f"{one} + {other}?"
        )
        task = "proof" if hard else "sum"
        split = "test" if at % 10 == 9 else "val" if at % 10 == 8 else "train"
        prompts.append({"prompt_id": str(at), "prompt": f"{at}. {text}", "task": task, "split": split})
        outcomes.append({"prompt_id": str(at), "model": "strong", "score": 1.0, "cost_usd": 0.01})
        outcomes.append({"prompt_id": str(at), "model": "weak", "score": 0.0 if hard else 1.0, "cost_usd": 0.001})
    return write_folder(folder, prompts, outcomes)
