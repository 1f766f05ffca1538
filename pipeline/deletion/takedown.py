"""Takedown: what a root no longer may hold goes from every store, and nothing else moves.

Lineage is a join, so what descends from a document is found by following the ledgers. Stores are worked from the last to the
first: while a store is rewritten, what it was made of still stands. `takedown.json` is written first and deleted last; in
between no run starts in the root, and the same command goes on where it was killed. A shard is rewritten whole: bytes,
index and ledger, then its receipt, which keeps its key and the hashes it is known by downstream and names the takedown. So
nothing made of it is stale: it has lost the same rows itself.

What a stage keeps beside its rows (recordings, signatures, reports) it gives up itself: `stages/<stage>/takedown.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.deletion import forgotten
from pipeline.deletion.forgotten import PENDING, Forgotten
from pipeline.deletion.lineage import (
    Lineage,
    Lost,
    is_tokens,
    ledger_of,
    parts_of,
    receipts_of,
    rows_of,
    stage_of,
    stores_of,
)
from pipeline.engine import catalog
from pipeline.errors import DamagedStore, SourceError, UsageError
from pipeline.options import digest
from pipeline.schema import STR
from pipeline.storage.files import Local, Remote, filesystem
from pipeline.storage.ledger import COLUMNS, Ledger, Receipt
from pipeline.storage.proof import added
from pipeline.storage.shards import number_of, reason_counts
from pipeline.storage.store import ARTEFACT, Store

PART = "takedown"
"""Folder of a store in which a shard is written before it replaces the old one."""
READY = "ready.json"
"""The new receipt, written when the shard beside it is whole: from then on it replaces the old one, whatever happens."""
LOST_REPRESENTATIVE = "its representative was forgotten"
MASKED = 0
"""Token id written over forgotten ones: the row keeps its length, and no document of it is there to be trained on."""


@dataclass
class Found:
    """What a takedown touches, for the person who asked for it."""

    lost: Lost
    rows: Counter = field(default_factory=Counter)
    """Rows that go, by store (passes included, as `rows/passes/find`)."""
    masked: Counter = field(default_factory=Counter)
    """Packed rows in which tokens are masked, by store."""
    saw: dict[str, int] = field(default_factory=dict)
    """Trained things that were made from such rows: how many of them."""
    depends_on: dict[str, list[str]] = field(default_factory=dict)
    """Trained things that were made from one that saw them."""
    copies: list[dict[str, Any]] = field(default_factory=list)
    """Rows of others that were removed in favour of one that goes."""
    outside: list[str] = field(default_factory=list)
    """Stores of other roots that this one reads."""

    def summary(self) -> dict[str, Any]:
        """Plain JSON without anything of what was forgotten."""
        return {
            "takedown": self.lost.takedown, "rows": dict(self.rows), "masked": dict(self.masked), "saw": self.saw,
            "depends_on": self.depends_on, "copies": self.copies, "outside": self.outside,
        }  # fmt: skip


# -- what is there -----------------------------------------------------------------------------------------------------


def named(root: Local | Remote, stores: Iterable[Store], wanted: Forgotten) -> set[str]:
    """Ids of the rows that carry a forgotten address, domain or licence, or carried it before their text was deleted."""
    found: set[str] = set()
    for store in stores:
        for name, part in parts_of(store):
            for number, receipt in receipts_of(part):
                table = rows_of(part, number, receipt)
                if table is not None and name == f"{store.name}/{forgotten.HASHED}":
                    found |= set(_named_once(root, table, receipt, wanted))
                    continue
                if table is None or "id" not in table.column_names:
                    continue
                for name, hides in (("url", wanted.at), ("source", wanted.at), ("licence", wanted.licensed)):
                    if name in table.column_names:
                        words = [word for word in pc.unique(table[name]).to_pylist() if word and hides(word)]
                        if words:
                            hit = pc.fill_null(
                                pc.is_in(table[name], value_set=pa.array(words, table[name].type)), False
                            )
                            found |= set(table.filter(hit)["id"].to_pylist())
    return found


def _named_once(root: Local | Remote, kept: pa.Table, receipt: Receipt, wanted: Forgotten) -> list[str]:
    key = forgotten.key_of(root)
    if receipt.key != forgotten.keyed("", key).hex():
        raise DamagedStore(
            f"{root.path(forgotten.KEY)} is another key than the hashes were made with",
            "restore the one that stood there first",
        )
    return forgotten.found_in(kept, wanted, key)


def find(root: str, marks: list[tuple[str, str]]) -> Found:
    """What goes from `root` for these (kind, mark), and what it touches. Nothing is written."""
    stores = stores_of(root)
    lineage = Lineage(stores)
    wanted = Forgotten(frozenset(value for _, value in marks))
    ids = {value for kind, value in marks if kind == "id"}
    unknown = ids - lineage.knows(ids)
    if unknown:
        raise SourceError(
            f"{root} knows no document {sorted(unknown)[0]}", f"look it up with `maetdol trace {root} ID_OR_URL`"
        )
    derived = ids - lineage.sources(ids)
    if derived:
        of = ", ".join(sorted(lineage.sources(derived))[:5])
        raise UsageError(
            f"{sorted(derived)[0]} was made of {of}",
            "forget the document: what is made of it goes with it, and would otherwise come back",
        )
    sources = lineage.sources(ids | named(filesystem(root), stores, wanted))
    lost = Lost(
        digest(sorted(value for _, value in marks)), frozenset(sources | lineage.reached(sources, "id", "out")), wanted
    )
    return touched(root, stores, lost)


def touched(root: str, stores: list[Store], lost: Lost) -> Found:
    """Counts of what a takedown touches, store by store."""
    found = Found(lost)
    gone = lost.value_set()
    masked: set[str] = set()
    listed_ids: set[str] = set()
    for store in reversed(stores):
        for name, part in parts_of(store):
            for number, receipt in receipts_of(part):
                rows, ledger = rows_of(part, number, receipt), ledger_of(part, number)
                if rows is not None and is_tokens(rows.schema) and ledger is not None:
                    hit = set(ledger.filter(pc.is_in(ledger["id"], value_set=gone))["out"].drop_null().to_pylist())
                    masked |= hit
                    found.masked[name] += len(hit)
                elif rows is not None:
                    found.rows[name] += int(pc.sum(_names(rows, gone)).as_py() or 0)
                if ledger is not None and number == ARTEFACT:
                    used = ledger.filter(pc.is_null(ledger["reason"]))
                    count = len(
                        pc.unique(
                            used.filter(pc.is_in(used["id"], value_set=pa.array(sorted(lost.ids | masked), STR)))["id"]
                        )
                    )
                    if count:
                        found.saw[name] = count
                if ledger is not None and part is store:
                    found.copies += _copies(name, ledger, gone, listed_ids)
        for entries in ((store.manifest() or {}).get("lineage") or {}).values():
            for entry in entries:
                if "/" in entry["store"]:
                    found.outside.append(entry["store"])
                elif (store.shape or "").startswith("artefact:") and entry["store"] in {*found.saw, *found.depends_on}:
                    found.depends_on.setdefault(store.name, []).append(entry["store"])
    _address(stores, found.copies)
    found.rows, found.masked = (
        Counter({k: v for k, v in found.rows.items() if v}),
        Counter({k: v for k, v in found.masked.items() if v}),
    )
    found.outside = sorted(set(found.outside))
    found.depends_on = {name: sorted(set(on)) for name, on in found.depends_on.items()}
    return found


def _copies(name: str, ledger: pa.Table, gone: pa.Array, listed_ids: set[str]) -> list[dict[str, Any]]:
    """Rows of others that were removed because a forgotten one stayed."""
    hit = pc.and_(
        pc.is_in(ledger["duplicate_of"], value_set=gone, skip_nulls=True),
        pc.invert(pc.is_in(ledger["id"], value_set=gone)),
    )
    rows = [
        row
        for row in ledger.filter(pc.fill_null(hit, False)).select(["id", "reason"]).to_pylist()
        if row["id"] not in listed_ids
    ]
    listed_ids |= {row["id"] for row in rows}
    return [{"store": name, **row, "url": None} for row in rows]


def _address(stores: list[Store], copies: list[dict[str, Any]]) -> None:
    """Fill in the addresses of rows, from the first store that has them."""
    waiting = {row["id"]: row for row in copies}
    for store in reversed(stores):
        for number, receipt in receipts_of(store):
            table = rows_of(store, number, receipt) if waiting else None
            if table is not None and {"id", "url"} <= set(table.column_names):
                hit = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(waiting), STR))).select(
                    ["id", "url"]
                )
                for row in hit.to_pylist():
                    waiting.pop(row["id"])["url"] = row["url"]


def _names(table: pa.Table, gone: pa.Array) -> pa.ChunkedArray | pa.Array:
    """bool per row: does it carry a lost id (its own, its document's, its conversation's)?"""
    hit: Any = pa.chunked_array([pa.array(np.zeros(len(table), dtype=bool))])
    for column in table.schema:
        if (column.name == "id" or column.name.endswith("_id")) and pa.types.is_large_string(column.type):
            hit = pc.or_(hit, pc.fill_null(pc.is_in(table[column.name], value_set=gone, skip_nulls=True), False))
    return hit


# -- what is done ------------------------------------------------------------------------------------------------------


def begin(root: Local | Remote, found: Found, marks: list[tuple[str, str]]) -> None:
    """From here on the takedown is under way. The list comes second: with it alone a run could begin on half the work."""
    root.write(
        PENDING, (json.dumps({"marks": marks, "ids": sorted(found.lost.ids), "found": found.summary()}) + "\n").encode()
    )
    forgotten.note(root, found.lost.takedown, marks)


def pending(root: Local | Remote) -> tuple[Lost, list[tuple[str, str]], dict[str, Any]] | None:
    """The takedown that was begun and not finished, if any: what goes, by which marks, and what was said of it."""
    if not root.exists(PENDING):
        return None
    listed_ids = json.loads(root.read(PENDING))
    marks = [(kind, value) for kind, value in listed_ids["marks"]]
    lost = Lost(
        listed_ids["found"]["takedown"], frozenset(listed_ids["ids"]), Forgotten(frozenset(value for _, value in marks))
    )
    return lost, marks, listed_ids["found"]


def carry_out(root: str, lost: Lost, check: Callable[[], None] = lambda: None) -> list[str]:
    """Rewrite what holds lost rows, the last store first; returns the shards rewritten, as `rows/00000`. `check` is called
    before each store and raises where the root is no longer ours."""
    done: list[str] = []
    for store in stores_of(root):
        check()
        manifest, own = store.manifest(), catalog.hook(stage_of(store), "takedown")
        changed: list[str] = []
        if own is not None:
            changed += own.forget(store, lost)
        tombstone = own.tombstone(store) if own is not None and hasattr(own, "tombstone") else None
        for name, part in parts_of(store):
            _sweep(part)
            changed += [
                f"{name}/{number}"
                for number, receipt in receipts_of(part)
                if rewrite(part, number, receipt, lost, tombstone)
            ]
        # By the receipts, not by what was done just now: a killed takedown may have come as far as here.
        marked = any(lost.takedown in receipt.taken.get("by", []) for _, receipt in receipts_of(store))
        if changed or marked:
            _drop_numbers(store)
        if marked:
            _recount(store, lost)
        if marked and manifest is not None and lost.takedown not in manifest.get("takedowns", []):
            manifest = scrubbed(manifest, lost)
            store.commit_manifest(
                {**manifest, "takedowns": [*manifest.get("takedowns", []), lost.takedown]},
                [entry["shard"] for entry in manifest["shards"]],
            )
        done += changed
    return done


def end(root: Local | Remote) -> None:
    sweep(root, "", "takedowns")
    root.delete(PENDING)


def sweep(where: Local | Remote, *folders: str) -> None:
    """Remove what writers that were killed left under temporary names; object storage has none."""
    for folder in folders if isinstance(where, Local) else ():
        where.sweep(folder)


def _sweep(store: Store) -> None:
    """Finish or undo a shard that a killed takedown was writing. Then: bytes without a receipt do not exist, and after a
    takedown they do not lie there either."""
    if store.fs.exists(f"{PART}/{READY}"):
        _adopt(store)
    proven = {number_of(number) for number, _ in receipts_of(store)}
    store.fs.delete(PART)
    sweep(store.fs, "", "receipts", "shards", "index", "ledger")
    for folder in ("shards", "index", "ledger"):
        for name in store.fs.names(folder):
            if name.partition(".")[0] not in proven:
                store.fs.delete(f"{folder}/{name}")


def _recount(store: Store, lost: Lost) -> None:
    """An artefact's receipt may count inputs that stand in other ledgers of its store (`put_artefact`, `left_out`); those have lost rows too."""
    receipt, ledger = store.receipt(ARTEFACT), ledger_of(store, ARTEFACT)
    if receipt is None or ledger is None or receipt.rows_in == (own := len(pc.unique(ledger["id"]))):
        return
    others = [each for name, each in receipts_of(store) if isinstance(name, str) and name != ARTEFACT]
    reasons = added([reason_counts(ledger), *(each.reasons for each in others)])
    rows_in = own + sum(sum(each.reasons.values()) for each in others)
    if (rows_in, reasons) != (receipt.rows_in, receipt.reasons):
        by = sorted({*receipt.taken.get("by", []), lost.takedown})
        new = replace(receipt, rows_in=rows_in, reasons=reasons, taken={**receipt.taken, "by": by})
        store.unlist_receipts()
        store.fs.write(f"receipts/{ARTEFACT}.json", new.dumps())


