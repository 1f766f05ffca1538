"""How many prompts have a near-copy among others: the overlap of pairs and SFT counted on clusters, not on spelling.

Prompts are short, so shingles are five characters; candidates come from MinHash bands that find a similarity of 0.7 in 99 of
100 cases, and every one is verified by exact Jaccard similarity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

THRESHOLD = 0.7
"""From this Jaccard similarity on two prompts ask the same (WebFAQ: 0.7 to 0.8 for near-duplicate questions)."""
PERMUTATIONS = 128
RECALL = 0.99
BLOCK = 65_536
"""Prompts held against the others at a time."""


def near_copies(prompts: list[str], others: Iterable[str]) -> np.ndarray:
    """bool per prompt: does one of `others` resemble it, or equal it?"""
    from stages.text.minhash.jaccard import shared, shingle_sets
    from stages.text.minhash.lsh import band_keys, for_recall
    from stages.text.minhash.shingles import Shingling
    from stages.text.minhash.signatures import compute_minhash

    how = Shingling("char", 5)
    banding = for_recall(THRESHOLD, RECALL, PERMUTATIONS)
    found = np.zeros(len(prompts), dtype=bool)
    if not prompts:
        return found
    mine = _buffers(prompts)
    my_sets = shingle_sets(*mine, how)
    my_keys = band_keys(compute_minhash(*mine, how, PERMUTATIONS).values, banding)
    flat, rows = _sorted(my_keys)
    for block in _blocks(others):
        theirs = _buffers(block)
        their_sets = shingle_sets(*theirs, how)
        keys, their_rows = _sorted(band_keys(compute_minhash(*theirs, how, PERMUTATIONS).values, banding))
        for left, right in _meeting(flat, rows, keys, their_rows):
            if found[left]:
                continue
            a, b = my_sets[left], their_sets[right]
            common = shared(a, b, 0)
            union = len(a) + len(b) - common
            found[left] = union > 0 and common / union >= THRESHOLD
    return found


def _buffers(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    array = pa.array(texts, pa.large_string())
    _, offsets, data = array.buffers()
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), np.frombuffer(
        offsets, np.int64
    )[: len(texts) + 1]


def _sorted(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All band keys in order, and whose each is."""
    flat = keys.ravel()
    order = np.argsort(flat, kind="stable")
    return flat[order], order // keys.shape[1]


def _meeting(
    keys: np.ndarray, rows: np.ndarray, others: np.ndarray, other_rows: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Distinct (row, other row) that share a band key."""
    begin, end = (np.searchsorted(others, keys, side=side) for side in ("left", "right"))
    pairs = {
        (int(rows[n]), int(other_rows[at]))
        for n in np.flatnonzero(end > begin).tolist()
        for at in range(int(begin[n]), int(end[n]))
    }
    return iter(sorted(pairs))


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    held: list[str] = []
    for text in texts:
        held.append(text)
        if len(held) == BLOCK:
            yield held
            held = []
    if held:
        yield held
