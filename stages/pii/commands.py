"""What `pii` can do instead of editing: look again at stores that are said to be clean, `maetdol pii --audit STORE...`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.deletion.forgotten import Reading
from pipeline.errors import SourceError, UsageError
from pipeline.inspection.inspect import stores_of
from pipeline.options import CONTENT, Options
from pipeline.schema import TEXT_FIELDS
from pipeline.storage.store import Store
from stages.pii import Pii

if TYPE_CHECKING:
    from stages.pii.rewrite import RewritePlan


class Audit(Options):
    """Look for personal data in every text-bearing field of stores; exit code 1 when any is found. Never prints a value."""

    verb: ClassVar[str] = "pii --audit"
    arguments: ClassVar[tuple[str, ...]] = ("stores",)

    stores: tuple[str, ...] = Field(min_length=1)
    "Stores of documents, chats or pairs; or the root of a run: every such store in it that `pii` made or that was made from one."
    entities: tuple[str, ...] = ()
    "Kinds looked for; default: every kind that patterns find, but for public hotlines."
    keep: tuple[str, ...] = ()
    "Kinds that were left in place on purpose."
    min_score: float = Field(0.5, ge=0.05, le=1.0)
    "Least score, 0 to 1, as in the stage."
    names: Literal["off", "rules", "model"] = "off"
    "Look for names too, as in the stage."
    model: Annotated[str | None, CONTENT] = None
    "Folder of the model for `names: model`."
    recognizers: Annotated[str | None, CONTENT] = None
    "YAML file of further presidio recognisers, as in the stage."
    show: int = Field(10, ge=0)
    "Rows named per store, by id, field and position."

    def run(self) -> int:
        leaking = 0
        plan = self.stage().plan()
        for store in [store for path in self.stores for store in behind_pii(path)]:
            reading = Reading(store.path)
            leaks = audited(store, plan, self.show)
            reading.check()
            leaking += bool(leaks.counts)
            print(leaks.lines(store.path))
        return 1 if leaking else 0

    def stage(self) -> Pii:
        """The stage whose eyes are used."""
        given = {
            name: getattr(self, name) for name in ("entities", "keep", "min_score", "names", "model", "recognizers")
        }
        return Pii.build(given, "pii")


def behind_pii(path: str) -> list[Store]:
    """The store at `path`; of a run's root, its stores of texts at and behind a step `pii`. SourceError where that is none."""
    if Store(path).fs.exists("manifest.json"):
        return [Store(path)]
    behind: dict[str, Store] = {}
    for store in stores_of(path):
        manifest = store.require()
        sources = {entry["store"] for entries in (manifest.get("lineage") or {}).values() for entry in entries}
        if manifest.get("stage") == "pii" or sources & set(behind):
            behind[store.name] = store
    texts = [store for store in behind.values() if has_texts(store)]
    if not texts:
        raise SourceError(f"{path} has no finished step `pii`", "run one there, or name the stores to look at")
    return texts


def has_texts(store: Store) -> bool:
    return bool(TEXT_FIELDS.get(store.require().get("shape") or "", ()))


class Leaks:
    """What an audit found: counts by (field, kind), and the first examples."""

    def __init__(self) -> None:
        self.rows = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.examples: list[str] = []

    def lines(self, path: str) -> str:
        if not self.counts:
            return f"{path}: {self.rows:,} rows, nothing found"
        found = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        parts = [f"{path}: {self.rows:,} rows, {sum(self.counts.values()):,} LEAKS"]
        parts += [f"  {kind} in {field}: {n:,}" for (field, kind), n in found]
        return "\n".join(parts + [f"  {example}" for example in self.examples])


def audited(store: Store, plan: RewritePlan, show: int = 10) -> Leaks:
    """Findings in every row of `store` whose action under `plan` is not keep. SourceError for a store without texts."""
    from stages.pii.rewrite import findings

    if not has_texts(store):
        raise SourceError(f"{store.path} holds no texts", "give a store of documents, chats or pairs")
    if store.require().get("dropped_text"):
        raise UsageError(f"the rows of {store.path} were deleted after pii", "audit the stores that still have rows")
    leaks = Leaks()
    for shard in store.shards():
        for batch in store.batches(shard):
            leaks.rows += len(batch)
            for row, by_slot in findings(batch, plan.find).items():
                for slot, found in by_slot.items():
                    for finding in found:
                        if plan.actions[finding.entity] == "keep":
                            continue
                        leaks.counts[slot.field, finding.entity] += 1
                        if len(leaks.examples) < show:
                            leaks.examples.append(
                                f"{batch.column('id')[row]} {slot.path} {finding.start}:{finding.end} {finding.entity} ({finding.rule})"
                            )
    return leaks
