"""Is a recipe worth its cost? Proxy models of one shape and one token budget, trained on the text as it was raw and after each part.

The text of every stage of a recipe is packed with one tokenizer, several proxies are trained on each (one per seed), and all of
them read the same held-out documents. Documents are held out by the hash of their content, so that no proxy was trained on them or
on an exact copy; near copies stay with whoever kept them, which favours the raw text. So does the tokenizer, which is trained on it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np

from pipeline.errors import UsageError
from pipeline.recipe import Recipe, Step, parse
from pipeline.run import ancestors
from pipeline.store import ARTEFACT, Store

FORMAT = 1
STAGES = {"filtered": "quality", "deduplicated": "dedup"}
"""What a variant is called, and the last stage of a recipe it stands for."""


class Variant(NamedTuple):
    """A state of the text: its name, and the steps whose stores hold it."""

    name: str
    steps: tuple[str, ...]


class Measured(NamedTuple):
    """One measure of one variant: numerators (seeds, rows) over denominators (rows)."""

    numerator: np.ndarray
    denominator: np.ndarray


def variants_of(recipe: Recipe, named: Sequence[str]) -> list[Variant]:
    """raw, filtered, deduplicated, curated, as far as the recipe has them; or those `named` as `name=step+step`."""
    if named:
        found = []
        for word in named:
            name, equals, steps = word.partition("=")
            if not equals or not steps:
                raise UsageError(f"variant {word!r} has no step", "write name=step, or name=step+step")
            found.append(Variant(name, tuple(recipe.step(step).name for step in steps.split("+"))))
        return found
    text = [step for step in recipe.steps if step.shape == "DOCUMENT"]
    made = next((n for n, step in enumerate(recipe.steps) if step.stage_name in ("tokenizer", "pack", "train")), len(recipe.steps))
    text = [step for step in text if step in recipe.steps[:made]]
    raw = tuple(step.name for step in text if step.stage_name == "ingest")
    if not raw or len(text) == len(raw):
        raise UsageError("the recipe does nothing to its text before a tokenizer or pack", "name the variants: --variants raw=step,curated=step")
    found = [Variant("raw", raw)]
    for name, stage in STAGES.items():
        last = [step.name for step in text if step.stage_name == stage]
        if last:
            found.append(Variant(name, (last[-1],)))
    return [*found, Variant("curated", (text[-1].name,))] if found[-1].steps != (text[-1].name,) else [*found[:-1], Variant("curated", found[-1].steps)]


def needed(recipe: Recipe, variants: Sequence[Variant]) -> Recipe:
    """The recipe up to what the variants need; nothing fused, since every variant is read."""
    wanted = {name for variant in variants for name in variant.steps}
    names = wanted | {step.name for name in wanted for step in ancestors(recipe, recipe.step(name))}
    steps = tuple(step for step in recipe.steps if step.name in names)
    hardware = {name: value for name, value in recipe.run.steps.items() if name in names}
    return replace(recipe, steps=steps, run=recipe.run.model_copy(update={"fuse": False, "drop_raw": False, "steps": hardware}))


def proxies(recipe: Recipe, variants: Sequence[Variant], options: Any) -> Recipe:
    """The recipe that packs every variant and trains its proxies, all of one shape over one number of tokens."""
    steps: list[dict[str, Any]] = []
    texts: dict[str, str] = {}
    for variant in variants:
        paths = [recipe.store(step).path for step in variant.steps]
        if len(paths) > 1:
            steps.append({"mix": {"name": f"{variant.name}-text", "of": paths, "by": "store"}})
        texts[variant.name] = f"{variant.name}-text" if len(paths) > 1 else paths[0]
    tokenizer = options.tokenizer or "tokenizer"
    if not options.tokenizer:
        steps.append({"tokenizer": {"of": texts[variants[0].name], "vocab_size": options.vocab_size}})
    for variant in variants:
        rows = f"{variant.name}-rows"
        steps.append({"pack": {"name": rows, "of": texts[variant.name], "tokenizer": tokenizer, "seq_len": options.seq_len, "holdout": options.holdout}})
        for seed in range(1, options.seeds + 1):
            steps.append({"train": {**options.proxy(), "name": f"{variant.name}-{seed}", "of": rows, "tokenizer": tokenizer, "seed": seed}})
    page = {"name": "ablate", "root": f"{recipe.root}/ablate", "seed": recipe.seed, "steps": steps, "run": {"pool": options.pool, "workers": options.workers}}
    return parse(page, "ablate")


def outlook(recipe: Recipe, variants: Sequence[Variant], options: Any) -> str:
    """What would be done: the texts, the models, the tokens, and which steps of the recipe are to do first."""
    from pipeline.run import plan

    steps = options.proxy()["steps"]
    each, models = steps * options.batch * options.seq_len, len(variants) * options.seeds
    lines = [f"  {variant.name:<14} {' + '.join(variant.steps)}" for variant in variants]
    todo = [status.step for status in plan(needed(recipe, variants)) if status.state != "done"]
    first = f"first the recipe's own steps: {', '.join(todo)}" if todo else "the recipe's own steps are up to date"
    total = f"{models} models ({len(variants)} texts x {options.seeds} seeds), {each:,} tokens each, {models * each:,} in all"
    return "\n".join([*lines, total, first])


# -- measuring -----------------------------------------------------------------------------------------------------


def documents_of(stores: Sequence[Store], share: float, most: int) -> list[dict[str, Any]]:
    """Held-out documents to measure on. UsageError where there are too few to say anything."""
    from stages.evaluate.drawn import draw

    rows = [row for row in draw(stores, "DOCUMENT", share, most).rows if (row["text"] or "").strip()]
    if len(rows) < 20:
        raise UsageError(f"{len(rows)} held-out documents are too few to measure on", "raise --holdout, give more text with --on, or a larger recipe")
    return rows


def measure(models: dict[str, list[Store]], rows: Sequence[dict[str, Any]], choices: Sequence[Any], options: Any) -> dict[str, dict[str, Measured]]:
    """Measure -> variant -> numbers: bits per byte in all and by language, and the accuracy of every set of choices."""
    import torch

    from stages.evaluate import measure as m
    from stages.evaluate.choices import answered
    from stages.models.chain import assemble, chain_of, open_link
    from stages.models.device import arithmetic
    from stages.models.encoder import Encoder
    from stages.models.templates import load_tokenizer

    found: dict[str, dict[str, Measured]] = {}
    cut = None
    with arithmetic(options.threads) as device:
        for name, stores in models.items():
            bits, right = [], {one.name: [] for one in choices}
            for store in stores:
                chain = chain_of([open_link(store.artefact(), store.receipt(ARTEFACT).content_hash)])  # type: ignore[union-attr]
                tokenizer = load_tokenizer(chain[0].path)
                model = assemble(chain, dtype=torch.float32, device=device)
                encoder = Encoder(chain[0].path)
                cut = cut or m.cut_documents(rows, encoder, options.seq_len, bool(chain[0].card.get("document_bos", True)))
                reader = m.Reader(model, device, torch.float32, options.batch, tokenizer.pad_token_id)
                bits.append(m.bits(reader, cut))
                for one in choices:
                    right[one.name].append(answered(reader, encoder, one, options.seq_len).right)
            matrix, langs = np.stack(bits), np.asarray(cut.langs)  # type: ignore[union-attr]
            found.setdefault("bits per byte", {})[name] = Measured(matrix, cut.bytes.astype(float))  # type: ignore[union-attr]
            for lang in sorted(set(langs)):
                of = langs == lang
                if of.sum() >= 10:
                    found.setdefault(f"bits per byte ({lang})", {})[name] = Measured(matrix[:, of], cut.bytes[of].astype(float))  # type: ignore[union-attr]
            for task, each in right.items():
                found.setdefault(f"accuracy ({task})", {})[name] = Measured(np.stack(each), np.ones(len(each[0])))
    return found


def compare(found: dict[str, dict[str, Measured]], first: str, resamples: int, seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Per measure and variant: mean, 95% interval, and the change from the variant `first` with its interval.

    Rows and seeds are resampled together (the same rows and seeds for every variant), so the intervals hold for other documents
    of this kind and other random beginnings.
    """
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for name, variants in found.items():
        rng = np.random.default_rng(seed)
        seeds, rows = next(iter(variants.values())).numerator.shape
        row_weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(float)
        seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
        drawn = {}
        for variant, (numerator, denominator) in variants.items():
            total = row_weights @ denominator
            drawn[variant] = np.einsum("bs,sn,bn->b", seed_weights, numerator, row_weights) / np.where(total == 0, np.nan, total)
        out[name] = {}
        for variant, (numerator, denominator) in variants.items():
            each = numerator.sum(1) / denominator.sum()
            apart = drawn[variant] - drawn[first]
            base = variants[first].numerator.sum(1) / variants[first].denominator.sum()
            out[name][variant] = {
                "mean": float(each.mean()), "interval": _bounds(drawn[variant]), "seeds": [round(float(x), 5) for x in each],
                "change": float((each - base).mean()), "change_interval": _bounds(apart),
                "better": bool(_bounds(apart)[1] < 0 if name.startswith("bits") else _bounds(apart)[0] > 0),
            }  # fmt: skip
    return out


