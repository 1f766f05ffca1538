"""Gradient-boosted trees as flat arrays, walked by compiled code in integers.

LightGBM trains them; here a forest is its splits and leaves alone. Features are integers, thresholds are rounded down to
integers, leaves are log odds in 1/65,536, so that a sum is the same on every machine and in every order.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from stages.text.compiled import inlined, kernel, reads, tuple_of, writes

SCALE = 1 << 16
ROWS = 64
"""Rows walked through all trees together: their features stay in the nearest cache."""
NEVER = (1 << 31) - 1
"""Threshold of a leaf: the walk stays on it."""


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
    """Trees one behind the other; a node's children are numbers within the whole."""

    @cached_property
    def walked(self) -> Walked:
        """The same trees with the two children of a node side by side, so that the second is found without looking it up."""
        children, splits = self.child.reshape(-1, 2), self.threshold != NEVER
        nodes, trees = [self.root.astype(np.int64)], [np.arange(len(self.root))]
        while splits[nodes[-1]].any():
            inside = splits[nodes[-1]]
            trees.append(np.repeat(trees[-1][inside], 2))
            nodes.append(children[nodes[-1][inside]].ravel().astype(np.int64))
        order = np.argsort(np.concatenate(trees), kind="stable")
        old = np.concatenate(nodes)[order]
        place = np.zeros(len(self.feature), np.int32)
        place[old] = np.arange(len(old))
        first = np.where(splits[old], place[children[old, 0]], place[old]).astype(np.int32)
        return Walked(self.feature[old], self.threshold[old], first, self.leaf[old], place[self.root], self.depth)


class Walked(NamedTuple):
    """A forest as it is walked; kernels take the tuple as it is."""

    feature: np.ndarray
    threshold: np.ndarray
    first: np.ndarray
    """int32 per node: its first child, the second stands behind it; a leaf's is itself."""
    leaf: np.ndarray
    root: np.ndarray
    depth: np.ndarray


WALKED = tuple_of(Walked, *(writes(kind) for kind in (np.int16, np.int32, np.int32, np.int32, np.int32, np.int16)))


@inlined
def _next(forest, X, row, node):
    """The child that a row goes to; indices without a sign, which need no test for being negative."""
    right = np.uint64(X[row, np.uint64(forest.feature[node])] > forest.threshold[node])
    return np.uint64(forest.first[node]) + right


@kernel(WALKED, reads(np.int32, 2), writes(np.int64), counted=False)
def walk(forest, X, out):
    """`forest` is `Forest.walked`. Adds the log odds of each row of `X` (int32) to `out` (int64). Four rows go down a tree side by side: none waits for another."""
    n = len(X)
    for start in range(0, n, ROWS):
        stop = min(start + ROWS, n)
        for tree in range(len(forest.root)):
            root, depth = np.uint64(forest.root[tree]), forest.depth[tree]
            for row in range(start, stop, 4):
                last = stop - 1
                a, b, c, d = np.uint64(row), np.uint64(min(row + 1, last)), np.uint64(min(row + 2, last)), np.uint64(min(row + 3, last))  # fmt: skip
                at_a = at_b = at_c = at_d = root
                for _ in range(depth):
                    at_a = _next(forest, X, a, at_a)
                    at_b = _next(forest, X, b, at_b)
                    at_c = _next(forest, X, c, at_c)
                    at_d = _next(forest, X, d, at_d)
                out[row] += forest.leaf[at_a]
                if row + 1 < stop:
                    out[row + 1] += forest.leaf[at_b]
                if row + 2 < stop:
                    out[row + 2] += forest.leaf[at_c]
                if row + 3 < stop:
                    out[row + 3] += forest.leaf[at_d]


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
