"""Trees in integers: all splits at once against a plain walk and against LightGBM, probabilities against the logistic function."""

from __future__ import annotations

import numpy as np
import pytest

from stages.ingest.extractor.trees import (
    NEVER,
    SCALE,
    Forest,
    add_odds,
    from_lightgbm,
    mean_of,
    probabilities,
    steps_of,
)


def grown(rng, trees: int, most: int = 5) -> Forest:
    """Trees of random splits, none of them balanced."""
    feature, threshold, child, leaf, root, depth = [], [], [], [], [], []
    for _ in range(trees):
        root.append(len(feature))
        deepest, waiting = 0, [(-1, 0)]
        while waiting:
            slot, level = waiting.pop()
            number = len(feature)
            deepest = max(deepest, level)
            if slot >= 0:
                child[slot] = number
            splits = level < most and rng.random() < 0.7
            feature.append(int(rng.integers(5)) if splits else 0)
            threshold.append(int(rng.integers(-50, 50)) if splits else NEVER)
            child += [number, number]
            leaf.append(0 if splits else int(rng.integers(-SCALE, SCALE)))
            if splits:
                waiting += [(2 * number, level + 1), (2 * number + 1, level + 1)]
        depth.append(deepest)
    kinds = np.int16, np.int32, np.int32, np.int32, np.int32, np.int16
    return Forest(*(np.array(x, kind) for x, kind in zip((feature, threshold, child, leaf, root, depth), kinds)))


def plainly(forest: Forest, row: np.ndarray) -> int:
    total = 0
    for node in forest.root:
        while forest.threshold[node] != NEVER:
            node = forest.child[2 * node + (row[forest.feature[node]] > forest.threshold[node])]
        total += int(forest.leaf[node])
    return total


@pytest.mark.parametrize("count", [0, 1, 63, 64, 150])
def test_the_leaf_left_is_the_one_walked_to(count):
    rng = np.random.default_rng(count)
    forest, rows = grown(rng, 40), rng.integers(-60, 60, (count, 5)).astype(np.int32)
    out = np.zeros(count, np.int64)
    add_odds(forest.masked, rows, out)
    assert out.tolist() == [plainly(forest, row) for row in rows]


def test_forests_say_their_mean():
    rng = np.random.default_rng(3)
    forests, rows = [grown(rng, count) for count in (40, 1, 7)], rng.integers(-60, 60, (90, 5)).astype(np.int32)
    out = np.zeros(90, np.int64)
    add_odds(mean_of(forests).masked, rows, out)
    wanted = np.array([sum(plainly(forest, row) for forest in forests) / 3 for row in rows])
    assert np.abs(out - wanted).max() <= 48 / 2 < np.abs(wanted).max()


def test_a_tree_of_more_leaves_than_bits_is_refused():
    with pytest.raises(ValueError, match="leaves, over 32"):
        _ = grown(np.random.default_rng(1), 60, 8).masked


def test_probabilities():
    odds = np.array([-(1 << 40), -SCALE, 0, SCALE, 1 << 40], np.int64)
    out = np.zeros(5, np.int32)
    probabilities(odds, steps_of(), out)
    assert out.tolist() == [0, 269, 500, 731, 999]


def test_odds_are_what_lightgbm_says():
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM (the extra `extractor`) is not installed")
    rng = np.random.default_rng(5)
    rows = rng.integers(-1000, 1000, (800, 6)).astype(np.int32)
    share = 1 / (1 + np.exp(-(rows[:, 0] - rows[:, 1]) / 300))
    options = {"objective": "cross_entropy", "num_leaves": 15, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(rows, share, params=options), 20)
    out = np.zeros(800, np.int64)
    add_odds(from_lightgbm(booster)[0].masked, rows, out)
    assert np.abs(out / SCALE - booster.predict(rows, raw_score=True)).max() < 20 / SCALE
