"""What `dedup` can do instead of removing: show what it would remove, `maetdol dedup A B --plan FILE`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from pipeline.deletion.forgotten import writing
from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.storage.files import disk_error
from pipeline.storage.store import Store
from stages.dedup import Dedup


class PlanDedup(Dedup):
    """Show what `dedup` would remove, per source and host, with the largest clusters; write it to FILE and nothing else."""

    verb: ClassVar[str] = "dedup --plan"

    plan: str
    """Only write FILE (JSON): what would go, per source and host, the largest clusters with samples, a histogram. SINK is not
    touched; `--apply FILE` commits it. Exit code 1 where a source would lose more than `caps`."""

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> int:  # type: ignore[override]
        """0, or 1 where a source loses more than the caps allow."""
        from stages.dedup import plan
        from stages.dedup.run import Run

        if self.apply is not None:
            raise UsageError("dedup: --plan and --apply together", "make the plan, look at it, then apply it")
        target = Path(self.plan)
        stage = Dedup.build(self.model_dump(exclude={"plan"}, exclude_unset=True), "dedup")
        run = Run.of(stage, inputs, Store(plan.passes_of(target)))
        try:
            os.makedirs(target.parent, exist_ok=True)
        except OSError as fault:
            raise disk_error(fault, target.parent) from None
        with writing(run.sink.path):
            page = plan.write(run, inputs, pool, target)
        print(plan.as_text(page, target))
        return 1 if page["over_caps"] else 0
