"""Types of arrays, and the two or three formulas that every part of the router uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""float32 in what is fitted, float64 in what is told."""
Ints = NDArray[Any]
"""Indices, counts or booleans."""


def sigmoid(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


def softmax(logits: Floats) -> Floats:
    """Over the last axis of (n, classes)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: Floats = powers / powers.sum(1, keepdims=True)
    return shares


def centred(answers: Floats) -> Floats:
    """(n, models): each row without its mean, so that only the contrasts between the models are left."""
    contrasts: Floats = answers - answers.mean(1, keepdims=True)
    return contrasts


def unit(rows: Floats) -> Floats:
    """Each row at length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Floats = rows / np.maximum(lengths, 1e-9)
    return scaled
