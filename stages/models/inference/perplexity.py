"""How well a causal language model predicts texts: log-likelihoods in batches, one model per process.

The model is a checkpoint of this pipeline (a store or its artefact folder) or any Hugging Face causal model folder in
safetensors. A text is read from its start up to a number of tokens; texts of like length share a batch, so that little is
padded. The log-probability of a text does not depend on its neighbours (causal attention, padding to the right).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BATCH_TOKENS = 8192
"""Tokens of a batch, padding included."""


class TextLikelihoods(NamedTuple):
    """What a model made of texts; arrays of one entry per text."""

    logp: np.ndarray
    """float64: natural logarithm of the probability of the tokens predicted; 0 where there were none."""
    tokens: np.ndarray
    """int64: tokens predicted."""
    bytes: np.ndarray
    """int64: bytes of UTF-8 those tokens stand for."""


class Foreteller:
    """A model and its tokenizer, ready to be asked."""

    def __init__(self, folder: str, threads: int):
        from stages.models.chat.templates import load_tokenizer
        from stages.models.inference.chain import assemble, chain_of, four_bit_of, open_link
        from stages.models.inference.device import arithmetic, number_type
        from stages.models.inference.generate import tokenizer_of
        from stages.models.teacher.local import artefact_of

        chain = chain_of([open_link(artefact_of(Path(folder)))])
        self.threads, self.tokenizer = threads, load_tokenizer(tokenizer_of(chain))
        with arithmetic(threads) as self.device:
            self.model = assemble(
                chain, dtype=number_type("auto", self.device), device=self.device, four_bit=four_bit_of(chain)
            ).eval()
        self.context = int(getattr(self.model.config, "max_position_embeddings", 0)) or 1 << 30
        known = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        self.opening = next((token for token in known if token is not None), None)

    def read(self, texts: Sequence[str], tokens: int) -> TextLikelihoods:
        """The first `tokens` tokens of every text, as far as the model's context reaches."""
        import torch

        from stages.models.chat.rows import collate, join, segment
        from stages.models.inference.device import arithmetic
        from stages.models.inference.score import token_logps

        width = min(tokens + 1, self.context)
        ids, sizes = self._encoded(texts, width)
        logp, counts = np.zeros(len(texts)), np.maximum([len(row) - 1 for row in ids], 0).astype(np.int64)
        order = [n for n in sorted(range(len(ids)), key=lambda n: (-len(ids[n]), n)) if counts[n] > 0]
        with arithmetic(self.threads), torch.inference_mode():
            while order:
                size = max(1, BATCH_TOKENS // len(ids[order[0]]))
                group, order = order[:size], order[size:]
                batch = collate([join([segment(ids[n])]) for n in group], 0, self.device)
                logp[group] = token_logps(self.model, batch).double().sum(dim=1).cpu().numpy()
        return TextLikelihoods(logp, counts, sizes)

    def _encoded(self, texts: Sequence[str], width: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Ids per text, the opening mark first, at most `width`; and the bytes they stand for."""
        heads = [
            text[: 8 * width] for text in texts
        ]  # a token is seldom eight characters: reading more would be thrown away
        found: Any = (
            self.tokenizer(heads, add_special_tokens=False, return_attention_mask=False)["input_ids"] if heads else []
        )
        ids, sizes = [], np.zeros(len(texts), np.int64)
        for n, row in enumerate(found):
            room = width - (self.opening is not None)
            whole = len(row) <= room and len(heads[n]) == len(texts[n])
            own = row[:room] if self.opening is None else [self.opening, *row[:room]]
            ids.append(np.array(own, np.int32))
            read = texts[n] if whole else self.tokenizer.decode(row[:room], clean_up_tokenization_spaces=False)
            sizes[n] = len(read.encode("utf-8", "replace"))
        return ids, sizes


@cache
def foreteller(folder: str, threads: int = 1) -> Foreteller:
    """The model in `folder`, once per process."""
    return Foreteller(folder, threads)
