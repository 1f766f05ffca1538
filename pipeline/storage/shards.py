"""One shard under way: batches in, one Arrow file, its index, its ledger and last its receipt out.

What reaches the bytes is the rows alone: batch borders follow from row counts and sizes, and every batch is rebuilt, so
that the same rows give the same file however they were sliced on the way.
"""

from __future__ import annotations

import os
import socket
import time
from functools import cached_property
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DamagedStore
from pipeline.storage import ledger as ledgers
from pipeline.storage.files import Local, Remote
from pipeline.storage.ledger import Ledger, Receipt

BATCH_ROWS = 1024
BATCH_BYTES = 16 << 20
SHARD_BYTES = 256 << 20
SHARD_ROWS = 262_144
"""A batch closes at 1,024 rows or 16 MiB, a shard at 256 MiB or 262,144 rows; a larger row stands alone."""
COUNTED = ("lang", "licence", "rule", "method")
"""Columns whose values are counted into receipt and manifest."""
INDEX = np.dtype([("hash", "<u8"), ("row", "<u4")])


def build_index(ids: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Sorted (first 64 bits of the id, row) pairs."""
    index = np.zeros(len(ids), dtype=INDEX)
    index["hash"] = [int(i[:16], 16) for i in ids.to_pylist()]
    index["row"] = np.arange(len(ids))
    return index[np.argsort(index["hash"], kind="stable")]


def number_of(shard: int | str) -> str:
    return shard if isinstance(shard, str) else f"{shard:05d}"


class Written(NamedTuple):
    """A file as it was written."""

    hash: str
    bytes: int


def write_table(fs: Local | Remote, name: str, table: pa.Table) -> Written:
    """Write `table` whole under `name` in canonical batches; returns its content hash and size."""
    with fs.create(name) as handle:
        sink = Hashing(handle)
        with pa.ipc.new_file(sink, table.schema) as out:
            empty = pa.RecordBatch.from_pylist([], table.schema)
            for start in range(0, len(table), 16 * BATCH_ROWS):
                out.write_batch(pa.concat_batches([empty, *table.slice(start, 16 * BATCH_ROWS).to_batches()]))
    return Written(sink.hexdigest(), sink.size)


def hash_of(data: bytes | BinaryIO, hasher: Any = None) -> str:
    """Hash of bytes or of an open file, read in pieces of 1 MiB; XXH3-128 like `Hashing`, or that of a hashlib object."""
    import xxhash

    hasher = hasher or xxhash.xxh3_128()
    if isinstance(data, bytes):
        hasher.update(data)
        return hasher.hexdigest()
    piece = bytearray(1 << 20)
    while size := data.readinto(piece):  # type: ignore[attr-defined]
        hasher.update(memoryview(piece)[:size])
    return hasher.hexdigest()


def reason_counts(ledger: pa.Table) -> dict[str, int]:
    counts = ledger["reason"].drop_null().value_counts()
    return dict(
        sorted(((c["values"].as_py(), c["counts"].as_py()) for c in counts), key=lambda item: (-item[1], item[0]))
    )


class Clock:
    """Wall and CPU seconds of this process and the children it waited for, each counted into one receipt: since the last
    receipt written here, or since the task began."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A task begins."""
        self._wall, self._cpu = time.monotonic(), sum(os.times()[:4])

    def lap(self) -> dict[str, float]:
        """`seconds` and `cpu_seconds` since the last lap."""
        wall, cpu = self._wall, self._cpu
        self.restart()
        return {"seconds": round(self._wall - wall, 3), "cpu_seconds": round(max(0.0, self._cpu - cpu), 3)}


clock = Clock()
"""Of this process; the pool restarts it for each task, the driver for each step."""


def stamp() -> dict[str, Any]:
    """When and where, and what it took, for a receipt."""
    return {
        **clock.lap(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "worker": f"{socket.gethostname()}:{os.getpid()}",
    }


class Hashing:
    """A write-only file that hashes what passes (XXH3-128); `handle=None` only hashes."""

    def __init__(self, handle: Any = None):
        import xxhash

        self.handle, self.size, self.closed = handle, 0, False
        self._hash, self._piece = xxhash.xxh3_128(), None
        self._new = xxhash.xxh3_128

    def write(self, data: Any) -> int:
        self._hash.update(memoryview(data))
        if self._piece is not None:
            self._piece.update(memoryview(data))
        self.size += len(data)
        if self.handle is not None:
            self.handle.write(data)
        return len(data)

    def piece(self) -> str:
        """Hash of what was written since the last call; the first call begins the first piece."""
        ended, self._piece = self._piece, self._new()
        return ended.hexdigest() if ended is not None else ""

    def tell(self) -> int:
        return self.size

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class ShardWriter:
    """One shard under way: batches in, whole file out. Batch borders come from the rows alone (1,024 rows or 16 MiB)."""

    def __init__(
        self,
        fs: Local | Remote,
        shard: int,
        stage: str,
        key: str,
        written: bool,
        codec: str | None = None,
        beside: bool = False,
    ):
        self.fs, self.shard, self.stage, self.key = fs, shard, stage, key
        self.written, self.codec, self.beside = written, codec, beside
        self.schema: pa.Schema | None = None
        self.rows = self._cut = 0
        self.ledgers: list[pa.Table] = []
        self.ledgered = True
        """Is a ledger written? The rows of a pass are no documents."""
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = 0
        self._ids: list[pa.Array] = []
        self._counts: dict[str, dict[str, int]] = {name: {} for name in COUNTED}
        self._out: pa.ipc.RecordBatchFileWriter | None = None

    @cached_property
    def _names(self) -> tuple[str, str, str, str]:
        number = number_of(self.shard)
        return f"receipts/{number}.json", f"shards/{number}.arrow", f"index/{number}.ids", f"ledger/{number}.arrow"

    def __enter__(self) -> ShardWriter:
        receipt, shard, *_ = self._names
        if not self.beside:
            self.fs.delete(receipt)
        self._file = self.fs.create(shard) if self.written else None
        self._sink = Hashing(self._file.__enter__() if self._file else None)
        return self

    def __exit__(self, kind: Any, fault: Any, trace: Any) -> None:
        if self._file is not None:  # commit() was not reached: leave nothing behind
            self._file.__exit__(kind or RuntimeError, fault, trace)

    def expect(self, schema: pa.Schema) -> None:
        """Fix the schema, so that a shard without rows has its columns too."""
        if self.schema is None:
            self.schema = schema.remove_metadata()
            compression = pa.ipc.IpcWriteOptions(compression=self.codec) if self.codec else None
            self._out = pa.ipc.new_file(self._sink, self.schema, options=compression)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows; cut to batches of at most 1,024 rows and about 16 MiB."""
        self.expect(batch.schema)
        if batch.schema != self.schema:
            batch = batch.cast(self.schema)
        ends = np.cumsum(row_sizes(batch))
        at = 0
        while at < len(batch):
            before = int(ends[at - 1]) if at else 0
            fits = int(np.searchsorted(ends, before + BATCH_BYTES - self._held_bytes, side="right")) - at
            take = min(max(fits, 0 if self._held_rows else 1), BATCH_ROWS - self._held_rows, len(batch) - at)
            if take:
                self._held.append(batch.slice(at, take))
                self._held_rows += take
                at += take
                self._held_bytes += int(ends[at - 1]) - before
            if self._held_rows == BATCH_ROWS or at < len(batch):
                self._flush()

    def begin_pieces(self, schema: pa.Schema) -> None:
        """From here on rows lie in pieces that are read alone: what stands before the first is written."""
        self.expect(schema)
        self._out.write_batch(pa.RecordBatch.from_pylist([], self.schema))  # type: ignore[union-attr]
        self._sink.piece()
        self._cut = self._sink.size

    def end_piece(self) -> tuple[int, int, str]:
        """End the piece of the rows since the last one; its first byte, length and XXH3-128."""
        self._flush()
        first, self._cut = self._cut, self._sink.size
        return first, self._cut - first, self._sink.piece()

    def _flush(self) -> None:
        if not self._held_rows or self.schema is None or self._out is None:
            return
        # Always through a concatenation: a slice carries its parent's offsets and bitmaps, and those would reach the bytes.
        batch = pa.concat_batches([pa.RecordBatch.from_pylist([], self.schema), *self._held])
        self._out.write_batch(batch)
        self._ids.append(batch.column("id") if "id" in self.schema.names else pa.array([], pa.large_string()))
        for name in COUNTED:
            if name in self.schema.names:
                for count in batch.column(name).value_counts():
                    word = count["values"].as_py() or "none"
                    self._counts[name][word] = self._counts[name].get(word, 0) + count["counts"].as_py()
        self.rows += len(batch)
        self._held, self._held_rows, self._held_bytes = [], 0, 0

    def record(self, ledger: pa.Table) -> None:
        """Add ledger rows."""
        self.ledgers.append(ledger)

    def commit(self, *, input_ids: Any = None, notes: dict[str, Any] | None = None, **proof: Any) -> Receipt:
        """Check the ledger's law, then bytes, index, ledger, and last the receipt."""
        if self.schema is None or self._out is None:
            raise DamagedStore(
                f"{self.fs.path('')}: shard {self.shard} was given no schema", "call expect() for an empty shard"
            )
        self._flush()
        ledger = Ledger.concat(self.ledgers)
        receipt_name, shard_name, index_name, ledger_name = self._names
        sizes, index_hash = {}, ""
        ids = pa.chunked_array(self._ids, pa.large_string())
        if "id" in self.schema.names:
            rows_in = ledgers.check(input_ids, ids, ledger, f"{self.fs.path('')} shard {self.shard}")
        else:
            rows_in = len(ledger["id"].unique())
        self._out.close()
        if self._file is not None:
            file, self._file = self._file, None
            file.__exit__(None, None, None)
            sizes[shard_name] = self._sink.size
            if "id" in self.schema.names:
                index = build_index(ids).tobytes()
                self.fs.write(index_name, index)
                index_hash, sizes[index_name] = hash_of(index), len(index)
        written = Written("", 0)
        if self.ledgered:
            written = write_table(self.fs, ledger_name, ledger)
            sizes[ledger_name] = written.bytes
        receipt = Receipt(
            stage=self.stage, shard=self.shard, key=self.key, content_hash=self._sink.hexdigest(), ledger_hash=written.hash,
            index_hash=index_hash, sizes=sizes, columns_hash=hash_of(self.schema.serialize().to_pybytes()),
            rows=self.rows, bytes=self._sink.size, rows_in=rows_in,
            reasons=reason_counts(ledger), counts={k: v for k, v in self._counts.items() if v}, notes=notes or {}, written=self.written,
            **{**stamp(), **proof},
        )  # fmt: skip
        self.fs.write(receipt_name, receipt.dumps())
        return receipt


def row_sizes(batch: pa.RecordBatch) -> np.ndarray:
    """Bytes per row (int64, n), from the values alone: the same however the batch was sliced."""
    total = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        total += _sizes(column)
    return total


def _sizes(array: pa.Array) -> np.ndarray:
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = _filled(pc.list_value_length(array))
        if pa.types.is_primitive(kind.value_type):
            return lengths * max(1, kind.value_type.bit_width // 8) + 8
        ends = np.cumsum(lengths)
        inner = np.concatenate(([0], np.cumsum(_sizes(array.flatten()))))
        return np.diff(inner[np.concatenate(([0], ends))]) + 8
    if pa.types.is_fixed_size_list(kind):  # a vector column; its values are numbers
        return np.full(len(array), kind.list_size * max(1, kind.value_type.bit_width // 8), np.int64)
    if pa.types.is_struct(kind):
        return sum((_sizes(child) for child in array.flatten()), np.zeros(len(array), np.int64))
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        return _filled(pc.binary_length(array)) + 8
    return np.full(len(array), max(1, kind.bit_width // 8), np.int64)


def _filled(lengths: pa.Array) -> np.ndarray:
    return pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False).astype(np.int64)
