"""Extremely randomised trees with several outputs, in numpy.

Geurts, Ernst, Wehenkel: Extremely randomized trees, Machine Learning 63, 2006. A tree is grown level by level: all
nodes of a level try their random splits at once. All trees of a forest lie in the same arrays, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from .arrays import Floats, Ints

DEEPEST = 14
SAME = 1e-4
"""Values of a column that lie no further apart are not told from each other: they may differ by rounding alone."""


class Forest(Struct, frozen=True, eq=False):
    """Trees as arrays over their nodes. A leaf is its own left child and never sends a row right."""

    feature: Ints
    """(nodes,): the column that is compared."""
    threshold: Floats
    """(nodes,): a row whose value is greater goes right; infinite in a leaf."""
    left: Ints
    """(nodes,): the left child; the right one is the next node."""
    value: Floats
    """(nodes, outputs): mean of the targets that fell there."""
    roots: Ints
    """(trees,)"""

    def predict(self, rows: Floats) -> Floats:
        """(n, features) to the mean over the trees, (n, outputs)."""
        if len(rows) == 1:
            return self._predict_one(rows[0])[None]
        number = np.arange(len(rows))
        total = np.zeros((len(rows), self.value.shape[1]), np.float32)
        for root in self.roots:
            node = np.full(len(rows), root)
            for _ in range(DEEPEST):
                node = self.left[node] + (rows[number, self.feature[node]] > self.threshold[node])
            total += self.value[node]
        return total / np.float32(len(self.roots))

    def _predict_one(self, row: Floats) -> Floats:
        """All trees at once for one row."""
        node = self.roots
        for _ in range(DEEPEST):
            node = self.left[node] + (row[self.feature[node]] > self.threshold[node])
        mean: Floats = self.value[node].mean(0)
        return mean


def grow_forest(
    rows: Floats,
    targets: Floats,
    *,
    trees: int,
    leaf: int,
    tries: int,
    seed: Sequence[int],
    guiding: int | None = None,
) -> Forest:
    """rows (n, features), targets (n, outputs); each tree sees all rows and differs by its random splits.

    guiding: splits are chosen by the first so many targets, all of them where it is None; the others are averaged in
    the leaves that come of it.
    """
    rows = np.ascontiguousarray(rows, np.float32)
    targets = np.ascontiguousarray(targets, np.float32)
    return _joined(
        [
            _grow(rows, targets, guiding, leaf=leaf, tries=tries, rng=np.random.default_rng([*seed, number]))
            for number in range(trees)
        ]
    )


def _joined(forests: Sequence[Forest]) -> Forest:
    """One forest of the trees of all. They have the same outputs."""
    starts = np.cumsum([0, *(len(forest.feature) for forest in forests)])[:-1]
    return Forest(
        feature=np.concatenate([forest.feature for forest in forests]),
        threshold=np.concatenate([forest.threshold for forest in forests]),
        left=np.concatenate([forest.left + start for forest, start in zip(forests, starts, strict=True)]),
        value=np.concatenate([forest.value for forest in forests]),
        roots=np.concatenate([forest.roots + start for forest, start in zip(forests, starts, strict=True)]),
    )


def _grow(
    rows: Floats, targets: Floats, guiding: int | None, *, leaf: int, tries: int, rng: np.random.Generator
) -> Forest:
    growth, guides = _Growth(targets.mean(0, keepdims=True)), targets[:, :guiding]
    order = np.arange(len(rows))  # rows, those of one node next to each other
    starts, nodes = np.zeros(1, np.intp), np.zeros(1, np.intp)
    for _ in range(DEEPEST):
        sizes = np.diff(np.append(starts, len(order)))
        large = sizes >= 2 * leaf
        if not large.any():
            break
        order, nodes, sizes = order[np.repeat(large, sizes)], nodes[large], sizes[large]
        starts = np.cumsum(sizes) - sizes
        split = _best_splits(rows, guides, order, starts, sizes, leaf=leaf, tries=tries, rng=rng)
        if not split.useful.any():
            break
        children = growth.split(nodes[split.useful], split.feature[split.useful], split.threshold[split.useful])
        belongs = np.repeat(split.useful, sizes)
        child_of_row = np.repeat(children[::2], sizes[split.useful]) + split.right[belongs]
        by_child = np.argsort(child_of_row, kind="stable")
        order = order[belongs][by_child]
        nodes = children
        starts = np.searchsorted(child_of_row[by_child], nodes)
        sizes = np.diff(np.append(starts, len(order)))
        growth.values.append(np.add.reduceat(targets[order], starts) / sizes[:, None])
    return growth.forest()


class _Splits(Struct, frozen=True, eq=False):
    """The best of the tried splits of each node of a level."""

    feature: Ints
    threshold: Floats
    useful: Ints
    """(nodes,), bool: the split explains something."""
    right: Ints
    """(rows of the level,), bool: goes to the right child."""


def _best_splits(
    rows: Floats,
    targets: Floats,
    order: Ints,
    starts: Ints,
    sizes: Ints,
    *,
    leaf: int,
    tries: int,
    rng: np.random.Generator,
) -> _Splits:
    """Of `tries` random splits of each node, the one that leaves the least squared error within its halves."""
    count = len(starts)
    features = rng.integers(0, rows.shape[1], (count, tries))
    values = rows[order[:, None], np.repeat(features, sizes, 0)]
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    cuts = np.where(high - low > SAME, low + rng.random((count, tries), dtype=np.float32) * (high - low), high)
    right = (values > np.repeat(cuts, sizes, 0)).astype(np.float32)

    here = targets[order]
    total = np.add.reduceat(here, starts)
    on_right = np.add.reduceat(right, starts)
    on_left = sizes[:, None].astype(np.float32) - on_right
    explained = np.zeros_like(on_right)
    for output in range(targets.shape[1]):
        sum_right = np.add.reduceat(right * here[:, output : output + 1], starts)
        sum_left = total[:, output : output + 1] - sum_right
        explained += sum_right * sum_right / np.maximum(on_right, 1) + sum_left * sum_left / np.maximum(on_left, 1)
    explained = np.where((on_right >= leaf) & (on_left >= leaf), explained, -1)

    best, node = explained.argmax(1), np.arange(count)
    unsplit = (total * total).sum(1) / sizes
    return _Splits(
        feature=features[node, best],
        threshold=cuts[node, best],
        useful=explained[node, best] > unsplit + 1e-9,
        right=right[np.arange(len(order)), np.repeat(best, sizes)] > 0,
    )


class _Growth:
    """The nodes of a tree that is being grown."""

    def __init__(self, root_value: Floats) -> None:
        self.feature = np.zeros(1, np.intp)
        self.threshold = np.full(1, np.inf, np.float32)
        self.left = np.zeros(1, np.intp)
        self.values = [root_value]
        """Of the nodes in the order of their numbers, a level at a time."""

    def split(self, nodes: Ints, feature: Ints, threshold: Floats) -> Ints:
        """Gives each node two children, the numbers of which come back: left, right, left, right, …"""
        count = len(self.feature)
        children = count + np.arange(2 * len(nodes))
        self.feature[nodes], self.threshold[nodes], self.left[nodes] = feature, threshold, children[::2]
        self.feature = np.append(self.feature, np.zeros(len(children), np.intp))
        self.threshold = np.append(self.threshold, np.full(len(children), np.inf, np.float32))
        self.left = np.append(self.left, children)
        return children

    def forest(self) -> Forest:
        value = np.concatenate(self.values).astype(np.float32)
        return Forest(self.feature, self.threshold, self.left, value, np.zeros(1, np.intp))
