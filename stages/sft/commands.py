"""Verbs of the stage: `maetdol sft A B --dry-run`, `maetdol teacher compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from pipeline.deletion.forgotten import Reading
from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError
from pipeline.options import Options
from pipeline.storage.store import Store
from stages.models.teacher.base import Sampling, TeacherOptions
from stages.sft import Sft
from stages.sft.grounding import Grounding


class DryRunSft(Sft):
    """Say what the teacher would be asked and what that costs: calls, tokens, price, time. Nothing is asked or written."""

    verb: ClassVar[str] = "sft --dry-run"

    dry_run: bool = False
    "Only print the teacher's calls, tokens, price and time; SINK is not touched, nothing is asked."

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> int:  # type: ignore[override]
        """Prints the estimate; 0, or 2 (OptionError) where no teacher is named."""
        from stages.sft.teacher.estimate import estimate

        if self.teacher is None:
            raise OptionError(
                "no teacher is named, so nothing would be asked",
                "give --teacher '{kind: endpoint, url: ..., model: ...}'",
            )
        chosen = self.model_dump(exclude={"dry_run"}, exclude_unset=True) | {"kinds": self.kinds}
        reading = Reading(*(store.path for stores in inputs.stores.values() for store in stores))
        found = estimate(Sft.build(chosen, "sft"), inputs).summary()
        reading.check()
        print(found)
        return 0


class CompareTeachers(Options):
    """Ask several teachers about the same passages and set their answers side by side: usable, grounded, length, cost."""

    verb: ClassVar[str] = "teacher compare"
    arguments: ClassVar[tuple[str, ...]] = ("source",)

    source: str = Field()
    "The DOCUMENT store the passages are drawn from."
    teachers: list[Any] = Field(default_factory=list)
    "Two or more teachers, each a mapping as in a recipe's `teacher:`, or the path of a YAML file that holds one or a list."
    probes: int = Field(20, ge=1, le=1000)
    "Passages asked about; the first so many by a hash of seed and document."
    pairs: int = Field(3, ge=1, le=8)
    "Question-answer pairs asked for per passage."
    journals: str = "teacher-compare"
    "Folder for the journals of calls: asked again, a finished call is not made again."
    grounding: Grounding = Grounding()
    "The gate answers are held to."
    seed: int = 17
    "Seed of the draw."

    @field_validator("teachers", mode="before")
    @classmethod
    def _options(cls, given: Any) -> Any:
        items = given if isinstance(given, (list, tuple)) else [given]
        return [options for item in items for options in _teachers(item)]

    def run(self) -> int:
        """Prints one line per teacher; 0, or 1 where a teacher answered nothing usable."""
        from stages.sft.teacher.compare import compare

        if len(self.teachers) < 2:
            raise OptionError("one teacher cannot be compared", "give --teachers twice, or a file with a list")
        source = Store(self.source)
        source.require()
        reading = Reading(source.path)
        table = compare(self.teachers, source, self.probes, self.pairs, Path(self.journals), self.grounding, self.seed)
        reading.check()
        print("\n".join(row.summary() for row in table))
        return 0 if all(row.usable for row in table) else 1


def _teachers(item: Any) -> list[TeacherOptions]:
    """Teachers out of a mapping, or of a YAML file with one or a list."""
    if isinstance(item, TeacherOptions):
        return [item]
    if isinstance(item, str):
        import yaml

        try:
            item = yaml.safe_load(Path(item).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            raise ValueError(f"{item} is no readable YAML file") from None
    entries = item if isinstance(item, list) else [item]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("a teacher is a mapping with `kind:`")
    return [TeacherOptions.build({"sampling": Sampling(), **entry}, "teacher") for entry in entries]
