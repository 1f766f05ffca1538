"""What goes together: of options with objectives and methods, of the levers for several workers and for attention. What does not
is refused before anything runs, with the hint. No torch here."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import UsageError

SHARDED = {"objectives": ("clm", "sft", "dpo", "kto", "orpo"), "methods": ("full", "freeze", "lora")}
"""What can be trained in shards. A base in 4 bits is kept in bitsandbytes' own packed form, which torch's sharding does not cut;
virtual tokens, masked LM and reward models have not been proven there; online RL is TRL's."""
MASKLESS = ("prompt", "prefix", "ptuning")
"""Methods whose virtual tokens every segment sees: only a written mask says so."""

ADAPTED = ("lora", "qlora")
LEARNT_HERE = ("clm", "mlm", "sft", "dpo", "reward", "kto", "orpo")
"""Objectives whose loop is this house's; rl's is TRL's."""
USED_BY: dict[str, dict[str, tuple[str, ...]]] = {
    "open_layers": {"method": ("freeze",)},
    **dict.fromkeys(("rank", "alpha", "dropout", "rank_stabilised", "dora"), {"method": ADAPTED}),
    "targets": {"method": (*ADAPTED, "ia3")},
    "virtual_tokens": {"method": MASKLESS},
    "prompt_text": {"method": ("prompt", "prefix")},
    "encoder_hidden": {"method": ("ptuning",)},
    **dict.fromkeys(("pack", "trains"), {"objective": ("sft",)}),
    **dict.fromkeys(("distil", "distil_temperature"), {"objective": ("clm", "sft")}),
    "beta": {"objective": ("dpo", "kto", "orpo")},
    **dict.fromkeys(("loss_type", "sft_weight", "label_smoothing", "simpo_gamma"), {"objective": ("dpo",)}),
    **dict.fromkeys(("desirable_weight", "undesirable_weight"), {"objective": ("kto",)}),
    **dict.fromkeys(("mask_share", "next_sentence"), {"objective": ("mlm",)}),
    **dict.fromkeys(
        ("rl", "answers", "answer_tokens", "temperature", "kl", "rewards", "reward_weight"), {"objective": ("rl",)}
    ),
    **dict.fromkeys(("compile", "attention", "eval_every"), {"objective": LEARNT_HERE}),
    "floor": {"schedule": ("cosine", "linear", "wsd")},
}
"""Options that not every run uses: by which option's values they are used."""
FROM_SCRATCH = ("hidden", "layers", "heads", "kv_heads", "intermediate", "tie_embeddings", "window")
"""Options that shape a model from scratch: a base brings its own."""
WITH_TEACHER = ("distil", "distil_temperature")
BY_ALL = (
    "objective", "method", "seq_len", "template", "epochs", "steps", "batch", "per_device_train_batch_size", "accumulation", "learning_rate", "schedule", "warmup", "weight_decay", "clip",
    "dtype", "checkpointing", "parallel", "most_lost", "holdout", "eval_rows", "log_every", "save_every", "keep", "threads", "seed",
    "optimizer", "report_to", "tensorboard",
)  # fmt: skip
"""Options that every run uses."""


