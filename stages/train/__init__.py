"""Train a language model: pretraining, SFT or DPO, from scratch or from a base, all weights, LoRA or QLoRA."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.errors import UsageError
from pipeline.ledger import Receipt
from pipeline.options import CONTENT, UNKEYED
from pipeline.pool import Pool
from pipeline.stage import Inputs, Port, Stage
from pipeline.store import ARTEFACT, Store

RATES = {
    ("clm", True): 1e-3,
    ("clm", False): 2e-4,
    ("sft", True): 2e-5,
    ("sft", False): 2e-4,
    ("dpo", True): 5e-7,
    ("dpo", False): 5e-6,
}
"""Default learning rates by (objective, all weights). SFT and DPO adapters: Zephyr's QLoRA recipes (2e-4, 5e-6); DPO of all
weights: Tulu 3 (5e-7); SFT of all weights: Alpaca (2e-5); pretraining: what GPT-3's table extrapolates to below 100 M weights."""
SHAPES = {"clm": "TOKENS", "sft": "CHAT", "dpo": "PAIR"}


class Train(Stage):
    """Train a language model: pretraining, SFT or DPO, from scratch or from a base, all weights, LoRA or QLoRA.

    The store is read as it lies. Held-out rows are never trained on (`stages.models.holdout`); every other input row is
    trained on or stands in the ledger with a reason: `train.over_context`, `train.empty`, `chat.over_context`, `chat.all_masked`, `pair.equal`,
    `train.not_reached`, `chat.*`. The artefact is a Hugging Face model folder, or a PEFT adapter folder, with
    the tokenizer and its chat template, `maetdol.json` (what it was made from, template lock) and `history.jsonl`.

    `history.jsonl`: a JSON object per line. `kind` is `train` (a logged step) or `held_out`; `step` counts optimizer steps,
    `loss` is nats per token (clm, sft) or per pair (dpo), `weight` the tokens or pairs behind it, `learning_rate`,
    `gradient_norm`; for dpo also `chosen_logp` and `rejected_logp` (nats per token), `margin` (beta times the difference of
    log-ratios), `reward_accuracy` (margin above zero) and `accuracy` (chosen likelier per token than rejected).

    DPO on top of an SFT adapter: give `base: [pretrain, sft]`. The SFT adapter stays as it was trained, frozen, and the new
    adapter is stacked on it; the reference is the same model without the new adapter. With `method: full` the adapters of
    the base are merged into it first.
    """

    ports: ClassVar[dict[str, Port]] = {
        "of": Port("TOKENS|CHAT|PAIR", many=True, help="what to train on: TOKENS for clm, CHAT for sft, PAIR for dpo"),
        "tokenizer": Port("artefact:tokenizer", optional=True, help="its tokenizer; default: the base's own"),
        "base": Port("artefact:model|artefact:adapter", optional=True, many=True, help="a model and the adapters on it"),
        "teacher": Port("artefact:model|artefact:adapter", optional=True, many=True, help="clm, sft: a model to learn the distribution of"),
    }
    makes: ClassVar[str | None] = None
    draws: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "peft", "bitsandbytes")

    objective: Literal["clm", "sft", "dpo"] = "clm"
    "clm: foretell every token of packed documents; sft: of the answers in conversations; dpo: prefer the chosen answer of a pair."
    method: Literal["full", "freeze", "lora", "qlora", "ia3"] = "full"
    "full: all weights; freeze: the last layers alone; lora: an adapter; qlora: an adapter on a base in 4 bits (NF4, double quantisation); ia3: a scale per activation."
    open_layers: int = Field(2, ge=1)
    "freeze: how many of the last layers are trained, with the final norm."
    checkpoint: Annotated[str | None, CONTENT] = None
    "A Hugging Face model folder (safetensors) to start from, instead of `base`."

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
    "Tokens in a row. Default: the longest packed row (clm), or what the base reaches (sft, dpo)."
    pack: bool = True
    "sft: several conversations in a row, which do not see each other; 3.7 times as fast on short ones (TRL)."
    trains: Literal["assistant", "completion"] = "assistant"
    "sft: ask for every answer of a conversation, or for the last one alone."
    template: Annotated[str | None, CONTENT] = None
    "sft, dpo: file of a Jinja chat template, instead of the tokenizer's own."

    epochs: float = Field(1.0, gt=0)
    "Times over the rows."
    steps: int | None = Field(None, ge=1)
    "Optimizer steps, instead of epochs."
    batch: int = Field(8, ge=1)
    "Rows (pairs) in one forward pass."
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
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    "What is computed in; auto: bf16 on CUDA, fp32 on CPU. Trained weights are kept in fp32."
    checkpointing: bool = False
    "Gradient checkpointing: compute activations twice instead of keeping them."

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
    "dpo: how hard it is pulled to the reference. Default: 5 per token (Tulu 3's dpo_norm), 0.1 on sums (Rafailov et al.)."
    length_normalised: bool = True
    "dpo: compare log-probabilities per token, so that longer answers are not preferred for their length."
    sft_weight: float = Field(0.1, ge=0)
    "dpo: weight of the chosen answer's loss per token, which keeps its probability from falling along with the rejected one's."

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
    threads: int = Field(2, ge=1)
    "CPU threads of a worker. An option, not what the machine has: sums are split by it, so it decides last bits."
    seed: int | None = None
    "Of weights, order and dropout; default: the recipe's."

    @model_validator(mode="after")
    def _sense(self) -> "Train":
        if self.objective != "clm" and self.checkpoint is None and self.steps is None and self.epochs > 100:
            raise ValueError("more than 100 epochs of fine-tuning is a slip of the pen: set `steps` if it is meant")
        if self.dora and self.method not in ("lora", "qlora"):
            raise ValueError("dora needs method lora or qlora")
        return self

    def output(self, of: str | None) -> str | None:
        """`artefact:model`, or `artefact:adapter`."""
        return "artefact:model" if self.whole() else "artefact:adapter"

    def whole(self) -> bool:
        """Are weights of the model itself trained, so that a whole model comes out?"""
        return self.method in ("full", "freeze")

    def rate(self) -> float:
        """Peak learning rate."""
        return self.learning_rate or RATES[self.objective, self.whole()]

    def betas(self) -> tuple[float, float]:
        """Adam's; 0.95 for pretraining (GPT-3, Llama), 0.999 for fine-tuning."""
        return (0.9, 0.95) if self.objective == "clm" else (0.9, 0.999)

    def decay(self) -> float:
        """Weight decay of matrices."""
        return self.weight_decay if self.weight_decay is not None else (0.1 if self.objective == "clm" else 0.0)

    def pull(self) -> float:
        """DPO's beta."""
        return self.beta or (5.0 if self.length_normalised else 0.1)

    def check(self, inputs: Inputs) -> None:
        """UsageError where the ports do not fit the objective; nothing has run by then."""
        wanted = SHAPES[self.objective]
        for store in inputs["of"]:
            if store.shape != wanted:
                raise UsageError(f"objective {self.objective} trains on {wanted}, {store.name} holds {store.shape}", f"give `of` a store of {wanted}")
        if self.checkpoint and inputs["base"]:
            raise UsageError("both `base` and `checkpoint` are given", "give one of them")
        based = bool(self.checkpoint or inputs["base"])
        if inputs["teacher"] and self.objective == "dpo":
            raise UsageError("dpo learns from pairs, not from a teacher", "leave out `teacher`, or use objective clm or sft")
        if not based and self.method != "full":
            raise UsageError(f"method {self.method} needs a base model", "give `base` or `checkpoint`, or train with method: full")
        if not based and not inputs["tokenizer"]:
            raise UsageError("training from scratch needs a tokenizer", "add a tokenizer step before it, or give `tokenizer`")

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        key = self.key(inputs)
        standing = sink.receipt(ARTEFACT)
        if standing is not None and standing.key == key:
            return [standing]
        self.check(inputs)
        from stages.train.launch import launch

        return [launch(self, inputs, sink, pool, key)]
