"""How many steps there are, and in which order rows are visited: pure functions, so that resuming needs no memory of them."""

from __future__ import annotations

import hashlib
import json
import math
from typing import NamedTuple

import numpy as np


class StepPlan(NamedTuple):
    """`steps` optimizer steps over `positions` rows, `per_step` rows each (the last may be smaller)."""

    steps: int
    positions: int
    per_step: int

    def of(self, step: int) -> range:
        """The positions of a step (0 is the first)."""
        return range(step * self.per_step, min((step + 1) * self.per_step, self.positions))


def plan(rows: int, per_step: int, epochs: float, steps: int | None) -> StepPlan:
    """Steps of a run: `steps` where given, else `epochs` times over the rows.

    >>> plan(100, 8, 1.5, None)
    StepPlan(steps=19, positions=150, per_step=8)
    """
    if steps is not None:
        return StepPlan(steps, steps * per_step, per_step)
    positions = max(1, round(rows * epochs))
    return StepPlan(math.ceil(positions / per_step), positions, per_step)


class Positions:
    """Position in the whole run -> row, through the permutations of its epochs, each from (seed, epoch) alone."""

    def __init__(self, rows: int, seed: int):
        self.rows, self.seed = rows, seed
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def __getitem__(self, position: int) -> int:
        epoch, at = divmod(position, self.rows)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        return int(self._order[at])


def hash_of(*parts: int) -> int:
    """A seed (63 bits) from numbers."""
    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest(), "little") >> 1
