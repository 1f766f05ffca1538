"""The lowest held-out loss of a run: its weights where they are to come out, and the end of a run that no longer lowers it.

transformers reads the best weights back from one of its own checkpoints, and a callback counts; both would be lost in a kill. Here they
are part of what a checkpoint holds, so that a run that goes on ends with the same bytes.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from stages.train.engine.checkpoint import State
from stages.train.engine.shards import full, like
from stages.train.model import trainable


class BestLoss:
    """`keep`: hold the weights of the lowest loss; `patience`: measurements in a row that may fail to lower it by more than `threshold`."""

    def __init__(self, keep: bool, patience: int | None, threshold: float):
        self.keep, self.patience, self.threshold = keep, patience, threshold
        self.loss, self.step, self.waited = math.inf, 0, 0
        self.weights: dict[str, torch.Tensor] = {}

    @property
    def enough(self) -> bool:
        """Has the loss not fallen for long enough?"""
        return self.patience is not None and self.waited >= self.patience

    def measured(self, step: int, loss: float, model: Any) -> None:
        """The loss on held-out rows after `step` steps."""
        lower = loss < self.loss - self.threshold
        self.waited = 0 if lower else self.waited + 1
        if loss < self.loss:
            self.loss, self.step = loss, step
            if self.keep:
                self.weights = {name: one.detach().clone() for name, one in trainable(model).items()}

    @torch.no_grad()
    def put(self, model: Any) -> None:
        """Give the model the weights of the lowest loss, where they were kept."""
        for name, parameter in trainable(model).items() if self.weights else ():
            parameter.copy_(like(self.weights[name], parameter))

    def remembered(self) -> State:
        """For a checkpoint; all workers together."""
        plain = {"loss": None if math.isinf(self.loss) else self.loss, "step": self.step, "waited": self.waited}
        return State({f"best.{name}": full(tensor) for name, tensor in self.weights.items()}, plain)

    def recall(self, tensors: dict[str, Any], plain: dict[str, Any], model: Any) -> None:
        """Take up what `remembered` gave; its tensors are taken out of `tensors`."""
        self.loss = math.inf if plain["loss"] is None else plain["loss"]
        self.step, self.waited = plain["step"], plain["waited"]
        held = trainable(model)
        for name in [name for name in tensors if name.startswith("best.")]:
            own = name.removeprefix("best.")
            self.weights[own] = like(tensors.pop(name).to(held[own].device), held[own])
