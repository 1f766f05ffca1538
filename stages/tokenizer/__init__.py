"""Train a SentencePiece tokenizer on a sample of the corpus and export it for Hugging Face with identical ids."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage, versions
from pipeline.engine.tasks import run_tasks
from pipeline.options import digest
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import ARTEFACT, Store

MIB = 1 << 20
RESERVED = 4 + 256
"""Ids that are never pieces: unk, bos, eos, pad, and the 256 bytes."""


class Tokenizer(Stage):
    """Train a SentencePiece tokenizer on a sample of the corpus and export it for Hugging Face with identical ids."""

    ports: ClassVar[dict[str, Port]] = {"of": Port("DOCUMENT", many=True, help="documents to learn from")}
    output_shape: ClassVar[str | None] = "artefact:tokenizer"
    libraries: ClassVar[tuple[str, ...]] = ("sentencepiece",)

    vocab_size: int = Field(32768, ge=300, le=1 << 20)
    "Ids, specials and bytes included; 32,768 is 2^15. Where the sample supports fewer, the most it supports, and the card says so."
    hard_limit: bool = False
    "Fail with the largest possible size instead, when the sample does not support `vocab_size`."
    model_type: Literal["bpe", "unigram"] = "bpe"
    "bpe loads as a LlamaTokenizer and trains some ten times faster; unigram encodes twice as fast."
    sample_mb: float = Field(64.0, gt=0)
    "Text to learn from, MiB: documents by hash of their id until it is reached. 20 MB trained in 3.5 s (bpe) and 51 s (unigram)."
    balance: Literal["corpus", "even"] | dict[str, float] = "corpus"
    "Languages in the sample: as in the corpus, the same for each, or weights such as `{ko: 2, en: 1}` (others are left out)."
    character_coverage: float = Field(0.9995, gt=0.5, le=1.0)
    "Share of characters that get a piece of their own, the rarest being spelled in bytes; 0.9995 is SentencePiece's for large scripts."
    split_digits: bool = True
    "Every digit a piece of its own, as Llama does."
    symbols: tuple[str, ...] = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    "Control tokens for chat templates; ids 4 and up. Text that spells one never becomes one."
    probe_mb: float = Field(4.0, gt=0)
    "Text for the card's figures, MiB, of documents outside the sample where there are any."

    @field_validator("symbols")
    @classmethod
    def _distinct(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        taken = {"<unk>", "<s>", "</s>", "<pad>"}
        for symbol in symbols:
            if not symbol.strip() or symbol in taken or any(ch.isspace() or ch == "▁" for ch in symbol):
                raise ValueError(f"{symbol!r} is empty, holds a blank, or is taken")
            taken.add(symbol)
        return symbols

    @field_validator("balance")
    @classmethod
    def _weights(cls, balance: Any) -> Any:
        if isinstance(balance, dict) and (not balance or any(weight <= 0 for weight in balance.values())):
            raise ValueError("weights must be positive; leave a language out to learn nothing of it")
        return balance

    @model_validator(mode="after")
    def _room(self) -> Tokenizer:
        if self.vocab_size <= RESERVED + len(self.symbols):
            raise ValueError(
                f"vocab_size must be above {RESERVED + len(self.symbols)}: the specials and bytes alone take that many"
            )
        return self

    def key(self, inputs: Inputs, *extra: Any, without: Sequence[str] = ()) -> str:
        from stages.models.chat.templates import DEFAULT

        return super().key(inputs, digest(DEFAULT), *extra, without=without)

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        return run_tasks(pool, sink, train, [TrainTask(self, inputs["of"], sink, self.key(inputs))], "tokenizer")


class TrainTask(NamedTuple):
    """One training."""

    stage: Tokenizer
    stores: list[Store]
    sink: Store
    key: str
    number: str = ARTEFACT

    @property
    def name(self) -> str:
        return "tokenizer training"


def train(task: TrainTask) -> Receipt:
    """Sample, train, export, measure, and put the artefact with the ledger of which documents were used."""
    import numpy as np

    from stages.tokenizer import sample

    stage = task.stage
    roll = sample.call(task.stores)
    verdict = sample.choose(roll, sample.shares(roll, stage.balance, int(stage.sample_mb * MIB)))
    taken = np.asarray([why is None for why in verdict], dtype=bool)
    with tempfile.TemporaryDirectory(prefix="maetdol-tokenizer-") as folder:
        facts = build(stage, task.stores, roll, taken, Path(folder) / "made")
        ledger = Ledger.rows(roll.ids, out=[None] * len(roll.ids), reason=verdict)
        notes = {
            "vocab_size": facts["vocab_size"],
            "asked": facts["asked"],
            "sample": facts["sample"],
            "measured": facts["measured"],
        }
        return task.sink.put_artefact(
            Path(folder) / "made",
            ledger,
            key=task.key,
            stage="tokenizer",
            notes=notes,
            versions=versions(stage.libraries),
        )


def build(stage: Tokenizer, stores: list[Store], roll: Any, taken: Any, folder: Path) -> dict[str, Any]:
    """Train on the rows `taken`, write the tokenizer folder and its card; returns the card."""
    from stages.models.chat.templates import DEFAULT
    from stages.models.encoder import Encoder
    from stages.tokenizer import card, fit, sample
    from stages.tokenizer import folder as export

    plan = fit.TrainerPlan(
        stage.vocab_size, stage.model_type, stage.symbols, stage.character_coverage, stage.split_digits, stage.hard_limit,
        int(roll.sizes[taken].sum()),
    )  # fmt: skip
    lines = (line for _, text in sample.texts(stores, taken) for line in sample.lines(text))
    if stage.model_type == "unigram":
        # Its seed pieces depend on the order of the lines, which shards and crawls decide; BPE's counts do not.
        lines = iter(sorted(lines))
    export.write(fit.fit(plan, lines), folder, stage.model_type, stage.symbols, DEFAULT)
    (folder / "card.json").write_text(json.dumps({"format": card.FORMAT}), encoding="utf-8")
    encoder = Encoder(folder)
    probed, on = sample.probe(roll, taken, int(stage.probe_mb * MIB))
    facts = card.card(
        requested_size=stage.vocab_size,
        encoder=encoder,
        options=stage.model_dump(mode="json", exclude={"vocab_size", "probe_mb"}),
        sample=sample.account(stores, roll, taken),
        costs={"on": on, "by_language": card.measure(encoder, sample.texts(stores, probed))},
        libraries=versions(stage.libraries),
    )
    (folder / "card.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card.page(facts), encoding="utf-8")
    return facts
