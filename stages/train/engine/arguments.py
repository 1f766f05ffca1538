"""What a `Train` asks of transformers' trainers, in their words."""

from __future__ import annotations

import os
from typing import Any

import torch

from stages.train.engine.schedule import StepPlan

OPTIMIZERS = {"adamw": "adamw_torch_fused"}
"""Names of transformers for ours, where they differ."""


def settings(stage: Any, plan: StepPlan, seed: int, folder: str, dtype: Any) -> dict[str, Any]:
    """Of every objective: steps, rate, optimizer, number type and when to save. `folder` is where the trainer may write."""
    by = stage.optimizer
    return {
        "output_dir": folder, "max_steps": plan.steps, "learning_rate": stage.rate(), "weight_decay": stage.decay(), "max_grad_norm": by.max_grad_norm,
        "adam_beta1": stage.betas()[0], "adam_beta2": stage.betas()[1], "optim": OPTIMIZERS.get(by.optim, by.optim),
        **scheduler(by.lr_scheduler_type, plan.steps, by.warmup_ratio, by.min_lr_rate, stage.rate()), "seed": seed, "data_seed": seed,
        "bf16": dtype == torch.bfloat16, "fp16": dtype == torch.float16, "use_cpu": not torch.cuda.is_available(), "disable_tqdm": True,
        "save_strategy": "steps", "save_steps": stage.save_steps, "logging_steps": 1, "logging_nan_inf_filter": False,
    }  # fmt: skip


def scheduler(schedule: str, steps: int, warmup: float, floor: float, peak: float) -> dict[str, Any]:
    """transformers' options for `schedule` over `steps`: a rise over the share `warmup` of them (rounded; none of it is none), then
    `constant`; `linear` and `cosine` fall to the share `floor` of the `peak`; `wsd` stays up and falls over the last fifth."""
    rise = round(steps * warmup)
    rise = rise if rise > 1 else 0  # theirs begins at zero: a rise of one step would be a step that learns nothing
    found: dict[str, Any] = {"warmup_steps": rise}
    if schedule == "constant":
        return found | {"lr_scheduler_type": "constant_with_warmup"}
    if schedule == "cosine":
        return found | {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": floor}}
    if schedule == "linear":
        if floor >= 1:
            return found | {"lr_scheduler_type": "constant_with_warmup"}
        return found | {
            "lr_scheduler_type": "polynomial",
            "lr_scheduler_kwargs": {"lr_end": floor * peak, "power": 1.0},
        }
    falling = {"num_decay_steps": max(1, round(0.2 * (steps - rise))), "decay_type": "linear", "min_lr_ratio": floor}
    return found | {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": falling}


def reporting(stage: Any) -> list[str]:
    """Names of transformers' callbacks that hear of every step; TensorBoard's takes its folder from the environment."""
    if stage.logging_dir:
        os.environ["TENSORBOARD_LOGGING_DIR"] = stage.logging_dir
    return sorted({*stage.report_to, *(["tensorboard"] if stage.logging_dir else [])})
