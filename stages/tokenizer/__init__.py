"""Train a tokenizer (SentencePiece or byte-level BPE) on a sample of the corpus; every library that opens it gives the same ids."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage, input_shards, versions
from pipeline.engine.tasks import run_tasks, valid_receipts
from pipeline.options import digest
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import ARTEFACT, Store
from stages.tokenizer import byte_level, fit, patterns
from stages.tokenizer.sample import Gathered, Roll

MIB = 1 << 20
RESERVED = 4 + 256
"""Ids that are never pieces: unk, bos, eos, pad, and the 256 bytes."""


class Tokenizer(Stage):
    """Train a tokenizer (SentencePiece or byte-level BPE) on a sample of the corpus; every library that opens it gives the same ids."""

    version: ClassVar[int] = 2
    ports: ClassVar[dict[str, Port]] = {
        "of": Port("DOCUMENT", many=True, help="documents to learn from"),
        "beside": Port(
            "artefact:tokenizer", optional=True, many=True, help="tokenizers the card measures on the same documents"
        ),
    }
    output_shape: ClassVar[str | None] = "artefact:tokenizer"
    libraries: ClassVar[tuple[str, ...]] = ("sentencepiece",)

    vocab_size: int = Field(32768, ge=300, le=1 << 20)
    "Ids, specials and bytes included; 32,768 is 2^15. Where the sample supports fewer, the most it supports, and the card says so."
    hard_limit: bool = False
    "Fail with the largest possible size instead, when the sample does not support `vocab_size`."
    model_type: Literal["bpe", "unigram", "byte_bpe"] = "bpe"
    "bpe and unigram are SentencePiece's; bpe loads as a LlamaTokenizer and trains ten times faster than unigram. byte_bpe is byte-level, as of GPT, Llama 3 and Qwen; tiktoken opens it too."
    pattern: patterns.Family = "gpt4o"
    "byte_bpe: the expression that cuts text before anything is learnt, of the model it is named after."
    digits: patterns.Digits | None = None
    "byte_bpe: numbers digit by digit or in threes from the left; default: as the pattern's model does (qwen: one, the others: three)."
    hangul: patterns.Hangul = "pattern"
    "byte_bpe: no token crosses the border of a run of Hangul with the blank before it (eojeol), nor that of its particle (particle), known by its form alone; pattern: as the pattern has it, where 'API를' may be one token."
    characters: Literal["bytes", "whole", "hangul"] = "bytes"
    "byte_bpe: bytes, a token may begin or end inside a character, as in GPT-4o; whole, a token is whole characters or a part of one outside `character_coverage`; hangul, so too, and each of the 11,172 syllables has a token, so that none is ever split."
    sample_mb: float = Field(64.0, gt=0)
    "Text to learn from, MiB: documents by hash of their id until it is reached. 20 MB trained in 3.5 s (bpe) and 51 s (unigram)."
    balance: Literal["corpus", "even"] | dict[str, float] = "corpus"
    "Languages in the sample: as in the corpus, the same for each, or weights such as `{ko: 2, en: 1}` (others are left out)."
    character_coverage: float = Field(0.9995, gt=0.5, le=1.0)
    "Share of characters that get a piece of their own, the rarest being spelled in bytes; 0.9995 is SentencePiece's for large scripts. Of byte_bpe: where `characters` is not bytes."
    split_digits: bool = True
    "bpe, unigram: every digit a piece of its own, as Llama does. For byte_bpe see `digits`."
    symbols: tuple[str, ...] = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    "Control tokens for chat templates; ids 4 and up (byte_bpe: the last). Text that spells one never becomes one."
    probe_mb: float = Field(4.0, gt=0)
    "Text for the card's figures, MiB, of documents outside the sample where there are any."

    @field_validator("symbols")
    @classmethod
    def _distinct(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        taken = {*fit.BASE, *byte_level.BASE}
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
    def _of_its_kind(self) -> Tokenizer:
        idle = self.unused() & self.model_fields_set
        if idle:
            raise ValueError(f"{self.model_type} does not use {', '.join(sorted(idle))}")
        if self.model_type != "byte_bpe" and self.character_coverage < 0.98:
            raise ValueError(f"{self.model_type} takes a character_coverage of 0.98 to 1 (SentencePiece's bounds)")
        return self

    def unused(self) -> set[str]:
        """Options that the kind of tokenizer has no use for."""
        if self.model_type != "byte_bpe":
            return {"pattern", "digits", "hangul", "characters"}
        return {"split_digits"} | ({"character_coverage"} if self.characters == "bytes" else set())

    def most_read(self) -> int:
        return int((self.sample_mb + self.probe_mb) * MIB)

    def needs(self) -> tuple[str, ...]:
        return ("tokenizers",) if self.model_type == "byte_bpe" else self.libraries

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
        from stages.tokenizer import passes

        key = self.key(inputs)
        found = valid_receipts(sink, {ARTEFACT: key}).get(ARTEFACT)
        if found is None:
            gathered = passes.gather(input_shards(inputs), self.balance, self.sample_mb, self.probe_mb, sink, pool)
            (found,) = run_tasks(
                pool, sink, train, [TrainTask(self, gathered, inputs["beside"], sink, key)], "tokenizer"
            )
        passes.forget_texts(sink)
        return [found]


class TrainTask(NamedTuple):
    """One training."""

    stage: Tokenizer
    gathered: Gathered
    beside: list[Store]
    sink: Store
    key: str
    number: str = ARTEFACT

    @property
    def name(self) -> str:
        return "tokenizer training"


def train(task: TrainTask) -> Receipt:
    """Choose the sample, train, export, measure, and put the artefact with the ledger of which of the gathered documents were used."""
    from stages.tokenizer import sample

    stage = task.stage
    roll = sample.roll(task.gathered.store)
    verdict = sample.choose(roll, task.gathered.shares)
    with tempfile.TemporaryDirectory(prefix="maetdol-tokenizer-") as folder:
        facts, speeds = build(stage, task.gathered, task.beside, roll, verdict == sample.TAKEN, Path(folder) / "made")
        reported = ("vocab_size", "asked", "sample", "measured", "beside")
        notes = {name: facts[name] for name in reported if name in facts}
        notes["mb_per_cpu_s"] = speeds
        return task.sink.put_artefact(
            Path(folder) / "made",
            sample.ledger(roll.ids, verdict),
            key=task.key,
            stage="tokenizer",
            left_out=task.gathered.left_out,
            notes=notes,
            versions=versions(stage.needs()),
        )


def build(
    stage: Tokenizer, gathered: Gathered, beside: list[Store], roll: Roll, taken: Any, folder: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Train on the rows `taken`, write the tokenizer folder and its card; returns the card, and MB of text that this tokenizer (under
    `this`) and those `beside` encode in a CPU second, which stand in the receipt: the card depends on no clock."""
    from stages.models.encoder import Encoder
    from stages.tokenizer import card, sample

    make(stage, gathered.store, roll, taken, folder)
    (folder / "card.json").write_text(json.dumps({"format": card.FORMAT}), encoding="utf-8")
    probed, on = sample.probe(roll, taken, int(stage.probe_mb * MIB))
    encoders = {"this": Encoder(folder)} | {other.name: Encoder(other.artefact()) for other in beside}
    costs = {name: card.measure(one, sample.texts(gathered.store, probed)) for name, one in encoders.items()}
    facts = card.card(
        requested_size=stage.vocab_size,
        encoder=encoders["this"],
        options=stage.model_dump(mode="json", exclude={"vocab_size", "probe_mb", *stage.unused()}),
        sample=sample.account(gathered, roll, taken),
        costs={"on": on, "by_language": costs["this"]},
        beside={
            name: {"vocab_size": encoders[name].size, "by_language": cost}
            for name, cost in costs.items()
            if name != "this"
        },
        libraries=versions(stage.needs()),
    )
    (folder / "card.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card.page(facts), encoding="utf-8")
    return facts, {name: card.speed(one, sample.texts(gathered.store, probed)) for name, one in encoders.items()}


def make(stage: Tokenizer, gathered: Store, roll: Roll, taken: Any, folder: Path) -> None:
    """Train on the rows `taken` and write the files of the tokenizer."""
    from stages.models.chat.templates import DEFAULT
    from stages.tokenizer import folder as export
    from stages.tokenizer import sample

    if stage.model_type == "byte_bpe":
        plan = byte_level.BytePlan(
            stage.vocab_size, patterns.expression(stage.pattern, stage.digits, stage.hangul), stage.symbols, stage.characters,
            stage.character_coverage, stage.hard_limit,
        )  # fmt: skip
        tokens = byte_level.fit(plan, lambda: (text for _, text in sample.texts(gathered, taken)))
        byte_level.write(tokens, plan, folder, DEFAULT)
        return
    plan = fit.TrainerPlan(
        stage.vocab_size, stage.model_type, stage.symbols, stage.character_coverage, stage.split_digits, stage.hard_limit,
        int(roll.sizes[taken].sum()),
    )  # fmt: skip
    lines = (line for _, text in sample.texts(gathered, taken) for line in sample.lines(text))
    if stage.model_type == "unigram":
        # Its seed pieces depend on the order of the lines, which shards and crawls decide; BPE's counts do not.
        lines = iter(sorted(lines))
    export.write(fit.fit(plan, lines), folder, stage.model_type, stage.symbols, DEFAULT)
