"""Texts to vectors, by an encoder in a local folder: Hugging Face's layout or Sentence Transformers'.

On a CPU every text is computed by itself on one thread, so that its vector follows from the text and the model alone, whatever
batch, shard or worker it came in. On a GPU texts of like length go together, which may change last digits. Safetensors only,
and no code from the folder. A text longer than the model reads is cut at its end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UsageError

POOLING = {
    "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls": "cls", "pooling_mode_max": "max", "pooling_mode_mean": "mean", "pooling_mode_lasttoken": "last",
}  # fmt: skip
"""Words of Sentence Transformers, older (a switch a mode) and newer (`pooling_mode: cls`)."""
MOST_TOKENS = 512
"""Tokens read of a text where neither tokenizer nor model names a limit."""
LETTERS = 64
"""Code points looked at for each token read: no tokenizer makes its average token longer."""
BATCH = 1 << 14
"""Tokens a batch on a GPU."""


class Embedder:
    """An encoder folder. `pooling` is mean (the default), cls, max or last; `limit` the tokens read of a text.

    UsageError when the folder holds no such model, or one with layers beyond pooling and normalisation.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.pooling, limit = _layers(self.folder)
        self._load()
        longest = getattr(self._tokenizer, "model_max_length", None) or 1 << 30
        positions = getattr(self._model.config, "max_position_embeddings", None) or 1 << 30
        if getattr(self._model.config, "model_type", "") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
            positions -= 2  # their positions begin behind the padding's number
        limit = limit or min(longest, positions)
        self.limit = int(limit if limit < 1 << 20 else MOST_TOKENS)

    def _load(self) -> None:
        from stages.models.inference.device import patient, quiet

        patient()
        import torch
        from transformers import AutoModel, AutoTokenizer

        quiet()
        local = {"trust_remote_code": False, "local_files_only": True}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(str(self.folder), **local)
            model = AutoModel.from_pretrained(str(self.folder), use_safetensors=True, dtype=torch.float32, **local)
        except (OSError, ValueError, KeyError) as fault:
            line = str(fault).strip().splitlines()[0]
            hint = "give a folder with config.json, tokenizer.json and model.safetensors"
            raise UsageError(f"{self.folder} holds no encoder: {line}", hint) from None
        self._tokenizer.padding_side = "right"
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.eval().to(self._device)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (n, d): a vector for each text."""
        from stages.models.inference.device import arithmetic

        ids = [self._ids(text) for text in texts]
        found = np.zeros((len(ids), self._model.config.hidden_size), np.float32)
        with arithmetic(threads=1):
            for batch in self._batches(ids):
                found[batch] = self._run([ids[at] for at in batch])
        return found

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text[: self.limit * LETTERS], truncation=True, max_length=self.limit)["input_ids"]

    def _batches(self, ids: list[list[int]]) -> list[list[int]]:
        if self._device.type == "cpu":
            return [[at] for at in range(len(ids))]
        made: list[list[int]] = []
        for at in sorted(range(len(ids)), key=lambda at: (len(ids[at]), at)):
            if made and (len(made[-1]) + 1) * len(ids[at]) <= BATCH:
                made[-1].append(at)
            else:
                made.append([at])
        return made

    def _run(self, ids: list[list[int]]) -> np.ndarray:
        import torch

        width = max(1, max(map(len, ids)))
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
        filler = self._tokenizer.pad_token_id or 0
        given = torch.tensor([row + [filler] * (width - len(row)) for row in ids])
        with torch.inference_mode():
            states = self._model(
                input_ids=given.to(self._device), attention_mask=mask.to(self._device)
            ).last_hidden_state
            return _pooled(states, mask.to(self._device), self.pooling).float().cpu().numpy()


@lru_cache(1)
def opened(folder: str) -> Embedder:
    """The encoder of a folder, loaded once a process."""
    return Embedder(folder)


def _pooled(states: Any, mask: Any, how: str) -> Any:
    """One vector a row out of the states of its tokens."""
    import torch

    real = mask.unsqueeze(-1).to(states.dtype)
    if how == "cls":
        return states[:, 0]
    if how == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(dim=1).clamp(min=1) - 1]
    if how == "max":
        return states.masked_fill(real == 0, float("-inf")).amax(dim=1)
    return (states * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def _layers(folder: Path) -> tuple[str, int | None]:
    """(pooling, limit of tokens) that a Sentence Transformers folder names; mean and None for a plain one."""
    if not (folder / "modules.json").is_file():
        return "mean", None
    kinds = [module.get("type", "").rsplit(".", 1)[-1] for module in _read(folder / "modules.json")]
    unknown = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if unknown:
        hint = "give an encoder that ends with pooling, or a column of vectors"
        raise UsageError(f"{folder} has layers this reader does not know: {', '.join(unknown)}", hint)
    pooling = next(
        (module["path"] for module in _read(folder / "modules.json") if module["type"].endswith(".Pooling")), None
    )
    chosen = _read(folder / pooling / "config.json") if pooling else {}
    named = [name for name, value in chosen.items() if name.startswith("pooling_mode_") and value is True]
    modes = [POOLING.get(name, name) for name in named or [f"pooling_mode_{chosen.get('pooling_mode', 'mean')}"]]
    if len(modes) != 1 or modes[0] not in POOLING.values():
        raise UsageError(
            f"{folder}: pooling {modes} is not known", "give an encoder with mean, cls, max or last-token pooling"
        )
    length = folder / "sentence_bert_config.json"
    return modes[0], _read(length).get("max_seq_length") if length.is_file() else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{path} cannot be read", "fetch the encoder's folder again") from None
