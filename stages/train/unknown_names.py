"""Names that transformers, accelerate, TRL and LLaMA-Factory have for what is called otherwise here, or cannot be done here, and why."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.errors import OptionError

_SHARDS = "parallel: fsdp shards weights, gradients and optimizer state over all workers (FSDP2), by layer"
_CONTEXT = (
    "accelerate's context parallelism leaves the attention mask out and takes a row for one causal text, so that documents of a packed row "
    "would see each other; leave it out: for long rows use gradient_checkpointing: true and parallel: fsdp"
)
_DTYPE = "dtype: bf16 or fp16; auto is bf16 on CUDA and fp32 on CPU"
_FOUR_BITS = "method: qlora is NF4 with double quantisation"
_VLLM = "rl draws its answers from the model that is trained, by transformers; leave it out"
HINTS = {
    "parallelism_config": _CONTEXT, "cp_size": _CONTEXT, "context_parallel_size": _CONTEXT, "sp_size": _CONTEXT,
    "tp_size": _SHARDS, "tensor_parallel_size": _SHARDS, "fsdp": _SHARDS, "fsdp_config": _SHARDS, "deepspeed": f"{_SHARDS}; DeepSpeed is not used",
    "bf16": _DTYPE, "fp16": _DTYPE, "tf32": _DTYPE, "torch_dtype": _DTYPE, "load_in_4bit": _FOUR_BITS, "load_in_8bit": _FOUR_BITS,
    "bnb_4bit_quant_type": _FOUR_BITS, "bnb_4bit_compute_dtype": _FOUR_BITS, "quantization_bit": _FOUR_BITS, "use_peft": "method: lora", "finetuning_type": "method",
    "stage": "objective", "lora_target": "target_modules", "cutoff_len": "max_length", "max_seq_length": "max_length", "flash_attn": "attn_implementation",
    "output_dir": "a step writes into the store named after it", "resume_from_checkpoint": "leave it out: run again, and it goes on from the last checkpoint",
    "eval_strategy": "eval_steps", "evaluation_strategy": "eval_steps", "save_strategy": "save_steps", "logging_strategy": "logging_steps",
    "warmup_steps": "warmup_ratio: a share of the steps", "gradient_checkpointing_kwargs": "gradient_checkpointing: true, which is not reentrant",
    "assistant_only_loss": "sft.trains: assistant, the default: all answers of a conversation", "completion_only_loss": "sft.trains: completion, the last answer alone",
    "padding_free": "sft.packing: true with attn_implementation flash or flex", "neat_packing": "sft.packing: true: conversations of a row never see each other",
    "group_by_length": "sft.packing: true leaves little padding; `pack` has method: bucketed", "use_vllm": _VLLM, "vllm_mode": _VLLM,
    "modules_to_save": "the rows of tokens that the tokenizer adds are learnt beside an adapter by themselves; method: embeddings trains them alone",
    "neftune_noise_alpha": "it is not here; leave it out", "use_cpu": "leave it out: a card is used where there is one", "chat_template_path": "template",
}  # fmt: skip
"""By their name: what to write here, or why there is nothing to write."""


def refuse_unknown(names: Iterable[str], who: str) -> None:
    """OptionError with the hint for the first of `names` that is one of theirs."""
    for name in names:
        if name in HINTS:
            raise OptionError(f"{who}: no option {name!r}", HINTS[name])
