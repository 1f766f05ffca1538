"""Pages that keep or hand out something: labels, exports, and what differs between two roots."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from pipeline.errors import UsageError
from pipeline.inspection import query
from pipeline.inspection.selection import Selection, frame_of
from pipeline.inspection.words import PageWords
from pipeline.schema import STR
from pipeline.storage.ledger import dropped
from pipeline.storage.store import Store
from stages.view import labels
from stages.view.corpus import NotInRoot, ShownRoot, required
from stages.view.render import count_of, fault_free, page, with_texts
from stages.view.selected import limit_of, selection_of


def labels_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """Every label, the latest first."""
    entries = labels.read(corpus)
    start = count_of(given, "start", 0, 100_000)
    some = entries[start : start + 50]
    found = labels.rows_of(corpus, some)
    cards = [{**entry, "row": found.get(entry["id"], (None, None))[1]} for entry in some]
    counts = {name: sum(entry["label"] == name for entry in entries) for name in labels.LABELS}
    steps = [name for name, store in corpus.stores().items() if store.require()["stage"] == "quality"]
    return page("labels.jinja", corpus, t, steps=steps, entries=with_texts(corpus, cards, cut=240), counts=counts, total=len(entries), start=start,
                more=len(entries) > start + 50, written=labels.NAME in corpus.stores())  # fmt: skip


def label(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> Response:
    """Note a label, as a page's script sends it."""
    words = [given.get(name) for name in ("label", "tags", "why")]
    return JSONResponse(labels.add(corpus, required(given, "id"), required(given, "store"), *words))


