"""Level `spans`: lines, paragraphs and substrings that stand in the corpus more than once; one copy of each stays.

    spans                keys of every span of the documents that stay, sent to the ranges of keys    one task a run of rows
    span-ranks-requests  spans that are repeated; asks what the keep policy reads of their documents  one task a range of keys
    span-ranks-answers   that                                                                         one task some parts
    repeats              which copy of each stays, sent to the parts                                  one task a range of keys

The copy in the document that the keep policy prefers stays (in one document the first), the others go; chats and pairs are cut
turn by turn (stages/dedup/spans/turns.py). Columns of `spans`: `key` (uint64), `doc` (int64), `first`, `last` (uint32: bytes of
the text); of `repeated`, written beside the requests: `group` (int64: ascending, one of each key), `doc`, `first`, `last`; of `repeats`,
by `doc`: `doc`, `first`, `last`, `stays` (uint8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from stages.dedup import decisions
from stages.dedup.columns import blocks, column
from stages.dedup.exchange.gather import Gather
from stages.dedup.exchange.ranges import Columns, Exchange, put
from stages.dedup.passes import PassTask, key_ranges, range_of
from stages.dedup.run import Run
from stages.dedup.signatures.measures import marks_of
from stages.dedup.spans.turns import TurnTexts, turns_of
from stages.text.minhash.shingles import table

if TYPE_CHECKING:
    from stages.dedup.spans import keys as spans

SPAN_BYTES = 100
"""Memory of one span while a task sorts it: its columns, their sorted copies and the order."""
DENSEST = 2
"""Bytes of text from one token to the next, at least."""
BREAKS = {"line": 1, "paragraph": 2}


SCRATCH = ("spans", "span-ranks", "repeated")


class SpanRows(NamedTuple):
    """What a `spans` task carries: the run, and rows of one part: several whole (bytes 0 to -1), or a piece of a long one."""

    run: Run
    part: int
    low: int
    """First row, and the one behind the last."""
    high: int
    begin: int = 0
    """First byte, and the one behind the last."""
    end: int = -1
    ranges: int = 1
    """Ranges of keys that the spans are sent to."""


class Repeating(NamedTuple):
    """What a task of a range carries: the run, the spans by range, and whom to ask about their documents."""

    run: Run
    spans: Exchange
    ranks: Gather


def decide(run: Run, pool: Pool) -> Exchange:
    """Find the repeated spans of the documents that stay; returns what is sent to each part (by position)."""
    most = most_spans(run.stage.span_memory)
    rows, total = runs_of(run, most * DENSEST)
    # A window begins with every token; lines and paragraphs have so many of their own.
    tokens = 1 if run.stage.spans == "substring" else run.stage.least_span()
    ranges = len(key_ranges(total // (DENSEST * tokens), most))
    ranks = Gather(run, "span-ranks", ranges, decisions.GROUP_ROWS)
    given = Repeating(run, Exchange.of(run.store("spans"), len(rows), ranges), ranks)
    if run.proven("repeats", ranges) is None:
        run.make("spans", find, [each._replace(ranges=ranges) for each in rows], pool)
        given.spans.merge(run, pool)
        run.make(given.ranks.passes[0], ask, [given] * ranges, pool)
        given.ranks.answer(pool, fetch, run)
    run.make("repeats", choose, [given] * ranges, pool)
    sent = Exchange.of(run.store("repeats"), ranges, len(run.corpus.parts))
    sent.merge(run, pool)
    return sent


def most_spans(memory: int) -> int:
    """Spans that a task may hold in `memory` MiB."""
    return max(1024, (memory << 20) // SPAN_BYTES)


def runs_of(run: Run, most_bytes: int) -> tuple[list[SpanRows], int]:
    """(runs of rows of about `most_bytes` each, bytes of all); for substrings a longer text is cut into pieces of so many, else it stands alone."""
    found: list[SpanRows] = []
    total = 0
    for number, part in run.corpus.parts.items():
        sizes = np.maximum(column(run.store("measures").read(number), "size"), 0)
        first = held = 0
        total += int(sizes.sum())
        for row, size in enumerate(sizes.tolist()):
            long = size > most_bytes and run.stage.spans == "substring"
            if row > first and (long or held + size > most_bytes):
                found.append(SpanRows(run, number, first, row))
                first, held = row, 0
            if long:
                pieces = range(0, size, most_bytes)
                found += [SpanRows(run, number, row, row + 1, low, min(low + most_bytes, size)) for low in pieces]
                first = row + 1
            else:
                held += size
        if first < part.rows or not part.rows:
            found.append(SpanRows(run, number, first, part.rows))
    return found, total


def find(task: PassTask) -> Receipt:
    """Pass `spans`: the keys of one run of rows."""
    from stages.dedup.spans.keys import merged

    given: SpanRows = task.given
    run, how = given.run, given.run.stage.shingling()
    part = run.corpus.parts[given.part]
    stays = run.decided(given.part).kept[given.low : given.high]
    classes = table(how.kind, how.fold_digits)
    found: list[spans.Spans] = []
    at = 0
    for batch in run.corpus.batches(given.part):
        rows = _rows_in(stays, given.low, given.high, at, len(batch))
        if len(rows):
            found += _spans(given, batch, rows, part.first + at, classes)
        at += len(batch)
    keys, docs, firsts, lasts = (np.concatenate(columns) for columns in zip(*found)) if found else _nothing()
    order = np.argsort(keys, kind="stable")
    names = ("key", "doc", "first", "last")
    columns = dict(zip(names, merged(keys[order], docs[order], firsts[order], lasts[order])))
    to, noted = range_of(columns["key"], given.ranges), {"spans": len(columns["key"])}
    return put(task, given.ranges, to, lambda at: {name: values[at] for name, values in columns.items()}, noted)


def _spans(
    given: SpanRows, batch: pa.RecordBatch, rows: np.ndarray, first: int, classes: np.ndarray
) -> list[spans.Spans]:
    """The spans of some rows of a batch whose first row is number `first`."""
    fields, piece = given.run.turns, (given.begin, given.end)
    if fields is None:
        texts = Docs(pa.record_batch({"text": batch.column("text")}))
        found = _keyed(given.run, texts, rows, classes, piece)
        return [found._replace(rows=found.rows.astype(np.int64) + first)]
    low, high = int(rows[0]), int(rows[-1]) + 1
    turns, rows, first = turns_of(batch.slice(low, high - low), fields), rows - low, first + low
    items = np.flatnonzero(np.isin(turns.rows, rows))
    if given.end < 0:
        pieces = [_keyed(given.run, turns.texts, items, classes, piece)]
    else:
        sizes, bases = np.diff(turns.texts.offsets)[items], turns.bases[items]
        reached = [
            (item, (max(given.begin - base, 0), min(given.end - base, size)))
            for item, base, size in zip(items, bases.tolist(), sizes.tolist())
        ]
        pieces = [
            _keyed(given.run, turns.texts, np.array([item]), classes, part)
            for item, part in reached
            if part[0] < part[1]
        ]
    return [_in_rows(found, turns, first) for found in pieces]


def _keyed(run: Run, texts: Docs, rows: np.ndarray, classes: np.ndarray, piece: tuple[int, int]) -> spans.Spans:
    """The spans of some texts, or of a piece (first byte, the one behind the last) of one."""
    from stages.dedup.spans import keys as spans

    least = run.stage.least_span()
    if piece[1] >= 0:
        return spans.windows_between(texts.data, texts.offsets, int(rows[0]), classes, least, *piece)
    if run.stage.spans == "substring":
        return spans.windows(texts.data, texts.offsets, rows, classes, least)
    return spans.units(texts.data, texts.offsets, rows, classes, BREAKS[run.stage.spans or ""], least)


def _in_rows(found: spans.Spans, turns: TurnTexts, first: int) -> spans.Spans:
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


def ask(task: PassTask) -> Receipt:
    """Find the spans of a range of keys that are repeated, and ask about their documents."""
    given: Repeating = task.given
    found = given.spans.read(task.number)
    keys, docs, firsts, lasts = (found[name] for name in ("key", "doc", "first", "last")) if found else _nothing()
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    group = np.cumsum(np.r_[False, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    repeated = _repeated(group, docs[order] if given.run.turns else None)
    order = order[repeated]
    PassTask(given.run.store("repeated"), task.number, task.key, None).put(
        blocks(group=group[repeated], doc=docs[order], first=firsts[order], last=lasts[order])
    )
    return given.ranks.ask(task, np.unique(docs[order]))


def fetch(run: Run, _: int, docs: np.ndarray) -> tuple[np.ndarray, Columns]:
    """What the keep policy reads of some documents (ascending), for `Gather`."""
    return np.arange(len(docs)), {"doc": docs, **marks_of(run, docs, run.policy.reads)}


def choose(task: PassTask) -> Receipt:
    """Pass `repeats`: which copy stays, for one range of keys."""
    given: Repeating = task.given
    run, found = given.run, given.run.store("repeated").read(task.number)
    group, docs, firsts, lasts = (column(found, name) for name in ("group", "doc", "first", "last"))
    best = np.lexsort((firsts, _ranks(run, docs, given.ranks.read(task.number)), group))
    stays = np.zeros(len(docs), np.uint8)
    heads = best[np.r_[True, group[best][1:] != group[best][:-1]]] if len(best) else best
    stays[heads] = 1
    if run.turns and len(heads):
        chosen = np.zeros(int(group[-1]) + 1, np.int64)
        chosen[group[heads]] = docs[heads]
        stays[docs == chosen[group]] = 1
    by_doc = np.lexsort((firsts, docs))
    columns = {"doc": docs, "first": firsts, "last": lasts, "stays": stays}
    to, noted = run.corpus.positions(docs[by_doc]), {"repeated": int(stays.sum()), "cut": int((stays == 0).sum())}
    parts = len(run.corpus.parts)
    return put(task, parts, to, lambda at: {name: values[by_doc[at]] for name, values in columns.items()}, noted)


def _repeated(group: np.ndarray, docs: np.ndarray | None) -> np.ndarray:
    """Which spans stand more than once, or (with the ascending `docs` of each group) in more than one document."""
    if not len(group):
        return np.zeros(0, bool)
    if docs is None:
        return np.bincount(group)[group] > 1
    opens = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    last = np.r_[opens[1:], len(group)] - 1
    return (docs[opens] != docs[last])[group]


def _ranks(run: Run, docs: np.ndarray, marks: Columns) -> np.ndarray:
    """Rank of each document by the keep policy; `marks`: what it reads of them, in any order."""
    if not len(docs):
        return np.zeros(0, np.int64)
    known = marks["doc"]
    ranks = np.empty(len(known), np.int64)
    ranks[run.policy.order(known, marks, np.zeros(len(known), np.int64))] = np.arange(len(known))
    order = np.argsort(known)
    return ranks[order[np.searchsorted(known, docs, sorter=order)]]
