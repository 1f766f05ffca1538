"""Pages of documents: a life through all steps, a row whole, groups of duplicates, edits in their surroundings."""

from __future__ import annotations

import json
import re
from typing import Any

from markupsafe import Markup, escape

from pipeline.inspection import query
from pipeline.inspection.limits import measured
from pipeline.inspection.page import difference
from pipeline.inspection.sections import as_text
from pipeline.inspection.trace import happened
from pipeline.inspection.words import PageWords
from pipeline.storage.store import Store
from stages.view import labels
from stages.view.corpus import CUT, WHOLE, NotInRoot, ShownRoot
from stages.view.render import count_of, page, with_texts
from stages.view.turns import painted, sides


def life_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """What happened to a document, from the record it was read from to what was made of it, with the edits of each step."""
    what = given.get("what", "").strip()
    if not what:
        return page("life.jinja", corpus, t, what="", steps=[], texts=[], searched=None)
    first = count_of(given, "from", 0, sum(len(store.shards()) for store in corpus.stores().values()))
    found, steps, part = happened(list(corpus.stores().values()), corpus.root, what, first)
    compared = sorted(found)[:FEW]
    there = corpus.anywhere(compared)
    texts = [{"id": row_id, "states": states(corpus, row_id, there)} for row_id in compared]
    made = [(step, corpus.notes(step.rows)) for step in steps]
    return page("life.jinja", corpus, t, what=what, steps=made, texts=[each for each in texts if each["states"]],
                searched=part, given=given)  # fmt: skip


FEW = 3
"""Documents of a page whose texts are compared."""


def states(
    corpus: ShownRoot, row_id: str, there: list[tuple[Store, dict[str, dict[str, Any]]]]
) -> list[dict[str, Any]]:
    """The text of a row in each store that has it (`there`: stores with rows by id), as what differs from the store before."""
    out: list[dict[str, Any]] = []
    last: str | None = None
    for store, rows in there:
        if (row := rows.get(row_id)) is None:
            continue
        (text,) = corpus.fit([as_text(row)], WHOLE)
        if last is None:
            out.append({"store": store.name, "same": False, "text": escape(text), "lang": row.get("lang")})
        else:
            out.append(
                {
                    "store": store.name,
                    "same": text == last,
                    "lang": row.get("lang"),
                    "text": difference(last, text) if text != last else Markup(""),
                }
            )
        last = text
    return out


def row_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """A row whole: its text or turns, and every column."""
    store, row_id = corpus.store(given["store"]), given["id"]
    if not query.whole(store):
        raise NotInRoot(f"the rows of {store.name} are not on disk", "look at its life instead")
    found = query.by_ids(store, [row_id])
    if row_id not in found:
        raise NotInRoot(f"{store.name} has no row {row_id}", "look for it by its life")
    row = found[row_id]
    apart = ("id", "text", "messages", "prompt", "chosen", "rejected")
    columns = [(name, value) for name, value in row.items() if name not in apart and value not in (None, [])]
    fitted = corpus.fit_within(
        [value for _, value in columns], CUT * 4
    )  # a string at a time: JSON would hide what begins a line
    values = [json.dumps(value, ensure_ascii=False, default=str)[: CUT * 4] for value in fitted]
    text = corpus.fit([row["text"] or ""], WHOLE)[0] if "text" in row else None
    return page(
        "row.jinja", corpus, t, store=store, row_id=row_id, text=text, lang=row.get("lang"),
        cells=[(name, value) for (name, _), value in zip(columns, values)], sides=sides(corpus, row),
        painted=painted(corpus, store, row, given.get("model") or ""), label=labels.of(corpus, [row_id]).get(row_id),
    )  # fmt: skip


# -- duplicates ----------------------------------------------------------------------------------------------------------------

GROUPS = 30
"""Groups of a page."""


def groups_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """The rows that stand for others, those that stand for most first."""
    import polars as pl

    store = corpus.store(given["store"])
    start = count_of(given, "start", 0, 5_000)
    gone = query.ledger(store).filter(pl.col("duplicate_of").is_not_null())
    counted = gone.group_by("duplicate_of").agg(
        pl.len().alias("rows"), pl.col("reason").unique().sort().alias("reasons")
    )
    found = query.take(counted.sort("rows", "duplicate_of", descending=[True, False]), GROUPS + 1, start)
    rows = query.by_ids(store, [each["duplicate_of"] for each in found]) if query.whole(store) else {}
    missing = [each["duplicate_of"] for each in found if each["duplicate_of"] not in rows]
    rows |= {row_id: row for row_id, (_, row) in corpus.upstream(store, missing).items()}
    cards = [{"id": each["duplicate_of"], "row": rows.get(each["duplicate_of"]), "members": each["rows"] + 1, "reasons": each["reasons"]}
             for each in found[:GROUPS]]  # fmt: skip
    cards = with_texts(corpus, cards, cut=240)
    return page(
        "groups.jinja", corpus, t, store=store, cards=cards, start=start, more=len(found) > GROUPS, shown=GROUPS
    )


MEMBERS = 12
"""Members of a group that are compared with the row that stands for them."""


