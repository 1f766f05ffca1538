"""Every pair of exact Jaccard similarity `--least` and more of a corpus of make_corpus.py, in bounded memory.

    python tests/bench/dedup/truth.py CORPUS [--least 0.7] [--memory 1024]

The same definition as make_corpus.py's own (lower-cased `\\w+` words, sets of 5-grams) and the same result (`--check` compares
them), for corpora whose sets do not fit as Python objects: 5-grams are 64-bit hashes of word numbers, in files; the join is by
prefix filtering (Bayardo et al. 2007): two sets of this similarity share one of the rarest grams of each. Without any code of the
project. Writes CORPUS/truth.npz.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WORD = re.compile(r"\w+")
WIDTH = 5
ODD = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: np.ndarray) -> np.ndarray:
    """splitmix64."""
    values = values + ODD
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def grams(words: np.ndarray) -> np.ndarray:
    """Sorted distinct hashes of the 5-grams of a text, given as hashes of its words; of fewer words, one of them all."""
    if not len(words):
        return words
    count = max(1, len(words) - WIDTH + 1)
    total = np.zeros(count, np.uint64)
    for i in range(min(WIDTH, len(words))):
        total = mixed(total * ODD + words[i : i + count])
    return np.unique(total)


def sets(lines: Iterator[str], out: Path) -> np.ndarray:
    """Write the sets one behind the other; returns where each begins, and the end."""
    numbers: dict[str, int] = {}
    ends = [0]
    with open(out, "wb") as file:
        for line in lines:
            words = [numbers.setdefault(word, len(numbers)) for word in WORD.findall(json.loads(line)["text"].lower())]
            found = grams(mixed(np.array(words, np.uint64)))
            file.write(found.data)
            ends.append(ends[-1] + len(found))
    return np.array(ends, np.int64)


def frequencies(held: np.ndarray, most: int) -> np.ndarray:
    """In how many sets each entry stands (uint16, at most 65,535), a range of hashes at a time."""
    found = np.empty(len(held), np.uint16)
    parts = 1 << max(0, int(np.ceil(np.log2(max(1, len(held) / most)))))
    shift = np.uint64(64 - int(np.log2(parts)) if parts > 1 else 63)
    for part in range(parts):
        pieces = [low + np.flatnonzero(held[low : low + most] >> shift == part) for low in range(0, len(held), most)]
        positions = np.concatenate(pieces) if parts > 1 else np.arange(len(held))
        _, back, counts = np.unique(held[positions], return_inverse=True, return_counts=True)
        found[positions] = np.minimum(counts, 65_535)[back]
    return found


def prefixes(held: np.ndarray, ends: np.ndarray, often: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """(hash, document) of the rarest entries of each set, those that stand in one set only left out."""
    hashes, docs = [], []
    for doc in range(len(ends) - 1):
        mine, times = held[ends[doc] : ends[doc + 1]], often[ends[doc] : ends[doc + 1]]
        some = np.lexsort((mine, times))[: len(mine) - int(np.ceil(least * len(mine) - 1e-9)) + 1]
        some = some[times[some] > 1]
        hashes.append(mine[some])
        docs.append(np.full(len(some), doc, np.int32))
    return np.concatenate(hashes), np.concatenate(docs)


def candidates(hashes: np.ndarray, docs: np.ndarray, sizes: np.ndarray, least: float, most: int) -> np.ndarray:
    """Pairs (one int64: smaller document, larger) that share an entry and whose sizes allow the similarity, each once."""
    order = np.argsort(hashes, kind="stable")
    hashes, docs = hashes[order], docs[order]
    starts = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]])
    counts = np.diff(np.r_[starts, len(hashes)])
    found = np.zeros(0, np.int64)
    pending: list[np.ndarray] = []
    for step in range(1, int(counts.max(initial=1))):
        rows = np.repeat(starts[counts > step], counts[counts > step] - step)
        rows += np.arange(len(rows)) - np.repeat(
            np.cumsum(np.r_[0, counts[counts > step] - step])[:-1], counts[counts > step] - step
        )
        for low in range(0, len(rows), most):
            a, b = docs[rows[low : low + most]], docs[rows[low : low + most] + step]
            fits = np.minimum(sizes[a], sizes[b]) >= least * np.maximum(sizes[a], sizes[b]) - 1e-9
            pending.append(np.unique(a[fits].astype(np.int64) << 32 | b[fits]))
        if sum(map(len, pending)) > most:
            found, pending = np.unique(np.concatenate([found, *pending])), []
    return np.unique(np.concatenate([found, *pending]))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("corpus", type=Path)
    words.add_argument("--least", type=float, default=0.7)
    words.add_argument(
        "--memory", type=int, default=1024, help="MiB for one step of the join, beside the words and the rarest entries"
    )
    words.add_argument("--check", action="store_true", help="hold the pairs against make_corpus.py's own join")
    given = words.parse_args()
    began, most = time.process_time(), (given.memory << 20) // 64
    with (
        tempfile.TemporaryDirectory(dir=given.corpus) as folder,
        open(given.corpus / "docs.jsonl", encoding="utf-8") as lines,
    ):
        ends = sets(lines, Path(folder) / "sets")
        held = np.memmap(Path(folder) / "sets", np.uint64, "r")
        hashes, docs = prefixes(held, ends, frequencies(held, most), given.least)
        pairs = candidates(hashes, docs, np.diff(ends), given.least, most)
        left, right, alike = pairs >> 32, pairs & 0xFFFFFFFF, np.empty(len(pairs))
        for at, (a, b) in enumerate(zip(left.tolist(), right.tolist())):
            mine, theirs = held[ends[a] : ends[a + 1]], held[ends[b] : ends[b + 1]]
            both = np.sort(np.concatenate([mine, theirs]), kind="stable")
            shared = int(np.count_nonzero(both[1:] == both[:-1]))
            alike[at] = shared / (len(both) - shared)
        del held
    good = alike >= given.least
    np.savez(given.corpus / "truth.npz", left=left[good], right=right[good], jaccard=alike[good])
    print(
        f"{len(ends) - 1:,} documents, {len(pairs):,} candidates, {good.sum():,} pairs of {given.least:g} and more, {(alike >= 0.8).sum():,} of .8 and more; {time.process_time() - began:.0f} CPU s"
    )
    if given.check:
        from make_corpus import truth

        texts = [json.loads(line)["text"] for line in open(given.corpus / "docs.jsonl", encoding="utf-8")]
        theirs = {(a, b, round(s, 12)) for a, b, s in truth(texts, given.least)}
        ours = {
            (a, b, round(s, 12)) for a, b, s in zip(left[good].tolist(), right[good].tolist(), alike[good].tolist())
        }
        print("the same pairs" if ours == theirs else f"DIFFERS: {len(ours - theirs)} more, {len(theirs - ours)} fewer")


if __name__ == "__main__":
    main()
