"""What is made small: the loss of a language model on the tokens asked for, and the loss of a preference.

An objective turns row numbers into a summed loss and the weight it is to be divided by. Weights of a whole step are known
before its first forward pass, so that gradient accumulation and several workers give exactly the loss of one large batch:
every token (every pair) counts the same wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F

from stages.models.chat.rows import Row, collate
from stages.models.inference.score import IGNORED, divergences, token_logps, virtual_tokens
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


class Paired(Objective):
    """An objective on pairs: each counts the same, and is as long as its longer side."""

    def __init__(self, data: Any, pad: int, device: Any):
        self.data, self.pad, self.device = data, pad, device
        self.rows, self.held_rows = len(data), data.held_rows

    def weight(self, index: int) -> int:
        return 1

    def length(self, index: int, held: bool = False) -> int:
        pair = self.data.pair(index, held)
        return max(len(pair.chosen.ids), len(pair.rejected.ids))

    def row_ids(self, indices: Sequence[int]) -> list[str]:
        return [self.data.row_id(index) for index in indices]


class Preference(Paired):
    """DPO (Rafailov et al. 2023), by default on log-probabilities per token (Tulu 3's `dpo_norm`), with an SFT term.

    The loss of a pair is -log sigmoid(beta * margin) + sft_weight * NLL per token of the chosen answer, where the margin is
    the chosen answer's log-ratio to the reference less the rejected one's. The reference's log-probabilities are measured
    once, before the first step, so that no second model is kept.
    """

    def __init__(self, data: Any, pad: int, device: Any, *, beta: float, per_token: bool, sft_weight: float):
        super().__init__(data, pad, device)
        self.beta, self.per_token, self.sft_weight = beta, per_token, sft_weight
        self.reference: dict[bool, torch.Tensor] = {}
        """held -> (pairs, 2): the reference's score of chosen and rejected."""

    def refer(self, ask: Callable[..., Any], batch: int, world: World = World()) -> None:
        """Measure the reference: the model that `ask(question, *given)` asks, as it stands now, before any training."""
        for held, count in ((False, self.rows), (True, self.held_rows)):
            found = torch.zeros(count, 2, device=self.device)
            order = sorted(range(count), key=lambda index: -self.length(index, held))
            for at in range(0, count, batch * world.size):
                mine = order[at + world.rank * batch :][: min(batch, max(0, count - at - world.rank * batch))]
                scores = ask(self._referred, mine or order[:1], held)
                found[mine] = scores[: len(mine)]
            self.reference[held] = world.sum(found)

    def _referred(self, model: Any, indices: Sequence[int], held: bool) -> torch.Tensor:
        # Virtual tokens change a model at once, so its reference is the one without them.
        return self._scores(model.get_base_model() if virtual_tokens(model) else model, indices, held)[0]

    def remembered(self) -> dict[str, torch.Tensor]:
        return {f"reference.{held}": scores for held, scores in self.reference.items()}

    def recall(self, tensors: dict[str, torch.Tensor]) -> None:
        self.reference = {held: tensors[f"reference.{held}"].to(self.device) for held in (False, True)}

    def measure(self, model: Any, indices: Sequence[int], held: bool = False) -> LossSums:
        scores, means = self._scores(model, indices, held)
        ratios = scores - self.reference[held][list(indices)]
        margin = ratios[:, 0] - ratios[:, 1]
        loss = (-F.logsigmoid(self.beta * margin) - self.sft_weight * means[:, 0]).sum()
        with torch.no_grad():
            prefers = means[:, 0] - means[:, 1]
            sums = {
                "chosen_logp": means[:, 0].sum(),
                "rejected_logp": means[:, 1].sum(),
                "margin": (self.beta * margin).sum(),
                "reward_accuracy": share_above(margin),
                "accuracy": share_above(prefers),
            }
        return LossSums(loss, len(indices), sums)

    def _scores(self, model: Any, indices: Sequence[int], held: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 2) scores as the loss takes them, and (n, 2) log-probabilities per token; columns chosen, rejected."""
        pairs = [self.data.pair(index, held) for index in indices]
        rows = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        batch = collate(rows, self.pad, self.device)
        sums = token_logps(model, batch).sum(dim=1).view(2, -1).T
        counts = (batch.labels != IGNORED).sum(dim=1).view(2, -1).T
        means = sums / counts
        return (means if self.per_token else sums), means


def share_above(differences: torch.Tensor) -> torch.Tensor:
    """How many are above zero; a tie is half."""
    return (differences > 0).sum() + 0.5 * (differences == 0).sum()