def _drop_numbers(store: Store) -> None:
    """Passes that hold nothing but numbers count rows by their position, and positions have changed: they are made again when needed."""
    for name, part in parts_of(store):
        schema = next((rows.schema for n, r in receipts_of(part) if (rows := rows_of(part, n, r)) is not None), None)
        if (
            part is not store
            and schema is not None
            and not any(pa.types.is_large_string(column.type) for column in schema)
        ):
            store.fs.delete(name.partition("/")[2])


def rewrite(store: Store, number: int | str, receipt: Receipt, lost: Lost, tombstone: str | None = None) -> bool:
    """Rewrite one shard (or the ledger of an artefact) without the lost rows. False where it holds none."""
    gone = lost.value_set()
    rows, before = rows_of(store, number, receipt), ledger_of(store, number)
    ledger = None if before is None else listed_ids(before, gone, tombstone)
    kept, same_rows = None, True
    if rows is not None:
        tokens = is_tokens(rows.schema)
        kept = masked(rows, gone) if tokens else rows.filter(pc.invert(_names(rows, gone)))
        same_rows = len(kept) == len(rows) and (not tokens or kept.equals(rows))
        if tokens and ledger is not None and len(kept) < len(rows):
            left = pa.chunked_array(kept["id"]).combine_chunks()
            ledger = ledger.filter(pc.or_(pc.is_null(ledger["out"]), pc.is_in(ledger["out"], value_set=left)))
    notes = scrubbed(receipt.notes, lost)
    if same_rows and (ledger is None or ledger.equals(before)):
        if notes != receipt.notes:
            by = sorted({*receipt.taken.get("by", []), lost.takedown})
            store.unlist_receipts()
            store.fs.write(
                f"receipts/{number_of(number)}.json",
                replace(receipt, notes=notes, taken={**receipt.taken, "by": by}).dumps(),
            )
        return notes != receipt.notes
    part = store.sub(PART)
    if ledger is None:
        ledger = COLUMNS.empty_table()
    if kept is not None and isinstance(number, int):
        made = part.put(number, kept, ledger, key=receipt.key, stage=receipt.stage)
        new = replace(
            receipt, rows=made.rows, bytes=made.bytes, counts=made.counts, sizes=made.sizes, index_hash=made.index_hash
        )
    else:
        made = part.put_ledger(number_of(number), ledger, key=receipt.key, stage=receipt.stage)
        if number == ARTEFACT and before is not None:  # what it counts of other ledgers stays until `_recount`
            made = replace(made, rows_in=made.rows_in + receipt.rows_in - len(pc.unique(before["id"])))
        outs = len(pc.unique(ledger["out"].drop_null())) if isinstance(number, int) else 0
        new = replace(receipt, rows=outs, sizes={**receipt.sizes, **made.sizes} if receipt.sizes else {})
    on_disk = {"content_hash": made.content_hash} if kept is not None else {}
    by = sorted({*receipt.taken.get("by", []), lost.takedown})
    new = replace(
        new,
        notes=notes,
        rows_in=made.rows_in,
        reasons=made.reasons,
        taken={**receipt.taken, "by": by, **on_disk, "ledger_hash": made.ledger_hash},
    )
    part.fs.write(READY, new.dumps())
    _adopt(store)
    return True


