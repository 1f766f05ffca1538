"""One peer deduplicates a corpus end to end, in its own environment: `python peers.py PEER docs.jsonl OUT`.

Each reads the JSONL, finds near-duplicates the way its own documentation says (word 5-grams, 14 bands of 8 rows, or its
nearest setting), and writes the kept rows as JSONL and their ids as OUT/kept.json. Nothing of the project is imported.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

BANDS, ROWS, WIDTH = 14, 8, 5


def read(path: Path) -> list[dict]:
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def grams(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + WIDTH]) for at in range(max(1, len(words) - WIDTH + 1))] if words else []


def first_of_each(groups, count: int) -> list[int]:
    """Documents kept when every group (a document and its candidates) is joined and the smallest number stays."""
    root = list(range(count))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for number, near in groups:
        for other in near:
            a, b = find(number), find(other)
            root[max(a, b)] = min(a, b)
    return [number for number in range(count) if find(number) == number]


def write(rows: list[dict], kept: list[int], out: Path) -> None:
    with open(out / "kept.jsonl", "w", encoding="utf-8") as lines:
        for number in kept:
            lines.write(json.dumps(rows[number], ensure_ascii=False) + "\n")
    (out / "kept.json").write_text(json.dumps([rows[number]["id"] for number in kept]))


def rensa(source: Path, out: Path) -> None:
    from rensa import RMinHash, RMinHashLSH

    rows = read(source)
    hashes = RMinHash.from_token_sets([grams(row["text"]) for row in rows], BANDS * ROWS, 42)
    index = RMinHashLSH(0.8, BANDS * ROWS, BANDS)
    index.insert_many(hashes)
    write(rows, first_of_each(enumerate(index.query_all(hashes)), len(rows)), out)


def gaoya(source: Path, out: Path) -> None:
    from gaoya.minhash import MinHashStringIndex

    rows = read(source)
    index = MinHashStringIndex(32, 0.5, BANDS, ROWS, None, "word", True, (WIDTH, WIDTH), "vec")
    texts = [row["text"] for row in rows]
    index.par_bulk_insert_docs(list(range(len(rows))), texts)
    write(rows, first_of_each(enumerate(index.par_bulk_query(texts)), len(rows)), out)


def datasketch(source: Path, out: Path) -> None:
    from datasketch import MinHash, MinHashLSH

    rows = read(source)
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    hashes = MinHash.bulk(([gram.encode() for gram in grams(row["text"])] for row in rows), num_perm=BANDS * ROWS)
    with index.insertion_session() as session:
        for number, values in enumerate(hashes):
            session.insert(number, values, check_duplication=False)
    write(rows, first_of_each(((number, index.query(values)) for number, values in enumerate(hashes)), len(rows)), out)


def datatrove(source: Path, out: Path, language: str = "en") -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=WIDTH, num_buckets=BANDS, hashes_per_bucket=ROWS)
    reader = JsonlReader(str(source.parent), glob_pattern=source.name)
    steps = [
        [reader, MinhashDedupSignature(str(out / "sig"), config, language=language)],
        [MinhashDedupBuckets(str(out / "sig"), str(out / "buckets"), config=config)],
        [MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config=config)],
        [reader, MinhashDedupFilter(str(out / "remove")), JsonlWriter(str(out / "kept"), compression=None)],
    ]
    for number, pipeline in enumerate(steps):
        tasks = BANDS if number == 1 else 1
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(out / f"logs{number}")).run()
    kept = [row["id"] for path in sorted((out / "kept").glob("*.jsonl")) for row in read(path)]
    (out / "kept.json").write_text(json.dumps(kept))


def textdedup(source: Path, out: Path) -> None:
    from text_dedup import minhash

    words = [
        "--path",
        "json",
        "--data_files",
        str(source),
        "--split",
        "train",
        "--output",
        str(out / "kept"),
        "--cache_dir",
        str(out / "cache"),
    ]
    words += [
        "--column",
        "text",
        "--batch_size",
        "10000",
        "--num_perm",
        str(BANDS * ROWS),
        "--b",
        str(BANDS),
        "--r",
        str(ROWS),
    ]
    words += ["--ngram", str(WIDTH), "--min_length", "0", "--num_proc", "1", "--hash_func", "xxh3"]
    minhash.main(words, standalone_mode=False)
    import datasets

    (out / "kept.json").write_text(json.dumps(datasets.load_from_disk(str(out / "kept"))["id"][:]))


def datajuicer(source: Path, out: Path) -> None:
    from data_juicer.config import init_configs
    from data_juicer.core import DefaultExecutor

    minhash = {"tokenization": "space", "window_size": WIDTH, "lowercase": True, "ignore_pattern": r"\p{P}"}
    banding = {"num_permutations": BANDS * ROWS, "num_bands": BANDS, "num_rows_per_band": ROWS}
    recipe = {
        "project_name": "bench", "dataset_path": str(source), "export_path": str(out / "kept.jsonl"), "np": 1, "use_cache": False,
        "work_dir": str(out / "work"), "process": [{"document_minhash_deduplicator": minhash | banding}],
    }  # fmt: skip
    (out / "recipe.yaml").write_text(json.dumps(recipe))
    DefaultExecutor(init_configs(["--config", str(out / "recipe.yaml")])).run()
    (out / "kept.json").write_text(json.dumps([row["id"] for row in read(out / "kept.jsonl")]))


if __name__ == "__main__":
    peer, source, out = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    options = {"language": sys.argv[4]} if len(sys.argv) > 4 else {}
    {f.__name__: f for f in (rensa, gaoya, datasketch, datatrove, textdedup, datajuicer)}[peer](source, out, **options)
