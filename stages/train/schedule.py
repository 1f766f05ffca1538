"""How many steps there are and how fast each learns: pure functions of the step, so that resuming needs no memory of them."""

from __future__ import annotations

import math
from typing import NamedTuple


class StepPlan(NamedTuple):
    """`steps` optimizer steps over `positions` rows, `per_step` rows each (the last may be smaller)."""

    steps: int
    positions: int
    per_step: int


def plan(rows: int, per_step: int, epochs: float, steps: int | None) -> StepPlan:
    """Steps of a run: `steps` where given, else `epochs` times over the rows.

    >>> plan(100, 8, 1.5, None)
    Plan(steps=19, positions=150, per_step=8)
    """
    if steps is not None:
        return StepPlan(steps, steps * per_step, per_step)
    positions = max(1, round(rows * epochs))
    return StepPlan(math.ceil(positions / per_step), positions, per_step)


def rate(step: int, steps: int, kind: str, warmup: float, floor: float) -> float:
    """Factor on the learning rate at `step` (0 is the first) of `steps`.

    Rises linearly over the first `warmup` share, then: `constant`; `linear` and `cosine` fall to `floor`; `wsd` stays up and
    falls linearly over the last fifth (warmup-stable-decay).
    """
    rise = max(1, round(steps * warmup)) if warmup > 0 else 0
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    if kind == "constant":
        return 1.0
    if kind == "linear":
        return 1.0 - (1.0 - floor) * done
    if kind == "cosine":
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * done))
    return 1.0 if done < 0.8 else 1.0 - (1.0 - floor) * (done - 0.8) / 0.2
