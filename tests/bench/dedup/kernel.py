"""The signature kernel alone, on one core: megabytes a second of text, and where the time goes.

    python tests/bench/dedup/kernel.py CORPUS [CORPUS ...] [--permutations 128] [--rounds 7]

CORPUS comes from make_corpus.py; up to 64 MB of it are held as Arrow batches, as the pass `minhash` reads them. The best round
counts. The bound is measured beside it: the permutations alone over hashes that lie in the first cache, and copying the text.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
MOST = 64_000_000


def best(rounds: int, work) -> float:
    """CPU seconds of the fastest round."""
    work()
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("corpora", type=Path, nargs="+")
    words.add_argument("--permutations", type=int, default=128)
    words.add_argument("--rounds", type=int, default=7)
    given = words.parse_args()
    from pipeline.docs import Docs
    from pipeline.storage.store import Store
    from stages.text.minhash import jaccard
    from stages.text.minhash import signatures as minhash
    from stages.text.minhash.shingles import Shingling

    how = Shingling()
    print(
        "| corpus | MB | whole kernel | with 8 permutations | sets for verification | memcpy | permutations alone, ns a shingle |\n|"
        + "---|" * 7
    )
    for corpus in given.corpora:
        store, held, size = Store(corpus / "store"), [], 0
        for shard in store.shards():
            for batch in store.batches(shard):
                if size < MOST:
                    held.append(Docs(batch))
                    size += int(held[-1].offsets[-1] - held[-1].offsets[0])
        tokens = sum(int(minhash.compute_minhash(d.data, d.offsets, how, 8).tokens.sum()) for d in held)
        whole = best(
            given.rounds, lambda: [minhash.compute_minhash(d.data, d.offsets, how, given.permutations) for d in held]
        )
        few = best(given.rounds, lambda: [minhash.compute_minhash(d.data, d.offsets, how, 8) for d in held])
        sets = best(given.rounds, lambda: [jaccard.shingle_sets(d.data, d.offsets, how) for d in held])
        target = np.empty(max(len(d.data) for d in held), np.uint8)
        copy = best(given.rounds, lambda: [np.copyto(target[: len(d.data)], d.data) for d in held])
        factors, terms = minhash.permutations(given.permutations)
        block, values = (
            np.random.default_rng(1).integers(0, 2**32, 4096, np.uint32),
            np.full(given.permutations, minhash.EMPTY),
        )
        alone = (
            best(given.rounds, lambda: [minhash._permute(block, 4096, factors, terms, values) for _ in range(1000)])
            / 4096e3
        )
        rates = " | ".join(f"{size / 1e6 / seconds:.0f} MB/s" for seconds in (whole, few, sets, copy))
        print(
            f"| {corpus.name} | {size / 1e6:.0f} | {rates} | {alone * 1e9:.2f} (text: {tokens / size * 1000:.0f} shingles a KB) |"
        )


if __name__ == "__main__":
    main()
