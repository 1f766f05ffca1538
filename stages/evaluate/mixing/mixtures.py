"""Mixtures of groups: shares that sum to 1, none above its cap; what is sampled of them, and the ones all are held against."""

from __future__ import annotations

import numpy as np

LEAST_SHARE = 5e-4
"""A sampled share below this is 0: a group of so few tokens moves no proxy."""
DIGITS = 4
"""Of a share that is sampled or found, so that it can be copied and stays a key."""
NARROW, WIDE = 0.7, 70.0
"""Range of a Dirichlet's concentration, all groups together: from mixtures of one or two groups to close by the centre."""


def within(shares: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """`shares` (..., groups) cut at `caps` (groups; their sum at least 1); what is cut off goes to the others, in proportion to
    their shares as far as they have one, else to the room they have."""
    made = np.minimum(shares, caps)
    for _ in range(len(caps)):
        missing = 1 - made.sum(-1, keepdims=True)
        if (missing < 1e-12).all():
            return made
        open_ = np.where(made < caps, np.maximum(shares, 0), 0)
        whole = open_.sum(-1, keepdims=True)
        room = caps - made
        part = np.where(
            whole > 0, open_ / np.where(whole > 0, whole, 1), room / room.sum(-1, keepdims=True).clip(1e-12)
        )
        made = np.minimum(made + missing * part, caps)
    return made


def alike(caps: np.ndarray) -> np.ndarray:
    """All groups alike, as far as their caps allow (UniMax, Chung et al. 2023): shares (groups)."""
    return within(np.full(len(caps), 1 / len(caps)), caps)


def sampled(natural: np.ndarray, caps: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, groups) mixtures drawn wide about the natural one and the one of all alike, each by its own number, so that a
    larger count begins with the same ones. Centres and concentrations differ from draw to draw, as RegMix has them (Liu et al. 2024)."""
    return np.stack([_one(natural, caps, np.random.default_rng([seed, number])) for number in range(count)])


def _one(natural: np.ndarray, caps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    between = rng.uniform()
    centre = between * natural + (1 - between) / len(caps)
    drawn = rng.dirichlet(centre * np.exp(rng.uniform(np.log(NARROW), np.log(WIDE))) + 1e-3)
    return rounded(np.where(drawn < LEAST_SHARE, 0.0, drawn), caps)


def rounded(shares: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Within its caps and of four digits; the largest group takes what rounding leaves."""
    made = np.round(within(shares / shares.sum(), caps), DIGITS)
    made[np.argmax(made)] = round(1 - (made.sum() - made.max()), DIGITS)
    return made
