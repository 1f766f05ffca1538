"""Vectors compared without rounding that depends on order: the same clusters and neighbours on any machine and any layout.

A sum of floating-point numbers changes with the order in which a library adds them. So directions are rounded to whole
numbers: `whole` maps a vector to integers of length about SCALE, held in float32. The product of two of them, and every sum of
some of its terms, is a whole number below 2**24 (by Cauchy and Schwarz), which float32 holds exactly: a matrix product by any
BLAS, in any order, is exact. What it nominates is then measured by `_cosine`, term by term in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stages.text.compiled import boolean, float64, int64, kernel, part, reads, writes

SCALE = 4000.0
"""Length of a rounded vector. With the rounding of d numbers added it stays below 4096 (2**12) up to d = 36,000."""
BLOCK = 2048
"""Rows of a matrix product at once."""
TILE = 256
"""Rows of a product of vectors with those behind them: half of a square of 1,024 is not computed."""
ABOVE = np.triu(np.ones((TILE, TILE), np.float32), 1)


ROUND = 1.5 * 2.0**52
"""Added to a float64 and taken off again, it leaves the nearest whole number, the even one of two."""


@part
def _length(vector):
    total = 0.0
    for value in vector:
        total += np.float64(value) * np.float64(value)
    return math.sqrt(total)


@kernel(reads(np.float32, 2), writes(np.float64))
def _lengths(vectors, lengths):
    for row in range(vectors.shape[0]):
        lengths[row] = _length(vectors[row])


@kernel(reads(np.float32, 2), writes(np.float32, 2))
def _whole(vectors, found):
    for row in range(vectors.shape[0]):
        scale = SCALE / _length(vectors[row])
        for at in range(vectors.shape[1]):
            found[row, at] = np.float32((np.float64(vectors[row, at]) * scale + ROUND) - ROUND)


@part
def _cosine(a, b):
    dot = aa = bb = 0.0
    for at in range(a.size):
        x, y = np.float64(a[at]), np.float64(b[at])
        dot += x * y
        aa += x * x
        bb += y * y
    return min(1.0, dot / math.sqrt(aa * bb))


@kernel(
    reads(np.float32, 2),
    reads(np.int64),
    float64,
    reads(np.float32, 2),
    reads(np.float32, 2),
    float64,
    boolean,
    reads(np.bool_),
    int64,
    writes(np.int64),
    writes(np.float64),
)
def _follow(products, rows, least, heads, others, cosine, among, free, first, leader, score):
    """`rows` of `products` lead, from the first on; `among`: heads are the first of the others, and who follows leads nobody."""
    for row in rows:
        if among and leader[row] >= 0:
            continue
        for other in range(row + 1 if among else 0, products.shape[1]):
            if products[row, other] >= least and leader[other] < 0 and free[other]:
                alike = _cosine(heads[row], others[other])
                if alike >= cosine:
                    leader[other], score[other] = first + row, alike


@kernel(reads(np.float32, 2), reads(np.int64), reads(np.int64), writes(np.float64, 2), writes(np.bool_))
def _move(points, before, label, sums, changed):
    for row in range(label.size):
        old, new = before[row], label[row]
        if old == new:
            continue
        changed[new] = True
        if old >= 0:
            changed[old] = True
            for at in range(points.shape[1]):
                sums[old, at] -= np.float64(points[row, at])
        for at in range(points.shape[1]):
            sums[new, at] += np.float64(points[row, at])


@kernel(reads(np.uint32, 2), reads(np.uint64), writes(np.uint64))
def _mixed(bits, weights, found):
    for row in range(bits.shape[0]):
        total = np.uint64(0)
        for at in range(bits.shape[1]):
            value = np.uint64(bits[row, at])
            total += (value ^ (value << np.uint64(29))) * weights[at]
        total ^= total >> np.uint64(31)
        total *= np.uint64(0x94D049BB133111EB)
        found[row] = total ^ (total >> np.uint64(29))


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Euclidean length (float64) of each row of float32 `vectors`, summed from left to right."""
    found = np.empty(len(vectors))
    _lengths(vectors, found)
    return found


def whole(vectors: np.ndarray) -> np.ndarray:
    """The directions of `vectors` (n, d; none of length 0) in whole numbers, as float32."""
    found = np.empty(vectors.shape, np.float32)
    _whole(vectors, found)
    return found


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
    label, sums = np.full(len(points), -1), np.zeros(centroids.shape)
    for _ in range(rounds):
        before, label = label, nearest(points, centroids)
        changed = np.zeros(count, bool)
        # Whole numbers below 2**53 add up exactly in float64, in any order.
        _move(points, before, label, sums, changed)
        if not changed.any():
            break
        sizes = np.array([math.sqrt(math.fsum(row)) for row in (sums[changed] ** 2).tolist()])
        filled = sizes > 0
        moved = np.flatnonzero(changed)[filled]
        centroids[moved] = np.rint(sums[moved] * (SCALE / sizes[filled])[:, None]).astype(np.float32)
    return centroids


class Vectors(NamedTuple):
    """Vectors (float32), and `whole` of them."""

    given: np.ndarray
    whole: np.ndarray

    @classmethod
    def of(cls, given: np.ndarray) -> Vectors:
        return cls(given, whole(given))


class Followers(NamedTuple):
    """Rows that follow others: `leader` (int64, -1 where none does), and the cosine with it."""

    leader: np.ndarray
    score: np.ndarray

    @classmethod
    def none(cls, rows: int) -> Followers:
        return cls(np.full(rows, -1, np.int64), np.full(rows, np.nan))


def follow(heads: Vectors, first: int, others: Vectors, cosine: float, free: np.ndarray, found: Followers) -> None:
    """Each of `others` that follows nobody yet and is `free` (bool) follows the first of `heads` (numbers from `first` on) whose
    cosine with it is `cosine` or more."""
    least = floor(cosine, others.given.shape[1])
    products = heads.whole @ others.whole.T
    hit = np.flatnonzero(products.max(axis=1) >= least)
    if len(hit):
        _follow(products, hit, least, heads.given, others.given, cosine, False, free, first, *found)


def follow_among(rows: Vectors, cosine: float, free: np.ndarray, found: Followers) -> None:
    """The same among `rows`: earlier ones lead later ones, and who follows leads nobody."""
    least = floor(cosine, rows.given.shape[1])
    for low in range(0, len(rows.whole), TILE):
        products = rows.whole[low : low + TILE] @ rows.whole[low:].T
        products[:, : len(products)] *= ABOVE[: len(products), : len(products)]
        hit = np.flatnonzero(products.max(axis=1) >= least)
        if len(hit):
            mine = rows.given[low:]
            _follow(
                products, hit, least, mine, mine, cosine, True, free[low:], low, found.leader[low:], found.score[low:]
            )


def mixed(vectors: np.ndarray) -> np.ndarray:
    """A uint64 per row, from its bits alone: an order without meaning, equal for equal vectors."""
    weights = np.arange(1, vectors.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    found = np.empty(len(bits), np.uint64)
    _mixed(bits, weights, found)
    return found
