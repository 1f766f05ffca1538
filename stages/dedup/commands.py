"""Verbs of the stage: `maetdol dedup plan`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from stages.dedup import Dedup


class PlanDedup(Dedup):
    """Show what `dedup` would remove, per source and host, with the largest clusters; write it to FILE and nothing else."""

    verb: ClassVar[str] = "dedup plan"
    arguments: ClassVar[tuple[str, ...]] = ("source", "file")

    source: str = Field()
    "The store to look at."
    file: str = Field()
    "Where to write the plan (JSON); `maetdol dedup SOURCE SINK --apply FILE` commits it."
    against: list[str] = Field(default_factory=list)
    "Stores to compare with and leave alone."

    def run(self) -> int:  # type: ignore[override]
        """0, or 1 where a source loses more than the caps allow."""
        from pipeline.pool import Inline
        from pipeline.stage import Inputs
        from pipeline.store import Store
        from stages.dedup import preview
        from stages.dedup.plan import Plan

        chosen = self.model_dump(exclude={"source", "file", "against"}, exclude_unset=True)
        inputs = Inputs({"of": [Store(self.source)], **({"against": [Store(path) for path in self.against]} if self.against else {})})
        for stores in inputs.stores.values():
            for store in stores:
                store.require()
        target = Path(self.file)
        target.parent.mkdir(parents=True, exist_ok=True)
        plan = Plan.of(Dedup.build(chosen, "dedup"), inputs, Store(preview.passes_of(target)))
        page = preview.write(plan, inputs, Inline(), target)
        print(said(page, target))
        return 1 if page["over_caps"] else 0


def said(page: dict, target: Path) -> str:
    """The plan in a few lines."""
    lines = [f"{page['removed']:,} of {page['rows']:,} rows would go"]
    lines += [f"  {name:<40} {removed:>9,} of {rows:>9,}" for name, (rows, removed) in list(page["sources"].items())[:10]]
    lines += [f"  cluster of {entry['documents']:,} around {entry['keeper']['id']}" for entry in page["largest"][:5]]
    if page["over_caps"]:
        lines.append(f"stopped: {len(page['over_caps'])} sources lose too much: " + ", ".join(list(page["over_caps"])[:5]))
    return "\n".join([*lines, f"plan      {target}"])
