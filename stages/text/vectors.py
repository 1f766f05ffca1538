"""Vectors compared without rounding that depends on order: the same clusters and neighbours on any machine and any layout.

A sum of floating-point numbers changes with the order in which a library adds them. So directions are rounded to whole
numbers: `whole` maps a vector to integers of length about SCALE, held in float32. The product of two of them, and every sum of
some of its terms, is a whole number below 2**24 (by Cauchy and Schwarz), which float32 holds exactly: a matrix product by any
BLAS, in any order, is exact. What it nominates is then measured by `cosines`, term by term in float64.
"""

from __future__ import annotations

import math

import numpy as np

from stages.text.compiled import kernel

SCALE = 4000.0
"""Length of a rounded vector. With the rounding of d numbers added it stays below 4096 (2**12) up to d = 36,000."""
BLOCK = 2048
"""Rows of a matrix product at once."""


@kernel
def _lengths(vectors, lengths):
    for row in range(vectors.shape[0]):
        total = 0.0
        for at in range(vectors.shape[1]):
            total += np.float64(vectors[row, at]) * np.float64(vectors[row, at])
        lengths[row] = math.sqrt(total)


@kernel
def _cosines(left, right, left_at, right_at, found):
    for pair in range(left_at.size):
        a, b = left[left_at[pair]], right[right_at[pair]]
        dot = aa = bb = 0.0
        for at in range(a.size):
            x, y = np.float64(a[at]), np.float64(b[at])
            dot += x * y
            aa += x * x
            bb += y * y
        found[pair] = min(1.0, dot / math.sqrt(aa * bb))


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Euclidean length (float64) of each row of float32 `vectors`, summed from left to right."""
    found = np.empty(len(vectors))
    _lengths(vectors, found)
    return found


def cosines(left: np.ndarray, right: np.ndarray, left_at: np.ndarray, right_at: np.ndarray) -> np.ndarray:
    """Cosine (float64) of the rows `left[left_at[i]]` and `right[right_at[i]]` of float32 matrices, summed from left to right."""
    found = np.empty(len(left_at))
    _cosines(left, right, left_at.astype(np.int64), right_at.astype(np.int64), found)
    return found


def whole(vectors: np.ndarray) -> np.ndarray:
    """The directions of `vectors` (n, d; none of length 0) in whole numbers, as float32."""
    return np.rint(vectors * (SCALE / lengths(vectors))[:, None]).astype(np.float32)


def floor(cosine: float, width: int) -> float:
    """Least product of two `whole` vectors of `width` numbers whose true cosine may be `cosine`: rounding hides none."""
    slip = math.sqrt(width) / 2 / SCALE
    return (cosine - 2 * slip - slip * slip) * SCALE * SCALE - 1


def nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Number of the centroid nearest to each point (int64; the lowest of equals). Both `whole`."""
    found = np.empty(len(points), np.int64)
    for low in range(0, len(points), BLOCK):
        found[low : low + BLOCK] = np.argmax(points[low : low + BLOCK] @ centroids.T, axis=1)
    return found


def kmeans(points: np.ndarray, count: int, rounds: int) -> np.ndarray:
    """`count` centroids of `points` (`whole`, distinct, in an order that has nothing to do with what they are), `whole`.

    Spherical k-means from the first points; it ends when no point moves, or after `rounds`.
    """
    centroids = points[:count].copy()
    before = None
    for _ in range(rounds):
        label = nearest(points, centroids)
        if before is not None and np.array_equal(before, label):
            break
        before = label
        sums = np.zeros(centroids.shape)
        for low in range(0, len(points), BLOCK):
            order = np.argsort(label[low : low + BLOCK], kind="stable")
            sorted_label = label[low : low + BLOCK][order]
            starts = np.flatnonzero(np.r_[True, sorted_label[1:] != sorted_label[:-1]])
            # Whole numbers below 2**53 add up exactly in float64, in any order.
            sums[sorted_label[starts]] += np.add.reduceat(points[low : low + BLOCK][order].astype(np.float64), starts, axis=0)
        sizes = np.array([math.sqrt(math.fsum(row)) for row in (sums * sums).tolist()])
        moved = sizes > 0
        centroids[moved] = np.rint(sums[moved] * (SCALE / sizes[moved])[:, None]).astype(np.float32)
    return centroids


def mixed(vectors: np.ndarray) -> np.ndarray:
    """A uint64 per row, from its bits alone: an order without meaning, equal for equal vectors."""
    weights = np.arange(1, vectors.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    total = np.empty(len(bits), np.uint64)
    for low in range(0, len(bits), BLOCK):
        piece = bits[low : low + BLOCK].astype(np.uint64)
        piece ^= piece << np.uint64(29)
        total[low : low + BLOCK] = (piece * weights).sum(axis=1, dtype=np.uint64)
    total ^= total >> np.uint64(31)
    total *= np.uint64(0x94D049BB133111EB)
    return total ^ (total >> np.uint64(29))
