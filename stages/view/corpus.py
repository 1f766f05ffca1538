"""What the pages show: the stores of one root (and of another to compare with), texts fit to be shown, labels."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import MaetdolError, SourceError
from pipeline.inspection import query
from pipeline.inspection.inspect import stores_of
from pipeline.inspection.limits import MetricLimit, limits_of
from pipeline.inspection.masks import EDGE, beginnings, mask, masked
from pipeline.kept import KeptStore
from pipeline.options import digest
from pipeline.storage.files import filesystem, inside
from pipeline.storage.opened import at_once
from pipeline.storage.store import ARTEFACT, Store

FRESH = 5.0
"""Seconds for which the list of stores is not read again."""
CUT = 1_200
"""Characters of a text in a list."""
LISTED = 200
"""Entries of a list on a row's page."""
WHOLE = 200_000
"""Characters of a text on a page of its own."""


class NotInRoot(MaetdolError):
    """A store or row that this root does not have."""


class ShownRoot:
    """A root, opened to be shown."""

    def __init__(self, root: str, against: str | None = None, reveal: bool = False, who: str = "someone"):
        self.root, self.against, self.reveal, self.who = root.rstrip("/"), against, reveal, who
        self._read = float("-inf")
        self._folder = Path(tempfile.mkdtemp(prefix="maetdol-view-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._totals: dict[str, tuple[Store, int, dict[str, int]]] = {}
        self._stores: dict[str, KeptStore] = {}
        self._other: dict[str, KeptStore] = {}
        self._one, self.labelling = threading.Lock(), threading.Lock()
        self.journal: dict[str, dict[str, Any]] = {}
        """Labels that were read, by file."""
        self.journal_read = float("-inf")
        """When they were last looked for."""
        self.stores()

    def masked(self, texts: list[str]) -> list[str]:
        """Texts without personal data, one page after another: what finds it is compiled at first use, which two threads must not."""
        with self._one:
            return mask(texts)

    def named(self, names: list[str | None]) -> list[str | None]:
        """Names, sources and notes likewise."""
        with self._one:
            return masked(names)

    @property
    def name(self) -> str:
        return self.root.rpartition("/")[2]

    def stores(self) -> dict[str, KeptStore]:
        """The finished stores by name, in the order they depend on each other."""
        if time.monotonic() - self._read > FRESH:
            self._stores = self._opened(self.root, self._stores)
            self._other = self._opened(self.against, self._other) if self.against else {}
            self._read = time.monotonic()
        return self._stores

    def _opened(self, root: str, before: dict[str, KeptStore]) -> dict[str, KeptStore]:
        """The stores of a root: those of `before` whose manifest is as it was. What is kept of the others goes."""

        def opened(path: str) -> KeptStore:
            return KeptStore(path, self._folder / digest([path, time.monotonic_ns()]))

        found: dict[str, Any] = {store.name: store for store in stores_of(root, opened)}
        same = {name for name, store in before.items() if name in found and store.manifest() == found[name].manifest()}
        for name in before.keys() - same:
            shutil.rmtree(str(before[name].folder), ignore_errors=True)
        return {name: before[name] if name in same else store for name, store in found.items()}

    def totals(self, store: Store) -> tuple[int, dict[str, int]]:
        """Rows that a store was made of, and those it dropped by reason, the commonest first."""
        known = self._totals.get(store.path)
        if known is None or known[0] is not store:
            manifest = store.require()
            into, counts = manifest.get("rows_in"), Counter[str](manifest["reasons"])
            if into is None:  # of before manifests told it
                into = sum(receipt.rows_in for receipt in store.receipts().values())
            if manifest.get("artefact") and (made := store.receipt(ARTEFACT)):
                into, counts = into + made.rows_in, counts + Counter(made.reasons)
            ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
            known = self._totals[store.path] = store, into, ordered
        return known[1:]

    def forget_list(self) -> None:
        """Read the list of stores again at the next page."""
        self._read = float("-inf")

    def other(self) -> dict[str, KeptStore]:
        """Those of the root compared with."""
        self.stores()
        return self._other

    def store(self, name: str) -> KeptStore:
        """The store of that name: names are looked up, never made into paths."""
        found = self.stores().get(name)
        if found is None:
            raise NotInRoot(f"no store {name!r} in this root", "choose one of the list")
        return found

    def limits(self, store: Store) -> list[MetricLimit]:
        return limits_of(store)

    def before(self, store: Store) -> list[Store]:
        """The stores that one was made of, inside this root alone."""
        names = [entry["store"] for entry in (store.require().get("lineage") or {}).get("of", ())]
        known = self.stores()
        found = [name.rstrip("/").rpartition("/")[2] for name in names if "/" not in name or inside(name, self.root)]
        return [known[name] for name in found if name in known]

    def upstream(self, store: Store, ids: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
        """Rows as they stood before a step."""
        return query.upstream_rows(store, ids, self.before)

    def anywhere(self, row_ids: list[str]) -> list[tuple[Store, dict[str, dict[str, Any]]]]:
        """Every store whose rows are on disk, with those of these ids that it has."""
        stores = [store for store in self.stores().values() if query.whole(store)]
        found = at_once(filesystem(self.root), lambda store: query.by_ids(store, row_ids), stores)
        return list(zip(stores, found))

    def fit(self, texts: list[str], cut: int = CUT) -> list[str]:
        """The beginnings of texts as they may be shown: personal data is masked, unless it is to be revealed, before they are cut, so
        that no part of a number is left at the end."""
        return beginnings(texts, cut, list if self.reveal else self.masked)

    def fit_around(
        self, text: str, start: int, end: int, near: int, gone: Iterable[tuple[int, int]] = ()
    ) -> tuple[str, str]:
        """What stands before and after a part of a text, `near` characters each, likewise; `gone`: parts that are not shown."""
        first, last = max(0, start - near - EDGE), min(len(text), end + near + EDGE)
        part = text[first:last] if self.reveal else hidden(text, gone, first, last)
        masked_texts = [part[: start - first], part[end - first :]]
        left, right = masked_texts if self.reveal else self.masked(masked_texts)
        left = left[EDGE:] if first else left
        right = right[: max(0, len(right) - EDGE)] if last < len(text) else right
        return left[-near:], right[:near]

    def fit_within(self, values: list[Any], cut: int | None = None) -> list[Any]:
        """Values of any depth, every string in them as it may be shown; `cut`: of each string, and of lists beyond LISTED."""
        texts: list[str] = []

        def walked(value: Any, leaf: Callable[[str], str]) -> Any:
            if isinstance(value, str):
                return leaf(value)
            if isinstance(value, dict):
                return {name: walked(inner, leaf) for name, inner in value.items()}
            if isinstance(value, list):
                return [walked(inner, leaf) for inner in (value if cut is None else value[:LISTED])]
            return value

        def noted(text: str) -> str:
            texts.append(text)
            return text

        some = [walked(value, noted) for value in values]
        masked_texts = iter(self.fit(texts, 1 << 40 if cut is None else cut))
        return [walked(value, lambda _: next(masked_texts)) for value in some]

    def notes(self, rows: list[dict[str, Any]]) -> list[str]:
        """Notes, sources and positions of ledger rows as they may be shown."""
        masked_texts = [
            " ".join(filter(None, (row.get("source"), row.get("locator"), row.get("note")))) for row in rows
        ]
        return masked_texts if self.reveal else [note or "" for note in self.named([*masked_texts])]


def hidden(text: str, gone: Iterable[tuple[int, int]], first: int, last: int) -> str:
    """A part of a text without what stands in `gone`, as long as before."""
    part = text[first:last]
    for start, end in gone:
        if start < last and end > first:
            a, b = max(start, first) - first, min(end, last) - first
            part = part[:a] + "█" * (b - a) + part[b:]
    return part


def required(given: dict[str, str], name: str) -> str:
    """A value that a page cannot do without."""
    if not (value := given.get(name)):
        raise SourceError(f"{name} is missing from the address", "go back to the first page")
    return value
