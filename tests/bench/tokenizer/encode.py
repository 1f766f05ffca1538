"""MB/s of tokenising real text on one core, by every library that reads the tokenizer, and of `pack`; the ids of all are compared.

    python tests/bench/tokenizer/encode.py [--megabytes 2] [--pack-megabytes 34] [--vocab-size 32768] [--kinds bpe ...]

Text: Korean technical Markdown, the English Python manual, Korean film reviews (`../shared/data`), and the modules of the Python that runs
this; the first `--megabytes` of each for the readers, whose ids are compared, the first `--pack-megabytes` for `pack` and, beside it, gigatoken alone:
the first time (its words are not known) and again. The tokenizers are trained on the same. Times are CPU seconds of this process, one
thread; each reader begins with nothing remembered. Printed as Markdown: RESULTS.md is what it printed.
"""

from __future__ import annotations

import argparse
import base64
import json
import lzma
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SOURCES = {
    "Korean Markdown": ("C-cpp-docs-ko.jsonl.xz", "markdown"),
    "English manual": ("C-python311-rst-en.jsonl.xz", "text"),
    "Korean reviews": ("C-nsmc-reviews.jsonl.xz", "text"),
    "Python code": None,
}
KINDS = {
    "byte_bpe, llama3": {"model_type": "byte_bpe", "pattern": "llama3"},
    "byte_bpe, gpt4o": {"model_type": "byte_bpe", "pattern": "gpt4o"},
    "byte_bpe, qwen": {"model_type": "byte_bpe", "pattern": "qwen"},
    "bpe": {"model_type": "bpe"},
    "unigram": {"model_type": "unigram"},
}
READERS = ("SentencePiece", "tokenizers", "tiktoken", "gigatoken", "Encoder")


def texts(name: str, budget: int) -> list[str]:
    """About `budget` bytes of a source, in its order; all of it where it has fewer."""
    found, size = [], 0
    for text in documents(SOURCES[name]):
        found.append(text)
        size += len(text.encode())
        if size > budget:
            break
    return found


def documents(source: tuple[str, str] | None):
    """The texts of a file of rows; without one, the modules of the standard library."""
    if source is None:
        for path in sorted(Path(os.__file__).parent.rglob("*.py")):
            if "site-packages" not in path.parts:
                yield path.read_text("utf-8", "replace")
        return
    with lzma.open(REPO.parent / "shared" / "data" / source[0], "rt", encoding="utf-8") as rows:
        for row in rows:
            yield json.loads(row)[source[1]]


def store_of(given: list[str], path: str):
    """A committed DOCUMENT store of one shard."""
    import pyarrow as pa

    from pipeline.schema import DOCUMENT, doc_id
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store

    store = Store(path)
    rows = [
        dict.fromkeys(DOCUMENT.names) | {"id": doc_id("bench", str(n)), "text": text, "lang": "und"}
        for n, text in enumerate(given)
    ]
    table = pa.Table.from_pylist(rows, schema=DOCUMENT)
    store.put(0, table, Ledger.rows(table["id"]), key="bench", stage="ingest")
    store.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k", "lineage": {}, "schema": []}, [0])
    return store


