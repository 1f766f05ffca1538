"""Is a recipe worth its cost? The recipe of an ablation: its texts, the documents measured on, and a proxy per text and seed.

The text of every stage of a recipe is packed with one tokenizer, several proxies of one shape are trained on each (one per
seed) over one number of tokens, and all of them read the same documents. Every proxy is a `train` step and its measuring an
`evaluate` step, so that what was trained or measured is not done again, and what was killed goes on with the next one.

Which documents: a share (by hash of the document's id) of the steps named by `on`, by default of the raw ones, so that no filter
has had a say in it; near-copies among them are kept once. Every text is then cleared of them by `exclude_overlap`, with the same rule:
of copies, near-copies, extracts and pages that quote them. What was excluded stands in the ledgers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pipeline.engine.recipe import Recipe, is_path, parse
from pipeline.engine.run import ancestors, plan
from pipeline.errors import UsageError
from pipeline.options import digest
from pipeline.storage.store import ARTEFACT, Store

VERSION = 2
"""Of the table, the plot and the intervals: another one makes them anew of what was measured."""
STAGES = {"filtered": "quality", "deduplicated": "dedup"}
"""What a variant is called, and the last stage of a recipe it stands for."""
AFTER_TEXT = ("tokenizer", "pack", "train", "sft")
"""The text of a recipe is what comes before the first of these."""
FEW_STEPS = 300
"""Proxies of fewer steps have learnt letter frequencies and little else (tests/bench/evaluate: 122 steps, 3.2 bits per byte)."""
SALT = "ablate"
"""Parts the documents measured on from other divisions by hash; `draw` is written behind it."""


class Variant(NamedTuple):
    """A state of the text: its name, and the steps whose stores hold it."""

    name: str
    steps: tuple[str, ...]


def variants_of(recipe: Recipe, named: Sequence[str]) -> list[Variant]:
    """raw, filtered, deduplicated, curated, as far as the recipe has them; or those `named` as `name=step+step`."""
    if named:
        found = [_named(recipe, word) for word in named]
        if len({variant.name for variant in found}) < len(found):
            raise UsageError("two variants have one name", "name them apart: --variants raw=ingest,curated=pii")
        return found
    end = next((n for n, step in enumerate(recipe.steps) if step.stage_name in AFTER_TEXT), len(recipe.steps))
    text = [step for step in recipe.steps[:end] if step.shape == "DOCUMENT"]
    raw = tuple(step.name for step in text if step.stage_name == "ingest")
    if not raw or len(text) == len(raw):
        raise UsageError(
            "the recipe does nothing to its text before a tokenizer or pack",
            "name the variants: --variants raw=step,curated=step",
        )
    found = [Variant("raw", raw)]
    for name, stage in STAGES.items():
        last = [step.name for step in text if step.stage_name == stage]
        if last:
            found.append(Variant(name, (last[-1],)))
    curated = Variant("curated", (text[-1].name,))
    return [*(variant for variant in found if variant.steps != curated.steps), curated]


def _named(recipe: Recipe, word: str) -> Variant:
    name, equals, steps = word.partition("=")
    if not name or not equals or not steps:
        raise UsageError(f"variant {word!r} has no step", "write name=step, or name=step+step")
    found = tuple(recipe.step(step) for step in steps.split("+"))
    for step in found:
        if step.shape != "DOCUMENT":
            raise UsageError(
                f"variant {name!r}: step {step.name!r} makes {step.shape}", "name steps that make documents"
            )
    return Variant(name, tuple(step.name for step in found))


def measured_from(recipe: Recipe, variants: Sequence[Variant], on: Sequence[str]) -> list[str]:
    """Steps or stores the documents measured on come from. RecipeError where a word is neither."""
    found = list(on) or list(variants[0].steps)
    for word in found:
        if not is_path(word):
            recipe.step(word)
    return found


def needed(recipe: Recipe, variants: Sequence[Variant], on: Sequence[str]) -> Recipe:
    """The recipe up to what the variants need."""
    wanted = {name for variant in variants for name in variant.steps} | {name for name in on if not is_path(name)}
    return part(recipe, wanted | {step.name for name in wanted for step in ancestors(recipe, recipe.step(name))})


def part(recipe: Recipe, names: Collection[str]) -> Recipe:
    """The steps `names` of the recipe; nothing fused or dropped, since every one is read."""
    steps = tuple(step for step in recipe.steps if step.name in names)
    hardware = {name: value for name, value in recipe.run.steps.items() if name in names}
    how = recipe.run.model_copy(update={"fuse": False, "drop_raw": False, "steps": hardware})
    return replace(recipe, steps=steps, run=how)


def page(recipe: Recipe, variants: Sequence[Variant], on: Sequence[str], options: Any) -> dict[str, Any]:
    """The recipe that sets documents apart, clears and packs every variant, and trains and measures its proxies."""
    steps: list[dict[str, Any]] = []
    drawn = []
    for number, word in enumerate(on):
        if is_path(word):
            drawn.append(word)
            continue
        drawn.append(f"drawn-{number}")
        steps.append(
            {
                "split": {
                    "name": drawn[-1],
                    "of": recipe.store(word).path,
                    "share": options.holdout,
                    "by": "document",
                    "salt": SALT + options.draw,
                }
            }
        )
    steps.append({"dedup": {"name": "measured", "of": drawn}})
    for variant in variants:
        stores = [recipe.store(step).path for step in variant.steps]
        steps.append({"exclude_overlap": {"name": f"{variant.name}-text", "of": stores, "against": "measured"}})
    tokenizer = options.tokenizer or "tokenizer"
    if not options.tokenizer:
        steps.append({"tokenizer": {"of": f"{variants[0].name}-text", "vocab_size": options.vocab_size}})
    for variant in variants:
        rows = f"{variant.name}-rows"
        packed = {
            "of": f"{variant.name}-text",
            "tokenizer": tokenizer,
            "seq_len": options.seq_len,
            "method": "concat",
            "holdout": 0.0,
        }
        steps.append({"pack": {"name": rows, **packed}})
    for seed in range(1, options.seeds + 1):
        for variant in variants:
            trained = {
                **options.proxy(),
                "name": proxy(variant, seed),
                "of": f"{variant.name}-rows",
                "tokenizer": tokenizer,
                "seed": seed,
            }
            steps.append({"train": trained})
            steps.append(
                {
                    "evaluate": {
                        **options.measuring(),
                        "name": measurement(variant, seed),
                        "of": "measured",
                        "model": proxy(variant, seed),
                    }
                }
            )
    run = {"pool": options.pool, "workers": options.workers}
    return {"name": f"{recipe.name}-ablate", "root": folder(recipe), "seed": recipe.seed, "steps": steps, "run": run}


def proxies(recipe: Recipe, variants: Sequence[Variant], on: Sequence[str], options: Any) -> Recipe:
    """`page` as a recipe, once the stores it reads are there."""
    return parse(page(recipe, variants, on, options), "ablate")


def set_apart(second: Recipe) -> Recipe:
    """The part of it that finds the documents measured on, so that too few are refused before anything is trained."""
    names = [step.name for step in second.steps]
    return replace(second, steps=second.steps[: names.index("measured") + 1])


def key(recipe: Recipe, measured: dict[str, list[Store]], kept_in: Sequence[Store], settings: dict[str, Any]) -> str:
    """What the table, the plot and the numbers are made of: every measuring by key and content, and how it is `told`."""
    receipts = {name: [store.receipt(ARTEFACT) for store in stores] for name, stores in measured.items()}
    proofs = {name: [[one.key, one.content_hash] for one in found] for name, found in receipts.items()}  # type: ignore[union-attr]
    kept = [store.content_hash for store in kept_in]
    return digest(
        {"version": VERSION, "recipe": recipe.name, "seed": recipe.seed, "measured": proofs, "kept": kept, **settings}
    )


def folder(recipe: Recipe) -> str:
    """Where everything of the ablation lies."""
    return f"{recipe.root.rstrip('/')}/ablate"


def proxy(variant: Variant, seed: int) -> str:
    """The step of one model."""
    return f"{variant.name}-{seed}"


def measurement(variant: Variant, seed: int) -> str:
    """The step that measures it."""
    return f"{variant.name}-{seed}-measured"


def outlook(recipe: Recipe, variants: Sequence[Variant], on: Sequence[str], options: Any) -> str:
    """What would be done: the texts, the models, the tokens, and which steps stand already."""
    steps = options.proxy()["max_steps"]
    each, models = steps * options.batch * options.seq_len, len(variants) * options.seeds
    lines = [f"  {variant.name:<14} {' + '.join(variant.steps)}" for variant in variants]
    held = f"measured on at most {options.documents} documents of {', '.join(on)}, excluded from every text with their near-copies"
    total = f"{models} models ({len(variants)} texts x {options.seeds} seeds), {each:,} tokens each, {models * each:,} in all"
    if steps < FEW_STEPS:
        total += f"\n{steps} steps are few to tell texts apart by: give more `tokens` or a smaller `batch`"
    todo = [status.step for status in plan(needed(recipe, variants, on)) if status.state != "done"]
    if todo:
        return "\n".join([*lines, held, total, f"first the recipe's own steps: {', '.join(todo)}"])
    second = list(plan(proxies(recipe, variants, on, options)))
    done = sum(status.state == "done" for status in second)
    return "\n".join(
        [
            *lines,
            held,
            total,
            f"the recipe's own steps are up to date; of the ablation's {len(second)} steps {done} are done",
        ]
    )


def facts(variant: Variant, second: Recipe, seeds: int) -> dict[str, Any]:
    """Of a variant: documents, bytes, what was excluded, tokens trained on, and how often its proxies went over the text."""
    import pyarrow.compute as pc

    text, rows = second.store(f"{variant.name}-text"), second.store(f"{variant.name}-rows")
    there = sum(
        pc.sum(pc.list_value_length(batch.column("input_ids"))).as_py() or 0
        for shard in rows.shards()
        for batch in rows.batches(shard)
    )
    notes = [second.store(proxy(variant, seed)).receipt(ARTEFACT).notes for seed in range(1, seeds + 1)]  # type: ignore[union-attr]
    size = sum(receipt.bytes for receipt in text.receipts().values())
    manifest = text.require()
    trained = [_tokens_trained(second.store(proxy(variant, seed))) for seed in range(1, seeds + 1)]
    return {
        "name": variant.name, "steps": list(variant.steps), "documents": manifest["rows"], "bytes": size, "excluded": manifest["reasons"],
        "tokens_there": there, "tokens": round(sum(trained) / seeds), "epochs": round(sum(trained) / seeds / max(1, there), 3),
        "parameters": notes[0]["parameters"],
    }  # fmt: skip


def _tokens_trained(store: Store) -> int:
    """Tokens asked for over a whole training, from its loss curve."""
    import json

    lines = [json.loads(line) for line in (store.artefact() / "history.jsonl").read_text("utf-8").splitlines()]
    return int(store.receipt(ARTEFACT).notes["plan"].get("tokens", 0)) or sum(
        line.get("weight", 0) for line in lines if line["kind"] == "train"
    )  # type: ignore[union-attr]
