"""What is done on prompts unlike those of the fit: how unlike they are, and when to stay with the best single model."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from .arrays import Floats, sigmoid

LIFT = 3e-4
"""By how much, of what is saved, the best single model is put above the leader that it replaces."""
NO_SAVING = 0.02
"""A saving up to this, as a share of the dearest model's cost, is none."""


class Novelty(Struct, frozen=True, eq=False):
    """A logistic that tells rows of known tasks from rows whose task was left out."""

    weights: Floats
    """On `novelty_signs`."""
    bias: float

    def predict(self, posterior: Floats, similarity: Floats) -> Floats:
        """(n,), 0 (as in the fit) to 1 (as of a task left out)."""
        return sigmoid(novelty_signs(posterior, similarity) @ self.weights + self.bias)


def novelty_signs(posterior: Floats, similarity: Floats) -> Floats:
    """(n, 4): the cosines to the nearest and the twentieth row, the posterior of the likeliest task, its logarithm."""
    likeliest = posterior.max(1)
    signs: Floats = np.stack([similarity[:, 0], similarity[:, 1], likeliest, np.log(likeliest + 1e-3)], 1)
    return signs


class Margin(Struct, frozen=True):
    """By how much a model must lead the best single one to be chosen in its place when quality alone counts."""

    asked: float
    """Score that must be gained for what the best single model saves against the dearest one."""
    even: float
    """Score where it saves nothing."""


class Margins(Struct, frozen=True):
    usual: Margin
    novel: Margin
    """On prompts whose novelty is at least `novel_from`."""
    novel_from: float


def prefer_best(chances: Floats, saving: Floats, best: int, margins: Margins, novelty: Floats) -> Floats:
    """`chances` (n, models), in which the best single model comes first wherever no model leads it by its margin.

    saving (n, models): cost of the best single model less that of each, in units of the dearest one's mean: the cheaper
    a model is, the more it must lead. novelty (n,). Where the best single model takes over, its chance is lifted to
    just above the leader's, and by less the nearer the leader came: so the order of the prompts stays, quality alone (a
    price of 0 on cost) chooses the best single model, and at the least price on cost the choice is what it would have
    been.
    """
    row = np.arange(len(chances))
    lead = chances - chances[:, [best]]
    is_novel = (novelty >= margins.novel_from)[:, None]
    asked = np.where(is_novel, margins.novel.asked, margins.usual.asked)
    even = np.where(is_novel, margins.novel.even, margins.usual.even)
    needed = np.where(saving > NO_SAVING, np.maximum(asked * saving, margins.usual.even), even)
    needed[:, best] = 1
    winning = np.where(lead > needed, lead, -9.0)
    winning[:, best] = -1
    winner, leader = winning.argmax(1), chances.argmax(1)
    taken = winner != leader
    short = np.where(winner == best, 1 - lead[row, leader] / needed[row, leader], 1)
    saved = np.maximum(saving[row, leader] - saving[row, winner], NO_SAVING)
    lifted = chances.copy()
    lifted[taken, winner[taken]] = (chances[row, leader] + LIFT * saved * np.clip(short, 0, 1))[taken]
    return lifted
