"""One self-contained HTML page about a run, out of its ledgers, receipts and artefacts: no network, and readable without script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.deletion.forgotten import Reading
from pipeline.engine import catalog
from pipeline.errors import WorkError
from pipeline.inspection import sections
from pipeline.inspection.inspect import stores_of
from pipeline.inspection.masks import mask
from pipeline.inspection.page import whole_page
from pipeline.inspection.sections import Samples
from pipeline.inspection.words import PageWords, language_of, words_of_stages
from pipeline.kept import KeptStore
from pipeline.storage.files import filesystem
from pipeline.storage.store import Store


def report(root: str, target: str | None = None, language: str = "auto") -> str:
    """`write_report` beside takedowns: WorkError, and no page that shows what is forgotten, where one went by meanwhile."""
    reading = Reading(root)
    page = render(root, language)
    reading.check()
    where = _written(root, target, page)
    try:
        reading.check()
    except WorkError:
        folder, _, name = where.rpartition("/")
        filesystem(folder or ".").delete(name)
        raise
    return where


def write_report(root: str, target: str | None = None) -> str:
    """Write the report of the run at `root` to `target` (default: ROOT/report.html, and the pages of its stages beside it);
    returns where it lies.

    SourceError where `root` holds no finished stores.
    """
    return _written(root, target, render(root))


def _written(root: str, target: str | None, page: str) -> str:
    where = target or f"{root.rstrip('/')}/report.html"
    if target is None:
        stores = stores_of(root)
        for module, _ in _by_stage(stores):
            for name, text in module.pages(stores) if hasattr(module, "pages") else ():
                filesystem(root).write(name, text.encode("utf-8", "replace"))
    folder, _, name = where.rpartition("/")
    filesystem(folder or ".").write(name, page.encode("utf-8", "replace"))
    return where


def render(root: str, language: str = "auto") -> str:
    """The page as HTML, in `language` (`en`, `ko`; auto: that of the environment)."""
    stores = stores_of(root, KeptStore)
    modules = list(_by_stage(stores))
    t = PageWords(language_of(language), words_of_stages())
    samples = Samples(mask, t)
    steps = [sections.StepTotals(store) for store in stores]
    parts = [
        ("Funnel", sections.funnel(steps, samples)),
        ("Why rows were dropped", [part for step in steps for part in sections.reasons(step, stores, samples)]),
        ("The corpus", sections.corpus(stores, samples)),
        *((module.TITLE, sections.section_of(module, own, samples)) for module, own in modules),
        ("Recipe and versions", sections.recipe(steps, samples)),
    ]
    name = steps[-1].manifest.get("recipe") or root.rstrip("/").rpartition("/")[2]
    last = max((step.finished for step in steps), default="")
    subtitle = t("Maetdol report · {} stores · last shard {}", len(stores), last)
    return whole_page(name, subtitle, [(t(title), body) for title, body in parts if body], t)


def _by_stage(stores: list[Store]) -> Iterator[tuple[Any, list[Store]]]:
    """The report hooks of the stages that made the stores, in the order of the run, each with its stores."""
    made: dict[str, list[Store]] = {}
    for store in stores:
        made.setdefault(catalog.current_stage(store.require()["stage"]), []).append(store)
    for stage, own in made.items():
        module = catalog.hook(stage, "report")
        if module is not None and hasattr(module, "section"):
            yield module, own
