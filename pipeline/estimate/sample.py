"""What a recipe would take on all of its input: measured on a sample of it, step by step.

Three runs in a folder of their own: of a file or two, so that kernels and models are loaded, then of half the sample and of all of it.
What a step took of all of it (CPU seconds of its receipts, bytes written, the process's highest memory) is carried over in proportion
to the bytes it reads; CPU seconds of a step that trains an artefact along the line through the last two runs, since much of that is the
same for any input. (For other steps a line says more of how unlike the files are: half of real pages costs twice as much as the
other half.) What a step writes is what the next one reads. Steps that run a model or call a teacher, and all that need those, are
named and left out. Two things are not in proportion: more of a larger corpus are duplicates, and what is sorted or joined over the
whole of it grows a little faster than it.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.engine import progress
from pipeline.engine import run as runs
from pipeline.engine.pool import Inline
from pipeline.engine.recipe import Recipe, RunOptions, Step
from pipeline.engine.stage import InputSample, InputSampler
from pipeline.errors import UsageError
from pipeline.estimate import peak
from pipeline.estimate.requests import counted
from pipeline.storage.store import ARTEFACT, Store

WARM = 1 << 20
"""Bytes of input of the first run."""
SAMPLES = 4
"""A finished store that a step reads whole may have so many times the sample's bytes; a larger one is no small side input."""


@dataclass(frozen=True)
class Prices:
    """Money, in any currency: of a core for an hour, of a GB (10**9 bytes) stored for a month, and of a million requests that read (GET,
    HEAD) or write and list (PUT, LIST). Deleting is free."""

    core_hour: float = 0.0
    gb_month: float = 0.0
    million_reads: float = 0.0
    million_writes: float = 0.0


@dataclass(frozen=True)
class StepCost:
    """One step: measured on the sample, and carried over to the whole input."""

    step: str
    stage: str
    left_out: str = ""
    """Why there are no numbers."""
    sample_bytes: int = 0
    """Bytes the step read in the sample: of files as they lie, of stores their rows."""
    sample_cpu: float = 0.0
    """CPU seconds."""
    read: int = 0
    """The rest is of the whole input. Bytes read."""
    rows: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    """Seconds with as many workers as there are, all of them busy; of an artefact, which one task makes, of one."""
    memory: int | None = None
    """Highest memory of the process that ran it on the sample, bytes: what one worker needs."""
    disk: int = 0
    """Bytes of the step's store: rows, ledgers, receipts, and what its passes keep."""
    requests: dict[str, int] = field(default_factory=dict)
    """Requests to object storage by kind, were the root there; empty where they were not counted."""


@dataclass(frozen=True)
class RecipeCost:
    """What a recipe would take."""

    recipe: str
    workers: int
    sample_bytes: int
    whole_bytes: int
    """Of the files that are read."""
    start: float
    """CPU seconds until a worker has loaded what the steps need: once a worker."""
    steps: list[StepCost]

    @property
    def cpu(self) -> float:
        """CPU seconds, the start of every worker included."""
        return sum(step.cpu for step in self.steps) + self.workers * self.start

    @property
    def wall(self) -> float:
        """Seconds at least."""
        return sum(step.wall for step in self.steps) + self.start

    @property
    def disk(self) -> int:
        return sum(step.disk for step in self.steps)

    @property
    def requests(self) -> Counter[str]:
        """To object storage, by kind."""
        return sum((Counter(step.requests) for step in self.steps), Counter())

    def money(self, prices: Prices) -> dict[str, float]:
        """`run`: of the CPU hours; `month`: of the disk for a month; `requests`: of those to object storage."""
        total = self.requests
        return {
            "run": self.cpu / 3600 * prices.core_hour,
            "month": self.disk / 1e9 * prices.gb_month,
            "requests": (total["GET"] + total["HEAD"]) / 1e6 * prices.million_reads
            + (total["PUT"] + total["LIST"]) / 1e6 * prices.million_writes,
        }

    def page(self, prices: Prices) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {
            **asdict(self),
            "cpu": self.cpu,
            "wall": self.wall,
            "disk": self.disk,
            "requests": dict(self.requests),
            "money": self.money(prices),
        }


