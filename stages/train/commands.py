"""Verbs around training: look at labels, plan, compare methods and options, keep adapters, merge, shrink, draft."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.deletion.forgotten import Reading
from pipeline.errors import SourceError, UsageError
from pipeline.options import Options
from pipeline.storage.store import Store
from stages.models.holdout import SHARE
from stages.models.inference.chain import chain_in
from stages.models.inference.device import patient
from stages.models.inference.folder import store_of
from stages.train.verb import InRegistry, OnBase, OnHeldOut, Rewrites, Threaded, Trying


class Merge(Rewrites):
    """Merge adapters into their base, into whichever form of it stays nearer to what was trained, and say how near."""

    verb: ClassVar[str] = "merge"
    arguments: ClassVar[tuple[str, ...]] = ("of", "folder")

    chain: tuple[str, ...] = Field((), min_length=2)
    "Stores of the model and the adapters on it, in any order."
    most: float = Field(0.05, gt=0)
    "Largest divergence accepted, nats per token; above it nothing is written."
    dtype: Literal["fp32", "bf16"] = "fp32"
    "Number type the merged weights are written in."

    def run(self) -> int:
        patient()
        import torch

        from stages.models.inference.device import arithmetic, number_type
        from stages.train import merge

        out, given = self.out_folder(), self.prepared(self.chain)
        with arithmetic(self.threads) as device:
            dtype = number_type(self.dtype, torch.device("cpu"))
            merged = merge.merge(given.chain, given.rows, given.tokenizer.pad_token_id, device, dtype)
            for base, value in merged.divergence.items():
                print(f"merged into {base}: {value:.6f} nats per token from what was trained")
            if merged.divergence[merged.base] > self.most:
                raise UsageError(
                    f"the merged model is {merged.divergence[merged.base]:.4f} nats per token away",
                    "keep the adapter beside its base, or raise `most`",
                )
            merged.model.to(dtype)
            merge.save(merged, given.chain, given.folder, out)
        print(f"{out}  (merged into {merged.base})")
        return 0


class DataCheck(Options):
    """Show what rows ask a model to learn, token by token, and examine them as train does; ends red where train would refuse.

    maetdol data-check runs/quickstart/sft-rows runs/quickstart/pretrain
    """

    verb: ClassVar[str] = "data-check"
    formerly: ClassVar[tuple[str, ...]] = ("label-doctor",)
    arguments: ClassVar[tuple[str, ...]] = ("of", "tokenizer")

    of: str
    "A store of TOKENS, CHAT or PAIR rows."
    tokenizer: str
    "The store of a tokenizer or model, or a Hugging Face tokenizer folder."
    template: str | None = None
    "File of a Jinja chat template, instead of the tokenizer's own."
    max_length: int | None = Field(None, ge=8)
    "Tokens of a conversation's context. Default: as train's, the longest one, 4,096 at most."
    trains: Literal["assistant", "completion"] = "assistant"
    "Every answer of a conversation, or the last one alone."
    holdout: float = Field(SHARE, ge=0, lt=1)
    "The share train holds out."
    rows: int = Field(3, ge=0)
    "Rows to show. Trained tokens are green, the others dim; without colours they stand between ⟦ and ⟧."
    colour: Literal["auto", "always", "never"] = "auto"
    "auto: colours on a terminal, unless NO_COLOR is set."
    most_lost: float = Field(0.5, ge=0, le=1)
    "Share of rows that may be longer than the context."

    def run(self) -> int:
        from stages.train import data_check

        reading = Reading(self.of)
        data, tokenizer, objective = self._data()
        colour = self.colour == "always" or (
            self.colour == "auto" and sys.stdout.isatty() and "NO_COLOR" not in os.environ
        )
        if not len(data):
            raise UsageError("no row is left to train on", "look at the store's ledger, or raise --max-length")
        rows = data_check.rows_of(data)[: self.rows * (2 if objective == "dpo" else 1)]
        findings = data_check.examine(data, tokenizer, objective, self.most_lost)
        reading.check()
        for row in rows:
            print(f"{data_check.view(row, tokenizer, colour)}\n{'-' * 40}")
        for finding in findings:
            print(
                f"{'FAULT' if finding.fault else 'ok   '}  {finding.check}: {finding.value}{f'  ({finding.fault}; {finding.hint})' if finding.fault else ''}"
            )
        return 1 if any(finding.fault for finding in findings) else 0

    def _data(self) -> tuple[Any, Any, str]:
        from stages.models.chat.templates import Chat, load_tokenizer
        from stages.train.objective.conversations import LONGEST, Conversations, Pairs
        from stages.train.objective.corpus import TokenRows

        store, brought = Store(self.of), store_of(self.tokenizer)
        folder = brought.artefact() if brought.manifest() else Path(self.tokenizer)
        tokenizer = load_tokenizer(folder, Path(self.template).read_text(encoding="utf-8") if self.template else None)
        if store.shape == "TOKENS":
            return TokenRows([store], None, self.holdout, len(tokenizer)), tokenizer, "clm"
        width, measured = self.max_length or LONGEST, self.max_length is None
        if store.shape == "CHAT":
            turns = 1 if self.trains == "completion" else None
            return (
                Conversations([store], Chat(tokenizer), width, self.holdout, pack=True, turns=turns, measured=measured),
                tokenizer,
                "sft",
            )
        if store.shape == "PAIR":
            return Pairs([store], Chat(tokenizer), width, self.holdout, measured), tokenizer, "dpo"
        raise SourceError(
            f"{self.of} holds {store.shape or 'no known rows'}", "give a store of tokens, conversations or pairs"
        )


class TrainPlan(Options):
    """Memory, time and cost of every train step of a recipe before it runs: does it fit, and if not, what would make it.

    maetdol train-plan configs/quickstart.yaml --card h100 --tokens 2e9 --price 2.5
    """

    verb: ClassVar[str] = "train-plan"
    arguments: ClassVar[tuple[str, ...]] = ("recipe",)

    recipe: str
    "A recipe with train steps."
    set: tuple[str, ...] = ()
    "Another value: `step.option=value`."
    card: str | None = None
    "A card by name (h200, h100, a100-80gb, a100-40gb, l40s, rtx 4090, rtx 3090, t4); default: the machine at hand."
    tokens: float | None = Field(None, gt=0)
    "Tokens of one pass over a step's rows, where the rows are not there yet."
    price: float | None = Field(None, ge=0)
    "Money per hour of the machine."

    def run(self) -> int:
        from pipeline.engine.recipe import load
        from stages.train.planning import outlook

        patient()
        recipe = load(self.recipe, list(self.set))
        reading = Reading(*outlook.stores_read(recipe))
        pages = list(outlook.pages(recipe, self.card, self.tokens, self.price))
        reading.check()
        for text, _ in pages:
            print(text)
        return 0 if all(fits for _, fits in pages) else 1


class ModelAdopt(Options):
    """Take a Hugging Face model or PEFT adapter in as a store, byte for byte: for train, evaluate, dpo, select, merge.

    maetdol model adopt models/Qwen3-0.6B runs/qwen3
    """

    verb: ClassVar[str] = "model adopt"
    arguments: ClassVar[tuple[str, ...]] = ("folder", "store")
    writes: ClassVar[str] = "store"

    folder: str
    "A folder with config.json (or adapter_config.json) and weights in safetensors, or hf://org/name@revision. No code in it is kept or run."
    store: str
    "The store to make."

    def run(self) -> int:
        from stages.models.inference import folder

        print(folder.adopt(self.folder, Store(self.store)))
        return 0


class AdaptersList(InRegistry):
    """List the adapters of a registry: method, objective, size, and the base each belongs to."""

    verb: ClassVar[str] = "adapters list"

    def run(self) -> int:
        from stages.train.adapters import HEAD

        rows = [HEAD, *(entry.row() for entry in self.adapters().entries())]
        widths = [max(map(len, column)) for column in zip(*rows)]
        print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows))
        return 0


class AdaptersAdd(InRegistry):
    """Put a trained adapter into a registry under a name."""

    verb: ClassVar[str] = "adapters add"
    arguments: ClassVar[tuple[str, ...]] = ("source", "name")
    writes: ClassVar[str] = "registry"

    source: str
    "Store of an adapter, or a PEFT adapter folder."
    name: str
    "Its name."

    def run(self) -> int:
        store = Store(self.source)
        entry = self.adapters().add(store.artefact() if store.manifest() else Path(self.source), self.name)
        print(f"{entry.link.path}  ({entry.link.card.get('method')}, {entry.size / 1e6:.2f} MB)")
        return 0


class AdaptersCompose(OnBase):
    """Make one adapter out of several that were trained on the same base, each with its weight."""

    verb: ClassVar[str] = "adapters compose"
    arguments: ClassVar[tuple[str, ...]] = ("name",)
    writes: ClassVar[str] = "registry"

    name: str
    "Name of the new adapter."
    of: tuple[str, ...] = Field(min_length=2)
    "Names of the adapters to compose."
    weights: tuple[float, ...] = ()
    "Weight of each; default: 1 each."
    how: Literal["cat", "linear", "svd", "ties", "dare_ties", "dare_linear", "magnitude_prune"] = "cat"
    "cat: their exact sum, of all their ranks together; linear: of equal ranks, a rough average; svd: their sum at one rank; ties (Yadav et al. 2023), dare (Yu et al. 2024): the larger changes alone."
    density: float = Field(0.5, gt=0, le=1)
    "ties, dare, magnitude_prune: share of the changes kept."

    def run(self) -> int:
        from stages.train.adapters import compose

        weights = self.weights or (1.0,) * len(self.of)
        if len(weights) != len(self.of):
            raise UsageError(f"{len(self.of)} adapters, but {len(weights)} weights", "give one weight for each")
        entry = compose(self.adapters(), chain_in(self.base), self.of, weights, self.how, self.name, self.density)
        print(f"{entry.link.path}  ({self.how} of {', '.join(f'{w:g} x {n}' for w, n in zip(weights, self.of))})")
        return 0


class AdaptersSwap(OnBase, Threaded):
    """Answer a question with one adapter after another on a base that is loaded once."""

    verb: ClassVar[str] = "adapters swap"
    arguments: ClassVar[tuple[str, ...]] = ("question",)

    question: str
    "What to ask."
    of: tuple[str, ...] = Field(min_length=1)
    "Names of the adapters, in the order they take turns."
    max_new_tokens: int = Field(64, ge=1)
    "Longest answer."

    def run(self) -> int:
        from stages.train.adapters import swapped

        patient()
        registry = self.adapters()
        generated = swapped(
            chain_in(self.base),
            [registry.entry(name) for name in self.of],
            [self.question],
            self.max_new_tokens,
            self.threads,
        )
        for name, [text] in zip(("(base alone)", *self.of), generated):
            print(f"{name}: {text}")
        return 0


class AdaptersMerge(InRegistry, OnHeldOut):
    """Merge a named adapter into its base, measured as `merge` does."""

    verb: ClassVar[str] = "adapters merge"
    arguments: ClassVar[tuple[str, ...]] = ("name", "of", "folder")
    writes: ClassVar[str] = "folder"

    name: str
    "The adapter."
    folder: str
    "Where the merged model is written; must not exist, or be empty."
    base: tuple[str, ...] = Field(min_length=1)
    "Stores of the model (and adapters) it was trained on."
    most: float = Field(0.05, gt=0)
    "Largest divergence accepted, nats per token."

    def run(self) -> int:
        path = str(self.adapters().entry(self.name).link.path)
        return Merge(
            of=self.of,
            folder=self.folder,
            chain=(*self.base, path),
            holdout=self.holdout,
            threads=self.threads,
            most=self.most,
        ).run()


class PeftBench(Trying):
    """Train every method on your own rows from the same base, and show score, memory, time and size in one table.

    maetdol peft-bench runs/quickstart/sft-rows bench --base runs/quickstart/pretrain --set objective=sft --set max_steps=50
    """

    verb: ClassVar[str] = "peft-bench"
    arguments: ClassVar[tuple[str, ...]] = ("of", "folder")

    methods: tuple[str, ...] = (
        "full",
        "freeze",
        "lora",
        "lora-rank-stabilised",
        "lora-dora",
        "qlora",
        "ia3",
        "prefix",
        "prompt",
        "ptuning",
    )
    "Which methods, each with the rate of its own unless `learning_rate` is set."

    def run(self) -> int:
        from pipeline.errors import did_you_mean
        from stages.train.planning.trials import METHODS

        for name in self.methods:
            if name not in METHODS:
                raise UsageError(f"no method is called {name!r}", did_you_mean(name, list(METHODS)))
        return self.trials({name: METHODS[name] for name in self.methods})


class Sweep(Trying):
    """Train with every combination of some options, side by side, and show them best first.

    maetdol sweep runs/quickstart/pack sweep --tokenizer runs/quickstart/tokenizer --over 'learning_rate=1e-3|3e-3' --over 'per_device_train_batch_size=8|16' --set max_steps=50
    """

    verb: ClassVar[str] = "sweep"
    arguments: ClassVar[tuple[str, ...]] = ("of", "folder")

    over: tuple[str, ...] = Field(min_length=1)
    "An option and its values: `learning_rate=1e-3|3e-3`."
    most: int = Field(64, ge=1)
    "Trials at most; more combinations are refused."

    def run(self) -> int:
        from stages.train.planning.trials import grid

        found = grid(self.over)
        if len(found) > self.most:
            raise UsageError(
                f"{len(found)} combinations, at most {self.most} are allowed", "leave some values out, or raise --most"
            )
        return self.trials({",".join(f"{name}={value}" for name, value in one.items()): one for one in found})


class Shrink(Rewrites):
    """Write a model in 8 or 4 bits, or with its smallest weights at zero, and say how far that takes it from what was trained.

    maetdol shrink runs/quickstart/sft-rows small --chain runs/quickstart/pretrain,runs/quickstart/sft-model --bits 4
    """

    verb: ClassVar[str] = "shrink"
    arguments: ClassVar[tuple[str, ...]] = ("of", "folder")

    chain: tuple[str, ...] = Field(min_length=1)
    "Stores of the model and the adapters on it; adapters are merged first."
    bits: int | None = Field(None, ge=4, le=8, multiple_of=4)
    "4: NF4, double quantisation; 8: LLM.int8."
    prune: float | None = Field(None, gt=0, lt=1)
    "Instead: share of each linear layer's weights set to zero, the smallest first."
    most: float = Field(0.1, gt=0)
    "Largest divergence accepted, nats per token; above it nothing is written."

    def run(self) -> int:
        patient()
        from stages.models.inference.device import arithmetic
        from stages.train import shrink

        out = self.out_folder()
        if (self.bits is None) == (self.prune is None):
            raise UsageError("shrink takes --bits or --prune", "give one of them")
        given = self.prepared(self.chain)
        measured = (given.rows, given.tokenizer.pad_token_id)
        with arithmetic(self.threads) as device:
            if self.bits is not None:
                made = shrink.quantised(given.chain, self.bits, *measured, device)
            else:
                made = shrink.pruned(given.chain, self.prune, *measured, device)  # type: ignore[arg-type]
            size = shrink.save(made, given.chain, given.folder, out, self.most)
        print(f"{out}  {size / 1e6:.2f} MB, {made.divergence:.6f} nats per token from what was trained")
        return 0


class Speculate(OnHeldOut):
    """Answer held-out prompts with a small model drafting for a large one, and check that not a token changes.

    maetdol speculate runs/x/sft-rows --target runs/x/large --draft runs/x/small
    """

    verb: ClassVar[str] = "speculate"
    arguments: ClassVar[tuple[str, ...]] = ("of",)

    target: tuple[str, ...] = Field(min_length=1)
    "Stores of the model that decides, and of adapters on it."
    draft: tuple[str, ...] = Field(min_length=1)
    "Stores of the model that drafts, of the same tokenizer."
    ahead: int = Field(5, ge=1)
    "Tokens drafted at a time (Leviathan et al.: 3 to 7)."
    max_new_tokens: int = Field(64, ge=1)
    "Longest answer."
    rows: int = Field(16, ge=1)
    "Prompts, at most."

    def run(self) -> int:
        patient()
        from stages.models.inference.device import arithmetic
        from stages.train import merge
        from stages.train.drafted import drafted

        rows = merge.held_conversations(self.of, self.holdout, self.rows)
        prompts = [
            row._replace(
                messages=row.messages[
                    : max((n for n, m in enumerate(row.messages) if m["role"] == "assistant"), default=None)
                ]
            )
            for row in rows
        ]
        with arithmetic(self.threads) as device:
            found = drafted(
                chain_in(self.target), chain_in(self.draft), prompts, self.max_new_tokens, self.ahead, device
            )
        if left := len(prompts) - found.prompts:
            print(f"{left} of {len(prompts)} prompts leave no room for an answer in the model's context")
        print(f"{found.same} of {found.prompts} answers are the same, token by token")
        print(
            f"{found.per_pass:.2f} tokens per forward pass of the large model; {found.alone:.2f} s without the draft, {found.together:.2f} s with it"
        )
        return 0 if found.same == found.prompts > 0 else 1
