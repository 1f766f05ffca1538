"""What an evaluation gives up in a takedown: the samples in its report that show a lost row, and the numbers of lost documents."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import compress
from typing import Any

import pyarrow.compute as pc

from pipeline.deletion.lineage import Lost
from pipeline.schema import words_of
from pipeline.storage.store import ARTEFACT, Store


def forget(store: Store, lost: Lost) -> list[str]:
    """Generated samples stand in `report.json` with the prompt and the reference they were held against; those of lost rows go.
    So do the numbers of lost documents in `rows.json`, which stand there by their ids."""
    receipt, manifest = store.receipt(ARTEFACT), store.manifest()
    if receipt is None or manifest is None:
        return []
    lost_texts = _lost_texts(store, manifest["lineage"], lost)
    files, sizes, changed = dict(receipt.files), dict(receipt.sizes), []
    for file, indent, cut in (
        ("report.json", 1, lambda report: _without_samples(report, lost_texts)),
        ("rows.json", None, lambda rows: _without_documents(rows, lost)),
    ):
        name = f"{ARTEFACT}/{file}"
        if not store.fs.exists(name):
            continue
        found = json.loads(store.fs.read(name))
        if cut(found):
            text = json.dumps(found, ensure_ascii=False, indent=indent, sort_keys=indent is not None, allow_nan=False)
            store.fs.write(name, f"{text}\n".encode())
            changed.append(f"{store.name}/{name}")
        data = store.fs.read(
            name
        )  # also where a takedown that was killed has cut it, and the receipt does not know yet
        files[file] = hashlib.blake2b(data, digest_size=16).hexdigest()
        if sizes:
            sizes[name] = len(data)
    if files != receipt.files:
        by = sorted({*receipt.taken.get("by", []), lost.takedown})
        store.unlist_receipts()
        store.fs.write(
            f"receipts/{ARTEFACT}.json",
            replace(receipt, files=files, sizes=sizes, taken={**receipt.taken, "by": by}).dumps(),
        )
    return changed


def _without_samples(report: dict[str, Any], lost_texts: set[str]) -> bool:
    """Cut the samples of lost rows out of `report.json`; was there one?"""
    before = sum(len(model["generations"]) for model in report["models"])
    for model in report["models"]:
        model["generations"] = [
            sample
            for sample in model["generations"]
            if sample["prompt"] not in lost_texts and sample["reference"] not in lost_texts
        ]
    return before != sum(len(model["generations"]) for model in report["models"])


def _without_documents(rows: dict[str, Any], lost: Lost) -> bool:
    """Cut lost documents out of `rows.json`; was there one?"""
    found = rows["documents"]
    stays = [name not in lost.ids for name in found["ids"]]
    for name in ("ids", "bytes"):
        found[name] = list(compress(found[name], stays))
    found["bits"] = {model: list(compress(bits, stays)) for model, bits in found["bits"].items()}
    return not all(stays)


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
