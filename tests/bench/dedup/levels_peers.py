"""The levels' peers, each run in its own environment: python levels_peers.py NAME CORPUS_OR_VECTORS OUT

    divsufsort   substrings: suffix array and longest common prefixes of the whole corpus in memory (pydivsufsort)
    datatrove    lines across the corpus: SentenceDedup over lines, one line at a time
    faiss        semantic: spherical k-means and cosines within each cluster, as SemDeDup's own code does it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def divsufsort(corpus: Path, out: Path) -> None:
    """Bytes that stand in a repeat of 300 bytes and more (about 50 tokens), the first copy apart."""
    import numpy as np
    import pydivsufsort

    texts = [json.loads(line)["text"].encode() for path in sorted(corpus.glob("*.jsonl")) for line in open(path)]
    data = np.frombuffer(b"\x00".join(texts), np.uint8).copy()
    order = pydivsufsort.divsufsort(data)
    shared = pydivsufsort.kasai(data, order)
    again = np.sort(np.concatenate([order[:-1][shared[:-1] >= 300], order[1:][shared[:-1] >= 300]]))
    out.write_text(json.dumps({"repeated_starts": int(len(np.unique(again)))}))


def datatrove(corpus: Path, out: Path) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig, SentenceDedupFilter, SentenceDedupSignature, SentenceFindDedups
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    config = SentDedupConfig(n_sentences=1, split_sentences=False, only_dedup_in_index=True, min_doc_words=0, min_num_sentences=0)
    work = out.with_suffix(".work")
    steps = [
        [JsonlReader(str(corpus)), SentenceDedupSignature(output_folder=str(work / "sigs"), config=config, finder_workers=1)],
        [SentenceFindDedups(data_folder=str(work / "sigs"), output_folder=str(work / "dups"), config=config)],
        [JsonlReader(str(corpus)), SentenceDedupFilter(data_folder=str(work / "dups"), config=config), JsonlWriter(str(work / "kept"), compression=None)],
    ]
    for number, pipeline in enumerate(steps):
        LocalPipelineExecutor(pipeline=pipeline, tasks=1, workers=1, logging_dir=str(work / f"log{number}")).run()
    out.write_text("{}")


def faiss(vectors: Path, out: Path) -> None:
    import faiss as library
    import numpy as np

    library.omp_set_num_threads(1)
    given = np.load(vectors).astype(np.float32)
    given /= np.linalg.norm(given, axis=1, keepdims=True)
    cells = max(1, round(len(given) / 1024))
    kmeans = library.Kmeans(given.shape[1], cells, niter=20, spherical=True, seed=1)
    kmeans.train(given)
    _, cell = kmeans.index.search(given, 1)
    order = np.argsort(cell[:, 0], kind="stable")
    starts = np.flatnonzero(np.diff(cell[order, 0], prepend=-1))
    gone = 0
    for rows in np.split(order, starts[1:]):
        gone += int((np.triu(given[rows] @ given[rows].T, 1).max(axis=0) >= 0.95).sum())
    out.write_text(json.dumps({"removed": gone}))


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
