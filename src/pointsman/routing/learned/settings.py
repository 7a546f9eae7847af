"""What can be set in a fit: one value for every data set, chosen by cross-validation (docs/routing.md)."""

from __future__ import annotations

from msgspec import Struct


class Settings(Struct, frozen=True):
    """The defaults are what the figures in the documentation were measured with. Tests use smaller ones for speed."""

    # What a prompt is seen as.
    text_directions: int = 150
    """Principal directions of TF-IDF that the linear heads and the networks see."""
    tree_directions: int = 50
    """Of these, the first so many are shown to the trees."""
    vocabulary: int = 40_000
    """At most so many words and pairs of words are counted."""
    neighbour_directions: int = 64
    """Principal directions of the sentence vectors in which neighbours are looked for."""

    # Simple heads, whose answers the trees see.
    folds: int = 5
    """Each row's answer comes from heads that were fitted on the other folds."""
    hidden: int = 128
    """Units in the one hidden layer of a network."""
    networks: int = 3
    """Networks that also see the posterior of the tasks."""
    blind_networks: int = 2
    """Networks that do not see it but have to guess it: they hold up better on new tasks."""
    ridge: float = 8.0
    """Penalty of the ridge on TF-IDF."""

    # Trees. Three forests: outcomes, contrasts between models, contrasts weighted by how often a model is chosen.
    components: int = 8
    """Principal components of the outcomes that a forest predicts at once."""
    trees: tuple[int, int, int] = (50, 50, 50)
    leaf: tuple[int, int, int] = (5, 8, 10)
    """Least rows in a leaf."""
    weight: tuple[float, float, float] = (1.0, 1.0, 2.0)
    """Of the three forests' answers, from `few_rows` rows on."""
    tries: int = 32
    """Random splits that are tried at a node."""
    few_rows: int = 1500
    """Below so many rows the forest of outcomes gains weight: what is hard for all models is learnt first."""
    few_weight: float = 0.75
    few_trees: tuple[int, int, int] = (90, 40, 40)
    """The trees where it has more than half of the weight."""
    few_leaf: int = 10
    calm_rows: int = 1100
    """Below so many rows, up to half of what the forests say is replaced by what the networks say."""
    boost: float = 1.2
    """What the forests' shrinkage takes from the contrasts is given back."""
    cost_trees: int = 40
    cost_ridge: float = 600.0

    # Prompts unlike those of the fit.
    groups: int = 8
    """Groups of tasks that are left out in turn."""
    group_trees: int = 24
    """Trees of the forest that is fitted without a group."""
    doubt: float = 0.25
    """Standard errors that are taken off the part of a contrast that survived on tasks left out."""
    carried: int = 3
    """Only the first so many components of the contrasts are believed on novel prompts."""
    least_carried: float = 0.25
    """So much at least of the first one."""
    novel_from: float = 0.6
    """Novelty (0 to 1) at which what survives begins to replace what is known."""
    novel_to: float = 0.9
    """Novelty at which it has."""

    # When quality alone counts, a model must lead the best single one by a margin to be chosen in its place.
    margins: tuple[tuple[float, float], ...] = (
        (0.06, 0.01),
        (0.1, 0.03),
        (0.2, 0.06),
        (0.3, 0.1),
        (0.5, 0.15),
        (0.5, 0.2),
    )
    """Each: score for what the best single model saves against the dearest, and where it saves nothing. The usual one
    and the one on novel prompts are chosen on tasks left out (`margins.py`)."""
    novel_half: float = 0.5
    """Novelty from which a prompt counts as novel for that."""
    harm_allowed: float = 0.012
    """Expected score that may be lost, a row of a new task."""
    harm_bound: float = 0.1
    """More than this, a row, no task loses."""


FEWEST_ROWS = 40
"""With fewer rows than this, nothing but the mean score of each model is learnt."""
