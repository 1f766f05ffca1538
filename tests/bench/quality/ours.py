"""Our four families on the same texts: decisions, and CPU seconds of the rules alone and of the whole stage.

    python ours.py INPUT.jsonl OUTPUT.jsonl

Input and output as in peer_datatrove.py. `rules_cpu_seconds` is reading the bytes and deciding, edits named but not made;
`stage_cpu_seconds` is the Inline stage from a store to a store: edits made, ledger, receipts and shards written. Compiling is
done before the clock starts, as it is for a worker that is reused.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import pyarrow as pa

from pipeline.docs import Docs
from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.schema import DOCUMENT, apply_edits, doc_id
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.quality import Quality
from stages.quality.build import build

FAMILIES = ("gopher_quality", "gopher_repetition", "fineweb", "c4")
BATCH = 1024


def main(source: str, target: str) -> None:
    rows = [json.loads(line) for line in open(source, encoding="utf-8")]
    filters = dict(zip(FAMILIES, build(list(FAMILIES))))
    batches = [
        pa.record_batch({"text": pa.array([row["text"] for row in rows[at : at + BATCH]], pa.large_string())})
        for at in range(0, len(rows), BATCH)
    ]
    for each in filters.values():
        each.evaluate(Docs(batches[0].slice(0, 8)))
    out, spent = [], 0.0
    for number, batch in enumerate(batches):
        docs = Docs(batch)
        began = time.process_time()
        verdicts = {name: each.evaluate(docs) for name, each in filters.items()}
        spent += time.process_time() - began
        for n, row in enumerate(rows[number * BATCH : number * BATCH + len(batch)]):
            own = {name: [v.reason[n] is None, v.reason[n]] for name, v in verdicts.items()}
            text = apply_edits(row["text"], verdicts["c4"].edits[n])[0].strip() if own["c4"][0] else None
            after = hashlib.blake2b(text.encode(), digest_size=8).hexdigest() if text is not None else None
            out.append({"id": row["id"], "verdicts": own, "text_after_c4": after})
    with open(target, "w", encoding="utf-8") as handle:
        for line in out:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
        numbers = {"rules_cpu_seconds": spent, "stage_cpu_seconds": whole_stage(rows), "documents": len(rows)}
        handle.write(json.dumps(numbers) + "\n")


def whole_stage(rows: list[dict]) -> float:
    """CPU seconds of the stage over a store of all rows."""
    with tempfile.TemporaryDirectory() as folder:
        empty = [None] * len(rows)
        values = dict.fromkeys(DOCUMENT.names, empty)
        values |= {"id": [doc_id("bench", row["id"]) for row in rows], "text": [row["text"] for row in rows]}
        table = pa.table([pa.array(values[f.name], f.type) for f in DOCUMENT], schema=DOCUMENT)
        source, sink = Store(f"{folder}/in"), Store(f"{folder}/out")
        source.put(0, table, Ledger.rows(table["id"].to_pylist()), key="bench", stage="bench")
        source.commit_manifest(
            {"stage": "bench", "shape": "DOCUMENT", "key": "bench", "lineage": {}, "schema": []}, [0]
        )
        stage = Quality.build({"filters": list(FAMILIES)}, "quality")
        stage.work(table.slice(0, 8).combine_chunks().to_batches()[0])
        began = time.process_time()
        stage.run(Inputs({"of": [source]}), sink, Inline())
        return time.process_time() - began


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
