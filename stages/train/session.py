"""One training run from its inputs to its artefact: what is read, what is built, what is written at the end."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.engine.stage import versions
from pipeline.errors import UsageError
from pipeline.options import digest
from pipeline.storage.files import Local
from pipeline.storage.ledger import Receipt
from pipeline.storage.shards import Clock
from pipeline.storage.store import ARTEFACT, Store
from stages.models.chat.template_lock import check_lock, lock_of
from stages.models.chat.templates import Chat, copy_tokenizer, load_tokenizer, write_stops
from stages.models.inference.chain import CARD, ChainLink, assemble, chain_of, four_bit_of, open_link
from stages.models.inference.device import arithmetic, number_type
from stages.models.inference.generate import tokenizer_of
from stages.train import data_check
from stages.train.adapters import base_name, save_adapter
from stages.train.embeddings import added, own_tokenizer
from stages.train.engine import trainer
from stages.train.engine.checkpoint import Checkpoints, Parts
from stages.train.engine.schedule import StepPlan, plan
from stages.train.engine.shards import frugal
from stages.train.merge import folded
from stages.train.model import TrainableModel, build, scratch, trainable
from stages.train.objective.conversations import LONGEST, Conversations, Pairs
from stages.train.objective.corpus import TokenRows
from stages.train.objective.judging import judge_of
from stages.train.objective.losses import Likelihood
from stages.train.objective.masked import Masked, mask_id
from stages.train.objective.preferences import Kto, OddsRatio, Paired, Preference, Referred
from stages.train.objective.reward import Reward
from stages.train.objective.rl import Prompts
from stages.train.planning import budget as budgets
from stages.train.planning.counted import counted
from stages.train.planning.gauge import Gauge, utilisation
from stages.train.workers.levers import spread
from stages.train.workers.world import World

FORMAT = 1


class Session:
    """A run in one process (one of `world`). Use as a context: it fixes threads and random state inside."""

    def __init__(self, job: Any, world: World = World()):
        self.stage, self.world = job.stage.shared_by(world.size), world
        self.inputs, self.sink, self.key = job.inputs, job.sink, job.key
        self.planned: budgets.Requirements | None = None
        self.took: dict[str, Any] = {}
        self.seed = self.stage.seed if self.stage.seed is not None else self.inputs.seed

    def __enter__(self) -> Session:
        self._stack = ExitStack()
        self.device = self._stack.enter_context(arithmetic(self.stage.threads, self.seed))
        return self

    def __exit__(self, *fault: Any) -> None:
        self._stack.close()

    def train(self, alive: Callable[[], bool], on_step: Callable[[dict[str, Any]], None]) -> Receipt | None:
        """Train to the end and put the artefact; its receipt on worker 0, None on the others."""
        clock = Clock()
        self.chain = base_chain(self.inputs)
        self.tokenizer, self.chat = self._tokenizer()
        data = self._data()
        if not len(data):
            self._nothing(data)
        if (self.stage.load_best_model_at_end or self.stage.early_stopping_patience) and not data.held_rows:
            raise UsageError("no row is held out, so nothing says which model is best", "raise holdout")
        self.findings = (
            [data_check.width(data), *data_check.lost(data, self.stage.most_lost)]
            if self.stage.objective == "rl"
            else data_check.examine(data, self.tokenizer, self.stage.objective, self.stage.most_lost)
        )
        data_check.refuse(self.findings)
        self.dtype = number_type(self.stage.dtype, self.device)
        torch.manual_seed(self.seed)
        steps = plan(len(data), self.stage.global_batch_size, self.stage.num_train_epochs, self.stage.max_steps)
        if self.stage.objective == "rl":
            return self._reinforce(data, alive, on_step, clock)
        self.planned = self._plan(data, steps)
        gauge = Gauge(self.device)
        frugal(self.stage, self.device)
        built = build(
            self.stage, self.chain, self.tokenizer, data.width, self.dtype, built_on(self.stage, self.device), self.added
        )  # fmt: skip
        objective = self._objective(data)
        checkpoints = self._checkpoints()
        watch = Watch(self.planned, steps, gauge, on_step)
        done = trainer.train(
            self.stage, built.model, objective, steps, self.seed, self.dtype, checkpoints, self.world, alive=alive, on_step=watch,
            first=lambda ask: self._with_model(ask, data, objective),
        )  # fmt: skip
        self.findings += [data_check.CheckResult(*finding) for finding in done.first]
        spent = self._spent(clock)
        if self.world.rank:
            return None
        self.took = watch.took()
        if self.stage.eval_steps:
            self.took |= {"lowest_loss_after": done.best}
        receipt = self._put(built, data, steps._replace(steps=done.steps), done.history, done.visits > 0, spent)
        checkpoints.clear()
        return receipt

    def _spent(self, clock: Clock) -> dict[str, float]:
        """Wall-clock seconds of this run, and CPU seconds of all its workers."""
        spent = clock.lap()
        return {**spent, "cpu_seconds": round(sum(self.world.gather(spent["cpu_seconds"])), 3)}

    def _checkpoints(self, kind: type[Checkpoints] = Checkpoints) -> Checkpoints:
        found = kind(self.sink, self.key, self.stage.save_total_limit, self.world)
        if self.world.rank == 0 and not found.steps():
            found.clear()
        return found

    def _reinforce(self, data: Any, alive: Any, on_step: Any, clock: Clock) -> Receipt | None:
        from stages.train.model import reinforced_base
        from stages.train.objective.rl import reinforce

        per_step = max(1, self.stage.global_batch_size // self.stage.rl.num_generations)
        steps = plan(len(data), per_step, self.stage.num_train_epochs, self.stage.max_steps)
        model, config = reinforced_base(self.stage, self.chain, self.tokenizer, data.width, self.device)
        judge = judge_of(self.stage, self.inputs["reward"], self.device, self.dtype)
        # Each worker draws answers of its own, so each keeps its own random state.
        checkpoints = self._checkpoints(Checkpoints if self.world.size == 1 else Parts)
        done = reinforce(
            self.stage,
            model,
            config,
            data,
            self.chat,
            judge,
            steps,
            self.seed,
            self.chain,
            checkpoints,
            alive,
            on_step,
            self.world,
        )
        used, spent = np.any(self.world.gather(done.used), axis=0), self._spent(clock)
        if self.world.rank:
            return None
        built = TrainableModel(done.model, done.adapter, [done.adapter] if done.adapter else [])
        receipt = self._put(built, data, steps, done.history, used, spent)
        checkpoints.clear()
        return receipt

    def _plan(self, data: Any, steps: StepPlan) -> budgets.Requirements:
        """What the run needs. UsageError where that is more than there is."""
        if self.chain:
            shape = counted(json.loads((self.chain[0].path / "config.json").read_text(encoding="utf-8")))
            shape = shape._replace(
                vocabulary=max(shape.vocabulary, len(self.tokenizer)), added=len(self.added.ids) if self.added else 0
            )
        else:
            shape = budgets.shape_of(scratch(self.stage, self.tokenizer, data.width, empty=True).config)
        found = budgets.budget(
            self.stage, shape, data.width, token_count(data, steps), budgets.machine(threads=self.stage.threads)
        )
        found = spread(found, self.stage, self.world.size)
        budgets.refuse(found, self.stage, data.width, bool(self.chain), self.world.size)
        return found

    def _with_model(self, ask: trainer.Ask, data: Any, objective: Any) -> list[data_check.CheckResult]:
        """Before the first step: what the objective measures of the model it begins with, and the doctor's checks that ask the model."""
        pad, where = self.tokenizer.pad_token_id or 0, (self.device, self.dtype)
        found: list[data_check.CheckResult] = []
        if isinstance(objective, Referred):
            objective.refer(ask, self.stage.per_device_train_batch_size, self.world)
        if isinstance(objective, Paired):
            found = ask(data_check.sides_kept, objective, data, pad, *where)
        elif self.stage.objective in ("clm", "sft"):
            found = [ask(data_check.documents_apart, data, pad, *where)]
        data_check.refuse(found)
        return found

    # -- what goes in ----------------------------------------------------------------------------------------------

    def _tokenizer(self) -> tuple[Any, Chat]:
        given = self.inputs.one("tokenizer")
        template = Path(self.stage.template).read_text(encoding="utf-8") if self.stage.template else None
        folder = given.artefact() if given else tokenizer_of(self.chain)
        self.tokenizer_folder = folder
        tokenizer = load_tokenizer(folder, template)
        chat = Chat(tokenizer, template)
        own = own_tokenizer(self.chain) if given else None
        self.added = added(tokenizer, own) if own is not None else None
        # Under an extended tokenizer the same text is other tokens: the template is held to the lock under the base's own.
        held = chat if self.added is None else Chat(own, chat.template)
        for link in self.chain:
            check_lock(link.card.get("template_lock"), held, f"the base in {link.path}")
        return tokenizer, chat

    def _data(self) -> Any:
        stores, stage = self.inputs["of"], self.stage
        if stage.objective in ("clm", "mlm"):
            check_packed_with(stores, self.inputs.one("tokenizer"), self.chain)
            return TokenRows(stores, stage.max_length, stage.holdout, len(self.tokenizer))
        width, measured = stage.max_length or reach(self.chain), stage.max_length is None
        if stage.objective == "sft":
            turns = 1 if stage.sft.trains == "completion" else None
            return Conversations(
                stores, self.chat, width, stage.holdout, pack=stage.sft.packing, turns=turns, measured=measured
            )
        if stage.objective == "rl":
            return Prompts(stores, self.chat, width, stage.rl.max_completion_length, stage.holdout, measured)
        return Pairs(stores, self.chat, width, stage.holdout, measured)

    def _nothing(self, data: Any) -> None:
        """Nothing is left to train on: say why, with the count of each reason."""
        reasons = data.ledger(np.zeros(0, bool))["reason"].value_counts().to_pylist()
        counts = ", ".join(f"{entry['counts']} {entry['values']}" for entry in reasons) or "no rows at all"
        raise UsageError(
            f"no row is left to train on ({counts})",
            "raise max_length or pack shorter rows where they are over_context; lower `holdout`; look at the store with `maetdol inspect`",
        )

    def _objective(self, data: Any) -> Any:
        pad = self.tokenizer.pad_token_id
        if self.stage.objective == "mlm":
            hidden = {"share": self.stage.mlm.mlm_probability, "next_sentence": self.stage.mlm.next_sentence}
            return Masked(data, self.tokenizer, self.device, seed=self.seed, **hidden)
        if self.stage.objective == "reward":
            return Reward(data, pad, self.device)
        stage = self.stage
        if stage.objective == "dpo":
            sharper = {"smoothing": stage.dpo.label_smoothing, "gamma": stage.dpo.simpo_gamma}
            return Preference(
                data,
                pad,
                self.device,
                loss_type=stage.dpo.loss_type,
                beta=stage.pull(),
                sft_weight=stage.dpo.sft_weight,
                **sharper,
            )
        if stage.objective == "kto":
            weights = {"desirable": stage.kto.desirable_weight, "undesirable": stage.kto.undesirable_weight}
            return Kto(data, pad, self.device, beta=stage.pull(), **weights)
        if stage.objective == "orpo":
            return OddsRatio(data, pad, self.device, beta=stage.pull())
        fixed = stage.objective == "clm" or stage.sft.packing
        learned = {
            "teacher": self._teacher(),
            "share": stage.distillation.share,
            "temperature": stage.distillation.temperature,
        }
        return Likelihood(data, pad if pad is not None else 0, self.device, fixed_width=fixed, **learned)

    def _teacher(self) -> Any:
        """The model to learn from, or None. UsageError where it does not read this run's tokens as this run writes them."""
        stores = self.inputs["teacher"]
        if not stores:
            return None
        chain = chain_of([open_link(store.artefact(), store.receipt(ARTEFACT).content_hash) for store in stores])
        check_lock(chain[-1].card.get("template_lock"), self.chat, f"the teacher in {chain[-1].path}")
        return assemble(chain, dtype=self.dtype, device=self.device, four_bit=four_bit_of(chain))

    # -- what comes out --------------------------------------------------------------------------------------------

    def _put(
        self,
        built: TrainableModel,
        data: Any,
        steps: StepPlan,
        history: list[dict[str, Any]],
        used: np.ndarray,
        spent: dict[str, float],
    ) -> Receipt:
        parent = self.sink.fs.path("passes") if isinstance(self.sink.fs, Local) else None
        with tempfile.TemporaryDirectory(prefix="writing-", dir=parent) as folder:
            out = Path(folder)
            trained = sum(p.numel() for p in trainable(built.model).values())
            if self.stage.objective in ("mlm", "reward") or self.stage.method == "embeddings":
                built = folded(built)
            if built.adapter:
                save_adapter(built, out, base_name(self.inputs["base"]))
            else:
                built.model.save_pretrained(out)
            copy_tokenizer(self.tokenizer_folder, self.tokenizer, out)
            if self.stage.objective not in ("mlm", "reward"):
                write_stops(self.chat, out)
            lines = [json.dumps(line, sort_keys=True) for line in history]
            (out / "history.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            card = self._card(built, steps, data, trained)
            (out / CARD).write_text(
                json.dumps(card, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8"
            )
            ledger = data.ledger(used)
            notes = {
                name: card[name]
                for name in ("objective", "method", "steps", "parameters", "trained_parameters", "device", "dtype")
            }
            notes |= {
                "template": card["template_lock"]["hash"],
                "first": history[0],
                "last": history[-1],
                "workers": self.world.size,
            }
            notes["left_out"] = left_out(ledger)
            notes["rows"] = f"rows of {data.width:,} tokens" + (
                ", the longest there is (max_length is not set)" if self.stage.max_length is None else ""
            )
            if self.added is not None:
                notes["tokens_added"] = len(self.added.ids)
            notes["batch"] = self.stage.rows_of_a_step(self.world.size)
            notes["took"] = {**self.took, "seconds": round(spent["seconds"], 1)}
            notes["plan"] = self.planned.notes() if self.planned else {}
            notes["doctor"] = {finding.check: finding.value for finding in self.findings}
            return self.sink.put_artefact(
                out,
                ledger,
                key=self.key,
                stage="train",
                notes=notes,
                **spent,
                versions=versions(self.stage.needs()),
            )

    def _card(self, built: TrainableModel, steps: StepPlan, data: Any, trained: int) -> dict[str, Any]:
        whole = sum(p.numel() for p in built.model.parameters())
        return {
            "format": FORMAT,
            "kind": "adapter" if built.adapter else "model",
            "objective": self.stage.objective,
            "method": self.stage.method,
            "base": [link.hash for link in self.chain] if built.adapter else [],
            "made_from": [link.hash for link in self.chain],
            "template_lock": lock_of(self.chat),
            "holdout": held_share(self.stage, self.inputs["of"]),
            "seed": self.seed,
            "steps": steps.steps,
            # What it can be asked for: where the longest row decided, as far as a longer one could have gone.
            "width": self.stage.max_length or reach(self.chain)
            if self.chain and self.stage.objective not in ("clm", "mlm")
            else data.width,
            "document_bos": data.begins_with(self.tokenizer.bos_token_id)
            if self.stage.objective in ("clm", "mlm")
            else inherited(self.chain),
            "tokenizer": tokenizer_hash(self.inputs.one("tokenizer"), self.chain),
            **({"mask_id": mask_id(self.tokenizer)} if self.stage.objective == "mlm" else {}),
            "parameters": whole,
            "trained_parameters": trained,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
            "options": digest(self.stage.model_dump(mode="json")),
        }


def built_on(stage: Any, device: Any) -> Any:
    """Where the model is put together: where it is trained, or on the host when the card will hold shards of it only. In 4 bits always
    where it is trained: what bitsandbytes keeps beside the packed weights does not move with their shards."""
    return torch.device("cpu") if stage.parallel == "fsdp" and stage.method != "qlora" else device


def base_chain(inputs: Any) -> list[ChainLink]:
    """The base as a chain of artefacts; empty for a model from scratch."""
    links = [open_link(store.artefact(), store.receipt(ARTEFACT).content_hash) for store in inputs["base"]]
    return chain_of(links) if links else []


def left_out(ledger: Any) -> dict[str, int]:
    """How many rows were left out, by reason; held-out and not-reached ones are not lost."""
    counts = {entry["values"]: entry["counts"] for entry in ledger["reason"].value_counts().to_pylist()}
    return {
        why: count
        for why, count in sorted(counts.items(), key=str)
        if why not in (None, "train.held_out", "train.not_reached")
    }


def held_share(stage: Any, stores: Sequence[Store]) -> float:
    """The share that was held out: what `pack` was told where its rows carry the mark, the stage's own elsewhere."""
    if stage.objective not in ("clm", "mlm") or not all(
        store.shards() and "heldout" in store.schema.names for store in stores
    ):
        return stage.holdout
    packed = [
        (store.manifest() or {}).get("identity", {}).get("options", {}).get("keyed", {}).get("holdout")
        for store in stores
    ]
    return min((share for share in packed if share is not None), default=stage.holdout)


def inherited(chain: Sequence[ChainLink]) -> bool:
    """Did the documents a chain's model was pretrained on begin with the begin-of-sequence token? True where not known."""
    return bool(chain[0].card.get("document_bos", True)) if chain else True


def reach(chain: Sequence[ChainLink]) -> int:
    """Tokens of a row at most where nobody says: as far as the model at the bottom of a chain reaches, and no more than `LONGEST`."""
    config = json.loads((chain[0].path / "config.json").read_text(encoding="utf-8")) if chain else {}
    return min(LONGEST, int(config.get("max_position_embeddings") or LONGEST))


def check_packed_with(stores: Sequence[Store], tokenizer: Store | None, chain: Sequence[ChainLink] = ()) -> None:
    """UsageError where token shards were packed with another tokenizer than the one given, or than the base was trained with."""
    wanted = tokenizer_hash(tokenizer, chain)
    name = tokenizer.name if tokenizer else "the base's own"
    for store in stores:
        packed = [entry["content_hash"] for entry in (store.manifest() or {}).get("lineage", {}).get("tokenizer", [])]
        if wanted and packed and wanted not in packed:
            raise UsageError(
                f"{store.name} was packed with another tokenizer than {name}",
                "give the tokenizer the shards were packed with, or pack again",
            )


def tokenizer_hash(tokenizer: Store | None, chain: Sequence[ChainLink]) -> str | None:
    """Content hash of the tokenizer's store: the one given, or the one the base remembers; None where it is not known."""
    if tokenizer is not None:
        return tokenizer.content_hash
    return next((link.card["tokenizer"] for link in reversed(chain) if link.card.get("tokenizer")), None)


class Watch:
    """Hears of every step: hands it on to the bar, and keeps how fast steps went."""

    def __init__(
        self, planned: budgets.Requirements, steps: StepPlan, gauge: Gauge, on_step: Callable[[dict[str, Any]], None]
    ):
        self.planned, self.gauge, self.on_step = planned, gauge, on_step
        self.per_step = planned.tokens / steps.steps
        self.rates: list[float] = []

    def __call__(self, line: dict[str, Any]) -> None:
        self.rates.append(self.per_step / max(line["seconds"], 1e-9))
        self.on_step(line)

    def took(self) -> dict[str, Any]:
        """Median rate of the steps of this process, the share of the peak that is, and the highest memory."""
        rate = float(np.median(self.rates)) if self.rates else 0.0
        share = utilisation(self.planned.work_per_token, rate, budgets.peak_of(self.planned.machine))
        return {
            "tokens_per_second": round(rate, 1),
            "mfu": round(share, 4) if share else None,
            "peak_memory": self.gauge.peak(),
        }


def token_count(data: Any, steps: StepPlan) -> int:
    """Tokens of the whole run: the mean row of a sample, times the rows it comes to."""
    some = data_check.rows_of(data)
    per_row = sum(len(row.ids) for row in some) / max(1, len(some))
    return round(per_row * steps.positions)
