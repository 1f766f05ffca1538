"""A run under DeepSpeed's engine (ZeRO 1 to 3, with what its configuration says of offloading), where deepspeed is installed.

The stage stays in charge of what it has options for: the optimizer, the rate, the clip, batch and accumulation, the number type;
`settled` refuses a configuration that says otherwise. Checkpoints are this room's own, in safetensors: DeepSpeed's are pickled. Every worker
writes its shards of weights and moments as they lie in DeepSpeed's optimizer (attributes of 0.19, not of a promised interface).

Run with deepspeed 0.19.8 on a CPU over gloo, two workers, ZeRO 1, 2 and 3 (tests/stages/train/workers/test_deepspeed.py). It has not run on a card,
and offloading, which needs one, has not run at all.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import UsageError
from stages.train.workers.sharded import Root
from stages.train.workers.world import Copied, World, optimizer_of

MOMENTS = ("exp_avg", "exp_avg_sq")


class Stepped:
    """DeepSpeed's optimizer as the loop sees it: rates can be set; the step itself is made by the engine (`Deep.clip`)."""

    def __init__(self, engine: Any):
        self.param_groups = engine.optimizer.param_groups

    def step(self) -> None: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...


class Deep(Copied):
    """The model under DeepSpeed's engine."""

    def __init__(self, stage: Any, model: Any, world: World, device: Any):
        import deepspeed

        super().__init__(model, world)
        config = settled(read(stage.deepspeed), stage, world.size)
        inner = optimizer_of(stage, self.parameters, stage.rate())
        os.environ.setdefault(
            "LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", str(world.size))
        )  # its CPU kernels ask for it by that name
        deepspeed.init_distributed(dist_backend="nccl" if device.type == "cuda" else "gloo", verbose=False)
        self.engine = deepspeed.initialize(model=Root(model), optimizer=inner, config=config, dist_init_required=False)[
            0
        ]
        self.whole = config["zero_optimization"]["stage"] < 3
        """Does every worker hold all weights (though not all of their gradients and moments)?"""

    def optimizer(self, stage: Any, learning_rate: float) -> Any:
        return Stepped(self.engine)

    def ask(self, question: Callable[..., Any], *given: Any) -> Any:
        return self.engine(question, *given)

    def idle(self, most: int, own: int) -> int:
        return most - own

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """DeepSpeed takes the mean over workers; the loop's loss is to be summed."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss * self.world.size, scale_wrt_gas=False)

    def share(self) -> None: ...

    def clip(self, most: float) -> float:
        """The whole step: the engine clips (at the stage's `clip`, see `settled`) in the middle of it."""
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    # -- what is kept ----------------------------------------------------------------------------------------------

    def _shards(self) -> list[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        """This worker's shards of the weights in fp32, each with Adam's numbers for it."""
        zero = self.engine.optimizer
        flat = zero.single_partition_of_fp32_groups if self.whole else zero.fp32_partitioned_groups_flat
        for weights in flat:
            state = zero.optimizer.state[weights]
            if not state:  # before the first step; made here so that there is something to go back to
                state |= {
                    "step": torch.zeros((), device=weights.device),
                    **{name: torch.zeros_like(weights) for name in MOMENTS},
                }
        return [(weights, zero.optimizer.state[weights]) for weights in flat]

    def state(self, optimizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        tensors = {}
        for number, (weights, numbers) in enumerate(self._shards()):
            tensors |= {f"weight.{number}": weights} | {
                f"{name}.{number}": numbers[name] for name in ("step", *MOMENTS)
            }
        return tensors, {}

    @torch.no_grad()
    def restore(self, optimizer: Any, tensors: dict[str, Any], plain: dict[str, Any]) -> None:
        from deepspeed.runtime.zero import GatheredParameters
        from deepspeed.utils import safe_get_full_fp32_param

        for number, (weights, numbers) in enumerate(self._shards()):
            weights.copy_(tensors[f"weight.{number}"])
            for name in ("step", *MOMENTS):
                numbers[name].copy_(tensors[f"{name}.{number}"])
        for parameter in self.parameters.values():  # what the forward pass reads
            value = safe_get_full_fp32_param(parameter)
            with GatheredParameters([parameter], modifier_rank=0, enabled=not self.whole):
                parameter.data.copy_(value)

    @torch.no_grad()
    def gather(self, whole: bool) -> None:
        """Put ordinary tensors on the CPU in the place of shards, on worker 0. A tied weight stays tied."""
        from deepspeed.runtime.zero import GatheredParameters

        made: dict[int, nn.Parameter] = {}
        for module in self.model.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is None:
                    continue
                if id(parameter) not in made:
                    with GatheredParameters([parameter], enabled=not self.whole):
                        kept = parameter.data.cpu().clone() if self.world.rank == 0 else parameter.data.new_empty(0)
                    made[id(parameter)] = nn.Parameter(kept, requires_grad=parameter.requires_grad)
                if self.world.rank == 0:
                    module._parameters[name] = made[id(parameter)]


# -- the configuration ---------------------------------------------------------------------------------------------


def read(path: str) -> dict[str, Any]:
    """The configuration in a file. UsageError where it is not a JSON object."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as fault:
        raise UsageError(f"{path} is not JSON: {fault}", "give DeepSpeed's configuration as a JSON file") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no JSON object", "give DeepSpeed's configuration as a JSON file")
    return found


def check(stage: Any, workers: int) -> None:
    """UsageError where deepspeed is not installed, or its configuration contradicts the stage's options."""
    config = read(stage.deepspeed)
    if workers < 2:
        raise UsageError(
            "deepspeed spreads a run over workers, and there is one",
            "set `workers` of this step in run.steps to 2 or more",
        )
    settled(config, stage, workers)
    if importlib.util.find_spec("deepspeed") is None:
        raise UsageError(
            "deepspeed is not installed",
            "`pip install deepspeed`, or use parallel: fsdp, which shards as ZeRO 3 does and needs no package",
        )


def settled(config: dict[str, Any], stage: Any, workers: int) -> dict[str, Any]:
    """The configuration as DeepSpeed gets it. UsageError where it says other than the stage; "auto" is always right."""
    per_step = stage.batch * stage.accumulation
    own = {
        "train_batch_size": ("batch x accumulation", per_step),
        "train_micro_batch_size_per_gpu": ("batch", stage.batch),
        "gradient_accumulation_steps": ("accumulation / workers", stage.accumulation / workers),
        "gradient_clipping": ("clip", stage.clip),
    }
    for name, (words, value) in own.items():
        if config.get(name, "auto") not in ("auto", value):
            raise UsageError(
                f"deepspeed's configuration has {name} {config[name]:g}, the step's {words} is {value:g}",
                f'set {name} to "auto", or leave it out',
            )
    for name, words in (
        ("optimizer", "optimizer, learning_rate, weight_decay"),
        ("scheduler", "schedule, warmup, floor"),
        ("amp", "dtype"),
    ):
        if name in config:
            raise UsageError(
                f"deepspeed's configuration has a section {name}",
                f"leave it out: the step's own options say it ({words})",
            )
    for name in ("fp16", "bf16", "torch_autocast"):
        if (config.get(name) or {}).get("enabled", "auto") not in ("auto", False):
            raise UsageError(
                f"deepspeed's configuration turns {name} on",
                "leave the section out: the step's dtype says what is computed in, and trained weights are kept in fp32",
            )
    zero = _without_auto(config.get("zero_optimization") or {})
    if zero.get("stage") not in (1, 2, 3):
        raise UsageError(
            f"deepspeed's zero_optimization has stage {zero.get('stage', 0)}",
            "set it to 1, 2 or 3; without ZeRO use parallel: data",
        )
    rest = {
        name: _without_auto(value)
        for name, value in config.items()
        if name not in own and name not in ("fp16", "bf16", "torch_autocast")
    }
    half = stage.dtype == "bf16" or (stage.dtype == "auto" and _card())
    return {
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1 << 30,
        **{name: value for name, value in rest.items() if value != "auto"},
        "zero_optimization": zero,
        "train_micro_batch_size_per_gpu": stage.batch,
        # The loop itself says which backward pass is the last of a step.
        "gradient_accumulation_steps": 1,
        "gradient_clipping": stage.clip,
        **({"torch_autocast": {"enabled": True, "dtype": "bfloat16"}} if half else {}),
    }


def _card() -> bool:
    return torch.cuda.is_available()


def _without_auto(value: Any) -> Any:
    """A section without its "auto"s: DeepSpeed's own defaults stand there."""
    if not isinstance(value, dict):
        return value
    return {name: _without_auto(part) for name, part in value.items() if part != "auto"}
