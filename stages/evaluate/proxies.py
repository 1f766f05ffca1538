"""What the proxies of an ablation make of the documents none of them was trained on, and what may be said of the difference.

The numbers of one measure are a matrix: a row per seed, a column per document (or question). Intervals are of 95% over both at
once, the same draw for every text, so that what all texts find hard or easy falls out of their difference. Documents are drawn
with replacement (bootstrap). So few seeds cannot be: of three, drawn with replacement, the spread comes out a third too small, and
its tails are none, so that where seeds differ more than documents "95%" held the truth 74 times in a hundred, and 84 with five
(tests/stages/evaluate/test_coverage.py). The mean over seeds is therefore drawn as Student's t has it, with its degrees of
freedom. The plain bootstrap over both stands beside it in `ablation.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import UsageError
from pipeline.storage.store import Store

LEAST = 20
"""Fewer documents than this say nothing."""
LEAST_OF_GROUP = 10
"""Nor do fewer of a language, or of those a recipe keeps or drops."""


class VariantMeasure(NamedTuple):
    """One measure of one variant: numerators (seeds, rows) over denominators (rows)."""

    numerator: np.ndarray
    denominator: np.ndarray


class MeasuredDocuments(NamedTuple):
    """The documents measured on. Lists run over them."""

    rows: list[dict[str, Any]]
    kept: list[bool]
    """Does the recipe keep the document (its id is in the last variant)?"""


def held_of(store: Store, kept_in: Sequence[Store], most: int, most_bytes: int) -> MeasuredDocuments:
    """At most `most` documents of `store`, by hash, each cut to its first `most_bytes` bytes. UsageError where there are too few."""
    from stages.evaluate.drawn import beginning, draw

    rows = [row for row in draw([store], "DOCUMENT", 1.0, most).rows if (row["text"] or "").strip()]
    if len(rows) < LEAST:
        raise UsageError(
            f"{len(rows)} documents are too few to measure on",
            "raise `holdout`, name more steps or stores with `on`, or give the recipe more text",
        )
    ids = {
        one
        for of in kept_in
        for shard in of.shards()
        for batch in of.batches(shard)
        for one in batch.column("id").to_pylist()
    }
    cut = [beginning(row, most_bytes) for row in rows]
    langs = languages([row["text"] for row in cut]) if any(row["lang"] is None for row in cut) else [None] * len(cut)
    return MeasuredDocuments(
        [{**row, "lang": row["lang"] or lang} for row, lang in zip(cut, langs)], [row["id"] in ids for row in rows]
    )


def languages(texts: Sequence[str]) -> list[str | None]:
    """The language of each text, for documents that no filter has labelled yet; None where none is to be told or no model is installed."""
    from pipeline.errors import OptionError
    from stages.text.language.identify import bundled_model, identified

    try:
        model = str(bundled_model())
    except OptionError:
        return [None] * len(texts)
    data = [text.encode() for text in texts]
    ends = np.cumsum([len(one) for one in data]).astype(np.int64)
    return identified(model, np.frombuffer(b"".join(data), np.uint8), ends - [len(one) for one in data], ends).langs


def read(models: dict[str, list[Store]], held: MeasuredDocuments) -> dict[str, dict[str, VariantMeasure]]:
    """Measure -> variant -> numbers, from what every proxy's measuring wrote: bits per byte in all and by group, accuracy per set of choices."""
    found: dict[str, dict[str, VariantMeasure]] = {}
    for name, stores in models.items():
        each = [json.loads((store.artefact() / "rows.json").read_text("utf-8")) for store in stores]
        bits, sizes = zip(*(_of(one["documents"], held) for one in each))
        for group, of in groups([row["lang"] or "und" for row in held.rows], held.kept).items():
            found.setdefault(group, {})[name] = VariantMeasure(np.stack(bits)[:, of], sizes[0][of])
        for task in each[0]["questions"]:
            right = np.stack([_only(one["questions"][task]) for one in each])
            found.setdefault(f"accuracy ({task})", {})[name] = VariantMeasure(right, np.ones(right.shape[1]))
    return found


