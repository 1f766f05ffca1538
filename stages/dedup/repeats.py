"""Passes `spans` and `repeats`: lines, paragraphs and substrings that stand in the corpus more than once.

`spans` writes the keys of every span of the documents that stay, sorted; a shard is a run of rows of one part. `repeats`
reads one range of keys from all of them and decides: of each repeated span the copy in the document the keep policy
prefers stays (in one document the first), the others go. Columns of `spans`: `key` (uint64), `doc` (int64), `first`,
`last` (uint32: bytes of the text); of `repeats`, sorted by `doc`: `doc`, `first`, `last`, `stays` (uint8).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.ledger import Receipt
from pipeline.store import Store
from stages.dedup.apply import KEPT, Applying, fate_of
from stages.dedup.columns import between, blocks, column
from stages.dedup.corpus import Corpus
from stages.dedup.keep import Policy
from stages.dedup.passes import Task
from stages.text.shingles import Shingling, table

SPAN_BYTES = 100
"""Memory of one span while a task sorts it: its columns, their sorted copies and the order."""
DENSEST = 2
"""Bytes of text from one token to the next, at least."""
BREAKS = {"line": 1, "paragraph": 2}


class Cutting(NamedTuple):
    """What a `spans` task needs; `runs` is (part, first row, last row, first byte, last byte) per task.

    A run is several rows whole (bytes 0 to -1), or a piece of a long one.
    """

    applying: Applying
    level: str
    how: Shingling
    width: int
    runs: tuple[tuple[int, int, int, int, int], ...]


class Choosing(NamedTuple):
    """What a `repeats` task needs: everything found, who stays, and its range of keys."""

    corpus: Corpus
    sign: Store
    spans: Store
    policy: Policy
    low: int
    high: int


def most_spans(memory: int) -> int:
    """Spans that a task may hold in `memory` MiB."""
    return max(1024, (memory << 20) // SPAN_BYTES)


def runs_of(corpus: Corpus, sign: Store, most_bytes: int, whole: bool) -> tuple[tuple[int, int, int, int, int], ...]:
    """Runs of rows of about `most_bytes` each; a longer text is cut into pieces of so many, or with `whole` stands alone."""
    found: list[tuple[int, int, int, int, int]] = []
    for number, part in enumerate(corpus.parts):
        sizes = np.maximum(column(sign.read(number), "size"), 0)
        first = held = 0
        for row, size in enumerate(sizes.tolist()):
            long = size > most_bytes and not whole
            if row > first and (long or held + size > most_bytes):
                found.append((number, first, row, 0, -1))
                first, held = row, 0
            if long:
                found += [(number, row, row + 1, low, min(low + most_bytes, size)) for low in range(0, size, most_bytes)]
                first = row + 1
            else:
                held += size
        if first < part.rows or not part.rows:
            found.append((number, first, part.rows, 0, -1))
    return tuple(found)


def find(task: Task) -> Receipt:
    """Pass `spans`: the keys of one run of rows."""
    from stages.text import spans

    given: Cutting = task.given
    number, low, high, begin, end = given.runs[task.number]
    part = given.applying.corpus.parts[number]
    stays = fate_of(given.applying, part.first + low, high - low).why == KEPT
    classes = table(given.how.kind, given.how.fold_digits)
    found: list[spans.Spans] = []
    at = 0
    for batch in given.applying.corpus.batches(number):
        rows = _rows_in(stays, low, high, at, len(batch))
        if len(rows):
            texts = Docs(pa.record_batch({"text": batch.column("text")}))
            if end >= 0:
                piece = spans.windows_between(texts.data, texts.offsets, int(rows[0]), classes, given.width, begin, end)
            elif given.level == "substring":
                piece = spans.windows(texts.data, texts.offsets, rows, classes, given.width)
            else:
                piece = spans.units(texts.data, texts.offsets, rows, classes, BREAKS[given.level], given.width)
            found.append(piece._replace(rows=piece.rows.astype(np.int64) + (part.first + at)))
        at += len(batch)
    keys, docs, firsts, lasts = (np.concatenate(columns) for columns in zip(*found)) if found else _nothing()
    order = np.argsort(keys, kind="stable")
    keys, docs, firsts, lasts = spans.merged(keys[order], docs[order], firsts[order], lasts[order])
    return task.put(blocks(key=keys, doc=docs, first=firsts, last=lasts), {"spans": len(keys)})


def _rows_in(stays: np.ndarray, low: int, high: int, at: int, size: int) -> np.ndarray:
    """Rows of the batch that begins at row `at` which lie in the run and stay."""
    first, last = max(low, at), min(high, at + size)
    return np.flatnonzero(stays[first - low : last - low]) + (first - at) if first < last else np.zeros(0, np.int64)


def _nothing() -> tuple[np.ndarray, ...]:
    return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.uint32)


def choose(task: Task) -> Receipt:
    """Pass `repeats`: which copy stays, for one range of keys."""
    given: Choosing = task.given
    pieces = [between(given.spans.read(n), "key", given.low, given.high, "key", "doc", "first", "last") for n in given.spans.shards()]
    keys, docs, firsts, lasts = (np.concatenate(columns) for columns in zip(*pieces)) if pieces else _nothing()
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    group = np.cumsum(np.r_[False, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    repeated = np.bincount(group, minlength=1)[group] > 1 if len(group) else np.zeros(0, bool)
    order, group = order[repeated], group[repeated]
    docs, firsts, lasts = docs[order], firsts[order], lasts[order]
    ranks = _ranks(given, docs)
    best = np.lexsort((firsts, ranks, group))
    leads = np.zeros(len(docs), np.uint8)
    leads[best[np.r_[True, group[best][1:] != group[best][:-1]]] if len(best) else best] = 1
    by_doc = np.lexsort((firsts, docs))
    table_ = blocks(doc=docs[by_doc], first=firsts[by_doc], last=lasts[by_doc], stays=leads[by_doc])
    return task.put(table_, {"repeated": int(leads.sum()), "cut": int(len(leads) - leads.sum())})


def _ranks(given: Choosing, docs: np.ndarray) -> np.ndarray:
    """Place of each document in the order of the keep policy."""
    known, places = np.unique(docs, return_inverse=True)
    if not len(known):
        return places
    (lengths,) = given.corpus.measured(given.sign, known, "length")
    ranks = np.empty(len(known), np.int64)
    ranks[given.policy.order(given.corpus, known, lengths, np.zeros(len(known), np.int64))] = np.arange(len(known))
    return ranks[places]
