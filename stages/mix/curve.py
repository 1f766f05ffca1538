"""Rates of rows within their group: a curve over their rank, and factors for numbers such as the size of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.options import digest

STEPS = 32
"""Steps that a straight line between two points of a curve is cut into."""
Points = Sequence[tuple[float, float]]


class Edges(NamedTuple):
    """Where the rate of a group's rows changes, the worst rows first: all of length k, the last two of k + 1 and of one number."""

    scores: np.ndarray
    """float64: score of the first row behind each change."""
    draws: np.ndarray
    """int64: its draw, which decides between equal scores."""
    factors: np.ndarray
    """float64: the curve's rate before the first change, between each two, behind the last."""
    mean: float
    """The curve's rate over the group, by size."""


def steps_of(curve: Points) -> list[tuple[float, float]]:
    """(share up to which, rate) pieces over 0 .. 1; straight lines in 32 of the rate at their middle.

    >>> steps_of([(0.4, 0), (0.4, 1), (1, 1)])
    [(0.4, 0), (1.0, 1)]
    """
    made = [(curve[0][0], curve[0][1])] if curve[0][0] > 0 else []
    for (begin, low), (end, high) in zip(curve, curve[1:]):
        pieces = STEPS if low != high else 1
        made += [
            (begin + (end - begin) * (n + 1) / pieces, low + (high - low) * (n + 0.5) / pieces)
            for n in range(pieces)
            if end > begin
        ]
    return [
        *[(float(share), rate) for share, rate in made if share < 1],
        (1.0, made[-1][1] if curve[-1][0] == 1 else curve[-1][1]),
    ]


def by_group(weighed: Iterable[pa.Table]) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Group, and size (int64), score (float64) and draw (int64) of its rows, out of those of all rows: sorted once, whatever the number
    of groups. Parts without rows may lack the columns."""
    parts = [part for part in weighed if "group" in part.column_names]
    if not parts:
        return
    table = pa.concat_tables(parts)
    groups = table["group"].combine_chunks().dictionary_encode()
    number = groups.indices.to_numpy()
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(groups.dictionary) + 1))
    columns = [table[name].to_numpy() for name in ("size", "score", "draw")]
    for at, name in enumerate(groups.dictionary.to_pylist()):
        own = order[bounds[at] : bounds[at + 1]]
        size, score, draw = (column[own] for column in columns)
        yield name, size, score, draw


def edges_of(curve: Points, groups: Iterable[str], weighed: list[pa.Table]) -> dict[str, Edges]:
    """The edges of every group, out of group, size, score and draw of all rows."""
    steps = steps_of(curve)
    uppers, factors = np.array([share for share, _ in steps[:-1]]), np.array([rate for _, rate in steps], np.float64)
    found = {}
    for name, size, score, draw in by_group(weighed):
        order = np.lexsort((draw, score))
        whole = size[order].astype(np.float64)
        total = whole.sum()
        worse = (np.cumsum(whole) - whole / 2) / total if total else np.zeros(len(order))
        first = np.searchsorted(worse, uppers, side="left")
        there = first < len(order)
        behind = order[np.minimum(first, len(order) - 1)]
        scores = np.where(there, score[behind], np.inf)
        draws = np.where(there, draw[behind], np.iinfo(np.int64).max)
        rates = factors[np.searchsorted(uppers, worse, side="right")]
        found[name] = Edges(scores, draws, factors, float((rates * whole).sum() / total) if total else 1.0)
    return {name: found[name] for name in groups if name in found}


def rates_in(edges: dict[str, Edges], groups: Sequence[str], scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The curve's rate of every row of a batch (float64)."""
    found, named = np.zeros(len(groups)), np.array(groups, dtype=object)
    for name in dict.fromkeys(groups):
        if name in edges:
            edge, own = edges[name], np.flatnonzero(named == name)
            score, draw = scores[own, None], draws[own, None]
            found[own] = edge.factors[
                ((score > edge.scores) | ((score == edge.scores) & (draw >= edge.draws))).sum(axis=1)
            ]
    return found


def words_of(edges: dict[str, Edges] | None) -> dict[str, str] | None:
    """Edges for a key: a hash per group."""
    if edges is None:
        return None
    return {
        name: digest([repr(part.tolist()) for part in edge[:3]] + [repr(edge.mean)]) for name, edge in edges.items()
    }


def factors(numbers: np.ndarray, points: Points) -> np.ndarray:
    """The factor of every number: that of the last pair it reaches, of the first one where it reaches none or is none.

    >>> factors(np.array([-np.inf, 1, 3, 90]), [(1, 1), (2, 2), (64, 5)]).tolist()
    [1.0, 1.0, 2.0, 5.0]
    """
    begins, rates = (np.array(column, np.float64) for column in zip(*points))
    return rates[np.maximum(np.searchsorted(begins, numbers, side="right") - 1, 0)]


def unimax(sizes: dict[str, int], budget: float, epochs: float) -> dict[str, float]:
    """Copies per row: every group an equal part of the budget, at most `epochs` times; what is over goes to the larger ones.

    >>> unimax({"a": 10, "b": 100, "c": 1000}, 600, 2)
    {'a': 2.0, 'b': 2.0, 'c': 0.38}
    """
    rates, left = {}, float(budget)
    for done, (name, size) in enumerate(sorted(sizes.items(), key=lambda item: (item[1], item[0]))):
        taken = min(left / (len(sizes) - done), size * epochs)
        rates[name] = taken / size
        left -= taken
    return rates
