"""Pages that keep or hand out something: labels, exports, and what differs between two roots."""

from __future__ import annotations

import io
import json
from typing import Any

from starlette.responses import JSONResponse, RedirectResponse, Response

from pipeline.errors import UsageError
from pipeline.inspection import query
from pipeline.inspection.sections import receipts_of
from pipeline.storage.ledger import dropped
from stages.view import labels
from stages.view.corpus import NotInRoot, ShownRoot, required
from stages.view.pages import reasons_of
from stages.view.render import count_of, fault_free, page, with_texts
from stages.view.words import PageWords


def labels_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """Every label, the latest first."""
    entries = labels.read(corpus)
    start = count_of(given, "start", 0, 100_000)
    some = entries[start : start + 50]
    found: dict[str, dict[str, Any]] = {}
    for store in corpus.stores().values():
        if query.whole(store) and store.shape == "DOCUMENT" and store.name != labels.NAME:
            found |= query.by_ids(store, [entry["id"] for entry in some if entry["id"] not in found])
    cards = [{**entry, "row": found.get(entry["id"])} for entry in some]
    counts = {name: sum(entry["label"] == name for entry in entries) for name in labels.LABELS}
    return page("labels.jinja", corpus, t, entries=with_texts(corpus, cards, cut=240), counts=counts, total=len(entries), start=start,
                more=len(entries) > start + 50, written=labels.NAME in corpus.stores())  # fmt: skip


def label(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> Response:
    """Note a label, as a page's script sends it."""
    words = [given.get(name, "") for name in ("label", "tags", "why")]
    return JSONResponse(labels.add(corpus, required(given, "id"), required(given, "store"), *words))


def labels_store(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> Response:
    """Make the store of labels."""
    labels.write_store(corpus)
    corpus.forget_list()
    return RedirectResponse("/labels", 303)


EXPORTED = 10_000
"""Rows of an export."""


def export(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> Response:
    """What a page shows, as JSONL or Parquet: rows of a store, or dropped rows with numbers and limits."""
    store, kind = corpus.store(given["store"]), given.get("as") or "jsonl"
    most, pattern = count_of(given, "rows", 1000, EXPORTED), given.get("grep") or None
    if kind not in ("jsonl", "parquet"):
        raise UsageError(f"as {kind[:20]!r}", "jsonl or parquet")
    rows: list[dict[str, Any]] = []
    if given.get("reason") or given.get("side") == "dropped":
        frame = query.dropped_ledger(store, given.get("reason") or None)
        frame = query.where(frame, given["where"]) if given.get("where") else frame
        for start in range(0, most, query.MOST):
            some = query.take(frame, min(query.MOST, most - start), start)
            before = corpus.upstream(store, [row["id"] for row in some])
            for row in some:
                whole = before.get(row["id"], (None, None))[1]
                if pattern and not query.matches(whole, pattern, bool(given.get("literal"))):
                    continue
                numbers = [number._asdict() for number in query.measured(row, corpus.limits(store))]
                rows.append({"id": row["id"], "reason": row["reason"], "reasons": row["reasons"], "measured": numbers, "note": row["note"],
                             "text": (whole or {}).get("text"), "url": (whole or {}).get("url")})  # fmt: skip
            if len(some) < query.MOST:
                break
    else:
        frame = query.rows(store)
        frame = query.where(frame, given["where"]) if given.get("where") else frame
        frame = query.grep(frame, pattern, literal=bool(given.get("literal"))) if pattern else frame
        for start in range(0, most, query.MOST):
            some = query.take(frame, min(query.MOST, most - start), start)
            rows += some
            if len(some) < query.MOST:
                break
    rows = masked_rows(corpus, rows)
    name = fault_free(f"{store.name}-{given.get('reason') or 'rows'}.{kind}")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if kind == "jsonl":
        body = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode(
            "utf-8", "replace"
        )
        return Response(body, media_type="application/x-ndjson", headers=headers)
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return Response(sink.getvalue(), media_type="application/vnd.apache.parquet", headers=headers)


def masked_rows(corpus: ShownRoot, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose strings hold no personal data, unless it is to be revealed."""
    if corpus.reveal:
        return rows
    texts: list[str] = []

    def collect(value: Any) -> Any:
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict):
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    for row in rows:
        collect({name: value for name, value in row.items() if name != "id"})
    told = iter(corpus.fit(texts, 1 << 30))

    def replaced(value: Any) -> Any:
        if isinstance(value, str):
            return next(told)
        if isinstance(value, dict):
            return {name: replaced(inner) for name, inner in value.items()}
        return [replaced(inner) for inner in value] if isinstance(value, list) else value

    return [{"id": row["id"], **replaced({name: value for name, value in row.items() if name != "id"})} for row in rows]


# -- two roots ---------------------------------------------------------------------------------------------------------------


def compare_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """Steps of the same name in two roots: rows, drops by reason, and documents that one alone keeps."""
    others = corpus.other()
    steps = []
    for name, store in corpus.stores().items():
        if name in others:
            here, there = store.require(), others[name].require()
            mine, theirs = (reasons_of(receipts_of(one)) for one in (store, others[name]))
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
    for title, own, rest, asked in (
        ("kept here alone", kept[0], kept[1], other),
        ("kept there alone", kept[1], kept[0], store),
    ):
        alone = own.join(rest, on="id", how="anti")
        total = query.count(alone)
        ids = [row["id"] for row in query.take(alone.sort("id"), 20, start)]
        why = (
            {row["id"]: row for row in query.take(query.ledger(asked).filter(pl.col("id").is_in(ids)), 1000)}
            if ids
            else {}
        )
        holder = store if title == "kept here alone" else other
        rows = query.by_ids(holder, ids) if query.whole(holder) else {}
        limits = corpus.limits(asked)
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
