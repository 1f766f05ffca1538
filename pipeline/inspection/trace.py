"""What happened to a row, stage by stage: its ancestors, its decisions with numbers and limits, and what was made of it."""

from __future__ import annotations

import re
import textwrap
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SourceError
from pipeline.inspection.inspect import stores_of
from pipeline.inspection.limits import limits_of, measured
from pipeline.inspection.masks import masked
from pipeline.inspection.query import whole
from pipeline.inspection.terminal import escaped
from pipeline.schema import STR
from pipeline.storage.files import Local, filesystem
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


class SearchedShards(NamedTuple):
    """Which shards an address was looked for in: on object storage a page searches some of them, and no further than where it is found."""

    shards: int
    before: int
    """Shards before them."""
    rest: int
    """Those behind."""


def happened(
    stores: list[Store], root: str, what: str, first: int = 0
) -> tuple[set[str], list[StoreHistory], SearchedShards | None]:
    """The ids that `what` stands for (see `trace`), and what every store's ledger says of them, of what they were made of and of
    what was made of them. An address is looked for from the `first`-th shard on; None where all were searched, or none had to be."""
    found, part = _ids_of(stores, what, first, None if isinstance(filesystem(root), Local) else SEARCHED_ROWS)
    if not found and not (part and part.rest):
        raise _unknown(root, what)
    return found, list(steps_of(stores, found, _reached(stores, found, "out", "id"))) if found else [], part


def line_of(stores: list[Store], root: str, what: str) -> tuple[set[str], set[str]]:
    """The ids that `what` stands for, and their ancestors."""
    found, _ = _ids_of(stores, what)
    if not found:
        raise _unknown(root, what)
    return found, _reached(stores, found, "out", "id")


def _unknown(root: str, what: str) -> SourceError:
    return SourceError(
        f"nothing in {root} has the id, URL or file {what}",
        "give a row id (8 to 32 hex digits), a document's URL, or the name of an input file",
    )


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


SEARCHED_ROWS = 1 << 18
"""Rows whose addresses one page looks at on object storage."""


def _ids_of(
    stores: list[Store], what: str, first: int = 0, most: int | None = None
) -> tuple[set[str], SearchedShards | None]:
    """An id, or the one that begins so; a URL, source or input file stands for the rows that carry it. `most`: of rows, see `_carried`."""
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
            return found, None
    found, searched, written = set[str](), set[str](), list[WrittenShard]()
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
            written += [WrittenShard(store, entry) for entry in store.require()["shards"] if entry["written"]]
    carried, part = _carried(written, what, first, most)
    return found | carried, part


class WrittenShard(NamedTuple):
    """A shard whose rows are on disk."""

    store: Store
    entry: dict[str, Any]
    """What the manifest says of it."""


def _carried(
    written: list[WrittenShard], what: str, first: int, most: int | None
) -> tuple[set[str], SearchedShards | None]:
    """Ids of the rows whose URL or source is `what`. `most`: of shards from the `first`-th on that hold so many rows together, at least
    one, and no further than where it is found: each time twice as many rows as before. None: of all shards."""
    carriers = partial(_carriers, what=what)
    if most is None or not written:
        parts = at_once(written[0].store.fs, carriers, written, ABREAST) if written else ()
        return set[str]().union(*parts), None
    ends = list(accumulate((shard.entry["rows"] for shard in written[first:]), initial=0))
    found, count, size = set[str](), 0, FIRST_ROWS
    while not found and first + count < len(written) and (not count or ends[count] < most):
        upto = max(count + 1, bisect_right(ends, min(most, ends[count] + size)) - 1)
        parts = at_once(written[0].store.fs, carriers, written[first + count : first + upto], ABREAST)
        found, count, size = set[str]().union(*parts), upto, 2 * size
    rest = len(written) - first - count
    return found, SearchedShards(count, first, rest) if first or rest else None


FIRST_ROWS = 1 << 15
"""Rows of the shards that are searched first."""
ABREAST = 4
"""Shards of object storage that are searched at once: of each, many batches are."""


def _carriers(shard: WrittenShard, what: str) -> set[str]:
    """Ids of a shard's rows whose URL or source is `what`; of object storage these columns are fetched, and the ids where it is there."""
    store, entry = shard
    if isinstance(store.fs, Local):
        return {row_id for batch in store.batches(entry["shard"]) for row_id in _carry(batch, what, ADDRESS.names)}
    columns = partial(columns_of, store.fs, f"shards/{number_of(entry['shard'])}.arrow", entry["bytes"])
    hit = _says(columns(ADDRESS), what, ADDRESS.names)
    return set(columns(pa.schema([("id", STR)]))["id"].filter(hit).to_pylist()) if pc.any(hit).as_py() else set()


ADDRESS = pa.schema([("url", STR), ("source", STR)])
"""Columns of a row that say where it was read from."""


def _begins(column: pa.Array, what: str) -> list[str]:
    return pc.unique(column.filter(pc.fill_null(pc.starts_with(column, what), False))).to_pylist()


def _carry(batch: pa.Table | pa.RecordBatch, what: str, names: Sequence[str]) -> set[str]:
    """Ids of the rows in which one of the columns says `what`."""
    hit = _says(batch, what, names)
    return set(batch["id"].filter(hit).to_pylist()) if pc.any(hit).as_py() else set()


def _says(batch: pa.Table | pa.RecordBatch, what: str, names: Sequence[str]) -> Any:
    """Of each row, whether one of the columns says `what`; a path fits the file's name alone, and the other way round."""
    parts = what.split("/")
    ends = pa.array([end for n in range(len(parts)) if (end := "/".join(parts[n:]))], pa.large_string())
    hit: Any = pa.array(np.zeros(len(batch), bool))
    for name in names:
        if name in batch.schema.names and pa.types.is_large_string(batch.schema.field(name).type):
            column = batch[name]
            hit = pc.or_(hit, pc.is_in(column, value_set=ends, skip_nulls=True))
            hit = pc.or_(hit, pc.fill_null(pc.ends_with(column, f"/{what}"), False))
    return hit


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
