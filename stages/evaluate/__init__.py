"""Measure models on held-out rows: bits per byte, loss on answers, preference accuracy, and what they write."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage
from pipeline.engine.tasks import run_tasks
from pipeline.errors import UsageError
from pipeline.options import CONTENT
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.models.inference.folder import opened
from stages.models.teacher.base import TeacherOptions


class Evaluate(Stage):
    """Measure models on held-out rows: bits per byte, loss on answers, preference accuracy, and what they write.

    Each model of `model` is measured as it was trained, on top of the chain its card names, and compared with the one
    before it. What is measured follows from the shapes of `of`; only rows that training held out are used (the same
    function and share, `stages.models.holdout`), at most so many, drawn by hash. The artefact is `report.json`:

        format      1
        holdout     share of `documents` and of `prompts` that every model held out
        models      in order, the untrained one first where it can be made again:
          name        untrained, pretrained, sft, dpo (numbered where they repeat)
          kind, objective, method, parameters, chain (content hashes from the bottom up)
          metrics     name -> number:
                        bits per byte, bits per byte (<lang>)    documents; the text's UTF-8 bytes
                        bits per byte (source <folder>)          documents, the twelve sources most of them come from
                        loss on answers                          conversations; nats per token asked for
                        preference accuracy                      pairs; chosen answer likelier per token than the rejected
                        preference accuracy (sums)               pairs; likelier as a whole
                        reward accuracy                          pairs; the change from the model below it prefers the chosen
                        preference margin                        pairs; nats per token between chosen and rejected
                        chosen log-probability, rejected log-probability    pairs; nats per token
                        guess by length                          pairs; the better of "longer" and "shorter is chosen"
                        accuracy (<file>[, k shots])             questions; likeliest answer per byte, or the number written
                        win rate                                 answers; as the judge prefers them to the model below's, in both orders
          intervals   name -> [low, high], 95% bootstrap over rows
          counts      documents, bytes, conversations, answer tokens, pairs
          generations prompt, text, reference, finish, lang
          choices     per file of `choices` and number of shots: questions, read whole, accuracy by bytes, sums, characters and tokens, chance
          problems    per file of `problems` and number of shots: problems, accuracy
          judged      against the model below: win rate, wins, losses, ties, undecided, flip rate, length correlation
        comparisons list of {measure, before, after, change, low, high, better}: paired bootstrap over rows; better says
                    whether the whole interval, of six rows or more, is on the right side of 0

    and `rows.json`, the numbers behind it, without any text, so that other intervals and groups can be made of them:

        documents   ids and bytes as they were measured, and the bits of each under every model, by its name
        questions   per file of `choices` and number of shots, by model: 1 where the question was answered rightly, else 0

    The ledger names every row of `of`: null where it was measured, else `evaluate.not_held_out`, `evaluate.not_drawn`,
    `evaluate.empty`, `chat.*`, `pair.equal`.
    """

    version: ClassVar[int] = 9
    ports: ClassVar[dict[str, Port]] = {
        "of": Port(
            "DOCUMENT|CHAT|PAIR",
            many=True,
            help="stores the models' training data came from; their held-out rows are used",
        ),
        "model": Port(
            "artefact:model|artefact:adapter",
            many=True,
            help="models and adapters, each measured against the one before",
            opened=opened,
        ),
    }
    output_shape: ClassVar[str | None] = "artefact:evaluation"
    uses_rng: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "peft", "bitsandbytes")

    holdout: float | None = Field(None, gt=0, le=1)
    "Share of rows that is held out; default: the smallest the models were trained with. 1: every row, for sets made for evaluation."
    untrained: bool = True
    "Measure a pretrained model against its own random beginning too (documents only)."
    documents: int = Field(200, ge=1)
    "Documents to measure on, at most."
    document_bytes: int | None = Field(None, ge=8)
    "A document is measured by its first so many bytes (whole characters), so that a few long ones do not decide; default: whole."
    rows: int = Field(300, ge=1)
    "Conversations and pairs to measure on, at most, each."
    samples: int = Field(6, ge=0)
    "Answers to write out per model."
    max_new_tokens: int = Field(64, ge=1)
    "Longest answer written out."
    temperature: float = Field(0.0, ge=0)
    "Of the answers written out; 0 is greedy."
    width: int | None = Field(None, ge=8)
    "Tokens a model sees at a time; default: what it was trained on."
    batch: int = Field(8, ge=1)
    "Rows in one forward pass."
    choices: Annotated[tuple[str, ...], CONTENT] = ()
    "Files of multiple-choice questions, answered by likelihood: KoBEST, ARC, HellaSwag, PIQA, llm-foundry, or prompt, choices, answer."
    problems: Annotated[tuple[str, ...], CONTENT] = ()
    "Files of problems whose answer is a number, answered by generation (GSM8K)."
    shots: tuple[int, ...] = (0,)
    "Answered examples in front of a question; several numbers measure several times, e.g. [0, 1, 5]."
    questions: int = Field(500, ge=1)
    "Questions of each file, at most, by hash."
    solution_tokens: int = Field(256, ge=1)
    "Longest solution of a problem."
    judge: TeacherOptions | None = None
    "Who compares each model's answers to held-out prompts with those of the model below it, in both orders; `samples` of them."
    bootstrap: int = Field(1000, ge=100)
    "Resamples behind an interval."
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    "What is computed in; auto: bf16 on CUDA, fp32 on CPU."
    threads: int = Field(2, ge=1)
    "CPU threads; decides last bits, so an option."

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        if not inputs["model"]:
            raise UsageError("evaluate was given no model", "give `model`")
        from stages.evaluate.task import EvaluateJob, evaluate

        return run_tasks(
            pool, sink, evaluate, [EvaluateJob(self, inputs, sink, self.key(inputs))], "evaluate", gpus=inputs.gpus
        )
