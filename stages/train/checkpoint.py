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

from pipeline.errors import DamagedStore
from pipeline.options import content_hash
from pipeline.storage.files import Local, disk_error
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.store import ARTEFACT, Store

INDEX = "passes/checkpoints.json"


class State(NamedTuple):
    """What a run needs to go on: named tensors, and plain JSON."""

    tensors: dict[str, Any]
    scalars: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training run in `sink`; `key` is the run's, so that another run's are never taken up."""

    def __init__(self, sink: Store, key: str, keep: int = 1):
        self.sink, self.key, self.keep = sink, key, max(keep, 1)

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
        self._put(step, state)
        self._keep(step)

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
    """The `state_dict()` that `flatten` took apart."""
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in plain["state"].items()}
    for full, tensor in tensors.items():
        if full.startswith(f"{prefix}."):
            _, index, name, *inner = full.split(".", 3)
            values = state.setdefault(int(index), {})
            (values.setdefault(name, {}) if inner else values)[inner[0] if inner else name] = tensor
    return {"state": state, "param_groups": plain["groups"]}
