"""A model no worker holds whole: weights, gradients and optimizer state in shards (FSDP2), layers split over some workers (tensor parallel).

torch's `fully_shard` gathers a layer's weights when it is computed and lets them go after; its gradients come back summed and cut.
The optimizer never sees any of this: it works on this worker's shards as ordinary tensors, which is right because AdamW takes each
number by itself. What is saved is therefore the same shards, a file a worker, and resuming is as exact as with one worker.

Tensor parallel splits the linear layers of a layer by torch's `parallelize_module`, as the architecture's own plan in transformers
says; embeddings, norms and the head are computed by all. Pipeline parallel is not built.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pipeline.errors import DamagedStore, UsageError
from pipeline.storage.store import Store
from stages.train.checkpoint import INDEX, Checkpoints, State, name_of
from stages.train.workers.world import Copied, World

SPLIT = {"colwise": "out", "rowwise": "in"}
"""Words of transformers' plans that say by which side a linear layer is split."""
SUMMED = "replicated_with_grad_allreduce"
"""The plans' word for weights that all workers hold, each seeing the gradient of its own heads alone (Qwen3's norms)."""


M_MMAP_THRESHOLD = -3
"""mallopt's number for it."""
BLOCK = 1 << 20
"""Bytes from which on a freed block goes back to the system at once, see `frugal`."""


def frugal(stage: Any, device: Any) -> None:
    """Before a model is made that a CPU worker is to hold in shards: let what is freed go back to the system (GNU's C library).

    By itself it raises the size below which it keeps freed blocks to the largest it has seen. Layers gathered and let go then stay
    in its hands, in pieces: 26 bytes a weight at the highest where 13 are needed, more than without shards (tests/bench/train).
    """
    if device.type != "cpu" or not (stage.deepspeed or stage.parallel == "fsdp"):
        return
    try:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, BLOCK)
    except (AttributeError, OSError, TypeError):
        pass


class Root(nn.Module):
    """The outermost module: a question asked of the model runs inside its forward pass, where its weights are gathered."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, question: Callable[..., Any], *given: Any) -> Any:
        return question(self.model, *given)


def held(stage: Any, model: Any, world: World, device: Any) -> Copied:
    """What holds `model` while it is trained, as the stage's options say."""
    if stage.deepspeed:
        from stages.train.workers.deepspeed import Deep

        return Deep(stage, model, world, device)
    return Sharded(model, world, device) if stage.parallel == "fsdp" else Copied(model, world)


