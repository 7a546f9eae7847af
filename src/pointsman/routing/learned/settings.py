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

    # The forest, which answers together with the networks.
    components: int = 8
    """Principal components of the contrasts between models that it predicts at once."""
    common: float = 0.5
    """The weight of what all models have in common, against the contrasts, when a split is chosen."""
    trees: int = 150
    leaf: int = 5
    """Least rows in a leaf."""
    tries: int = 32
    """Random splits that are tried at a node."""
    networks_share: float = 0.4
    """Of the contrasts, the part that is left to the networks."""
    boost: float = 1.2
    """What the forest's shrinkage takes from the contrasts is given back."""
    cost_ridge: float = 600.0

    # Prompts unlike those of the fit.
    groups: int = 8
    """Groups of tasks that are left out in turn."""
    group_trees: int = 24
    """Trees of the forest that is fitted without a group."""

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
