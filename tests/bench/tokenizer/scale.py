"""Many short documents through the tokenizer's sampling and `pack` in worker processes: peak memory of every process, and CPU seconds.

    python tests/bench/tokenizer/scale.py --documents 1000000 10000000 [--workers 2] [--folder DIR]

A document is three film reviews (`../shared/data`) drawn from 400,000 and a number, 150 to 300 bytes; a shard is 250,000 of them. Peak memory
is the highest resident set (VmHWM, shared pages of mapped files counted) of this process and of every worker; CPU seconds are those of
the receipts. Printed as Markdown, for RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
import sys
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
ROWS = 250_000


def reviews():
    """All reviews as one Arrow array."""
    import pyarrow as pa

    with lzma.open(REPO.parent / "shared" / "data" / "C-nsmc-reviews.jsonl.xz", "rt", encoding="utf-8") as rows:
        return pa.array([json.loads(row)["text"] or "" for row in rows], pa.large_string())


def corpus(path: str, documents: int, texts) -> int:
    """Write a DOCUMENT store; returns the bytes of its texts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipeline.schema import DOCUMENT, doc_id
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store

    store, size = Store(path), 0
    for shard in range(-(-documents // ROWS)):
        draw = np.random.default_rng(shard)
        numbers = range(shard * ROWS, min(documents, (shard + 1) * ROWS))
        parts = [texts.take(pa.array(draw.integers(0, len(texts), len(numbers)))) for _ in range(3)]
        tail = pa.array([str(number) for number in numbers], pa.large_string())
        text = pc.binary_join_element_wise(*parts, tail, pa.scalar(" ", pa.large_string()))
        ids = pa.array([doc_id("scale", str(number)) for number in numbers], pa.large_string())
        known = {
            "id": ids,
            "content_id": ids,
            "text": text,
            "lang": pa.array(["ko", "en"] * (len(ids) // 2), pa.large_string()),
        }
        table = pa.table(
            [known[f.name] if f.name in known else pa.nulls(len(ids), f.type) for f in DOCUMENT], schema=DOCUMENT
        )
        store.put(shard, table, Ledger.rows(ids), key=f"scale{shard}", stage="ingest")
        size += pc.sum(pc.binary_length(text)).as_py()
    store.commit_manifest(
        {"stage": "ingest", "shape": "DOCUMENT", "key": "k", "lineage": {}, "schema": []}, store.shards()
    )
    return size


class Peaks:
    """The highest resident set of this process and of those it started, looked at ten times a second."""

    def __init__(self):
        self.workers: dict[int, int] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        self.own = _peak(Path("/proc/self/status"))

    def _look(self):
        while not self._end.wait(0.1):
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    if status.parent.name != str(os.getpid()) and _ours(status.parent):
                        self.workers[int(status.parent.name)] = _peak(status)
                except (OSError, StopIteration):
                    continue


class Processes:
    """A pool of processes that stay: a machine on which Ray does not start has them too."""

    def __init__(self, executor, workers: int):
        self._executor, self.workers = executor, workers

    def each(self, fn, tasks, **_):
        return self._executor.map(partial(_timed, fn), tasks)


def _timed(fn, task):
    from pipeline.storage.shards import clock

    clock.restart()
    return fn(task)


def _ours(process: Path) -> bool:
    """Does it descend from this process?"""
    while process.name not in ("0", "1", str(os.getpid())):
        parent = next(
            line.split()[1] for line in (process / "status").read_text().splitlines() if line.startswith("PPid")
        )
        process = process.parent / parent
    return process.name == str(os.getpid())


def _peak(status: Path) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) >> 10


def main() -> None:
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.pack import Pack
    from stages.tokenizer import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", default=None)
    asked = parser.parse_args()
    texts = reviews()
    print(
        "| documents | text, MB | step | CPU seconds | driver, peak MiB | workers, peak MiB each |\n|---|---|---|---|---|---|"
    )
    for documents in asked.documents:
        folder = Path(tempfile.mkdtemp(prefix="maetdol-scale-", dir=asked.folder))
        size = corpus(f"{folder}/docs", documents, texts)
        docs, tokenizer, packed = (Store(folder / name) for name in ("docs", "tokenizer", "packed"))
        steps = [
            ("tokenizer", Tokenizer(model_type="byte_bpe", vocab_size=8192, sample_mb=16), tokenizer, {"of": [docs]}),
            ("pack", Pack(), packed, {"of": [docs], "tokenizer": [tokenizer]}),
        ]
        for name, stage, sink, inputs in steps:
            with Peaks() as peaks, ProcessPoolExecutor(asked.workers, get_context("spawn")) as executor:
                receipts = stage.run(Inputs(inputs), sink, Processes(executor, asked.workers))
            passes = [
                r for part in sink.fs.sub("passes").folders() for r in sink.sub(f"passes/{part}").receipts().values()
            ]
            ledgers = [sink.receipt(one) for one in sink.ledger_names() if one.startswith("left-out-")]
            spent = sum(receipt.cpu_seconds for receipt in (*receipts, *passes, *ledgers))
            each = ", ".join(str(peak) for peak in sorted(peaks.workers.values(), reverse=True) if peak > 200)
            print(f"| {documents:,} | {size / 1e6:,.0f} | {name} | {spent:.1f} | {peaks.own} | {each} |", flush=True)
            if name == "tokenizer":
                sink.commit_manifest(
                    {"stage": "tokenizer", "shape": "artefact:tokenizer", "key": "k", "lineage": {}, "schema": []}, []
                )
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
