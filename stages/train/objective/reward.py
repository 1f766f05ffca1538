"""The reward model's loss: the chosen answer of a pair gets the higher number (Bradley and Terry 1952; Ouyang et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from stages.models.inference.reward import rewards
from stages.train.objective.losses import LossSums
from stages.train.objective.preferences import Paired, share_above

CENTRE = 0.01
"""Weight of the squared sum of both rewards, which keeps them around zero (Eisenstein et al. 2023); TRL's suggestion."""


class Reward(Paired):
    """reward: -log sigmoid(reward of the chosen answer - reward of the rejected one), per pair."""

    def measure(self, model: Any, indices: Sequence[int], held: bool = False) -> LossSums:
        pairs = [self.data.pair(index, held) for index in indices]
        found = rewards(
            model, [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs], self.pad, self.device
        )
        chosen, rejected = found[: len(pairs)], found[len(pairs) :]
        margin = chosen - rejected
        loss = (-F.logsigmoid(margin) + CENTRE * (chosen + rejected) ** 2).sum()
        with torch.no_grad():
            sums = {
                "margin": margin.sum(),
                "accuracy": share_above(margin),
                "chosen_reward": chosen.sum(),
                "rejected_reward": rejected.sum(),
            }
        return LossSums(loss, len(indices), sums)
