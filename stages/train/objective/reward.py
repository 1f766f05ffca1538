"""The reward model's loss: the chosen answer of a pair gets the higher number (Bradley and Terry 1952; Ouyang et al. 2022)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from stages.models.inference.chain import ChainLink, assemble, load_model
from stages.models.inference.reward import rewards, with_head
from stages.train.model import TrainableModel, config_of, fitting, open_layers
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


def build_reward(stage: Any, chain: Sequence[ChainLink], tokenizer: Any, width: int, device: Any) -> TrainableModel:
    """The base with a head that gives one number; all of it, its last layers, or an adapter and the head are trained."""
    from peft import get_peft_model

    base = fitting(assemble(chain, dtype=torch.float32, device=device, merge=True), tokenizer, width)
    model = with_head(base, tokenizer.pad_token_id)
    if stage.whole():
        open_layers(stage, model)
        model.score.requires_grad_(True)
        return TrainableModel(model, None, [])
    if stage.method == "qlora":
        model = _four_bit(model, device)
    config = config_of(stage, "SEQ_CLS")
    config.modules_to_save = ["score"]
    return TrainableModel(get_peft_model(model, config), "default", ["default"])


def _four_bit(model: Any, device: Any) -> Any:
    """The backbone in NF4, the head as it is."""
    with tempfile.TemporaryDirectory(prefix="maetdol-reward-") as folder:
        model.save_pretrained(folder)
        return load_model(Path(folder), dtype=torch.float32, device=device, four_bit=True, classes=True)
