"""Train a model on what the store holds: pretraining, SFT, DPO, a reward, online RL; all weights or an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage
from pipeline.errors import UsageError
from pipeline.options import CONTENT, UNKEYED
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import ARTEFACT, Store
from stages.models.inference.folder import opened
from stages.train.objective.judging import RewardFunction, built
from stages.train.workers.levers import (
    check_card,
    check_reports,
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
    renamed: ClassVar[dict[str, str]] = {"checkpoint": "base"}
    also: ClassVar[dict[str, str]] = {
        "gradient_accumulation_steps": "accumulation", "num_train_epochs": "epochs", "max_steps": "steps", "lr_scheduler_type": "schedule",
        "warmup_ratio": "warmup", "max_grad_norm": "clip", "max_length": "seq_len", "packing": "pack", "gradient_checkpointing": "checkpointing",
        "torch_compile": "compile", "logging_steps": "log_every", "eval_steps": "eval_every", "save_steps": "save_every", "save_total_limit": "keep",
        "r": "rank", "lora_r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout", "target_modules": "targets", "use_rslora": "rank_stabilised",
        "use_dora": "dora", "num_virtual_tokens": "virtual_tokens", "num_generations": "answers", "max_completion_length": "answer_tokens",
    }  # fmt: skip
    """What transformers, PEFT and TRL call the same."""
    output_shape: ClassVar[str | None] = None
    manifest_notes: ClassVar[tuple[str, ...]] = ("template",)
    version: ClassVar[int] = 5
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
    open_layers: int = Field(2, ge=1)
    "freeze: how many of the last layers are trained, with the final norm."

    hidden: int = Field(512, ge=8)
    "From scratch: width of the model."
    layers: int = Field(8, ge=1)
    "From scratch: number of layers."
    heads: int = Field(8, ge=1)
    "From scratch: attention heads."
    kv_heads: int | None = Field(None, ge=1)
    "From scratch: key/value heads shared by groups of heads; default: as many as heads."
    intermediate: int | None = Field(None, ge=8)
    "From scratch: width inside the gated layers; default: 8/3 of hidden, rounded up to a multiple of 32."
    tie_embeddings: bool = True
    "From scratch: one matrix for reading and writing tokens; right for small models, where it is most of the weights."

    seq_len: int | None = Field(None, ge=8)
    "Tokens in a row. Default: the longest row there is; of conversations and pairs at most 4,096, and what the base reaches."
    pack: bool = True
    "sft: several conversations in a row, which do not see each other; 3.7 times as fast on short ones (TRL)."
    trains: Literal["assistant", "completion"] = "assistant"
    "sft: ask for every answer of a conversation, or for the last one alone."
    template: Annotated[str | None, CONTENT] = None
    "sft, dpo: file of a Jinja chat template, instead of the tokenizer's own."

    epochs: float = Field(1.0, gt=0)
    "Times over the rows."
    steps: int | None = Field(None, ge=1)
    "Optimizer steps; given, they decide and `epochs` does not (as with Hugging Face's max_steps)."
    batch: int = Field(8, ge=1)
    "Rows (pairs) in one forward pass."
    per_device_train_batch_size: int | None = Field(None, ge=1)
    """Instead of `batch`, as Hugging Face counts: rows in one forward pass of each worker, and `accumulation` passes of each, so that a step
    sees workers x this x accumulation rows. The number of workers then decides what is trained."""
    accumulation: int = Field(1, ge=1)
    "Forward passes to a step: a step sees batch x accumulation rows, however many workers share them."
    learning_rate: float | None = Field(None, gt=0)
    "Peak learning rate; default by objective and method: clm 1e-3, sft 2e-5 (adapter 2e-4), dpo 5e-7 (adapter 5e-6)."
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    "How the rate falls after the warmup; wsd stays up until the last fifth."
    warmup: float = Field(0.05, ge=0, lt=1)
    "Share of the steps in which the rate rises."
    floor: float = Field(0.1, ge=0, le=1)
    "Where the rate ends, as a share of its peak; 0.1 is Chinchilla's."
    weight_decay: float | None = Field(None, ge=0)
    "On matrices. Default: 0.1 for clm (GPT-3, Llama), 0 otherwise."
    clip: float = Field(1.0, gt=0)
    "Longest gradient, as a norm (GPT-3, Llama)."
    optimizer: Literal["adamw", "paged_adamw_8bit", "paged_adamw_32bit"] = "adamw"
    "paged_*: bitsandbytes optimizers that move their state to the host when a card is full."
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    "What is computed in; auto: bf16 on CUDA, fp32 on CPU; fp16 with a scaled loss, for cards without bf16. Trained weights are kept in fp32."
    window: int | None = Field(None, ge=8)
    "From scratch: how many tokens back a token sees (sliding window, as Mistral's); default: all of its document."
    compile: bool = False
    "torch.compile the layers: 15 to 27% faster steps on CUDA after minutes of compiling (torchtune, axolotl); needs a C++ compiler."
    checkpointing: bool = False
    "Gradient checkpointing: compute activations twice instead of keeping them."

    parallel: Literal["data", "fsdp"] = "data"
    """With several workers, by accelerate: data, the whole model on each of them (DDP); fsdp, weights, gradients and optimizer state in shards
    over all (FSDP2, after ZeRO-3, Rajbhandari et al. 2020), for clm, sft, dpo with full, freeze or lora. A teacher stays whole on each."""
    attention: Literal["auto", "sdpa", "flex", "flash"] = "auto"
    """sdpa: a block-diagonal mask, everywhere; flex: torch's flex attention with a block mask of the documents; flash: flash attention 2 over
    the bounds of the documents, as torch brings it (`varlen_attn`; bf16 or fp16, no package needed). These two on CUDA only; neither has run on
    a card here, so auto is sdpa."""

    rank: int = Field(16, ge=1)
    "lora, qlora: rank of the adapter (Zephyr's SFT: 16)."
    alpha: int | None = Field(None, ge=1)
    "lora, qlora: scale of the adapter over its rank; default: 2 x rank."
    dropout: float = Field(0.0, ge=0, lt=1)
    "lora, qlora: dropout before the adapter."
    rank_stabilised: bool = False
    "lora, qlora: scale by the root of the rank (rsLoRA), best of PEFT's comparison at rank 64."
    dora: bool = False
    "lora, qlora: train magnitude apart from direction (DoRA)."
    targets: tuple[str, ...] = ()
    "lora, qlora: names of the linear layers that get an adapter; default: all but the head."

    distil: float = Field(0.5, ge=0, le=1)
    "With a `teacher`: share of the loss that is the divergence from it, the rest being the text's own (Hinton et al. 2015)."
    distil_temperature: float = Field(2.0, gt=0)
    "With a `teacher`: both distributions are softened by it; the divergence is scaled by its square."

    beta: float | None = Field(None, gt=0)
    """dpo, kto: how hard it is pulled to the reference; orpo: weight of the odds ratio. Default: 0.1 (Rafailov et al.), but 5 for sigmoid_norm
    (Tulu 3) and 2 for simpo (Meng et al.)."""
    loss_type: Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "apo_zero", "apo_down", "simpo"] = "sigmoid"
    """dpo: sigmoid is Rafailov's; sigmoid_norm, ipo and simpo compare log-probabilities per token, so that longer answers are not preferred for
    their length (simpo without a reference); hinge is SLiC's; robust takes labels to be wrong in part; apo_zero and apo_down move both answers."""
    label_smoothing: float = Field(0.1, ge=0, lt=0.5)
    "dpo, loss_type robust: share of the pairs whose sides may be exchanged."
    simpo_gamma: float = Field(0.5, ge=0)
    "dpo, loss_type simpo: margin the chosen answer is to have."
    desirable_weight: float = Field(1.0, gt=0)
    "kto: weight of chosen answers."
    undesirable_weight: float = Field(1.0, gt=0)
    "kto: weight of rejected answers."
    virtual_tokens: int = Field(32, ge=1)
    "prompt, prefix, ptuning: how many virtual tokens (PEFT's comparison: 50 for prefix, 20 to 100 elsewhere)."
    prompt_text: str = "Read the question and answer it briefly and truly. 질문을 읽고 짧고 바르게 답하십시오."
    "prompt, prefix: what the virtual tokens begin as, repeated to their number. Say the task: begun at random they hardly learn."
    encoder_hidden: int = Field(128, ge=8)
    "ptuning: width of the network behind the virtual tokens, used while training only."

    mask_share: float = Field(0.15, gt=0, lt=1)
    "mlm: share of the tokens that are asked for (BERT: 0.15)."
    next_sentence: bool = False
    "mlm: documents split in two, half of them going on with another's second half; the first token says which (BERT)."

    rl: Literal["grpo", "rloo"] = "grpo"
    "rl: TRL's trainer: group-relative policy optimisation (Shao et al. 2024), or REINFORCE leave-one-out (Ahmadian et al. 2024)."
    answers: int = Field(8, ge=2)
    "rl: answers drawn to a prompt, compared with one another (TRL: 8)."
    answer_tokens: int = Field(256, ge=1)
    "rl: longest answer drawn (TRL: 256)."
    temperature: float = Field(1.0, gt=0)
    "rl: of the answers drawn while training (TRL: 1)."
    kl: float = Field(0.04, ge=0)
    "rl: weight of the divergence from the base (DeepSeekMath: 0.04)."

    rewards: Annotated[tuple[SerializeAsAny[RewardFunction], ...], BeforeValidator(built)] = ()
    """rl: functions that judge answers, instead of a reward model or beside it: `[numeric, {length: {most: 400, weight: 0.2}}, mine.py:score]`;
    see `maetdol list rewards`. All rewards are added."""
    reward_weight: float = Field(1.0, allow_inf_nan=False)
    "rl: what the reward model's number is multiplied with before it is added to those of `rewards`."

    sft_weight: float = Field(0.1, ge=0)
    "dpo: weight of the chosen answer's loss per token, which keeps its probability from falling along with the rejected one's."

    most_lost: float = Field(0.5, ge=0, le=1)
    "Share of rows that may be left out for any reason (held-out ones aside); above it the data check refuses and counts the reasons."

    holdout: float = Field(0.05, ge=0, lt=1)
    "Share of prompts (sft, dpo) held out of training; for clm, rows from `pack` say themselves what is held out."
    eval_every: int | None = Field(None, ge=1)
    "Steps between measurements on held-out rows; default: before the first and after the last only."
    eval_rows: int = Field(256, ge=0)
    "Held-out rows to measure on while training; 0: all."
    log_every: int = Field(1, ge=1)
    "Steps between lines of the loss curve."
    save_every: Annotated[int, UNKEYED] = Field(100, ge=1)
    "Steps between checkpoints."
    keep: Annotated[int, UNKEYED] = Field(1, ge=1)
    "Checkpoints kept while training."
    report_to: Annotated[tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...], UNKEYED] = ()
    "Where every step's loss, rate, gradient and speed are sent as well (transformers' callbacks; the package must be installed)."
    tensorboard: Annotated[str | None, UNKEYED] = None
    "Folder for TensorBoard's event file, with report_to: tensorboard."
    threads: int = Field(2, ge=1)
    "CPU threads of a worker. An option, not what the machine has: sums are split by it, so it decides last bits."
    seed: int | None = None
    "Of weights, order and dropout; default: the recipe's."

    @model_validator(mode="after")
    def _sense(self) -> Train:
        if self.objective != "clm" and self.steps is None and self.epochs > 100:
            raise ValueError("more than 100 epochs of fine-tuning is a slip of the pen: set `steps` if it is meant")
        if self.per_device_train_batch_size and "batch" in self.model_fields_set:
            raise ValueError("batch and per_device_train_batch_size count the same rows: give one of them")
        if self.window is not None and self.objective == "mlm":
            raise ValueError("mlm reads both ways, a window looks back: leave one of them out")
        if self.method in VIRTUAL and self.objective in WITHOUT_VIRTUAL:
            raise ValueError(
                f"objective {self.objective} {WITHOUT_VIRTUAL[self.objective]}: use method lora, qlora or ia3, not {self.method}"
            )
        if self.method == "prefix" and self.checkpointing:
            raise ValueError(
                "prefix tuning stands in the key/value cache, which gradient checkpointing does without: leave one of them out"
            )
        if self.optimizer.startswith("paged") and self.dtype == "fp16":
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

    def key(self, inputs: Inputs, *extra: Any, without: Sequence[str] = ()) -> str:
        """The number of workers is part of it where it decides how many rows a step sees."""
        counted = (f"workers {inputs.workers}",) if self.per_device_train_batch_size else ()
        return super().key(inputs, *extra, *counted, without=without)

    def shared_by(self, workers: int) -> Train:
        """The same with `batch` and `accumulation` for so many workers, where `per_device_train_batch_size` was given."""
        each = self.per_device_train_batch_size
        if each is None:
            return self
        # TRL, which trains rl, shares one forward pass among the workers; elsewhere they share the passes of a step.
        here = (
            {"batch": each * workers}
            if self.objective == "rl"
            else {"batch": each, "accumulation": self.accumulation * workers}
        )
        return self.model_copy(update={**here, "per_device_train_batch_size": None})

    def rows_of_a_step(self, workers: int) -> str:
        """In words: how many rows a step sees, and how they are shared."""
        shared = self.shared_by(workers)
        rows = shared.batch * shared.accumulation
        what = "answers" if self.objective == "rl" else "pairs" if "PAIR" in SHAPES[self.objective] else "rows"
        group = f"{workers} worker{'s' if workers > 1 else ''}"
        each, rest = divmod(rows, workers)
        passes = shared.accumulation if self.objective == "rl" else -(-each // shared.batch)
        if rest or not each or each % passes:
            return f"{rows} {what} a step, shared by {group}"
        return f"{group} x {each // passes} x {passes} = {rows} {what} a step"

    def needs(self) -> tuple[str, ...]:
        """With rl, TRL's version decides too."""
        return (
            *self.libraries,
            *sorted({name for one in self.rewards for name in one.libraries}),
            *(("trl",) if self.objective == "rl" else ()),
        )

    def whole(self) -> bool:
        """Are weights of the model itself trained, so that a whole model comes out?"""
        return self.method in ("full", "freeze")

    def rate(self) -> float:
        """Peak learning rate."""
        if self.learning_rate is None and self.method in METHOD_RATES:
            return METHOD_RATES[self.method] * (RATES[self.objective, False] / RATES["sft", False])
        return self.learning_rate or RATES[self.objective, self.whole()]

    def betas(self) -> tuple[float, float]:
        """Adam's; 0.95 for pretraining (GPT-3, Llama), 0.999 for fine-tuning."""
        return (0.9, 0.95) if self.objective in ("clm", "mlm") else (0.9, 0.999)

    def decay(self) -> float:
        """Weight decay of matrices."""
        return (
            self.weight_decay if self.weight_decay is not None else (0.1 if self.objective in ("clm", "mlm") else 0.0)
        )

    def pull(self) -> float:
        """Beta of dpo, kto and orpo."""
        return self.beta or (
            {"sigmoid_norm": 5.0, "simpo": 2.0}.get(self.loss_type, 0.1) if self.objective == "dpo" else 0.1
        )

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
        if self.optimizer != "adamw" and not cuda_is_there():
            raise UsageError(
                f"optimizer {self.optimizer} moves its state between a card and the host, and there is no card",
                "use optimizer: adamw",
            )
        check_workers(self, inputs.workers)
        check_reports(self)
        check_card(self, self.attention in ("flex", "flash") and cuda_is_there())
        check_used(self, based, bool(inputs["teacher"]), bool(inputs["reward"]))
        if inputs["teacher"] and self.objective not in ("clm", "sft"):
            what = "its reward" if self.objective == "rl" else "hidden tokens" if self.objective == "mlm" else "pairs"
            raise UsageError(
                f"{self.objective} learns from {what}, not from a teacher",
                "leave out `teacher`, or use objective clm or sft",
            )
        if self.objective != "rl" and inputs["reward"]:
            raise UsageError("only rl takes a reward model", "leave out `reward`")
        if self.objective == "rl" and not (inputs["reward"] or self.rewards):
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
        standing = sink.receipt(ARTEFACT)
        if standing is not None and standing.key == key:
            return [standing]
        self.check(inputs)
        from stages.train.workers.launch import launch

        return [launch(self, inputs, sink, pool, key)]


def cuda_is_there() -> bool:
    """Is there a card to compute on?"""
    import torch

    return torch.cuda.is_available()