def labels_store(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> Response:
    """Make the store of labels."""
    labels.write_store(corpus)
    corpus.forget_list()
    return RedirectResponse("/labels", 303)


EXPORTED = 10_000
"""Rows of an export."""
BATCH = 256
"""Rows that an export holds at a time."""


def export(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> Response:
    """What a page shows, as JSONL or Parquet: rows of a store, or dropped rows with numbers and limits."""
    store, kind = corpus.store(given["store"]), given.get("as") or "jsonl"
    if kind not in ("jsonl", "parquet"):
        raise UsageError(f"as {kind[:20]!r}", "jsonl or parquet")
    compared = selection_of(store, given, limit_of(corpus, store, given.get("reason")))
    most = count_of(given, "rows", EXPORTED, EXPORTED)
    tables = (_dropped if compared.dropped or compared.reason else _kept)(corpus, store, compared, most)
    tables = itertools.chain(
        list(itertools.islice(tables, 2)), tables
    )  # what cannot be asked is said before anything is sent
    name = fault_free(f"{store.name}-{compared.reason or 'rows'}.{kind}")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if kind == "jsonl":
        return StreamingResponse(map(_lines, tables), media_type="application/x-ndjson", headers=headers)
    return StreamingResponse(_parquet(tables), media_type="application/vnd.apache.parquet", headers=headers)


def _kept(corpus: ShownRoot, store: Store, compared: Selection, most: int) -> Iterator[pa.Table]:
    frame = frame_of(store, compared)
    schema = frame.head(0).collect().to_arrow().schema
    if compared.sample:
        rows = query.sample(
            store, min(most, query.MOST), compared.seed, compared.where, compared.grep, compared.literal
        )
        yield _masked(corpus, rows, schema)
        return
    yield schema.empty_table()
    with query.questions():
        for batch in frame.head(most).collect_batches(chunk_size=BATCH, lazy=True, engine="streaming"):
            yield _masked(corpus, batch.to_dicts(), schema)


DROPPED = pa.schema(
    [("id", STR), ("reason", STR), ("reasons", pa.list_(STR)),
     ("measured", pa.list_(pa.struct([("metric", STR), ("value", pa.float64()), ("sign", STR), ("limit", pa.float64()), ("option", STR)]))),
     ("note", STR), ("text", STR), ("url", STR)]
)  # fmt: skip
"""Columns of dropped rows."""


def _dropped(corpus: ShownRoot, store: Store, compared: Selection, most: int) -> Iterator[pa.Table]:
    yield DROPPED.empty_table()
    found = itertools.islice(
        query.each_dropped(
            store, corpus.root, compared.reason, most=query.searched(store) if compared.grep else most, seed=compared.seed if compared.sample else None,
            condition=compared.where, pattern=compared.grep, nearest=compared.nearest, literal=compared.literal, before=corpus.before,
        ),
        most,
    )  # fmt: skip
    while some := list(itertools.islice(found, BATCH)):
        rows = [
            {**{name: row[name] for name in ("id", "reason", "reasons", "note")}, "measured": [each._asdict() for each in row["measured"]],
             **{name: (row["row"] or {}).get(name) for name in ("text", "url")}}
            for row in some
        ]  # fmt: skip
        yield _masked(corpus, rows, DROPPED)


def _masked(corpus: ShownRoot, rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows whose strings hold no personal data, unless it is to be revealed."""
    fitted = corpus.fit_within([{name: value for name, value in row.items() if name != "id"} for row in rows])
    return pa.Table.from_pylist([{"id": row["id"], **new} for row, new in zip(rows, fitted)], schema=schema)


def _lines(table: pa.Table) -> bytes:
    lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in table.to_pylist())
    return "".join(lines).encode("utf-8", "replace")


def _parquet(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    first = next(tables)
    with tempfile.TemporaryFile() as file:
        with pq.ParquetWriter(file, first.schema) as writer:
            for table in tables:
                writer.write_table(table)
        file.seek(0)
        while part := file.read(1 << 20):
            yield part


# -- two roots ---------------------------------------------------------------------------------------------------------------


def compare_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """Steps of the same name in two roots: rows, drops by reason, and documents that one alone keeps."""
    others = corpus.other()
    steps = []
    for name, store in corpus.stores().items():
        if name in others:
            here, there = store.require(), others[name].require()
            mine, theirs = (corpus.totals(one)[1] for one in (store, others[name]))
            words = sorted({*mine, *theirs}, key=lambda word: -abs(mine.get(word, 0) - theirs.get(word, 0)))
            steps.append({
                "name": name, "here": here, "there": there, "same": here["key"] == there["key"], "dropped": (dropped(mine), dropped(theirs)),
                "reasons": [(word, mine.get(word, 0), theirs.get(word, 0)) for word in words if mine.get(word, 0) != theirs.get(word, 0)][:12],
            })  # fmt: skip
    return page("compare.jinja", corpus, t, steps=steps, against=corpus.against, alone=[n for n in corpus.stores() if n not in others],
                missing=[n for n in others if n not in corpus.stores()])  # fmt: skip


def compare_step(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """Documents that one of two steps keeps alone, with what the other says of them."""
    import polars as pl

    store, other = corpus.store(given["store"]), corpus.other().get(given["store"])
    if other is None:
        raise NotInRoot(f"the other root has no step {store.name!r}", "start the page with --against ROOT")
    start = count_of(given, "start", 0, 5_000)
    kept = [
        query.ledger(one).filter(pl.col("out").is_not_null()).select(pl.col("out").alias("id")).unique()
        for one in (store, other)
    ]
    parts = []
    for title, own, rest, compared in (
        ("kept here alone", kept[0], kept[1], other),
        ("kept there alone", kept[1], kept[0], store),
    ):
        alone = own.join(rest, on="id", how="anti")
        total = query.count(alone)
        ids = [row["id"] for row in query.take(alone.sort("id"), 20, start)]
        why = (
            {row["id"]: row for row in query.take(query.ledger(compared).filter(pl.col("id").is_in(ids)), 1000)}
            if ids
            else {}
        )
        holder = store if title == "kept here alone" else other
        rows = query.by_ids(holder, ids) if query.whole(holder) else {}
        limits = corpus.limits(compared)
        cards = [{"id": row_id, "row": rows.get(row_id), "reason": (why.get(row_id) or {}).get("reason"),
                  "numbers": [(number, 0) for number in query.measured(why[row_id], limits)] if row_id in why else [],
                  "of": holder.name, "note": (why.get(row_id) or {}).get("note")} for row_id in ids]  # fmt: skip
        parts.append((title, total, with_texts(corpus, cards, cut=400)))
    return page("compare_step.jinja", corpus, t, store=store, parts=parts, start=start)


PAGES: list[tuple[str, str, Any]] = [
    ("/labels", "GET", labels_page),
    ("/label", "POST", label),
    ("/labels/store", "POST", labels_store),
    ("/s/{store}/export", "GET", export),
    ("/compare", "GET", compare_page),
    ("/compare/{store}", "GET", compare_step),
]
"""Path, method and function."""
