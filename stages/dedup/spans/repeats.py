"""Passes `spans` and `repeats`: lines, paragraphs and substrings that stand in the corpus more than once.

`spans` writes the keys of every span of the documents that stay, sorted; a shard is a run of rows of one part. `repeats`
reads one range of keys from all of them and decides: of each repeated span the copy in the document the keep policy
prefers stays (in one document the first), the others go; chats and pairs are cut turn by turn (stages/dedup/spans/turns.py). Columns of `spans`: `key` (uint64), `doc` (int64), `first`,
`last` (uint32: bytes of the text); of `repeats`, sorted by `doc`: `doc`, `first`, `last`, `stays` (uint8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.apply import KEPT, Applying, fate_of
from stages.dedup.columns import between, blocks, column
from stages.dedup.corpus import Corpus
from stages.dedup.keep import Policy
from stages.dedup.passes import Task
from stages.dedup.spans.turns import Taken, Turns, turns_of
from stages.text.minhash.shingles import Shingling, table

if TYPE_CHECKING:
    from stages.dedup.spans import keys as spans

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
    taken: Taken | None = None
    """The turns that take part, in chats and pairs."""


class Choosing(NamedTuple):
    """What a `repeats` task needs: everything found, who stays, and its range of keys."""

    corpus: Corpus
    sign: Store
    spans: Store
    policy: Policy
    low: int
    high: int
    in_turns: bool = False
    """Chats and pairs: the row preferred keeps all its copies, and what one row alone repeats is left."""


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
                found += [
                    (number, row, row + 1, low, min(low + most_bytes, size)) for low in range(0, size, most_bytes)
                ]
                first = row + 1
            else:
                held += size
        if first < part.rows or not part.rows:
            found.append((number, first, part.rows, 0, -1))
    return tuple(found)


def find(task: Task) -> Receipt:
    """Pass `spans`: the keys of one run of rows."""
    from stages.dedup.spans.keys import merged

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
            found += _spans(given, batch, rows, part.first + at, classes, (begin, end))
        at += len(batch)
    keys, docs, firsts, lasts = (np.concatenate(columns) for columns in zip(*found)) if found else _nothing()
    order = np.argsort(keys, kind="stable")
    keys, docs, firsts, lasts = merged(keys[order], docs[order], firsts[order], lasts[order])
    return task.put(blocks(key=keys, doc=docs, first=firsts, last=lasts), {"spans": len(keys)})


def _spans(
    given: Cutting, batch: pa.RecordBatch, rows: np.ndarray, first: int, classes: np.ndarray, piece: tuple[int, int]
) -> list[spans.Spans]:
    """The spans of some rows of a batch whose first row is number `first`, or of a piece (first, last byte) of one row."""
    if given.taken is None:
        texts = Docs(pa.record_batch({"text": batch.column("text")}))
        found = _keyed(given, texts, rows, classes, piece)
        return [found._replace(rows=found.rows.astype(np.int64) + first)]
    low, high = int(rows[0]), int(rows[-1]) + 1
    turns, rows, first = turns_of(batch.slice(low, high - low), given.taken), rows - low, first + low
    items = np.flatnonzero(np.isin(turns.rows, rows))
    low, high = piece
    if high < 0:
        pieces = [_keyed(given, turns.texts, items, classes, piece)]
    else:
        sizes, bases = np.diff(turns.texts.offsets)[items], turns.bases[items]
        reached = [
            (item, (max(low - base, 0), min(high - base, size)))
            for item, base, size in zip(items, bases.tolist(), sizes.tolist())
        ]
        pieces = [
            _keyed(given, turns.texts, np.array([item]), classes, part) for item, part in reached if part[0] < part[1]
        ]
    return [_in_rows(found, turns, first) for found in pieces]


def _keyed(given: Cutting, texts: Docs, rows: np.ndarray, classes: np.ndarray, piece: tuple[int, int]) -> spans.Spans:
    from stages.dedup.spans import keys as spans

    if piece[1] >= 0:
        return spans.windows_between(texts.data, texts.offsets, int(rows[0]), classes, given.width, *piece)
    if given.level == "substring":
        return spans.windows(texts.data, texts.offsets, rows, classes, given.width)
    return spans.units(texts.data, texts.offsets, rows, classes, BREAKS[given.level], given.width)


def _in_rows(found: spans.Spans, turns: Turns, first: int) -> spans.Spans:
    """Spans of turns as spans of their rows."""
    bases = turns.bases[found.rows].astype(np.uint32)
    docs = turns.rows[found.rows] + first
    return found._replace(
        keys=found.keys + turns.salts[found.rows], rows=docs, firsts=found.firsts + bases, lasts=found.lasts + bases
    )


def _rows_in(stays: np.ndarray, low: int, high: int, at: int, size: int) -> np.ndarray:
    """Rows of the batch that begins at row `at` which lie in the run and stay."""
    first, last = max(low, at), min(high, at + size)
    return np.flatnonzero(stays[first - low : last - low]) + (first - at) if first < last else np.zeros(0, np.int64)


def _nothing() -> tuple[np.ndarray, ...]:
    return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.uint32)


def choose(task: Task) -> Receipt:
    """Pass `repeats`: which copy stays, for one range of keys."""
    given: Choosing = task.given
    pieces = [
        between(given.spans.read(n), "key", given.low, given.high, "key", "doc", "first", "last")
        for n in given.spans.shards()
    ]
    keys, docs, firsts, lasts = (np.concatenate(columns) for columns in zip(*pieces)) if pieces else _nothing()
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    group = np.cumsum(np.r_[False, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    repeated = _repeated(group, docs[order] if given.in_turns else None)
    order, group = order[repeated], group[repeated]
    docs, firsts, lasts = docs[order], firsts[order], lasts[order]
    ranks = _ranks(given, docs)
    best = np.lexsort((firsts, ranks, group))
    leads = np.zeros(len(docs), np.uint8)
    heads = best[np.r_[True, group[best][1:] != group[best][:-1]]] if len(best) else best
    leads[heads] = 1
    if given.in_turns and len(heads):
        chosen = np.zeros(int(group[-1]) + 1, np.int64)
        chosen[group[heads]] = docs[heads]
        leads[docs == chosen[group]] = 1
    by_doc = np.lexsort((firsts, docs))
    table_ = blocks(doc=docs[by_doc], first=firsts[by_doc], last=lasts[by_doc], stays=leads[by_doc])
    return task.put(table_, {"repeated": int(leads.sum()), "cut": int(len(leads) - leads.sum())})


def _repeated(group: np.ndarray, docs: np.ndarray | None) -> np.ndarray:
    """Which spans stand more than once, or (with the ascending `docs` of each group) in more than one document."""
    if not len(group):
        return np.zeros(0, bool)
    if docs is None:
        return np.bincount(group)[group] > 1
    opens = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    last = np.r_[opens[1:], len(group)] - 1
    return (docs[opens] != docs[last])[group]


def _ranks(given: Choosing, docs: np.ndarray) -> np.ndarray:
    """Place of each document in the order of the keep policy."""
    known, places = np.unique(docs, return_inverse=True)
    if not len(known):
        return places
    (lengths,) = given.corpus.measured(given.sign, known, "length")
    ranks = np.empty(len(known), np.int64)
    ranks[given.policy.order(given.corpus, known, lengths, np.zeros(len(known), np.int64))] = np.arange(len(known))
    return ranks[places]
