"""Which texts resemble a better one that is kept: quality first, diversity by distance from what is taken already.

The greedy choice of Deita (Liu et al. 2023) with MinHash in the place of embeddings: texts come in order of quality, and one
is taken unless it is too near one taken before. Candidates come from MinHash bands that find a similarity at the threshold in
99 of 100 cases, and every one is verified by exact Jaccard similarity of character 5-grams.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
import pyarrow as pa

PERMUTATIONS = 128
RECALL = 0.99


def nearest_better(texts: Sequence[str], threshold: float) -> dict[int, int]:
    """Place of every text that falls -> place of the kept one, earlier in `texts`, that it resembles."""
    from stages.text.jaccard import shared, shingle_sets
    from stages.text.lsh import band_keys, for_recall
    from stages.text.minhash import sign
    from stages.text.shingles import Shingling

    if len(texts) < 2:
        return {}
    how = Shingling("char", 5)
    array = pa.array(list(texts), pa.large_string())
    _, offsets, data = array.buffers()
    flat = (np.frombuffer(data, np.uint8), np.frombuffer(offsets, np.int64)[: len(texts) + 1])
    sets = shingle_sets(*flat, how)
    keys = band_keys(sign(*flat, how, PERMUTATIONS).values, for_recall(threshold, RECALL, PERMUTATIONS))
    kept: dict[int, list[int]] = {}
    fallen: dict[int, int] = {}
    for place, row in enumerate(keys.tolist()):
        better = None
        for other in sorted({other for key in row for other in kept.get(key, ())}):
            common = shared(sets[place], sets[other], 0)
            union = len(sets[place]) + len(sets[other]) - common
            if union and common / union >= threshold:
                better = other
                break
        if better is not None:
            fallen[place] = better
            continue
        for key in row:
            kept.setdefault(key, []).append(place)
    return fallen
