"""Keep one share of the rows, all rows of a prompt or document on the same side."""

from __future__ import annotations

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from pipeline.ledger import Ledger
from pipeline.stage import Port, ShardStage, Work


class Split(ShardStage):
    """Keep one share of the rows, all rows of a prompt or document on the same side.

    The side of a row is a hash of what it is grouped by, so the same option gives the same side in every store, whatever
    else they hold. Two steps with the same `share`, one of them with `rest: true`, have no group in common. This is how a
    recipe decides which prompts fine-tuning may see:

        - split: {name: sft-rows, of: sft-unique, share: 0.7}
        - train: {name: sft-model, objective: sft, of: sft-rows, base: pretrain}
        - dpo:   {of: sft-unique, sft: sft-rows, student: [pretrain, sft-model], sft_overlap: 0.5}

    Near-copies of a prompt are apart only where a `dedup` of the prompts came before.
    """

    ports: ClassVar[dict[str, Port]] = {"of": Port("CHAT|PAIR|DOCUMENT|TOKENS", help="rows to split")}
    makes: ClassVar[str | None] = None

    share: float = Field(0.8, ge=0.0, le=1.0)
    "Share of the groups to keep; rows come out in the same share where groups are many and alike."
    rest: bool = False
    "Keep the other side instead."
    by: Literal["prompt", "document", "row"] = "prompt"
    "What stays together: rows of one prompt (letters and digits of the first user message), of one source document, or nothing."
    salt: str = ""
    "Another word, another division; use one for splits that are to be independent of each other."

    def work(self, batch: pa.RecordBatch) -> Work:
        import numpy as np

        from stages.split.sides import groups, kept

        inside = kept(groups(batch, self.by), self.share, self.salt) != self.rest
        reasons = [None if keep else "split.other_side" for keep in inside.tolist()]
        return Work(batch.filter(pa.array(np.asarray(inside, dtype=bool))), Ledger.rows(batch.column("id"), reason=reasons))
