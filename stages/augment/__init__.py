"""New instructions out of old ones, made by a teacher: said otherwise, made harder, or thought up after examples."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage
from pipeline.errors import OptionError
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.models.teacher.base import TeacherOptions

METHODS = ("paraphrase", "evolve", "self_instruct")


class Augment(Stage):
    """Let a teacher say instructions otherwise, make them harder, or think up new ones; what resembles another one is dropped.

    A paraphrase keeps its row's answer; an evolved or invented instruction is answered by the teacher in a call of its own.
    Every call is journaled and paid once. A new row carries its parent's document and licence, the teacher, and its terms.
    """

    ports: ClassVar[dict[str, Port]] = {"of": Port("CHAT", help="rows to start from")}
    output_shape: ClassVar[str | None] = "CHAT"
    version: ClassVar[int] = 3
    uses_rng: ClassVar[bool] = True

    renamed: ClassVar[dict[str, str]] = {"likeness": "similarity", "own_likeness": "own_similarity"}
    teacher: TeacherOptions | None = None
    "Who is asked; needed."
    methods: tuple[Literal["paraphrase", "evolve", "self_instruct"], ...] = Field(("paraphrase",), min_length=1)
    "paraphrase: the same request in other words; evolve: a harder one (WizardLM); self_instruct: a new one after examples (Self-Instruct)."
    share: float = Field(0.3, gt=0.0, le=1.0)
    "Share of the rows each method starts from, drawn by a hash of seed and row."
    keep: bool = True
    "Keep the rows it starts from; false leaves the new ones alone."
    shots: int = Field(4, ge=1, le=12)
    "self_instruct: instructions shown as examples (Self-Instruct: 8; small teachers follow fewer better)."
    similarity: float = Field(0.7, gt=0.0, le=1.0)
    "Diversity gate: a new instruction stays only if its ROUGE-L with every other one is below this (Self-Instruct's 0.7)."
    own_similarity: float = Field(0.9, gt=0.0, le=1.0)
    "A paraphrase stays only if its ROUGE-L with the instruction it says otherwise is below this."
    max_instruction: int = Field(1500, ge=20)
    "Longest instruction to start from, characters: tasks that carry a whole text are left alone."
    confidence: float = Field(0.6, ge=0.0, le=1.0)
    "Confidence of the new rows."

    def not_estimated(self) -> str:
        return "calls a teacher"

    def validate_inputs(self, inputs: Inputs) -> None:
        if self.teacher is None:
            raise OptionError("augment needs a teacher", "give `teacher: {kind: endpoint, url: ..., model: ...}`")

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        """Shard by shard in this process: the gate knows every instruction that stands, and one process holds the journal."""
        from stages.augment.make import make

        self.validate_inputs(inputs)
        return make(self, inputs, sink)
