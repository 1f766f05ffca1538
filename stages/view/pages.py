"""Pages of a root and its stores: funnel, reasons, metrics with what-if, search. Numbers come from manifests, receipts and ledgers."""

from __future__ import annotations

from typing import Any

import yaml
from markupsafe import Markup

from pipeline.engine import catalog
from pipeline.errors import UsageError, did_you_mean
from pipeline.inspection import query
from pipeline.inspection.charts import histogram as drawn
from pipeline.inspection.limits import MetricLimit, measured, nearness
from pipeline.inspection.sections import Samples, receipts_of
from pipeline.inspection.what_if import histogram, what_if
from pipeline.storage.ledger import dropped, held_out
from pipeline.storage.store import Store
from stages.view.corpus import NotInRoot, ShownRoot, required
from stages.view.render import count_of, page, with_texts
from stages.view.words import PageWords

SHOWN = 20
"""Rows of a page."""
FAR = 5_000
"""Rows one can page through."""


# -- funnel ----------------------------------------------------------------------------------------------------------------


def funnel(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """The recipe as a flow: what went in, out, and why the rest went."""
    steps = []
    for store in corpus.stores().values():
        manifest, receipts = store.require(), receipts_of(store)
        reasons = reasons_of(receipts)
        into = sum(receipt.rows_in for receipt in receipts)
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


def reasons_of(receipts: list[Any]) -> dict[str, int]:
    """Rows by reason, the commonest first."""
    counts: dict[str, int] = {}
    for receipt in receipts:
        for word, rows in receipt.reasons.items():
            counts[word] = counts.get(word, 0) + rows
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def store_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """A store: counts, reasons, limits and metrics, and what its stage's part of the report says."""
    store = corpus.store(given["store"])
    manifest = store.require()
    limits = corpus.limits(store)
    said = ""
    module = catalog.hook(manifest["stage"], "report") if not manifest["rows"] else None
    if module is not None and hasattr(module, "section"):
        said = module.section([store], Samples(corpus.fit))
    metrics = query.metrics_of(query.ledger(store)) if store.ledger_names() else []
    options = yaml.safe_dump(manifest.get("options") or {}, allow_unicode=True, sort_keys=False)
    return page(
        "store.jinja", corpus, t, store=store, manifest=manifest, reasons=reasons_of(receipts_of(store)), limits=limits, metrics=metrics,
        options=options, said=Markup(said), has_rows=query.whole(store),
    )  # fmt: skip


# -- why rows were dropped ---------------------------------------------------------------------------------------------------


def reason_page(corpus: ShownRoot, given: dict[str, str], t: PageWords) -> str:
    """What was dropped for a reason: texts with numbers and limits, nearest to the limit first unless asked otherwise."""
    store, reason = corpus.store(given["store"]), given["reason"]
    known = reasons_of(receipts_of(store))
    if reason not in known:
        raise NotInRoot(f"{store.name} dropped nothing for {reason!r}", did_you_mean(reason, list(known)))
    limits = corpus.limits(store)
    own = next((limit for limit in limits if limit.reason == reason), None)
    order = given.get("order") or ("nearest" if own else "first")
    start = count_of(given, "start", 0, FAR)
    frame = query.dropped_ledger(store, reason)
    frame = query.where(frame, given["where"]) if given.get("where") else frame
    if order == "random":
        frame = query.drawn(frame, count_of(given, "seed", 1, 2**63 - 1), start + SHOWN + 1)
    elif order == "nearest" and own:
        frame = query.nearest_first(frame, own)
    found = query.take(frame, SHOWN + 1, start)
    cards = dropped_cards(corpus, store, found[:SHOWN], limits, given.get("grep", ""), bool(given.get("literal")))
    return page(
        "reason.jinja", corpus, t, store=store, reason=reason, total=known[reason], limit=own, order=order, cards=cards, start=start,
        more=len(found) > SHOWN, given=given, shown=SHOWN, code=as_python(corpus, store, reason=reason, nearest=order == "nearest"),
    )  # fmt: skip


def dropped_cards(
    corpus: ShownRoot,
    store: Store,
    rows: list[dict[str, Any]],
    limits: list[MetricLimit],
    pattern: str = "",
    literal: bool = False,
) -> list[dict[str, Any]]:
    """What a card shows of each dropped row; where a pattern is given, of those whose text holds it."""
    before = corpus.upstream(store, [row["id"] for row in rows])
    cards = []
    for row in rows:
        where, whole = before.get(row["id"], (None, None))
        if pattern and not query.matches(whole, pattern, literal):
            continue
        numbers = measured(row, limits)
        card = {
            "id": row["id"], "reason": row["reason"], "also": [word for word in row["reasons"] or () if word != row["reason"]],
            "numbers": [(each, nearness(each.value, each.limit)) for each in numbers], "note": row["note"], "of": where,
            "source": row.get("source"), "locator": row.get("locator"), "representative": row["duplicate_of"], "row": whole,
        }  # fmt: skip
        cards.append(card)
    return with_texts(corpus, cards, pattern, literal)


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
    chart = drawn(edges, {t("kept"): kept, t("dropped"): gone}, x=metric, limit=value) if edges else ""
    return page(
        "metric.jinja", corpus, t, store=store, metric=metric, chart=Markup(chart), limits=limits, limit=chosen, value=value, edges=edges,
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
    start, pattern, literal = count_of(given, "start", 0, FAR), given.get("grep", ""), bool(given.get("literal"))
    side = given.get("side") or ("kept" if query.whole(store) else "dropped")
    cards, lost, more = [], [], False
    if side in ("kept", "both"):
        if given.get("seed"):
            seed = count_of(given, "seed", 0, 2**63 - 1)
            found = query.sample(store, SHOWN, seed, given.get("where"), pattern or None, literal)
        else:
            frame = query.rows(store)
            frame = query.where(frame, given["where"]) if given.get("where") else frame
            frame = query.grep(frame, pattern, literal=literal) if pattern else frame
            found = query.take(frame, SHOWN + 1, start)
            more = len(found) > SHOWN
        cards = [{"id": row["id"], "reason": None, "row": row, "of": store.name} for row in found[:SHOWN]]
        cards = with_texts(corpus, cards, pattern, literal)
    if side in ("dropped", "both"):
        seed = count_of(given, "seed", 0, 2**63 - 1) if given.get("seed") else None
        frame = query.dropped_ledger(store)
        if given.get("where") and side == "dropped":
            frame = query.where(frame, given["where"])
        read = 1000 if pattern else SHOWN + 1
        frame = query.drawn(frame, seed, read) if seed is not None else frame
        found = query.take(frame, read, start)
        lost = dropped_cards(corpus, store, found if pattern else found[:SHOWN], corpus.limits(store), pattern, literal)
        more |= len(found if not pattern else lost) > SHOWN
        lost = lost[:SHOWN]
    columns = [field["name"] for field in store.require()["schema"]]
    return page(
        "rows.jinja", corpus, t, store=store, cards=cards, lost=lost, side=side, start=start, more=more, given=given, shown=SHOWN,
        columns=columns, has_rows=query.whole(store),
        code=as_python(corpus, store, **{name: given.get(name) for name in ("where", "grep", "seed")}, literal=literal),
    )  # fmt: skip


def as_python(corpus: ShownRoot, store: Store, **asked_for: Any) -> str:
    """The question as Python, to be copied."""
    head = "from pipeline.inspection import query\nfrom pipeline.storage.store import Store\n\n"
    head += f"store = Store({store.path!r})\n"
    if "reason" in asked_for:
        nearest = ", nearest=True" if asked_for["nearest"] else ""
        return f"{head}query.dropped(store, {corpus.root!r}, {asked_for['reason']!r}, 20{nearest})"
    literal = ", literal=True" if asked_for.get("literal") else ""
    if asked_for.get("seed"):
        more = "".join(
            f", {name}={asked_for[own]!r}"
            for name, own in (("condition", "where"), ("pattern", "grep"))
            if asked_for[own]
        )
        return f"{head}query.sample(store, 20, {int(asked_for['seed'])}{more}{literal})"
    frame = "query.rows(store)"
    frame = f"query.where({frame}, {asked_for['where']!r})" if asked_for.get("where") else frame
    frame = f"query.grep({frame}, {asked_for['grep']!r}{literal})" if asked_for.get("grep") else frame
    return f"{head}query.take({frame}, 20)"


PAGES: list[tuple[str, str, Any]] = [
    ("/", "GET", funnel),
    ("/s/{store}", "GET", store_page),
    ("/s/{store}/reason/{reason}", "GET", reason_page),
    ("/s/{store}/metric/{metric}", "GET", metric_page),
    ("/s/{store}/what-if", "GET", what_if_part),
    ("/s/{store}/rows", "GET", rows_page),
]
"""Path, method and function."""
