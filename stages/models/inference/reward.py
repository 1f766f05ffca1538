"""A reward model: one number per conversation, higher where its last answer is better.

The backbone of a language model with a head of one row on the state of the last token (Ouyang et al. 2022). Kept as a Hugging
Face sequence-classification folder with one label, so that TRL and others load it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.errors import UsageError
from stages.models.chat.answers import encode_chat
from stages.models.chat.rows import Row, collate, join
from stages.models.chat.template_lock import check_lock
from stages.models.chat.templates import Chat, load_tokenizer
from stages.models.inference.chain import CARD, open_link
from stages.models.inference.score import states


def with_head(model: Any, pad: int | None) -> Any:
    """A causal language model's backbone under a fresh head of one row; the random state decides the head."""
    from transformers import AutoModelForSequenceClassification

    config = model.config.__class__.from_dict(
        {**model.config.to_dict(), "num_labels": 1, "pad_token_id": pad, "architectures": None}
    )
    try:
        made = AutoModelForSequenceClassification.from_config(config)
    except ValueError as fault:
        raise UsageError(
            f"{config.model_type} cannot carry a reward's head: {str(fault).splitlines()[0][:200]}",
            "take a base of another architecture for objective reward",
        ) from None
    getattr(made, made.base_model_prefix).load_state_dict(getattr(model, model.base_model_prefix).state_dict())
    return made.to(device=model.device)


def rewards(model: Any, rows: Sequence[Row], pad: int, device: Any) -> torch.Tensor:
    """float32 per row of one segment: the head's value at its last token."""
    batch = collate(rows, pad, device)
    last = torch.tensor([len(row.ids) - 1 for row in rows], device=device)
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    hidden = states(model, batch)[torch.arange(len(rows), device=device), last]
    return inner.score(hidden)[:, 0].float()


class RewardModel:
    """A reward artefact ready to be asked. UsageError where the folder is none."""

    def __init__(self, folder: Path, device: Any, dtype: Any, batch: int = 16):
        from transformers import AutoModelForSequenceClassification

        self.link = open_link(Path(folder))
        if (Path(folder) / CARD).exists() and self.link.card.get("objective") != "reward":
            raise UsageError(f"{folder} holds no reward model", "give the store of a train step with objective: reward")
        self.chat = Chat(load_tokenizer(folder))
        options = {
            "dtype": dtype,
            "local_files_only": True,
            "trust_remote_code": False,
            "use_safetensors": True,
        }
        self.model = AutoModelForSequenceClassification.from_pretrained(str(folder), **options).to(device).eval()
        self.device, self.batch = device, batch
        self.width = int(getattr(self.model.config, "max_position_embeddings", 0)) or 1 << 20

    def agree(self, chat: Chat) -> None:
        """UsageError where the policy speaks another template than this model was trained on."""
        check_lock(self.link.card.get("template_lock"), chat, f"the reward model in {self.link.path}")

    @torch.no_grad()
    def score(
        self, conversations: Sequence[list[dict[str, Any]]], tools: Sequence[str | None] | None = None
    ) -> np.ndarray:
        """float64 per conversation; `tools` are the schemas beside each. One that cannot be rendered (an empty answer) gets one less than the lowest of the others."""
        parts = [
            encode_chat(self.chat, messages, self.width, 1, given)[0]
            for messages, given in zip(conversations, tools or [None] * len(conversations), strict=True)
        ]
        rows = [join([part]) for part in parts if part is not None]
        found = [
            rewards(self.model, rows[at : at + self.batch], self.chat.tokenizer.pad_token_id, self.device)
            for at in range(0, len(rows), self.batch)
        ]
        values = torch.cat(found).double().cpu().numpy() if found else np.zeros(0)
        out = np.full(len(parts), (values.min() if len(values) else 0.0) - 1.0)
        out[[n for n, part in enumerate(parts) if part is not None]] = values
        return out