def scrubbed(value: Any, lost: Lost) -> Any:
    """Notes without the entries that name a lost row or its address; numbers stay those of the time they were counted."""
    if isinstance(value, dict):
        return {
            name: scrubbed(item, lost)
            for name, item in value.items()
            if not _is_lost(name, lost) and not _is_lost(item, lost)
        }
    if isinstance(value, list):
        return [scrubbed(item, lost) for item in value if not _tells_of(item, lost)]
    return value


def _tells_of(item: Any, lost: Lost) -> bool:
    """An entry of a list goes whole where one of its own values names something lost."""
    values = item.values() if isinstance(item, dict) else item if isinstance(item, list) else [item]
    return any(_is_lost(value, lost) for value in values)


def _is_lost(value: Any, lost: Lost) -> bool:
    return isinstance(value, str) and (value in lost.ids or ("://" in value and lost.forgotten.at(value)))


def _adopt(store: Store) -> None:
    """Put the shard that lies ready over the old one, the receipt last. May be done again after a kill: it stays ready until it is in."""
    part = store.sub(PART)
    new = Receipt.loads(part.fs.read(READY), f"{part.path}/{READY}")
    store.unlist_receipts()
    for folder in ("shards", "index", "ledger"):
        for name in part.fs.names(folder):
            store.fs.write(f"{folder}/{name}", part.fs.read(f"{folder}/{name}"))
    word = next(iter(part.fs.names("receipts")))
    store.fs.write(f"receipts/{word}", new.dumps())
    part.fs.delete(READY)
    store.fs.delete(PART)


