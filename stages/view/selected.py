"""What an address asks of a store. A page, its export and its Python are of one question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from pipeline.inspection import query
from pipeline.inspection.limits import MetricLimit
from pipeline.inspection.selection import Selection
from pipeline.storage.files import Local
from pipeline.storage.store import Store
from stages.view.corpus import ShownRoot
from stages.view.render import count_of

SHOWN = 20
"""Rows of a page."""
FAR = 5_000
"""Rows one can page through."""


def selection_of(store: Store, given: dict[str, str], limit: MetricLimit | None = None) -> Selection:
    """The rows that an address asks for, one more than a page shows; `limit`: what those of its reason can be sorted by."""
    reason, grep = given.get("reason") or None, given.get("grep") or None
    order = given.get("order") or ("nearest" if limit else "first")
    if reason and grep and not isinstance(store.fs, Local):
        order = "first"  # in another order a batch would be fetched for nearly every text that is searched
    sample = order == "random" or (not reason and bool(given.get("seed")))
    return Selection(
        SHOWN + 1, count_of(given, "start", 0, FAR), where=given.get("where") or None, grep=grep,
        literal=bool(given.get("literal")), dropped=given.get("side") == "dropped" or not query.whole(store), reason=reason, sample=sample,
        seed=count_of(given, "seed", 1, 2**63 - 1), nearest=order == "nearest" and limit is not None,
    )  # fmt: skip


class SearchedPart(NamedTuple):
    """Which part of a store's shards a page searched: texts are searched some gigabytes a page, of object storage less."""

    shards: int
    before: int
    """Shards before it."""
    rest: int
    """Those behind it; where rows are drawn, those that were not drawn from."""
    sample: bool


def searched_by(store: Store, selection: Selection, given: dict[str, str]) -> tuple[Selection, SearchedPart | None]:
    """A search over the shards that one page may read, from the `from`-th on; None where it reads all of them, or no search."""
    if selection.dropped or not (selection.grep or selection.where):
        return selection, None
    before = 0 if selection.sample else count_of(given, "from", 0, len(store.shards()))
    of, rest = query.window(store, before, selection.seed if selection.sample else None)
    if not (before or rest):
        return selection, None
    return replace(selection, of=of), SearchedPart(len(of), before, rest, selection.sample)


def limit_of(corpus: ShownRoot, store: Store, reason: str | None) -> MetricLimit | None:
    """The limit that a reason is of."""
    return next((limit for limit in corpus.limits(store) if limit.reason == reason), None)


def as_python(corpus: ShownRoot, store: Store, selection: Selection) -> str:
    """The question as Python, to be copied."""
    head = "from pipeline.inspection import query\nfrom pipeline.storage.store import Store\n\n"
    head += f"store = Store({store.path!r})\n"
    if selection.dropped or selection.reason:
        more = _named(reason=selection.reason, count=SHOWN, offset=selection.offset, seed=selection.seed if selection.sample else None, condition=selection.where,
                      pattern=selection.grep, nearest=selection.nearest, literal=selection.literal)  # fmt: skip
        return f"{head}query.dropped(store, {corpus.root!r}{more})"
    if selection.sample:
        more = _named(
            seed=selection.seed,
            condition=selection.where,
            pattern=selection.grep,
            literal=selection.literal,
            of=selection.of,
        )
        return f"{head}query.sample(store, {SHOWN}{more})"
    frame = f"query.rows(store{_named(of=selection.of)})"
    frame = f"query.where({frame}, {selection.where!r})" if selection.where else frame
    frame = f"query.grep({frame}, {selection.grep!r}{_named(literal=selection.literal)})" if selection.grep else frame
    return f"{head}query.take({frame}, {SHOWN}{_named(offset=selection.offset)})"


def _named(**values: Any) -> str:
    return "".join(
        f", {name}={value!r}"
        for name, value in values.items()
        if value not in (None, False) and (value or name == "seed")
    )
