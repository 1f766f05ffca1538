"""Losses of preferences: DPO and its kin, KTO, ORPO. Written from their papers, held against TRL's trainers step by step (tests)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from stages.models.chat.rows import Row, collate, join, segment
from stages.models.inference.score import IGNORED, token_logps, virtual_tokens
from stages.train.objective.losses import LossSums, Objective
from stages.train.workers.world import World

PER_TOKEN = ("sigmoid_norm", "ipo", "simpo")
"""Losses of DPO's kin that compare log-probabilities per token, so that longer answers are not preferred for their length."""


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

    def both(self, indices: Sequence[int], held: bool) -> list[Row]:
        """Chosen sides of the pairs, then the rejected ones."""
        pairs = [self.data.pair(index, held) for index in indices]
        return [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]


class AnswerLogps(NamedTuple):
    """Of n pairs (n, 2), columns chosen and rejected: the answers' summed log-probabilities and how many tokens they have."""

    sums: torch.Tensor
    counts: torch.Tensor

    @property
    def means(self) -> torch.Tensor:
        return self.sums / self.counts


class Referred(Paired):
    """An objective that compares with a reference, the model before its first step, measured once so that no second model is kept."""

    def __init__(self, data: Any, pad: int, device: Any):
        super().__init__(data, pad, device)
        self.reference: dict[bool, torch.Tensor] = {}
        """held -> (pairs, columns): the reference's summed log-probabilities of what `scored` asks for."""

    def scored(self, model: Any, indices: Sequence[int], held: bool) -> torch.Tensor:
        """What the reference is measured on."""
        return self.answers(model, indices, held).sums

    def answers(self, model: Any, indices: Sequence[int], held: bool) -> AnswerLogps:
        batch = collate(self.both(indices, held), self.pad, self.device)
        sums, counts = token_logps(model, batch).sum(dim=1), (batch.labels != IGNORED).sum(dim=1)
        return AnswerLogps(sums.view(2, -1).T, counts.view(2, -1).T)

    def refer(self, ask: Callable[..., Any], batch: int, world: World = World()) -> None:
        """Measure the reference: the model that `ask(question, *given)` asks, as it stands now, before any training."""
        for held, count in ((False, self.rows), (True, self.held_rows)):
            parts, order = [], sorted(range(count), key=lambda index: -self.length(index, held))
            for at in range(0, count, batch * world.size):
                mine = order[at + world.rank * batch : min(at + (world.rank + 1) * batch, count)]
                scores = ask(self._referred, mine or order[:1], held)
                parts.append((mine, scores[: len(mine)]))
            columns = parts[0][1].shape[1] if parts else 2
            found = torch.zeros(count, columns, device=self.device)
            for mine, scores in parts:
                found[mine] = scores
            self.reference[held] = world.sum(found)

    def _referred(self, model: Any, indices: Sequence[int], held: bool) -> torch.Tensor:
        # Virtual tokens change a model at once, so its reference is the one without them.
        return self.scored(model.get_base_model() if virtual_tokens(model) else model, indices, held)

    def remembered(self) -> dict[str, torch.Tensor]:
        return {f"reference.{held}": scores for held, scores in self.reference.items()}

    def recall(self, tensors: dict[str, torch.Tensor]) -> None:
        self.reference = {held: tensors[f"reference.{held}"].to(self.device) for held in (False, True)}


