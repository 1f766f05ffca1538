"""Which texts resemble each other: the better one of two that do, and clusters of those that do, however indirectly.

Candidates come from MinHash bands that find a similarity at the threshold in 99 of 100 cases, and every one is verified by
exact Jaccard similarity of character 5-grams.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

PERMUTATIONS = 128
RECALL = 0.99


def nearest_better(texts: Sequence[str], threshold: float) -> dict[int, int]:
    """Index of every text that falls -> index of the kept one, earlier in `texts`, that it resembles.

    Quality first, diversity by distance from what is taken already: the greedy choice of Deita (Liu et al. 2023) with MinHash
    in the place of embeddings. `texts` come in order of quality, and one is taken unless it is too near one taken before.
    """
    if len(texts) < 2:
        return {}
    sets, keys = _sketched(texts, threshold)
    kept: dict[int, list[int]] = {}
    fallen: dict[int, int] = {}
    for i, row in enumerate(keys.tolist()):
        others = sorted({other for key in row for other in kept.get(key, ())})
        better = next((other for other in others if _alike(sets[i], sets[other], threshold)), None)
        if better is not None:
            fallen[i] = better
            continue
        for key in row:
            kept.setdefault(key, []).append(i)
    return fallen


def clusters(texts: Sequence[str], threshold: float) -> np.ndarray:
    """int64 per text: the first index of its cluster. Texts that resemble each other are in one, and so are their others."""
    leader = np.arange(len(texts))
    if len(texts) < 2:
        return leader
    sets, keys = _sketched(texts, threshold)

    def root(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = int(leader[i])
        return i

    met: dict[int, list[int]] = {}
    for i, row in enumerate(keys.tolist()):
        for key in dict.fromkeys(row):
            for other in met.get(key, ()):
                one, two = root(i), root(other)
                if one != two and _alike(sets[i], sets[other], threshold):
                    leader[max(one, two)] = min(one, two)
            met.setdefault(key, []).append(i)
    return np.asarray([root(i) for i in range(len(texts))], dtype=np.int64)


def _sketched(texts: Sequence[str], threshold: float) -> tuple[list, np.ndarray]:
    """Shingle sets, and band keys (texts, bands)."""
    from stages.text.minhash.jaccard import shingle_sets
    from stages.text.minhash.lsh import band_keys, for_recall
    from stages.text.minhash.shingles import Shingling
    from stages.text.minhash.signatures import compute_minhash

    how = Shingling("char", 5)
    array = pa.array(list(texts), pa.large_string())
    _, offsets, data = array.buffers()
    flat = (
        np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8),
        np.frombuffer(offsets, np.int64)[: len(texts) + 1],
    )
    keys = band_keys(compute_minhash(*flat, how, PERMUTATIONS).values, for_recall(threshold, RECALL, PERMUTATIONS))
    return shingle_sets(*flat, how), keys


def _alike(one: np.ndarray, two: np.ndarray, threshold: float) -> bool:
    from stages.text.minhash.jaccard import shared

    common = shared(one, two, 0)
    union = len(one) + len(two) - common
    return union > 0 and common / union >= threshold