def ways(folder: Path, kind: str, given: list[str]):
    """By reader: a function that gives the ids of all texts end to end, made anew each time."""
    import numpy as np
    import pyarrow as pa
    from transformers import AutoTokenizer

    from stages.models.encoder import Encoder
    from stages.models.fast_ids import faster

    column, encoder = pa.array(given, pa.large_string()), Encoder(folder)
    encoder.encode_column(column.slice(0, 1))
    hub = AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer
    hub.encode_special_tokens = True
    flat = lambda parts: [number for part in parts for number in part]  # noqa: E731
    found = {"tokenizers": lambda: flat(one.ids for one in hub.encode_batch_fast(given, add_special_tokens=False))}
    fast = faster(hub, None)
    if fast is not None:
        found["gigatoken"] = lambda: fast._fast(column)[0]
    if kind.startswith("byte_bpe"):
        import tiktoken

        said = json.loads((folder / "tiktoken.json").read_text())
        lines = (line.split() for line in (folder / "ranks.tiktoken").read_bytes().splitlines())
        ranks = tiktoken.Encoding("it", mergeable_ranks={base64.b64decode(a): int(b) for a, b in lines}, **said)
        found["tiktoken"] = lambda: flat(ranks.encode_ordinary(text) for text in given)
    else:
        import sentencepiece

        pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        found["SentencePiece"] = lambda: np.concatenate(pieces.encode(given, return_type="numpy", num_threads=1))
    found["Encoder"] = lambda: encoder.encode_column(column)[0]
    return found


def main() -> None:
    import numpy as np
    import pyarrow as pa

    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.models.encoder import opened
    from stages.pack import Pack
    from stages.tokenizer import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--pack-megabytes", type=float, default=34.0)
    parser.add_argument("--vocab-size", type=int, default=32768)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    asked = parser.parse_args()
    named = ("sentencepiece", "tokenizers", "tiktoken", "gigatoken")
    print(", ".join(f"{name} {version(name)}" for name in named))
    print(
        f"\n| tokenizer | text, MB | {' | '.join(READERS)} | ids | text, MB | documents | gigatoken, first, again | pack, first, again |\n|{'---|' * (len(READERS) + 7)}"
    )
    given = {name: texts(name, int(asked.megabytes * 1e6)) for name in SOURCES}
    larger = {name: texts(name, int(asked.pack_megabytes * 1e6)) for name in SOURCES}

    def timed(size: float, way):
        began = time.process_time()
        return way(), f"{size / (time.process_time() - began):.1f}"

    with tempfile.TemporaryDirectory() as folder:
        corpus = store_of([text for some in given.values() for text in some], f"{folder}/docs")
        stores = {name: store_of(some, f"{folder}/{number}") for number, (name, some) in enumerate(larger.items())}
        for kind in asked.kinds:
            sink = Store(f"{folder}/{kind}")
            Tokenizer(vocab_size=asked.vocab_size, probe_mb=0.2, **KINDS[kind]).run(
                Inputs({"of": [corpus]}), sink, Inline()
            )
            encoder = opened(sink.artefact(), sink.content_hash)
            encoder.encode_column(pa.array(["proven on a first text"], pa.large_string()))
            for name, some in given.items():
                size, whole = (sum(len(text.encode()) for text in part[name]) / 1e6 for part in (given, larger))
                speeds, ids = {}, {}
                for reader, way in ways(sink.artefact(), kind, some).items():
                    ids[reader], speeds[reader] = timed(size, way)
                same = all(np.array_equal(ids["tokenizers"], one) for one in ids.values())
                column, fast = pa.array(larger[name], pa.large_string()), encoder._fast
                alone = packs = ""
                if fast is not None:
                    fast._backend, fast._met = fast._load(), 0
                    alone = ", ".join(
                        timed(whole, lambda fast=fast, column=column: fast._fast(column))[1] for _ in "12"
                    )
                    fast._backend, fast._met = fast._load(), 0
                for number in (1, 2):
                    packed = Store(f"{folder}/{kind}-{name}-{number}")
                    inputs = Inputs({"of": [stores[name]], "tokenizer": [sink]})
                    _, speed = timed(whole, lambda inputs=inputs, packed=packed: Pack().run(inputs, packed, Inline()))
                    packs += f", {speed}" if packs else speed
                cells = [speeds.get(reader, "-") for reader in READERS]
                count = f"{len(ids['tokenizers']):,} {'the same' if same else 'DIFFER'}"
                print(
                    f"| {kind} | {name}, {size:.1f} | {' | '.join(cells)} | {count} | {whole:.1f} | {len(larger[name]):,} | {alone or '-'} | {packs} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
