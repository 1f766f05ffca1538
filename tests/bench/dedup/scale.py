"""maetdol dedup (or another stage) at several sizes: CPU seconds, seconds per document, megabytes a second, peak memory; Inline beside Ray.

    python tests/bench/dedup/scale.py CORPUS [CORPUS ...] [--workers 2] [--rounds 3] [--scratch FOLDER] [--stage pii]

Each CORPUS comes from make_corpus.py (for Ray with --shards). Memory is the processes' own (mapped files left out): the sum
over the tree, and the most that one process held. With --workers each size runs on Ray too, in turns, and the bytes are held against
each other.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
sys.path.insert(0, str(REPO))
sys.path.insert(0, str(HERE))


def measured(command: list[str]) -> tuple[float, float, float, float]:
    """(CPU s, wall s, peak MB of the tree, peak MB of one process)."""
    from compare import environment

    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(), cwd=REPO)
    whole = single = 0
    cpu: dict[int, float] = {}
    while process.poll() is None:
        held = []
        try:
            for each in [process, *process.children(recursive=True)]:
                try:
                    held.append(each.memory_full_info().uss)
                    times = each.cpu_times()
                    cpu[each.pid] = times.user + times.system
                except psutil.Error:
                    continue
        except psutil.Error:
            pass
        whole, single = max(whole, sum(held)), max(single, max(held, default=0))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Ray's processes are not all waited for: what was last seen of them counts, where that is more.
    return max(used, sum(cpu.values())), time.monotonic() - began, whole / 1e6, single / 1e6


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("corpora", type=Path, nargs="+")
    words.add_argument("--workers", type=int, default=0)
    words.add_argument("--rounds", type=int, default=1, help="alternating; the table shows medians")
    words.add_argument("--scratch", help="folder for the output, where the system's own is small")
    words.add_argument("--stage", default="dedup", help="one that reads a store of documents")
    given = words.parse_args()
    from pipeline.storage.store import Store

    print(
        "| corpus | MB | documents | run | CPU s | wall s | ms a document | MB/s of CPU | peak MB | peak MB, one process | load |\n|"
        + "---|" * 11
    )
    for corpus in given.corpora:
        store = Store(corpus / "store")
        rows, size = store.require()["rows"], os.path.getsize(corpus / "docs.jsonl") / 1e6
        runs: dict[int, list[tuple[float, ...]]] = {
            workers: [] for workers in [1, *([given.workers] if given.workers else [])]
        }
        made = set()
        for _ in range(given.rounds):
            for workers, figures in runs.items():
                with tempfile.TemporaryDirectory(prefix="bench-dedup-", dir=given.scratch) as out:
                    load = os.getloadavg()[0]
                    words = [
                        sys.executable,
                        "-m",
                        "pipeline.cli",
                        given.stage,
                        store.path,
                        f"{out}/store",
                        "--workers",
                        str(workers),
                    ]
                    figures.append((*measured(words), load))
                    made.add(bytes_of(Store(f"{out}/store")))
        for workers, figures in runs.items():
            cpu, wall, whole, single, load = (statistics.median(column) for column in zip(*figures))
            name = "Inline" if workers == 1 else f"Ray, {workers} workers"
            cells = f"{cpu:.1f} | {wall:.1f} | {1000 * cpu / rows:.3f} | {size / cpu:.0f} | {whole:.0f} | {single:.0f} | {load:.1f}"
            print(f"| {corpus.name} | {size:.0f} | {rows:,} | {name} | {cells} |", flush=True)
        print(f"{corpus.name}: {'the same bytes every time' if len(made) == 1 else 'BYTES DIFFER'}", flush=True)


def bytes_of(store) -> tuple[str, ...]:
    """Hashes of every shard and ledger."""
    return tuple(
        word
        for number in store.shards()
        for word in (store.receipt(number).bytes_hash, store.receipt(number).ledger_hash)
    )


if __name__ == "__main__":
    main()
