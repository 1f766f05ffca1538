"""What a mixture's proxy will measure, from those that were trained: a regression per measured group, and its best mixture.

Three forms are tried, and the one that predicts left-out mixtures best is taken: losses linear in the shares (RegMix, Liu et
al. 2024), linear in their logarithms, and exponential in the shares above a floor (data mixing laws, Ye et al. 2024). Each is a
ridge regression in closed form, so that leaving every mixture out once, and fitting hundreds of resamples, costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.evaluate.mixing.mixtures import rounded, within

NEAR_ZERO = 0.01
"""Added to a share before its logarithm is taken: a group of a hundredth and one of none are then not infinitely apart."""
RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
"""Penalties tried, as shares of the features' mean variance."""
FLOORS = (0.5, 0.8, 0.9, 0.95)
"""Floors tried for the exponential form, as shares of the least loss measured."""
CANDIDATES, BEST = 50_000, 64
"""Mixtures the regression is asked about, and how many of the best are averaged: the single best is the one the regression
errs about most in its favour (RegMix averages its best hundred)."""


class Law(NamedTuple):
    """Losses (groups measured) as a function of shares (groups mixed)."""

    form: str
    """`linear`, `log` or `exponential`."""
    ridge: float
    floor: float
    """Of the exponential form, as a share of the least loss measured."""
    floors: np.ndarray
    intercept: np.ndarray
    slopes: np.ndarray
    """(mixed, measured)"""

    def predict(self, shares: np.ndarray) -> np.ndarray:
        """Losses (n, measured) of mixtures (n, mixed)."""
        straight = self.intercept + _features(shares, self.form) @ self.slopes
        return self.floors + np.exp(straight) if self.form == "exponential" else straight


def fit(shares: np.ndarray, losses: np.ndarray, target: np.ndarray) -> tuple[Law, np.ndarray]:
    """The law of mixtures (n, mixed) and their losses (n, measured) that is least wrong about the loss of `target` (measured; sum
    1) where a mixture is left out, and what it then says of each (n). At least three mixtures."""
    tried = [("linear", ridge, 0.0) for ridge in RIDGES] + [("log", ridge, 0.0) for ridge in RIDGES]
    tried += [("exponential", ridge, floor) for ridge in RIDGES for floor in FLOORS]
    left_out = [_left_out(shares, losses, *one) @ target for one in tried]
    wrong = [float(np.mean((one - losses @ target) ** 2)) for one in left_out]
    best = int(np.argmin(wrong))
    return law_of(shares, losses, *tried[best]), left_out[best]


def law_of(shares: np.ndarray, losses: np.ndarray, form: str, ridge: float, floor: float) -> Law:
    """The law of one form, by ridge regression."""
    features, wanted, floors = _features(shares, form), *_wanted(losses, form, floor)
    centre = features.mean(0)
    slopes = np.linalg.solve(_penalised(features - centre, ridge), (features - centre).T @ (wanted - wanted.mean(0)))
    return Law(form, ridge, floor, floors, wanted.mean(0) - centre @ slopes, slopes)


def best_mixture(law: Law, target: np.ndarray, natural: np.ndarray, caps: np.ndarray, seed: int) -> np.ndarray:
    """Shares (mixed) within `caps` whose loss of `target` the law has lowest: the mean of the best of many drawn over all mixtures."""
    rng = np.random.default_rng([seed, 1])
    flat = rng.dirichlet(np.ones(len(caps)), CANDIDATES // 2)
    sparse = rng.dirichlet(np.full(len(caps), 0.3), CANDIDATES // 2)
    drawn = within(np.concatenate([flat, sparse, natural[None]]), caps)
    order = np.argsort(law.predict(drawn) @ target, kind="stable")
    return rounded(drawn[order[:BEST]].mean(0), caps)


def change(
    shares: np.ndarray, losses: np.ndarray, target: np.ndarray, law: Law, pair: np.ndarray, resamples: int, seed: int
) -> tuple[float, float, float]:
    """What the law says of the loss of `target` from the first to the second mixture of `pair` (2, mixed): the change and its 95%
    interval over the mixtures it was fitted to (bootstrap)."""
    rng, found = np.random.default_rng([seed, 2]), []
    for _ in range(resamples):
        drawn = rng.integers(0, len(shares), len(shares))
        first, second = (
            law_of(shares[drawn], losses[drawn], law.form, max(law.ridge, 1e-4), law.floor).predict(pair) @ target
        )
        found.append(second - first)
    first, second = law.predict(pair) @ target
    low, high = np.quantile(found, [0.025, 0.975])
    return float(second - first), float(low), float(high)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's, None where either does not vary."""
    from scipy.stats import rankdata

    if len(one) < 3 or not np.ptp(one) or not np.ptp(other):
        return None
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def _left_out(shares: np.ndarray, losses: np.ndarray, form: str, ridge: float, floor: float) -> np.ndarray:
    """(n, measured): what the law fitted to all other mixtures says of each; exact for ridge regression, by its hat matrix."""
    features, wanted, floors = _features(shares, form), *_wanted(losses, form, floor)
    centred = features - features.mean(0)
    hat = centred @ np.linalg.solve(_penalised(centred, ridge), centred.T) + 1 / len(shares)
    own = np.minimum(np.diag(hat), 1 - 1e-9)[:, None]
    straight = (hat @ wanted - own * wanted) / (1 - own)
    return floors + np.exp(straight) if form == "exponential" else straight


def _features(shares: np.ndarray, form: str) -> np.ndarray:
    return np.log(shares + NEAR_ZERO) if form == "log" else shares


def _wanted(losses: np.ndarray, form: str, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """What is linear in the features, and the floors (measured)."""
    floors = losses.min(0) * floor if form == "exponential" else np.zeros(losses.shape[1])
    return (np.log(losses - floors) if form == "exponential" else losses), floors


def _penalised(centred: np.ndarray, ridge: float) -> np.ndarray:
    """The normal matrix with its penalty: shares sum to 1, so that without one it has no inverse."""
    normal = centred.T @ centred
    return normal + ridge * max(np.trace(normal) / len(normal), 1e-12) * np.eye(len(normal))
