"""What the verbs around training have in common: options declared once, and the steps they all begin with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from pipeline.errors import UsageError
from pipeline.flags import flat
from pipeline.options import Options
from pipeline.storage.sinks import BESIDE
from pipeline.storage.store import Store
from stages.models.holdout import SHARE
from stages.models.inference.chain import chain_in
from stages.models.inference.device import patient
from stages.models.inference.folder import store_of

if TYPE_CHECKING:
    from stages.train.adapters import Registry


class Threaded(Options):
    """A verb that computes."""

    threads: int = Field(2, ge=1)
    "CPU threads."


class OnHeldOut(Threaded):
    """A verb that asks a model the conversations `train` held out."""

    of: str
    "A CHAT store; its held-out conversations are asked."
    holdout: float = Field(SHARE, gt=0, le=1)
    "The share train held out."


class Prepared(NamedTuple):
    """A chain of artefacts, its tokenizer and the folder that is from, and the rows to measure on."""

    chain: Any
    tokenizer: Any
    folder: Path
    rows: Sequence[Any]


class Rewrites(OnHeldOut):
    """A verb that writes a chain out as another model, measured on held-out conversations."""

    writes: ClassVar[str] = "folder"

    folder: str
    "Where that model is written; must not exist, or be empty."
    rows: int = Field(default=64, ge=1)
    "Conversations to measure on, at most."

    def out_folder(self) -> Path:
        """Where to write. UsageError where something stands there."""
        out = Path(self.folder)
        if out.exists() and not (out.is_dir() and all(path.name in BESIDE for path in out.iterdir())):
            raise UsageError(f"{self.folder} is there already", "give a folder that does not exist")
        return out

    def prepared(self, stores: Sequence[str]) -> Prepared:
        """Everything there is to read, for the chain in `stores`."""
        from stages.models.chat.templates import Chat, load_tokenizer
        from stages.models.inference.generate import tokenizer_of
        from stages.train import merge
        from stages.train.session import reach

        chain = chain_in(stores)
        folder = tokenizer_of(chain)
        tokenizer = load_tokenizer(folder)
        conversations = merge.held_conversations(self.of, self.holdout, self.rows)
        return Prepared(chain, tokenizer, folder, merge.rows_of(conversations, Chat(tokenizer), reach(chain)))


class InRegistry(Options):
    """A verb on a registry of named adapters."""

    registry: str = "adapters"
    "Folder of the registry."

    def adapters(self) -> Registry:
        from stages.train.adapters import Registry

        return Registry(self.registry)


class OnBase(InRegistry):
    """A verb on several adapters of a registry and the model they belong to."""

    base: tuple[str, ...] = Field(min_length=1)
    "Stores of the model (and adapters) they were trained on."


class Trying(Options):
    """A verb that trains many times on the same rows."""

    writes: ClassVar[str] = "folder"

    of: str
    "Rows to train on."
    folder: str
    "Where trials and the table are written."
    base: tuple[str, ...] = ()
    "Stores of the model, and of adapters on it, to start from."
    tokenizer: str | None = None
    "Store of the tokenizer; needed without a base."
    set: tuple[str, ...] = ()
    "Options of every trial, as `option=value`: objective, max_steps, lora.r, ..."
    seed: int = 17
    "Of all trials."
    pool: Literal["inline", "ray"] = "inline"
    "One trial after another in this process, or side by side in Ray's workers."
    workers: int = Field(1, ge=1)
    "Trials at a time, with Ray."
    gpus: float = Field(0, ge=0)
    "GPUs of a trial, with Ray."

    def trials(self, options: dict[str, dict[str, Any]]) -> int:
        """Run `options` by name and print the table."""
        from pipeline.engine.pool import Inline, OnRay
        from pipeline.engine.stage import Inputs
        from stages.train import Train
        from stages.train.planning import trials

        patient()
        stores = {
            "of": [Store(self.of)],
            "base": [store_of(path) for path in self.base],
            "tokenizer": [Store(self.tokenizer)] if self.tokenizer else [],
        }
        inputs = Inputs({port: found for port, found in stores.items() if found}, self.seed)
        settings = trials.grid(self.set)
        if len(settings) > 1:
            raise UsageError(
                "--set gives every trial one value of an option", "vary an option by `maetdol sweep --over`"
            )
        common = settings[0]
        common = flat(Train.under_current_names(common, "train"))
        stages, faults = [], []
        for name, more in options.items():
            sink = Store(f"{self.folder}/{name}")
            try:
                stages.append(
                    trials.Trial(
                        name, Train.build({**trials.shared(common, more, options), **more}, f"train.{name}"), sink
                    )
                )
            except UsageError as fault:
                stages.append(trials.Trial(name, None, sink, fault=fault.message))
                faults.append(fault)
        if len(faults) == len(stages):
            raise faults[0]
        pool = OnRay(self.workers) if self.pool == "ray" else Inline()
        try:
            found = trials.run(stages, inputs, pool, self.gpus)
        finally:
            pool.close()
        page = trials.table(found)
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        Path(self.folder, "table.md").write_text(page + "\n", encoding="utf-8")
        print(page)
        print(f"{self.folder}/table.md")
        return 0
