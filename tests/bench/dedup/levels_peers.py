"""The levels' peers, each run in its own environment: python levels_peers.py NAME CORPUS_OR_VECTORS OUT

    divsufsort   substrings: suffix array and longest common prefixes of the whole corpus in memory (pydivsufsort)
    datatrove    lines across the corpus: SentenceDedup over lines, one line at a time
    faiss        semantic: spherical k-means and cosines within each cluster, as SemDeDup's own code does it
    faiss_rows   the same from rows to rows, with a list of who went for whom
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
    """Reads the matrix and says which rows go: no rows are read or written."""
    import numpy as np

    gone, _, _ = semdedup(np.load(vectors))
    out.write_text(json.dumps({"removed": len(gone)}))
    np.save(out.with_suffix(".npy"), gone)


def faiss_rows(rows: Path, out: Path) -> None:
    """The same from rows to rows: Parquet in, Parquet out, and a list of who went for whom at which cosine."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(rows)
    given = table["v"].combine_chunks()
    gone, keeper, alike = semdedup(given.flatten().to_numpy().reshape(len(table), -1))
    keep = np.ones(len(table), bool)
    keep[gone] = False
    pq.write_table(table.filter(pa.array(keep)), out.with_suffix(".parquet"), compression="none", use_dictionary=False)
    ids = table["id"].combine_chunks()
    pq.write_table(pa.table({"id": ids.take(pa.array(gone)), "keeper": ids.take(pa.array(keeper)), "cosine": alike}), out.with_suffix(".ledger.parquet"))
    out.write_text(json.dumps({"removed": len(gone)}))
    np.save(out.with_suffix(".npy"), gone)


def semdedup(vectors):
    """(rows that go, the row of greatest cosine before each in its cell, that cosine), as SemDeDup's own code finds them."""
    import faiss as library
    import numpy as np

    library.omp_set_num_threads(1)
    given = vectors.astype(np.float32)
    given /= np.linalg.norm(given, axis=1, keepdims=True)
    cells = max(1, round(len(given) / 1024))
    kmeans = library.Kmeans(given.shape[1], cells, niter=20, spherical=True, seed=1)
    kmeans.train(given)
    _, cell = kmeans.index.search(given, 1)
    order = np.argsort(cell[:, 0], kind="stable")
    starts = np.flatnonzero(np.diff(cell[order, 0], prepend=-1))
    gone, keeper, alike = [], [], []
    for rows in np.split(order, starts[1:]):
        products = np.triu(given[rows] @ given[rows].T, 1)
        best = products.max(axis=0)
        hit = np.flatnonzero(best >= 0.95)
        gone.append(rows[hit])
        keeper.append(rows[products[:, hit].argmax(axis=0)])
        alike.append(best[hit])
    return np.concatenate(gone), np.concatenate(keeper), np.concatenate(alike)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
