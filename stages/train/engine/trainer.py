"""Every objective but rl on transformers' `Trainer`, which runs the steps; what accelerate is configured for (several workers,
shards, number types) comes with it. What stays ours is what a row is, which rows a step sees, and what is kept between steps.

Resuming is exact because the order of rows and the random state of a step are functions of (seed, step), and everything else (weights,
optimizer, schedule, curve) is one proven checkpoint (`stages.train.engine.state`). Several workers share the rows of a step
(`global_batch_size`), and every token weighs the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, TrainerCallback

from pipeline.errors import InfraError, WorkError
from stages.models.inference.attention import attend
from stages.train.engine import shards
from stages.train.engine.arguments import reporting, settings
from stages.train.engine.best import BestLoss
from stages.train.engine.checkpoint import Checkpoints, State
from stages.train.engine.schedule import Positions, StepPlan, hash_of
from stages.train.engine.state import Kept, kept, remembering, resume, scratch_folder
from stages.train.objective.losses import LossSums, Objective
from stages.train.workers.world import World

Ask = Callable[..., Any]
"""`ask(question, *given)`: `question(model, *given)` with the model ready to compute, all workers together."""


class Root(nn.Module):
    """What the `Trainer` trains: a question asked of the model runs inside its forward pass, where accelerate casts, gathers and synchronises."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, question: Callable[..., Any], *given: Any) -> Any:
        return question(self.model, *given)


class Passes(Dataset):
    """The forward passes of a run on one worker, in order: (step, pass of the step, row numbers). Passes without rows fill a step up, so that
    every worker makes as many."""

    def __init__(self, objective: Objective, plan: StepPlan, batch: int, seed: int, world: World):
        self.objective, self.plan, self.batch, self.world = objective, plan, batch, world
        self.positions = Positions(objective.rows, seed)
        self.per_step = math.ceil(math.ceil(min(plan.per_step, plan.positions) / world.size) / batch)
        self.step, self.rows = -1, list[int]()
        """The step rows were last laid out for, and all its rows, of all workers."""

    def __len__(self) -> int:
        return self.plan.steps * self.per_step

    def __getitem__(self, at: int) -> tuple[int, int, list[int]]:
        step, number = divmod(at, self.per_step)
        if step != self.step:
            self.step, self.rows = step, [self.positions[position] for position in self.plan.of(step)]
            self.objective.begin(step)
            # Alike lengths in one forward pass waste little on padding; the order is a function of the rows alone.
            self.rows.sort(key=lambda row: (-self.objective.length(row), row))
        return step, number, self.mine()[number]

    def mine(self) -> list[list[int]]:
        """This worker's passes of the step rows were last laid out for."""
        rows = self.rows[self.world.rank :: self.world.size]
        return [rows[number * self.batch : (number + 1) * self.batch] for number in range(self.per_step)]


