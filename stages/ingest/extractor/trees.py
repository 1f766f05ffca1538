"""Gradient-boosted trees as flat arrays, evaluated by compiled code in integers.

LightGBM trains them; here a forest is its splits and leaves alone. Features are integers, thresholds are rounded down to
integers, leaves are log odds in 1/65,536, so that a sum is the same on every machine and in every order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from stages.text.compiled import kernel, reads, tuple_of, writes

SCALE = 1 << 16
ROWS, ONE = np.uint64(64), np.uint64(1)
"""Rows held against a split at once. (Indices without a sign need no test for being negative.)"""
LEAVES, FULL = 32, np.uint32(0xFFFFFFFF)
"""Leaves of a tree at most: a bit each."""
SEQUENCE = np.uint32(0x077CB531)
"""A de Bruijn sequence: its 32 stretches of five bits are all different."""
NEVER = (1 << 31) - 1
"""Threshold of a leaf."""


class Nodes(NamedTuple):
    feature: np.ndarray
    """int16 per node: column of the features; 0 for a leaf."""
    threshold: np.ndarray
    """int32 per node: a row goes to the second child where its value is greater; NEVER for a leaf."""
    child: np.ndarray
    """int32 (2 per node): children; a leaf's are itself."""
    leaf: np.ndarray
    """int32 per node: log odds in 1/65,536; 0 for a split."""
    root: np.ndarray
    """int32 per tree: its first node."""
    depth: np.ndarray
    """int16 per tree: splits on its longest path."""


class Forest(Nodes):
    """Trees one behind the other, each from its root on; a node's children are numbers within the whole."""

    @cached_property
    def masked(self) -> LeafMasks:
        """The same trees as they are evaluated. ValueError where one has more than LEAVES leaves."""
        children, splits = self.child.reshape(-1, 2), self.threshold != NEVER
        levels = [self.root[splits[self.root]]]
        while len(levels[-1]):
            below = children[levels[-1]].ravel()
            levels.append(below[splits[below]])
        leaves, place = np.ones(len(splits), np.int64), np.zeros(len(splits), np.int64)
        for level in reversed(levels):
            leaves[level] = leaves[children[level]].sum(axis=1)
        if leaves.max(initial=0) > LEAVES:
            raise ValueError(f"a tree has {leaves.max()} leaves, over {LEAVES}")
        for level in levels:
            place[children[level, 0]] = place[level]
            place[children[level, 1]] = place[level] + leaves[children[level, 0]]
        inner, ends = np.flatnonzero(splits), np.flatnonzero(~splits)
        columns, feature = np.unique(self.feature[inner], return_inverse=True)
        mask = ~(((1 << leaves[children[inner, 0]]) - 1) << place[inner]) & FULL
        leaf = np.zeros((len(self.root), LEAVES), np.int32)
        leaf[np.searchsorted(self.root, ends, "right") - 1, _slot(1 << place[ends])] = self.leaf[ends]
        first = np.append(np.searchsorted(inner, self.root), len(inner))
        return LeafMasks(
            columns.astype(np.int32), feature.astype(np.int32), self.threshold[inner], mask.astype(np.uint32),
            first.astype(np.int32), leaf.ravel(),
        )  # fmt: skip


class LeafMasks(NamedTuple):
    """A forest as it is evaluated (QuickScorer, Lucchese et al., 2015): a row that goes to the second child of a split reaches none of
    the leaves below the first, and when all splits have been held against it, the first leaf left is its own. No step waits for
    another, and the rows of a stretch are held against a split at once. Kernels take the tuple as it is."""

    columns: np.ndarray
    """int32: the features that are looked at."""
    feature: np.ndarray
    """int32 per split: place in `columns`."""
    threshold: np.ndarray
    mask: np.ndarray
    """uint32 per split: a bit per leaf, from left to right; 0 for those below its first child."""
    first: np.ndarray
    """int32 per tree: its first split; one more at the end."""
    leaf: np.ndarray
    """int32 (LEAVES per tree): log odds at `_slot` of the leaf's bit."""


MASKED = tuple_of(LeafMasks, *(writes(kind) for kind in (np.int32, np.int32, np.int32, np.uint32, np.int32, np.int32)))


