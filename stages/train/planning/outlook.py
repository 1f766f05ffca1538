"""The plan of every train step of a recipe, from what stands and what its options say: no model is loaded and nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from pipeline.engine.recipe import Recipe, Step, is_path
from pipeline.errors import UsageError
from pipeline.storage.store import Store
from stages.models.inference.folder import store_of
from stages.train.engine.schedule import StepPlan, plan
from stages.train.model import inner_width
from stages.train.objective.conversations import LONGEST
from stages.train.planning import budget as b
from stages.train.planning import pace
from stages.train.planning.counted import counted
from stages.train.workers.levers import spread

VOCABULARY = 32_000
"""Assumed where no tokenizer stands and no tokenizer step names its size."""
WIDTH = 1024
TRAINED_SHARE = 1.0
"""Share of the tokens asked for, where no row stands."""
SAMPLE = 512
"""Conversations or pairs read for their lengths."""
CHARACTERS = 3
"""Of a token, Hangul and Latin text together, where no tokenizer stands."""


def pages(recipe: Recipe, card: str | None, tokens: float | None, price: float | None) -> Iterator[tuple[str, bool]]:
    """(text, does it fit) per train step."""
    steps = [step for step in recipe.steps if step.stage_name == "train"]
    if not steps:
        raise UsageError("the recipe has no train step", "give a recipe that trains")
    for step in steps:
        yield page(recipe, step, b.machine(card, step.stage.threads), tokens, price)  # type: ignore[attr-defined]


def stores_read(recipe: Recipe) -> list[str]:
    """Paths of the stores that plans of its train steps read, whether they are there yet or not."""
    refs = {
        ref: None for step in recipe.steps if step.stage_name == "train" for of in step.ports.values() for ref in of
    }
    return [_store(recipe, ref)[0].path for ref in refs]


class StepEstimate(NamedTuple):
    """What a step is expected to take."""

    budget: b.Requirements
    passes: StepPlan
    rows: pace.RunRows
    width: int
    workers: int
    """Processes it is spread over; memory is what each of them needs."""


def estimate(recipe: Recipe, step: Step, where: b.Machine, tokens: float | None = None) -> StepEstimate | None:
    """None where the step's rows are not there yet and `tokens` is not given."""
    hardware = recipe.run.steps.get(step.name)
    workers = (hardware.workers if hardware else None) or 1
    stage: Any = step.stage.shared_by(workers)  # type: ignore[attr-defined]
    shape, most = shape_of(recipe, step), stage.max_length or width_of(recipe, step)
    found_rows = rows_of(recipe, step, most, tokens)
    if found_rows is None:
        return None
    rows, width = found_rows
    rows_a_step: int = stage.global_batch_size
    passes = plan(
        rows.count,
        max(1, rows_a_step // stage.rl.num_generations) if stage.objective == "rl" else rows_a_step,
        stage.num_train_epochs,
        stage.max_steps,
    )
    found = spread(b.budget(stage, shape, rows.length, rows.length * passes.positions, where), stage, workers)
    if where.cuda:  # a card each; on a processor they share what there is
        found = found._replace(seconds=found.seconds / workers)
    if not where.cuda and found.fits and (tried := pace.seconds(stage, shape, rows, passes.steps)) is not None:
        found = found._replace(seconds=tried)
    return StepEstimate(found, passes, rows, width, workers)


def page(recipe: Recipe, step: Step, where: b.Machine, tokens: float | None, price: float | None) -> tuple[str, bool]:
    stage: Any = step.stage
    made = estimate(recipe, step, where, tokens)
    if made is None:
        return f"{step.name}: its rows are not there yet, and --tokens was not given", True
    stage = stage.shared_by(made.workers)
    found, shape, width, total = made.budget, made.budget.shape, made.width, made.rows.length * made.passes.positions
    based = bool(step.ports.get("base"))
    hours = found.seconds / 3600 * (made.workers if where.cuda else 1)
    each = f" for each of {made.workers} workers" if made.workers > 1 else ""
    besides = ", and what drawing and judging the answers takes" if stage.objective == "rl" else ""
    lines = [
        f"{step.name}: {stage.objective}, {stage.method}; {shape.weights:,} weights, {found.trained:,} trained; {made.passes.steps:,} steps over {total:,} tokens in rows of {width:,}"
        + (", the longest there is (max_length is not set)" if stage.max_length is None else ""),
        f"  memory  {found.memory / b.GIB:.2f} GiB of {where.memory / b.GIB:.1f} ({where.name}){each}: "
        + ", ".join(f"{name} {size / b.GIB:.2f}" for name, size in found.parts.items()),
        f"  time    about {spoken(found.seconds)}{besides}"
        + (f", about {hours * price:,.2f} at {price:g} an hour" if price is not None else ""),
        f"  batch   {stage.rows_of_a_step(made.workers)}",
        f"  ratio   {b.ratio(found)}" if stage.objective in ("clm", "mlm") else None,
        f"  advice  {b.advice(stage, shape, width, total, where, based)}",
    ]
    if not found.fits:
        lines.append(
            "  DOES NOT FIT; this would: "
            + "; ".join(b.levers(stage, shape, width, total, where, based, made.workers)[:3])
        )
    return "\n".join(line for line in lines if line), found.fits


def spoken(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def shape_of(recipe: Recipe, step: Step) -> b.Shape:
    """The model's sizes: from its base's configuration, the base's step, or the step's own options."""
    stage: Any = step.stage
    for ref in step.ports.get("base", ()):
        store, below = _store(recipe, ref)
        if store.manifest() is not None and (store.artefact() / "config.json").exists():
            shape = counted(json.loads((store.artefact() / "config.json").read_text(encoding="utf-8")))
            size = _vocabulary(recipe, step) if step.ports.get("tokenizer") else 0  # an extended one gives it rows
            return shape._replace(vocabulary=max(shape.vocabulary, size), added=max(0, size - shape.vocabulary))
        if below is not None and below.stage_name == "train" and below.stage.whole():  # type: ignore[attr-defined]
            return shape_of(recipe, below)
    return b.Shape(
        _vocabulary(recipe, step),
        stage.model.hidden_size,
        stage.model.num_hidden_layers,
        stage.model.num_attention_heads,
        stage.model.num_key_value_heads or stage.model.num_attention_heads,
        stage.model.intermediate_size or inner_width(stage.model.hidden_size),
        stage.model.tie_word_embeddings,
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
    return (store_of(ref), None) if step is None and is_path(ref) else (recipe.store(ref), step)


def width_of(recipe: Recipe, step: Step) -> int:
    """Tokens of a row at most: what its rows were (or will be) packed to, or what the base reaches, up to `LONGEST`."""
    for ref in step.ports.get("of", ()):
        _, made = _store(recipe, ref)
        if made is not None and made.stage_name == "pack":
            return int(made.stage.seq_len)  # type: ignore[attr-defined]
    for ref in step.ports.get("base", ()):
        store, made = _store(recipe, ref)
        if store.manifest() is not None and (store.artefact() / "config.json").exists():
            config = json.loads((store.artefact() / "config.json").read_text(encoding="utf-8"))
            return min(LONGEST, int(config.get("max_position_embeddings") or LONGEST))
        if made is not None and made.stage_name == "train":
            return made.stage.max_length or width_of(recipe, made)  # type: ignore[attr-defined]
    return WIDTH


def rows_of(recipe: Recipe, step: Step, width: int, tokens: float | None) -> tuple[pace.RunRows, int] | None:
    """What the steps will see, and the tokens of a row (`width` at most): read as `train` reads them where the rows and their tokenizer
    stand (a sample of them), counted from characters where the tokenizer does not, from `tokens` where the rows do not; None where that
    is not given either."""
    stage: Any = step.stage
    stores = [_store(recipe, ref)[0] for ref in step.ports.get("of", ())]
    if any(store.manifest() is None for store in stores):
        return (_kept(stage, max(1, round(tokens / width)), width, TRAINED_SHARE, 2), width) if tokens else None
    if all(store.shape == "TOKENS" for store in stores):
        packed = _packed(stage, stores)
        return packed, packed.length
    chat, sample, count = _chat(recipe, step), _sample(stores), sum(store.require()["rows"] for store in stores)
    parts = [found for row in sample for found in (_parts(stage, chat, row, width) if chat else _guessed(row))]
    if not parts:
        return None
    lengths, trained_tokens = (np.asarray(column) for column in zip(*parts))
    width = width if stage.max_length else min(width, int(lengths.max()))
    share, sides = (
        float(trained_tokens.sum() / lengths.sum()),
        2 if stage.objective in ("dpo", "reward", "kto", "orpo") else 1,
    )
    usable = count * len(parts) / (sides * len(sample))
    if stage.objective == "sft" and stage.sft.packing:
        each = max(1.0, width / float(lengths.mean()))
        return _kept(
            stage, usable / each, width, share * min(1.0, each * float(lengths.mean()) / width), round(each)
        ), width
    return _kept(stage, usable, _padded(lengths, stage.per_device_train_batch_size * sides), share, 1), width


def _kept(stage: Any, count: float, length: int, trained: float, segments: int) -> pace.RunRows:
    held = round(stage.holdout * count)
    return pace.RunRows(
        max(1, round(count) - held),
        held,
        length,
        stage.mlm.mlm_probability if stage.objective == "mlm" else trained,
        max(1, segments),
    )


def _packed(stage: Any, stores: list[Store]) -> pace.RunRows:
    """Rows of `pack`: they say themselves how long they are, which are held out and where documents begin."""
    count = held = documents = width = 0
    for store in stores:
        for shard in store.shards():
            for batch in store.batches(shard):
                count += len(batch)
                width = max(width, int(pc.max(pc.list_value_length(batch.column("input_ids"))).as_py() or 0))
                documents += (
                    int(pc.sum(pc.list_value_length(batch.column("docs"))).as_py() or 0)
                    if "docs" in batch.schema.names
                    else 2 * len(batch)
                )
                marked = "heldout" in batch.schema.names
                held += int(pc.sum(batch.column("heldout")).as_py() or 0) if marked else 0
    width = stage.max_length or max(width, 1)
    if not held:
        return _kept(stage, count, width, 1.0, round(documents / max(1, count)))
    return _kept(stage, 0, width, 1.0, round(documents / max(1, count)))._replace(count=max(1, count - held), held=held)


def _padded(lengths: Any, batch: int) -> int:
    """Tokens of a row with its padding: each batch is as wide as its longest row."""
    order = np.random.default_rng(0).permutation(len(lengths))
    shuffled = lengths[order][: len(lengths) // batch * batch] if len(lengths) >= batch else lengths
    return max(1, round(float(shuffled.reshape(-1, min(batch, len(lengths))).max(axis=1).mean())))


def _sample(stores: list[Store]) -> list[dict[str, Any]]:
    found = []
    for store in stores:
        for shard in store.shards():
            for batch in store.batches(shard):
                names = [
                    name for name in ("messages", "prompt", "chosen", "rejected", "tools") if name in batch.schema.names
                ]
                found += batch.select(names).to_pylist()
                if len(found) >= SAMPLE:
                    return found[:SAMPLE]
    return found


def _chat(recipe: Recipe, step: Step) -> Any:
    """The template the step's conversations will be rendered by, where its tokenizer stands."""
    from pathlib import Path

    from stages.models.chat.templates import Chat, load_tokenizer

    stage: Any = step.stage
    refs = [*step.ports.get("tokenizer", ()), *step.ports.get("base", ())]
    stores = [store for store in (_store(recipe, ref)[0] for ref in refs) if store.manifest() is not None]
    folder = stores[0].artefact() if stores else None
    if folder is None:
        return None
    template = Path(stage.template).read_text(encoding="utf-8") if stage.template else None
    return Chat(load_tokenizer(folder, template), template)


def _parts(stage: Any, chat: Any, row: dict[str, Any], width: int) -> list[tuple[int, int]]:
    """(tokens, tokens asked for) of a conversation, or of both sides of a pair; none where it cannot be used."""
    from stages.models.chat.answers import encode_chat, encode_pair, trained_tokens

    if "messages" in row:
        part, _ = encode_chat(
            chat, row["messages"] or [], width, 1 if stage.sft.trains == "completion" else None, row.get("tools")
        )
        return [] if part is None else [(len(part.ids), trained_tokens(part))]
    pair, _ = encode_pair(
        chat, row["prompt"] or [], row["chosen"] or [], row["rejected"] or [], width, row.get("tools")
    )
    return [] if pair is None else [(len(side.ids), trained_tokens(side)) for side in pair]


def _guessed(row: dict[str, Any]) -> list[tuple[int, int]]:
    """The same from characters: a third of a token each, Hangul and Latin text together."""

    def size(messages: Any, role: str = "") -> int:
        return (
            sum(len(message["content"] or "") for message in messages or [] if role in ("", message["role"]))
            // CHARACTERS
        )

    if "messages" in row:
        return [(max(2, size(row["messages"])), max(1, size(row["messages"], "assistant")))]
    return [(max(2, size(row["prompt"]) + size(row[side])), max(1, size(row[side]))) for side in ("chosen", "rejected")]
