"""Exclude overlap: leave out what stands, whole or in good part, in other stores, such as the documents models are measured on."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from pipeline.engine.stage import Inputs, Port, ShardStage, Work

FORMERLY = ("withhold",)


class ExcludeOverlap(ShardStage):
    """Leave out rows that are copies, near-copies or extracts of rows of `against`, or hold such extracts.

    Texts are compared as sets of `width` words in a row (a shorter text is one such run), by exact counting over every pair
    that shares one, never by sampling. A row goes when `share` of it stands in one row of `against`, or when it holds `share` of
    one: a copy, an edited copy, a part of one, or a page that quotes one.

    Unlike `dedup`, rows are not compared with each other: copies among themselves stay. Unlike `decontaminate`, whole documents
    are looked for, not questions. The ledger's `duplicate_of` names the row of `against` that is shared most.

        - split:    {name: measured, of: clean, share: 0.1, by: document}
        - exclude_overlap: {name: trained, of: raw, against: measured}

    Reasons: `exclude_overlap.copy` (all of it stands there), `exclude_overlap.near`, `exclude_overlap.holds` (it holds so much of one).
    """

    ports: ClassVar[dict[str, Port]] = {
        "of": Port("DOCUMENT|CHAT|PAIR", many=True, help="rows to clear"),
        "against": Port("DOCUMENT|CHAT|PAIR", many=True, help="rows that must not be known"),
    }
    output_shape: ClassVar[str | None] = None
    version: ClassVar[int] = 2

    share: float = Field(0.3, gt=0.0, le=1.0)
    "Least share of runs of words that two texts have in common for the row to go. Copies edited in every tenth word keep 0.4 of theirs."
    width: int = Field(8, ge=1, le=64)
    "Words in a row that count as one; 8 are seldom met by chance (PaLM counts 8-grams to find known test items)."
    fields: tuple[str, ...] = ()
    "Text columns compared, joined by line feeds; default: the main one (of chats every message)."

    def worker(self, inputs: Inputs, shard: int) -> Callable[[pa.RecordBatch], Work]:
        from stages.exclude_overlap.known import evaluated, gather

        known = gather(inputs["against"], self)
        return lambda batch: evaluated(self, known, batch)
