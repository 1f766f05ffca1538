"""The model a run trains: made from a shape, or put together from a base, with what is trainable marked as such."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.errors import UsageError
from stages.models.inference.attention import window_of
from stages.models.inference.chain import ChainLink, activate, assemble, check_stackable, load_model
from stages.models.inference.reward import with_head
from stages.train.embeddings import Added, check_learnt, grow, learnt_rows
from stages.train.workers.levers import MASKLESS

ROUND = 32
"""The inner width of a layer is rounded up to a multiple of this, as matrix units like it."""


class TrainableModel(NamedTuple):
    """A model to be trained; `adapter` is the name of the new adapter, or None where all weights are trained."""

    model: Any
    adapter: str | None
    adapters: list[str]
    """Every stacked adapter in order, the new one last."""


def build(
    stage: Any,
    chain: Sequence[ChainLink],
    tokenizer: Any,
    width: int,
    dtype: Any,
    device: Any,
    more: Added | None = None,
) -> TrainableModel:
    """The model for `stage` (a `Train`) on `chain` (empty: from scratch); `more`: what its tokenizer has beyond the base's."""
    check_learnt(stage, chain, more)
    if stage.objective == "reward":
        return with_reward_head(stage, chain, tokenizer, width, device)
    if not chain:
        return TrainableModel(scratch(stage, tokenizer, width).to(device), None, [])
    if stage.whole():
        # Full training keeps its weights in fp32 and computes in `dtype`; adapters below are merged into them.
        model = assemble(chain, dtype=torch.float32, device=device, merge=True)
        if more is not None:
            grow(model, more, len(tokenizer))
        open_layers(stage, model)
        if stage.objective == "mlm":
            read_both_ways(model)
        return TrainableModel(fitting(model, tokenizer, width), None, [])
    if stage.method == "embeddings":
        # Written whole too: the rows are put into the weights when they are learnt (`stages.train.merge.folded`).
        model = assemble(chain, dtype=torch.float32, device=device, merge=True)
        grow(model, more, len(tokenizer))  # type: ignore[arg-type]
        return adapted(stage, fitting(model, tokenizer, width), 0, tokenizer, more)
    if stage.objective == "mlm":
        # Written whole, as an encoder: adapters below are merged first, the new one when it is done (`stages.train.merge.folded`).
        model = assemble(chain, dtype=torch.float32, device=device, merge=True, four_bit=stage.method == "qlora")
        read_both_ways(model)
        return adapted(stage, fitting(model, tokenizer, width), 0, tokenizer)
    if len(chain) > 1 and stage.method not in ("lora", "qlora"):
        raise UsageError(
            f"an adapter of kind {stage.method} cannot be stacked on another",
            "merge the lower one into the base first (`maetdol merge`), or use method lora",
        )
    # fp16 trains its adapters in fp32 and computes the base in fp16; weights below bf16 and fp32 stay as computed.
    # torch cuts parameters of a floating type alone, and casts those that are not of the type computed in.
    stored = dtype if stage.parallel == "fsdp" else None
    model = assemble(chain, dtype=dtype, device=device, four_bit=stage.method == "qlora", stored=stored)
    if more is not None:
        grow(model, more, len(tokenizer))
    fitting(model, tokenizer, width)
    return adapted(stage, model, len(chain) - 1, tokenizer, more)


def with_reward_head(stage: Any, chain: Sequence[ChainLink], tokenizer: Any, width: int, device: Any) -> TrainableModel:
    """The base with a head that gives one number; all of it, its last layers, or an adapter and the head are trained."""
    from peft import get_peft_model

    base = fitting(assemble(chain, dtype=torch.float32, device=device, merge=True), tokenizer, width)
    model = with_head(base, tokenizer.pad_token_id)
    if stage.whole():
        open_layers(stage, model)
        model.score.requires_grad_(True)
        return TrainableModel(model, None, [])
    if stage.method == "qlora":
        model = _four_bit(model, device)
    config = config_of(stage, "SEQ_CLS")
    config.modules_to_save = ["score"]
    return TrainableModel(get_peft_model(model, config), "default", ["default"])


def _four_bit(model: Any, device: Any) -> Any:
    """The backbone in NF4, the head as it is."""
    with tempfile.TemporaryDirectory(prefix="maetdol-reward-") as folder:
        model.save_pretrained(folder)
        return load_model(Path(folder), dtype=torch.float32, device=device, four_bit=True, classes=True)


