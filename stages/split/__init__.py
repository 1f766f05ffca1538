"""Keep one share of the rows, all rows of a prompt or document on the same side."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from pipeline.engine.stage import Inputs, Port, ShardStage, Work
from pipeline.storage.ledger import Ledger


class Split(ShardStage):
    """Keep one share of the rows, all rows of a prompt or document on the same side.

    The side of a row is a hash of what it is grouped by, so the same option gives the same side in every store, whatever
    else they hold. Two steps with the same `share`, one of them with `rest: true`, have no group in common. This is how a
    recipe decides which prompts fine-tuning may see:

        - split: {name: sft-rows, of: sft-unique, share: 0.7}
        - train: {name: sft-model, objective: sft, of: sft-rows, base: pretrain}
        - dpo:   {of: sft-unique, sft: sft-rows, student: [pretrain, sft-model], sft_overlap: 0.5}

    Near-copies of a prompt may fall on both sides, unless a `dedup` of the prompts came before or `by: cluster` keeps prompts that
    resemble each other together: then nothing is trained on that nearly is what is held out. A cluster is known from the rows
    of `of` alone, so it is two steps over the same rows, one with `rest`, that have none in common.
    """

    ports: ClassVar[dict[str, Port]] = {"of": Port("CHAT|PAIR|DOCUMENT|TOKENS", help="rows to split")}
    output_shape: ClassVar[str | None] = None

    share: float = Field(0.8, ge=0.0, le=1.0)
    "Share of the groups to keep; rows come out in the same share where groups are many and alike."
    rest: bool = False
    "Keep the other side instead."
    by: Literal["prompt", "cluster", "document", "row"] = "prompt"
    "What stays together: rows of one prompt (letters and digits of the first user message), of prompts alike, of one source document, or nothing."
    similarity: float = Field(0.7, gt=0.0, lt=1.0)
    "by: cluster: from this Jaccard similarity of character 5-grams on two prompts are alike; those alike to one are alike (WebFAQ: 0.7 to 0.8)."
    salt: str = ""
    "Another word, another division; use one for splits that are to be independent of each other."

    def shard_key(self, inputs: Inputs, content_hash: str) -> str:
        """A cluster is made of rows of every shard, so all of them are in its key."""
        return self.key(inputs, content_hash) if self.by == "cluster" else super().shard_key(inputs, content_hash)

    def worker(self, inputs: Inputs, shard: int) -> Callable[[pa.RecordBatch], Work]:
        if self.by != "cluster":
            return self.work
        from stages.split.clusters import clusters_of

        found = clusters_of(tuple((store.path, store.content_hash) for store in inputs["of"]), self.similarity)
        return lambda batch: self._parted(batch, [found[name] for name in _groups(batch, "prompt")])

    def work(self, batch: pa.RecordBatch) -> Work:
        return self._parted(batch, _groups(batch, self.by))

    def _parted(self, batch: pa.RecordBatch, names: list[str]) -> Work:
        import numpy as np

        from stages.split.sides import kept

        inside = kept(names, self.share, self.salt) != self.rest
        reasons = [None if keep else "split.other_side" for keep in inside.tolist()]
        return Work(
            batch.filter(pa.array(np.asarray(inside, dtype=bool))), Ledger.rows(batch.column("id"), reason=reasons)
        )


def _groups(batch: pa.RecordBatch, by: str) -> list[str]:
    from stages.split.sides import groups

    return groups(batch, by)
