"""Limits per language from the user's own texts: a recipe fragment, and what each limit would keep.

A published limit was set on English web text. Here a limit stands where the texts of a language put it: a rule that would
drop more than `tail` of the reference texts (of the sample itself where none are given) moves to where it drops just that
share; one that drops less stays as published. The language score is cut at the median less one standard deviation, within
0.3 and 0.9, as FineWeb-2 does (Penedo et al. 2025, section 3.2). Stop words are the words that stand in most documents.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.deletion.forgotten import Reading
from pipeline.docs import Docs
from pipeline.errors import SourceError, WorkError
from stages.quality.build import build
from stages.quality.sources import Sample, path_of, samples
from stages.text.language.identify import Identify, bundled_model
from stages.text.rules import Rule, primary, word_of

if TYPE_CHECKING:
    from stages.quality.commands import Calibrate

FAMILIES = ("gopher_quality", "gopher_repetition", "fineweb")
FEWEST = 50
"""Documents of a language below which its limits stay as published."""
LEAST_SCORE, MOST_SCORE = 0.3, 0.9


@dataclass
class LanguageStats:
    """What was measured of one language's texts."""

    scores: list[float] = field(default_factory=list)
    metrics: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """`<family>.<measure>` to float64 arrays."""
    words: Counter[str] = field(default_factory=Counter)
    """Documents per word."""
    documents: int = 0

    def values(self, name: str) -> np.ndarray:
        found = np.concatenate(self.metrics.get(name) or [np.zeros(0)])
        return found[~np.isnan(found)]


@dataclass(frozen=True)
class Limit:
    """One limit: what is published, what the texts say, and what each would keep of the sample (shares)."""

    family: str
    option: str
    measure: str
    published: float | None
    calibrated: float | None
    kept_published: float
    kept_calibrated: float


def calibrate(order: Calibrate) -> dict[str, list[Limit]]:
    """Measure, set limits, write the fragment and the report; the limits per language."""
    families = [each for each in build(list(FAMILIES)) if isinstance(each, Rule)]
    reading = Reading(*(path_of(source) for source in (*order.source, *order.reference)))
    sample = measured(drawn(order.source, order), families, order.languages)
    reference = measured(drawn(order.reference, order), families, order.languages) if order.reference else {}
    enough = {lang: found for lang, found in sorted(sample.items()) if found.documents >= FEWEST}
    if not enough:
        counts = ", ".join(f"{lang} {found.documents}" for lang, found in sample.items()) or "none"
        raise WorkError(f"no language has {FEWEST} documents in the sample ({counts})", "give more texts")
    limits = {
        lang: [limit for each in families for limit in limits_of(each, lang, found, reference.get(lang), order.tail)]
        for lang, found in enough.items()
    }
    cuts = {lang: score_cut(found.scores) for lang, found in enough.items()}
    stops = {lang: stop_words(found.words, order.stop_words) for lang, found in enough.items()}
    reading.check()
    Path(order.out).write_text(fragment(order, enough, limits, cuts, stops), "utf-8")
    if order.report:
        Path(order.report).write_text(report(enough, reference, limits, cuts, stops), "utf-8")
    return limits


def drawn(sources: Iterable[str], order: Calibrate) -> list[Sample]:
    """Up to `order.documents` texts, by the smallest hashes of their ids: the same sample whatever the order of files."""

    def keyed() -> Iterator[tuple[int, str, Sample]]:
        for source in sources:
            for sample in samples(source, order.field):
                yield int(hashlib.blake2b(sample.id.encode(), digest_size=8).hexdigest(), 16), sample.id, sample

    found = [sample for _, _, sample in heapq.nsmallest(order.documents, keyed(), key=lambda row: row[:2])]
    if not found:
        raise SourceError(f"no texts in {', '.join(sources)}", "give stores or files with a text column")
    return found


def measured(texts: list[Sample], families: list[Rule], wanted: tuple[str, ...]) -> dict[str, LanguageStats]:
    """Every measure of the families, by language (the one given, else the one identified)."""
    out: dict[str, LanguageStats] = {}
    identify = Identify(str(bundled_model()))
    for at in range(0, len(texts), 1024):
        part = texts[at : at + 1024]
        plain = Docs(pa.record_batch({"text": pa.array([s.text for s in part], pa.large_string())}))
        found = plain.cached(identify)
        langs = [primary(sample.lang) or lang for sample, lang in zip(part, found.langs)]
        docs = plain.with_columns({"lang": pa.array(langs, pa.large_string())})
        measures = {
            f"{word_of(type(each))}.{name}": values for each in families for name, values in each.measure(docs).items()
        }
        for lang in {lang for lang in langs if lang and (not wanted or lang in wanted)}:
            rows = np.array([n for n, other in enumerate(langs) if other == lang])
            into = out.setdefault(lang, LanguageStats())
            into.documents += len(rows)
            into.scores += [float(found.scores[n]) for n in rows if found.langs[n] == lang]
            for name, values in measures.items():
                into.metrics.setdefault(name, []).append(np.asarray(values, np.float64)[rows])
            for n in rows.tolist():
                into.words.update(set(part[n].text.split()))
    return out