class Sharded(Copied):
    """The model in shards over all workers."""

    def __init__(self, model: Any, world: World, device: Any):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        self.model, self.world = model, world
        mesh = init_device_mesh(device.type, (world.shares, world.tensor), mesh_dim_names=("data", "tensor"))
        self.tensor_group = mesh.get_group("tensor")
        self.summed = split(model, mesh["tensor"]) if world.tensor > 1 else ()
        root: Any = Root(model)
        for part in (*layers_of(model), root):
            fully_shard(part, mesh=mesh["data"])
        for part in root.modules():
            if isinstance(part, FSDPModule):
                # The loss is divided by the weight of the whole step, so gradients are summed; gloo knows no other way.
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)
        self.root = root
        self.sharded = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.parameters = {
            name: nn.Parameter(parameter.to_local().detach()) for name, parameter in self.sharded.items()
        }

    def ask(self, question: Callable[..., Any], *given: Any) -> Any:
        """`question(model, *given)`, all workers together: each must ask as often as the others."""
        answer = self.root(question, *given)
        if not torch.is_grad_enabled():
            self.root.reshard()  # after a backward pass it does so by itself
        return answer

    def idle(self, most: int, own: int) -> int:
        return most - own

    def share(self) -> None:
        """Hand this worker's part of the summed gradient to the shards the optimizer knows."""
        for name, parameter in self.sharded.items():
            shard = self.parameters[name]
            shard.data = parameter.to_local().detach()
            shard.grad = None if parameter.grad is None else parameter.grad.to_local()
            parameter.grad = None
            if shard.grad is not None and name.endswith(self.summed):
                torch.distributed.all_reduce(shard.grad, group=self.tensor_group)

    def clip(self, most: float) -> float:
        """As `clip_grad_norm_`; a number that several workers hold counts once."""
        total = torch.zeros((), dtype=torch.float64, device=next(iter(self.parameters.values())).device)
        for name, shard in self.parameters.items():
            own = self.world.counts or "tensor" in (self.sharded[name].device_mesh.mesh_dim_names or ())
            if shard.grad is not None and own:
                total += shard.grad.double().square().sum()
        if self.world.size > 1:
            torch.distributed.all_reduce(total)
        norm = float(total.sqrt())
        factor = min(1.0, most / (norm + 1e-6))
        for shard in self.parameters.values():
            if shard.grad is not None:
                shard.grad.mul_(factor)
        return norm

    def state(self, optimizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._own(optimizer)

    def restore(self, optimizer: Any, tensors: dict[str, Any], plain: dict[str, Any]) -> None:
        super().restore(optimizer, tensors, plain)
        self.root.reshard()  # what was gathered before is no longer so

    @torch.no_grad()
    def gather(self, whole: bool) -> None:
        """Put ordinary tensors on the CPU in the place of shards, on worker 0; the others only give theirs. A tied weight stays tied."""
        from torch.distributed.tensor import DTensor

        self.root.reshard()
        made: dict[int, nn.Parameter] = {}
        for module in self.model.modules():
            for name, parameter in list(module._parameters.items()):
                if not isinstance(parameter, DTensor) or not (whole or parameter.requires_grad):
                    continue
                if id(parameter) not in made:
                    full = parameter.full_tensor()
                    kept = full.cpu() if self.world.rank == 0 else full.new_empty(0)
                    made[id(parameter)] = nn.Parameter(kept, requires_grad=parameter.requires_grad)
                if self.world.rank == 0:
                    module._parameters[name] = made[id(parameter)]


def backbone_of(model: Any) -> Any:
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    return getattr(inner, inner.base_model_prefix)


def layers_of(model: Any) -> list[Any]:
    """The model's layers. UsageError where it has none by the usual name."""
    layers = getattr(backbone_of(model), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UsageError(f"{type(backbone_of(model)).__name__} has no list of layers to shard by", "use parallel: data")
    return list(layers)


def split(model: Any, mesh: Any) -> tuple[str, ...]:
    """Split the linear layers over `mesh` by transformers' plan; endings of the names of weights whose gradients are to be summed."""
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    config, workers = model.config, mesh.size()
    plan = getattr(config, "base_model_tp_plan", None) or {}
    words = {place.removeprefix("layers.*."): word for place, word in plan.items() if place.startswith("layers.*.")}
    strange = sorted({word for word in words.values() if word not in SPLIT and word != SUMMED})
    if not words or strange:
        why = f"its plan asks for {', '.join(strange)}" if strange else "transformers has no plan for it"
        raise UsageError(f"{config.model_type} cannot be split over workers ({why})", "leave out `tensor`")
    for what, size in (
        ("heads", config.num_attention_heads),
        ("key/value heads", config.num_key_value_heads),
        ("inner width", config.intermediate_size),
    ):
        if size % workers:
            raise UsageError(
                f"{what} of {size} do not split over {workers} workers", f"choose `tensor` as a divisor of {size}"
            )
    styles = {"out": ColwiseParallel, "in": RowwiseParallel}
    for layer in layers_of(model):
        parallelize_module(
            layer, mesh, {place: styles[SPLIT[word]]() for place, word in words.items() if word in SPLIT}
        )
    return tuple(f"{place}.weight" for place, word in words.items() if word == SUMMED)


class Parts(Checkpoints):
    """Checkpoints of which every worker writes its own part; one is listed when all have. Read by as many workers as wrote it."""

    def __init__(self, sink: Store, key: str, keep: int, world: World):
        super().__init__(sink, key, keep)
        self.world = world

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
