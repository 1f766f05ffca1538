"""The levels beside exact and near: CPU seconds, peak memory and speed on real texts, next to a peer where one installs.

    python tests/bench/dedup/levels_compare.py WORK [--peer divsufsort=ENV/bin/python ...] [--only substring,line,...] [--rounds 3]

Texts: the Python manual (English) and a Korean C++ manual (Markdown) out of the shared data. maetdol is measured end to end: start,
read the store, write the output store and its ledger; the peers read JSONL and write JSONL (the suffix array only finds). Level
`url` removes nothing where rows have no address: the spans are cut out of all texts. `semantic` has a script of its own.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import os
import re
import shutil
import statistics
import sys
import zlib
from collections import Counter
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
}
PEERS = {
    "substring": ["divsufsort"],
    "line": ["datatrove", "dolma"],
    "paragraph": ["dolma_paragraph"],
    "url": ["datatrove_url"],
}
UNITS = {"line": re.compile(r"\n"), "paragraph": re.compile(r"\n[ \t\r]*\n")}


def read(name: str, field: str = "text") -> list[str]:
    with lzma.open(SHARED / name, "rt", encoding="utf-8") as lines:
        return [row[field] for row in map(json.loads, lines) if row.get(field)]


def stored(path: Path, texts: list[str], vectors=None, addresses: bool = False) -> None:
    """The texts as a DOCUMENT store, with a column of vectors, or with addresses (each fifth page's stands twice, spelt otherwise)."""
    import pyarrow as pa

    from pipeline.schema import DOCUMENT, content_id, doc_id
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store

    n = len(texts)
    known = {
        "id": [doc_id("bench", str(k)) for k in range(n)],
        "content_id": list(map(content_id, texts)),
        "text": texts,
        "source": ["bench"] * n,
    }
    if addresses:
        known["url"] = [address(k) for k in range(n)]
    table = pa.table({f.name: pa.array(known.get(f.name, [None] * n), f.type) for f in DOCUMENT}, schema=DOCUMENT)
    if vectors is not None:
        table = table.append_column("v", pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]))
    store = Store(path)
    for number in range(-(-n // 50_000)):
        part = table.slice(number * 50_000, 50_000)
        store.put(number, part, Ledger.rows(part["id"].to_pylist()), key="bench", stage="bench")
    store.commit_manifest(
        {"stage": "bench", "shape": "DOCUMENT", "key": "bench", "lineage": {}, "schema": []}, list(range(number + 1))
    )


def address(k: int) -> str:
    """Address of a page; each fifth has that of the page before, spelt otherwise."""
    return f"https://{'Docs' if k % 2 else 'docs'}.example:443/pages/{k - k % 5 // 4}/?utm_source={k}#top"


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


def prepare(work: Path) -> dict[str, tuple[Path, list[str]]]:
    """level -> (store, its texts); what the peers read lies in WORK/corpus."""
    texts = read("C-python311-rst-en.jsonl.xz") + read("C-cpp-docs-ko.jsonl.xz", "markdown")
    if not (work / "corpus").exists():
        stored(work / "texts", texts)
        stored(work / "pages", texts, addresses=True)
        (work / "corpus").mkdir(parents=True, exist_ok=True)
        rows = ({"id": str(n), "text": text, "url": address(n), "source": "bench"} for n, text in enumerate(texts))
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        (work / "corpus/texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {level: (work / ("pages" if level == "url" else "texts"), texts) for level in LEVELS}


def main() -> None:
    from compare import measured

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--only", default=",".join(LEVELS))
    parser.add_argument("--rounds", type=int, default=1, help="in turns; the table shows medians")
    given = parser.parse_args()
    peers = dict(word.split("=", 1) for word in given.peer)
    os.environ["PYTHONPATH"] = str(REPO)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    print(
        "| level | tool | CPU s | wall s | peak MB | MB/s of CPU | documents/s of CPU | result |\n|---|---|---|---|---|---|---|---|"
    )
    for level, (store, texts) in prepare(given.work).items():
        if level not in given.only.split(","):
            continue
        figures: dict[str, list] = {}
        for round_ in range(given.rounds):
            out = given.work / f"out-{level}"
            shutil.rmtree(out, ignore_errors=True)
            command = [sys.executable, "-m", "pipeline.cli", "dedup", str(store), str(out), "--quiet", *LEVELS[level]]
            figures.setdefault("maetdol", []).append(measured(command))
            for name in (name for name in PEERS.get(level, []) if name in peers):
                report = given.work / f"{name}.json"
                shutil.rmtree(report.with_suffix(".work"), ignore_errors=True)
                command = [peers[name], str(HERE / "levels_peers.py"), name, str(given.work / "corpus"), str(report)]
                figures.setdefault(name, []).append(measured(command))
        for name, each in figures.items():
            left = (
                ours(out) if name == "maetdol" else theirs((given.work / f"{name}.json").with_suffix(".work") / "kept")
            )
            show(level, name, [statistics.median(column) for column in zip(*each)], texts, judged(level, texts, left))


def ours(out: Path) -> list[str]:
    from pipeline.storage.store import Store

    return Store(out).table(["text"])["text"].to_pylist()


def theirs(kept: Path) -> list[str]:
    """The texts a peer wrote."""
    found = []
    for path in sorted(kept.glob("*")):
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as lines:
            found += [json.loads(line)["text"] for line in lines]
    return found


def judged(level: str, before: list[str], after: list[str]) -> str:
    """What was done to what stands more than once: copies too many that are left, and units that are lost altogether."""
    if not after:
        return "nothing written"
    size = sum(map(len, after)) / sum(map(len, before))
    if level not in UNITS:
        return f"{len(after):,} of {len(before):,} documents, {size:.1%} of the text"
    had, has = units(before, level), units(after, level)
    extra, left = (sum(count - 1 for count in counts.values()) for counts in (had, has))
    lost = sum(unit not in has for unit in had)
    return f"of {extra:,} copies too many {left:,} are left; {lost:,} of {len(had):,} {level}s are lost; {size:.1%} of the text"


def units(texts: list[str], level: str) -> Counter:
    """How often each unit of ten words and more stands in the texts."""
    found: Counter = Counter()
    for text in texts:
        for unit in UNITS[level].split(text):
            words = tuple(re.findall(r"\w+", unit.lower()))
            if len(words) >= 10:
                found[words] += 1
    return found


def show(level: str, tool: str, cost: list[float], texts: list[str], result: str) -> None:
    cpu, wall, peak = cost
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(
        f"| {level} | {tool} | {cpu:.1f} | {wall:.1f} | {peak:.0f} | {size / cpu:.1f} | {len(texts) / cpu:,.0f} | {result} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