class Preference(Referred):
    """DPO (Rafailov et al. 2023) and its kin, by `loss_type`, with an SFT term: `sft_weight` times the chosen answer's NLL per token.

    The margin of a pair is the chosen answer's log-ratio to the reference less the rejected one's; per token for `PER_TOKEN`'s.
    simpo (Meng et al. 2024) has no reference.
    """

    def __init__(
        self, data: Any, pad: int, device: Any, *, loss_type: str, beta: float, sft_weight: float, smoothing: float = 0.0, gamma: float = 0.0
    ):  # fmt: skip
        super().__init__(data, pad, device)
        self.loss_type, self.beta, self.sft_weight, self.smoothing, self.gamma = (
            loss_type,
            beta,
            sft_weight,
            smoothing,
            gamma,
        )

    def refer(self, ask: Callable[..., Any], batch: int, world: World = World()) -> None:
        if self.loss_type == "simpo":
            sizes = {False: self.rows, True: self.held_rows}
            self.reference = {held: torch.zeros(count, 2, device=self.device) for held, count in sizes.items()}
        else:
            super().refer(ask, batch, world)

    def measure(self, model: Any, indices: Sequence[int], held: bool = False) -> LossSums:
        answers = self.answers(model, indices, held)
        means = answers.means
        ratios = answers.sums - self.reference[held][list(indices)]
        if self.loss_type in PER_TOKEN:
            ratios = ratios / answers.counts
        margin = ratios[:, 0] - ratios[:, 1]
        loss = (self._loss(ratios[:, 0], ratios[:, 1], margin) - self.sft_weight * means[:, 0]).sum()
        with torch.no_grad():
            sums = {
                "chosen_logp": means[:, 0].sum(),
                "rejected_logp": means[:, 1].sum(),
                "margin": (self.beta * margin).sum(),
                "reward_accuracy": share_above(margin),
                "accuracy": share_above(means[:, 0] - means[:, 1]),
            }
        return LossSums(loss, len(indices), sums)

    def _loss(self, chosen: torch.Tensor, rejected: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
        beta = self.beta
        if self.loss_type == "hinge":  # SLiC (Zhao et al. 2023)
            return torch.relu(1 - beta * margin)
        if self.loss_type == "ipo":  # Azar et al. 2023
            return (margin - 1 / (2 * beta)) ** 2
        if self.loss_type == "robust":  # Chowdhury et al. 2024
            right, wrong = F.logsigmoid(beta * margin), F.logsigmoid(-beta * margin)
            return -((1 - self.smoothing) * right - self.smoothing * wrong) / (1 - 2 * self.smoothing)
        if self.loss_type == "apo_zero":  # D'Oosterlinck et al. 2024
            return 1 - torch.sigmoid(beta * chosen) + torch.sigmoid(beta * rejected)
        if self.loss_type == "apo_down":
            return torch.sigmoid(beta * chosen) + 1 - torch.sigmoid(beta * margin)
        if self.loss_type == "simpo":
            return -F.logsigmoid(beta * margin - self.gamma)
        return -F.logsigmoid(beta * margin)


class Kto(Referred):
    """KTO (Ethayarajh et al. 2024): every side of a pair by itself, the chosen one desirable, the rejected one not.

    The point of comparison is the divergence from the reference, estimated from prompts with another row's answer (the row before, in the
    store's order): over all rows of a step when training, so that workers and accumulation change nothing; over a batch when measuring.
    """

    def __init__(self, data: Any, pad: int, device: Any, *, beta: float, desirable: float, undesirable: float):
        super().__init__(data, pad, device)
        self.beta, self.weights = beta, (desirable, undesirable)
        self._apart = torch.zeros((), device=device)

    def weight(self, index: int) -> int:
        return 2

    def scored(self, model: Any, indices: Sequence[int], held: bool) -> torch.Tensor:
        return torch.cat([super().scored(model, indices, held), self._mismatched(model, indices, held)], dim=1)

    def _mismatched(self, model: Any, indices: Sequence[int], held: bool) -> torch.Tensor:
        """(n, 2): log-probabilities of the answers of the row before under the prompts of these."""
        count = self.held_rows if held else self.rows
        before = [(index - 1) % count for index in indices]
        rows = [exchanged(own, other) for own, other in zip(self.both(indices, held), self.both(before, held))]
        batch = collate(rows, self.pad, self.device)
        return token_logps(model, batch).sum(dim=1).view(2, -1).T

    def prepare(
        self, ask: Callable[..., Any], rows: Sequence[int], passes: Sequence[Sequence[int]], world: World
    ) -> None:
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for mine in passes:
            apart = self._divergence(ask(self._mismatched, mine or rows[:1], False), mine or rows[:1], False)
            total += apart.double() if mine else 0.0
        self._apart = (world.sum(total) / (2 * len(rows))).clamp(min=0).float()

    def _divergence(self, scores: torch.Tensor, indices: Sequence[int], held: bool) -> torch.Tensor:
        return (scores - self.reference[held][list(indices), 2:]).sum()

    def measure(self, model: Any, indices: Sequence[int], held: bool = False) -> LossSums:
        answers = self.answers(model, indices, held)
        ratios = answers.sums - self.reference[held][list(indices), :2]
        apart = self._apart
        if held:
            apart = (
                self._divergence(self._mismatched(model, indices, held), indices, held) / (2 * len(indices))
            ).clamp(min=0)
        gains = (
            1 - torch.sigmoid(self.beta * (ratios[:, 0] - apart)),
            1 - torch.sigmoid(self.beta * (apart - ratios[:, 1])),
        )
        loss = sum(weight * gain.sum() for weight, gain in zip(self.weights, gains))
        with torch.no_grad():
            margin, means = ratios[:, 0] - ratios[:, 1], answers.means
            # Sums are divided by the examples, two to a pair.
            found = {
                "kl": apart * len(indices),
                "margin": (self.beta * margin).sum(),
                "reward_accuracy": share_above(margin),
                "chosen_logp": means[:, 0].sum(),
                "rejected_logp": means[:, 1].sum(),
            }
        return LossSums(loss, 2 * len(indices), {name: 2 * value for name, value in found.items()})


def exchanged(own: Row, other: Row) -> Row:
    """The prompt of one row with the answer of another; prompts end where the first answer begins."""
    begins = [int(np.flatnonzero(row.labels != IGNORED)[0]) + 1 for row in (own, other)]
    ids = np.concatenate([own.ids[: begins[0]], other.ids[begins[1] :]])
    return join([segment(ids, np.arange(len(ids)) >= begins[0])])


class OddsRatio(Paired):
    """ORPO (Hong et al. 2024): the chosen side's NLL, prompt and answer, per token of the step (of held-out pairs: of all of them), and `beta`
    times the log odds ratio of both answers. It needs no reference."""

    def __init__(self, data: Any, pad: int, device: Any, *, beta: float):
        super().__init__(data, pad, device)
        self.beta, self._tokens = beta, 0.0
        self._held_tokens = self._mean_tokens(range(data.held_rows), held=True) if data.held_rows else 0.0
        """Not of the pairs of one pass: what is measured must not follow from how many fit into it."""

    def _mean_tokens(self, rows: Sequence[int], held: bool = False) -> float:
        """Tokens of a chosen side that are asked for, in the mean."""
        return sum(len(self.data.pair(index, held).chosen.ids) - 1 for index in rows) / len(rows)

    def prepare(
        self, ask: Callable[..., Any], rows: Sequence[int], passes: Sequence[Sequence[int]], world: World
    ) -> None:
        self._tokens = self._mean_tokens(rows)

    def measure(self, model: Any, indices: Sequence[int], held: bool = False) -> LossSums:
        rows = self.both(indices, held)
        answered = collate(rows, self.pad, self.device).labels != IGNORED
        # One pass: the chosen sides are asked for prompt and answer, the rejected ones for their answers.
        whole = [join([segment(row.ids)]) for row in rows[: len(indices)]]
        batch = collate([*whole, *rows[len(indices) :]], self.pad, self.device)
        logps = token_logps(model, batch)
        means = ((logps * answered).sum(dim=1) / answered.sum(dim=1)).view(2, -1).T
        tokens = self._held_tokens if held else self._tokens
        odds = (means[:, 0] - means[:, 1]) - (_log1mexp(means[:, 0]) - _log1mexp(means[:, 1]))
        loss = -logps[: len(indices)].sum() / tokens - self.beta * F.logsigmoid(odds).sum()
        with torch.no_grad():
            sums = {
                "chosen_logp": means[:, 0].sum(),
                "rejected_logp": means[:, 1].sum(),
                "log_odds": odds.sum(),
                "accuracy": share_above(odds),
            }
        return LossSums(loss, len(indices), sums)


def _log1mexp(value: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(value)) of numbers below zero, without cancellation at either end."""
    return torch.where(value < -0.6931, torch.log1p(-torch.exp(value)), torch.log(-torch.expm1(value)))


def share_above(differences: torch.Tensor) -> torch.Tensor:
    """How many are above zero; a tie is half."""
    return (differences > 0).sum() + 0.5 * (differences == 0).sum()
