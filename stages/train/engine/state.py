"""A training that is killed and goes on: what transformers' and TRL's trainers hold, kept as this house keeps checkpoints.

transformers' own checkpoints pickle the optimizer, the schedule and the random state, and a kill leaves half of one behind. Here
the same things go into one proven checkpoint (`stages.train.engine.checkpoint`): tensors in safetensors, the rest in JSON. Random state
is part of it, since TRL draws answers from it, and so is how often the prompts were shuffled, which transformers does not count.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline.storage.files import Local
from pipeline.storage.store import Store
from stages.train.engine.checkpoint import Checkpoints, State, flatten, unflatten
from stages.train.engine.shards import full, like
from stages.train.model import trainable
from stages.train.workers.world import World

log = logging.getLogger("maetdol.train")

STATE = "trainer_state.json"
"""Where transformers looks for the step, the epoch and the curve."""
PYTHON, NUMPY = 3, "MT19937"
"""Formats of the two generators' states, as the standard library and numpy name them."""


class Kept(NamedTuple):
    """Where a run keeps its checkpoints, and the one it goes on from, if any."""

    checkpoints: Checkpoints
    state: State | None

    @property
    def step(self) -> int:
        return self.state.scalars["step"] if self.state else 0

    def more(self) -> State:
        """What the caller had kept beside the trainer's state; empty where nothing was kept."""
        if self.state is None:
            return State({}, {})
        tensors = {name: tensor for name, tensor in self.state.tensors.items() if name.startswith("more.")}
        return State(
            {name.removeprefix("more."): tensor for name, tensor in tensors.items()}, self.state.scalars["more"]
        )


def kept(checkpoints: Checkpoints, world: World = World()) -> Kept:
    """The newest whole checkpoint of this run; what is half written is deleted, and both are said."""
    state = checkpoints.latest()
    found = Kept(checkpoints, state)
    lost = [step for step in checkpoints.steps() if step > found.step]
    if lost:
        log.warning(f"train: the checkpoint of step {lost[-1]} is damaged; going on from step {found.step}")
    if half := [] if world.rank else _half_written(checkpoints):
        log.warning(
            f"train: {', '.join(half)} was being written when the run was killed; it is thrown away, going on from step {found.step}"
        )
    world.wait()
    return found


def _half_written(checkpoints: Checkpoints) -> list[str]:
    """Names of what a killed run left between checkpoints, deleted. On a local disk alone, where the run holds its lock."""
    fs = checkpoints.sink.fs
    if not isinstance(fs, Local):
        return []
    listed = {f"step-{step:08d}" for step in checkpoints.steps()}
    passes = Path(fs.path("passes"))
    names = sorted(
        path.name for pattern in ("step-*", "writing-*") for path in passes.glob(pattern) if path.name not in listed
    )
    for name in names:
        fs.delete(f"passes/{name}")
    return names


def remembering(kind: type, found: Kept, more: Callable[[Any], State]) -> type:
    """`kind`, a trainer of transformers' or TRL's, that saves to and goes on from `found`; `more(trainer)` is what the caller wants kept with it."""

    class Remembering(kind):  # type: ignore[misc, valid-type]
        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            found.checkpoints.save(self.state.global_step, _taken(self, more(self)))

        def _get_train_sampler(self, *given: Any) -> Any:
            """TRL's sampler shuffles on from the epoch before: epochs that are done are drawn again and dropped."""
            sampler = super()._get_train_sampler(*given)
            for _ in range(found.state.scalars["epochs"] if found.state else 0):
                torch.randperm(sampler.num_samples, generator=sampler.generator)
            return sampler

        def _load_from_checkpoint(self, *given: Any, **named: Any) -> None:
            put_weights(self.model, found.state)

        def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
            if checkpoint is not None:
                scalars = found.state.scalars  # type: ignore[union-attr]
                state = unflatten("optimizer", found.state.tensors, scalars["optimizer"])  # type: ignore[union-attr]
                held = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
                for index, values in state["state"].items():
                    values |= {
                        name: like(value, held[index]) for name, value in values.items() if torch.is_tensor(value)
                    }
                self.optimizer.load_state_dict(state)
                self.lr_scheduler.load_state_dict(scalars["schedule"])

        def _load_scaler(self, checkpoint: Any) -> None:
            scaler = self.accelerator.scaler
            if checkpoint is not None and scaler is not None:
                scaler.load_state_dict(found.state.scalars["scaler"])  # type: ignore[union-attr]

        def _load_rng_state(self, checkpoint: Any) -> None:
            """The last thing transformers restores before the next step: the sums of an unfinished line of the curve come along."""
            if checkpoint is not None:
                _restore(self, found.state)

    return Remembering


