"""What is made small: what every loss has in common, and the loss of a language model on the tokens asked for.

An objective turns row numbers into a summed loss and the weight it is to be divided by. Weights of a whole step are known
before its first forward pass, so that gradient accumulation and several workers give exactly the loss of one large batch:
every token (every pair) counts the same wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from stages.models.chat.rows import Row, collate
from stages.models.inference.score import IGNORED, divergences, token_logps
from stages.train.workers.world import World


class LossSums(NamedTuple):
    """Of some rows: the summed loss (with gradient), its weight, and further sums to be reported per weight."""

    loss: torch.Tensor
    weight: int
    sums: dict[str, torch.Tensor]


class Objective(Protocol):
    rows: int
    held_rows: int

    def weight(self, index: int) -> int: ...
    def length(self, index: int) -> int: ...
    def measure(self, model: Any, indices: Sequence[int], held: bool = False) -> LossSums: ...
    def row_ids(self, indices: Sequence[int]) -> list[str]: ...
    def begin(self, step: int) -> None:
        """A step begins; most objectives need not know."""

    def prepare(
        self, ask: Callable[..., Any], rows: Sequence[int], passes: Sequence[Sequence[int]], world: World
    ) -> None:
        """What a loss needs to know of a whole step's `rows` before its first pass; `passes` are this worker's. All workers together."""

    def remembered(self) -> dict[str, torch.Tensor]:
        """What was measured before the first step and is kept with checkpoints."""
        return {}

    def recall(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take up what `remembered` gave."""


class Likelihood(Objective):
    """clm and sft: the mean negative log-likelihood of the tokens asked for, in nats per token.

    With a teacher, `share` of the loss trained on is the divergence from its distribution at `temperature`; what is measured
    on held-out rows stays the likelihood, so that runs with and without a teacher can be compared.
    """

    def __init__(
        self,
        data: Any,
        pad: int,
        device: Any,
        *,
        fixed_width: bool,
        teacher: Any = None,
        share: float = 0.0,
        temperature: float = 1.0,
    ):
        self.data, self.pad, self.device = data, pad, device
        self.teacher, self.share, self.temperature = teacher, share, temperature
        self.width = data.width if fixed_width else None
        self.rows, self.held_rows = len(data), data.held_rows
        self._made: dict[int, Row] = {}

    def begin(self, step: int) -> None:
        """A step's rows are put together once: for their length first, then for the forward pass."""
        self._made.clear()

    def weight(self, index: int) -> int:
        return self.data.weight(index)

    def length(self, index: int) -> int:
        return len(self._row(index).ids)

    def _row(self, index: int) -> Row:
        if index not in self._made:
            self._made[index] = self.data.row(index)
        return self._made[index]

    def row_ids(self, indices: Sequence[int]) -> list[str]:
        return [self.data.row_id(index) for index in indices]

    def measure(self, model: Any, indices: Sequence[int], held: bool = False) -> LossSums:
        rows = [self.data.row(index, True) if held else self._row(index) for index in indices]
        batch = collate(rows, self.pad, self.device, self.width)
        weight = int((batch.labels != IGNORED).sum())
        loss = -token_logps(model, batch).sum() if held or self.teacher is None or self.share < 1 else None
        if held or self.teacher is None:
            return LossSums(loss, weight, {})
        apart = divergences(model, self.teacher, batch, self.temperature).sum()
        mixed = apart if loss is None else self.share * apart + (1 - self.share) * loss
        return LossSums(mixed, weight, {"divergence": apart})
