"""What other limits would have kept: answered from the ledgers of a finished quality step, no text read.

The ledger holds every number of every document, also of those dropped, and every filter judged every document after the
edits before it. So rules are decided again from the numbers (`Rule.decide`), exactly as a rerun would. What changes the
texts themselves (edits, and what is measured) cannot be asked: a rerun is named as the hint.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import DamagedStore, SourceError, UsageError, did_you_mean
from pipeline.filter import Filter
from pipeline.storage.store import Store
from stages.quality import Quality
from stages.quality.evaluate import names
from stages.quality.exemptions import exempted
from stages.text.lines.rules import LineRule
from stages.text.rules import Rule, primary, word_of

UNREAD = "text."
"""Reasons of texts no filter could judge: no limit brings them back."""


@dataclass(frozen=True)
class KeptCounts:
    """What a setting keeps."""

    documents: int
    words: int
    bytes: int
    by_lang: dict[str, tuple[int, int]]
    """Documents and bytes kept per language."""
    reasons: dict[str, int]


class Ledgers:
    """The numbers of a finished quality step, and the decisions they lead to."""

    def __init__(self, store: Store):
        manifest = store.require()
        if manifest.get("stage") != "quality":
            raise SourceError(
                f"{store.path} was made by {manifest.get('stage')}, not by quality", "give the store of a quality step"
            )
        self.store = store
        self.stage: Quality = Quality.build(manifest.get("options") or {}, "quality")  # type: ignore[assignment]
        self.table = pa.concat_tables([store.ledger(shard) for shard in store.shards()], promote_options="default")
        if self.decided(self.stage) != self.table["reason"].to_pylist():
            raise DamagedStore(
                f"{store.path}: its ledger does not follow from its options",
                "run the quality step again: it was made by another version",
            )

    @cached_property
    def langs(self) -> pa.Array:
        """Language per row, from the ledger's note."""
        return langs_of(self.table)

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """Every metric column (float64, NaN for null)."""
        return metrics_of(self.table)

    @cached_property
    def unread(self) -> list[str | None]:
        return unread_of(self.table["reasons"].to_pylist())

    def decided(self, stage: Quality) -> list[str | None]:
        """The reason per document under `stage`'s limits; its filters must be those of this step, or some of them."""
        return decided(stage, prefixes(stage, names(self.stage.filters)), self.metrics, self.langs, self.unread)

    def tally(self, reasons: list[str | None]) -> KeptCounts:
        kept = np.array([why is None for why in reasons], bool)
        words, size = np.nan_to_num(self.metrics["document.words"]), np.nan_to_num(self.metrics["document.bytes"])
        by_lang: dict[str, tuple[int, int]] = {}
        langs = np.array([lang or "none" for lang in self.langs.to_pylist()])
        for lang in sorted(set(langs.tolist())):
            inside = kept & (langs == lang)
            by_lang[lang] = (int(inside.sum()), int(size[inside].sum()))
        counts: dict[str, int] = {}
        for why in reasons:
            if why is not None:
                counts[why] = counts.get(why, 0) + 1
        return KeptCounts(
            int(kept.sum()), int(words[kept].sum()), int(size[kept].sum()), by_lang, dict(sorted(counts.items()))
        )

    def threshold(self, metric: str, percent: float, lang: str | None = None) -> float:
        """The value of a metric that `percent` of the documents that were read (of those of `lang`) reach or exceed."""
        if metric not in self.metrics:
            raise UsageError(f"the ledger has no metric {metric!r}", did_you_mean(metric, sorted(self.metrics)))
        read = np.array([why is None for why in self.unread], bool)
        if lang is not None:
            read &= np.array([primary(word) == lang for word in self.langs.to_pylist()], bool)
        values = np.sort(self.metrics[metric][read & ~np.isnan(self.metrics[metric])])
        if not len(values):
            raise UsageError(f"{metric} was measured of no document", "choose another metric")
        return float(values[min(len(values) - 1, int(np.ceil(len(values) * (1 - percent / 100))))])


def langs_of(ledger: pa.Table) -> pa.Array:
    """Language per ledger row, from its note."""
    notes = ledger["note"].to_pylist()
    found = [n.split(";")[0].removeprefix("lang=") if n and n.startswith("lang=") else None for n in notes]
    return pa.array(found, pa.large_string())


