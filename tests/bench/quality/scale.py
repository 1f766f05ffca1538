"""Memory and cost of a worker from 1x to 50x the text: the four families with edits, language and paragraphs, store to store.

    .venv/bin/python tests/bench/quality/scale.py [--base 5] [--times 1 5 20 50]

A child process per size makes one shard of that many megabytes from the shared Korean and English texts (repeated under ids of
their own where they run out), runs the stage Inline over it and reports its CPU seconds and its greatest resident memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
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

    from pipeline.ledger import Ledger
    from pipeline.pool import Inline
    from pipeline.schema import DOCUMENT, doc_id
    from pipeline.stage import Inputs
    from pipeline.store import Store
    from stages.quality import Quality

    with tempfile.TemporaryDirectory() as folder:
        source, sink = Store(f"{folder}/in"), Store(f"{folder}/out")
        stage = Quality.build({"filters": FILTERS}, "quality")
        with source.writer(0, stage="bench", key="bench") as writer:
            written, number = 0, 0
            pages = cycle(texts(Path(shared)))
            while written < size:
                group = list(islice(pages, 256))
                values = {name: [None] * len(group) for name in DOCUMENT.names}
                values |= {"id": [doc_id("bench", str(number + n)) for n in range(len(group))], "text": [text.text for text in group]}
                batch = pa.record_batch([pa.array(values[f.name], f.type) for f in DOCUMENT], schema=DOCUMENT)
                writer.write(batch)
                writer.record(Ledger.rows(values["id"]))
                number, written = number + len(group), written + sum(len(text.text.encode("utf-8", "replace")) for text in group)
            writer.commit()
        source.seal({"stage": "bench", "shape": "DOCUMENT", "key": "bench", "lineage": {}, "schema": []}, [0])
        stage.work(batch.slice(0, 8))
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        stage.run(Inputs({"of": [source]}), sink, Inline())
        spent, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"megabytes": written / 1e6, "documents": number, "cpu_seconds": spent, "before_mb": before / 1024, "peak_mb": peak / 1024}))


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
        rows.append(f"| {times}x | {found['megabytes']:.0f} | {found['documents']:,} | {found['cpu_seconds']:.2f} | {1000 * rate:.1f} | {found['before_mb']:.0f} | {found['peak_mb']:.0f} |")
    lines = [
        f"Filters {', '.join(FILTERS)}; one shard, one process, Inline, store to store with edits and ledger. Peak is the process's greatest",
        "resident memory, mapped pages of input and output among it; before: after one small batch, libraries and models loaded.",
        "",
        "| size | MB | documents | CPU seconds | CPU ms per MB | MB before | MB peak |", "|---|---|---|---|---|---|---|", *rows,
    ]  # fmt: skip
    print(put("Memory and cost by size", lines))


if __name__ == "__main__":
    main()
