"""Tokenise documents and pack them into rows of one length, with every document's position kept."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage, input_shards, versions
from pipeline.engine.tasks import run_tasks
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.models.holdout import SHARE


class Pack(Stage):
    """Tokenise documents and pack them into rows of one length, with every document's position kept.

    A row holds `input_ids` and `docs`: which document fills tokens start..end, and from which of its own tokens on (`offset`).
    A document's tokens are the begin-of-sequence token, its text, the end-of-sequence token. Rows never mix documents held
    out of training with others; the column `heldout` tells them apart. A shard of documents gives a shard of rows, so that
    workers and order do not matter.
    """

    ports: ClassVar[dict[str, Port]] = {
        "of": Port("DOCUMENT", help="documents to pack"),
        "tokenizer": Port("artefact:tokenizer", help="the tokenizer's store"),
    }
    output_shape: ClassVar[str | None] = "TOKENS"
    libraries: ClassVar[tuple[str, ...]] = ("sentencepiece", "tokenizers")

    seq_len: int = Field(2048, ge=8, le=1 << 20)
    "Tokens of a row. The last row of a shard, and with best_fit a few others, may be shorter; nothing is padded."
    method: Literal["best_fit", "concat", "bucketed"] = "best_fit"
    "best_fit: only documents longer than a row are cut (Ding et al. 2024); concat: end to end, cut every seq_len tokens; bucketed: a row a document, rows of like length together."
    bos: bool = True
    "Put the begin-of-sequence token before every document, where the tokenizer has one."
    min_tokens: int = Field(1, ge=1)
    "Documents with fewer tokens of text are dropped with `pack.short`."
    holdout: float = Field(SHARE, ge=0.0, le=0.5)
    "Share of documents, by hash of their content (copies of one text go together), packed into rows of their own: what train and evaluate hold out."

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        tokenizer = inputs.one("tokenizer")
        tasks = [
            PackTask(self, source, shard, tokenizer, sink, number, self.key(inputs, content, without=("of",)))
            for number, source, shard, content in input_shards(inputs)
        ]
        return run_tasks(pool, sink, pack_shard, tasks, "pack")


class PackTask(NamedTuple):
    """One shard of documents into one shard of rows."""

    stage: Pack
    source: Store
    shard: int
    tokenizer: Store | None
    sink: Store
    number: int
    key: str

    @property
    def name(self) -> str:
        return f"pack shard {self.shard:05d}"


def pack_shard(task: PackTask) -> Receipt:
    """Encode a shard, lay its documents out, write rows, ledger and receipt."""
    from stages.models.encoder import opened
    from stages.pack.rows import Packed, encoded, marks

    stage, tokenizer = task.stage, task.tokenizer
    encoder = opened(tokenizer.artefact(), tokenizer.content_hash)  # type: ignore[union-attr]
    docs = encoded(task.source, task.shard, encoder, stage)
    packed = Packed(docs, stage)
    with task.sink.writer(task.number, stage="pack", key=task.key) as writer:
        for table in packed.tables():
            writer.expect(table.schema)
            for batch in table.to_batches():
                writer.write(batch)
        writer.record(packed.ledger(marks(task.source, task.shard, encoder, docs, packed.cut)))
        return writer.commit(input_ids=docs.ids, notes=packed.notes(), versions=versions(stage.needs()))