def limits_of(
    each: Rule, lang: str, sample: LanguageStats, reference: LanguageStats | None, tail: float
) -> list[Limit]:
    """The limits of one family in one language."""
    family = word_of(type(each))
    out = []
    for bound in each.bounds:
        for option, high in ((bound.low, False), (bound.high, True)):
            if option is None or option not in type(each).model_fields or option == "min_stop_words":
                continue
            name = f"{family}.{bound.measure}"
            base = reference if reference is not None and reference.documents >= FEWEST else sample
            published = type(each).model_fields[option].default
            fresh = moved(base.values(name), published, tail, high)
            own = sample.values(name)
            out.append(
                Limit(
                    family, option, bound.measure, published, fresh, kept(own, published, high), kept(own, fresh, high)
                )
            )
    return out


def moved(values: np.ndarray, published: float | None, tail: float, high: bool) -> float | None:
    """The published limit, or where it drops `tail` of the values, if that is looser."""
    if published is None or not len(values):
        return published
    there = float(np.quantile(values, 1 - tail if high else tail))
    loose = max(there, published) if high else min(there, published)
    return _rounded(loose, published, high)


def _rounded(value: float, published: float, high: bool) -> float:
    """Three digits, rounded to the looser side; whole numbers where the published limit is one."""
    if float(published).is_integer() and abs(published) >= 10:
        return int(np.ceil(value) if high else np.floor(value))
    step = 10.0 ** (3 - len(str(int(abs(value)))))
    return float(round((np.ceil if high else np.floor)(round(value * step, 9)) / step, 4))


def kept(values: np.ndarray, limit: float | None, high: bool) -> float:
    """Share of the values within a limit."""
    if limit is None or not len(values):
        return 1.0
    return float((values <= limit).mean() if high else (values >= limit).mean())


def score_cut(scores: list[float]) -> float:
    """Median less standard deviation of the language score, within 0.3 and 0.9."""
    values = np.array([score for score in scores if not np.isnan(score)])
    if not len(values):
        return 0.65
    return round(float(np.clip(np.median(values) - values.std(), LEAST_SCORE, MOST_SCORE)), 3)


def stop_words(words: Counter[str], count: int) -> list[str]:
    """The words (letters, one mark at the end allowed) that stand in most documents; ties by the word."""
    plain = {word: times for word, times in words.items() if word.rstrip(".,").isalpha() and len(word) <= 8}
    return [word for word, _ in sorted(plain.items(), key=lambda pair: (-pair[1], pair[0]))[:count]]


def fragment(
    order: Calibrate,
    found: dict[str, LanguageStats],
    limits: dict[str, list[Limit]],
    cuts: dict[str, float],
    stops: dict[str, list[str]],
) -> str:
    """A `quality` step as YAML."""
    import yaml

    def changes(family: str) -> dict[str, dict[str, Any]]:
        return {
            lang: {
                limit.option: limit.calibrated
                for limit in own
                if limit.family == family and limit.calibrated != limit.published
            }
            for lang, own in limits.items()
        }

    filters: list[dict[str, Any]] = [
        {"language": {"keep": sorted(found), "languages": {lang: {"min": cut} for lang, cut in cuts.items()}}}
    ]
    for family in FAMILIES:
        options: dict[str, Any] = {"languages": {lang: own for lang, own in changes(family).items() if own}}
        # the built-in limits of a language give way to these: every other limit is named as published
        for lang in limits:
            built_in = build([family])[0].languages.get(lang, {})  # type: ignore[attr-defined]
            stated = {
                limit.option: limit.calibrated
                for limit in limits[lang]
                if limit.family == family and limit.option in built_in
            }
            if stated:
                options["languages"].setdefault(lang, {}).update(stated)
        if family == "gopher_quality":
            options["stop_words"] = stops
        filters.append({family: options})
    head = [f"# {lang}: {own.documents:,} documents" for lang, own in found.items()]
    note = f"# limits that drop at most {order.tail:g} of the {'reference' if order.reference else 'sample'} texts, else as published"
    return (
        "\n".join(["# calibrated quality step", *head, note])
        + "\n"
        + yaml.safe_dump([{"quality": {"filters": filters}}], allow_unicode=True, sort_keys=False, width=120)
    )


def report(
    found: dict[str, LanguageStats],
    reference: dict[str, LanguageStats],
    limits: dict[str, list[Limit]],
    cuts: dict[str, float],
    stops: dict[str, list[str]],
) -> str:
    """What each limit keeps of the sample, per language, as Markdown."""
    parts = ["# Calibrated limits\n"]
    for lang, own in found.items():
        against = f", {reference[lang].documents:,} reference documents" if lang in reference else ""
        parts.append(
            f"\n## {lang}: {own.documents:,} documents{against}\n\nLanguage score from {cuts[lang]} on. Stop words: {' '.join(stops[lang])}\n"
        )
        parts.append(
            "\n| limit | published | calibrated | keeps (published) | keeps (calibrated) |\n|---|---|---|---|---|"
        )
        parts += [
            f"| {limit.family}.{limit.option} | {limit.published} | {limit.calibrated} | {limit.kept_published:.3f} | {limit.kept_calibrated:.3f} |"
            for limit in limits[lang]
        ]
    return "\n".join(parts) + "\n"
