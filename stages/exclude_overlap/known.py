"""The runs of words of texts that must not be known, and how much of a batch's texts they make up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.engine.stage import Work
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.text.minhash.jaccard import Sets, shingle_sets
from stages.text.minhash.shingles import Shingling
from stages.text.view import TEXT, text_view

if TYPE_CHECKING:
    from stages.exclude_overlap import ExcludeOverlap


class KnownRuns(NamedTuple):
    """Every run of words of the known texts, sorted: `hashes[i]` stands in text `owner[i]`."""

    hashes: np.ndarray
    """uint64, sorted; a run that stands in several texts is there for each."""
    owner: np.ndarray
    sizes: np.ndarray
    """int64 per text: how many runs it has."""
    ids: list[str]


class Shares(NamedTuple):
    """Per row: how much of it the known text that holds most of it holds, how much of one known text it holds, and which shares most."""

    own: np.ndarray
    held: np.ndarray
    which: np.ndarray
    """int64; -1 where nothing is shared."""


def gather(stores: Sequence[Store], stage: ExcludeOverlap) -> KnownRuns:
    """The runs of all rows of `stores`; kept for the next shard of the same stores."""
    contents = tuple((store.path, tuple(store.hashes().items())) for store in stores)
    return _gathered(contents, stage.width, stage.fields)


@lru_cache(maxsize=2)
def _gathered(contents: tuple, width: int, fields: tuple[str, ...]) -> KnownRuns:
    runs, sizes, ids = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], []
    for path, shards in contents:
        store = Store(path)
        for shard, _ in shards:
            for batch in store.batches(shard):
                sets = runs_of(batch, fields, width)
                runs.append(sets.hashes)
                sizes.append(np.diff(sets.bounds))
                ids += batch.column("id").to_pylist()
    hashes, counts = np.concatenate(runs), np.concatenate(sizes)
    owner = np.repeat(np.arange(len(counts)), counts)
    order = np.argsort(hashes, kind="stable")
    return KnownRuns(hashes[order], owner[order], counts, ids)


def runs_of(batch: pa.RecordBatch, fields: tuple[str, ...], width: int) -> Sets:
    """The distinct runs of `width` words of every row; none where a row has no word."""
    view, _ = text_view(batch, fields, 1 << 62)
    docs = Docs(view, TEXT)
    return shingle_sets(docs.data, docs.offsets, Shingling("word", width))


def shares(known: KnownRuns, sets: Sets) -> Shares:
    """How much of every row is known, and how much of a known text it holds."""
    rows = len(sets.bounds) - 1
    sizes = np.diff(sets.bounds)
    row = np.repeat(np.arange(rows), sizes)
    first = np.searchsorted(known.hashes, sets.hashes, "left")
    met = np.searchsorted(known.hashes, sets.hashes, "right") - first
    # every (row, known text) that share a run, and how many they share
    entries = np.repeat(first, met) + np.arange(met.sum()) - np.repeat(np.cumsum(met) - met, met)
    pairs, common = np.unique(np.repeat(row, met) * max(1, len(known.ids)) + known.owner[entries], return_counts=True)
    rows_of, texts = np.divmod(pairs, max(1, len(known.ids)))
    of_row, of_text = common / sizes[rows_of], common / known.sizes[texts]
    own, held, which = np.zeros(rows), np.zeros(rows), np.full(rows, -1, np.int64)
    np.maximum.at(own, rows_of, of_row)
    np.maximum.at(held, rows_of, of_text)
    order = np.lexsort(
        (-texts, np.maximum(of_row, of_text))
    )  # the last one written stays: the largest share, of equals the first text
    which[rows_of[order]] = texts[order]
    return Shares(own, held, which)


def evaluated(stage: ExcludeOverlap, known: KnownRuns, batch: pa.RecordBatch) -> Work:
    """The rows of `batch` that are not known, and the ledger of all."""
    found = shares(known, runs_of(batch, stage.fields, stage.width))
    reasons = [_reason(own, held, stage.share) for own, held in zip(found.own.tolist(), found.held.tolist())]
    ledger = Ledger.rows(
        batch.column("id"),
        reason=reasons,
        duplicate_of=[known.ids[text] if why else None for text, why in zip(found.which.tolist(), reasons)],
        metrics={"exclude_overlap.own": found.own, "exclude_overlap.held": found.held},
    )
    kept = np.array([why is None for why in reasons], dtype=bool)
    return Work(batch if kept.all() else batch.filter(pa.array(kept)), ledger)


def _reason(own: float, held: float, share: float) -> str | None:
    if own >= 1.0:
        return "exclude_overlap.copy"
    if own >= share:
        return "exclude_overlap.near"
    return "exclude_overlap.holds" if held >= share else None
