"""Components of synthetic edges in one task, or spread over several: seconds and peak memory.

    python tests/bench/dedup/edges.py FOLDER --edges 100000000 --seed 17 [--memory 512]

Edges lie in link shards as the pass `link` writes them, in random order: one star of a tenth of the edges (a template's
bucket), chains of a hundred (edits of edits), pairs, and a fifth that say again what others said. The pass `cluster` then runs
as it is, in a process of its own. With --memory the passes of `components.py` run one after the other in that process, so its
peak is that of a worker; edges that lie in FOLDER already are taken as they are. --scatter gives the documents other numbers
(a multiplication modulo their count), so that the members of a component lie in all ranges.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import sys
import time
from pathlib import Path

import numpy as np
import psutil

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SHARD = 2_000_000


def edges(total: int, seed: int, scatter: bool = False):
    """(left, right, nodes) in pieces of SHARD, shuffled as a whole by a permutation of blocks and within them."""
    draw = np.random.default_rng(seed)
    star, chain, pairs = total // 10, 4 * total // 10, 3 * total // 10
    nodes = (star + 1) + (chain + chain // 99 + 1) + 2 * pairs
    for piece in range(0, total, SHARD):
        kind = draw.random(min(SHARD, total - piece))
        left, right = np.empty(len(kind), np.int64), np.empty(len(kind), np.int64)
        at = kind < 0.1
        left[at], right[at] = 0, draw.integers(1, star + 1, at.sum())
        at = (kind >= 0.1) & (kind < 0.6)
        steps = draw.integers(0, chain, at.sum())
        left[at] = star + 1 + steps + steps // 99
        right[at] = left[at] + 1
        at = kind >= 0.6
        first = star + 1 + chain + chain // 99 + 1 + 2 * draw.integers(0, pairs, at.sum())
        left[at], right[at] = first, first + 1
        if scatter:
            step = next(step for step in range(int(nodes * 0.618), nodes) if math.gcd(step, nodes) == 1)
            left, right = left * step % nodes, right * step % nodes
        yield left, right, nodes


def run(folder: Path, nodes: int, memory: int, say) -> None:
    from pipeline.storage.store import Store
    from stages.dedup.corpus import Corpus, InputPart
    from stages.dedup.near import cluster
    from stages.dedup.passes import PassTask

    parts, first = [], 0
    while first < nodes:
        rows = min(1 << 20, nodes - first)
        parts.append(InputPart(Store(folder / "none"), len(parts), "", first, rows, False))
        first += rows
    began = time.process_time()
    if memory:
        notes = spread(folder, Corpus(dict(enumerate(parts))), memory)
        say.send((time.process_time() - began, notes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
        return
    task = PassTask(
        Store(folder / "cluster"),
        0,
        "bench",
        cluster.Graph(Corpus(dict(enumerate(parts))), Store(folder / "minhash"), Store(folder / "link")),
    )
    receipt = cluster.find_components(task)
    say.send((time.process_time() - began, receipt.notes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def spread(folder: Path, corpus, memory: int) -> dict:
    """Run the passes; what the receipts of the last say together, rounds and bytes written, and CPU seconds by pass."""
    from pipeline.engine.pool import Inline
    from pipeline.storage.store import Store
    from stages.dedup.near import cluster, components

    ranges = components.ranges_of(corpus.rows, memory)
    assert ranges is not None, "one task holds it"
    seconds: dict[str, float] = {}

    class Timed(Inline):
        def each(self, fn, tasks, **more):
            for task in tasks:
                began = time.process_time()
                yield from super().each(fn, [task], **more)
                name = task.sink.name
                seconds[name] = seconds.get(name, 0.0) + time.process_time() - began

    sink, scratch = Store(folder / "spread"), Store(folder / "scratch")
    work = components.Distributed(
        cluster.Graph(corpus, Store(folder / "minhash"), Store(folder / "link")),
        scratch,
        sink,
        ranges,
        "bench",
        Timed(),
    )
    made = work.run({number: f"bench {number} of {ranges.count}" for number in range(ranges.count)})
    notes = {name: sum(receipt.notes[name] for receipt in made) for name in ("components", "documents")}
    notes |= {
        "lots": max(receipt.notes["lots"] for receipt in made),
        "ranges": ranges.count,
        "CPU s": {name: round(each, 1) for name, each in seconds.items()},
    }
    return notes | {
        "GB between": round(sum(file.stat().st_size for file in Path(scratch.path).rglob("*.arrow")) / 1e9, 1)
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument("--edges", type=int, default=100_000_000)
    words.add_argument("--seed", type=int, default=17)
    words.add_argument("--memory", type=int, default=0, help="MiB a task: spread over ranges")
    words.add_argument("--scatter", action="store_true")
    given = words.parse_args()
    import pyarrow as pa

    from pipeline.storage.ledger import COLUMNS
    from pipeline.storage.store import Store
    from stages.dedup.columns import blocks

    link, signatures = Store(given.folder / "link"), Store(given.folder / "minhash")
    for number, (left, right, nodes) in enumerate(edges(given.edges, given.seed, given.scatter)):
        if link.receipt(number) is None:
            link.put(number, blocks(left=left, right=right), COLUMNS.empty_table(), key="bench")
    for number in range(-(-nodes // (1 << 20))):
        rows = min(1 << 20, nodes - (number << 20))
        signatures.put(
            number, pa.table({"size": pa.array(np.full(rows, 4000, np.int64))}), COLUMNS.empty_table(), key="bench"
        )
    ear, mouth = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run, args=(given.folder, nodes, given.memory, mouth))
    process.start()
    peak = 0
    while not ear.poll(0.05):
        try:
            held = psutil.Process(process.pid).memory_info()
            peak = max(peak, held.rss - getattr(held, "shared", 0))
        except psutil.Error:
            break
    seconds, notes, most = ear.recv()
    process.join()
    print(f"{given.edges:,} edges over {nodes:,} documents, seed {given.seed}: {notes}")
    print(
        f"{seconds:.1f} CPU s; peak of its own memory {peak / 2**30:.2f} GiB, with mapped files {most / 2**20:.2f} GiB"
    )


if __name__ == "__main__":
    main()