def unused(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of options `given` (objective, method, schedule and parallel among them, with their defaults): those without effect, and who uses them."""
    for name, users in USED_BY.items():
        missed = next(
            (
                f"{by} {', '.join(values)} (not by {given[by]})"
                for by, values in users.items()
                if given[by] not in values
            ),
            None,
        )
        if missed and given.get(name) is not None:
            yield name, missed


def chosen(stage: Any) -> dict[str, Any]:
    """The options that were given to a `Train`, and those that decide which others are used."""
    deciding = {by for users in USED_BY.values() for by in users}
    return {
        name: getattr(stage, name)
        for name in type(stage).model_fields
        if name in stage.model_fields_set or name in deciding
    }


def without_effect(stage: Any) -> None:
    """ValueError where an option was given that its objective or method does not use, also where it is given its default."""
    given = chosen(stage)
    found = [f"{name} is used by {users}" for name, users in unused(given)]
    if found:
        raise ValueError("; ".join(found) + ": it would have no effect, leave it out")


def check_used(stage: Any, base: bool, teacher: bool, judged: bool = True) -> None:
    """UsageError where an option was given that has no effect beside the stores given."""
    given = chosen(stage)
    if base and (shaping := [name for name in FROM_SCRATCH if given.get(name) is not None]):
        raise UsageError(
            f"{', '.join(shaping)} shapes a model from scratch, and a base is given",
            f"leave out {', '.join(shaping)}: the base's own configuration decides",
        )
    if not teacher and (learning := [name for name in WITH_TEACHER if given.get(name) is not None]):
        raise UsageError(
            f"{', '.join(learning)} is used with a teacher, and none is given",
            f"leave out {', '.join(learning)}, or give `teacher` a model",
        )
    if not judged and "reward_weight" in given:
        raise UsageError(
            "reward_weight is used with a reward model, and none is given", "leave it out, or give `reward`"
        )


def contradictions(stage: Any) -> None:
    """ValueError where the options of a `Train` contradict one another."""
    for name, kind in (("label_smoothing", "robust"), ("simpo_gamma", "simpo")):
        if name in stage.model_fields_set and stage.loss_type != kind:
            raise ValueError(f"{name} is used by loss_type {kind} (not by {stage.loss_type}): leave it out")
    if stage.parallel == "fsdp":
        for what, value, known in (
            ("objective", stage.objective, SHARDED["objectives"]),
            ("method", stage.method, SHARDED["methods"]),
        ):
            if value not in known:
                raise ValueError(f"parallel: fsdp takes {what} {', '.join(known)}, not {value}: use parallel: data")
        if stage.dtype == "fp16":
            raise ValueError("parallel: fsdp does not scale a loss in fp16: use dtype bf16")
        if stage.compile:
            raise ValueError("compile and parallel: fsdp have not been proven together: leave one of them out")
        if stage.optimizer != "adamw":
            raise ValueError(
                "parallel: fsdp keeps the optimizer's state in shards, paged optimizers move it to the host: use optimizer adamw"
            )
    if stage.attention in ("flex", "flash"):
        if stage.objective == "rl":
            raise ValueError("rl trains through TRL, which chooses its attention itself: leave out attention")
        if stage.method in MASKLESS:
            raise ValueError(f"method {stage.method} needs a written mask for its virtual tokens: use attention sdpa")
    if stage.attention == "flash" and stage.dtype == "fp32":
        raise ValueError("flash attention computes in bf16 or fp16: leave out dtype, or use attention flex")


def check_workers(stage: Any, workers: int) -> None:
    """UsageError where `workers` are not what the options need."""
    if stage.parallel == "fsdp" and workers < 2:
        raise UsageError(
            "parallel: fsdp shards a model over workers, and there is one",
            "set `workers` of this step in run.steps to 2 or more, or use parallel: data",
        )


def check_reports(stage: Any) -> None:
    """UsageError where a package that `report_to` names is not installed."""
    packages = {"tensorboard": ("tensorboard", "tensorboardX")}
    for name in (*stage.report_to, *(["tensorboard"] if stage.tensorboard else [])):
        if not any(importlib.util.find_spec(package) for package in packages.get(name, (name,))):
            raise UsageError(f"{name} is not installed", f"`pip install {name}`, or leave it out of report_to")


def check_card(stage: Any, there: bool) -> None:
    """UsageError where the attention asked for needs a card and none is `there`."""
    if stage.attention in ("flex", "flash") and not there:
        raise UsageError(
            f"attention: {stage.attention} is computed on a CUDA card, and there is none",
            "use attention: auto, which is sdpa with a block-diagonal mask everywhere",
        )
    if stage.attention == "flash":
        import torch

        if torch.cuda.get_device_capability()[0] < 8:
            raise UsageError(
                "attention: flash needs a card of compute capability 8.0 (Ampere) or newer",
                "use attention: sdpa or flex",
            )


def spread(planned: Any, stage: Any, workers: int) -> Any:
    """A worker's part of a budget (`stages.train.planning.budget.Budget`): what is kept in shards is spread over all workers."""
    if stage.parallel != "fsdp":
        return planned
    cut = {name: planned.parts[name] // workers for name in ("optimizer", "gradients", "weights")}
    # A layer and the embeddings stand whole while they are computed.
    shape = planned.shape
    cut["gathered"] = 4 * (shape.matrices + shape.vocabulary * shape.hidden * (1 if shape.tied else 2))
    return planned._replace(parts={**planned.parts, **cut})
