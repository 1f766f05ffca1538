"""Intervals by bootstrap over rows: resample the rows that were measured, and see how far the number moves."""

from __future__ import annotations

import numpy as np

LEAST = 6
"""Rows from which an interval may say that a model is better: that fewer all move one way happens by chance more than once in twenty
(sign test, two-sided: 2 * .5 ** 5 = .0625, 2 * .5 ** 6 = .031), and a bootstrap of rows that all move one way never crosses 0."""


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """Sum over sum; nan where nothing was measured."""
    total = float(np.sum(denominator))
    return float(np.sum(numerator)) / total if total else float("nan")


def interval(numerator: np.ndarray, denominator: np.ndarray, resamples: int, seed: int) -> list[float]:
    """95% bootstrap interval of sum(numerator) / sum(denominator) over rows."""
    drawn = _resampled(np.stack([numerator, denominator]).astype(np.float64), resamples, seed)
    return _bounds(drawn[0] / np.where(drawn[1] == 0, np.nan, drawn[1]))


def change(before: np.ndarray, after: np.ndarray, denominator: np.ndarray, resamples: int, seed: int) -> list[float]:
    """95% interval of the change of a ratio between two models on the same rows: both are resampled together."""
    drawn = _resampled(np.stack([after - before, denominator]).astype(np.float64), resamples, seed)
    return _bounds(drawn[0] / np.where(drawn[1] == 0, np.nan, drawn[1]))


def _resampled(rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(2, resamples) sums over rows drawn with replacement, a hundred resamples at a time."""
    n = rows.shape[1]
    rng = np.random.default_rng(seed)
    parts = []
    for at in range(0, resamples, 100):
        counts = rng.multinomial(n, np.full(n, 1.0 / n), size=min(100, resamples - at))
        parts.append(rows @ counts.T)
    return np.concatenate(parts, axis=1)


def _bounds(values: np.ndarray) -> list[float]:
    values = values[~np.isnan(values)]
    return [float(bound) for bound in np.quantile(values, [0.025, 0.975])] if len(values) else []
