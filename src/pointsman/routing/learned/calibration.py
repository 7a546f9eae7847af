"""How wrong the chances may be: the scale of a doubt that is measured on rows that were held back.

A single score (0 or 1, mostly) tells nothing of how far a probability of 0.7 is off. Means over groups of like rows do:
if every chance of a group is off by about its doubt, and in the same direction, then

    E[(mean error)²] = (mean doubt)² + (variance of the errors)/(rows of the group)

and the scales of `Doubt` are those with which the mean over groups and models of (mean error)²/(the right side) is 1,
one for rows like those of the fit and one for new ones. Groups of the first kind are clusters of rows, told by what was
fitted on other rows; of the second, whole tasks, told by what was fitted without them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from msgspec import structs

from .arrays import Floats, Ints
from .fitted import Doubt

SMALLEST_GROUP = 5
LEAST, MOST = 0.5, 10.0
"""Between which the scales are looked for: where groups are small, errors of less cannot be seen among the noise."""
HALVINGS = 25
ROUNDS = 4
"""Each scale has a small part in the doubt of the other kind of rows, so they are looked for in turn."""


class Checked(NamedTuple):
    """What was said of rows by estimators that had not seen them."""

    chances: Floats
    """(n, models)"""
    scores: Floats
    """(n, models), NaN where unknown"""
    disagreement: Floats
    """(n, models)"""
    novelty: Floats
    """(n,)"""
    groups: Ints
    """(n,): rows that are likely to be wrong in the same direction"""


def doubt_of(known: Checked, new: Checked, mean_variance: Floats) -> Doubt:
    """mean_variance (models,): of the mean score of each model."""
    known_cells, new_cells = _cells(known), _cells(new)
    doubt = Doubt(known=1.0, novel=1.0, mean_variance=mean_variance)
    for _ in range(ROUNDS):
        doubt = structs.replace(doubt, known=_scale("known", doubt, known, known_cells))
        doubt = structs.replace(doubt, novel=_scale("novel", doubt, new, new_cells))
    return structs.replace(doubt, novel=max(doubt.known, doubt.novel))


class _Cells(NamedTuple):
    """The mean errors of each group of rows, for each model with scores enough: these are the cells."""

    share: Floats
    """(groups, n): 1 for the rows of a group"""
    labels: Floats
    """(groups, models): known scores"""
    square: Floats
    """(cells,): mean error, squared"""
    noise: Floats
    """(cells,): its variance by chance"""

    @property
    def used(self) -> Ints:
        large: Ints = self.labels >= SMALLEST_GROUP
        return large


def _cells(checked: Checked) -> _Cells:
    numbers, group = np.unique(checked.groups, return_inverse=True)
    share = (np.arange(len(numbers))[:, None] == group).astype(np.float32)
    errors = checked.scores - np.clip(checked.chances, 0, 1)
    known = np.isfinite(errors)
    errors = np.where(known, errors, 0)
    count = share @ known
    used = count >= SMALLEST_GROUP
    mean, square = ((share @ part)[used] / count[used] for part in (errors, errors**2))
    return _Cells(share, count, mean**2, (square - mean**2) / count[used])


def _scale(which: Literal["known", "novel"], doubt: Doubt, checked: Checked, cells: _Cells) -> float:
    """With which the mean over cells of (mean error)²/((mean doubt)² + noise) is 1; the nearest bound where none is."""
    if not cells.used.any():
        return 1.0
    rows = cells.share.sum(1, keepdims=True)
    low, high = LEAST, MOST
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        deviation = structs.replace(doubt, **{which: middle}).predict(checked.disagreement, checked.novelty)
        mean = ((cells.share @ deviation) / rows)[cells.used]
        too_small = (cells.square / (mean**2 + cells.noise + 1e-9)).mean() > 1
        low, high = (middle, high) if too_small else (low, middle)
    return float((low * high) ** 0.5)