def _bounds(values: np.ndarray) -> list[float]:
    return [float(x) for x in np.nanquantile(values, [0.025, 0.975])]


# -- what is shown -------------------------------------------------------------------------------------------------


def write(folder: Path, report: dict[str, Any]) -> str:
    """`ablation.json`, `ablation.md` and `ablation.svg` into `folder`; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    page = table(report)
    (folder / "ablation.json").write_text(json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "ablation.md").write_text(page + "\n", encoding="utf-8")
    (folder / "ablation.svg").write_text(plot(report), encoding="utf-8")
    return page


def table(report: dict[str, Any]) -> str:
    """A Markdown table: a line per variant, per measure the mean and its interval, and the change from the first."""
    names = list(report["measures"])
    first = report["variants"][0]["name"]
    lines = ["| text | documents | MB | epochs | " + " | ".join(names) + " |", "| --- | --- | --- | --- |" + " --- |" * len(names)]
    for variant in report["variants"]:
        cells = []
        for name in names:
            one = report["measures"][name][variant["name"]]
            cell = f"{one['mean']:.4f} [{one['interval'][0]:.4f}, {one['interval'][1]:.4f}]"
            if variant["name"] != first:
                cell += f"; {one['change']:+.4f} [{one['change_interval'][0]:+.4f}, {one['change_interval'][1]:+.4f}]{' better' if one['better'] else ''}"
            cells.append(cell)
        lines.append(f"| {variant['name']} | {variant['documents']:,} | {variant['bytes'] / 1e6:.1f} | {variant['epochs']:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


COLOURS = ("#7a7a7a", "#c0782a", "#2a7ac0", "#2a9a5a", "#9a4ac0", "#c04a6a")


def plot(report: dict[str, Any]) -> str:
    """One panel per measure: a dot per seed, the mean, and its 95% interval, per variant."""
    names, variants = list(report["measures"]), [variant["name"] for variant in report["variants"]]
    wide, tall, left = 560, 26 * len(variants) + 46, 120
    parts = []
    for panel, name in enumerate(names):
        rows = report["measures"][name]
        values = [x for one in rows.values() for x in (*one["interval"], *one["seeds"])]
        low, high = min(values), max(values)
        span = (high - low) or 1.0

        def at(value: float) -> float:
            return left + (value - low) / span * (wide - left - 20)

        top = panel * tall + 24
        parts.append(f'<text x="8" y="{top - 6}" font-weight="bold">{name}</text>')
        for row, variant in enumerate(variants):
            one, y, colour = rows[variant], top + 14 + 26 * row, COLOURS[row % len(COLOURS)]
            parts.append(f'<text x="8" y="{y + 4}">{variant}</text>')
            parts.append(f'<line x1="{at(one["interval"][0]):.1f}" x2="{at(one["interval"][1]):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
            parts += [f'<circle cx="{at(x):.1f}" cy="{y}" r="2.5" fill="none" stroke="{colour}"/>' for x in one["seeds"]]
            parts.append(f'<circle cx="{at(one["mean"]):.1f}" cy="{y}" r="5" fill="{colour}"><title>{variant}: {one["mean"]:.4f}</title></circle>')
        parts += [f'<text x="{at(x):.1f}" y="{top + 26 * len(variants) + 12}" text-anchor="middle">{x:.3f}</text>' for x in (low, (low + high) / 2, high)]
    size = f'width="{wide}" height="{tall * len(names) + 8}" viewBox="0 0 {wide} {tall * len(names) + 8}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'


def facts(variant: Variant, recipe: Recipe, rows: Store, trained: Store) -> dict[str, Any]:
    """Of a variant: documents, bytes of text, tokens trained on, and how often its proxies went over the text."""
    import pyarrow.compute as pc

    count = size = tokens = 0
    for store in map(recipe.store, variant.steps):
        for shard in store.shards():
            for batch in store.batches(shard):
                count += len(batch)
                size += pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
    for shard in rows.shards():
        for batch in rows.batches(shard):
            kept = batch.filter(pc.invert(batch.column("heldout")))
            tokens += pc.sum(pc.list_value_length(kept.column("input_ids"))).as_py() or 0
    notes = trained.receipt(ARTEFACT).notes  # type: ignore[union-attr]
    seen = notes["plan"]["tokens"]
    return {
        "name": variant.name, "steps": list(variant.steps), "documents": count, "bytes": int(size), "tokens": seen,
        "epochs": round(seen / max(1, tokens), 3), "parameters": notes["parameters"],
    }  # fmt: skip
