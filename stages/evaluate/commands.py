"""Verbs of evaluation: the proof that a recipe is worth its cost."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.options import Options


class WithProxies(Options):
    """A verb that trains small models (proxies) and measures them on documents none has seen."""

    tokens: int = Field(2_000_000, ge=1000)
    "Tokens every proxy is trained on; a smaller text is gone over more often."
    seeds: int = Field(3, ge=2, le=16)
    "Proxies of each text that is compared; intervals are over documents and seeds, and three seeds make them wide where seeds differ: five or more tell finer changes."
    tokenizer: str | None = None
    "Store of a tokenizer; default: one is trained on the text (of the first variant)."
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
    "Share of the documents set apart, by hash of their id; all of them are excluded from every text."
    draw: str = ""
    "Another word, another draw of these documents: for a second look that has not seen the first one's."
    documents: int = Field(300, ge=20)
    "Documents of these to measure on, at most."
    document_bytes: int = Field(4096, ge=64)
    "A document is measured by its first so many bytes, so that a few long ones do not decide."
    bootstrap: int = Field(10_000, ge=200)
    "Resamples behind an interval."
    threads: int = Field(2, ge=1)
    "CPU threads of a proxy."
    pool: Literal["ray", "inline"] = "inline"
    "Where proxies are trained: in this process, or in the workers of Ray."
    workers: int = Field(1, ge=1)
    "Workers, with Ray."

    def proxy(self) -> dict[str, Any]:
        """The train options of every proxy."""
        return {
            "model": {"hidden_size": self.hidden, "num_hidden_layers": self.layers, "num_attention_heads": self.heads},
            "max_steps": max(1, self.tokens // (self.batch * self.seq_len)), "optimizer": {"learning_rate": self.learning_rate},
            "per_device_train_batch_size": self.batch, "logging_steps": 20, "threads": self.threads, "save_steps": 1000,
        }  # fmt: skip

    def measuring(self) -> dict[str, Any]:
        """The evaluate options of every proxy."""
        return {
            "holdout": 1.0, "untrained": False, "documents": self.documents, "document_bytes": self.document_bytes, "samples": 0, "width": self.seq_len,
            "batch": self.batch, "threads": self.threads, "dtype": "fp32",
        }  # fmt: skip


class Ablate(WithProxies):
    """Train small proxies on a recipe's raw, filtered, deduplicated and curated text, and measure all on documents none has seen.

    maetdol ablate configs/quickstart.yaml --tokens 1000000 --dry-run

    The recipe's text steps are brought up to date first; then a second recipe sets the measured documents apart, excludes them and
    their near-copies from every text (`maetdol explain exclude_overlap`), and trains the same model over the same number of tokens on
    each text, once per seed. What stands is not done again. Under ROOT/ablate stand those stores and `ablation.md` (the table),
    `ablation.svg` (the plot), `ablation.json` and `ablation-documents.csv` (every document's bits under every model).

    Measured are bits per byte in all, by language, and apart for the documents that the recipe keeps and drops: a recipe that
    throws away what it is then measured on shows it. The one tokenizer of all is trained on the first text.
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
    "Where the measured documents come from: steps of the recipe, of which the share `holdout` is set apart, or paths of stores, measured entire. Default: the steps of the first variant."
    choices: tuple[str, ...] = ()
    "Files of multiple-choice questions (KoBEST, ARC and other forms) to answer besides."
    shots: int = Field(0, ge=0, le=25)
    "Answered questions shown before each of them."
    questions: int = Field(500, ge=1)
    "Questions of each file, at most, by hash."
    dry_run: bool = False
    "Say which texts, how many models and tokens, and what of it stands already; train nothing."

    def measuring(self) -> dict[str, Any]:
        """The evaluate options of every proxy, with the questions."""
        return {
            **super().measuring(),
            "choices": list(self.choices),
            "shots": [self.shots],
            "questions": self.questions,
        }

    def run(self) -> int:
        from pipeline.engine.recipe import load
        from pipeline.engine.run import run
        from stages.evaluate import ablation, ablation_page, proxies
        from stages.evaluate.choices import load as questions
        from stages.models.inference.device import patient

        patient()
        recipe = load(self.recipe, list(self.set))
        variants = ablation.variants_of(recipe, self.variants)
        on = ablation.measured_from(recipe, variants, self.on)
        for path in self.choices:
            questions(path, self.shots, self.questions)
        if self.dry_run:
            print(ablation.outlook(recipe, variants, on, self))
            return 0
        run(ablation.needed(recipe, variants, on))
        second = ablation.proxies(recipe, variants, on, self)
        run(ablation.set_apart(second))
        kept_in = [recipe.store(step) for step in variants[-1].steps]
        held = proxies.held_of(second.store("measured"), kept_in, self.documents, self.document_bytes)
        run(second)
        measured = {
            variant.name: [second.store(ablation.measurement(variant, seed)) for seed in range(1, self.seeds + 1)]
            for variant in variants
        }
        settings = {
            "on": on,
            "options": self.model_dump(mode="json", exclude={"recipe", "set", "dry_run", "pool", "workers"}),
        }
        key = ablation.key(recipe, measured, kept_in, {**settings, "variants": variants})
        text = ablation_page.valid_page(ablation.folder(recipe), key)
        if text is not None:
            print(f"{text}{second.name}: nothing to do, all {len(second.steps)} steps and the table are up to date")
            return 0
        found = proxies.read(measured, held)
        report = {
            "format": ablation_page.FORMAT, "recipe": recipe.name, "seeds": self.seeds, "documents": len(held.rows), **settings,
            "variants": [ablation.facts(variant, second, self.seeds) for variant in variants],
            "measures": proxies.compare(found, variants[0].name, self.bootstrap, recipe.seed),
        }  # fmt: skip
        print(ablation_page.write(ablation.folder(recipe), report, found, held, key))
        print(f"{ablation.folder(recipe)}/ablation.md, ablation.svg, ablation.json, ablation-documents.csv")
        return 0


class MixSearch(WithProxies):
    """Look for the weights of a recipe's mix: proxies on sampled mixtures, a regression over them, its best mixture put to the test.

    maetdol mix-search configs/quickstart.yaml --tokens 500000 --dry-run

    Whatever is left at its default is the mix step's: the groups (`by`), the budget, the most repeats. The recipe's steps before it are
    brought up to date; a second recipe sets the measured documents apart and excludes them and their near-copies from the text. One
    proxy is trained on each sampled mixture, over one number of tokens; a regression says what any mixture within the caps would
    measure. The mixture it has best is then trained beside the natural one and all groups alike (as far as the caps allow), once per
    seed, so that what is shown does not rest on the regression. What is done is not done again. Under ROOT/mix-search stand
    `mix-search.md` (the table, and the weights to copy), `mix-search.json` (all numbers), and the stores.
    """

    verb: ClassVar[str] = "mix-search"
    arguments: ClassVar[tuple[str, ...]] = ("recipe",)

    recipe: str
    "A recipe with a step that mixes documents."
    set: tuple[str, ...] = ()
    "Another value for the recipe: `step.option=value`, `root=...`."
    step: str | None = None
    "The mix step; default: the only one."
    mixtures: int | None = Field(None, ge=4, le=4096)
    "Mixtures to train a proxy on; default: four for each group, twelve at least. More can be added later."
    check: int = Field(4, ge=0, le=256)
    "Mixtures besides that the regression is not fitted to, but held against."
    groups: int = Field(12, ge=2, le=64)
    "Groups that are weighed: the largest ones; the others are one, called `other`."
    target: dict[str, float] = Field(default_factory=dict)
    "What is to be good: weight per group of the bits per byte on its documents, e.g. `{ko: 2, en: 1}`. Default: all measured groups alike."
    budget: str | int | None = None
    "Bytes of text of the mixture that is looked for, e.g. `2GB`; it sets the caps. Default: the step's budget or share, else as much as there is."
    max_repeats: float | None = Field(None, gt=0.0, le=64.0)
    "Most copies of a row in that mixture, which caps the shares of small groups. Default: the step's."
    gpus: float = Field(0, ge=0)
    "GPUs a proxy takes, with Ray; 0.25: four proxies on a card."
    dry_run: bool = False
    "Say how many models and tokens, and about how much computing; train nothing."

    @field_validator("budget")
    @classmethod
    def _bytes(cls, value: str | int | None) -> int | None:
        from pipeline.engine.recipe import parse_bytes

        return parse_bytes(value) if isinstance(value, str) else value

    def run(self) -> int:
        from pipeline.engine.recipe import load
        from stages.evaluate.mixing import search, swarm, table
        from stages.models.inference.device import patient

        patient()
        recipe = load(self.recipe, list(self.set))
        if self.dry_run:
            print(search.outlook(recipe, self))
            return 0
        print(table.write(swarm.folder(recipe), search.search(recipe, self)))
        print(f"{swarm.folder(recipe)}/mix-search.md, mix-search.json")
        return 0
