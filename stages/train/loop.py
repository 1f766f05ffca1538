"""The training loop: steps, checkpoints, the loss curve, one worker or several.

Three choices make resuming exact. The order of rows, the learning rate and the random state of a step are functions of
(seed, step), so nothing about them has to be remembered. What is remembered (weights, optimizer, curve) is one proven
checkpoint. And several workers share the rows of a step, not the other way round: `batch` x `accumulation` rows make a step
however many there are, and gradients are summed after it, each token weighing the same.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from pipeline.errors import InfraError, WorkError
from stages.train.checkpoint import Checkpoints, State
from stages.train.objective.losses import LossSums, Objective, Positions
from stages.train.schedule import StepPlan, rate
from stages.train.workers.world import Copied, World


class Loop:
    """One run of an objective over a model."""

    def __init__(
        self,
        stage: Any,
        model: Any,
        objective: Objective,
        plan: StepPlan,
        seed: int,
        device: Any,
        dtype: Any,
        world: World = World(),
    ):
        """`model` is a model, or what holds it over several workers (`stages.train.workers.world`)."""
        self.held = model if isinstance(model, Copied) else Copied(model, world)
        self.stage, self.model, self.objective, self.plan = stage, self.held.model, objective, plan
        self.seed, self.device, self.dtype, self.world = seed, device, dtype, world
        self.learning_rate = stage.rate()
        self.optimizer = self.held.optimizer(stage, self.learning_rate)
        self.positions = Positions(objective.rows, seed)
        self.history: list[dict[str, Any]] = []
        self.visits = np.zeros(objective.rows, dtype=np.int32)
        """Times each row was trained on; kept with the checkpoints, and held against the plan at the end."""
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.step = 0
        self.weight_seen = 0

    def run(
        self, checkpoints: Checkpoints, alive: Callable[[], bool], told: Callable[[dict[str, Any]], None]
    ) -> list[dict[str, Any]]:
        """Train to the end, from the last checkpoint if there is one; returns the loss curve.

        `alive()` false (the driver is gone) ends the process's part with InfraError; `told` hears of every step.
        WorkError when a loss is not a number: the last checkpoint stays.
        """
        self.model.train()
        if self.stage.checkpointing:
            self.model.activation_checkpointing_enable({"use_reentrant": False})
        if self.stage.compile:
            inner = self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model
            getattr(inner, inner.base_model_prefix).compile()
        self._resume(checkpoints)
        while self.step < self.plan.steps:
            if not alive():
                raise InfraError(
                    "the driver of this training is gone", "run again: it goes on from the last checkpoint"
                )
            self._advance(told)
            last = self.step == self.plan.steps
            if last or (self.stage.eval_every and self.step % self.stage.eval_every == 0):
                self._evaluate()
            if last or self.step % self.stage.save_every == 0:
                self._save(checkpoints)
        check_visits(self.visits, self.plan.positions)
        return self.history

    # -- one step --------------------------------------------------------------------------------------------------

    def _advance(self, told: Callable[[dict[str, Any]], None]) -> None:
        began = time.monotonic()
        torch.manual_seed(hash_of(self.seed, self.step, self.world.share))
        rows = [
            self.positions[at]
            for at in range(
                self.step * self.plan.per_step, min((self.step + 1) * self.plan.per_step, self.plan.positions)
            )
        ]
        self.objective.begin(self.step)
        total = sum(self.objective.weight(row) for row in rows)
        # Alike lengths in one forward pass waste little on padding; the order is a function of the rows alone.
        rows.sort(key=lambda row: (-self.objective.length(row), row))
        mine = rows[self.world.share :: self.world.shares]
        sums: dict[str, torch.Tensor] = {}
        own = passes(len(mine), self.stage.batch)
        idle = self.held.idle(passes(-(-len(rows) // self.world.shares), self.stage.batch), own)
        for number in range(own):
            measured = self._measure(mine[number * self.stage.batch : (number + 1) * self.stage.batch])
            self.held.backward(self.scaler.scale(measured.loss / total), number + 1 == own + idle)
            add(sums, measured)
        for number in range(idle):
            self.held.backward(self._measure(rows[:1]).loss * 0.0, number + 1 == idle)
        found = self._gathered(sums, total)
        self._refuse_nan(found["loss"], rows)
        np.add.at(self.visits, rows, 1)
        norm = self._apply()
        if not self.scaler.is_enabled():  # with fp16 the scaler steps over a gradient that overflowed
            self._refuse_nan(norm, rows)
        self.weight_seen += total
        self.step += 1
        line = {
            "step": self.step,
            "loss": found.pop("loss"),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": norm,
        }
        line |= {"weight": self.weight_seen, **found}
        if self.step % self.stage.log_every == 0 or self.step == self.plan.steps or self.step == 1:
            self.history.append({"kind": "train", **line})
        told({**line, "steps": self.plan.steps, "seconds": time.monotonic() - began, "tokens": total})

    def _measure(self, rows: Sequence[int], held: bool = False) -> LossSums:
        with computed_in(self.device, self.dtype):
            return self.held.ask(self.objective.measure, rows, held)

    def _apply(self) -> float:
        factor = rate(self.step, self.plan.steps, self.stage.schedule, self.stage.warmup, self.stage.floor)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * factor
        self.held.share()
        self.scaler.unscale_(self.optimizer)
        norm = self.held.clip(self.stage.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _gathered(self, sums: dict[str, torch.Tensor], total: float) -> dict[str, float]:
        """Sums over all workers, divided by the weight; rounded to what fp32 holds."""
        names = sorted(sums) if self.world.size == 1 else sorted(set().union(*self.world.gather(sorted(sums))))
        if not names:
            return {"loss": 0.0}
        zero = torch.zeros((), dtype=torch.float64, device=self.device)
        packed = self.world.sum(torch.stack([sums[name].double() if name in sums else zero for name in names]))
        return {name: float(value) / total for name, value in zip(names, packed.tolist())}

    def _refuse_nan(self, value: float, rows: Sequence[int]) -> None:
        if value == value and abs(value) != float("inf"):
            return
        ids = ", ".join(self.objective.row_ids(rows[:4]))
        raise WorkError(
            f"the loss of step {self.step + 1} is not a number (rows {ids}{', ...' if len(rows) > 4 else ''})",
            f"lower learning_rate (now {self.learning_rate:g}) or clip, look at these rows with `maetdol inspect`; the last checkpoint is kept",
        )

    # -- held-out rows ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _evaluate(self) -> None:
        """Mean loss (and what else the objective measures) over the held-out rows, into the curve."""
        count = (
            min(self.objective.held_rows, self.stage.eval_rows) if self.stage.eval_rows else self.objective.held_rows
        )
        if not count:
            return
        self.model.eval()
        sums: dict[str, torch.Tensor] = {}
        weight = torch.zeros((), dtype=torch.float64, device=self.device)
        mine = range(self.world.share * self.stage.batch, count, self.stage.batch * self.world.shares)
        for at in mine:
            measured = self._measure(list(range(at, min(at + self.stage.batch, count))), held=True)
            weight += measured.weight
            add(sums, measured)
        for _ in range(self.held.idle(passes(count, self.stage.batch * self.world.shares), len(mine))):
            self._measure([0], held=True)
        total = float(self.world.sum(weight))
        self.model.train()
        self.history.append(
            {"kind": "held_out", "step": self.step, "weight": int(total), **self._gathered(sums, total)}
        )

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def _resume(self, checkpoints: Checkpoints) -> None:
        state = checkpoints.latest()
        if state is None:
            self._evaluate()
            return
        self.held.restore(self.optimizer, state.tensors, state.scalars["optimizer"])
        self.step, self.weight_seen, self.history = (
            state.scalars["step"],
            state.scalars["weight_seen"],
            state.scalars["history"],
        )
        self.visits = state.tensors["visits"].numpy().copy()
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state.scalars["scaler"])

    def _save(self, checkpoints: Checkpoints) -> None:
        tensors, plain = self.held.state(self.optimizer)
        if tensors:
            tensors["visits"] = torch.from_numpy(self.visits)
            scalars = {
                "optimizer": plain,
                "weight_seen": self.weight_seen,
                "history": self.history,
                "scaler": self.scaler.state_dict(),
            }
            checkpoints.save(self.step, State(tensors, scalars))
        self.world.wait()


def computed_in(device: Any, dtype: Any) -> Any:
    """The block in which matrices are multiplied in `dtype`; fp32 is left alone."""
    return torch.autocast(
        device.type, dtype=dtype if dtype != torch.float32 else torch.bfloat16, enabled=dtype != torch.float32
    )


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


def hash_of(*parts: int) -> int:
    """A seed (63 bits) from numbers."""
    import hashlib

    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest(), "little") >> 1


def add(sums: dict[str, torch.Tensor], measured: LossSums) -> None:
    """Add detached sums, in float64 so that their order does not show."""
    for name, value in {"loss": measured.loss, **measured.sums}.items():
        value = value.detach().double()
        sums[name] = sums[name] + value if name in sums else value


def passes(rows: int, batch: int) -> int:
    """Forward passes that `rows` rows take."""
    return -(-rows // batch)


class Teller:
    """Writes how far a run is to a small file for the driver's bar, at most once a second. Nothing reads it back."""

    def __init__(self, path: str | None):
        self.path, self.told = path, 0.0

    def __call__(self, line: dict[str, Any]) -> None:
        now = time.monotonic()
        if self.path is None or (now - self.told < 1.0 and line["step"] < line["steps"]):
            return
        self.told = now
        part = f"{self.path}.part-{os.getpid()}"
        with open(part, "w", encoding="utf-8") as out:
            json.dump(line, out)
        os.replace(part, self.path)