def resume(trainer: Any, found: Kept, folder: str, steps: int) -> list[dict[str, Any]]:
    """Train to the end, from the checkpoint if there is one; the trainer's log of the whole run."""
    if found.state is not None and found.step >= steps:
        put_weights(trainer.model, found.state)
        return found.state.scalars["trainer"]["log_history"]
    if found.state is not None:
        Path(folder, STATE).write_text(
            json.dumps({**found.state.scalars["trainer"], "save_steps": trainer.args.save_steps}), encoding="utf-8"
        )
    trainer.train(resume_from_checkpoint=folder if found.state is not None else None)
    return trainer.state.log_history


@torch.no_grad()
def put_weights(model: Any, state: State | None) -> None:
    for name, parameter in trainable(model).items():
        parameter.copy_(like(state.tensors[f"weight.{name}"], parameter))  # type: ignore[union-attr]


def _taken(trainer: Any, more: State) -> State:
    """What the trainer has to know to go on from here."""
    tensors, plain = flatten("optimizer", trainer.optimizer.state_dict())
    tensors = {name: full(tensor) for name, tensor in tensors.items()}
    tensors |= {
        f"weight.{name}": full(parameter)
        for name, parameter in trainable(trainer.accelerator.unwrap_model(trainer.model)).items()
    }
    tensors |= {"random.torch": torch.get_rng_state()} | {
        f"more.{name}": tensor for name, tensor in more.tensors.items()
    }
    if torch.cuda.is_available():
        tensors |= {f"random.cuda.{n}": state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    _, words, *numbers = random.getstate()
    _, keys, *rest = np.random.get_state(legacy=True)
    scaler = trainer.accelerator.scaler
    scalars = {
        "optimizer": plain, "schedule": trainer.lr_scheduler.state_dict(), "scaler": scaler.state_dict() if scaler is not None else {},
        "trainer": dataclasses.asdict(trainer.state), "more": more.scalars, "epochs": int(trainer.state.epoch),
        "python": [list(words), *numbers], "numpy": [keys.tolist(), *rest],
        "passes": getattr(trainer, "_step", 0), "loss": float(trainer._tr_loss), "losses": trainer._total_loss_scalar,
        "logged": trainer._globalstep_last_logged, "metrics": {name: list(values) for name, values in _metrics(trainer).items()},
    }  # fmt: skip
    return State(tensors, scalars)


def _metrics(trainer: Any) -> dict[str, list[float]]:
    """Of TRL's trainers: what they have measured since the last line of the curve."""
    return getattr(trainer, "_metrics", {}).get("train", {})


def _restore(trainer: Any, state: Any) -> None:
    scalars = state.scalars
    trainer._step, trainer._total_loss_scalar, trainer._globalstep_last_logged = (
        scalars["passes"],
        scalars["losses"],
        scalars["logged"],
    )
    trainer._tr_loss = torch.tensor(scalars["loss"], device=trainer.args.device)
    for name, values in scalars["metrics"].items():
        _metrics(trainer)[name].extend(values)
    words, more = scalars["python"]
    random.setstate((PYTHON, tuple(words), more))
    keys, *rest = scalars["numpy"]
    np.random.set_state((NUMPY, np.asarray(keys, np.uint32), *rest))
    torch.set_rng_state(state.tensors["random.torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.tensors[f"random.cuda.{n}"] for n in range(torch.cuda.device_count())])


@contextmanager
def scratch_folder(sink: Store, rank: int) -> Iterator[str]:
    """Where a trainer may write: in the run's own store, so that what a kill leaves behind is cleared by the next try."""
    if not isinstance(sink.fs, Local):
        with tempfile.TemporaryDirectory(prefix="maetdol-train-") as folder:
            yield folder
        return
    folder = Path(sink.fs.path(f"passes/trainer-{rank:04d}"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
