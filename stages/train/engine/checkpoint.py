"""Checkpoints a training run can be resumed from, bit for bit, after a kill at any moment.

A checkpoint is a sub-store `passes/step-NNNNNNNN` whose artefact holds `state.safetensors` (trained weights, optimizer
state, random state) and `state.json` (step, counters, the loss curve so far). No pickle is written and none is read. The
receipt is written last and the list of checkpoints after that, so that a half-written one does not exist; the older one is
deleted only when the newer one is proven, so that a full disk costs at most the steps since.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import DamagedStore, UsageError
from pipeline.options import content_hash
from pipeline.storage.files import Local, disk_error
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.store import ARTEFACT, Store
from stages.train.workers.world import World

INDEX = "passes/checkpoints.json"


class State(NamedTuple):
    """What a run needs to go on: named tensors, and plain JSON."""

    tensors: dict[str, Any]
    scalars: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training run in `sink`; `key` is the run's, so that another run's are never taken up. Of several workers the
    first writes, and all read."""

    def __init__(self, sink: Store, key: str, keep: int = 1, world: World = World()):
        self.sink, self.key, self.keep, self.world = sink, key, max(keep, 1), world

    def steps(self) -> list[int]:
        """Steps with a proven checkpoint of this run, ascending."""
        index = self._index()
        return sorted(index["steps"]) if index.get("key") == self.key else []

    def latest(self) -> State | None:
        """The newest checkpoint whose bytes agree with their receipt, or None. A damaged one is passed over."""
        for step in reversed(self.steps()):
            try:
                return self._load(step)
            except DamagedStore:
                continue
        return None

    def save(self, step: int, state: State) -> None:
        """Write the checkpoint of `step`, list it, and delete those beyond `keep`. DiskFull leaves the older ones in place."""
        if self.world.rank == 0:
            self._put(step, state)
            self._keep(step)
        self.world.wait()

    def _put(self, step: int, state: State) -> None:
        from safetensors.torch import save_file

        store = self._store(step)
        parent = self.sink.fs.path("passes") if isinstance(self.sink.fs, Local) else None
        if parent:
            Path(parent).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="writing-", dir=parent) as folder:
            try:
                save_file(
                    {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()},
                    f"{folder}/state.safetensors",
                )
                Path(folder, "state.json").write_text(
                    json.dumps({**state.scalars, "step": step}, sort_keys=True), encoding="utf-8"
                )
            except OSError as fault:
                raise disk_error(fault, f"{store.path}") from None
            store.put_artefact(Path(folder), COLUMNS.empty_table(), key=self.key, stage="train")

    def _keep(self, step: int) -> None:
        kept = sorted({*self.steps(), step})
        self._list(kept[-self.keep :])
        for old in kept[: -self.keep]:
            self.sink.sub(name_of(old)).fs.delete("")

    def clear(self) -> None:
        """Delete every listed checkpoint: the run has ended, or its options have changed."""
        if not self.sink.fs.exists(INDEX):
            return
        steps = self._index().get("steps", [])
        self.sink.fs.delete(INDEX)
        for step in steps:
            self.sink.sub(name_of(step)).fs.delete("")

    def _index(self) -> dict[str, Any]:
        """The list as it stands; empty where there is none, or not a readable one."""
        if not self.sink.fs.exists(INDEX):
            return {}
        try:
            return dict(json.loads(self.sink.fs.read(INDEX)))
        except ValueError:
            return {}

    def _store(self, step: int) -> Store:
        """Where the checkpoint of `step` lies."""
        return self.sink.sub(name_of(step))

    def _list(self, steps: list[int]) -> None:
        self.sink.fs.write(INDEX, json.dumps({"key": self.key, "steps": steps}).encode())

    def _load(self, step: int) -> State:
        from safetensors.torch import load

        store = self._store(step)
        receipt = store.receipt(ARTEFACT)
        if receipt is None or receipt.key != self.key:
            raise DamagedStore(f"{store.path} has no receipt of this run", "run again: an older checkpoint is taken")
        folder = store.artefact()
        if {name: content_hash(folder / name) for name in receipt.files if (folder / name).exists()} != receipt.files:
            raise DamagedStore(f"{store.path} does not match its receipt", "run again: an older checkpoint is taken")
        return State(
            load((folder / "state.safetensors").read_bytes()),
            json.loads((folder / "state.json").read_text(encoding="utf-8")),
        )


class Parts(Checkpoints):
    """Checkpoints of which every worker writes its own part; one is listed when all have. Read by as many workers as wrote it."""

    def steps(self) -> list[int]:
        found = super().steps()
        parts = self._index().get("parts", 1) if found else self.world.size
        if parts != self.world.size:
            raise UsageError(
                f"the checkpoints were written by {parts} workers, this run has {self.world.size}",
                f"run with {parts} workers again, or delete `passes` in the step's folder to begin anew",
            )
        return found

    def latest(self) -> State | None:
        """The newest checkpoint of which every worker can read its part."""
        for step in reversed(self.steps()):
            try:
                state = self._load(step)
            except DamagedStore:
                state = None
            if all(self.world.gather(state is not None)):
                return state
        return None

    def save(self, step: int, state: State) -> None:
        self._put(step, state)
        self.world.wait()
        if self.world.rank == 0:
            self._keep(step)

    def _store(self, step: int) -> Store:
        return self.sink.sub(f"{name_of(step)}/part-{self.world.rank:04d}")

    def _list(self, steps: list[int]) -> None:
        self.sink.fs.write(INDEX, json.dumps({"key": self.key, "parts": self.world.size, "steps": steps}).encode())


def name_of(step: int) -> str:
    """The checkpoint's folder in the run's store."""
    return f"passes/step-{step:08d}"


def flatten(prefix: str, state: dict[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An optimizer's `state_dict()` as named tensors and JSON; `unflatten` is its inverse."""
    import torch

    tensors: dict[str, Any] = {}
    plain: dict[str, Any] = {"groups": state["param_groups"], "state": {}}
    for index, values in state["state"].items():
        rest = {}
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{prefix}.{index}.{name}"] = value
            elif isinstance(value, dict):  # bitsandbytes wraps its state, and shares tables among weights
                tensors |= {f"{prefix}.{index}.{name}.{inner}": tensor.clone() for inner, tensor in value.items()}
            else:
                rest[name] = value
        plain["state"][str(index)] = rest
    return tensors, plain


def unflatten(prefix: str, tensors: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """The `state_dict()` that `flatten` took apart, its entries in the order of their names: shards are dealt out and put together by
    all workers at once, one tensor after the other, and a safetensors file is read in another order in each process."""
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in plain["state"].items()}
    for full, tensor in sorted(tensors.items()):
        if full.startswith(f"{prefix}."):
            _, index, name, *inner = full.split(".", 3)
            values = state.setdefault(int(index), {})
            (values.setdefault(name, {}) if inner else values)[inner[0] if inner else name] = tensor
    return {"state": state, "param_groups": plain["groups"]}
