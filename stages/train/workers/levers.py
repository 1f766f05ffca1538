"""What goes together: of options with objectives and methods, of the levers for several workers and for attention. What does not
is refused before anything runs, with the hint. No torch here."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import UsageError
from pipeline.flags import fields_of
from pipeline.options import Options

SHARDED = {"objectives": ("clm", "sft", "dpo", "kto", "orpo"), "methods": ("full", "freeze", "lora", "qlora")}
"""What can be trained in shards. A base in 4 bits is packed in the type computed in, which torch can cut; virtual tokens, masked LM and reward models have not been proven there; online RL is TRL's."""
MASKLESS = ("prompt", "prefix", "ptuning")
"""Methods whose virtual tokens every segment sees: only a written mask says so."""

ADAPTED = ("lora", "qlora")
LEARNT_HERE = ("clm", "mlm", "sft", "dpo", "reward", "kto", "orpo")
"""Objectives whose loop is this house's; rl's is TRL's."""
USED_BY: dict[str, dict[str, tuple[str, ...]]] = {
    "freeze": {"method": ("freeze",)},
    "lora": {"method": ADAPTED},
    "ia3": {"method": ("ia3",)},
    "prompt_tuning": {"method": MASKLESS},
    "prompt_tuning.prompt_tuning_init_text": {"method": ("prompt", "prefix")},
    "prompt_tuning.encoder_hidden_size": {"method": ("ptuning",)},
    "distillation": {"objective": ("clm", "sft")},
    **{name: {"objective": (name,)} for name in ("mlm", "sft", "dpo", "kto", "orpo", "rl")},
    "dpo.label_smoothing": {"dpo.loss_type": ("robust",)},
    "dpo.simpo_gamma": {"dpo.loss_type": ("simpo",)},
    **dict.fromkeys(
        (
            "torch_compile",
            "use_liger_kernel",
            "attn_implementation",
            "eval_steps",
            "load_best_model_at_end",
            "early_stopping_patience",
            "early_stopping_threshold",
        ),
        {"objective": LEARNT_HERE},
    ),
    "optimizer.min_lr_rate": {"optimizer.lr_scheduler_type": ("cosine", "linear", "wsd")},
}
"""Options, and groups of them, that not every run uses: by which option's values they are used."""
WITH_TEACHER = ("distillation",)
FROM_SCRATCH = ("model",)
"""What shapes a model from scratch: a base brings its own."""
BY_ALL = (
    "objective", "method", "max_length", "template", "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps",
    "global_batch_size", "optimizer", "dtype", "gradient_checkpointing", "parallel", "most_lost", "holdout", "eval_rows", "logging_steps", "save_steps",
    "save_total_limit", "threads", "seed", "report_to", "logging_dir",
)  # fmt: skip
"""Options that every run uses."""


