"""The level semantic beside faiss k-means and numpy cosines: CPU seconds, peak memory, recall and precision against exact truth.

    python tests/bench/dedup/semantic_compare.py WORK --rows 100000 --peer ENV/bin/python [--rounds 3] [--truth 100000]

Vectors: hashed character trigrams (256 numbers) of film reviews, and beyond those of lines of the two manuals. Tools run in turns;
the table shows medians. Truth: all pairs of cosine .95 and more between `--truth` rows (drawn with seed 17) and all rows, by one
product in float64 of what float32 nominates. recall: such pairs of which at most one row is kept. precision: rows that went (of
those drawn) which a kept row matches at .95. as maetdol: rows that go in both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
sys.path[:0] = [str(HERE), str(REPO)]
LEAST = 0.95


def prepared(work: Path, rows: int) -> Path:
    """Folder with the store, the matrix and the Parquet file of so many rows."""
    import pyarrow.parquet as pq
    from levels_compare import read, stored, trigrams

    folder = work / f"rows{rows}"
    if not (folder / "rows.parquet").exists():
        texts = read("C-nsmc-reviews.jsonl.xz")[:rows]
        if len(texts) < rows:
            manuals = read("C-python311-rst-en.jsonl.xz") + read("C-cpp-docs-ko.jsonl.xz", "markdown")
            texts += [line for text in manuals for line in text.split("\n") if len(line) > 20][: rows - len(texts)]
        vectors = trigrams(texts, 256)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "vectors.npy", vectors)
        stored(folder / "store", texts, vectors)
        from pipeline.storage.store import Store

        pq.write_table(
            Store(folder / "store").table(), folder / "rows.parquet", compression="none", use_dictionary=False
        )
    return folder


def pairs(vectors: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(drawn row, other row) of cosine LEAST and more."""
    unit = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1)[:, None]
    short = unit.astype(np.float32)
    left, right = [], []
    for low in range(0, len(drawn), 2048):
        block = drawn[low : low + 2048]
        for first in range(0, len(unit), 65_536):
            a, b = np.nonzero(short[block] @ short[first : first + 65_536].T >= LEAST - 1e-5)
            a, b = block[a], b + first
            true = np.einsum("ij,ij->i", unit[a], unit[b]) >= LEAST
            left.append(a[true & (a != b)])
            right.append(b[true & (a != b)])
    return np.concatenate(left), np.concatenate(right)


def quality(
    gone: np.ndarray, drawn: np.ndarray, found: tuple[np.ndarray, np.ndarray], rows: int
) -> tuple[float, float]:
    """(recall, precision)."""
    left, right = found
    keep = np.ones(rows, bool)
    keep[gone] = False
    matched = np.zeros(rows, bool)
    matched[left[keep[right]]] = True
    went = drawn[~keep[drawn]]
    return 1.0 - (keep[left] & keep[right]).mean(), matched[went].mean()


def gone_of(store: Path, out: Path) -> np.ndarray:
    """Rows of the input that are not in the output."""
    from pipeline.storage.store import Store

    before, after = (Store(path).table(["id"])["id"].to_pylist() for path in (store, out))
    held = set(after)
    return np.array([row for row, name in enumerate(before) if name not in held], np.int64)


def main() -> None:
    from compare import measured

    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("work", type=Path)
    words.add_argument("--rows", type=int, default=100_000)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--truth", type=int, default=0)
    words.add_argument("--peer", help="python of an environment with faiss, numpy and pyarrow")
    given = words.parse_args()
    os.environ["PYTHONPATH"] = str(REPO)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    folder = prepared(given.work, given.rows)
    ours, counting, rows = (folder / name for name in ("out", "faiss.json", "faiss_rows.json"))
    words_of = {
        "maetdol": [
            sys.executable,
            "-m",
            "pipeline.cli",
            "dedup",
            str(folder / "store"),
            str(ours),
            "--quiet",
            "--levels",
            "semantic",
            "--vectors",
            "v",
        ]
    }
    if given.peer:
        words_of["faiss, rows to rows"] = [
            given.peer,
            str(HERE / "levels_peers.py"),
            "faiss_rows",
            str(folder / "rows.parquet"),
            str(rows),
        ]
        words_of["faiss, matrix to count"] = [
            given.peer,
            str(HERE / "levels_peers.py"),
            "faiss",
            str(folder / "vectors.npy"),
            str(counting),
        ]
    figures: dict[str, list[tuple[float, ...]]] = {name: [] for name in words_of}
    for _ in range(given.rounds):
        for name, command in words_of.items():
            if name == "maetdol":
                shutil.rmtree(ours, ignore_errors=True)
            figures[name].append((*measured(command), os.getloadavg()[0]))
    drawn = np.sort(np.random.default_rng(17).permutation(given.rows)[: given.truth])
    vectors = np.load(folder / "vectors.npy")
    found = pairs(vectors, drawn) if given.truth else None
    seconds = {name: [round(figure[0], 2) for figure in each] for name, each in figures.items()}
    print(
        f"{given.rows:,} rows; {len(found[0]) if found else 0:,} pairs from {len(drawn):,} rows; CPU s of each round: {seconds}"
    )
    print(
        "| tool | CPU s | wall s | peak MB | rows that go | as maetdol | recall | precision | load |\n"
        + "|---" * 9
        + "|"
    )
    mine = gone_of(folder / "store", ours)
    for name, each in figures.items():
        cpu, wall, peak, load = (statistics.median(column) for column in zip(*each))
        gone = mine if name == "maetdol" else np.load((counting if "count" in name else rows).with_suffix(".npy"))
        recall, precision = quality(gone, drawn, found, given.rows) if found else (float("nan"), float("nan"))
        same = len(np.intersect1d(gone, mine))
        print(
            f"| {name} | {cpu:.2f} | {wall:.1f} | {peak:.0f} | {len(gone):,} | {same:,} | {recall:.4f} | {precision:.4f} | {load:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