def metrics_of(ledger: pa.Table) -> dict[str, np.ndarray]:
    """Every metric column of a ledger (float64, NaN for null)."""
    fixed = [name for name in ledger.column_names if "." in name]
    return {name: ledger[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in fixed}


def unread_of(reasons: list[list[str] | None]) -> list[str | None]:
    """The reason of each text that no filter could judge."""
    return [next((why for why in row or () if why.startswith(UNREAD)), None) for row in reasons]


def decided(
    stage: Quality, used: list[str], metrics: dict[str, np.ndarray], langs: pa.Array, unread: list[str | None]
) -> list[str | None]:
    """The reason per ledger row under `stage`'s limits; `used` are the metric prefixes of its filters."""
    every: list[list[str]] = [[why] if why else [] for why in unread]
    for prefix, each in zip(used, stage.filters):
        if not isinstance(each, Rule):
            continue
        own = {
            name.removeprefix(f"{prefix}."): values for name, values in metrics.items() if name.startswith(f"{prefix}.")
        }
        for why, reason, lost in zip(every, each.decide(own, langs), unread):
            if reason and not lost:
                why.append(reason)
    free = exempted(metrics, stage.exempt, every)
    return [None if loose or not why else why[0] for why, loose in zip(every, free)]


def prefixes(stage: Quality, known: list[str]) -> list[str]:
    """The metric prefix of each of `stage`'s filters: in order, those of the same word."""
    out: list[str] = []
    at = 0
    for each in stage.filters:
        word = word_of(type(each))
        while at < len(known) and known[at].split("#")[0] != word:
            at += 1
        if at == len(known):
            raise UsageError(
                f"{word} did not run in this step, or not in this order", "run the quality step again with it"
            )
        out.append(known[at])
        at += 1
    return out


def changed(stage: Quality, settings: Iterable[str], without: Iterable[str] = ()) -> Quality:
    """`stage` with other limits (`word_count.min=30`, `exempt=[]`) or without some filters. UsageError for what needs a rerun."""
    filters = list(stage.filters)
    for word in without:
        found = [each for each in filters if word_of(type(each)) == word]
        if not found:
            raise UsageError(
                f"no filter {word!r} in this step", did_you_mean(word, [word_of(type(each)) for each in filters])
            )
        if any(not _only_evaluates(each) for each in found) and filters.index(found[0]) < len(filters) - 1:
            raise UsageError(
                f"{word} edits the texts that later filters judged", "run the quality step again without it"
            )
        filters = [each for each in filters if each not in found]
    exempt = stage.exempt
    for setting in settings:
        path, value = parsed(setting)
        path[0] = Quality.renamed.get(path[0], path[0])
        if path == ["exempt"]:
            exempt = tuple(value or ())
            continue
        word, option = path[0], path[1:]
        at = next((n for n, each in enumerate(filters) if word_of(type(each)) == word), None)
        if at is None or not option:
            raise UsageError(
                f"--set {setting}: no filter {word!r} in this step",
                did_you_mean(word, [word_of(type(f)) for f in filters]),
            )
        filters[at] = _with(filters[at], option, value, setting)
    return stage.model_copy(update={"filters": tuple(filters), "exempt": exempt})


def _only_evaluates(each: Filter) -> bool:
    return isinstance(each, Rule) and not isinstance(each, LineRule) and word_of(type(each)) not in EDITORS


EDITORS = ("c4", "citations", "emoticon_runs")
"""Filters besides the line rules that edit."""


def parsed(setting: str) -> tuple[list[str], Any]:
    import yaml

    path, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"--set {setting!r} has no `=`", "write --set word_count.min=30")
    return path.split("."), yaml.safe_load(value)


def _with(each: Filter, option: list[str], value: Any, setting: str) -> Filter:
    """One filter with another limit."""
    word = word_of(type(each))
    if not isinstance(each, Rule):
        raise UsageError(f"{word} has no limits to change", "run the quality step again")
    limits = {name for bound in each.bounds for name in (bound.low, bound.high) if name in type(each).model_fields}
    free = limits | {"languages"} | ({"keep"} if word == "language" else set())
    if option[0] not in free:
        raise UsageError(
            f"--set {setting}: {option[0]!r} changes what is measured or edited, or is no option",
            f"limits that can be asked: {', '.join(sorted(free))}; else run again",
        )
    given = each.model_dump()
    if option[0] == "languages" and len(option) == 3:
        languages = {lang: dict(limits) for lang, limits in given["languages"].items()}
        languages.setdefault(option[1], {})[option[2]] = value
        given["languages"] = languages
    else:
        given[option[0]] = value
        for lang_limits in given[
            "languages"
        ].values():  # a limit given in words holds for every language, as in a recipe
            lang_limits.pop(option[0], None)
    return type(each).build(given, word)  # type: ignore[return-value]
