"""The plan of every train step of a recipe, from what stands and what its options say: no model is loaded and nothing is trained."""

from __future__ import annotations

import json
from typing import Any, Iterator

from pipeline.errors import UsageError
from pipeline.recipe import Recipe, Step, is_path
from pipeline.store import Store
from stages.train import budget as b
from stages.train.model import inner_width
from stages.train.schedule import plan

VOCABULARY = 32_000
"""Assumed where no tokenizer stands and no tokenizer step names its size."""
WIDTH = 1024


def pages(recipe: Recipe, card: str | None, tokens: float | None, price: float | None) -> Iterator[tuple[str, bool]]:
    """(text, does it fit) per train step."""
    steps = [step for step in recipe.steps if step.stage_name == "train"]
    if not steps:
        raise UsageError("the recipe has no train step", "give a recipe that trains")
    for step in steps:
        yield page(recipe, step, b.machine(card, step.stage.threads), tokens, price)  # type: ignore[attr-defined]


def page(recipe: Recipe, step: Step, where: b.Machine, tokens: float | None, price: float | None) -> tuple[str, bool]:
    stage: Any = step.stage
    shape, width = shape_of(recipe, step), stage.seq_len or width_of(recipe, step)
    rows, once = rows_of(recipe, step, width, tokens)
    if once is None:
        return f"{step.name}: its rows are not there yet, and --tokens was not given", True
    passes = plan(rows, stage.batch * stage.accumulation, stage.epochs, stage.steps)
    total = round(once * passes.positions / max(1, rows))
    found = b.budget(stage, shape, width, total, where)
    based = bool(stage.checkpoint or step.ports.get("base"))
    hours = found.seconds / 3600
    lines = [
        f"{step.name}: {stage.objective}, {stage.method}; {shape.weights:,} weights, {found.trained:,} trained; {passes.steps:,} steps over {total:,} tokens in rows of {width}",
        f"  memory  {found.memory / b.GIB:.2f} GiB of {where.memory / b.GIB:.1f} ({where.name}): " + ", ".join(f"{name} {size / b.GIB:.2f}" for name, size in found.parts.items()),
        f"  time    about {spoken(found.seconds)}" + (f", about {hours * price:,.2f} at {price:g} an hour" if price is not None else ""),
        f"  ratio   {b.ratio(found)}" if stage.objective in ("clm", "mlm") else None,
        f"  advice  {b.advice(stage, shape, width, total, where, based)}",
    ]
    if not found.fits:
        lines.append("  DOES NOT FIT; this would: " + "; ".join(b.levers(stage, shape, width, total, where, based)[:3]))
    return "\n".join(line for line in lines if line), found.fits


def spoken(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def shape_of(recipe: Recipe, step: Step) -> b.Shape:
    """The model's sizes: from its base's configuration, the base's step, or the step's own options."""
    stage: Any = step.stage
    if stage.checkpoint:
        from pathlib import Path

        return b.shape_of(json.loads((Path(stage.checkpoint) / "config.json").read_text(encoding="utf-8")))
    for ref in step.ports.get("base", ()):
        store, below = _store(recipe, ref)
        if store.manifest() is not None and (store.artefact() / "config.json").exists():
            return b.shape_of(json.loads((store.artefact() / "config.json").read_text(encoding="utf-8")))
        if below is not None and below.stage_name == "train" and below.stage.whole():  # type: ignore[attr-defined]
            return shape_of(recipe, below)
    return b.Shape(
        _vocabulary(recipe, step), stage.hidden, stage.layers, stage.heads, stage.kv_heads or stage.heads, stage.intermediate or inner_width(stage.hidden), stage.tie_embeddings
    )


def _vocabulary(recipe: Recipe, step: Step) -> int:
    for ref in step.ports.get("tokenizer", ()):
        store, made = _store(recipe, ref)
        if store.manifest() is not None:
            from stages.models.encoder import Encoder

            return Encoder(store.artefact()).size
        if made is not None:
            return int(getattr(made.stage, "vocab_size", VOCABULARY))
    return VOCABULARY


def _store(recipe: Recipe, ref: str) -> tuple[Store, Step | None]:
    step = next((one for one in recipe.steps if one.name == ref), None)
    return (Store(ref), None) if step is None and is_path(ref) else (recipe.store(ref), step)


def width_of(recipe: Recipe, step: Step) -> int:
    """Tokens of a row: what its rows were (or will be) packed to, or what the base reaches."""
    for ref in step.ports.get("of", ()):
        _, made = _store(recipe, ref)
        if made is not None and made.stage_name == "pack":
            return int(made.stage.seq_len)  # type: ignore[attr-defined]
    for ref in step.ports.get("base", ()):
        _, made = _store(recipe, ref)
        if made is not None and made.stage_name == "train":
            return made.stage.seq_len or width_of(recipe, made)  # type: ignore[attr-defined]
    return WIDTH


def rows_of(recipe: Recipe, step: Step, width: int, tokens: float | None) -> tuple[int, int | None]:
    """(rows, tokens) of one pass: counted where the rows stand, else out of `tokens`. Characters of conversations are taken as
    a third of a token, Hangul and Latin text together."""
    rows = total = 0
    for ref in step.ports.get("of", ()):
        store, _ = _store(recipe, ref)
        if store.manifest() is None:
            return (max(1, round(tokens / width)), round(tokens)) if tokens else (0, None)
        for shard in store.shards():
            for batch in store.batches(shard):
                rows += len(batch)
                total += _tokens(batch)
    return max(1, rows), total


def _tokens(batch: Any) -> int:
    import pyarrow.compute as pc

    if "input_ids" in batch.schema.names:
        return int(pc.sum(pc.list_value_length(batch.column("input_ids"))).as_py() or 0)
    columns = [name for name in ("messages", "prompt", "chosen", "rejected") if name in batch.schema.names]
    return sum(len(message["content"] or "") for name in columns for row in batch.column(name).to_pylist() for message in row or []) // 3
