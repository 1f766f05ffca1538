"""Choose the conversations worth training on: checks, IFD or perplexity under a local model, and no near-copies."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.models.inference.folder import opened


class Select(Stage):
    """Choose the conversations worth training on: checks, IFD or perplexity under a local model, and no near-copies.

    First each row by itself: length, language, repetition, refusal, leaked template, licence, terms of the teacher. Then, where
    a `model` is given, its last answer is scored: `perplexity`, and `ifd`, its loss after the question over its loss alone
    (Cherry LLM): above 1 the question does not help, near 0 it gives the answer away. Last all rows against each other: the
    best by `by`, and of those that resemble each other only the best. Every number stands in the ledger, for the kept as for
    the dropped, so another threshold can be tried on it before anything is run.

        - sft:    {of: decontaminate}
        - select: {model: pretrain, top: 0.5, diversity: 0.7}

    Reasons: `select.no_answer`, `select.short`, `select.long`, `select.language`, `select.repetition`, `select.refusal`,
    `select.template_leak`, `select.licence`, `select.teacher_terms`; `chat.*`, `select.ifd_high`, `select.ifd_low`,
    `select.perplexity_high`; `select.near_copy`, `select.not_top`.
    """

    ports: ClassVar[dict[str, Port]] = {
        "of": Port("CHAT", help="conversations"),
        "model": Port(
            "artefact:model|artefact:adapter",
            optional=True,
            many=True,
            help="scores them: a model, and the adapters on it",
            opened=opened,
        ),
    }
    version: ClassVar[int] = 5
    output_shape: ClassVar[str | None] = "CHAT"
    uses_rng: ClassVar[bool] = False

    min_chars: int = Field(1, ge=1)
    "Fewest characters of the last answer."
    max_chars: int = Field(20_000, ge=1)
    "Most characters of the last answer."
    languages: tuple[str, ...] = ()
    "Languages of rows to keep (ko, en, ...); default: all."
    same_language: bool = False
    "Drop rows whose answer is written mainly in another script than the question; not for translations."
    max_repetition: float = Field(0.5, ge=0.0, le=1.0)
    "Largest share of the answer's character 10-grams that stood in it before (data-juicer: 0.5)."
    refusals: bool = False
    "Keep answers that open by refusing."
    leaks: bool = False
    "Keep rows with pieces of a prompt or chat template in question or answer."
    licences: tuple[str, ...] = ()
    "Licences to keep, as rows carry them; `none` for rows without one. Default: all."
    without_licences: tuple[str, ...] = ()
    "Licences to drop."
    teacher_licences: tuple[str, ...] | None = None
    "Terms of the teacher (`teacher.licence` of sft, carried in `meta`) to keep; rows no teacher wrote are not asked. Default: all."

    ifd_min: float = Field(0.0, ge=0.0)
    "Least IFD."
    ifd_max: float = Field(1.0, gt=0.0)
    "Largest IFD; above 1 the question does not help with the answer (Li et al. 2023)."
    max_perplexity: float | None = Field(None, gt=1.0)
    "Largest perplexity of the answer after its question."
    by: Literal["ifd", "perplexity", "confidence"] | None = None
    "What the best are chosen by: highest IFD, lowest perplexity, highest confidence of the rule. Default: ifd with a model, else confidence."
    top: float | int | None = Field(None, gt=0)
    "How many to keep of those that stand: a share up to 1.0, or a number of rows. Li et al. kept 5 to 10%."
    diversity: float | None = Field(None, gt=0.0, lt=1.0)
    "From this Jaccard similarity on (character 5-grams) only the best of two rows is kept; 0.7 is usual."
    alike_by: Literal["both", "question", "answer"] = "both"
    "What of two rows is compared: all that is said, what users say, or the last answer. Tasks made of one passage share its words."
    width: int = Field(4096, ge=16)
    "Longest conversation scored, tokens; the model's own limit where that is smaller."
    batch: int = Field(16, ge=1)
    "Conversations in one forward pass; on some hardware it moves the last bits."
    threads: int = Field(2, ge=1)
    "CPU threads; they move the last bits of sums."

    @model_validator(mode="after")
    def _whole(self) -> Select:
        if self.min_chars > self.max_chars or self.ifd_min > self.ifd_max:
            raise ValueError("the least is more than the most")
        if isinstance(self.top, float) and self.top > 1.0 and self.top != int(self.top):
            raise ValueError("top is a share up to 1.0 or a whole number of rows")
        return self

    def needs(self) -> tuple[str, ...]:
        return ("torch", "transformers", "peft")

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        from stages.select.choose import choose

        return choose(self, inputs, sink, pool)
