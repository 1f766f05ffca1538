"""Decontaminate: find evaluation items in documents, drop those that give question and answer away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import model_validator

from pipeline.engine.stage import Inputs, Port, ShardStage, Work
from pipeline.options import CONTENT


class Decontaminate(ShardStage):
    """Drop documents that hold items of evaluation sets; report those that only quote them.

    An item is found again by its text: letters and digits alone count, in windows of 24 letters or 8 syllables, so that case,
    punctuation, spacing and small edits do not hide it. What is found falls into tiers: `answered` (question and answer
    together), `question` (without the answer), `quoted` (public text that an item quotes, or its worked solution alone).
    Windows that many items share are templates and prove no item; a text with a long run of them and no item is reported as
    `template` (instructions and formats of evaluation sets).
    """

    against: Annotated[tuple[str, ...], CONTENT] = ()
    "Evaluation sets: JSONL, TSV, CSV or Parquet files, folders of them, or stores (KoBEST, KLUE, HumanEval, GSM8K, ARC, ...)."
    drop: tuple[Literal["answered", "question", "quoted", "template"], ...] = ("answered",)
    "Tiers whose documents are dropped; the others are reported in the ledger."
    coverage: float = 0.6
    "Share of an item's question (letters and digits) that must stand in the text. Tulu 3 asks for 0.5 of the tokens."
    words: int = 13
    "So many words of the text in a row that follow an item count too, whatever their share (GPT-3, Marin: 13-grams)."
    template_items: int = 20
    "A window that stands in more different texts of items than this is a template."
    fields: tuple[str, ...] = ()
    "Text columns searched, joined by line feeds; default: the main one (for chats every message)."

    version: ClassVar[int] = 3
    ports = {"of": Port("DOCUMENT|CHAT|PAIR", many=True)}
    output_shape = None

    @model_validator(mode="after")
    def _needs_sets(self) -> Decontaminate:
        if not self.against:
            raise ValueError(
                "no evaluation set given: name files or folders with `against: [kobest/, gsm8k.jsonl]` (--against)"
            )
        return self

    def worker(self, inputs: Inputs, shard: int) -> Callable[[pa.RecordBatch], Work]:
        from stages.decontaminate.index import load

        load(self.against, self.template_items)
        return self.work

    def work(self, batch: pa.RecordBatch) -> Work:
        from stages.decontaminate.evaluate import evaluated

        return evaluated(self, batch)
