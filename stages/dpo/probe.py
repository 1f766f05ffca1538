"""Can the two sides be told apart without reading the prompt? A linear probe over character n-grams, trained in an instant.

Pairs that a few surface features separate teach a model those features: shouting, bad encoding, a stock phrase, length. So the
probe is trained on half of the prompts and measured on the other half, and its accuracy stands beside the pairs. Near 0.5 the
sides cannot be told apart by their surface, near 1 they are told apart trivially.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

DIMENSIONS = 1 << 14
STEPS = 50
RATE = 0.5
MOST = 4000
"""Pairs looked at, the first by hash of their prompt."""
TRIVIAL = 0.95
"""From this accuracy on a warning stands in the receipt."""


def separability(chosen: Sequence[str], rejected: Sequence[str], keys: Sequence[int]) -> dict[str, Any]:
    """Accuracy of the probe and of length alone on prompts it was not trained on; empty for fewer than 40 pairs."""
    order = np.argsort(np.asarray(keys, dtype=np.uint64), kind="stable")[:MOST]
    test = np.asarray([keys[n] % 2 == 1 for n in order])
    if len(order) < 40 or not 10 <= test.sum() <= len(order) - 10:
        return {}
    difference = np.stack([features(chosen[n]) - features(rejected[n]) for n in order])
    weights = train(difference[~test])
    scores = difference[test] @ weights
    longer = np.asarray([len(chosen[n]) - len(rejected[n]) for n in order], dtype=np.float64)
    side = np.sign(longer[~test].sum()) or 1.0
    facts: dict[str, Any] = {
        "probe_accuracy": round(_accuracy(scores), 3),
        "length_accuracy": round(_accuracy(side * longer[test]), 3),
    }
    if facts["probe_accuracy"] >= TRIVIAL:
        facts["warning"] = "the two sides are told apart by their surface alone"
    return facts


def features(text: str) -> np.ndarray:
    """Hashed character 1- to 3-grams as shares of the text, and its length in units of a thousand characters (float32)."""
    import xxhash

    found = np.zeros(DIMENSIONS + 1, dtype=np.float32)
    grams = [
        text[at : at + size].encode("utf-8", "surrogatepass")
        for size in (1, 2, 3)
        for at in range(max(0, len(text) - size + 1))
    ]
    for gram in grams:
        found[xxhash.xxh3_64_intdigest(gram) % DIMENSIONS] += 1
    found /= np.linalg.norm(found) or 1.0
    found[DIMENSIONS] = len(text) / 1000
    return found


def train(difference: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression on (chosen - rejected), by fifty steps of gradient descent from zero."""
    weights = np.zeros(difference.shape[1], dtype=np.float32)
    for _ in range(STEPS):
        doubt = 1 / (1 + np.exp(np.clip(difference @ weights, -30, 30)))
        weights += RATE * (doubt[:, None] * difference).mean(axis=0) * 10
    return weights


def _accuracy(scores: np.ndarray) -> float:
    """Share above zero; a zero is a guess."""
    return float((scores > 0).mean() + 0.5 * (scores == 0).mean())
