"""Labels that people give rows: a journal of who said what of which row and when, and the store made of it.

The journal (`ROOT/labels/journal/NNN.json`, a file a label, so that two people may label one root on object storage too) holds ids and
no text. `write_store` makes `ROOT/labels` of it: the rows themselves with `label`, `tags` and `why`, which `quality-model train`,
`calibrate` and others read as `ROOT/labels[label=keep]`.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.inspection import query
from pipeline.options import digest
from pipeline.schema import DOCUMENT, STR
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.view.corpus import ShownRoot

NAME = "labels"
LABELS = ("keep", "drop")
MOST = 200
"""Characters of tags and of a reason."""


def add(corpus: ShownRoot, row_id: str, store: str, label: str, tags: str, why: str) -> dict[str, Any]:
    """Note a label. UsageError for one that is none."""
    if label not in ("", *LABELS):
        raise UsageError(f"label {label[:20]!r}", f"one of {', '.join(LABELS)}, or none")
    if len(row_id) != 32 or not set(row_id) <= set("0123456789abcdef"):
        raise UsageError("a label needs the id of a row", "32 hex digits")
    corpus.store(store)
    entry = {
        "id": row_id, "store": store, "label": label or None, "why": why.strip()[:MOST] or None, "who": corpus.who,
        "tags": sorted({tag.strip() for tag in tags[:MOST].split(",") if tag.strip()}),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
    filesystem(corpus.root).write(f"{NAME}/journal/{name}", (json.dumps(entry, ensure_ascii=False) + "\n").encode())
    return entry


def read(corpus: ShownRoot) -> list[dict[str, Any]]:
    """The last label of every row, the latest first."""
    where = filesystem(corpus.root)
    last: dict[str, dict[str, Any]] = {}
    for name in where.names(f"{NAME}/journal"):
        entry = json.loads(where.read(f"{NAME}/journal/{name}"))
        last.pop(entry["id"], None)
        last[entry["id"]] = entry
    return [entry for entry in reversed(last.values()) if entry["label"] or entry["tags"]]


def write_store(corpus: ShownRoot) -> Store:
    """The labelled rows as a store: DOCUMENT rows with `label`, `tags` and `why`. Its lineage names the stores they stood in, so that a
    takedown finds them."""
    entries = {entry["id"]: entry for entry in read(corpus)}
    rows: dict[str, dict[str, Any]] = {}
    lineage = []
    for store in corpus.stores().values():
        if store.name == NAME or not query.whole(store) or store.shape != "DOCUMENT":
            continue
        found = query.by_ids(store, [row_id for row_id in entries if row_id not in rows])
        if found:
            rows |= found
            lineage.append({"store": store.name, "content_hash": store.content_hash})
    if not rows:
        raise UsageError("no labelled row is a document of this root", "label documents first")
    schema = pa.schema([*DOCUMENT, ("label", STR), ("tags", pa.list_(STR)), ("why", STR)])
    ordered = sorted(rows)
    columns = ("label", "tags", "why")
    told = [{**rows[row_id], **{name: entries[row_id][name] for name in columns}} for row_id in ordered]
    table = pa.Table.from_pylist(told, schema=schema)
    store = Store(f"{corpus.root}/{NAME}")
    key = digest({"labels": [entries[row_id] for row_id in ordered]})
    store.invalidate_manifest()
    store.put(0, table, Ledger.rows(ordered), key=key, stage=NAME)
    shown = [{"name": field.name, "type": str(field.type)} for field in schema]
    store.commit_manifest(
        {"stage": NAME, "shape": "DOCUMENT", "key": key, "lineage": {"of": lineage}, "schema": shown, "options": {}},
        [0],
    )
    return store
