"""The levels beside exact and near: CPU seconds, peak memory and speed on real texts, next to a peer where one installs.

    python tests/bench/dedup/levels_compare.py WORK [--peer divsufsort=ENV/bin/python ...] [--only substring,line,...]

Texts: the Python manual (English) and a Korean C++ manual (Markdown) out of the shared data; for `semantic`, film reviews as vectors
(hashed character trigrams, 256 numbers). Every figure is end to end: start, read the store, write the
output store and its ledger; the peers read JSONL (faiss a matrix) and write what they found. `--levels url` removes nothing where
rows have no address: the spans are cut out of all texts.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import sys
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
SHARED = REPO.parent / "shared" / "data"
sys.path[:0] = [str(HERE), str(REPO)]

LEVELS = {
    "substring": ["--levels", "url", "--spans", "substring"],
    "line": ["--levels", "url", "--spans", "line"],
    "paragraph": ["--levels", "url", "--spans", "paragraph"],
    "url": ["--levels", "url"],
    "semantic": ["--levels", "semantic", "--vectors", "v"],
}
PEERS = {"substring": "divsufsort", "line": "datatrove", "semantic": "faiss"}


def read(name: str, field: str = "text") -> list[str]:
    with lzma.open(SHARED / name, "rt", encoding="utf-8") as lines:
        return [row[field] for row in map(json.loads, lines) if row.get(field)]


def stored(path: Path, texts: list[str], vectors=None, addresses: bool = False) -> None:
    """The texts as a DOCUMENT store, with a column of vectors, or with addresses (each fifth page's stands twice, spelt otherwise)."""
    import pyarrow as pa

    from pipeline.ledger import Ledger
    from pipeline.schema import DOCUMENT, content_id, doc_id
    from pipeline.store import Store

    n = len(texts)
    known = {"id": [doc_id("bench", str(k)) for k in range(n)], "content_id": list(map(content_id, texts)), "text": texts, "source": ["bench"] * n}
    if addresses:
        known["url"] = [f"https://Docs.example:443/pages/{k - k % 5 // 4}/?utm_source={k}#top" for k in range(n)]
    table = pa.table({f.name: pa.array(known.get(f.name, [None] * n), f.type) for f in DOCUMENT}, schema=DOCUMENT)
    if vectors is not None:
        table = table.append_column("v", pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]))
    store = Store(path)
    for number in range(-(-n // 50_000)):
        part = table.slice(number * 50_000, 50_000)
        store.put(number, part, Ledger.rows(part["id"].to_pylist()), key="bench", stage="bench")
    store.seal({"stage": "bench", "shape": "DOCUMENT", "key": "bench", "lineage": {}, "schema": []}, list(range(number + 1)))


def trigrams(texts: list[str], width: int):
    """Hashed character trigrams as float32 vectors."""
    import numpy as np

    found = np.zeros((len(texts), width), np.float32)
    for row, text in enumerate(texts):
        for at in range(max(1, len(text) - 2)):
            mark = zlib.crc32(text[at : at + 3].encode())
            found[row, mark % width] += 1 if mark >> 31 else -1
        found[row, 0] += 0.01
    return found


def prepare(work: Path, reviews: int) -> dict[str, tuple[Path, Path, float, int]]:
    """level -> (store, what the peer reads, MB of text, documents)."""
    import numpy as np

    texts = read("C-python311-rst-en.jsonl.xz") + read("C-cpp-docs-ko.jsonl.xz", "markdown")
    short = read("C-nsmc-reviews.jsonl.xz")[:reviews]
    if not (work / "texts").exists():
        stored(work / "texts", texts)
        stored(work / "pages", texts, addresses=True)
        (work / "corpus").mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"id": str(n), "text": text}, ensure_ascii=False) for n, text in enumerate(texts))
        (work / "corpus/texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        vectors = trigrams(short, 256)
        np.save(work / "vectors.npy", vectors)
        stored(work / "reviews", short, vectors)
    size = sum(len(text.encode()) for text in texts) / 1e6
    found = {level: (work / "texts", work / "corpus", size, len(texts)) for level in LEVELS}
    found["url"] = (work / "pages", work / "corpus", size, len(texts))
    found["semantic"] = (work / "reviews", work / "vectors.npy", sum(len(t.encode()) for t in short) / 1e6, len(short))
    return found


def main() -> None:
    from compare import measured

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--only", default=",".join(LEVELS))
    parser.add_argument("--reviews", type=int, default=100_000)
    given = parser.parse_args()
    peers = dict(word.split("=", 1) for word in given.peer)
    os.environ["PYTHONPATH"] = str(REPO)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    print("| level | tool | CPU s | wall s | peak MB | MB/s of CPU | documents/s of CPU | result |\n|---|---|---|---|---|---|---|---|")
    for level, (store, other, size, count) in prepare(given.work, given.reviews).items():
        if level not in given.only.split(","):
            continue
        out = given.work / f"out-{level}-{time.time_ns()}"
        command = [sys.executable, "-m", "pipeline.cli", "dedup", str(store), str(out), "--quiet", *LEVELS[level]]
        show(level, "maetdol", measured(command), size, count, said(out))
        if (name := PEERS.get(level)) in peers:
            report = given.work / f"{name}.json"
            show(level, name, measured([peers[name], str(HERE / "levels_peers.py"), name, str(other), str(report)]), size, count, report.read_text())


def said(out: Path) -> str:
    from pipeline.store import Store

    store = Store(out)
    left = sum(len(text.encode()) for text in store.table(["text"])["text"].to_pylist() if text)
    return f"{store.manifest()['reasons']}, {left / 1e6:.1f} MB left"


def show(level: str, tool: str, cost: tuple[float, float, float], size: float, count: int, result: str) -> None:
    cpu, wall, peak = cost
    print(f"| {level} | {tool} | {cpu:.1f} | {wall:.1f} | {peak:.0f} | {size / cpu:.1f} | {count / cpu:,.0f} | {result} |", flush=True)


if __name__ == "__main__":
    main()
