"""What goes together of the levers for several workers and for attention: refused before anything runs, with the mend. No torch here."""

from __future__ import annotations

from typing import Any

from pipeline.errors import UsageError

SHARDED = {"objectives": ("clm", "sft", "dpo"), "methods": ("full", "freeze", "lora")}
"""What can be trained in shards. A base in 4 bits is kept in bitsandbytes' own packed form, which torch's sharding does not cut;
virtual tokens, masked LM and reward models have not been proven there; online RL is TRL's."""
MASKLESS = ("prompt", "prefix", "ptuning")
"""Methods whose virtual tokens every segment sees: only a written mask says so."""


def contradictions(stage: Any) -> None:
    """ValueError where the options of a `Train` contradict one another."""
    if stage.deepspeed and stage.parallel == "fsdp":
        raise ValueError("deepspeed and parallel: fsdp shard the same things: leave one of them out")
    if stage.deepspeed or stage.parallel == "fsdp":
        name = "deepspeed" if stage.deepspeed else "parallel: fsdp"
        for what, value, known in (("objective", stage.objective, SHARDED["objectives"]), ("method", stage.method, SHARDED["methods"])):
            if value not in known:
                raise ValueError(f"{name} takes {what} {', '.join(known)}, not {value}: use parallel: data")
        if stage.dtype == "fp16":
            raise ValueError(f"{name} does not scale a loss in fp16: use dtype bf16")
        if stage.compile:
            raise ValueError(f"compile and {name} have not been proven together: leave one of them out")
        if stage.optimizer != "adamw":
            raise ValueError(f"{name} keeps the optimizer's state in shards, paged optimizers move it to the host: use optimizer adamw")
    if stage.tensor > 1 and (stage.parallel != "fsdp" or stage.method == "lora"):
        raise ValueError("tensor needs parallel: fsdp and method full or freeze")
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
        raise UsageError("parallel: fsdp shards a model over workers, and there is one", "set `workers` of this step in run.steps to 2 or more, or use parallel: data")
    if workers % stage.tensor:
        raise UsageError(f"tensor: {stage.tensor} does not divide {workers} workers", f"set `workers` of this step in run.steps to a multiple of {stage.tensor}")


def check_deepspeed(stage: Any, workers: int) -> None:
    """UsageError where the file of `deepspeed` cannot be followed here."""
    if stage.deepspeed:
        from stages.train.deep import check

        check(stage, workers)


def check_card(stage: Any, there: bool) -> None:
    """UsageError where the attention asked for needs a card and none is `there`."""
    if stage.attention in ("flex", "flash") and not there:
        raise UsageError(f"attention: {stage.attention} is computed on a CUDA card, and there is none", "use attention: auto, which is sdpa with a block-diagonal mask everywhere")
    if stage.attention == "flash":
        import torch

        if torch.cuda.get_device_capability()[0] < 8:
            raise UsageError("attention: flash needs a card of compute capability 8.0 (Ampere) or newer", "use attention: sdpa or flex")


def spread(planned: Any, stage: Any, workers: int) -> Any:
    """A worker's part of a budget (`stages.train.budget.Budget`): what is kept in shards is spread over all workers."""
    zero = 3 if stage.parallel == "fsdp" else zero_stage(stage)
    if not zero:
        return planned
    names = ("optimizer", "gradients", "weights")[:zero]
    cut = {name: planned.parts[name] // workers for name in names}
    if zero == 3:
        # A layer and the embeddings stand whole while they are computed.
        shape = planned.shape
        cut["gathered"] = 4 * (shape.matrices // stage.tensor + shape.vocabulary * shape.hidden * (1 if shape.tied else 2))
    return planned._replace(parts={**planned.parts, **cut})


def zero_stage(stage: Any) -> int:
    """What DeepSpeed's configuration keeps in shards: 1, moments; 2, gradients too; 3, weights too. 0 without DeepSpeed."""
    if not stage.deepspeed:
        return 0
    from stages.train.deep import read

    return int(read(stage.deepspeed).get("zero_optimization", {}).get("stage", 0))