def listed_ids(ledger: pa.Table, gone: pa.Array, tombstone: str | None) -> pa.Table:
    """A ledger without the lost rows. Where input lies outside the root (`tombstone`), its id stays, with that reason alone."""
    mine = pc.is_in(ledger["id"], value_set=gone)
    kept = ledger.filter(pc.invert(pc.or_(mine, pc.is_in(ledger["out"], value_set=gone, skip_nulls=True))))
    orphan = pc.fill_null(pc.is_in(kept["duplicate_of"], value_set=gone, skip_nulls=True), False)
    if pc.any(orphan).as_py():
        # Through Python: a null laid over a value may leave the value's bytes in the buffer below.
        lone = orphan.to_pylist()
        for name, word in (("duplicate_of", None), ("note", LOST_REPRESENTATIVE)):
            values = [word if out else value for value, out in zip(kept[name].to_pylist(), lone)]
            kept = kept.set_column(kept.schema.get_field_index(name), kept.schema.field(name), pa.array(values, STR))
    if tombstone is None or not pc.any(mine).as_py():
        return kept
    ids = pc.unique(ledger.filter(mine)["id"])
    return Ledger.concat([kept, Ledger.rows(ids, reason=[tombstone] * len(ids))]).select(ledger.column_names)


def masked(table: pa.Table, gone: pa.Array) -> pa.Table:
    """Packed rows in which no lost document stands: its tokens are `MASKED`, its position is struck from `docs`. Rows that held
    nothing else go."""
    tokens, docs = table["input_ids"].combine_chunks(), table["docs"].combine_chunks()
    flat = docs.values
    hit = np.asarray(pc.fill_null(pc.is_in(pc.struct_field(flat, "id"), value_set=gone), False))
    if not hit.any():
        return table
    row_at, doc_at = (array.offsets.to_numpy().astype(np.int64) for array in (tokens, docs))
    owner = np.repeat(np.arange(len(table)), np.diff(doc_at))
    values = tokens.values.to_numpy(zero_copy_only=False).copy()
    starts, ends = (pc.struct_field(flat, name).to_numpy(zero_copy_only=False) for name in ("start", "end"))
    for span in np.flatnonzero(hit):
        begin = row_at[owner[span]]
        values[begin + starts[span] : begin + ends[span]] = MASKED
    sizes = np.bincount(owner[~hit], minlength=len(table))
    left = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)), flat.filter(pa.array(~hit)), type=docs.type
    )
    made = table.set_column(
        table.schema.get_field_index("input_ids"),
        table.schema.field("input_ids"),
        pa.ListArray.from_arrays(tokens.offsets, pa.array(values, tokens.values.type), type=tokens.type),
    )
    made = made.set_column(table.schema.get_field_index("docs"), table.schema.field("docs"), left)
    lost_docs = np.bincount(owner[hit], minlength=len(table))
    return made.filter(pa.array(~((sizes == 0) & (lost_docs > 0))))
