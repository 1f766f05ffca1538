"""What the proxies of an ablation make of the documents none of them was trained on, and what may be said of the difference.

The numbers of one measure are a matrix: a row per seed, a column per document (or question). Intervals are 95% bootstrap over
both at once: documents are drawn with replacement, seeds too, the same draw for every text, so that what all texts find hard or
easy falls out of their difference. With three seeds the draw of seeds is coarse; the table therefore gives each seed's number too.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from pipeline import progress
from pipeline.errors import UsageError
from pipeline.store import ARTEFACT, Store

LEAST = 20
"""Fewer documents than this say nothing."""
LEAST_OF_GROUP = 10
"""Nor do fewer of a language, or of those a recipe keeps or drops."""


class Measured(NamedTuple):
    """One measure of one variant: numerators (seeds, rows) over denominators (rows)."""

    numerator: np.ndarray
    denominator: np.ndarray


class Held(NamedTuple):
    """The documents measured on. Lists run over them."""

    rows: list[dict[str, Any]]
    kept: list[bool]
    """Does the recipe keep the document (its id is in the last variant)?"""


def held_of(store: Store, kept_in: Sequence[Store], most: int, most_bytes: int) -> Held:
    """At most `most` documents of `store`, by hash, each cut to its first `most_bytes` bytes. UsageError where there are too few."""
    from stages.evaluate.drawn import draw

    rows = [row for row in draw([store], "DOCUMENT", 1.0, most).rows if (row["text"] or "").strip()]
    if len(rows) < LEAST:
        raise UsageError(f"{len(rows)} documents are too few to measure on", "raise `holdout`, name more steps or stores with `on`, or give the recipe more text")
    ids = {one for of in kept_in for shard in of.shards() for batch in of.batches(shard) for one in batch.column("id").to_pylist()}
    cut = [{**row, "text": row["text"].encode()[:most_bytes].decode("utf-8", "ignore")} for row in rows]
    langs = languages([row["text"] for row in cut]) if any(row["lang"] is None for row in cut) else [None] * len(cut)
    return Held([{**row, "lang": row["lang"] or lang} for row, lang in zip(cut, langs)], [row["id"] in ids for row in rows])


def languages(texts: Sequence[str]) -> list[str | None]:
    """The language of each text, for documents that no filter has labelled yet; None where none is to be told or no model is installed."""
    from pipeline.errors import OptionError
    from stages.text.language import bundled_model, identified

    try:
        model = str(bundled_model())
    except OptionError:
        return [None] * len(texts)
    data = [text.encode() for text in texts]
    ends = np.cumsum([len(one) for one in data]).astype(np.int64)
    return identified(model, np.frombuffer(b"".join(data), np.uint8), ends - [len(one) for one in data], ends).langs


def measure(models: dict[str, list[Store]], held: Held, choices: Sequence[Any], options: Any) -> dict[str, dict[str, Measured]]:
    """Measure -> variant -> numbers: bits per byte in all and by group, and the accuracy of every set of choices."""
    import torch

    from stages.evaluate import measure as m
    from stages.evaluate.choices import answered
    from stages.models.chain import assemble, chain_of, open_link
    from stages.models.device import arithmetic
    from stages.models.encoder import Encoder
    from stages.models.templates import load_tokenizer

    found: dict[str, dict[str, Measured]] = {}
    cut: Any = None
    progress.current.begin("measure")
    progress.current.expect("proxies measured", sum(map(len, models.values())))
    with arithmetic(options.threads) as device:
        for name, stores in models.items():
            bits, right = [], {one.name: [] for one in choices}
            for store in stores:
                chain = chain_of([open_link(store.artefact(), store.receipt(ARTEFACT).content_hash)])  # type: ignore[union-attr]
                encoder = Encoder(chain[0].path)
                cut = cut or m.cut_documents(held.rows, encoder, options.seq_len, bool(chain[0].card.get("document_bos", True)))
                model = assemble(chain, dtype=torch.float32, device=device)
                reader = m.Reader(model, device, torch.float32, options.batch, load_tokenizer(chain[0].path).pad_token_id)
                bits.append(m.bits(reader, cut))
                for one in choices:
                    right[one.name].append(answered(reader, encoder, one, options.seq_len).right)
                progress.current.advance()
            matrix, sizes = np.stack(bits), cut.bytes.astype(float)
            for group, of in groups(cut.langs, held.kept).items():
                found.setdefault(group, {})[name] = Measured(matrix[:, of], sizes[of])
            for task, each in right.items():
                found.setdefault(f"accuracy ({task})", {})[name] = Measured(np.stack(each), np.ones(len(each[0])))
    progress.current.end()
    return found


def groups(langs: Sequence[str], kept: Sequence[bool]) -> dict[str, np.ndarray]:
    """Names of measures and which documents each is over: all, each language, and those the recipe keeps and drops."""
    names, stays = np.asarray(langs), np.asarray(kept, dtype=bool)
    found = {"bits per byte": np.ones(len(names), dtype=bool)}
    found |= {f"bits per byte ({lang})": names == lang for lang in sorted(set(langs))}
    found |= {"bits per byte (kept by the recipe)": stays, "bits per byte (dropped by it)": ~stays}
    few = [name for name, of in found.items() if of.sum() < LEAST_OF_GROUP]
    same = [name for name, of in found.items() if name != "bits per byte" and of.all()]
    return {name: of for name, of in found.items() if name not in few and name not in same}


def compare(found: dict[str, dict[str, Measured]], first: str, resamples: int, seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Per measure and variant: mean, 95% interval, and the change from the variant `first` with its interval."""
    return {name: _compared(variants, first, resamples, seed, lower=name.startswith("bits")) for name, variants in found.items()}


def _compared(variants: dict[str, Measured], first: str, resamples: int, seed: int, lower: bool) -> dict[str, dict[str, Any]]:
    seeds, rows = variants[first].numerator.shape
    rng = np.random.default_rng(seed)
    row_weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(float)
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    drawn = {name: _drawn(one, row_weights, seed_weights) for name, one in variants.items()}
    each = {name: one.numerator.sum(1) / one.denominator.sum() for name, one in variants.items()}
    out = {}
    for name in variants:
        low, high = _bounds(drawn[name] - drawn[first])
        out[name] = {
            "mean": round(float(each[name].mean()), 5), "interval": _bounds(drawn[name]), "seeds": [round(float(x), 5) for x in each[name]],
            "change": round(float((each[name] - each[first]).mean()), 5), "change_interval": [low, high],
            "better": bool(high < 0 if lower else low > 0), "worse": bool(low > 0 if lower else high < 0), "rows": rows,
        }  # fmt: skip
    return out


def _drawn(one: Measured, row_weights: np.ndarray, seed_weights: np.ndarray) -> np.ndarray:
    """The measure under every draw of rows and seeds."""
    by_seed = row_weights @ one.numerator.T
    return (by_seed * seed_weights).sum(1) / (row_weights @ one.denominator)


def _bounds(values: np.ndarray) -> list[float]:
    return [round(float(x), 5) for x in np.nanquantile(values, [0.025, 0.975])]
