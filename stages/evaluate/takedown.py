"""What an evaluation gives up in a takedown: the samples in its report that show a lost row."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pyarrow.compute as pc

from pipeline.deletion.lineage import Lost
from pipeline.schema import words_of
from pipeline.storage.store import ARTEFACT, Store


def forget(store: Store, lost: Lost) -> list[str]:
    """Generated samples stand in `report.json` with the prompt and the reference they were held against; those of lost rows go."""
    receipt, manifest = store.receipt(ARTEFACT), store.manifest()
    name = f"{ARTEFACT}/report.json"
    if receipt is None or manifest is None or not store.fs.exists(name):
        return []
    lost_texts = _lost_texts(store, manifest["lineage"], lost)
    report = json.loads(store.fs.read(name))
    gone = 0
    for model in report["models"]:
        kept = [
            sample
            for sample in model["generations"]
            if sample["prompt"] not in lost_texts and sample["reference"] not in lost_texts
        ]
        gone += len(model["generations"]) - len(kept)
        model["generations"] = kept
    if gone:
        store.fs.write(
            name, (json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
        )
    data = store.fs.read(name)
    files = {**receipt.files, "report.json": hashlib.blake2b(data, digest_size=16).hexdigest()}
    sizes = {**receipt.sizes, name: len(data)} if receipt.sizes else {}
    if files != receipt.files:
        by = sorted({*receipt.taken.get("by", []), lost.takedown})
        store.fs.write(
            f"receipts/{ARTEFACT}.json",
            replace(receipt, files=files, sizes=sizes, taken={**receipt.taken, "by": by}).dumps(),
        )
    return [f"{store.name}/{name}"] if gone else []


def _lost_texts(store: Store, lineage: dict, lost: Lost) -> set[str]:
    """Every message of the lost rows of the stores that were evaluated on."""
    root = store.path.rstrip("/").rpartition("/")[0] or "."
    gone = lost.value_set()
    found: set[str] = set()
    for entry in lineage.get("of", []):
        source = Store(entry["store"] if "/" in entry["store"] else f"{root}/{entry['store']}")
        for shard in source.shards():
            if source.fs.exists(f"shards/{shard:05d}.arrow"):
                table = source.read(shard)
                for row in table.filter(pc.is_in(table["id"], value_set=gone)).to_pylist():
                    found |= {row["text"]} if "text" in row else set()
                    found |= {
                        text
                        for side in ("messages", "prompt", "chosen", "rejected")
                        for m in row.get(side) or []
                        for text in words_of(m)
                    }
    return {text for text in found if text}
