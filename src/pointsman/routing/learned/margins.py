"""By what margin a model must lead the best single one when quality alone counts: chosen on tasks that were left out.

On all prompts it is the smallest margin with which nothing was lost on them altogether. On novel ones it is chosen by
conformal risk control:

Angelopoulos, Bates, Fisch, Lei, Schuster: Conformal Risk Control, 2022. G tasks were left out, a group of them at a
time. The harm that a margin did on one of them is the score that its novel prompts lost against the best single model,
a row of the task, at least 0 and at most B. If a new task is like these, the expected harm there is at most alpha for
the smallest margin with

    (sum of the harms + B)/(G + 1) <= alpha

for it and all wider ones. Where there is none, the best single model is never left on novel prompts.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from .arrays import Floats, Ints
from .labels import Labels
from .novelty import Margin, Margins, prefer_best
from .settings import Settings

NEVER = Margin(9.0, 9.0)
"""More than any score."""


class Trial(Struct, frozen=True):
    """What a margin would have done on the tasks that were left out, with quality alone in view."""

    margin: Margin
    gain: float
    """Score won a row against the best single model."""
    bound: float
    """(sum of the harms + B)/(G + 1)"""


def choose_margins(
    chances: Floats, saving: Floats, novelty: Floats, labels: Labels, units: Ints, best: int, settings: Settings
) -> tuple[Margins, tuple[Trial, ...]]:
    """chances (n, models), told of each row without its task; units (n,): the tasks."""
    ladder = [Margin(*margin) for margin in settings.margins]

    def won_with(on_usual: Margin, on_novel: Margin) -> Floats:
        margins = Margins(on_usual, on_novel, settings.novel_half)
        return _won(prefer_best(chances, saving, best, margins, novelty), labels, best)

    # Between models of one price the least margin stays: there it would count at every price on cost.
    usual = [Margin(margin.asked, ladder[0].even) for margin in ladder]
    step = len(ladder) - 1
    while step > 0 and np.nansum(won_with(usual[step - 1], usual[step - 1])) >= 0:
        step -= 1
    trials = []
    for margin in (*ladder[step:], NEVER):
        won = won_with(usual[step], margin)
        trials.append(_try(margin, won, novelty >= settings.novel_half, units, settings))
    chosen = NEVER
    for trial in reversed(trials):
        if trial.bound > settings.harm_allowed:
            break
        chosen = trial.margin
    return Margins(usual[step], chosen, settings.novel_half), tuple(trials)


def _won(chances: Floats, labels: Labels, best: int) -> Floats:
    """(n,): score won against the best single model; NaN where its score is not known."""
    known = labels.known
    chosen = np.where(known, chances, -9).argmax(1)
    won: Floats = labels.scores[np.arange(len(chosen)), chosen] - labels.scores[:, best]
    return won


def _try(margin: Margin, won: Floats, is_novel: Ints, units: Ints, settings: Settings) -> Trial:
    judged = np.isfinite(won)
    rows = np.bincount(units[judged])
    present = rows > 0
    lost = -np.bincount(units[judged], np.where(is_novel, won, 0)[judged])[present] / rows[present]
    harms = np.clip(lost, 0, settings.harm_bound)
    bound = (harms.sum() + settings.harm_bound) / (len(harms) + 1)
    gain = float(won[judged].mean()) if judged.any() else 0.0
    return Trial(margin, round(gain, 5), round(float(bound), 5))