def unused(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of options `given` by name (`lora.r` for one of a group; those that decide about others among them, with their defaults): those without
    effect, and who uses them."""
    for name, value in given.items():
        if value is None:
            continue
        for users in (USED_BY.get(name.partition(".")[0], {}), USED_BY.get(name, {})):
            for by, values in users.items():
                if given[by] not in values:
                    yield name, f"{by} {', '.join(values)} (not by {given[by]})"
                    break
            else:
                continue
            break


def deciding() -> set[str]:
    """Names of the options that decide which others are used."""
    return {by for users in USED_BY.values() for by in users}


def chosen(stage: Options) -> dict[str, Any]:
    """The options that were given to a `Train`, and those that decide which others are used, by name."""
    found = {}
    for name, (field, _) in fields_of(type(stage)).items():
        *groups, last = field.split(".")
        inside: Any = stage
        for group in groups:
            inside = getattr(inside, group)
        value = getattr(inside, last)
        if not isinstance(value, Options) and (last in inside.model_fields_set or name in deciding()):
            found[name] = value
    return found


def without_effect(stage: Any) -> None:
    """ValueError where an option was given that its objective or method does not use, also where it is given its default."""
    decided = {name for name in deciding() if "." in name}
    found = [
        f"{name} is used by {users}"
        for name, users in unused(chosen(stage))
        if name not in decided or name.rpartition(".")[2] in getattr(stage, name.partition(".")[0]).model_fields_set
    ]
    if found:
        raise ValueError("; ".join(found) + ": it would have no effect, leave it out")


def check_used(stage: Any, base: bool, teacher: bool, judged: bool = True) -> None:
    """UsageError where an option was given that has no effect beside the stores given."""
    given = chosen(stage)
    if base and (shaping := _within(given, FROM_SCRATCH)):
        raise UsageError(
            f"{', '.join(shaping)} shapes a model from scratch, and a base is given",
            f"leave out {', '.join(shaping)}: the base's own configuration decides",
        )
    if not teacher and (learning := _within(given, WITH_TEACHER)):
        raise UsageError(
            f"{', '.join(learning)} is used with a teacher, and none is given",
            f"leave out {', '.join(learning)}, or give `teacher` a model",
        )
    if not judged and "rl.reward_weight" in given:
        raise UsageError(
            "rl.reward_weight is used with a reward model, and none is given", "leave it out, or give `reward`"
        )


def _within(given: Mapping[str, Any], groups: tuple[str, ...]) -> list[str]:
    """Names of the options given that stand in one of `groups`."""
    return [name for name, value in given.items() if name.partition(".")[0] in groups and value is not None]


def contradictions(stage: Any) -> None:
    """ValueError where the options of a `Train` contradict one another."""
    ending = [
        name
        for name in ("load_best_model_at_end", "early_stopping_patience")
        if getattr(stage, name) not in (None, False)
    ]
    if ending and stage.eval_steps is None:
        raise ValueError(f"{', '.join(ending)} goes by the held-out loss: say with eval_steps how often it is measured")
    if "early_stopping_threshold" in stage.model_fields_set and stage.early_stopping_patience is None:
        raise ValueError("early_stopping_threshold is used with early_stopping_patience: leave it out")
    if stage.parallel == "fsdp":
        for what, value, known in (
            ("objective", stage.objective, SHARDED["objectives"]),
            ("method", stage.method, SHARDED["methods"]),
        ):
            if value not in known:
                raise ValueError(f"parallel: fsdp takes {what} {', '.join(known)}, not {value}: use parallel: data")
        if stage.dtype == "fp16":
            raise ValueError("parallel: fsdp does not scale a loss in fp16: use dtype bf16")
        if stage.torch_compile:
            raise ValueError("torch_compile and parallel: fsdp have not been proven together: leave one of them out")
        if stage.optimizer.optim != "adamw":
            raise ValueError(
                "parallel: fsdp keeps the optimizer's state in shards, paged optimizers move it to the host: use optimizer: {optim: adamw}"
            )
    if stage.attn_implementation in ("flex", "flash"):
        if stage.objective == "rl":
            raise ValueError("rl trains through TRL, which chooses its attention itself: leave out attn_implementation")
        if stage.method in MASKLESS:
            raise ValueError(
                f"method {stage.method} needs a written mask for its virtual tokens: use attn_implementation sdpa"
            )
    if stage.attn_implementation == "flash" and stage.dtype == "fp32":
        raise ValueError("flash attention computes in bf16 or fp16: leave out dtype, or use attn_implementation flex")


def check_workers(stage: Any, workers: int) -> None:
    """UsageError where `workers` are not what the options need."""
    rows, each, passes = stage.global_batch_size, stage.per_device_train_batch_size, stage.gradient_accumulation_steps
    if rows and "gradient_accumulation_steps" in stage.model_fields_set and workers * each * passes != rows:
        raise UsageError(
            f"{workers} worker{'s' if workers > 1 else ''} x {each} x {passes} = {workers * each * passes} rows a step, and global_batch_size is {rows}",
            "leave out gradient_accumulation_steps or global_batch_size, or make them agree",
        )
    if stage.parallel == "fsdp" and workers < 2:
        raise UsageError(
            "parallel: fsdp shards a model over workers, and there is one",
            "set `workers` of this step in run.steps to 2 or more, or use parallel: data",
        )


def check_installed(stage: Any) -> None:
    """UsageError where a package that the options name is not installed."""
    if stage.use_liger_kernel and not importlib.util.find_spec("liger_kernel"):
        raise UsageError("liger-kernel is not installed", "`pip install liger-kernel`, or leave out use_liger_kernel")
    packages = {"tensorboard": ("tensorboard", "tensorboardX")}
    for name in (*stage.report_to, *(["tensorboard"] if stage.logging_dir else [])):
        if not any(importlib.util.find_spec(package) for package in packages.get(name, (name,))):
            raise UsageError(f"{name} is not installed", f"`pip install {name}`, or leave it out of report_to")


def check_card(stage: Any, there: bool) -> None:
    """UsageError where the attention or the kernels asked for need a card and none is `there`."""
    if stage.use_liger_kernel and not there:
        raise UsageError(
            "use_liger_kernel: Liger's kernels are written in Triton for a CUDA card, and there is none",
            "leave out use_liger_kernel",
        )
    if stage.attn_implementation in ("flex", "flash") and not there:
        raise UsageError(
            f"attn_implementation: {stage.attn_implementation} is computed on a CUDA card, and there is none",
            "use attn_implementation: auto, which is sdpa with a block-diagonal mask everywhere",
        )
    if stage.attn_implementation == "flash":
        import torch

        if torch.cuda.get_device_capability()[0] < 8:
            raise UsageError(
                "attn_implementation: flash needs a card of compute capability 8.0 (Ampere) or newer",
                "use attn_implementation: sdpa or flex",
            )


def shardable(stage: Any) -> bool:
    """Can the run be made with `parallel: fsdp`?"""
    try:
        contradictions(stage.model_copy(update={"parallel": "fsdp"}))
    except ValueError:
        return False
    return True


def spread(planned: Any, stage: Any, workers: int) -> Any:
    """A worker's part of a budget (`stages.train.planning.budget.Budget`): what is kept in shards is spread over all workers."""
    if stage.parallel != "fsdp":
        return planned
    cut = {name: planned.parts[name] // workers for name in ("optimizer", "gradients", "weights")}
    # A layer and the embeddings stand whole while they are computed: in fp32 one, in bf16 two, the next being gathered ahead.
    shape = planned.shape
    cut["gathered"] = 4 * (shape.matrices + shape.vocabulary * shape.hidden * (1 if shape.tied else 2))
    parts = {**planned.parts, **cut}
    if stage.method == "qlora":  # each worker quantises the whole base before it keeps its shards of it
        parts["loading"] = max(0, planned.parts["weights"] - sum(parts.values()))
    return planned._replace(parts=parts)
