"""A model no worker holds whole: accelerate's FSDP2 (after ZeRO-3, Rajbhandari et al. 2020), which shards weights, gradients and moments.

Checkpoints hold whole tensors, put together from the shards by all workers, so that any number of workers can go on from them.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import nn

from pipeline.errors import UsageError

M_MMAP_THRESHOLD = -3
"""mallopt's number for it."""
BLOCK = 1 << 20
"""Bytes from which on a freed block goes back to the system at once, see `frugal`."""


def frugal(stage: Any, device: Any) -> None:
    """Before a model is made that a CPU worker is to hold in shards: let what is freed go back to the system (GNU's C library).

    By itself it raises the size below which it keeps freed blocks to the largest it has seen. Layers gathered and let go then stay
    in its hands, in pieces: 26 bytes a weight at the highest where 13 are needed, more than without shards (tests/bench/train).
    """
    if device.type != "cpu" or stage.parallel != "fsdp":
        return
    try:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, BLOCK)
    except (AttributeError, OSError, TypeError):
        pass


def settings(stage: Any, model: Any) -> dict[str, Any]:
    """transformers' arguments for the shards of `stage`: by layer. UsageError where the model does not say what its layers are."""
    if stage.parallel != "fsdp":
        return {}
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    layers = sorted(getattr(inner, "_no_split_modules", None) or [])
    if not layers:
        raise UsageError(f"{type(inner).__name__} has no list of layers to shard by", "use parallel: data")
    return {"fsdp": True, "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": layers}}


def shard_on_processors(trainer: Any) -> None:
    """accelerate shards on cards alone; let it do the same in a group of processors, as the tests of this house run it."""
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state = trainer.accelerator.state
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    state.distributed_type = DistributedType.FSDP
    trainer.is_fsdp_enabled = True


def summed(model: nn.Module) -> None:
    """Let shards on processors add their gradients up and divide them themselves: gloo takes no mean."""
    from torch.distributed.fsdp import FSDPModule

    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.set_force_sum_reduction_for_comms(True)


def reshard(model: nn.Module) -> None:
    """Let go what a forward pass gathered; after a backward pass it is let go by itself."""
    if hasattr(model, "reshard"):
        model.reshard()  # type: ignore[operator]


def full(tensor: Any) -> Any:
    """The whole of a tensor that may be in shards; all workers together."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def like(whole: Any, held: Any) -> Any:
    """`whole` cut as `held` is, where that is in shards and of the same shape."""
    if not hasattr(held, "device_mesh") or whole.shape != held.shape:
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(held.device), held.device_mesh, held.placements)


@torch.no_grad()
def gather(model: nn.Module, whole: bool, rank: int) -> None:
    """Put ordinary tensors on the CPU in the place of shards, on worker 0; the others only give theirs. A tied weight stays tied."""
    reshard(model)
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if not hasattr(parameter, "full_tensor") or not (whole or parameter.requires_grad):  # type: ignore[union-attr]
                continue
            if id(parameter) not in made:
                found = full(parameter)
                kept = found.cpu() if rank == 0 else found.new_empty(0)
                made[id(parameter)] = nn.Parameter(kept, requires_grad=parameter.requires_grad)  # type: ignore[union-attr]
            if rank == 0:
                module._parameters[name] = made[id(parameter)]
