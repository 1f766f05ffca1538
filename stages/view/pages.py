"""Pages of a root and its stores: funnel, reasons, metrics with what-if, search. Numbers come from manifests, receipts and ledgers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml

from pipeline.engine import catalog
from pipeline.errors import UsageError, did_you_mean
from pipeline.inspection import query
from pipeline.inspection.charts import Histogram, Part
from pipeline.inspection.limits import nearness
from pipeline.inspection.sections import Samples, section_of
from pipeline.inspection.selection import Selection, found
from pipeline.inspection.what_if import histogram, what_if
from pipeline.inspection.words import PageWords
from pipeline.storage.ledger import dropped, held_out
from pipeline.storage.store import Store
from stages.view.corpus import NotInRoot, ShownRoot, required
from stages.view.render import page, with_texts
from stages.view.selected import SHOWN, as_python, limit_of, searched_by, selection_of
from stages.view.turns import decoded

# -- funnel ----------------------------------------------------------------------------------------------------------------


def funnel(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """The recipe as a flow: what went in, out, and why the rest went."""
    steps = []
    for store in corpus.stores().values():
        manifest, (into, reasons) = store.require(), corpus.totals(store)
        steps.append(
            {
                "name": store.name, "stage": manifest["stage"], "shape": (manifest["shape"] or "").removeprefix("artefact:"),
                "into": into, "rows": manifest["rows"], "dropped": dropped(reasons), "held": held_out(reasons),
                "bytes": manifest["bytes"] or (manifest["artefact"] or {}).get("bytes", 0),
                "share": 100 * dropped(reasons) / into if into else 0, "reasons": list(reasons.items())[:8], "more": max(0, len(reasons) - 8),
                "of": [entry["store"].rpartition("/")[2] for entries in (manifest.get("lineage") or {}).values() for entry in entries],
                "has_rows": query.whole(store),
            }
        )  # fmt: skip
    most = max((step["into"] or step["rows"] for step in steps), default=1) or 1
    return page("funnel.jinja", corpus, t, steps=steps, most=most)


def store_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """A store: counts, reasons, limits and metrics, and what its stage's part of the report says."""
    store = corpus.store(given["store"])
    manifest = store.require()
    limits = corpus.limits(store)
    section: list[Part] = []
    module = catalog.hook(manifest["stage"], "report") if not manifest["rows"] else None
    if module is not None and hasattr(module, "section"):
        section = section_of(module, [store], Samples(corpus.fit, t))
    columns, has = query.ledger_holds(store)
    options = yaml.safe_dump(manifest.get("options") or {}, allow_unicode=True, sort_keys=False, width=110)
    if not corpus.reveal:  # as the report shows a recipe
        options = "\n".join(line or "" for line in corpus.named([*options.splitlines()]))
    counts = {}
    for name, commonest in manifest["counts"].items():
        some = list(commonest.items())[:SHOWN]
        fitted = corpus.fit([word for word, _ in some])
        # What is masked is no link: its address would say it.
        counts[name] = [(word if word == new else None, new, rows) for (word, rows), new in zip(some, fitted)]
    return page(
        "store.jinja", corpus, t, store=store, manifest=manifest, reasons=corpus.totals(store)[1], limits=limits, counts=counts, metrics=query.metrics_of(columns),
        options=options, section=section, has=has, has_rows=query.whole(store),
    )  # fmt: skip


# -- why rows were dropped ---------------------------------------------------------------------------------------------------


def reason_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """What was dropped for a reason: texts with numbers and limits, nearest to the limit first unless asked otherwise."""
    store, reason = corpus.store(given["store"]), given["reason"]
    _, known = corpus.totals(store)
    if reason not in known:
        raise NotInRoot(f"{store.name} dropped nothing for {reason!r}", did_you_mean(reason, list(known)))
    own = limit_of(corpus, store, reason)
    selection = selection_of(store, given, own)
    rows = found(store, corpus.root, selection, corpus.before)
    order = "random" if selection.sample else "nearest" if selection.nearest else "first"
    return page(
        "reason.jinja", corpus, t, store=store, reason=reason, total=known[reason], limit=own, order=order,
        cards=dropped_cards(corpus, rows[:SHOWN], selection), start=selection.offset, more=len(rows) > SHOWN, given=given, shown=SHOWN,
        code=as_python(corpus, store, selection),
    )  # fmt: skip