def read_both_ways(model: Any) -> None:
    """Let a causal model see what follows too. UsageError where its layers look back through a window."""
    if window := window_of(model.config):
        raise UsageError(
            f"{model.config.model_type} looks back {window} tokens, so it cannot read both ways",
            "take a base without a sliding window for objective mlm",
        )
    model.config.is_causal = False


def reinforced_base(stage: Any, chain: Sequence[ChainLink], tokenizer: Any, width: int, device: Any) -> tuple[Any, Any]:
    """The base with its adapters merged, and the configuration of the adapter TRL puts on it (None: all weights are trained)."""
    base = assemble(chain, dtype=torch.float32, device=device, merge=True, four_bit=stage.method == "qlora")
    open_layers(stage, fitting(base, tokenizer, width))
    return base, None if stage.whole() else config_of(stage)


def open_layers(stage: Any, model: Any) -> None:
    """Make trainable what `full` or `freeze` trains."""
    model.requires_grad_(stage.method == "full")
    if stage.method == "freeze":
        for part in (*model.base_model.layers[-stage.freeze.trainable_layers :], model.base_model.norm):
            part.requires_grad_(True)


def scratch(stage: Any, tokenizer: Any, width: int, empty: bool = False) -> Any:
    """A Llama (with a window: a Mistral) of the stage's shape with random weights (the random state decides them), or none at all (`empty`)."""
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    # A Mistral is a Llama that looks back through a window.
    shape = stage.model
    windowed = shape.sliding_window is not None
    configured, made = (MistralConfig, MistralForCausalLM) if windowed else (LlamaConfig, LlamaForCausalLM)
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads or shape.num_attention_heads
    if shape.hidden_size % heads or (shape.hidden_size // heads) % 2:
        raise UsageError(
            f"hidden_size {shape.hidden_size} does not split into {heads} heads of even width",
            "choose model.hidden_size as a multiple of 2 x num_attention_heads",
        )
    if heads % kv_heads:
        raise UsageError(
            f"{heads} heads cannot share {kv_heads} key/value heads",
            "choose model.num_key_value_heads as a divisor of num_attention_heads",
        )
    config = configured(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size or inner_width(shape.hidden_size),
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=width,
        tie_word_embeddings=shape.tie_word_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
        dtype="float32",
        **({"sliding_window": shape.sliding_window} if windowed else {}),
    )
    if stage.objective == "mlm":
        config.is_causal = False
    if empty:
        with torch.device("meta"):
            return made(config)
    return made(config)


def inner_width(hidden: int) -> int:
    """Width of the gated layer: 8/3 of hidden (as many weights as an ungated one of 4 x hidden; Shazeer 2020), rounded up.

    >>> inner_width(192)
    512
    """
    return -(-8 * hidden // (3 * ROUND)) * ROUND


def adapted(stage: Any, model: Any, below: int, tokenizer: Any, more: Added | None = None) -> TrainableModel:
    """`model` with a new adapter on top of the `below` stacked ones; only the new one is trainable. It keeps the rows of the tokens `more`."""
    from peft import get_peft_model

    config = config_of(stage, rows=learnt_rows(model, more) if more is not None else None)
    if stage.method in MASKLESS and (window := window_of(model.config)):
        raise UsageError(
            f"{model.config.model_type} looks back {window} tokens, and what stands in front of a row is soon out of its sight",
            f"use method lora, qlora or ia3, not {stage.method}",
        )
    names = [f"a{index}" for index in range(below + 1)]
    if below == 0:
        try:
            model = get_peft_model(model, config, adapter_name=names[0])
        except ValueError as fault:
            raise UsageError(
                f"PEFT puts no such adapter on {model.config.model_type}: {str(fault).splitlines()[0][:200]}",
                "leave out use_dora and lora_dropout where experts stand in one tensor, or name other layers in target_modules",
            ) from None
    else:
        model.add_adapter(names[-1], config)
        check_stackable(model)
        activate(model, names)
    begin_with_text(stage, model, names[-1], tokenizer)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(names[-1] in name.split("."))
        rows = "trainable_tokens_delta" in name  # PEFT keeps these in the type of the matrix, unlike its other weights
        if parameter.requires_grad and (parameter.dtype == torch.float16 or rows):
            parameter.data = parameter.data.float()
    return TrainableModel(model, names[-1], names)


def config_of(stage: Any, task: str = "CAUSAL_LM", rows: dict[str, list[int]] | None = None) -> Any:
    """PEFT's configuration of the stage's adapter; `rows`: of which matrices it learns which (`learnt_rows`)."""
    from peft import (
        IA3Config,
        LoraConfig,
        PrefixTuningConfig,
        PromptEncoderConfig,
        PromptTuningConfig,
        TrainableTokensConfig,
    )

    if stage.method == "embeddings":
        [ids] = {tuple(ids) for ids in (rows or {}).values()}
        return TrainableTokensConfig(task_type=task, token_indices=list(ids), target_modules=list(rows or {}))
    if stage.method == "ia3":
        # PEFT's own choice for the architecture (keys, values, the gated layer's way out) unless `target_modules` names others.
        return IA3Config(
            task_type=task,
            **(
                {"target_modules": list(named), "feedforward_modules": []}
                if (named := stage.ia3.target_modules)
                else {}
            ),
        )
    virtual = {"task_type": task, "num_virtual_tokens": stage.prompt_tuning.num_virtual_tokens}
    if stage.method == "prompt":
        return PromptTuningConfig(**virtual)
    if stage.method == "prefix":
        return PrefixTuningConfig(**virtual)
    if stage.method == "ptuning":
        return PromptEncoderConfig(**virtual, encoder_hidden_size=stage.prompt_tuning.encoder_hidden_size)
    return LoraConfig(
        r=stage.lora.r,
        lora_alpha=stage.lora.scale(),
        lora_dropout=stage.lora.lora_dropout,
        use_rslora=stage.lora.use_rslora,
        use_dora=stage.lora.use_dora,
        target_modules=list(stage.lora.target_modules) or "all-linear",
        bias="none",
        task_type=task,
        trainable_token_indices=rows,
    )


@torch.no_grad()
def begin_with_text(stage: Any, model: Any, name: str, tokenizer: Any) -> None:
    """prompt, prefix: virtual tokens begin as real ones: their embeddings (prompt), or what the model makes of them (prefix).

    Begun at random, prompt tuning reached 5.7 where text gave 34.3, prefix tuning 18.6 where a real prefix gave 41.6 (PEFT's
    method comparison, Llama-3.2-3B on GSM8K). P-tuning's network gains nothing from it (tests/bench/train), so it begins at random.
    """
    if stage.method not in ("prompt", "prefix"):
        return
    bos = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    given, count = stage.prompt_tuning.prompt_tuning_init_text, stage.prompt_tuning.num_virtual_tokens
    words = [*bos, *tokenizer(given, add_special_tokens=False)["input_ids"]]
    if len(words) == len(bos):
        raise UsageError("prompt_tuning_init_text holds no token", "give some words of the task")
    cycle = [*words, *(words[len(bos) :] * count)][:count]
    ids = torch.tensor([cycle], device=model.device)
    if stage.method == "prefix":
        from peft.tuners.cartridge.utils import initialize_kv_prefix_from_past_key_values

        with model.disable_adapter():
            made = model.get_base_model()(input_ids=ids, use_cache=True)
        initialize_kv_prefix_from_past_key_values(
            model, adapter_name=name, past_key_values=made.past_key_values, num_virtual_tokens=len(cycle)
        )
        return
    embedded = model.get_input_embeddings()(ids)[0]
    virtual = model.prompt_encoder[name].embedding.weight
    virtual.copy_(embedded.to(virtual.dtype))


def fitting(model: Any, tokenizer: Any, width: int) -> Any:
    """UsageError where the base cannot read what the tokenizer writes, or not that far."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise UsageError(
            f"the tokenizer has {len(tokenizer)} tokens, the base model {rows}",
            "give the tokenizer the base was trained with",
        )
    reach = getattr(model.config, "max_position_embeddings", None)
    if reach and width > reach:
        raise UsageError(
            f"rows of {width} tokens, but the base model reaches {reach}", f"set max_length to at most {reach}"
        )
    return model


def trainable(model: Any) -> dict[str, Any]:
    """Trained parameters by name, sorted by their place in the model."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
