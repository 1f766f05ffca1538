"""A root of 100,000 or a million documents: real texts through real steps once, then copies of every step's rows and ledger, ids anew.

python tests/bench/view/make_root.py base OUT TEXTS.jsonl.xz...       # pages -> quality -> unique -> clean, of texts cut at CUT characters
python tests/bench/view/make_root.py copies BASE OUT 50               # each copy a shard; OUT may be s3://bucket/root

A copy's texts end in a line of their own, so that no two are equal; its ids are hashes of the ids and its number.
"""

import hashlib
import json
import lzma
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.inspection.inspect import stores_of
from pipeline.schema import STR
from pipeline.storage.store import Store

CUT = 1_200
"""Characters of a document, at most: some 2 KB."""
STEPS = [
    {"quality": {"filters": [{"language": {"keep": ["ko", "en"], "min": 0.5}}, {"word_count": {"min": 60}}, "gopher_quality",
                             {"fineweb": {"min_ended_lines": None}}]}},
    {"dedup": {"name": "unique", "threshold": 0.8}},
    {"pii": {"name": "clean"}},
]  # fmt: skip


def base(out: str, *archives: str) -> None:
    """Texts (`text` or `markdown` of each line) cut into documents, and the steps over them."""
    with tempfile.TemporaryDirectory() as folder:
        for archive in archives:
            name = Path(archive).name.partition(".")[0]
            with lzma.open(archive, "rt", encoding="utf-8") as rows, open(f"{folder}/{name}.jsonl", "w") as lines:
                for number, row in enumerate(map(json.loads, rows)):
                    text = row.get("markdown") or row["text"]
                    for start in range(0, len(text), CUT):
                        url = f"https://{name.lower()}.example/{number}/{start}"
                        lines.write(json.dumps({"id": url, "text": text[start : start + CUT], "url": url}) + "\n")
        steps = [{"ingest": {"name": "pages", "from": [folder]}}, *STEPS]
        run(parse({"name": "big", "root": out, "seed": 17, "steps": steps, "run": {"pool": "inline"}}))


def copies(root: str, out: str, number: int) -> None:
    """Each store of `root`, `number` times over, a shard a copy."""
    for store in stores_of(root):
        rows, ledger, made = store.table(), store.ledgers(), Store(f"{out}/{store.name}")
        known = pc.unique(pa.concat_arrays([ledger["id"].combine_chunks(), rows["id"].combine_chunks()]).cast(STR))
        for copy in range(number):
            new = np.array([hashlib.md5(f"{row_id}{copy}".encode()).hexdigest() for row_id in known.to_pylist()])

            def named(column: pa.ChunkedArray, new=pa.array(new, STR)) -> pa.ChunkedArray:
                return new.take(pc.index_in(column.cast(STR), value_set=known))

            some = rows.set_column(0, rows.schema.field(0), named(rows["id"]))
            text = pc.binary_join_element_wise(some["text"], pa.scalar(f"copy {copy}", STR), pa.scalar("\n", STR))
            some = some.set_column(some.schema.get_field_index("text"), rows.schema.field("text"), text)
            own = ledger
            for name in ("id", "out", "duplicate_of"):
                own = own.set_column(own.schema.get_field_index(name), ledger.schema.field(name), named(ledger[name]))
            made.put(copy, some, own, key="k", stage=store.require()["stage"], input_ids=own["id"].unique())
        page = {
            name: store.require().get(name) for name in ("stage", "shape", "schema", "lineage", "options", "recipe")
        }
        made.commit_manifest({**page, "key": "k"}, range(number))
        print(f"{made.path}: {made.require()['rows']:,} rows, {made.require()['bytes']:,} bytes")


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    base(*given) if what == "base" else copies(given[0], given[1], int(given[2]))
