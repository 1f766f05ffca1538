"""Preference pairs from instruction rows: the student's answers as rejected, checked, at a chosen overlap with SFT."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dpo.student import LIBRARIES, StudentSampling
from stages.models.inference.folder import opened
from stages.models.teacher.base import Sampling, TeacherOptions


class Dpo(Stage):
    """Preference pairs from instruction rows: the student's answers as rejected, checked, at a chosen overlap with SFT.

    `student_reject` takes a row's own answer (the label) as chosen and what the student answers as rejected (SPIN);
    `teacher_vs_student` takes a teacher's answer as chosen, `strong_weak` that of the model on the port `strong`; `best_of_n` the
    best and worst of the `candidates`, as a judge or a reward model scores them: the student's own answers (on policy), those of
    the model on `strong` and the label (off policy), or any mix of the three (Tulu 3).

    `sft_overlap` is the share of the pairs' prompts that stand in the store of the port `sft`, reached by leaving prompts
    out, and measured on what is left. Prompts that SFT has not seen come about by training it on a part of them:

        - split: {name: sft-rows, of: sft-unique, share: 0.7}
        - train: {name: sft-model, objective: sft, of: sft-rows, base: pretrain}
        - dpo:   {of: sft-unique, sft: sft-rows, student: [pretrain, sft-model], sft_overlap: 0.5}

    Reasons: `dpo.no_label`, `dpo.tool_call` (the label calls a tool; a conversation with tools, where a teacher is to answer),
    `dpo.overlap`, `dpo.beyond_max` before anything is asked; `dpo.over_context`, `chat.*`, `dpo.truncated`, `dpo.empty`, `dpo.equal`, `dpo.near_equal`, `dpo.wrong_language`, `dpo.length_ratio`, `dpo.unrelated`,
    `dpo.refusal`, `dpo.too_few_answers` of the answers; `dpo.tie`, `dpo.student_wins`, `dpo.margin_low`, `dpo.margin_high`,
    `judge.*`, `teacher.*` of judge, reward model and teacher; `dpo.length_balance`, `dpo.prompt_cap` and `dpo.overlap` of the
    last choice.
    """

    ports: ClassVar[dict[str, Port]] = {
        "of": Port("CHAT", help="instruction rows: prompts and their labels"),
        "student": Port(
            "artefact:model|artefact:adapter",
            many=True,
            help="the model that answers, and the adapters on it",
            opened=opened,
        ),
        "strong": Port(
            "artefact:model|artefact:adapter",
            optional=True,
            many=True,
            help="a better model, and the adapters on it",
            opened=opened,
        ),
        "reward": Port("artefact:reward", optional=True, help="a reward model that scores both sides", opened=opened),
        "sft": Port("CHAT", optional=True, many=True, help="what the student was fine-tuned on: for sft_overlap"),
    }
    output_shape: ClassVar[str | None] = "PAIR"
    manifest_notes: ClassVar[tuple[str, ...]] = ("sft_overlap",)
    version: ClassVar[int] = 4
    uses_rng: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = LIBRARIES

    method: Literal["student_reject", "teacher_vs_student", "strong_weak", "best_of_n"] = "student_reject"
    "Who writes the two sides; see above."
    sampling: StudentSampling = StudentSampling()
    "How the student answers: max_tokens, temperature, top_p, stop, batch, threads."
    samples: int = Field(1, ge=1, le=64)
    "Answers of the student to each prompt; of the strong model too, for best_of_n."
    candidates: tuple[Literal["student", "strong", "label"], ...] = ("student",)
    "best_of_n: whose answers compete."
    per_prompt: int = Field(1, ge=1)
    "Most pairs of one prompt; distinct prompts count for more than further pairs of one (Tulu 3)."
    max_prompts: int | None = Field(None, ge=1)
    "Most prompts to make pairs for, by hash of the prompt; default: all."
    sft_overlap: float | None = Field(None, ge=0.0, le=1.0)
    "Share of the prompts that stand in the `sft` store; default: as it comes, measured all the same."

    truncated: Literal["drop", "keep", "trim"] = "drop"
    "An answer cut at max_tokens: dropped, kept as it is (a student too small to end its answers), or cut back to its last sentence."
    match_length: bool = False
    "Cut the student's answers to the label's length times 0.7 to 1.7, so that a student too small to end them is not told apart by length."
    similarity_min: float = Field(0.0, ge=0.0, le=1.0)
    "Least Jaccard similarity of the two answers' character 3-grams; 0.1 leaves out pairs that are told apart trivially."
    similarity_max: float = Field(0.95, gt=0.0, le=1.0)
    "From this similarity on two answers are near-equal."
    length_ratio: float = Field(2.0, ge=1.0)
    "Neither answer more than this many times as long as the other, in characters."
    same_language: bool = True
    "Drop a pair whose answers are written mainly in different scripts."
    refusals: bool = False
    "Keep pairs whose chosen answer opens by refusing."

    teacher: TeacherOptions | None = None
    "teacher_vs_student: who writes the chosen answer."
    teacher_sampling: Sampling = Sampling()
    "How the teacher answers."
    judge: TeacherOptions | None = None
    "best_of_n: who scores answers. Otherwise, if given: drops pairs whose rejected answer it does not find worse, in both orders."
    margin: float = Field(1.0, gt=0.0)
    "best_of_n: least difference of the scores of best and worst; a judge's go from 1 to 5, a reward model's are its own."
    margin_min: float = Field(0.0, ge=0.0)
    "With `reward`: least reward of the chosen answer over the rejected one's. One that is not above it is the student's win."
    margin_max: float | None = Field(None, gt=0.0)
    "With `reward`: largest such difference; pairs beyond it are told apart without learning anything."
    length_balance: float | None = Field(None, ge=0.0, le=0.5)
    "Drop pairs until, where lengths differ, the share whose chosen answer is the longer is this near one half; default: reported only."

    @model_validator(mode="after")
    def _whole(self) -> Dpo:
        if self.method == "teacher_vs_student" and self.teacher is None:
            raise ValueError("teacher_vs_student needs `teacher`")
        if (
            self.method == "best_of_n"
            and self.samples * len({"student", "strong"} & set(self.candidates)) + ("label" in self.candidates) < 2
        ):
            raise ValueError(
                "best_of_n needs at least two answers to choose from: more `samples`, or more `candidates`"
            )
        if self.margin_max is not None and self.margin_max <= self.margin_min:
            raise ValueError("margin_max must be above margin_min")
        if self.samples > 1 and self.sampling.temperature == 0:
            raise ValueError("several samples at temperature 0 are all the same; set sampling.temperature")
        if self.similarity_min >= self.similarity_max:
            raise ValueError("similarity_min must be below similarity_max")
        return self

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        from stages.dpo.make import make

        return make(self, inputs, sink, pool)
