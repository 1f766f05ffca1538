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

from pipeline.errors import SourceError, UsageError
from pipeline.inspection import query
from pipeline.options import digest
from pipeline.schema import DOCUMENT, STR, is_id
from pipeline.storage.files import Local, Remote, filesystem
from pipeline.storage.ledger import Ledger
from pipeline.storage.opened import at_once
from pipeline.storage.store import Store
from stages.view.corpus import FRESH, ShownRoot

NAME = "labels"
JOURNAL = f"{NAME}/journal"
LABELS = ("keep", "drop")
MOST = 200
"""Characters of tags and of a reason."""


def add(
    corpus: ShownRoot,
    row_id: str,
    store: str,
    label: str | None = None,
    tags: str | None = None,
    why: str | None = None,
) -> dict[str, Any]:
    """Note a label; what is None stays as it was last said of the row. UsageError for one that is none."""
    if label not in (None, "", *LABELS):
        raise UsageError(f"label {label[:20]!r}", f"one of {', '.join(LABELS)}, or none")
    if not is_id(row_id):
        raise UsageError("a label needs the id of a row", "32 hex digits")
    corpus.store(store)
    with corpus.labelling:  # of two at once the second adds to the first
        before = _last(corpus, 0).get(row_id) or {}
        entry = {
            "id": row_id, "store": store, "who": corpus.who, "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "label": before.get("label") if label is None else label or None,
            "why": before.get("why") if why is None else why.strip()[:MOST] or None,
            "tags": before.get("tags") or [] if tags is None else sorted({tag.strip() for tag in tags[:MOST].split(",") if tag.strip()}),
        }  # fmt: skip
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
        filesystem(corpus.root).write(f"{JOURNAL}/{name}", (json.dumps(entry, ensure_ascii=False) + "\n").encode())
        corpus.journal_read = float("-inf")
    return entry


def read(corpus: ShownRoot) -> list[dict[str, Any]]:
    """The last label of every row, the latest first."""
    return [entry for entry in reversed(_last(corpus).values()) if entry["label"] or entry["tags"]]


def of(corpus: ShownRoot, row_ids: list[str]) -> dict[str, dict[str, Any]]:
    """The labels of rows."""
    last = _last(corpus) if row_ids else {}
    return {row_id: last[row_id] for row_id in row_ids if row_id in last}


def _last(corpus: ShownRoot, fresh: float = FRESH) -> dict[str, dict[str, Any]]:
    """What was last said of every row, the latest last. A file is read once: none of them changes. On object storage, those that others
    wrote are looked for again after `fresh` seconds."""
    where = filesystem(corpus.root)
    if isinstance(where, Local) or time.monotonic() - corpus.journal_read > fresh:
        names = where.names(JOURNAL)
        new = [name for name in names if name not in corpus.journal]
        read = dict(zip(new, at_once(where, where.read, [f"{JOURNAL}/{name}" for name in new])))
        corpus.journal = {name: corpus.journal.get(name) or _entry(where, name, read[name]) for name in names}
        corpus.journal_read = time.monotonic()
    last: dict[str, dict[str, Any]] = {}
    for entry in corpus.journal.values():
        last.pop(entry["id"], None)
        last[entry["id"]] = entry
    return last


def _entry(where: Local | Remote, name: str, data: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(data)
        return {key: entry[key] for key in ("id", "store", "label", "tags", "why", "who", "when")}
    except (ValueError, TypeError, KeyError):
        raise SourceError(f"{where.path(f'{JOURNAL}/{name}')} is no label", "take it away") from None


def rows_of(corpus: ShownRoot, entries: list[dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Store and row of each label: the document as it was seen there, or as it stood before the step where it was dropped."""
    ids_of: dict[str, list[str]] = {}
    for entry in entries:
        ids_of.setdefault(entry["store"], []).append(entry["id"])
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, row_ids in ids_of.items():
        store = corpus.stores().get(name)
        if store is None or name == NAME:
            continue
        if query.whole(store) and store.shape == "DOCUMENT":
            found |= {row_id: (name, row) for row_id, row in query.by_ids(store, row_ids).items()}
        found |= corpus.upstream(store, [row_id for row_id in row_ids if row_id not in found])
    return {row_id: (name, row) for row_id, (name, row) in found.items() if corpus.store(name).shape == "DOCUMENT"}


def write_store(corpus: ShownRoot) -> Store:
    """The labelled rows as a store: DOCUMENT rows with `label`, `tags` and `why`. Its lineage names the stores they stood in, so that a
    takedown finds them."""
    store = Store(f"{corpus.root}/{NAME}")
    made = store.manifest()
    if made is not None and made["stage"] != NAME:
        raise UsageError(f"{store.path} is a step of this root", f"give the step another name than {NAME}")
    entries = {entry["id"]: entry for entry in read(corpus)}
    found = rows_of(corpus, list(entries.values()))
    if not found:
        raise UsageError("no labelled row is a document of this root", "label documents first")
    schema = pa.schema([*DOCUMENT, ("label", STR), ("tags", pa.list_(STR)), ("why", STR)])
    ordered = sorted(found)
    columns = ("label", "tags", "why")
    labelled = [{**found[row_id][1], **{name: entries[row_id][name] for name in columns}} for row_id in ordered]
    table = pa.Table.from_pylist(labelled, schema=schema)
    names = sorted({name for name, _ in found.values()})
    lineage = [{"store": name, "content_hash": corpus.store(name).content_hash} for name in names]
    key = digest({"labels": [entries[row_id] for row_id in ordered], "of": lineage})
    store.invalidate_manifest()
    store.put(0, table, Ledger.rows(ordered), key=key, stage=NAME)
    shown = [{"name": field.name, "type": str(field.type)} for field in schema]
    store.commit_manifest(
        {"stage": NAME, "shape": "DOCUMENT", "key": key, "lineage": {"of": lineage}, "schema": shown, "options": {}},
        [0],
    )
    return store
