"""What ships: what word problems of school mathematics look like, and that the longer of them are the harder ones.

The weights are fitted by `training/word_problems.py`; `training/README.md` says on what, and how well they do.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from .arrays import Floats, centred, sigmoid
from .heads import SENTENCE_SCALE, Scaling
from .reading import Readings

LEXICAL_SCALE = 0.6


class WordProblems(Struct, frozen=True, eq=False):
    """A logistic that knows them, and their lengths."""

    scaling: Scaling
    weights: Floats
    """(inputs,)"""
    bias: float
    length: Floats
    """(2,): mean and spread of the logarithm of their characters"""

    def predict(self, readings: Readings) -> Floats:
        """(n,): the probability that a prompt is one."""
        return sigmoid(word_problem_inputs(self.scaling, readings) @ self.weights + self.bias)

    def longer_is_harder(
        self, beyond: Floats, readings: Readings, characters: Floats, success: Floats, missing: float
    ) -> Floats:
        """`beyond` (n, models), the scores beyond the models' means, where word problems are judged by their length
        above all, as far as they are `missing` (0 to 1) in what was fitted on: of all that was tried, only the length
        carried over to them. A quarter of the contrasts stays, for models that differ on mathematics as they do
        elsewhere.

        From a probability of a quarter on, a prompt begins to count as a word problem; from a half on, it is one.
        """
        if missing <= 0:
            return beyond
        share = missing * np.clip(4 * self.predict(readings) - 1, 0, 1)[:, None]
        harder = ((np.log(characters + 1) - self.length[0]) / self.length[1])[:, None]
        return beyond - share * (0.75 * centred(beyond) + centred(0.5 * harder * success * (1 - success)))


def word_problem_inputs(scaling: Scaling, readings: Readings) -> Floats:
    """(n, inputs): sentence vectors and standardised lexical features side by side."""
    lexical = scaling.apply(np.nan_to_num(readings.lexical))
    return np.concatenate([SENTENCE_SCALE * readings.sentences, LEXICAL_SCALE * lexical], 1)
