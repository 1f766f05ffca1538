"""What happened to a row, stage by stage: its ancestors, its decisions with numbers and limits, and what was made of it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SourceError
from pipeline.inspection.inspect import stores_of
from pipeline.inspection.limits import limits_of, measured
from pipeline.inspection.masks import masked
from pipeline.inspection.query import whole
from pipeline.inspection.terminal import escaped
from pipeline.storage.files import Local
from pipeline.storage.opened import at_once, columns_of
from pipeline.storage.shards import number_of
from pipeline.storage.store import Store


class StoreHistory(NamedTuple):
    """What a store's ledger says of a row and its line."""

    store: Store
    rows: list[dict[str, Any]]
    """Ledger rows, at most MOST, each with `measured` (numbers and limits)."""
    count: int
    """All of them."""


def trace(root: str, what: str) -> str:
    """What an id (its first 8 digits and more), or what came of a URL or file, was made of, and what became of it, stage by
    stage. SourceError where nothing is known of it, or where several ids begin so. Ledgers are read batch by batch."""
    stores = stores_of(root)
    found, above = line_of(stores, root, what)
    lines = []
    for store, rows, count in steps_of(stores, found, above):
        lines += [
            f"{escaped(store.name)} ({escaped(store.require()['stage'])})",
            *(f"  {_decision(row)}" for row in rows),
        ]
        lines += [f"  ... {count - MOST} more rows"] if count > MOST else []
    return "\n".join(lines + _where(stores, found, above))


def happened(stores: list[Store], root: str, what: str) -> tuple[set[str], list[StoreHistory]]:
    """The ids that `what` stands for (see `trace`), and what every store's ledger says of them, of what they were made of and of
    what was made of them."""
    found, above = line_of(stores, root, what)
    return found, list(steps_of(stores, found, above))


def line_of(stores: list[Store], root: str, what: str) -> tuple[set[str], set[str]]:
    """The ids that `what` stands for, and their ancestors."""
    found = _ids_of(stores, what)
    if not found:
        raise SourceError(
            f"nothing in {root} has the id, URL or file {what}",
            "give a row id (8 to 32 hex digits), a document's URL, or the name of an input file",
        )
    return found, _reached(stores, found, "out", "id")


def steps_of(stores: list[Store], found: set[str], above: set[str]) -> Iterator[StoreHistory]:
    """What the ledgers say, in the order of the stores; those that say nothing left out."""
    below = _reached(stores, found, "id", "out")
    own, line = found | below, found | below | above
    for store in stores:
        rows, count, limits = [], 0, limits_of(store)
        for row in _matching(store, line):
            # Of an ancestor only what leads here; of the row itself and what came of it, everything.
            if row["out"] in line or row["id"] in own:
                count += 1
                rows += [{**row, "measured": measured(row, limits)}] if count <= MOST else []
        if count:
            yield StoreHistory(store, rows, count)


MOST = 200
"""Ledger rows shown of a store."""
ID = re.compile("[0-9a-f]{8,32}")


def _ids_of(stores: list[Store], what: str) -> set[str]:
    """An id, or the one that begins so; a URL, source or input file stands for the rows that carry it."""
    if ID.fullmatch(what):
        found = {
            i
            for store in stores
            for batch in _edges(store, ["id", "out"])
            for name in ("id", "out")
            for i in _begins(batch[name], what)
        }
        if len(found) > 1:
            listed = ", ".join(sorted(found)[:10]) + (" ..." if len(found) > 10 else "")
            raise SourceError(f"{len(found)} ids begin with {what}: {listed}", "give more digits")
        if found:
            return found
    found, searched = set[str](), set[str]()
    noted = masked([what])[0] or what  # as a ledger says it
    for store in stores:
        for batch in _edges(store, ["id", "source", "locator"]):
            for word in sorted({what, noted}):
                found |= _carry(batch, word, ("source", "locator"))
        # Addresses stay as they are from step to step: those of a store are not looked at where the stores it was made of were.
        before = {entry["store"] for entry in (store.require().get("lineage") or {}).get("of", ())}
        if before and before <= searched:
            searched.add(store.name)
        elif store.shape == "DOCUMENT" and not store.require().get("dropped_text"):
            searched |= {store.name} if whole(store) else set()
            for part in _addresses(store):
                found |= _carry(part, what, ("url", "source"))
    return found


def _addresses(store: Store) -> Iterator[pa.Table | pa.RecordBatch]:
    """Id, url and source of the rows that are on disk; of object storage these columns alone are fetched."""
    written = [entry for entry in store.require()["shards"] if entry["written"]]
    if isinstance(store.fs, Local):
        yield from (batch for entry in written for batch in store.batches(entry["shard"]))
        return

    def fetch(entry: dict[str, Any]) -> pa.Table:
        name = f"shards/{number_of(entry['shard'])}.arrow"
        return columns_of(store.fs, name, entry["bytes"], ("id", "url", "source"))  # type: ignore[arg-type]

    yield from at_once(store.fs, fetch, written)


