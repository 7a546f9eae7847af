"""What ships: how much a prompt demands of models at large, and what carries over to word problems never seen.

The weights are fitted by `training/demand.py`; `training/README.md` says on what, and how well they do.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from .arrays import Floats, centred, sigmoid
from .heads import SENTENCE_SCALE, Scaling
from .reading import Readings

LEXICAL_SCALE = 0.6
STEEPNESS = 1.1
"""Of success in demand: the slope of the two-parameter logistic model of items and abilities."""


class Demand(Struct, frozen=True, eq=False):
    """A Bayesian ridge for the demand, and a logistic that knows word problems.

    What the ridge does not know of its weights is their prior variance, but for what the rows of the fit taught along
    each of some directions: so the doubt grows with all of a prompt that lies outside of these.
    """

    scaling: Scaling
    middle: Floats
    """(inputs,): the mean of the rows of the fit"""
    weights: Floats
    """(inputs,)"""
    level: float
    """The demand of the mean prompt of the fit."""
    directions: Floats
    """(inputs, directions), orthonormal"""
    learnt: Floats
    """(directions,), 0 to 1: the share of the prior variance that is gone"""
    prior_variance: float
    """Of each weight."""
    least_variance: float
    """Of what the demand of a task may differ by, however well its prompts are known."""
    word_weights: Floats
    """(inputs,)"""
    word_bias: float
    word_length: Floats
    """(2,): mean and spread of the logarithm of a word problem's characters"""

    def predict(self, readings: Readings) -> tuple[Floats, Floats]:
        """(n,) and (n,): the demand in standard deviations over prompts, more is harder; and its standard error."""
        away = self.inputs(readings) - self.middle
        unknown = (away * away).sum(1) - (away @ self.directions) ** 2 @ self.learnt
        variance = self.least_variance + self.prior_variance * np.maximum(unknown, 0)
        return away @ self.weights + self.level, np.sqrt(variance)

    def word_problems(self, readings: Readings) -> Floats:
        """(n,): the probability that a prompt is a word problem of school mathematics."""
        return sigmoid(self.inputs(readings) @ self.word_weights + self.word_bias)

    def longer_is_harder(
        self, contrasts: Floats, readings: Readings, characters: Floats, success: Floats, missing: float
    ) -> Floats:
        """`contrasts` (n, models), where word problems are judged by their length above all, as far as they are
        `missing` (0 to 1) in what was fitted on: of all that was tried, only the length carried over to them. A
        quarter of the contrasts stays, for models that differ on mathematics as they do elsewhere.

        From a probability of a quarter on, a prompt begins to count as a word problem; from a half on, it is one.
        """
        if missing <= 0:
            return contrasts
        share = missing * np.clip(4 * self.word_problems(readings) - 1, 0, 1)[:, None]
        harder = ((np.log(characters + 1) - self.word_length[0]) / self.word_length[1])[:, None]
        return (1 - 0.75 * share) * contrasts - share * centred(0.5 * harder * success * (1 - success))

    def inputs(self, readings: Readings) -> Floats:
        """(n, inputs): sentence vectors and standardised lexical features side by side."""
        return demand_inputs(self.scaling, readings)


def demand_inputs(scaling: Scaling, readings: Readings) -> Floats:
    lexical = scaling.apply(np.nan_to_num(readings.lexical))
    return np.concatenate([SENTENCE_SCALE * readings.sentences, LEXICAL_SCALE * lexical], 1)
