"""Options of `train` that belong to one thing: an optimizer, a method, an objective. Their names are transformers', PEFT's and TRL's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from pipeline import renamed
from pipeline.options import Options
from stages.train.objective.judging import RewardFunction, built


def as_names(value: Any) -> Any:
    """A name alone as a list of it; the words for what is the default, as transformers and PEFT have them, as none."""
    return ((value,) if value not in ("all-linear", "none") else ()) if isinstance(value, str) else value


class ModelOptions(Options):
    """The shape of a model from scratch: a Llama, with a window a Mistral."""

    hidden_size: int = Field(default=512, ge=8)
    "Width of the model."
    num_hidden_layers: int = Field(default=8, ge=1)
    "Number of layers."
    num_attention_heads: int = Field(default=8, ge=1)
    "Attention heads."
    num_key_value_heads: int | None = Field(default=None, ge=1)
    "Key/value heads shared by groups of heads; default: as many as heads."
    intermediate_size: int | None = Field(default=None, ge=8)
    "Width inside the gated layers; default: 8/3 of hidden_size, rounded up to a multiple of 32."
    tie_word_embeddings: bool = True
    "One matrix for reading and writing tokens; right for small models, where it is most of the weights."
    sliding_window: int | None = Field(default=None, ge=8)
    "How many tokens back a token sees; default: all of its document."


class OptimizerOptions(Options):
    """The optimizer, and the rate it works at."""

    optim: Literal["adamw", "paged_adamw_8bit", "paged_adamw_32bit"] = "adamw"
    "paged_*: bitsandbytes optimizers that move their state to the host when a card is full."
    learning_rate: float | None = Field(default=None, gt=0)
    "Peak learning rate; default by objective and method: clm 1e-3, sft 2e-5 (adapter 2e-4), dpo 5e-7 (adapter 5e-6)."
    lr_scheduler_type: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    "How the rate falls after the warmup; wsd stays up until the last fifth."
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    "Share of the steps in which the rate rises."
    min_lr_rate: float = Field(default=0.1, ge=0, le=1)
    "cosine, linear, wsd: where the rate ends, as a share of its peak; 0.1 is Chinchilla's."
    weight_decay: float | None = Field(default=None, ge=0)
    "On matrices. Default: 0.1 for clm and mlm (GPT-3, Llama), 0 otherwise."
    max_grad_norm: float = Field(default=1.0, gt=0)
    "Longest gradient, as a norm (GPT-3, Llama)."


class FreezeOptions(Options):
    """method freeze."""

    trainable_layers: int = Field(default=2, ge=1)
    "How many of the last layers are trained, with the final norm."


class LoraOptions(Options):
    """methods lora and qlora."""

    r: int = Field(default=16, ge=1)
    "Rank of the adapter (Zephyr's SFT: 16)."
    lora_alpha: int | None = Field(default=None, ge=1)
    "Scale of the adapter over its rank; default: 2 x r."
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    "Dropout before the adapter."
    use_rslora: bool = False
    "Scale by the root of the rank, best of PEFT's comparison at rank 64."
    use_dora: bool = False
    "Train magnitude apart from direction (DoRA)."
    target_modules: Annotated[tuple[str, ...], BeforeValidator(as_names)] = ()
    "Names of the linear layers that get an adapter; default: all but the head (PEFT's `all-linear`)."

    def scale(self) -> int:
        """lora_alpha, or its default."""
        return self.lora_alpha or 2 * self.r


class Ia3Options(Options):
    """method ia3."""

    target_modules: tuple[str, ...] = ()
    "Names of the linear layers that are scaled; default: PEFT's for the architecture."


class PromptTuningOptions(Options):
    """methods prompt, prefix and ptuning."""

    num_virtual_tokens: int = Field(default=32, ge=1)
    "How many virtual tokens (PEFT's comparison: 50 for prefix, 20 to 100 elsewhere)."
    prompt_tuning_init_text: str = (
        "Read the question and answer it briefly and truly. 질문을 읽고 짧고 바르게 답하십시오."
    )
    "prompt, prefix: what the virtual tokens begin as, repeated to their number. Say the task: begun at random they hardly learn."
    encoder_hidden_size: int = Field(default=128, ge=8)
    "ptuning: width of the network behind the virtual tokens, used while training only."


class SftOptions(Options):
    """objective sft."""

    packing: bool = True
    "Several conversations in a row, which do not see each other; 3.7 times as fast on short ones (TRL)."
    trains: Literal["assistant", "completion"] = "assistant"
    "Ask for every answer of a conversation, or for the last one alone."


class DistillationOptions(Options):
    """clm and sft with a `teacher`."""

    share: float = Field(default=0.5, ge=0, le=1)
    "Share of the loss that is the divergence from the teacher, the rest being the text's own (Hinton et al. 2015)."
    temperature: float = Field(default=2.0, gt=0)
    "Both distributions are softened by it; the divergence is scaled by its square."


class MlmOptions(Options):
    """objective mlm."""

    mlm_probability: float = Field(default=0.15, gt=0, lt=1)
    "Share of the tokens that are asked for (BERT: 0.15)."
    next_sentence: bool = False
    "Documents split in two, half of them going on with another's second half; the first token says which (BERT)."


class DpoOptions(Options):
    """objective dpo."""

    beta: float | None = Field(default=None, gt=0)
    """How hard it is pulled to the reference. Default: 0.1 (Rafailov et al.), but 5 for sigmoid_norm (Tulu 3) and 2 for simpo (Meng et al.)."""
    loss_type: Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "apo_zero", "apo_down", "simpo"] = "sigmoid"
    """sigmoid is Rafailov's; sigmoid_norm, ipo and simpo compare log-probabilities per token, so that longer answers are not preferred for
    their length (simpo without a reference); hinge is SLiC's; robust takes labels to be wrong in part; apo_zero and apo_down move both answers."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=0.5)
    "loss_type robust: share of the pairs whose sides may be exchanged."
    simpo_gamma: float = Field(default=0.5, ge=0)
    "loss_type simpo: margin the chosen answer is to have."
    sft_weight: float = Field(default=0.1, ge=0)
    "Weight of the chosen answer's loss per token, which keeps its probability from falling along with the rejected one's."


