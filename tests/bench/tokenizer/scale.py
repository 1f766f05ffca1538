"""Many short documents through the tokenizer's sampling and `pack`, as a run of the engine: peak memory of every process, and CPU time.

    python tests/bench/tokenizer/scale.py --documents 1000000 10000000 [--workers 2] [--folder DIR] [--keep]

A document is three film reviews (`../shared/data`) drawn from 400,000 and a number, 150 to 300 bytes; a shard is 250,000 of them. The
recipe of two steps runs in a process of its own, with Ray: first its tokenizer, then (that is done) `pack`. Peak memory is the highest resident
set (VmHWM, shared pages of mapped files counted) of the driver and of every Ray worker, looked at five times a second; CPU seconds are those of the
receipts. `--keep` leaves the folder (DIR/DOCUMENTS), and a folder that is there is gone on with: the corpus is written once. Printed as
Markdown, for RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import lzma
import shutil
import subprocess
import sys
import tempfile
import threading
import time
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
    """The highest resident set of a process and of its Ray workers, MiB."""

    def __init__(self, process: int):
        self.process, self.driver, self.workers = process, 0, dict[int, int]()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.2):
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    number, command = int(status.parent.name), (status.parent / "cmdline").read_bytes()
                    if number == self.process:
                        self.driver = max(self.driver, _peak(status))
                    elif command.startswith(b"ray::") and self._descends(status.parent):
                        self.workers[number] = max(self.workers.get(number, 0), _peak(status))
                except (OSError, StopIteration):
                    continue

    def _descends(self, process: Path) -> bool:
        while process.name not in ("0", "1", str(self.process)):
            process = process.parent / str(_field(process / "status", "PPid"))
        return process.name == str(self.process)


def _peak(status: Path) -> int:
    return _field(status, "VmHWM") >> 10


def _field(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))


def recipe(folder: Path, steps: list[dict], workers: int) -> Path:
    import yaml

    page = {"name": "scale", "root": str(folder / "run"), "seed": 17, "steps": steps, "run": {"workers": workers}}
    path = folder / "scale.yaml"
    path.write_text(yaml.safe_dump(page, sort_keys=False))
    return path


def spent(store) -> float:
    """CPU seconds of all receipts of a store and of its passes."""
    parts = [store, *(store.sub(f"passes/{name}") for name in store.fs.sub("passes").folders())]
    numbers = [(part, name.removesuffix(".json")) for part in parts for name in part.fs.names("receipts")]
    return sum(part.receipt(int(n) if n.isdigit() else n).cpu_seconds for part, n in numbers)


def main() -> None:
    from pipeline.storage.store import Store

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    print(
        "| documents | text, MB | step | CPU seconds | µs a document | wall seconds | driver, peak MiB | workers, peak MiB each |\n|---|---|---|---|---|---|---|---|"
    )
    where = Path(asked.folder or tempfile.mkdtemp(prefix="maetdol-scale-"))
    for documents in asked.documents:
        folder = where / str(documents)
        if not (folder / "size").exists():
            (folder / "size").write_text(str(corpus(f"{folder}/docs", documents, reviews())))
        size = int((folder / "size").read_text())
        tokenizer = {
            "tokenizer": {"of": str(folder / "docs"), "model_type": "byte_bpe", "vocab_size": 8192, "sample_mb": 16}
        }
        pack = {"pack": {"of": str(folder / "docs")}}
        for name, steps in (("tokenizer", [tokenizer]), ("pack", [tokenizer, pack])):
            command = [sys.executable, "-m", "pipeline.cli", "run", str(recipe(folder, steps, asked.workers))]
            began = time.monotonic()
            with (
                subprocess.Popen([*command, "--quiet", "--no-report"], cwd=REPO, stdout=subprocess.DEVNULL) as run,
                Peaks(run.pid) as peaks,
            ):
                if run.wait():
                    sys.exit(f"{name} ended with {run.returncode}")
            wall, cpu = time.monotonic() - began, spent(Store(folder / "run" / name))
            each = ", ".join(str(peak) for peak in sorted(peaks.workers.values(), reverse=True) if peak > 200)
            print(
                f"| {documents:,} | {size / 1e6:,.0f} | {name} | {cpu:.1f} | {cpu / documents * 1e6:.1f} | {wall:.0f} | {peaks.driver} | {each} |",
                flush=True,
            )
        if not asked.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
