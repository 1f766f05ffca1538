"""What descends from a document, found by following the ledgers of a root's stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.deletion.forgotten import Forgotten
from pipeline.errors import SourceError
from pipeline.schema import STR
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import COLUMNS, Receipt
from pipeline.storage.store import ARTEFACT, Store


@dataclass(frozen=True)
class Lost:
    """What goes: the ids of every row, and what the documents were named by."""

    takedown: str
    ids: frozenset[str]
    forgotten: Forgotten

    def value_set(self) -> pa.Array:
        return _sorted(self.ids)


@lru_cache(maxsize=2)
def _sorted(ids: frozenset[str]) -> pa.Array:
    return pa.array(sorted(ids), STR)


def stores_of(root: str) -> list[Store]:
    """Every store of the root, finished or not, the last made first."""
    base = filesystem(root)
    found = {
        name: Store(base.path(name))
        for name in base.folders()
        if base.names(f"{name}/receipts") or base.exists(f"{name}/manifest.json")
    }
    if not found:
        raise SourceError(f"{root} holds no stores", "give the root of a run, e.g. runs/quickstart")
    order: list[str] = []

    def visit(name: str) -> None:
        if name in found and name not in order:
            for entries in ((found[name].manifest() or {}).get("lineage") or {}).values():
                for entry in entries:
                    visit(entry["store"])
            order.append(name)

    for name in sorted(found, key=lambda name: (found[name].manifest() is None, name)):
        visit(name)
    return [found[name] for name in reversed(order)]


def stage_of(store: Store) -> str | None:
    """The stage that made the store, as its manifest or a receipt says."""
    manifest = store.manifest()
    if manifest is not None:
        return manifest.get("stage")
    return next((receipt.stage for _, receipt in receipts_of(store)), None)


def parts_of(store: Store) -> Iterator[tuple[str, Store]]:
    """The store and its passes, by name below the root."""
    yield store.name, store
    for name in store.fs.sub("passes").folders() if store.fs.exists("passes") else []:
        sub = store.sub(f"passes/{name}")
        if sub.fs.names("receipts"):
            yield f"{store.name}/passes/{name}", sub


def receipts_of(store: Store) -> Iterator[tuple[int | str, Receipt]]:
    known = store.listed()
    for name in store.fs.names("receipts"):
        word = name.removesuffix(".json")
        receipt = known.get(word) or Receipt.loads(store.fs.read(f"receipts/{name}"), f"{store.path}/receipts/{name}")
        yield (int(word) if word.isdigit() else word), receipt


def ledger_of(store: Store, number: int | str) -> pa.Table | None:
    name = f"{number:05d}" if isinstance(number, int) else number
    return store.ledger(number) if store.fs.exists(f"ledger/{name}.arrow") else None


def rows_of(store: Store, number: int | str, receipt: Receipt) -> pa.Table | None:
    whole = isinstance(number, int) and receipt.written and store.fs.exists(f"shards/{number:05d}.arrow")
    return store.read(number) if whole else None  # type: ignore[arg-type]


def is_tokens(schema: pa.Schema) -> bool:
    return "input_ids" in schema.names and "docs" in schema.names


# -- who goes ----------------------------------------------------------------------------------------------------------


class Lineage:
    """All ledgers of a root as edges: what was made of what. Packed rows hold others too and are no descendants here."""

    def __init__(self, stores: Iterable[Store]):
        tables = []
        for store in stores:
            for _, part in parts_of(store):
                for number, receipt in receipts_of(part):
                    ledger = ledger_of(part, number)
                    rows = rows_of(part, number, receipt) if ledger is not None and number != ARTEFACT else None
                    if ledger is not None and number != ARTEFACT and not (rows is not None and is_tokens(rows.schema)):
                        tables.append(ledger.select(["id", "out"]))
        edges = pa.concat_tables(tables) if tables else COLUMNS.empty_table().select(["id", "out"])
        self._all = edges
        moved = edges.filter(pc.fill_null(pc.not_equal(edges["id"], edges["out"]), False))
        self.edges = moved.group_by(["id", "out"]).aggregate([])

    def knows(self, ids: set[str]) -> set[str]:
        """Those of `ids` that any ledger names."""
        wanted = pa.array(sorted(ids), STR)
        return {
            i
            for name in ("id", "out")
            for i in self._all.filter(pc.is_in(self._all[name], value_set=wanted, skip_nulls=True))[name].to_pylist()
        }

    def reached(self, start: Iterable[str], by: str, to: str) -> set[str]:
        """Ids reached from `start` (themselves left out): `id` to `out` goes down, `out` to `id` climbs."""
        found: set[str] = set()
        frontier = set(start)
        while frontier:
            hit = pc.is_in(self.edges[by], value_set=pa.array(sorted(frontier), STR))
            frontier = set(self.edges.filter(hit)[to].to_pylist()) - found
            found |= frontier
        return found

    def sources(self, ids: set[str]) -> set[str]:
        """The documents that `ids` come from: those made of nothing else."""
        above = ids | self.reached(ids, "out", "id")
        made = set(
            self.edges.filter(pc.is_in(self.edges["out"], value_set=pa.array(sorted(above), STR)))["out"].to_pylist()
        )
        return above - made
