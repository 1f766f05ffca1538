"""Train a model on what the store holds: pretraining, SFT, DPO, a reward, online RL; all weights or an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage
from pipeline.errors import UsageError
from pipeline.options import CONTENT, UNKEYED
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import ARTEFACT, Store
from stages.models.inference.folder import opened
from stages.train.groups import (
    DistillationOptions,
    DpoOptions,
    FreezeOptions,
    Ia3Options,
    KtoOptions,
    LoraOptions,
    MlmOptions,
    ModelOptions,
    OptimizerOptions,
    OrpoOptions,
    PromptTuningOptions,
    RlOptions,
    SftOptions,
    as_names,
    of_before,
    short_name,
)
from stages.train.unknown_names import refuse_unknown
from stages.train.workers.levers import (
    check_card,
    check_installed,
    check_used,
    check_workers,
    contradictions,
    without_effect,
)

MEMBERS = ("rewards",)
RATES = {
    ("clm", True): 1e-3,
    ("clm", False): 2e-4,
    ("mlm", True): 5e-4,
    ("mlm", False): 2e-4,
    ("sft", True): 2e-5,
    ("sft", False): 2e-4,
    ("dpo", True): 5e-7,
    ("dpo", False): 5e-6,
    ("kto", True): 5e-7,
    ("kto", False): 5e-6,
    ("orpo", True): 8e-6,
    ("orpo", False): 8e-5,
    ("reward", True): 1e-5,
    ("reward", False): 1e-4,
    ("rl", True): 1e-6,
    ("rl", False): 1e-5,
}
"""Default learning rates by (objective, all weights). SFT and DPO adapters: Zephyr's QLoRA recipes (2e-4, 5e-6); DPO of all
weights: Tulu 3 (5e-7); SFT of all weights: Alpaca (2e-5); pretraining: what GPT-3's table extrapolates to below 100 M weights;
mlm: RoBERTa's base (6e-4), rounded down; kto and orpo of all weights: their papers (5e-7, 8e-6); reward and rl: TRL's defaults (1e-4 for
reward, 1e-6 for rl), ten times for adapters."""
METHOD_RATES = {"embeddings": 1e-3, "ia3": 5e-3, "prefix": 5e-3, "prompt": 1e-2, "ptuning": 1e-3}
"""Methods that train few numbers need larger steps: IA3 and prefix tuning 5e-3 (PEFT's method comparison, tuned entries); prompt
and P-tuning by the matrix in tests/bench/train. For sft and clm; for other objectives as much smaller as a LoRA's is."""
SHAPES = {
    "clm": ("TOKENS",),
    "mlm": ("TOKENS",),
    "sft": ("CHAT",),
    "dpo": ("PAIR",),
    "kto": ("PAIR",),
    "orpo": ("PAIR",),
    "reward": ("PAIR",),
    "rl": ("CHAT", "PAIR"),
}
VIRTUAL = ("prompt", "prefix", "ptuning")
WITHOUT_VIRTUAL = {
    "mlm": "is written as one whole model, into which virtual tokens cannot be merged",
    "reward": "is written as one whole model, into which virtual tokens cannot be merged",
    "rl": "is trained by TRL, which weighs answers with padding between virtual tokens and the question and draws them without",
}
"""Objectives that take no prompt method, and why."""


class Train(Stage):
    """Train a model on what the store holds: pretraining, SFT, DPO, a reward, online RL; all weights or an adapter.

    The store is read as it lies. Held-out rows are never trained on (`stages.models.holdout`); every other input row is
    trained on or stands in the ledger with a reason: `train.over_context`, `train.empty`, `chat.over_context`, `chat.all_masked`, `pair.equal`,
    `train.not_reached`, `chat.*`. The artefact is a Hugging Face model folder, or a PEFT adapter folder, with
    the tokenizer and its chat template, `maetdol.json` (what it was made from, template lock) and `history.jsonl`.

    `history.jsonl`: a JSON object per line. `kind` is `train` (a logged step) or `held_out`; `step` counts optimizer steps,
    `loss` is nats per token (clm, sft), per pair (dpo, orpo) or per answer (kto), `weight` the tokens, pairs or (kto) answers behind it, `learning_rate`,
    `gradient_norm`; for dpo also `chosen_logp` and `rejected_logp` (nats per token), `margin` (beta times the difference of
    log-ratios), `reward_accuracy` (margin above zero) and `accuracy` (chosen likelier per token than rejected).

    DPO on top of an SFT adapter: give `base: [pretrain, sft]`. The SFT adapter stays as it was trained, frozen, and the new
    adapter is stacked on it; the reference is the same model without the new adapter. With `method: full` the adapters of
    the base are merged into it first.

    Before the first step the data check (`stages.train.data_check`) examines the rows and refuses what would train the wrong thing,
    and the plan (`stages.train.planning.budget`) refuses what cannot fit; both stand in the receipt's notes.

    mlm makes an `artefact:encoder` (a Llama whose config says `is_causal: false`, so that whoever loads it reads both ways), reward
    an `artefact:reward` (a sequence classification folder with one label). rl hands the base, the prompts of `of` and who judges
    answers to TRL's trainer, whose state is kept in checkpoints of this house, so that it resumes like the others.
    """

    ports: ClassVar[dict[str, Port]] = {
        "of": Port(
            "TOKENS|CHAT|PAIR",
            many=True,
            help="what to train on: TOKENS for clm and mlm, CHAT for sft, PAIR for dpo, kto, orpo and reward, either for rl",
        ),
        "tokenizer": Port("artefact:tokenizer", optional=True, help="its tokenizer; default: the base's own"),
        "base": Port(
            "artefact:model|artefact:adapter|artefact:encoder",
            optional=True,
            many=True,
            help="a model and the adapters on it: steps, stores, Hugging Face folders, hf://org/name@revision",
            opened=opened,
        ),
        "teacher": Port(
            "artefact:model|artefact:adapter",
            optional=True,
            many=True,
            help="clm, sft: a model to learn the distribution of",
            opened=opened,
        ),
        "reward": Port("artefact:reward", optional=True, help="rl: the model that judges answers", opened=opened),
    }
    renamed: ClassVar[dict[str, str]] = {
        "checkpoint": "base", "open_layers": "freeze.trainable_layers", "hidden": "model.hidden_size", "layers": "model.num_hidden_layers",
        "heads": "model.num_attention_heads", "kv_heads": "model.num_key_value_heads", "intermediate": "model.intermediate_size",
        "tie_embeddings": "model.tie_word_embeddings", "window": "model.sliding_window", "seq_len": "max_length", "pack": "sft.packing",
        "trains": "sft.trains", "epochs": "num_train_epochs", "steps": "max_steps", "batch": "per_device_train_batch_size",
        "accumulation": "gradient_accumulation_steps", "schedule": "optimizer.lr_scheduler_type", "warmup": "optimizer.warmup_ratio",
        "floor": "optimizer.min_lr_rate", "clip": "optimizer.max_grad_norm", "optimizer": "optimizer.optim", "compile": "torch_compile",
        "checkpointing": "gradient_checkpointing", "attention": "attn_implementation", "rank": "lora.r", "alpha": "lora.lora_alpha",
        "dropout": "lora.lora_dropout", "rank_stabilised": "lora.use_rslora", "dora": "lora.use_dora", "targets": "lora.target_modules",
        "distil": "distillation.share", "distil_temperature": "distillation.temperature", "sft_weight": "dpo.sft_weight",
        "virtual_tokens": "prompt_tuning.num_virtual_tokens", "prompt_text": "prompt_tuning.prompt_tuning_init_text",
        "encoder_hidden": "prompt_tuning.encoder_hidden_size", "mask_share": "mlm.mlm_probability", "next_sentence": "mlm.next_sentence",
        "rl": "rl.algorithm", "answers": "rl.num_generations", "answer_tokens": "rl.max_completion_length", "kl": "rl.beta",
        "rewards": "rl.rewards", "reward_weight": "rl.reward_weight", "eval_every": "eval_steps", "log_every": "logging_steps",
        "save_every": "save_steps", "keep": "save_total_limit", "tensorboard": "logging_dir",
    }  # fmt: skip
    also: ClassVar[dict[str, str]] = {
        "learning_rate": "optimizer.learning_rate", "lr_scheduler_type": "optimizer.lr_scheduler_type", "warmup_ratio": "optimizer.warmup_ratio",
        "weight_decay": "optimizer.weight_decay", "max_grad_norm": "optimizer.max_grad_norm", "optim": "optimizer.optim", "packing": "sft.packing",
        "r": "lora.r", "lora_r": "lora.r", "lora_alpha": "lora.lora_alpha", "lora_dropout": "lora.lora_dropout", "use_rslora": "lora.use_rslora",
        "use_dora": "lora.use_dora", "target_modules": "lora.target_modules", "num_virtual_tokens": "prompt_tuning.num_virtual_tokens",
        "mlm_probability": "mlm.mlm_probability", "beta": "dpo.beta", "loss_type": "dpo.loss_type", "label_smoothing": "dpo.label_smoothing",
        "simpo_gamma": "dpo.simpo_gamma", "desirable_weight": "kto.desirable_weight", "undesirable_weight": "kto.undesirable_weight",
        "num_generations": "rl.num_generations", "max_completion_length": "rl.max_completion_length", "temperature": "rl.temperature",
        "train_batch_size": "global_batch_size",
    }  # fmt: skip
    """transformers, PEFT and TRL write their options side by side: so written they are read too."""
    output_shape: ClassVar[str | None] = None
    manifest_notes: ClassVar[tuple[str, ...]] = ("template",)
    version: ClassVar[int] = 9
    uses_rng: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate", "peft", "bitsandbytes")

    objective: Literal["clm", "mlm", "sft", "dpo", "kto", "orpo", "reward", "rl"] = "clm"
    """clm: predict every token of packed documents; mlm: say what hidden tokens were; sft: predict the answers in conversations;
    dpo: prefer the chosen answer of a pair; kto: take every answer of a pair by itself, wanted or not; orpo: learn the chosen answer and prefer it,
    without a reference; reward: give it the higher number; rl: answer prompts so that functions and a reward model like it."""
    method: Literal["full", "freeze", "embeddings", "lora", "qlora", "ia3", "prefix", "prompt", "ptuning"] = "full"
    """full: all weights; freeze: the last layers alone; embeddings: the rows of the tokens that its tokenizer adds to the base's alone, in
    what reads and what writes, so that a second step may train the rest; lora: an adapter (with those rows, where there are any); qlora: an adapter on a base in 4 bits (NF4, double
    quantisation); ia3: a scale per activation; prompt, ptuning: virtual tokens in front, learnt directly or through a small network;
    prefix: virtual keys and values in every layer."""
    model: ModelOptions = ModelOptions()
    "From scratch: shape of the new model; a base brings its own."

    max_length: int | None = Field(None, ge=8)
    "Tokens in a row. Default: the longest row there is; of conversations and pairs at most 4,096, and what the base reaches."
    template: Annotated[str | None, CONTENT] = None
    "sft, dpo: file of a Jinja chat template, instead of the tokenizer's own."

    num_train_epochs: float = Field(1.0, gt=0)
    "Times over the rows."
    max_steps: int | None = Field(None, ge=1)
    "Optimizer steps; given, they decide and num_train_epochs does not."
    per_device_train_batch_size: int = Field(8, ge=1)
    "Rows (pairs, rl: answers) in one forward pass of each worker."
    gradient_accumulation_steps: int = Field(1, ge=1)
    "Forward passes of each worker to a step: a step sees workers x per_device_train_batch_size x this rows."
    global_batch_size: int | None = Field(None, ge=1)
    """Rows of a step, however many workers share them: as many forward passes are made as that takes. With gradient_accumulation_steps given
    as well the two must agree. Without it the number of workers decides what a step sees, and so what is trained."""
    optimizer: OptimizerOptions = OptimizerOptions()
    "The optimizer and its rate."
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    "What is computed in; auto: bf16 on CUDA, fp32 on CPU; fp16 with a scaled loss, for cards without bf16. Trained weights are kept in fp32."
    use_liger_kernel: bool = False
    "Liger's Triton kernels for norms, rotary embeddings and gated layers, on CUDA alone; the package liger-kernel must be installed."
    torch_compile: bool = False
    "torch.compile the layers: 15 to 27% faster steps on CUDA after minutes of compiling (torchtune, axolotl); needs a C++ compiler."
    gradient_checkpointing: bool = False
    "Compute activations twice instead of keeping them."

    parallel: Literal["data", "fsdp"] = "data"
    """With several workers, by accelerate: data, the whole model on each of them (DDP); fsdp, weights, gradients and optimizer state in shards
    over all (FSDP2, after ZeRO-3, Rajbhandari et al. 2020), for clm, sft, dpo, kto, orpo with full, freeze, lora or qlora. A teacher stays whole on each."""
    attn_implementation: Annotated[Literal["auto", "sdpa", "flex", "flash"], BeforeValidator(short_name)] = "auto"
    """sdpa: a block-diagonal mask, everywhere; flex: torch's flex attention with a block mask of the documents; flash: flash attention 2 over
    the bounds of the documents, as torch brings it (`varlen_attn`; bf16 or fp16, no package needed). These two on CUDA only; neither has run on
    a card here, so auto is sdpa."""

    freeze: FreezeOptions = FreezeOptions()
    "method freeze."
    lora: LoraOptions = LoraOptions()
    "methods lora and qlora: the adapter."
    ia3: Ia3Options = Ia3Options()
    "method ia3."
    prompt_tuning: PromptTuningOptions = PromptTuningOptions()
    "methods prompt, prefix and ptuning: the virtual tokens."
    mlm: MlmOptions = MlmOptions()
    "objective mlm: what is hidden."
    sft: SftOptions = SftOptions()
    "objective sft: what of a conversation is asked for."
    distillation: DistillationOptions = DistillationOptions()
    "objectives clm and sft with a `teacher`."
    dpo: DpoOptions = DpoOptions()
    "objective dpo: the loss."
    kto: KtoOptions = KtoOptions()
    "objective kto: the loss."
    orpo: OrpoOptions = OrpoOptions()
    "objective orpo: the loss."
    rl: RlOptions = RlOptions()
    "objective rl: the algorithm, the answers drawn, and who judges them."

    most_lost: float = Field(0.5, ge=0, le=1)
    "Share of rows that may be left out for any reason (held-out ones aside); above it the data check refuses and counts the reasons."

    holdout: float = Field(0.05, ge=0, lt=1)
    "Share of prompts (sft, dpo) held out of training; for clm, rows from `pack` say themselves what is held out."
    eval_steps: int | None = Field(None, ge=1)
    "Steps between measurements on held-out rows; default: before the first and after the last only."
    load_best_model_at_end: bool = False
    "What comes out is the model of the lowest held-out loss, not the last one. With eval_steps."
    early_stopping_patience: int | None = Field(None, ge=1)
    "End the run when so many measurements in a row did not lower the held-out loss. With eval_steps."
    early_stopping_threshold: float = Field(0.0, ge=0)
    "Nats by which it must fall to count as lower."
    eval_rows: int = Field(256, ge=0)
    "Held-out rows to measure on while training; 0: all."
    logging_steps: int = Field(1, ge=1)
    "Steps between lines of the loss curve."
    save_steps: Annotated[int, UNKEYED] = Field(100, ge=1)
    "Steps between checkpoints."
    save_total_limit: Annotated[int, UNKEYED] = Field(1, ge=1)
    "Checkpoints kept while training."
    report_to: Annotated[
        tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...], BeforeValidator(as_names), UNKEYED
    ] = ()
    "Where every step's loss, rate, gradient and speed are sent as well (transformers' callbacks; the package must be installed)."
    logging_dir: Annotated[str | None, UNKEYED] = None
    "Folder for TensorBoard's event file, with report_to: tensorboard."
    threads: int = Field(2, ge=1)
    "CPU threads of a worker. An option, not what the machine has: sums are split by it, so it decides last bits."
    seed: int | None = None
    "Of weights, order and dropout; default: the recipe's."

    @model_validator(mode="after")
    def _sense(self) -> Train:
        if self.objective != "clm" and self.max_steps is None and self.num_train_epochs > 100:
            raise ValueError("more than 100 epochs of fine-tuning is a slip of the pen: set `max_steps` if it is meant")
        if self.model.sliding_window is not None and self.objective == "mlm":
            raise ValueError("mlm reads both ways, a window looks back: leave one of them out")
        if self.method in VIRTUAL and self.objective in WITHOUT_VIRTUAL:
            raise ValueError(
                f"objective {self.objective} {WITHOUT_VIRTUAL[self.objective]}: use method lora, qlora or ia3, not {self.method}"
            )
        if self.method == "prefix" and self.gradient_checkpointing:
            raise ValueError(
                "prefix tuning stands in the key/value cache, which gradient checkpointing does without: leave one of them out"
            )
        if self.optimizer.optim.startswith("paged") and self.dtype == "fp16":
            raise ValueError("paged optimizers do not take the scaled loss of fp16: use dtype bf16")
        if self.method == "embeddings" and self.objective not in ("clm", "sft"):
            raise ValueError(f"method embeddings learns from text and answers (clm, sft), not by {self.objective}")
        contradictions(self)
        without_effect(self)
        return self

    def output(self, of: str | None) -> str | None:
        """`artefact:model`, `artefact:adapter`, `artefact:encoder` (mlm) or `artefact:reward`."""
        if self.objective in ("mlm", "reward"):
            return "artefact:encoder" if self.objective == "mlm" else "artefact:reward"
        return "artefact:model" if self.whole() or self.method == "embeddings" else "artefact:adapter"

    @classmethod
    def under_current_names(cls, given: Any, who: str) -> Any:
        """As everywhere; and what depends on the method, the objective or on other options."""
        refuse_unknown(given if isinstance(given, dict) else (), who)
        return super().under_current_names(of_before(given, who), who)

    def key(self, inputs: Inputs, *extra: Any, without: Sequence[str] = ()) -> str:
        """The number of workers is part of it where it decides how many rows a step sees."""
        counted = () if self.global_batch_size else (f"workers {inputs.workers}",)
        return super().key(inputs, *extra, *counted, without=without)

    def shared_by(self, workers: int) -> Train:
        """The same for so many workers: `global_batch_size` rows a step, and at most `per_device_train_batch_size` of them in a pass."""
        rows = self.global_batch_size or workers * self.per_device_train_batch_size * self.gradient_accumulation_steps
        each = min(self.per_device_train_batch_size, -(-rows // workers))
        passes = -(-rows // (workers * each))
        shared = {"global_batch_size": rows, "per_device_train_batch_size": each, "gradient_accumulation_steps": passes}
        return self.model_copy(update=shared)

    def rows_of_a_step(self, workers: int) -> str:
        """In words: how many rows a step sees, and how they are shared."""
        shared = self.shared_by(workers)
        rows, passes = shared.global_batch_size, shared.gradient_accumulation_steps
        what = "answers" if self.objective == "rl" else "pairs" if "PAIR" in SHAPES[self.objective] else "rows"
        group = f"{workers} worker{'s' if workers > 1 else ''}"
        if rows != workers * passes * shared.per_device_train_batch_size:
            return f"{rows} {what} a step, shared by {group}"
        return f"{group} x {shared.per_device_train_batch_size} x {passes} = {rows} {what} a step"

    def needs(self) -> tuple[str, ...]:
        """With rl, TRL's version decides too."""
        return (
            *self.libraries,
            *sorted({name for one in self.rl.rewards for name in one.libraries}),
            *(("trl",) if self.objective == "rl" else ()),
        )

    def whole(self) -> bool:
        """Are weights of the model itself trained, so that a whole model comes out?"""
        return self.method in ("full", "freeze")

    def comes_whole(self) -> bool:
        """Does a whole model come out, trained so or with what was trained folded into it?"""
        return self.whole() or self.objective in ("mlm", "reward") or self.method == "embeddings"

    def rate(self) -> float:
        """Peak learning rate."""
        if self.optimizer.learning_rate is None and self.method in METHOD_RATES:
            return METHOD_RATES[self.method] * (RATES[self.objective, False] / RATES["sft", False])
        return self.optimizer.learning_rate or RATES[self.objective, self.whole()]

    def betas(self) -> tuple[float, float]:
        """Adam's; 0.95 for pretraining (GPT-3, Llama), 0.999 for fine-tuning."""
        return (0.9, 0.95) if self.objective in ("clm", "mlm") else (0.9, 0.999)

    def decay(self) -> float:
        """Weight decay of matrices."""
        given = self.optimizer.weight_decay
        return given if given is not None else (0.1 if self.objective in ("clm", "mlm") else 0.0)

    def pull(self) -> float:
        """Beta of dpo, kto and orpo."""
        if self.objective != "dpo":
            return self.kto.beta if self.objective == "kto" else self.orpo.beta
        return self.dpo.beta or {"sigmoid_norm": 5.0, "simpo": 2.0}.get(self.dpo.loss_type, 0.1)

    def not_estimated(self) -> str:
        return "`maetdol train-plan` says what training takes"

    def check(self, inputs: Inputs) -> None:
        """UsageError where the ports do not fit the objective; nothing has run by then."""
        wanted = SHAPES[self.objective]
        for store in inputs["of"]:
            if store.shape not in wanted:
                words = " or ".join(wanted)
                raise UsageError(
                    f"objective {self.objective} trains on {words}, {store.name} holds {store.shape}",
                    f"give `of` a store of {words}",
                )
        for store in inputs["base"]:
            if store.shape == "artefact:encoder" and self.objective != "mlm":
                raise UsageError(
                    f"{store.name} reads both ways, so it cannot write",
                    f"give objective {self.objective} a base trained with objective clm",
                )
        based = bool(inputs["base"])
        if self.optimizer.optim != "adamw" and not cuda_is_there():
            raise UsageError(
                f"optimizer {self.optimizer.optim} moves its state between a card and the host, and there is no card",
                "use optimizer: {optim: adamw}",
            )
        check_workers(self, inputs.workers)
        on_card = self.attn_implementation in ("flex", "flash") or self.use_liger_kernel
        check_card(self, on_card and cuda_is_there())
        check_installed(self)
        check_used(self, based, bool(inputs["teacher"]), bool(inputs["reward"]))
        if inputs["teacher"] and self.objective not in ("clm", "sft"):
            what = "its reward" if self.objective == "rl" else "hidden tokens" if self.objective == "mlm" else "pairs"
            raise UsageError(
                f"{self.objective} learns from {what}, not from a teacher",
                "leave out `teacher`, or use objective clm or sft",
            )
        if self.objective != "rl" and inputs["reward"]:
            raise UsageError("only rl takes a reward model", "leave out `reward`")
        if self.objective == "rl" and not (inputs["reward"] or self.rl.rewards):
            raise UsageError(
                "rl needs somebody who judges answers",
                "give `rewards` functions, or `reward` the store of a train step with objective: reward",
            )
        if not based and self.objective in ("reward", "rl"):
            raise UsageError(f"objective {self.objective} needs a base model", "give `base`")
        if not based and self.method != "full":
            raise UsageError(f"method {self.method} needs a base model", "give `base`, or train with method: full")
        if not based and not inputs["tokenizer"]:
            raise UsageError(
                "training from scratch needs a tokenizer", "add a tokenizer step before it, or give `tokenizer`"
            )

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        key = self.key(inputs)
        receipt = sink.receipt(ARTEFACT)
        if receipt is not None and receipt.key == key:
            return [receipt]
        self.check(inputs)
        from stages.train.workers.launch import launch

        return [launch(self, inputs, sink, pool, key)]


def cuda_is_there() -> bool:
    """Is there a card to compute on?"""
    import torch

    return torch.cuda.is_available()
