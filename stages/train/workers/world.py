"""Several workers of one run: who does which rows, and what they add up; here every worker holds the whole model.

The loop asks a model only through what holds it: `Copied` here, `Sharded` (stages.train.workers.sharded) where no worker holds it whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from stages.train.checkpoint import flatten, unflatten
from stages.train.model import trainable


class World(NamedTuple):
    """Which of how many workers this is. `tensor` of them, side by side, compute the same rows with parts of every layer."""

    rank: int = 0
    size: int = 1
    tensor: int = 1

    @property
    def share(self) -> int:
        """Which share of a step's rows this worker does."""
        return self.rank // self.tensor

    @property
    def shares(self) -> int:
        """Into how many shares a step's rows are split."""
        return self.size // self.tensor

    @property
    def counts(self) -> bool:
        """Do this worker's sums count? Of those that do the same rows, the first one's do."""
        return self.rank % self.tensor == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` summed over all shares, in place."""
        if self.size > 1:
            if not self.counts:
                tensor.zero_()
            torch.distributed.all_reduce(tensor)
        return tensor

    def gather(self, value: Any) -> list[Any]:
        """`value` of every worker, by rank; plain Python values."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Go on when all workers are here."""
        if self.size > 1:
            torch.distributed.barrier()


class Copied:
    """The whole model on every worker; gradients are summed after the last pass of a step."""

    def __init__(self, model: Any, world: World = World()):
        self.model, self.world = model, world
        self.parameters: dict[str, torch.nn.Parameter] = trainable(model)
        """What the optimizer changes and checkpoints hold, by name."""

    def ask(self, question: Callable[..., Any], *given: Any) -> Any:
        """`question(model, *given)`."""
        return question(self.model, *given)

    def idle(self, most: int, own: int) -> int:
        """Passes to be made without rows, so that this worker makes as many as the one that makes `most`."""
        return 0

    def optimizer(self, stage: Any, learning_rate: float) -> Any:
        """The optimizer of this worker's parameters."""
        return optimizer_of(stage, self.parameters, learning_rate)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """The backward pass of `loss`; `last`: no other follows in this step."""
        loss.backward()

    def share(self) -> None:
        """Sum the gradients of all workers."""
        if self.world.size > 1:
            share_gradients(self.parameters.values(), self.world)

    def clip(self, most: float) -> float:
        """Shorten the gradient to `most`; its length before."""
        return float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), most))

    def state(self, optimizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What this worker is to write of weights and optimizer: tensors by name, and JSON. No tensors where another writes it all."""
        if self.world.rank:
            return {}, {}
        return self._own(optimizer)

    def _own(self, optimizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        tensors, plain = flatten("optimizer", optimizer.state_dict())
        return tensors | {f"weight.{name}": parameter for name, parameter in self.parameters.items()}, plain

    @torch.no_grad()
    def restore(self, optimizer: Any, tensors: dict[str, Any], plain: dict[str, Any]) -> None:
        """Go back to what `state` gave."""
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[f"weight.{name}"])
        optimizer.load_state_dict(unflatten("optimizer", tensors, plain))

    def gather(self, whole: bool) -> None:
        """Put the model together on worker 0: all of it, or what was trained."""


def share_gradients(parameters: Any, world: World) -> None:
    """Sum the gradients of all workers, as one flat tensor; a worker without rows gives zeros."""
    parameters = list(parameters)
    flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).reshape(-1) for p in parameters])
    world.sum(flat)
    at = 0
    for parameter in parameters:
        size = parameter.numel()
        parameter.grad = flat[at : at + size].view_as(parameter)
        at += size


def optimizer_of(stage: Any, parameters: dict[str, torch.nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only (norms and biases are not decayed, as in GPT-3's and Llama's training)."""
    matrices = [p for p in parameters.values() if p.ndim >= 2]
    others = [p for p in parameters.values() if p.ndim < 2]
    groups = [
        {"params": part, "weight_decay": decay} for part, decay in ((matrices, stage.decay()), (others, 0.0)) if part
    ]
    options = {"lr": learning_rate, "betas": stage.betas(), "eps": 1e-8}
    if stage.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True, **options)
    import bitsandbytes as bnb

    kinds = {"paged_adamw_32bit": bnb.optim.PagedAdamW32bit, "paged_adamw_8bit": bnb.optim.PagedAdamW8bit}
    return kinds[stage.optimizer](groups, **options)
