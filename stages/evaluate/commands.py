"""Verbs of evaluation: the proof that a recipe is worth its cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.options import Options
from pipeline.store import Store


class Ablate(Options):
    """Train small proxies on a recipe's raw, filtered, deduplicated and curated text, and measure all on held-out documents.

    maetdol ablate configs/quickstart.yaml --tokens 1000000

    The recipe's text steps are brought up to date first (what stands is not redone). Under ROOT/ablate stand the packed rows, the
    proxies, and `ablation.json`, `ablation.md` (the table) and `ablation.svg` (the plot).
    """

    verb: ClassVar[str] = "ablate"
    arguments: ClassVar[tuple[str, ...]] = ("recipe",)

    recipe: str
    "A recipe whose steps turn raw documents into curated ones."
    set: tuple[str, ...] = ()
    "Another value for the recipe: `step.option=value`, `root=...`."
    variants: tuple[str, ...] = ()
    "States of the text to compare, the first being what the others are held against: `name=step` or `name=step+step`. Default: raw (all ingest steps), filtered (last quality), deduplicated (last dedup), curated (last text step)."
    on: tuple[str, ...] = ()
    "Stores of documents to measure on, all of their rows; default: the held-out documents of the last variant."
    choices: tuple[str, ...] = ()
    "Files of multiple-choice questions (KoBEST, ARC and other forms) to answer besides."
    tokens: int = Field(2_000_000, ge=1000)
    "Tokens every proxy is trained on; a smaller text is gone over more often."
    seeds: int = Field(3, ge=2, le=16)
    "Proxies per variant; intervals are over documents and seeds."
    tokenizer: str | None = None
    "Store of a tokenizer; default: one is trained on the first variant's text."
    vocab_size: int = Field(4096, ge=300)
    "Size of that tokenizer."
    hidden: int = Field(128, ge=16)
    "Width of a proxy."
    layers: int = Field(4, ge=1)
    "Layers of a proxy."
    heads: int = Field(4, ge=1)
    "Attention heads of a proxy."
    seq_len: int = Field(256, ge=16)
    "Tokens in a row."
    batch: int = Field(16, ge=1)
    "Rows in a step."
    learning_rate: float = Field(3e-3, gt=0)
    "Peak learning rate; 3e-3 is what models of a million weights want."
    holdout: float = Field(0.1, gt=0, le=0.5)
    "Share of documents held out of every proxy, by hash of their content."
    documents: int = Field(300, ge=20)
    "Held-out documents to measure on, at most."
    bootstrap: int = Field(2000, ge=200)
    "Resamples behind an interval."
    threads: int = Field(2, ge=1)
    "CPU threads of a proxy."
    pool: Literal["ray", "inline"] = "inline"
    "Where proxies are trained: in this process, or in the workers of Ray."
    workers: int = Field(1, ge=1)
    "Workers, with Ray."
    dry_run: bool = False
    "Say which texts, how many models and tokens, and what of it stands already; train nothing."

    def proxy(self) -> dict[str, Any]:
        """The train options of every proxy."""
        return {
            "hidden": self.hidden, "layers": self.layers, "heads": self.heads, "batch": self.batch, "learning_rate": self.learning_rate,
            "steps": max(1, self.tokens // (self.batch * self.seq_len)), "log_every": 20, "threads": self.threads, "save_every": 1000,
        }  # fmt: skip

    def run(self) -> int:
        from pipeline.recipe import load
        from pipeline.run import run
        from stages.evaluate import ablation
        from stages.evaluate.choices import load as questions
        from stages.models.device import patient

        patient()
        recipe = load(self.recipe, list(self.set))
        variants = ablation.variants_of(recipe, self.variants)
        choices = [questions(path) for path in self.choices]
        if self.dry_run:
            print(ablation.outlook(recipe, variants, self))
            return 0
        run(ablation.needed(recipe, variants))
        second = ablation.proxies(recipe, variants, self)
        run(second)
        models = {variant.name: [second.store(f"{variant.name}-{seed}") for seed in range(1, self.seeds + 1)] for variant in variants}
        held = [Store(path) for path in self.on] or [recipe.store(step) for step in variants[-1].steps]
        rows = ablation.documents_of(held, 1.0 if self.on else self.holdout, self.documents)
        found = ablation.compare(ablation.measure(models, rows, choices, self), variants[0].name, self.bootstrap, recipe.seed)
        report = {
            "format": ablation.FORMAT, "recipe": recipe.name, "seeds": self.seeds, "tokens": self.tokens, "held_out": len(rows),
            "variants": [ablation.facts(variant, recipe, second.store(f"{variant.name}-rows"), models[variant.name][0]) for variant in variants], "measures": found,
        }  # fmt: skip
        folder = Path(recipe.root) / "ablate"
        print(ablation.write(folder, report))
        print(f"{folder}/ablation.md, ablation.svg, ablation.json")
        return 0
