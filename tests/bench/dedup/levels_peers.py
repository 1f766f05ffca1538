"""The levels' peers, each run in its own environment: python levels_peers.py NAME CORPUS_OR_VECTORS OUT

divsufsort   substrings: suffix array and longest common prefixes of the whole corpus in memory (pydivsufsort)
datatrove    lines across the corpus: SentenceDedup over lines, one line at a time
datatrove_url  addresses: ExactDedup over cleaned addresses
dolma        lines across the corpus: Bloom filter and mixer; dolma_paragraph: between blank lines
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
    from datatrove.pipeline.dedup.sentence_dedup import (
        SentDedupConfig,
        SentenceDedupFilter,
        SentenceDedupSignature,
        SentenceFindDedups,
    )

    config = SentDedupConfig(
        n_sentences=1, split_sentences=False, only_dedup_in_index=True, min_doc_words=0, min_num_sentences=0
    )
    work = out.with_suffix(".work")
    finding = SentenceFindDedups(data_folder=str(work / "sigs"), output_folder=str(work / "dups"), config=config)
    signing = SentenceDedupSignature(output_folder=str(work / "sigs"), config=config, finder_workers=1)
    in_three_steps(corpus, work, signing, finding, SentenceDedupFilter(data_folder=str(work / "dups"), config=config))
    out.write_text("{}")


def datatrove_url(corpus: Path, out: Path) -> None:
    """Its exact deduplication over addresses, cleaned by the few lines that a user writes."""
    from urllib.parse import parse_qsl, urlencode, urlsplit

    from datatrove.pipeline.dedup.exact_dedup import (
        ExactDedupConfig,
        ExactDedupFilter,
        ExactDedupSignature,
        ExactFindDedups,
    )

    def address(doc) -> str:
        parts = urlsplit(doc.metadata["url"])
        query = urlencode([pair for pair in parse_qsl(parts.query) if not pair[0].startswith("utm_")])
        return f"{parts.scheme}://{parts.hostname}{parts.path.rstrip('/')}?{query}"

    config, work = ExactDedupConfig(content_getter=address), out.with_suffix(".work")
    finding = ExactFindDedups(data_folder=str(work / "sigs"), output_folder=str(work / "dups"), config=config)
    signing = ExactDedupSignature(output_folder=str(work / "sigs"), config=config, finder_workers=1)
    in_three_steps(corpus, work, signing, finding, ExactDedupFilter(data_folder=str(work / "dups"), config=config))
    out.write_text("{}")


def in_three_steps(corpus: Path, work: Path, signing, finding, dropping) -> None:
    """datatrove: sign, find, drop, one task each; the kept texts lie in `work`/kept."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    kept = JsonlWriter(str(work / "kept"), compression=None)
    steps = [[JsonlReader(str(corpus)), signing], [finding], [JsonlReader(str(corpus)), dropping, kept]]
    for number, pipeline in enumerate(steps):
        LocalPipelineExecutor(pipeline=pipeline, tasks=1, workers=1, logging_dir=str(work / f"log{number}")).run()


def dolma_paragraph(corpus: Path, out: Path) -> None:
    """The same between blank lines. In 1.2.1 each separator longer than a byte moves the cuts of its text by as much."""
    dolma(corpus, out, paragraph_separator="\n\n")


def dolma(corpus: Path, out: Path, **more: str) -> None:
    """Bloom filter over lines (what it calls paragraphs) of 30 bytes and more (its `min_words` finds nothing in 1.2.1), and its mixer to cut them: its two programs in
    Rust, called as its command line calls them."""
    import importlib.util
    import sysconfig

    (library,) = Path(sysconfig.get_path("purelib")).glob("dolma/dolma*.so")
    spec = importlib.util.spec_from_file_location("dolma", library)
    programs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(programs)
    work = out.with_suffix(".work")
    (work / "documents").mkdir(parents=True, exist_ok=True)
    for path in corpus.glob("*.jsonl"):
        (work / "documents" / path.name).symlink_to(path.resolve())
    common = {"processes": 1, "work_dir": {"input": str(work / "in"), "output": str(work / "out")}}
    documents = [str(work / "documents/*.jsonl")]
    bloom = {
        "file": str(work / "bloom"),
        "read_only": False,
        "estimated_doc_count": 1_000_000,
        "desired_false_positive_rate": 1e-6,
        "size_in_bytes": 0,
    }
    paragraphs = {
        "name": "lines",
        "skip_empty": True,
        "min_length": 30,
        "paragraphs": {"attribute_name": "again", **more},
    }
    programs.deduper_entrypoint(
        json.dumps({"documents": documents, "dedupe": paragraphs, "bloom_filter": bloom, **common})
    )
    stream = {
        "name": "kept",
        "documents": documents,
        "output": {"path": str(work / "kept"), "max_size_in_bytes": 10**11},
        "attributes": ["lines"],
    }
    stream["span_replacement"] = [{"span": "$.attributes.again", "min_score": 0.5, "replacement": ""}]
    programs.mixer_entrypoint(json.dumps({"streams": [stream], **common}))
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
    gone, representative, alike = semdedup(given.flatten().to_numpy().reshape(len(table), -1))
    keep = np.ones(len(table), bool)
    keep[gone] = False
    pq.write_table(table.filter(pa.array(keep)), out.with_suffix(".parquet"), compression="none", use_dictionary=False)
    ids = table["id"].combine_chunks()
    pq.write_table(
        pa.table({"id": ids.take(pa.array(gone)), "duplicate_of": ids.take(pa.array(representative)), "cosine": alike}),
        out.with_suffix(".ledger.parquet"),
    )
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
    gone, representative, alike = [], [], []
    for rows in np.split(order, starts[1:]):
        products = np.triu(given[rows] @ given[rows].T, 1)
        best = products.max(axis=0)
        hit = np.flatnonzero(best >= 0.95)
        gone.append(rows[hit])
        representative.append(rows[products[:, hit].argmax(axis=0)])
        alike.append(best[hit])
    return np.concatenate(gone), np.concatenate(representative), np.concatenate(alike)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
