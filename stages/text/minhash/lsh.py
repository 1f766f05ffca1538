"""Banding: how many bands of how many rows a threshold asks for, and the keys under which documents meet.

Two documents of Jaccard similarity s share at least one of b bands of r rows with probability 1 - (1 - s^r)^b. Because
every candidate is verified afterwards, a false one costs time and a missed one costs truth: the default asks for recall
at the threshold, and among the bandings that reach it takes the one with the longest rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stages.text.minhash import hashing


class Banding(NamedTuple):
    """`bands` bands of `rows` signature values each; the signature has `bands * rows` values."""

    bands: int
    rows: int

    @property
    def permutations(self) -> int:
        return self.bands * self.rows


FINEWEB = Banding(14, 8)
"""FineWeb's and datatrove's choice (datatrove, MinhashConfig): recall .92 at .8."""


def for_recall(threshold: float, recall: float, permutations: int) -> Banding | None:
    """The banding of longest rows within `permutations` values that meets `recall` at `threshold`, fewest bands; or None."""
    for rows in range(permutations, 0, -1):
        match = threshold**rows
        if match >= 1.0:
            return Banding(1, rows)
        bands = math.log1p(-recall) / math.log1p(-match) - 1e-9 if match > 1e-15 else math.inf
        if bands <= permutations // rows:
            return Banding(max(1, math.ceil(bands)), rows)
    return None


def by_weights(threshold: float, permutations: int, false_positive: float, false_negative: float) -> Banding:
    """datasketch's own optimiser: the banding of least weighted area of false positives and false negatives."""
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=permutations, weights=(false_positive, false_negative))
    return Banding(index.b, index.r)


def estimate_floor(threshold: float, permutations: int) -> float:
    """Estimates below this are not verified: four standard errors under the threshold, one pair in 30,000 at it."""
    return threshold - 4.0 * math.sqrt(threshold * (1.0 - threshold) / permutations)


def band_keys(values: np.ndarray, banding: Banding) -> np.ndarray:
    """uint64 (n, bands): one key per document and band of signatures `values` (uint32, n x permutations).

    The band's number is part of its key, so that all bands can lie in one sorted list.
    """
    rows = len(values)
    parts = values[:, : banding.permutations].reshape(rows, banding.bands, banding.rows)
    keys = np.broadcast_to(
        np.arange(1, banding.bands + 1, dtype=np.uint64) * np.uint64(hashing.STEP), (rows, banding.bands)
    ).copy()
    for row in range(banding.rows):
        keys ^= parts[:, :, row]
        keys *= np.uint64(hashing.POLY)
        keys ^= keys >> np.uint64(32)
    return mixed(keys)


def mixed(keys: np.ndarray) -> np.ndarray:
    """`hashing.mix64` of a uint64 array, in place."""
    keys ^= keys >> np.uint64(30)
    keys *= np.uint64(hashing.MIX_A)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(hashing.MIX_B)
    keys ^= keys >> np.uint64(31)
    return keys
