"""Names that transformers, accelerate, TRL, LLaMA-Factory and axolotl have for what is called otherwise here, or cannot be done here, and why."""

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
_ROWS = "of, the step or store whose rows are trained on; `ingest` reads files (as: chat or pair)"
_BASE = "base: a step, a store, a Hugging Face folder or hf://org/name@revision"
_HELD = "holdout: a share of the prompts or documents, by hash"
_TRAINS = "sft.trains: assistant, the default (all answers), or completion (the last one alone); a turn with train: false is context"
_PASS = "per_device_train_batch_size, the rows of one forward pass; global_batch_size is those of a step"
_END = "leave it out: the template decides what ends an answer, and it is trained and stops one (maetdol data-check shows it)"
_CUT = "max_length, of prompt and answer together; longer rows are left out, with a reason, and never cut"
HINTS = {
    "dataset": _ROWS, "datasets": _ROWS, "dataset_name": _ROWS, "dataset_dir": _ROWS, "train_file": _ROWS, "dataset_text_field": _ROWS,
    "base_model": _BASE, "model_name_or_path": _BASE, "model_name": _BASE, "adapter_name_or_path": "base: [model, adapter]",
    "ref_model": "the reference is the model before the first step; leave it out", "precompute_ref_log_probs": "the reference is always measured once, before the first step",
    "adapter": "method: lora or qlora", "micro_batch_size": _PASS, "num_epochs": "num_train_epochs", "sequence_len": "max_length", "max_prompt_length": _CUT,
    "lora_rank": "lora.r", "lora_target_modules": "lora.target_modules", "lora_target_linear": "lora.target_modules; the default is all linear layers but the head",
    "peft_use_dora": "lora.use_dora", "sample_packing": "sft.packing: true", "lr_scheduler": "optimizer.lr_scheduler_type", "chat_template": "template",
    "train_on_inputs": _TRAINS, "train_on_prompt": _TRAINS, "mask_history": _TRAINS, "roles_to_train": _TRAINS, "train_on_eos": _END, "train_on_eot": _END,
    "eos_token": _END, "val_size": _HELD, "val_set_size": _HELD, "per_device_eval_batch_size": "leave it out: held-out rows are measured as many at a time as those trained on",
    "saves_per_epoch": "save_steps", "evals_per_epoch": "eval_steps", "pref_beta": "dpo.beta", "pref_loss": "dpo.loss_type", "rl_beta": "dpo.beta",
    "rpo_alpha": "dpo.sft_weight", "reward_funcs": "rl.rewards", "metric_for_best_model": "load_best_model_at_end goes by the held-out loss",
    "flash_attention": "attn_implementation", "push_to_hub": "maetdol export pushes rows; a finished step's artefact is a Hugging Face folder",
    "trust_remote_code": "no code of a model folder is run", "overwrite_output_dir": "leave it out: a step whose options changed is made again",
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