def dropped_cards(corpus: ShownRoot, rows: list[dict[str, Any]], selection: Selection) -> list[dict[str, Any]]:
    """What a card shows of each dropped row."""
    cards = [
        {
            "id": row["id"], "reason": row["reason"], "also": [word for word in row["reasons"] or () if word != row["reason"]],
            "numbers": [(each, nearness(each.value, each.limit)) for each in row["measured"]], "note": row["note"], "of": row["text_of"],
            "source": row.get("source"), "locator": row.get("locator"), "representative": row["duplicate_of"], "row": row["row"],
        }
        for row in rows
    ]  # fmt: skip
    return with_texts(corpus, cards, selection.grep or "", selection.literal)


# -- metrics and what-if -------------------------------------------------------------------------------------------------------


def metric_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """The histogram of a metric with its limit, which can be moved, and what that would change."""
    store, metric = corpus.store(given["store"]), given["metric"]
    edges, kept, gone = histogram(store, metric)
    limits = [limit for limit in corpus.limits(store) if limit.metric == metric]
    chosen = next((limit for limit in limits if limit.option == given.get("option")), limits[0] if limits else None)
    value = chosen.value if chosen else None
    if value is None and chosen and chosen.languages:
        value = next(iter(each for each in chosen.languages.values() if each is not None), None)
    chart = [Histogram(edges, {t("kept"): kept, t("dropped"): gone}, metric, value)] if edges else []
    return page(
        "metric.jinja", corpus, t, store=store, metric=metric, chart=chart, limits=limits, limit=chosen, value=value, edges=edges,
        movable=_movable(store),
    )  # fmt: skip


def _movable(store: Store) -> bool:
    return hasattr(catalog.hook(store.require()["stage"], "report"), "decide")


def what_if_part(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """What another limit would change, as a part of a page."""
    store, option, value = corpus.store(given["store"]), required(given, "option"), required(given, "value")
    if option not in {limit.option for limit in corpus.limits(store)}:
        raise NotInRoot(f"no limit {option!r} in this step", "choose one of the list")
    try:
        float(value) if value != "null" else None
    except ValueError:
        raise UsageError(f"value {value[:40]!r}", "a number, or null for no limit") from None
    change = what_if(store, [f"{option}={value}"])
    stage = store.require()["stage"]
    recipe = yaml.safe_dump([{stage: change["options"]}], allow_unicode=True, sort_keys=False, width=120)
    return page("what_if.jinja", corpus, t, store=store, change=change, recipe=recipe, option=option, value=value)


# -- browse and search ---------------------------------------------------------------------------------------------------------


def rows_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """Rows of a store: searched, chosen, drawn; kept and dropped side by side where asked."""
    store = corpus.store(given["store"])
    side = given.get("side") or ("kept" if query.whole(store) else "dropped")
    selection, searched = searched_by(store, selection_of(store, given), given)
    kept, lost = [], []
    if side in ("kept", "both"):
        kept = found(store, corpus.root, replace(selection, dropped=False))
    if side in ("dropped", "both"):  # a condition beside both is over the columns of rows
        own = replace(selection, dropped=True, where=selection.where if side == "dropped" else None)
        lost = found(store, corpus.root, own, corpus.before)
    columns = [field["name"] for field in store.require()["schema"]]
    if "input_ids" in columns:
        kept = [
            {**row, "text": " ".join(run.text for run in decoded(corpus, store, row))} for row in kept[:SHOWN]
        ] + kept[SHOWN:]
    cards = [{"id": row["id"], "reason": None, "row": row, "of": store.name} for row in kept[:SHOWN]]
    return page(
        "rows.jinja", corpus, t, store=store, cards=with_texts(corpus, cards, selection.grep or "", selection.literal),
        lost=dropped_cards(corpus, lost[:SHOWN], selection), side=side, start=selection.offset, given=given, shown=SHOWN, columns=columns,
        more=max(0 if selection.sample else len(kept), len(lost)) > SHOWN, has_rows=query.whole(store), code=as_python(corpus, store, selection), searched=searched if side != "dropped" else None,
    )  # fmt: skip


PAGES: list[tuple[str, str, Any]] = [
    ("/", "GET", funnel),
    ("/s/{store}", "GET", store_page),
    ("/s/{store}/reason/{reason}", "GET", reason_page),
    ("/s/{store}/metric/{metric}", "GET", metric_page),
    ("/s/{store}/what-if", "GET", what_if_part),
    ("/s/{store}/rows", "GET", rows_page),
]
"""Path, method and function."""