def group_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """A group: the row that stays, and how each that went differs from it."""
    import polars as pl

    store, row_id = corpus.store(given["store"]), given["id"]
    start = count_of(given, "start", 0, 5_000)
    found = query.take(query.ledger(store).filter(pl.col("duplicate_of") == row_id), MEMBERS + 1, start)
    if not found:
        raise NotInRoot(f"nothing in {store.name} went for {row_id}", "choose a group of the list")
    before = corpus.upstream(store, [row_id, *(row["id"] for row in found)])
    texts = corpus.fit([as_text(before[row_id][1]) if row_id in before else ""], WHOLE)
    limits, members = corpus.limits(store), []
    labelled = labels.of(corpus, [row["id"] for row in found])
    for row in found[:MEMBERS]:
        (text,) = corpus.fit([as_text(before.get(row["id"], (None, None))[1])], WHOLE)
        scores = {name: row[name] for name in row if name.endswith((".score", ".similarity")) and row[name] is not None}
        members.append({"id": row["id"], "reason": row["reason"], "scores": scores, "numbers": measured(row, limits),
                        "text": difference(texts[0], text), "said": labelled.get(row["id"])})  # fmt: skip
    return page("group.jinja", corpus, t, store=store, row_id=row_id, text=texts[0], members=members, start=start, lang=before[row_id][1].get("lang") if row_id in before else None,
                more=len(found) > MEMBERS, shown=MEMBERS)  # fmt: skip


# -- edits -----------------------------------------------------------------------------------------------------------------------

EDITS = 40
"""Edits of a page."""
AROUND = 90
"""Characters shown on either side of an edit."""


def edits_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """What a step changed in texts, by rule, in its surroundings: personal data among it, masked unless it is to be revealed."""
    import polars as pl

    store = corpus.store(given["store"])
    start, kind = count_of(given, "start", 0, 5_000), given.get("kind", "")
    edits = (
        query.ledger(store)
        .filter(pl.col("edits").list.len() > 0)
        .select("id", "edits")
        .explode("edits")
        .unnest("edits")
    )
    kinds = query.count(edits.with_columns(kind=kind_of()), "kind")
    chosen = edits.with_columns(kind=kind_of())
    found = query.take(chosen.filter(pl.col("kind") == kind) if kind else chosen, EDITS + 1, start)
    ids = sorted({row["id"] for row in found})
    every = query.take(query.ledger(store).filter(pl.col("id").is_in(ids)).select("id", "edits"), query.MOST)
    others = {row["id"]: row["edits"] or [] for row in every}
    before = corpus.upstream(store, [row["id"] for row in found])
    shown = []
    replacements = corpus.fit([edit["replacement"] or "" for edit in found[:EDITS]])
    for edit, replacement in zip(found[:EDITS], replacements):
        whole = edited_text(before.get(edit["id"], (None, {}))[1] or {}, edit["by"] or "")
        # A window says less of a number beside it than the whole text did: what other edits replace is not shown either.
        gone = ((each["start"], each["end"]) for each in others.get(edit["id"], ()) if field_of(each) == field_of(edit))
        left, right = corpus.fit_around(whole, edit["start"], edit["end"], AROUND, gone)
        value = whole[edit["start"] : edit["end"]]
        value = value[:CUT] if corpus.reveal else "█" * min(len(value), 24)
        shown.append(
            {**edit, "left": left, "right": right, "value": value, "replacement": replacement, "there": bool(whole)}
        )
    return page(
        "edits.jinja",
        corpus,
        t,
        store=store,
        kinds=kinds,
        kind=kind,
        edits=shown,
        start=start,
        more=len(found) > EDITS,
        shown=EDITS,
    )


def field_of(edit: dict[str, Any]) -> str:
    """The field that an edit's positions are of: the last word of its rule."""
    return (edit["by"] or "").rpartition(" ")[2]


STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,9})\]")


def edited_text(row: dict[str, Any], by: str) -> str:
    """The text that an edit's positions are of: that of the field its rule names last (`email mail 0.95 blocks[9].text`), else the
    main one; empty where it is not there."""
    path = by.rpartition(" ")[2]
    if re.split(r"[.\[]", path, maxsplit=1)[0] not in row:
        path = "text"
    value: Any = row
    for step in STEP.finditer(path):
        if step[1] is not None:
            value = value.get(step[1]) if isinstance(value, dict) else None
        else:
            value = value[int(step[2])] if isinstance(value, list) and int(step[2]) < len(value) else None
    return value if isinstance(value, str) else ""


def kind_of() -> Any:
    """The rule of an edit: the first word of what made it."""
    import polars as pl

    return pl.col("by").str.extract(r"^(\S+)", 1)


PAGES: list[tuple[str, str, Any]] = [
    ("/life", "GET", life_page),
    ("/s/{store}/row/{id}", "GET", row_page),
    ("/s/{store}/groups", "GET", groups_page),
    ("/s/{store}/group/{id}", "GET", group_page),
    ("/s/{store}/edits", "GET", edits_page),
]
"""Path, method and function."""
