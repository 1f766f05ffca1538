"""The sharded Arrow store: shards, their ledgers, their receipts, a manifest, and trained artefacts (format 1).

    STORE/manifest.json            what the store is; readers go by it
    STORE/shards/NNNNN.arrow       Arrow IPC files, uncompressed so that they map
    STORE/index/NNNNN.ids          sorted (id hash, row) pairs: random access by id
    STORE/ledger/NNNNN.arrow       what became of every input
    STORE/receipts/NNNNN.json      the proof, written last
    STORE/receipts.all             a copy of all proofs of a finished stage, to be read at once
    STORE/passes/<pass>/...        a barrier stage's own sub-stores
    STORE/artefact/...             a trained thing, proven by receipts/artefact.json

A shard without receipt does not exist. Stores of every earlier version are read: columns that came later are null.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import DamagedStore, NewerStore, SourceError, repair_hint
from pipeline.options import content_hash, digest
from pipeline.schema import current, fitted, is_id, shape_of, unified, upgraded
from pipeline.storage.artefacts import fetch
from pipeline.storage.files import Local, filesystem, tried
from pipeline.storage.ledger import Ledger, Receipt, with_hash
from pipeline.storage.opened import at_once
from pipeline.storage.proof import (
    ARTEFACT,
    FOLDERS,
    FORMAT,
    LIST,
    added,
    held,
    held_artefact,
    manifest_of,
    read_list,
    sizes_of,
    summed,
    write_list,
    wrong_sizes,
)
from pipeline.storage.shards import (
    BATCH_BYTES,
    BATCH_ROWS,
    INDEX,
    SHARD_BYTES,
    SHARD_ROWS,
    ShardWriter,
    build_index,
    hash_of,
    number_of,
    reason_counts,
    stamp,
    write_table,
)

__all__ = ["ARTEFACT", "BATCH_BYTES", "BATCH_ROWS", "FORMAT", "SHARD_BYTES", "SHARD_ROWS", "Store"]


class Store:
    """A store at a local path or an object-storage URL (`s3://bucket/folder`). Nothing is read until it is asked for."""

    def __init__(self, path: str | os.PathLike, codec: str | None = None):
        self.fs = filesystem(path)
        self.path = self.fs.path("")
        self.codec = codec

    def __reduce__(self):
        return (Store, (self.path, self.codec))

    def __repr__(self) -> str:
        return f"Store({self.path!r})"

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    def sub(self, name: str) -> Store:
        """A store inside this one, such as `passes/minhash`."""
        return Store(self.fs.path(name))

    # -- what is there ---------------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None where no stage has ended. DamagedStore when it cannot be read or is of a newer format."""
        try:
            return manifest_of(self.fs.read("manifest.json"), self.path)
        except FileNotFoundError:
            return None

    def require(self) -> dict[str, Any]:
        """The manifest; SourceError where `path` is no finished store."""
        manifest = self.manifest()
        if manifest is None:
            raise SourceError(
                f"{self.path} is not a finished store (it has no manifest.json)",
                "run the stage that makes it, or give another path",
            )
        return manifest

    def receipts(self) -> dict[int, Receipt]:
        """Every shard receipt, by shard number: what is proven, finished stage or not. One read where there is a list of them."""
        if known := self.listed():
            return {int(name): receipt for name, receipt in known.items() if name.isdigit()}
        return self._on_disk()

    def _on_disk(self) -> dict[int, Receipt]:
        """The receipts of shards, read one by one."""
        there = (name.removesuffix(".json") for name in self.fs.names("receipts") if name.endswith(".json"))
        names = [f"receipts/{stem}.json" for stem in sorted(filter(str.isdigit, there), key=int)]
        found = (
            Receipt.loads(data, f"{self.path}/{name}")
            for name, data in zip(names, at_once(self.fs, self.fs.read, names))
        )
        return {int(name[9:-5]): receipt for name, receipt in zip(names, found)}

    def receipt(self, shard: int | str) -> Receipt | None:
        """The receipt of a shard, an artefact or a ledger without a shard; None where there is none."""
        name = f"receipts/{number_of(shard)}.json"
        try:
            return Receipt.loads(self.fs.read(name), f"{self.path}/{name}")
        except FileNotFoundError:
            return None

    def listed(self, there: dict[str, int] | None = None) -> dict[str, Receipt]:
        """The receipts by name (`00000`, `artefact`) as the list of them says, if one counts; empty where none does. `there`
        (`sizes()`): only those whose own files are as long as they were."""
        try:
            manifest = self.manifest()
        except NewerStore:
            raise
        except DamagedStore:
            return {}
        found = read_list(self.fs, manifest)
        same = (there is None or there.get(f"receipts/{name}.json") == size for name, (_, size) in found.items())
        return {name: listed.receipt for (name, listed), holds in zip(found.items(), same) if holds}

    def list_receipts(self, receipts: Iterable[Receipt]) -> str:
        """Write the list of these, which are all, so that they are read at once; returns its hash. One alone needs none: ""."""
        return write_list(self.fs, list(receipts))

    def unlist_receipts(self) -> None:
        """Take the list away, before a receipt changes."""
        self.fs.delete(LIST)

    def sizes(self) -> dict[str, int]:
        """Bytes of every file that receipts speak of, by name: a listing a folder, however many shards there are."""
        return {name: size for folder in FOLDERS for name, size in self.fs.sizes(folder).items()}

    def shards(self) -> list[int]:
        """Shard numbers, ascending: by the manifest, or by the receipts while the stage is under way."""
        manifest = self.manifest()
        if manifest is not None:
            return [entry["shard"] for entry in manifest["shards"]]
        stems = (name.removesuffix(".json") for name in self.fs.names("receipts"))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def hashes(self) -> dict[int, str]:
        """Content hash per shard."""
        manifest = self.manifest()
        if manifest is not None:
            return {entry["shard"]: entry["content_hash"] for entry in manifest["shards"]}
        return {number: receipt.content_hash for number, receipt in self.receipts().items()}

    @property
    def content_hash(self) -> str:
        """Hash over all shards and the artefact: the identity of the store's bytes."""
        manifest = self.manifest()
        artefact = manifest["artefact"]["content_hash"] if manifest and manifest.get("artefact") else None
        if manifest is None and (receipt := self.receipt(ARTEFACT)):
            artefact = receipt.content_hash
        return digest({"shards": {str(shard): value for shard, value in self.hashes().items()}, "artefact": artefact})

    @property
    def schema(self) -> pa.Schema:
        """The columns of all shards: those of the shape, then extra ones, which a shard may lack. Bytes are not held here."""
        manifest = self.manifest() or {}
        shards = manifest.get("columns_in") or self.shards()
        if not shards:
            raise SourceError(f"{self.path} has no shards", "run the stage that makes it")
        return self.columns(shards)

    def columns(self, shards: Iterable[int]) -> pa.Schema:
        """The columns of these shards together."""
        try:
            return unified(current(self._schema_of(shard)) for shard in shards)
        except ValueError as fault:
            raise SourceError(
                f"{self.path}: shards of unlike columns: {fault}",
                "read it shard by shard, or make these columns of one type",
            ) from None

    @property
    def shape(self) -> str | None:
        """DOCUMENT, CHAT, PAIR or TOKENS; `artefact:<kind>` for a trained thing; None for other columns."""
        manifest = self.manifest()
        if manifest is not None:
            return manifest["shape"]
        return shape_of(self.schema) if self.shards() else None

    # -- reading ---------------------------------------------------------------------------------------------------

    def _open(self, name: str, shard: int | str, proof: str) -> pa.ipc.RecordBatchFileReader:
        """An Arrow file whose bytes are those that the receipt's `proof` (an attribute) is the hash of."""
        with self._damage_of(name):
            data = held(self.fs, name, getattr(self.require_receipt(shard), proof), self.path)
            return pa.ipc.open_file(data if data is not None else pa.memory_map(self.fs.path(name)))

    def require_receipt(self, shard: int | str) -> Receipt:
        """The receipt; DamagedStore where there is none."""
        if (receipt := self.receipt(shard)) is None:
            name = self.fs.path(f"receipts/{number_of(shard)}.json")
            raise DamagedStore(f"{name} is missing", repair_hint(self.path))
        return receipt

    @contextmanager
    def _damage_of(self, name: str) -> Iterator[None]:
        """Faults of an Arrow file as DamagedStore."""
        try:
            yield
        except FileNotFoundError:
            raise DamagedStore(f"{self.fs.path(name)} is missing", repair_hint(self.path)) from None
        except pa.ArrowInvalid as fault:
            raise DamagedStore(f"{self.fs.path(name)} cannot be read: {fault}", repair_hint(self.path)) from None

    def _schema_of(self, shard: int) -> pa.Schema:
        """The columns of a shard as they were written: the end of its file is read."""
        name = f"shards/{number_of(shard)}.arrow"

        def read() -> pa.Schema:
            with self.fs.open(name) as handle:
                return pa.ipc.open_file(handle).schema

        with self._damage_of(name):
            return tried(read, self.path)

    def _rows(self, shard: int) -> pa.ipc.RecordBatchFileReader:
        return self._open(f"shards/{number_of(shard)}.arrow", shard, "bytes_hash")

    def read(self, shard: int) -> pa.Table:
        """A shard as a table, memory-mapped on local disk. A fused step's shard is not on disk: see `pipeline.engine.run`.

        Its bytes are held against the receipt first (once a process); DamagedStore where they differ.
        """
        return upgraded(self._rows(shard).read_all())

    def batches(self, shard: int) -> Iterator[pa.RecordBatch]:
        """Record batches of at most 1,024 rows or 16 MiB; a larger row stands alone. Held against the receipt like `read`."""
        wanted = current((reader := self._rows(shard)).schema)
        for index in range(reader.num_record_batches):
            yield upgraded(reader.get_batch(index), wanted)

    def ledger(self, shard: int | str) -> pa.Table:
        """What became of the inputs of a shard (or of the artefact). Held against the receipt like `read`."""
        return Ledger.current(self._open(f"ledger/{number_of(shard)}.arrow", shard, "ledger_bytes_hash").read_all())

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The whole store as one mapped table (local disk: no copy); null where a shard lacks an extra column."""
        if not self.shards():
            return pa.table({})
        schema = self.schema
        schema = pa.schema([schema.field(name) for name in columns]) if columns else schema
        return pa.concat_tables([fitted(self.read(shard), schema) for shard in self.shards()])

    def ledgers(self) -> pa.Table:
        """All ledgers as one table."""
        return Ledger.concat(self.ledger(name) for name in self.ledger_names())

    def ledger_names(self) -> list[str]:
        """The ledgers that are proven: of shards, of the artefact, and those without a shard."""
        proven = {number_of(number) for number in self.shards()}
        receipts, ledgers = at_once(self.fs, self.fs.names, ["receipts", "ledger"])
        proven |= {name[:-5] for name in receipts if name.endswith(".json") and not name[:-5].isdigit()}
        return [name[:-6] for name in ledgers if name.endswith(".arrow") and name[:-6] in proven]

    def files(self, of: Sequence[int] | None = None) -> list[str]:
        """Paths of the shards (`of`: of these), for `datasets.load_dataset("arrow", data_files=...)` and `polars.scan_ipc`: as they were written,
        so that extra columns may stand in some of them only (`table`, `dataset` and `scan` fill in nulls).
        On local disk their bytes are held against the receipts first, like `read`; on object storage, where whoever is given the
        paths would fetch all of them again, their lengths are (`scan` holds the bytes). DamagedStore where they differ.
        """
        shards, known = self.shards() if of is None else of, self.listed()
        names = [f"shards/{number_of(shard)}.arrow" for shard in shards]
        proofs = [known.get(number_of(shard)) or self.require_receipt(shard) for shard in shards]
        if isinstance(self.fs, Local):
            for name, receipt in zip(names, proofs):
                held(self.fs, name, receipt.bytes_hash, self.path)
        else:
            sizes = {name: size for receipt in proofs for name, size in sizes_of(receipt, receipt.shard).items()}
            for name, what in wrong_sizes({name: sizes.get(name) for name in names}, self.fs.sizes("shards")).items():
                raise DamagedStore(f"{self.fs.path(name)} {what}", repair_hint(self.path))
        return [self.fs.path(name) for name in names]

    def ledger_files(self) -> list[str]:
        """Paths of the ledgers, likewise."""
        names = self.ledger_names()
        known = self.listed() if isinstance(self.fs, Local) else {}
        for name in names if isinstance(self.fs, Local) else ():
            receipt = known.get(name) or self.require_receipt(name)
            held(self.fs, f"ledger/{name}.arrow", receipt.ledger_bytes_hash, self.path)
        return [self.fs.path(f"ledger/{name}.arrow") for name in names]

    def dataset(self, columns: Sequence[str] | None = None) -> Any:
        """The store as a Hugging Face `datasets.Dataset` over the mapped buffers, without a copy."""
        from datasets import Dataset
        from datasets.table import InMemoryTable

        return Dataset(InMemoryTable(self.table(columns)))

    def scan(self, of: Sequence[int] | None = None) -> Any:
        """The store (`of`: these shards) as a `pyarrow.dataset.Dataset`. A shard is held against its receipt when it is opened, so that it is read
        once; from object storage it is fetched whole. DamagedStore, while it is read, where it differs."""
        from pipeline.storage.opened import dataset

        names = [f"shards/{number_of(shard)}.arrow" for shard in (self.shards() if of is None else of)]
        return dataset(
            names, self.schema if names else None, partial(_content, self, self.listed()), self.fs.sizes("shards")
        )

    def find(self, row_id: str) -> tuple[int, int] | None:
        """(shard, row) of an id through the index, or None."""
        wanted = np.uint64(int(row_id[:16], 16)) if is_id(row_id) else None
        if wanted is None:
            return None
        for shard in self.shards():
            index = self.index(shard)
            at = int(np.searchsorted(index["hash"], wanted))
            while at < len(index) and index["hash"][at] == wanted:
                row = int(index["row"][at])
                if self.read(shard).column("id")[row].as_py() == row_id:
                    return shard, row
                at += 1
        return None

    def row(self, shard: int, row: int) -> dict[str, Any]:
        return self.read(shard).slice(row, 1).to_pylist()[0]

    def index(self, shard: int) -> np.ndarray:
        """(hash, row) of every id of a shard, sorted; held against the receipt, made anew where no file is."""
        name, receipt = f"index/{number_of(shard)}.ids", self.receipt(shard)
        try:
            data = self.fs.read(name)
        except FileNotFoundError:
            return build_index(self.read(shard).column("id"))
        if receipt and receipt.index_hash and hash_of(data) != receipt.index_hash:
            raise DamagedStore(f"{self.fs.path(name)} does not match its receipt", repair_hint(self.path))
        return np.frombuffer(data, dtype=INDEX)

    def artefact(self) -> Path:
        """Folder of the trained thing. SourceError where the store holds none. Remote ones are fetched to a local cache."""
        receipt = self.receipt(ARTEFACT)
        if receipt is None:
            raise SourceError(f"{self.path} holds no artefact", "run the stage that trains it, or give another path")
        if isinstance(self.fs, Local):
            held_artefact(self.fs.root / ARTEFACT, receipt.files, self.path)
            return Path(self.fs.path(ARTEFACT))
        return fetch(self.fs, self.path, receipt)

    # -- writing ---------------------------------------------------------------------------------------------------

    def writer(self, shard: int, *, stage: str, key: str, written: bool = True, beside: bool = False) -> ShardWriter:
        """A shard under way: use `with`, then `commit()`. Deletes an old receipt first; `beside` another writer of the shard, none."""
        return ShardWriter(self.fs, shard, stage, key, written, self.codec, beside)

    def put(
        self,
        shard: int,
        kept: pa.Table | Iterable[pa.RecordBatch],
        ledger: pa.Table | None,
        *,
        key: str,
        stage: str = "",
        input_ids: pa.ChunkedArray | pa.Array | None = None,
        notes: dict[str, Any] | None = None,
        **proof: Any,
    ) -> Receipt:
        """Write one whole shard, its ledger (None: its rows are no documents), and last its receipt."""
        with self.writer(shard, stage=stage, key=key) as writer:
            table: Any = kept if isinstance(kept, pa.Table) else None
            if table is not None:
                writer.expect(table.schema)
            for batch in kept if table is None else table.to_batches():
                writer.write(batch)
            writer.ledgered, writer.ledgers = ledger is not None, [] if ledger is None else [ledger]
            return writer.commit(input_ids=input_ids, notes=notes or {}, **proof)

    def put_artefact(
        self,
        folder: Path,
        ledger: pa.Table,
        *,
        key: str,
        stage: str = "",
        left_out: dict[str, int] | None = None,
        notes: dict[str, Any] | None = None,
        **proof: Any,
    ) -> Receipt:
        """Adopt `folder` as the store's artefact: copied file by file, then proven by one receipt over their hashes. `left_out`:
        inputs it was made without that stand in other ledgers of the store, by reason."""
        self.unlist_receipts()
        self.fs.delete(f"receipts/{ARTEFACT}.json")
        self.fs.delete(ARTEFACT)
        files, sizes = {}, {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            files[name], sizes[f"{ARTEFACT}/{name}"] = content_hash(path), path.stat().st_size
            with open(path, "rb") as source, self.fs.create(f"{ARTEFACT}/{name}") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
        written = write_table(self.fs, f"ledger/{ARTEFACT}.arrow", ledger)
        receipt = Receipt(
            stage=stage, shard=-1, key=key, content_hash=digest(files), ledger_hash=written.hash, bytes=sum(sizes.values()),
            rows_in=len(ledger["id"].unique()) + sum((left_out or {}).values()),
            reasons=added([reason_counts(ledger), left_out or {}]), notes=notes or {}, files=files,
            sizes={**sizes, f"ledger/{ARTEFACT}.arrow": written.bytes}, **{**stamp(), **proof},
        )  # fmt: skip
        self.fs.write(f"receipts/{ARTEFACT}.json", receipt.dumps())
        return receipt

    def put_ledger(
        self, name: str, ledger: pa.Table, *, key: str, stage: str = "", notes: dict[str, Any] | None = None
    ) -> Receipt:
        """A ledger without a shard (files that could not be opened, records that were skipped), proven by its own receipt."""
        self.fs.delete(f"receipts/{name}.json")
        written = write_table(self.fs, f"ledger/{name}.arrow", ledger)
        receipt = Receipt(
            stage=stage, shard=-1, key=key, content_hash=written.hash, ledger_hash=written.hash,
            rows_in=len(ledger["id"].unique()), reasons=reason_counts(ledger), notes=notes or {},
            sizes={f"ledger/{name}.arrow": written.bytes}, **stamp(),
        )  # fmt: skip
        self.fs.write(f"receipts/{name}.json", receipt.dumps())
        return receipt

    def commit_manifest(
        self, manifest: dict[str, Any], shards: Sequence[int], known: dict[int, Receipt] | None = None
    ) -> dict[str, Any]:
        """Write the manifest over the receipts of `shards` (`known`, else those on disk) and remove every other shard."""
        receipts, wanted = self._on_disk() if known is None else known, set(shards)
        if absent := sorted(wanted - (self._remove_orphans(wanted) & set(receipts))):
            raise DamagedStore(
                f"{self.path}: shards {absent[:5]} have no receipt",
                "run the same command again: only what is missing is redone",
            )
        proofs, artefact = [receipts[number] for number in sorted(wanted)], self.receipt(ARTEFACT)
        blank = {"format": FORMAT, "stage": "", "shape": None, "key": "", "lineage": {}, "schema": []}
        listed = self.list_receipts([*proofs, *([artefact] if artefact else [])])
        full = {**blank, **manifest, **summed(proofs, artefact), "receipts": listed}
        self.write_manifest(full)
        return full

    def write_manifest(self, page: dict[str, Any]) -> None:
        """Replace the manifest; a hash over the rest of it stands in it, so that damage is seen."""
        self.fs.write("manifest.json", (json.dumps(with_hash(page), ensure_ascii=False, indent=1) + "\n").encode())

    def invalidate_manifest(self) -> None:
        """Take the manifest away before a stage works on the store again."""
        self.fs.delete("manifest.json")

    def drop(self, shard: int | str) -> None:
        """Remove one shard, its proof first."""
        self.unlist_receipts()
        number = number_of(shard)
        for name in (
            f"receipts/{number}.json",
            f"shards/{number}.arrow",
            f"index/{number}.ids",
            f"ledger/{number}.arrow",
        ):
            self.fs.delete(name)

    def _remove_orphans(self, wanted: set[int]) -> set[int]:
        """Remove the files of every other shard; the numbers of all receipts that were there."""
        there: dict[str, set[int]] = {}
        for folder, ending in (("receipts", ".json"), ("shards", ".arrow"), ("ledger", ".arrow"), ("index", ".ids")):
            self.fs.sweep(folder)
            stems = [name.removesuffix(ending) for name in self.fs.names(folder)]
            there[folder] = set(map(int, filter(str.isdigit, stems)))
            if there["receipts"] - wanted:
                self.unlist_receipts()
            for number in sorted(there[folder] - wanted):
                self.fs.delete(f"{folder}/{number_of(number)}{ending}")
        return there["receipts"]


def _content(store: Store, known: dict[str, Receipt], name: str) -> bytes | str:
    """The bytes of a shard's file, or the local path to map, held against its receipt: of those that are `known`, or its own."""
    number = name.removeprefix("shards/").removesuffix(".arrow")
    receipt = known.get(number) or store.require_receipt(number)
    with store._damage_of(name):
        data = held(store.fs, name, receipt.bytes_hash, store.path)
    return store.fs.path(name) if data is None else data