class PlannedTrainer(Trainer):
    """A `Trainer` that visits `passes` and asks `objective` for the loss."""

    loss_is_scaled_for_ga = True

    def __init__(
        self, stage: Any, model: Root, arguments: TrainingArguments, objective: Objective, passes: Passes, world: World,
        alive: Callable[[], bool], on_step: Callable[[dict[str, Any]], None], first: Callable[[Ask], list[Any]],
    ):  # fmt: skip
        super().__init__(model, arguments, train_dataset=passes, eval_dataset=range(objective.held_rows))  # type: ignore[arg-type]
        self.stage, self.objective, self.passes, self.world = stage, objective, passes, world
        self.alive, self.on_step, self.first = alive, on_step, first
        self.history: list[dict[str, Any]] = []
        self.begun: list[Any] = []
        """What `first` gave."""
        self.visits = np.zeros(objective.rows, dtype=np.int32)
        """Times each row was trained on; kept with the checkpoints, and held against the plan at the end."""
        self.weight_seen = 0
        self.best = BestLoss(
            stage.load_best_model_at_end, stage.early_stopping_patience, stage.early_stopping_threshold
        )
        self.remove_callback(PrinterCallback)
        self.add_callback(Beginning(self))
        torch.set_num_threads(stage.threads)  # accelerate chooses a number of its own for groups on processors

    def ask(self, question: Callable[..., Any], *given: Any) -> Any:
        """`question(model, *given)` without gradient and dropout, all workers together."""
        training = self.model.training  # type: ignore[union-attr]
        self.model.eval()  # type: ignore[union-attr]
        with torch.no_grad():
            answer = self.model(question, *given)  # type: ignore[misc]
        shards.reshard(self.model)  # type: ignore[arg-type]
        self.model.train(training)  # type: ignore[union-attr]
        return answer

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.args.fsdp and not self.is_fsdp_enabled:
            shards.shard_on_processors(self)

    # -- rows in ---------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(self.passes, batch_size=1, collate_fn=lambda passes: passes[0])

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        if inputs[1] == 0:
            self.begin_step(inputs[0])
        return super().training_step(model, inputs, num_items_in_batch)

    def begin_step(self, step: int) -> None:
        """A step begins: its random state, and the weight its losses are divided by."""
        if not self.alive():
            raise InfraError("the driver of this training is gone", "run again: it goes on from the last checkpoint")
        self._began = time.monotonic()
        self._total = sum(self.objective.weight(row) for row in self.passes.rows)
        self._sums: dict[str, torch.Tensor] = {}
        self.objective.prepare(self.ask, self.passes.rows, self.passes.mine(), self.world)
        torch.manual_seed(hash_of(self.args.seed, step, self.world.rank))

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:  # type: ignore[override]
        """This pass's share of the step's mean loss, times the number of workers: accelerate takes the mean over them."""
        rows = inputs[2]
        measured = model(self.objective.measure, rows or self.passes.rows[:1])
        if not rows:
            return measured.loss * 0.0
        add(self._sums, measured)
        return measured.loss * (self.world.size / self._total)

    # -- lines out -------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A step has ended: its line, for the curve, the bar and whatever `report_to` names."""
        if "grad_norm" not in logs:
            return
        rows, step = self.passes.rows, self.state.global_step
        found = self._gathered(self._sums, self._total)
        self._refuse_nan(found["loss"], step, rows)
        if self.accelerator.scaler is None:  # with fp16 the scaler steps over a gradient that overflowed
            self._refuse_nan(logs["grad_norm"], step, rows)
        np.add.at(self.visits, rows, 1)
        self.weight_seen += self._total
        line = {"step": step, "loss": found.pop("loss"), "learning_rate": logs["learning_rate"], "gradient_norm": logs["grad_norm"]}  # fmt: skip
        line |= {"weight": self.weight_seen, **found}
        if step % self.stage.logging_steps == 0 or step in (1, self.state.max_steps):
            self.history.append({"kind": "train", **line})
        seconds = time.monotonic() - self._began
        self.on_step({**line, "steps": self.state.max_steps, "seconds": seconds, "tokens": self._total})
        self.report(line | {"tokens_per_second": self._total / max(seconds, 1e-9)})

    def report(self, line: dict[str, Any]) -> None:
        """Numbers of a line to what `report_to` names."""
        on_step = {name: value for name, value in line.items() if isinstance(value, (int, float))}
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, on_step)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:  # type: ignore[override]
        """Mean loss (and what else the objective measures) over the held-out rows, into the curve."""
        found = {f"eval_{name}": value for name, value in self._held_out().items()}
        if found:
            self.report(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        if found:
            self.best.measured(self.state.global_step, found["eval_loss"], self.model)
            self.control.should_training_stop |= self.best.enough
        return found

    def _held_out(self) -> dict[str, float]:
        batch, count = self.stage.per_device_train_batch_size, self.objective.held_rows
        count = min(count, self.stage.eval_rows) if self.stage.eval_rows else count
        if not count:
            return {}
        sums: dict[str, torch.Tensor] = {}
        weight = torch.zeros((), dtype=torch.float64, device=self.args.device)
        for at in range(0, count, batch * self.world.size):
            mine = range(at + self.world.rank * batch, min(at + (self.world.rank + 1) * batch, count))
            measured = self.ask(self.objective.measure, list(mine) or [0], True)
            if len(mine):
                weight += measured.weight
                add(sums, measured)
        total = float(self.world.sum(weight))
        found = self._gathered(sums, total)
        self.history.append({"kind": "held_out", "step": self.state.global_step, "weight": int(total), **found})
        return found

    def _gathered(self, sums: dict[str, torch.Tensor], total: float) -> dict[str, float]:
        """Sums over all workers, divided by the weight."""
        names = sorted(sums) if self.world.size == 1 else sorted(set().union(*self.world.gather(sorted(sums))))
        zero = torch.zeros((), dtype=torch.float64, device=self.args.device)
        packed = self.world.sum(torch.stack([sums[name] if name in sums else zero for name in names]))
        return {name: float(value) / total for name, value in zip(names, packed.tolist())}

    def _refuse_nan(self, value: float, step: int, rows: Sequence[int]) -> None:
        if abs(value) < float("inf"):
            return
        ids = ", ".join(self.objective.row_ids(rows[:4]))
        raise WorkError(
            f"the loss of step {step} is not a number (rows {ids}{', ...' if len(rows) > 4 else ''})",
            f"lower learning_rate (now {self.args.learning_rate:g}) or max_grad_norm, look at these rows with `maetdol inspect`; the last checkpoint is kept",
        )

    # -- between steps ---------------------------------------------------------------------------------------------

    def more(self) -> State:
        """What a checkpoint holds beside the trainer's own state."""
        best = self.best.remembered()
        tensors = {"visits": torch.from_numpy(self.visits), **best.tensors, **self.objective.remembered()}
        plain = {"history": self.history, "weight_seen": self.weight_seen, "begun": self.begun, "best": best.scalars}
        return State(tensors, plain)

    def go_on(self, found: Kept) -> None:
        """Take up what `more` gave."""
        tensors, more = found.more()
        self.visits = tensors.pop("visits").numpy().copy()
        self.best.recall(tensors, more["best"], self.model)
        self.objective.recall(tensors)
        self.history, self.weight_seen, self.begun = more["history"], more["weight_seen"], more["begun"]


class Done(NamedTuple):
    """A run at its end."""

    history: list[dict[str, Any]]
    visits: np.ndarray
    """How often each row was trained on."""
    first: list[Any]
    """What was found before the first step."""
    steps: int
    """Fewer than planned where the held-out loss fell no longer."""
    best: int
    """After how many steps the held-out loss was lowest."""


class Beginning(TrainerCallback):
    """Before the first step, with the model as accelerate holds it."""

    def __init__(self, trainer: PlannedTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.fsdp and args.use_cpu:
            shards.summed(self.trainer.model)  # type: ignore[arg-type]
        if state.global_step == 0:
            self.trainer.begun = self.trainer.first(self.trainer.ask)


def trainer_of(
    stage: Any, model: Any, objective: Objective, plan: StepPlan, seed: int, dtype: Any, world: World, folder: str, found: Kept, *given: Any,
    **more: Any,
) -> PlannedTrainer:  # fmt: skip
    """The trainer of a run of `model`, which goes on from `found`; `given` and `more` are `PlannedTrainer`'s."""
    passes = Passes(objective, plan, stage.per_device_train_batch_size, seed, world)
    arguments = TrainingArguments(
        **settings(stage, plan, seed, folder, dtype),
        per_device_train_batch_size=stage.per_device_train_batch_size,
        gradient_accumulation_steps=passes.per_step,
        eval_strategy="steps",
        eval_steps=stage.eval_steps or plan.steps,
        eval_on_start=found.state is None,
        report_to=reporting(stage),
        **shards.settings(stage, model),
    )
    kind = remembering(PlannedTrainer, found, lambda trainer: trainer.more())
    return kind(stage, Root(model), arguments, objective, passes, world, *given, **more)


def train(
    stage: Any, model: Any, objective: Objective, plan: StepPlan, seed: int, dtype: Any, checkpoints: Checkpoints, world: World = World(),
    alive: Callable[[], bool] = lambda: True, on_step: Callable[[dict[str, Any]], None] = lambda line: None,
    first: Callable[[Ask], list[Any]] = lambda ask: [],
) -> Done:  # fmt: skip
    """Train `model` in place to the end, from the last checkpoint if there is one.

    `first(ask)` runs before the first step of a run, not when one goes on; what it gives (plain JSON) is kept. `alive()` false (the driver is gone) ends the process's part with InfraError; `on_step` is called after every step. WorkError when a loss is
    not a number: the last checkpoint stays.
    """
    prepared(stage, model)
    found = kept(checkpoints, world)
    with scratch_folder(checkpoints.sink, world.rank) as folder:
        trainer = trainer_of(stage, model, objective, plan, seed, dtype, world, folder, found, alive, on_step, first)
        if found.state is not None:
            trainer.go_on(found)
        resume(trainer, found, folder, found.step if trainer.best.enough else plan.steps)
    trainer.best.put(trainer.model)
    done = max(trainer.state.global_step, found.step)
    if stage.parallel == "fsdp":
        shards.gather(model, stage.comes_whole(), world.rank)
    check_visits(trainer.visits, min(plan.positions, done * plan.per_step))
    return Done(trainer.history, trainer.visits, trainer.begun, done, trainer.best.step)


def prepared(stage: Any, model: Any) -> None:
    """Set `model` to the stage's attention, recomputing of activations and compiling."""
    attend(model, stage.attn_implementation)
    if stage.use_liger_kernel:
        from transformers.integrations.liger import apply_liger_kernel

        apply_liger_kernel(model.get_base_model() if hasattr(model, "peft_config") else model, None)
    if stage.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if stage.torch_compile:
        inner = model.get_base_model() if hasattr(model, "peft_config") else model
        getattr(inner, inner.base_model_prefix).compile()


def check_visits(visits: np.ndarray, positions: int) -> None:
    """WorkError unless every row was trained on as often as `positions` rows in whole epochs say: no epoch skipped, no row twice."""
    full, rest = divmod(positions, len(visits))
    more = int((visits == full + 1).sum())
    if more == rest and int((visits == full).sum()) == len(visits) - rest:
        return
    row = int(np.argmax(np.abs(visits - full)))
    raise WorkError(
        f"rows were not trained on as planned: {full} times each and {rest} once more, but row {row} was trained on {int(visits[row])} times",
        "delete the step's folder and run it again: its checkpoints do not belong to this order of rows",
    )


def add(sums: dict[str, torch.Tensor], measured: LossSums) -> None:
    """Add detached sums, in float64 so that their order does not show."""
    for name, value in {"loss": measured.loss, **measured.sums}.items():
        value = value.detach().double()
        sums[name] = sums[name] + value if name in sums else value