def _slot(bit: np.ndarray) -> np.ndarray:
    """The place of a number with one bit set: a multiplication moves another five bits to the top for each."""
    return (bit * int(SEQUENCE) & FULL) >> 27


@kernel(MASKED, reads(np.int32, 2), writes(np.int64))
def add_odds(forest, X, out):
    """`forest` is `Forest.masked`. Adds the log odds of each row of `X` (int32) to `out` (int64)."""
    count, width = np.uint64(len(X)), np.uint64(len(forest.columns))
    values = np.zeros(width * ROWS, np.int32)
    left = np.zeros(ROWS, np.uint32)
    for start in range(np.uint64(0), count, ROWS):
        rows = min(ROWS, count - start)
        for row in range(rows):
            for place in range(width):
                values[place * ROWS + row] = X[start + row, forest.columns[place]]
        for tree in range(np.uint64(len(forest.first) - 1)):
            for row in range(ROWS):
                left[row] = FULL
            for split in range(np.uint64(forest.first[tree]), np.uint64(forest.first[tree + ONE])):
                at, threshold, mask = (
                    np.uint64(forest.feature[split]) * ROWS,
                    forest.threshold[split],
                    forest.mask[split],
                )
                for row in range(ROWS):
                    left[row] &= mask if values[at + row] > threshold else FULL
            for row in range(rows):
                bit = np.uint32(left[row] & np.uint32(np.uint32(~left[row]) + np.uint32(1)))
                out[start + row] += forest.leaf[tree * LEAVES + np.uint64(np.uint32(bit * SEQUENCE) >> np.uint32(27))]


@kernel(reads(np.int64), reads(np.int32), writes(np.int32), counted=False)
def probabilities(odds, steps, out):
    """Log odds in 1/65,536 to thousandths: how many of the ascending `steps` are not above each."""
    for row in range(len(odds)):
        low, high = 0, len(steps)
        while low < high:
            middle = (low + high) >> 1
            if steps[middle] <= odds[row]:
                low = middle + 1
            else:
                high = middle
        out[row] = low


@cache
def steps_of() -> np.ndarray:
    """int32: the log odds of 0.5, 1.5, ... 998.5 thousandths, for `probabilities`."""
    share = (np.arange(999) + 0.5) / 1000
    return np.round(SCALE * np.log(share / (1 - share))).astype(np.int32)


def from_lightgbm(booster: Any, classes: int = 1) -> list[Forest]:
    """The forest of each class of a trained LightGBM model."""
    trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    return [_forest(trees[k::classes]) for k in range(classes)]


def mean_of(forests: Sequence[Forest]) -> Forest:
    """One forest that says the mean of what several say, each leaf rounded to its share of it."""
    starts = np.cumsum([0, *(len(forest.feature) for forest in forests[:-1])])
    moved = (
        forest._replace(child=forest.child + start, root=forest.root + start, leaf=np.round(forest.leaf / len(forests)))
        for forest, start in zip(forests, starts)
    )
    return Forest(*(np.concatenate(arrays).astype(own.dtype) for own, *arrays in zip(forests[0], *moved)))


def _forest(trees: list[dict]) -> Forest:
    feature: list[int] = []
    threshold: list[int] = []
    child: list[int] = []
    leaf: list[int] = []
    roots, depths = [], []
    for tree in trees:
        roots.append(len(feature))
        most = 0
        waiting = [(tree, -1, 0)]
        while waiting:
            node, slot, depth = waiting.pop()
            place = len(feature)
            if slot >= 0:
                child[slot] = place
            most = max(most, depth)
            if "split_feature" in node:
                feature.append(node["split_feature"])
                threshold.append(int(np.clip(np.floor(node["threshold"]), -NEVER, NEVER - 1)))
                child += [0, 0]
                leaf.append(0)
                waiting.append((node["right_child"], 2 * place + 1, depth + 1))
                waiting.append((node["left_child"], 2 * place, depth + 1))
            else:
                feature.append(0)
                threshold.append(NEVER)
                child += [place, place]
                leaf.append(round(node["leaf_value"] * SCALE))
        depths.append(most)
    return Forest(
        np.array(feature, np.int16), np.array(threshold, np.int32), np.array(child, np.int32), np.array(leaf, np.int32),
        np.array(roots, np.int32), np.array(depths, np.int16),
    )  # fmt: skip
