"""Verbs of trained models: merge adapters into weights, with the merge measured."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.errors import SourceError, UsageError
from pipeline.options import Options
from pipeline.store import ARTEFACT, Store
from stages.models.device import patient
from stages.models.holdout import SHARE


class Merge(Options):
    """Merge adapters into their base, into whichever form of it stays nearer to what was trained, and say how near."""

    verb: ClassVar[str] = "merge"
    arguments: ClassVar[tuple[str, ...]] = ("of", "folder")

    of: str
    "A CHAT store; its held-out conversations measure the merge."
    folder: str
    "Where the merged model is written; must not exist."
    chain: tuple[str, ...] = Field((), min_length=2)
    "Stores of the model and the adapters on it, in any order."
    holdout: float = Field(SHARE, gt=0, le=1)
    "The share train held out."
    rows: int = Field(64, ge=1)
    "Conversations to measure on, at most."
    threads: int = Field(2, ge=1)
    "CPU threads."
    most: float = Field(0.05, gt=0)
    "Largest divergence accepted, nats per token; above it nothing is written."
    dtype: Literal["fp32", "bf16"] = "fp32"
    "Number type the merged weights are written in."

    def run(self) -> int:
        patient()
        import torch

        from stages.models.chain import chain_of, open_link
        from stages.models.device import arithmetic, number_type
        from stages.models.generate import tokenizer_of
        from stages.models.templates import Chat, load_tokenizer
        from stages.train import merge

        out = Path(self.folder)
        if out.exists():
            raise UsageError(f"{out} is there already", "give a folder that does not exist")
        chain = chain_of([open_link(store.artefact(), store.receipt(ARTEFACT).content_hash) for store in map(Store, self.chain)])  # type: ignore[union-attr]
        folder = tokenizer_of(chain)
        tokenizer = load_tokenizer(folder)
        with arithmetic(self.threads) as device:
            width = int(chain[-1].card.get("width") or 1024)
            rows = merge.rows_of(self._held_out(), Chat(tokenizer), width)
            merged = merge.merge(chain, rows, tokenizer.pad_token_id, device)
            for base, value in merged.divergence.items():
                print(f"merged into {base}: {value:.6f} nats per token from what was trained")
            if merged.divergence[merged.base] > self.most:
                raise UsageError(f"the merged model is {merged.divergence[merged.base]:.4f} nats per token away", "keep the adapter beside its base, or raise `most`")
            merged.model.to(number_type(self.dtype, torch.device("cpu")))
            merge.save(merged, chain, folder, out)
        print(f"{out}  (merged into {merged.base})")
        return 0

    def _held_out(self) -> list[list[dict]]:
        from stages.models.holdout import held_out, prompt_key

        store = Store(self.of)
        if store.shape != "CHAT":
            raise SourceError(f"{self.of} holds {store.shape or 'no known rows'}", "give a store of conversations")
        messages = [found for shard in store.shards() for batch in store.batches(shard) for found in batch.column("messages").to_pylist()]
        chosen = held_out([prompt_key(found) for found in messages], self.holdout) if self.holdout < 1 else [True] * len(messages)
        return [found for found, out in zip(messages, chosen) if out][: self.rows]