def estimate(recipe: Recipe, most: int, workers: int, scratch: str | None = None, requests: bool = False) -> RecipeCost:
    """Run `recipe` on about `most` bytes of its input in a folder below `scratch` (default: the system's), which is deleted; with
    `requests`, also twice on a little of it in memory, so that requests are counted. UsageError where no step reads files, or a step
    reads a large finished store."""
    reasons = not_estimated(recipe)
    steps = [step for step in recipe.steps if not reasons[step.name]]
    samplers = samplers_of(steps)
    if not samplers:
        raise UsageError(
            "no step of this recipe reads files of which a sample could be taken",
            "plan a recipe whose first step reads files",
        )
    _check_stores(recipe, steps, most)
    sampled = {name: sampler.draw(most, 0) for name, sampler in samplers.items()}
    with tempfile.TemporaryDirectory(prefix="maetdol-plan-", dir=scratch) as folder:
        first = measured(recipe, steps, samplers, f"{folder}/first", WARM)
        trains = any(_is_artefact(step) for step in steps)
        half = measured(recipe, steps, samplers, f"{folder}/half", most // 2) if trains else {}
        found = measured(recipe, steps, samplers, f"{folder}/sample", most)
        requested = counted(recipe, steps, samplers, f"{folder}/cache") if requests else {}
    lines = {
        step.name: CostLine.through(half[step.name] if _is_artefact(step) else found[step.name], found[step.name])
        for step in steps
    }
    whole = {
        name: replace(cost, requests=requested.get(name, {}))
        for name, cost in _carried_over(recipe, steps, sampled, found, lines, workers)
    }
    start = sum(max(0.0, first[step.name].cpu - lines[step.name].at(first[step.name].read)) for step in steps)
    estimates = [
        whole.get(step.name) or StepCost(step.name, step.stage_name, reasons[step.name]) for step in recipe.steps
    ]
    taken, all_of_it = (sum(getattr(each, name) for each in sampled.values()) for name in ("taken", "whole"))
    return RecipeCost(recipe.name, workers, taken, all_of_it, start, estimates)


def not_estimated(recipe: Recipe) -> dict[str, str]:
    """Why a step is left out, by name; empty for one that is measured."""
    found: dict[str, str] = {}
    for step in recipe.steps:
        reason = step.stage.not_estimated()
        for port, refs in step.ports.items():
            without = [ref for ref in refs if found.get(ref)]
            if without:
                reason = reason or f"needs {', '.join(without)}"
            elif refs and "artefact:model" in type(step.stage).ports[port].shape.split("|"):
                reason = reason or "runs a model"
        found[step.name] = reason
    return found


def _is_artefact(step: Step) -> bool:
    return (step.shape or "").startswith("artefact:")


def _check_stores(recipe: Recipe, steps: list[Step], most: int) -> None:
    names = {step.name for step in recipe.steps}
    for step in steps:
        for port, refs in step.ports.items():
            for ref in refs:
                if ref not in names:
                    rows = type(step.stage).ports[port].store(ref).require()["bytes"]
                    if rows > SAMPLES * most:
                        raise UsageError(
                            f"step {step.name!r} reads the finished store {ref} ({rows:,} bytes), of which no sample is taken",
                            "give a larger --sample, or plan the recipe that made it",
                        )


@dataclass(frozen=True)
class StepMeasure:
    """What a step took in a run: bytes, CPU seconds, rows."""

    read: int
    written: int
    cpu: float
    rows: int
    memory: int | None
    disk: int


def samplers_of(steps: list[Step]) -> dict[str, InputSampler]:
    """The input files of the steps that read some, by name of the step."""
    return {step.name: sampler for step in steps if (sampler := step.stage.sampler()) is not None}


def measured(
    recipe: Recipe, steps: list[Step], samplers: dict[str, InputSampler], root: str, most: int
) -> dict[str, StepMeasure]:
    """Run the steps in this process, on about `most` bytes of input."""
    found: dict[str, StepMeasure] = {}
    taken: dict[str, InputSample] = {}
    some: list[Step] = []
    for step in steps:
        if step.name in samplers:
            taken[step.name] = samplers[step.name].draw(most, 0)
            step = replace(step, stage=taken[step.name].stage)
        some.append(step)
        page = replace(recipe, root=root, steps=tuple(some), run=RunOptions(pool="inline"))
        peak.begin()
        runs.run(page, pool=Inline())
        store = page.store(step.name)
        manifest = store.require()
        found[step.name] = StepMeasure(
            taken[step.name].taken if step.name in taken else _bytes_before(page, step),
            manifest["bytes"],
            sum(receipt.cpu_seconds for receipt in _receipts(store)),
            manifest["rows"],
            peak.highest(),
            _size(Path(store.path)),
        )
        progress.current.say(f"{step.name}: {found[step.name].cpu:.1f} CPU s")
    return found


def _receipts(store: Store) -> Iterator[Any]:
    """Of the store and of its passes."""
    for one in [store, *(store.sub(f"passes/{name}") for name in store.fs.sub("passes").folders())]:
        yield from one.receipts().values()
        if (artefact := one.receipt(ARTEFACT)) is not None:
            yield artefact


def _bytes_before(page: Recipe, step: Step) -> int:
    return sum(store.require()["bytes"] for stores in runs.inputs_of(page, step).stores.values() for store in stores)


def _size(folder: Path) -> int:
    return sum(os.lstat(Path(base, name)).st_size for base, _, names in os.walk(folder) for name in names)


class CostLine(NamedTuple):
    """CPU seconds of a step by the bytes it reads: `fixed` of any input, and `each` byte."""

    fixed: float
    each: float

    @classmethod
    def through(cls, less: StepMeasure, more: StepMeasure) -> CostLine:
        """In proportion to `more` where the two say that nothing is fixed, or not what is."""
        each = more.cpu / more.read if more.read else 0.0
        if more.read > less.read:
            each = min(each, max(0.0, (more.cpu - less.cpu) / (more.read - less.read)))
        return cls(more.cpu - each * more.read, each)

    def at(self, read: float) -> float:
        return self.fixed + self.each * read


def _carried_over(
    recipe: Recipe,
    steps: list[Step],
    sampled: dict[str, InputSample],
    found: dict[str, StepMeasure],
    lines: dict[str, CostLine],
    workers: int,
) -> Iterator[tuple[str, StepCost]]:
    """Every step's estimate, by name: what an earlier one would write is what a later one would read."""
    written: dict[str, float] = {}
    for step in steps:
        measure = found[step.name]
        if step.name in sampled:
            read = float(sampled[step.name].whole)
        else:
            read = sum(
                written[ref] if ref in written else type(step.stage).ports[port].store(ref).require()["bytes"]
                for port, refs in step.ports.items()
                for ref in refs
            )
        factor = read / measure.read if measure.read else 1.0
        written[step.name] = measure.written * factor
        limit = step.stage.most_read()
        worked = read if limit is None else min(read, max(limit, measure.read))
        cpu = lines[step.name].at(worked)
        alone = _is_artefact(step)
        grown = 1.0 if alone else factor
        yield (
            step.name,
            StepCost(
                step.name,
                step.stage_name,
                sample_bytes=measure.read,
                sample_cpu=measure.cpu,
                read=int(read),
                rows=int(measure.rows * grown),
                cpu=cpu,
                wall=cpu if alone else cpu / workers,
                memory=measure.memory,
                disk=int(measure.disk * grown),
            ),
        )
