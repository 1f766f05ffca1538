"""Memory and cost of a worker from 1x to 50x the text: the four families with edits, language and paragraphs, store to store.

    .venv/bin/python tests/bench/quality/scale.py [--base 5] [--times 1 5 20 50]

A child process per size makes one shard of that many megabytes from the shared Korean and English texts (repeated under ids of
their own where they run out), runs the stage Inline over it and reports its CPU seconds and its greatest resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle, islice
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
sys.path[:0] = [str(HERE), str(REPO)]
FILTERS = ["language", "gopher_quality", "gopher_repetition", "fineweb", "c4", "paragraph_languages"]


def child(shared: str, size: int) -> None:
    import pyarrow as pa
    from corpus import texts

    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.schema import DOCUMENT, doc_id
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store
    from stages.quality import Quality

    with tempfile.TemporaryDirectory() as folder:
        source, sink = Store(f"{folder}/in"), Store(f"{folder}/out")
        stage = Quality.build({"filters": FILTERS}, "quality")
        if (maker := os.fork()) == 0:  # what making the input takes is not the worker's
            with source.writer(0, stage="bench", key="bench") as writer:
                written, number = 0, 0
                pages = cycle(texts(Path(shared)))
                while written < size:
                    group = list(islice(pages, 256))
                    values = {name: [None] * len(group) for name in DOCUMENT.names}
                    values |= {
                        "id": [doc_id("bench", str(number + n)) for n in range(len(group))],
                        "text": [text.text for text in group],
                    }
                    writer.write(pa.record_batch([pa.array(values[f.name], f.type) for f in DOCUMENT], schema=DOCUMENT))
                    writer.record(Ledger.rows(values["id"]))
                    number, written = (
                        number + len(group),
                        written + sum(len(text.text.encode("utf-8", "replace")) for text in group),
                    )
                writer.commit()
            source.commit_manifest(
                {"stage": "bench", "shape": "DOCUMENT", "key": "bench", "lineage": {}, "schema": []}, [0]
            )
            os._exit(0)
        assert os.waitpid(maker, 0)[1] == 0
        stage.work(next(iter(source.batches(0))).slice(0, 8))
        before, peak, done = own_memory(), [0.0], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                peak[0] = max(peak[0], own_memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.process_time()
        receipts = stage.run(Inputs({"of": [source]}), sink, Inline())
        spent = time.process_time() - began
        done.set()
        watcher.join()
        rows = sum(receipt.rows_in for receipt in receipts)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sizes = sum(batch["text"].nbytes for batch in source.batches(0)) / 1e6
        print(
            json.dumps(
                {
                    "megabytes": sizes,
                    "documents": rows,
                    "cpu_seconds": spent,
                    "before_mb": before,
                    "own_mb": peak[0],
                    "peak_mb": most,
                }
            )
        )


def own_memory() -> float:
    """MiB of this process that are its own: not mapped pages of files, which the system takes back when it needs them."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    from results import put

    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", default=str(REPO.parent / "shared" / "data"))
    parser.add_argument("--base", type=float, default=5, help="megabytes of 1x")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 5, 20, 50])
    parser.add_argument("--child", type=int)
    given = parser.parse_args()
    if given.child:
        child(given.shared, given.child)
        return
    rows = []
    for times in given.times:
        run = [sys.executable, __file__, "--shared", given.shared, "--child", str(int(times * given.base * 1e6))]
        found = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
        rate = found["cpu_seconds"] / found["megabytes"]
        rows.append(
            f"| {times}x | {found['megabytes']:.0f} | {found['documents']:,} | {found['cpu_seconds']:.2f} | {1000 * rate:.1f} | {found['before_mb']:.0f} | {found['own_mb']:.0f} | {found['peak_mb']:.0f} |"
        )
    lines = [
        f"Filters {', '.join(FILTERS)}; one shard, one process, Inline, store to store with edits and ledger. Own memory: anonymous pages,",
        "before the run (libraries and models loaded) and at its greatest; resident counts mapped pages of input and output as well.",
        "",
        "| size | MB | documents | CPU seconds | CPU ms per MB | own MB before | own MB, greatest | resident MB, greatest |", "|---|---|---|---|---|---|---|---|", *rows,
    ]  # fmt: skip
    print(put("Memory and cost by size", lines))


if __name__ == "__main__":
    main()
