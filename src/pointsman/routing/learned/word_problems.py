"""What ships: what word problems of school mathematics look like, and that the harder of them are the longer ones, and
those that say more of amounts.

The weights are fitted by `training/word_problems.py`; `training/README.md` says on what, and how well they do.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from .arrays import Floats, centred, sigmoid
from .heads import SENTENCE_SCALE, Scaling
from .lexical import PLACE
from .reading import Readings

LEXICAL_SCALE = 0.6
HARDER_WITH = {"log characters": 1.0, "log words of amounts": 0.5}
"""Lexical features → what a standard deviation of them counts; set by hand (training/README.md)."""


class WordProblems(Struct, frozen=True, eq=False):
    """A logistic that knows them, and what is usual among them."""

    scaling: Scaling
    weights: Floats
    """(inputs,)"""
    bias: float
    usual: Floats
    """(2, features of HARDER_WITH): their mean and spread"""

    def predict(self, readings: Readings) -> Floats:
        """(n,): the probability that a prompt is one."""
        return sigmoid(word_problem_inputs(self.scaling, readings) @ self.weights + self.bias)

    def hardness(self, readings: Readings) -> Floats:
        """(n,): 0 for a usual one; the spread among word problems is about 1."""
        mean, spread = self.usual
        counts, weights = hardness_features(readings), np.array(list(HARDER_WITH.values()))
        hardness: Floats = (counts - mean) / spread @ (weights / weights.sum())
        return hardness

    def leave_hard_to_strong(self, beyond: Floats, readings: Readings, success: Floats, missing: float) -> Floats:
        """`beyond` (n, models), the scores beyond the models' means, where word problems are judged by their hardness
        above all, as far as they are `missing` (0 to 1) in what was fitted on: of all that was tried, nothing else
        carried over to them. A quarter of the contrasts stays, for models that differ on mathematics as they do
        elsewhere.

        From a probability of a quarter on, a prompt begins to count as a word problem; from a half on, it is one.
        """
        if missing <= 0:
            return beyond
        share = missing * np.clip(4 * self.predict(readings) - 1, 0, 1)[:, None]
        harder = self.hardness(readings)[:, None]
        return beyond - share * (0.75 * centred(beyond) + centred(0.5 * harder * success * (1 - success)))


def hardness_features(readings: Readings) -> Floats:
    """(n, features of HARDER_WITH)"""
    features: Floats = readings.lexical[:, [PLACE[name] for name in HARDER_WITH]]
    return features


def word_problem_inputs(scaling: Scaling, readings: Readings) -> Floats:
    """(n, inputs): sentence vectors and standardised lexical features side by side."""
    lexical = scaling.apply(np.nan_to_num(readings.lexical))
    return np.concatenate([SENTENCE_SCALE * readings.sentences, LEXICAL_SCALE * lexical], 1)
