"""Texts of documents by number, for shingle sets: where they lie on a local disk, by ranged reads of the shards on object storage.

A shard is not fetched whole for some of its texts: the pass `measures` says where each one lies, and the hash by which it is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.errors import DamagedStore, repair_hint
from pipeline.storage.files import Remote
from pipeline.storage.shards import number_of
from stages.dedup.corpus import InputPart
from stages.dedup.fields import text_of
from stages.dedup.run import Run

if TYPE_CHECKING:
    from stages.text.minhash.jaccard import Texts

READS = ("at", "size", "text", "way")
"""Columns of the pass `measures` that are asked for."""
GAP = 16 << 10
"""Bytes between two texts that are read along with them, so that they are one request."""
RANGE = 8 << 20
"""Bytes of one request, if no text is larger."""


def texts(run: Run, docs: np.ndarray, marks: Mapping[str, np.ndarray]) -> Iterator[Texts]:
    """The texts of `docs`; `marks` are their columns READS."""
    remote = [part for part in run.corpus.parts.values() if isinstance(part.store.fs, Remote)]
    if remote and len(remote) == len(run.corpus.parts) and (marks["at"] >= 0).all():
        yield from _ranged(run, docs, marks)
    else:
        yield from _lying(run, docs)


def _lying(run: Run, docs: np.ndarray) -> Iterator[Texts]:
    """A plain text column is read from the mapped shard, others are put together."""
    from stages.text.minhash.jaccard import Texts

    fields, shape = run.minhash.fields, run.minhash.shape
    plain = shape == "DOCUMENT" and len(fields) == 1
    for batch, rows, positions in run.corpus.find(docs, run.minhash.columns):
        if not plain:
            batch, rows = batch.take(pa.array(rows)), np.arange(len(rows))
        found = Docs(pa.record_batch({"text": text_of(batch, fields, shape)}))
        for how, some in run.minhash.by_row(batch).of(rows).groups():
            at = slice(None) if some is None else some
            yield Texts(found.data, found.offsets, rows[at], positions[at], how)


def _ranged(run: Run, docs: np.ndarray, marks: Mapping[str, np.ndarray]) -> Iterator[Texts]:
    from stages.text.minhash.jaccard import Texts

    owner = run.corpus.owners(docs)
    hows = run.minhash.hows
    for number in np.unique(owner).tolist():
        here = np.flatnonzero(owner == number)
        here = here[np.argsort(marks["at"][here], kind="stable")]
        starts = marks["at"][here]
        part, ends = run.corpus.parts[number], starts + np.maximum(marks["size"][here], 0)
        bounds = _cut(starts, ends)
        where = [(int(starts[low]), int(ends[low:high].max())) for low, high in bounds]
        name = f"shards/{number_of(part.shard)}.arrow"
        for (low, high), (first, _), data in zip(bounds, where, part.store.fs.read_ranges(name, where)):  # type: ignore[union-attr]
            offsets = np.empty(2 * (high - low), np.int64)  # of every text its first byte, and the one behind its last
            offsets[::2], offsets[1::2] = starts[low:high] - first, ends[low:high] - first
            mine = here[low:high]
            _hold(part, data, offsets, marks["text"][mine])
            for way in np.unique(marks["way"][mine]).tolist():
                rows = np.flatnonzero(marks["way"][mine] == way)
                yield Texts(np.frombuffer(data, np.uint8), offsets, 2 * rows, mine[rows], hows[way])


def _cut(starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """(first, behind the last) texts of each request."""
    found, low = [], 0
    for at in range(1, len(starts)):
        if starts[at] - ends[at - 1] > GAP or ends[at] - starts[low] > RANGE:
            found.append((low, at))
            low = at
    return [*found, (low, len(starts))] if len(starts) else []


def _hold(part: InputPart, data: bytes, offsets: np.ndarray, expected: np.ndarray) -> None:
    import xxhash

    held = memoryview(data)
    for (first, last), mark in zip(offsets.reshape(-1, 2).tolist(), expected.tolist()):
        if xxhash.xxh3_64_intdigest(held[first:last]) != mark:
            name = part.store.fs.path(f"shards/{number_of(part.shard)}.arrow")
            raise DamagedStore(
                f"{name} is damaged: a text is not the one that was written", repair_hint(part.store.path)
            )
