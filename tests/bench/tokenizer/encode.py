"""MB/s of tokenising real text on one core: SentencePiece on lists, words of a column once, the Hugging Face tokenizer.

    python tests/bench/tokenizer/encode.py [--megabytes 20] [--vocab-size 32768]

Text: Korean technical Markdown, Korean film reviews, the English Python manual (`../shared/data`), in thirds. The tokenizer is
trained on a sample of the same. Times are CPU seconds of this process; the ids of all three are compared.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SOURCES = (
    ("C-cpp-docs-ko.jsonl.xz", "markdown"),
    ("C-nsmc-reviews.jsonl.xz", "text"),
    ("C-python311-rst-en.jsonl.xz", "text"),
)


def texts(budget: int) -> list[str]:
    """About `budget` bytes, a third of each source, in its order."""
    found = []
    for name, field in SOURCES:
        size = 0
        with lzma.open(REPO.parent / "shared" / "data" / name, "rt", encoding="utf-8") as rows:
            for row in rows:
                found.append(json.loads(row)[field])
                size += len(found[-1].encode())
                if size > budget / len(SOURCES):
                    break
    return found


def main() -> None:
    import pyarrow as pa
    from transformers import AutoTokenizer

    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.schema import DOCUMENT, doc_id
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store
    from stages.models.encoder import Encoder
    from stages.tokenizer import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=20.0)
    parser.add_argument("--vocab-size", type=int, default=32768)
    asked = parser.parse_args()
    given = texts(int(asked.megabytes * 1e6))
    size = sum(len(text.encode()) for text in given) / 1e6
    column = pa.array(given, pa.large_string())
    with tempfile.TemporaryDirectory() as folder:
        docs = Store(f"{folder}/docs")
        rows = [
            dict.fromkeys(DOCUMENT.names) | {"id": doc_id("bench", str(n)), "text": text, "lang": "und"}
            for n, text in enumerate(given)
        ]
        table = pa.Table.from_pylist(rows, schema=DOCUMENT)
        docs.put(0, table, Ledger.rows(table["id"]), key="bench", stage="ingest")
        for kind in ("bpe", "unigram"):
            began = time.process_time()
            sink = Store(f"{folder}/{kind}")
            Tokenizer(vocab_size=asked.vocab_size, model_type=kind, sample_mb=asked.megabytes / 2).run(
                Inputs({"of": [docs]}), sink, Inline()
            )
            print(f"{kind}: trained on {asked.megabytes / 2:g} MB in {time.process_time() - began:.1f} s of all cores")
            encoder, hub = Encoder(sink.artefact()), AutoTokenizer.from_pretrained(str(sink.artefact()))
            encoder.encode_column(column.slice(0, 1))
            ways = {
                "column": encoder.encode_column(column)[0].tolist,
                "lists": lambda: [token for one in encoder.encode(given) for token in one.tolist()],
                "hugging face": lambda: [
                    token
                    for one in hub(given, add_special_tokens=False, split_special_tokens=True)["input_ids"]
                    for token in one
                ],
            }
            ids = {}
            for name, way in ways.items():
                began = time.process_time()
                ids[name] = way()
                spent = time.process_time() - began
                print(f"  {name:<13} {size / spent:6.1f} MB/s  {len(ids[name]):,} tokens")
            assert ids["column"] == ids["lists"] == ids["hugging face"]


if __name__ == "__main__":
    main()
