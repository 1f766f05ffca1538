"""What steps ask of object storage: counted on a little of the input, in a storage in memory, and carried over by shards.

The same files are run twice, as one shard or two and as several: what more shards ask more is each shard's, the rest is fixed.
Requests follow from shards and hardly from their bytes. Two things are not in it: the levels of merging in exchanges of more than 64
shards, and shards of more than 100 MB, which are put in parts. Steps are run one by one, as if none were fused.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from pipeline.engine import run as runs
from pipeline.engine.pool import Inline
from pipeline.engine.recipe import Recipe, RunOptions, Step
from pipeline.engine.stage import InputSampler

COUNTED = 4 << 20
"""Bytes of input of the runs that count; both lie in memory, with all that is made of them."""
SHARDS = 8
"""Shards of the second one, about."""
ROOT = "counted://plan/root"


class StepRequests(NamedTuple):
    """What a step asked in one run, the shards it read (of a step that reads files: made), and those it made."""

    requests: Counter[str]
    read: int
    made: int


class RequestLine(NamedTuple):
    """Requests of a step by the shards it reads: `fixed` of any number, and `each` of them."""

    fixed: dict[str, float]
    each: dict[str, float]

    @classmethod
    def through(cls, few: StepRequests, many: StepRequests) -> RequestLine:
        """In proportion to `many` where both runs had as many shards: nothing says what is fixed."""
        kinds, more = {*few.requests, *many.requests}, many.read - few.read
        if more > 0:
            each = {kind: max(0.0, (many.requests[kind] - few.requests[kind]) / more) for kind in kinds}
        else:
            each = {kind: many.requests[kind] / max(1, many.read) for kind in kinds}
        return cls({kind: many.requests[kind] - each[kind] * many.read for kind in kinds}, each)

    def at(self, shards: float) -> dict[str, int]:
        """Requests by kind, whole ones, of which there are any."""
        found = {kind: round(self.fixed[kind] + each * shards) for kind, each in sorted(self.each.items())}
        return {kind: count for kind, count in found.items() if count > 0}


def counted(
    recipe: Recipe, steps: list[Step], samplers: dict[str, InputSampler], cache: str
) -> dict[str, dict[str, int]]:
    """Requests by step and kind of all of the input, were the root on object storage. Artefacts are fetched to the folder `cache`."""
    with _storage(cache):
        few, many = (_run(recipe, steps, samplers, shards) for shards in (1, SHARDS))
    made: dict[str, float] = {}
    found: dict[str, dict[str, int]] = {}
    for step in steps:
        name, larger = step.name, many[step.name]
        if name in samplers:
            read = float(samplers[name].shards)
        else:
            ports = type(step.stage).ports
            refs = [(port, ref) for port, refs in step.ports.items() for ref in refs]
            shards = (made[ref] if ref in made else len(ports[port].store(ref).shards()) for port, ref in refs)
            read = sum(shards) or 1.0
        made[name] = read * larger.made / max(1, larger.read)
        outside = samplers[name].requests if name in samplers else {}
        found[name] = dict(Counter(RequestLine.through(few[name], larger).at(read)) + Counter(outside))
    return found


@contextmanager
def _storage(cache: str) -> Iterator[None]:
    """`counted://` is an empty storage while the block lasts, and what is fetched from there goes to `cache`."""
    import fsspec

    from pipeline.estimate.counted import S3Counted

    fsspec.register_implementation("counted", S3Counted, clobber=True)
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = cache
    try:
        yield
    finally:
        S3Counted.store.clear()
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def _run(recipe: Recipe, steps: list[Step], samplers: dict[str, InputSampler], shards: int) -> dict[str, StepRequests]:
    """Run one step after the other on COUNTED bytes, of which about `shards` are made."""
    from pipeline.estimate.counted import S3Counted

    found: dict[str, StepRequests] = {}
    some: list[Step] = []
    again: Counter[str] = Counter()
    S3Counted.store.clear()

    def requests_of(page: Recipe) -> Counter[str]:
        S3Counted.requests.clear()
        runs.run(page, pool=Inline())
        return Counter(S3Counted.requests)

    for step in steps:
        if step.name in samplers:
            step = replace(step, stage=samplers[step.name].draw(COUNTED, shards).stage)
        some.append(step)
        page = replace(recipe, root=ROOT, steps=tuple(some), run=RunOptions(pool="inline"))
        requests = requests_of(page)
        requests.subtract(again)  # looking at the steps before
        again = requests_of(page)
        made = len(page.store(step.name).shards())
        stores = [store for stores in runs.inputs_of(page, step).stores.values() for store in stores]
        read = made if step.name in samplers else sum(len(store.shards()) for store in stores)
        found[step.name] = StepRequests(requests, max(1, read), made)
    return found
