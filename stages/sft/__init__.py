"""Instructions and answers mined from documents, by rules and where asked by a teacher; every row with its provenance."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator

from pipeline.engine import catalog
from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage, input_shards
from pipeline.engine.tasks import drop_others
from pipeline.errors import MaetdolError
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.models.teacher.base import TeacherOptions
from stages.sft.grounding import Grounding
from stages.sft.rule import MiningRule

MEMBERS = ("rules",)


def every_rule() -> tuple[MiningRule, ...]:
    """Each rule of the folder with its defaults."""
    return tuple(rule_of(name, {}) for name in catalog.members("sft", "rules"))


def rule_of(name: str, options: dict[str, Any]) -> MiningRule:
    return catalog.member("sft", "rules", name, MiningRule).build(options, f"sft.{name}")  # type: ignore[return-value]


class Sft(Stage):
    """Mine instructions and answers from documents by rules; a teacher fills the gaps when one is named."""

    version: ClassVar[int] = 4
    ports: ClassVar[dict[str, Port]] = {"of": Port("DOCUMENT", many=True)}
    output_shape: ClassVar[str | None] = "CHAT"
    uses_rng: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("xxhash",)
    renamed: ClassVar[dict[str, str]] = {"teach": "teacher_tasks"}

    kinds: tuple[SerializeAsAny[MiningRule], ...] = Field(default_factory=every_rule)
    "Rules to mine with, by file name, with options where wanted (`- heading: {min_answer: 80}`); `maetdol list rules` names them."
    boilerplate_pages: int = Field(4, ge=0)
    "An answer that stands on so many pages is the site's boilerplate (declared questions: under as many different questions); 0 keeps all."
    host_cap: int = Field(20_000, ge=0)
    "Most rows of one host, drawn by hash; declared questions do not count; 0 is no cap."
    teacher: TeacherOptions | None = None
    "Who answers for passages that no rule covered; none by default."
    teacher_tasks: tuple[Literal["qa", "backtranslate", "summary", "title", "explain", "list"], ...] = (
        "qa",
        "backtranslate",
    )
    "What the teacher is asked: question-answer pairs extracted and refined, the instruction a passage answers, typed tasks."
    pairs: int = Field(3, ge=1, le=8)
    "Most question-answer pairs per passage; Curator's DiverseQA takes up to 8, about one per 150 tokens."
    persona: str = ""
    "Who the teacher is to be (`You are a patient librarian.`); stands before every instruction of its prompts."
    shots: int = Field(1, ge=0, le=3)
    "Worked examples shown with `qa`, in the page's language: none, one or a few (the third shows a passage not worth asking about)."
    step_by_step: bool = False
    "Ask the teacher to reason first and give its JSON at the end; what stands before the JSON is not kept."
    passages: int = Field(2, ge=1)
    "Most passages of one page the teacher is asked about."
    min_passage: int = Field(200, ge=40)
    "Shortest passage, characters."
    max_passage: int = Field(2500, ge=200)
    "Longest passage, characters; some 600 to 1,200 tokens (Curator takes 30 to 1,000)."
    grounding: Grounding = Grounding()
    "The gate that holds an answer to its passage."
    curate: int = Field(4, ge=0, le=5)
    "Backtranslated rows are rated 1 to 5 by the teacher itself and kept from this on (Humpback keeps 4 and 5); 0 does not ask."
    teacher_confidence: float = Field(0.7, ge=0.0, le=1.0)
    "Confidence of rows a teacher made; hand-written ones count 0.95."

    @field_validator("kinds", mode="before")
    @classmethod
    def _rules(cls, given: Any) -> Any:
        if given is None or given == "all":
            return every_rule()
        if not isinstance(given, (list, tuple)) or not given:
            raise ValueError("give a list of rules, or leave it out for every rule")
        try:
            return tuple(cls._rule(entry) for entry in given)
        except MaetdolError as fault:
            raise ValueError(f"{fault.message} ({fault.hint})") from None

    @staticmethod
    def _rule(entry: Any) -> MiningRule:
        if isinstance(entry, MiningRule):
            return entry
        if isinstance(entry, str):
            return rule_of(entry, {})
        if isinstance(entry, dict) and len(entry) == 1:
            name, options = next(iter(entry.items()))
            if options is None or isinstance(options, dict):
                return rule_of(str(name), options or {})
        raise ValueError("a rule is a name, or `name: {options}`")

    @field_validator("kinds")
    @classmethod
    def _once(cls, rules: tuple[MiningRule, ...]) -> tuple[MiningRule, ...]:
        names = [rule.word for rule in rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is given twice")
        return rules

    def not_estimated(self) -> str:
        calls = self.teacher is not None and self.teacher.kind != "recorded"
        return "calls a teacher: `maetdol sft --dry-run` says what that takes" if calls else ""

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        """Four passes: find (per shard), across (all pages), teacher (where a teacher is named), join (per shard)."""
        from stages.sft import passes
        from stages.sft.teacher.teacher_pass import ask_all

        shards, replies = list(input_shards(inputs)), sink.sub("passes/teacher")
        find, cut = passes.mined(self, inputs, shards, sink, pool)
        drop_others(replies, (shard.number for shard in shards))
        if self.teacher is not None:
            ask_all(self, inputs, shards, find, cut, replies)
        return passes.join(self, inputs, shards, sink, pool)
