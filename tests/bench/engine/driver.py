"""CPU seconds and memory of the driver for many shards, with a stub of work: what it does for each shard, and nothing else.

    python tests/bench/engine/driver.py [--shards 1000 10000] [--stage quality dedup]

The input is a manifest of so many shards. The pool pickles every task, as Ray does, and answers with the pickled receipt that
a worker would have sent; nothing is read or written but manifests, lists of receipts and an empty file for each receipt. `quality` is a stage of one task a shard;
`dedup` is the pass `band` of one task a part, whose tasks carry the run.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))


class Answering:
    """A pool whose workers answer at once."""

    workers = 2

    def __init__(self, sink: Path):
        self.sink, self.sent = sink, 0

    def each(self, fn: Any, tasks: Iterable[Any], **_: Any) -> Iterator[Any]:
        from pipeline.storage.ledger import Receipt

        for task in tasks:
            data = pickle.dumps(task, protocol=5)
            self.sent += len(data)
            sizes = {f"{folder}/{task.number:05d}.{ending}": 12_345 for folder, ending in FILES.items()}
            receipt = Receipt("stub", task.number, task.key, f"{task.number:032x}", "0" * 32, 20, 12_345, sizes=sizes)
            there(self.sink, task.number)
            answer = receipt if hasattr(task, "given") else [receipt]
            yield pickle.loads(pickle.dumps(answer, protocol=5))

    def close(self) -> None: ...


class Reference:
    """What Ray's `put` gives: the value is pickled once."""

    def __init__(self, value: Any):
        self.name = str(len(pickle.dumps(value, protocol=5)))

    def hex(self) -> str:
        return self.name


FILES = {"shards": "arrow", "index": "ids", "ledger": "arrow"}


def there(folder: Path, shard: int) -> None:
    """What a commit looks for of a shard: a file of its receipt's name."""
    (folder / "receipts" / f"{shard:05d}.json").touch()


def laid(folder: Path, shards: int) -> Any:
    """A store whose manifest has so many shards, and no files."""
    from pipeline.storage.ledger import Receipt
    from pipeline.storage.store import Store

    store = Store(folder)
    known = {n: Receipt("ingest", n, "laid", f"{n:032x}", "0" * 32, 20, 12_345) for n in range(shards)}
    for number in known:
        there(folder, number)
    store.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "laid"}, list(known), known)
    return store


def quality(folder: Path, shards: int) -> Answering:
    """A shard stage: keys, tasks, receipts, and the manifest."""
    from pipeline.engine.stage import Inputs, Link, run_chain
    from pipeline.storage.store import Store
    from stages.quality import Quality

    stage = Quality.build({"filters": [{"word_count": {"min": 20}}]}, "quality")
    sink, pool = Store(folder / "out"), Answering(folder / "out")
    inputs = Inputs({"of": [Store(folder / "in")]})
    made = {receipt.shard: receipt for receipt in run_chain([Link(stage, inputs, sink, True)], pool)[0]}
    sink.commit_manifest({"stage": "quality", "shape": "DOCUMENT", "key": stage.key(inputs)}, list(made), made)
    return pool


def dedup(folder: Path, shards: int) -> Answering:
    """One pass of one task a part."""
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.dedup import Dedup
    from stages.dedup.corpus import Corpus
    from stages.dedup.keep import Policy
    from stages.dedup.near import band
    from stages.dedup.run import Run
    from stages.dedup.signatures.minhash import MinHashOptions

    stage, pool = Dedup.build({}, "dedup"), Answering(folder / "out")
    corpus = Corpus.of(Inputs({"of": [Store(folder / "in")]}))
    minhash = MinHashOptions(("text",), "DOCUMENT", stage.shingling(), 128, 1, stage.languages())
    policy, sink = Policy(("longest",), (), None, ("id",), corpus.new_rows), Store(folder / "out")
    run = Run(stage, corpus, sink, "key", minhash, stage.banding(), policy, sink)
    run.make("band", band.write_keys, [run] * shards, pool)
    return pool


STAGES = {"quality": quality, "dedup": dedup}


def measure(name: str, shards: int) -> None:
    """In this process: prints milliseconds a shard, MiB of the driver, bytes pickled a task."""
    from pipeline.engine import shared

    with tempfile.TemporaryDirectory(prefix="maetdol-driver-") as scratch:
        folder = Path(scratch)
        for store in ("in", "out"):
            (folder / store / "receipts").mkdir(parents=True)
        laid(folder / "in", shards)
        shared.begin(Reference)
        before, base = os.times(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pool = STAGES[name](folder, shards)
        after = os.times()
        spent = after.user + after.system - before.user - before.system
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"| {name} | {shards:,} | {1000 * spent / shards:.2f} | {peak / 1024:,.0f} | {(peak - base) / 1024:,.0f} | "
            f"{pool.sent / shards:,.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--stage", nargs="+", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--here", action="store_true", help="in this process: one stage, one number of shards")
    given = parser.parse_args()
    if given.here:
        measure(given.stage[0], given.shards[0])
        return
    print("| stage | shards | CPU ms a shard | peak MiB | of it beyond the start | bytes a task |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in given.stage:
        for shards in given.shards:
            subprocess.run(
                [sys.executable, __file__, "--here", "--stage", name, "--shards", str(shards)], check=True, cwd=REPO
            )


if __name__ == "__main__":
    main()