def _begins(column: pa.Array, what: str) -> list[str]:
    return pc.unique(column.filter(pc.fill_null(pc.starts_with(column, what), False))).to_pylist()


def _carry(batch: pa.Table | pa.RecordBatch, what: str, names: tuple[str, ...]) -> set[str]:
    """Ids of the rows in which one of the columns says `what`; a path fits the file's name alone, and the other way round."""
    parts = what.split("/")
    ends = pa.array([end for n in range(len(parts)) if (end := "/".join(parts[n:]))], pa.large_string())
    found: set[str] = set()
    for name in names:
        if name in batch.schema.names and pa.types.is_large_string(batch.schema.field(name).type):
            column = batch[name]
            hit = pc.or_(
                pc.is_in(column, value_set=ends, skip_nulls=True), pc.fill_null(pc.ends_with(column, f"/{what}"), False)
            )
            found |= set(batch["id"].filter(hit).to_pylist()) if pc.any(hit).as_py() else set()
    return found


def _edges(store: Store, names: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """All ledgers of a store, batch by batch, with those of the columns (default: all) that they have."""
    for ledger in store.ledger_names():
        for batch in store.ledger(ledger).to_batches():
            yield batch.select([name for name in names if name in batch.schema.names]) if names else batch


def _reached(stores: list[Store], start: set[str], by: str, to: str) -> set[str]:
    """Ids reached from `start` through all ledgers: `out` to `id` climbs to ancestors, `id` to `out` goes down."""
    found: set[str] = set()
    frontier = set(start)
    while frontier:
        following: set[str] = set()
        wanted = pa.array(sorted(frontier), pa.large_string())
        for store in stores:
            for batch in _edges(store, [by, to]):
                following |= set(
                    batch[to].filter(pc.is_in(batch[by], value_set=wanted, skip_nulls=True)).drop_null().to_pylist()
                )
        frontier = following - found - start
        found |= frontier
    return found


def _matching(store: Store, ids: set[str]) -> Iterator[dict[str, Any]]:
    wanted = pa.array(sorted(ids), pa.large_string())
    for batch in _edges(store):
        hit = pc.is_in(batch["id"], value_set=wanted)
        yield from batch.filter(hit).to_pylist() if pc.any(hit).as_py() else ()


def _decision(row: dict[str, Any]) -> str:
    who = row["id"]
    if row["reason"]:
        rest = f"dropped: {row['reason']}"
        if len(row["reasons"] or []) > 1:
            rest += " (also " + ", ".join(r for r in row["reasons"] if r != row["reason"]) + ")"
        if numbers := row["measured"]:
            rest += "  " + ", ".join(map(str, numbers))
    elif row["out"] == row["id"]:
        rest = "kept"
    else:
        rest = f"-> {row['out']}" if row["out"] else "used"
    if row["span_start"] is not None:
        rest += f"  span {row['span_start']}:{row['span_end']}"
    if row["duplicate_of"]:
        rest += f"  duplicate of {row['duplicate_of']}"
    if row["edits"]:
        by = sorted({edit["by"].split()[0] for edit in row["edits"] if edit["by"]})
        rest += f"  {len(row['edits'])} edits" + (f" ({', '.join(by)})" if by else "")
    if row["note"]:
        rest += f"  note: {textwrap.shorten(row['note'], 80, placeholder=' ...')}"
    if row.get("source"):
        rest += f"  from {row['source']}" + (f" {row['locator']}" if row.get("locator") else "")
    return escaped(f"{who}  {rest}")


def _where(stores: list[Store], found: set[str], above: set[str]) -> list[str]:
    """Page, span and rule of the rows asked for and of the documents above them, from the first store that has each."""
    lines, named_ids = [], set()
    for store in stores:
        manifest = store.require()
        if (
            store.shape not in ("DOCUMENT", "CHAT", "PAIR")
            or manifest.get("dropped_text")
            or not all(e["written"] for e in manifest["shards"])
        ):
            continue
        for row_id in sorted((found | above) - named_ids)[:50]:
            where = store.find(row_id)
            if where is None:
                continue
            named_ids.add(row_id)
            row = store.row(*where)
            facts = {
                k: row.get(k)
                for k in ("url", "source", "rule", "doc_id", "span_start", "span_end", "licence")
                if row.get(k) is not None
            }
            lines.append(f"{store.name}: {row_id}  " + "  ".join(escaped(f"{k}={v}") for k, v in facts.items()))
    return lines