def _of(documents: dict[str, Any], held: MeasuredDocuments) -> tuple[np.ndarray, np.ndarray]:
    """Bits and bytes of the held documents, in their order."""
    at = {name: number for number, name in enumerate(documents["ids"])}
    positions = [at[row["id"]] for row in held.rows]
    return _only(documents["bits"])[positions], np.asarray(documents["bytes"], dtype=float)[positions]


def _only(by_model: dict[str, list[float]]) -> np.ndarray:
    """The numbers of the one model that was measured."""
    [numbers] = by_model.values()
    return np.asarray(numbers, dtype=float)


def groups(langs: Sequence[str], kept: Sequence[bool]) -> dict[str, np.ndarray]:
    """Names of measures and which documents each is over: all, each language, and those the recipe keeps and drops."""
    names, stays = np.asarray(langs), np.asarray(kept, dtype=bool)
    found = {"bits per byte": np.ones(len(names), dtype=bool)}
    found |= {f"bits per byte ({lang})": names == lang for lang in sorted(set(langs))}
    found |= {"bits per byte (kept by the recipe)": stays, "bits per byte (dropped by it)": ~stays}
    few = [name for name, of in found.items() if of.sum() < LEAST_OF_GROUP]
    same = [name for name, of in found.items() if name != "bits per byte" and of.all()]
    return {name: of for name, of in found.items() if name not in few and name not in same}


def compare(
    found: dict[str, dict[str, VariantMeasure]], first: str, resamples: int, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Per measure and variant: mean, 95% interval, and the change from the variant `first` with its interval."""
    return {
        name: _compared(variants, first, resamples, seed, lower=name.startswith("bits"))
        for name, variants in found.items()
    }


def _compared(
    variants: dict[str, VariantMeasure], first: str, resamples: int, seed: int, lower: bool
) -> dict[str, dict[str, Any]]:
    seeds, rows = variants[first].numerator.shape
    rng = np.random.default_rng(seed)
    row_weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(float)
    plain_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    drawn, plain = (
        {name: _drawn(one, row_weights, weights) for name, one in variants.items()}
        for weights in (student(seeds, resamples, rng), plain_weights)
    )
    each = {name: one.numerator.sum(1) / one.denominator.sum() for name, one in variants.items()}
    out = {}
    for name in variants:
        low, high = _bounds(drawn[name] - drawn[first])
        out[name] = {
            "mean": round(float(each[name].mean()), 5), "interval": _bounds(drawn[name]), "seeds": [round(float(x), 5) for x in each[name]],
            "change": round(float((each[name] - each[first]).mean()), 5), "change_interval": [low, high],
            "change_bootstrap": _bounds(plain[name] - plain[first]),
            "better": bool(high < 0 if lower else low > 0), "worse": bool(low > 0 if lower else high < 0), "rows": rows,
        }  # fmt: skip
    return out


def student(seeds: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Weights (resamples, seeds), each row of sum 1, under which the weighted mean of any numbers spreads as Student's t says.

    A weight is 1/seeds and a part of random deviations: of them the mean moves by the numbers' standard error times a normal draw,
    and divided by the root of a chi-square over its degrees of freedom that is a draw of t. Some weights are below 0, as they must be.
    """
    deviations = rng.normal(size=(resamples, seeds))
    deviations -= deviations.mean(axis=1, keepdims=True)
    spread = np.sqrt(rng.chisquare(seeds - 1, size=(resamples, 1)) / (seeds - 1))
    return 1 / seeds + deviations / spread / np.sqrt(seeds * (seeds - 1))


def _drawn(one: VariantMeasure, row_weights: np.ndarray, seed_weights: np.ndarray) -> np.ndarray:
    """The measure under every draw of rows and seeds."""
    by_seed = row_weights @ one.numerator.T
    return (by_seed * seed_weights).sum(1) / (row_weights @ one.denominator)


def _bounds(values: np.ndarray) -> list[float]:
    return [round(float(x), 5) for x in np.nanquantile(values, [0.025, 0.975])]