class KtoOptions(Options):
    """objective kto."""

    beta: float = Field(default=0.1, gt=0)
    "How hard it is pulled to the reference (Ethayarajh et al. 2024: 0.1)."
    desirable_weight: float = Field(default=1.0, gt=0)
    "Weight of chosen answers."
    undesirable_weight: float = Field(default=1.0, gt=0)
    "Weight of rejected answers."


class OrpoOptions(Options):
    """objective orpo."""

    beta: float = Field(default=0.1, gt=0)
    "Weight of the odds ratio (lambda of Hong et al. 2024: 0.1)."


class RlOptions(Options):
    """objective rl."""

    algorithm: Literal["grpo", "rloo"] = "grpo"
    "TRL's trainer: group-relative policy optimisation (Shao et al. 2024), or REINFORCE leave-one-out (Ahmadian et al. 2024)."
    num_generations: int = Field(default=8, ge=2)
    "Answers drawn to a prompt, compared with one another (TRL: 8)."
    max_completion_length: int = Field(default=256, ge=1)
    "Longest answer drawn, in tokens (TRL: 256)."
    temperature: float = Field(default=1.0, gt=0)
    "Of the answers drawn while training (TRL: 1)."
    beta: float = Field(default=0.04, ge=0)
    "Weight of the divergence from the base (DeepSeekMath: 0.04)."
    rewards: Annotated[tuple[SerializeAsAny[RewardFunction], ...], BeforeValidator(built)] = ()
    """Functions that judge answers, instead of a reward model or beside it: `[numeric, {length: {most: 400, weight: 0.2}}, mine.py:score]`;
    see `maetdol list rewards`. All rewards are added."""
    reward_weight: float = Field(default=1.0, allow_inf_nan=False)
    "What the reward model's number is multiplied with before it is added to those of `rewards`."


def of_before(given: Any, who: str) -> Any:
    """`given` with those names changed whose new place depends on other options: `beta` on the objective, layers on the method, and the
    rows of a step, which `batch` and `accumulation` counted over all workers."""
    if not isinstance(given, dict):
        return given
    found = dict(given)
    if found.get("objective") in ("kto", "orpo", "rl") and "beta" in found:
        found[f"{found['objective']}.beta"] = found.pop("beta")
    for name in ("targets", "target_modules"):
        if found.get("method") == "ia3" and name in found:
            found["ia3.target_modules"] = found.pop(name)
    passes = found.get("accumulation", 1)
    today = {"per_device_train_batch_size", "gradient_accumulation_steps", "global_batch_size"}
    if found.keys() & {"batch", "accumulation"} and not found.keys() & today:
        rows = found.pop("batch", 8)
        found.pop("accumulation", None)
        found["per_device_train_batch_size"] = rows
        if isinstance(rows, int) and isinstance(passes, int):
            found["global_batch_size"] = rows * passes
        renamed.note(f"{who}: option", "batch", "per_device_train_batch_size, with global_batch_size")
    return found


def short_name(value: Any) -> Any:
    """transformers' names of attention, as they are called here."""
    return (
        {"flex_attention": "flex", "flash_attention_2": "flash"}.get(value, value) if isinstance(value, str) else value
    )
