"""A base's sizes, counted on the model itself without its weights (torch's meta device), whatever its architecture.

Formulas hold for a Llama. Norms on heads, biases, experts, latent attention, layers that differ: what transformers builds from the
configuration has them all, so the plan counts there.
"""

from __future__ import annotations

import logging
from typing import Any

from stages.train.planning.budget import Counts, Shape, shape_of

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
"""What configurations call the number of experts of a layer that tokens choose from."""
log = logging.getLogger("maetdol.plan")


def counted(config: dict[str, Any]) -> Shape:
    """The shape of the model that a `config.json` describes; of the text model in one that reads more. By formula where transformers knows
    no such model."""
    made = _configuration(config)
    if made is None:
        return shape_of(config.get("text_config") or config)
    text = made.get_text_config()
    shape = shape_of(text)
    heads = shape.heads
    width = getattr(text, "head_dim", None) or shape.hidden // heads
    shape = shape._replace(
        intermediate=_active_width(text, shape.intermediate), head=None if width == shape.hidden // heads else width
    )
    found = _count(text)
    return shape if found is None else shape._replace(counts=found, tied=found.tied)


def _configuration(config: dict[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    return CONFIG_MAPPING[kind].from_dict(dict(config)) if kind in CONFIG_MAPPING else None


def _active_width(config: Any, dense: int) -> int:
    """Width of the gated layers a token goes through: of its experts together, and the shared ones."""
    chosen = getattr(config, "num_experts_per_tok", None)
    if not chosen or not _experts(config):
        return dense
    width = getattr(config, "moe_intermediate_size", None) or dense
    shared = (getattr(config, "n_shared_experts", None) or 0) * width
    return chosen * width + (shared or getattr(config, "shared_expert_intermediate_size", None) or 0)


def _experts(config: Any) -> int:
    return next((int(n) for name in EXPERTS if (n := getattr(config, name, None))), 0)


def _count(config: Any) -> Counts | None:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    except (ValueError, ImportError, NotImplementedError) as fault:
        log.warning("the weights of %s are estimated: %s", config.model_type, str(fault).splitlines()[0])
        return None
    reads, head = model.get_input_embeddings(), model.get_output_embeddings()
    share = (getattr(config, "num_experts_per_tok", None) or 1) / (_experts(config) or 1)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    routed = sum(size for name, size in sizes.items() if ".experts." in name)
    embedded = reads.weight.numel() if head is None or head.weight is not reads.weight else 0
    layers: dict[str, int] = {}
    for name, size in sizes.items():
        if ".layers." in name:
            number = name.partition(".layers.")[2].partition(".")[0]
            layers[number] = layers.get(number, 0) + size
    quantised = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    tied, vocabulary = head is None or head.weight is reads.weight, reads.weight.shape[0]
    return Counts(
        weights=sum(sizes.values()),
        working=round(sum(sizes.values()) - embedded - (1 - share) * routed),
        linear=_adapted(model),
        quantised=quantised,
        layers=tuple(layers[number] for number in sorted(layers, key=int)),
        vocabulary=vocabulary,
        tied=tied,
    )


def _adapted(model: Any) -> tuple[tuple[str, int, int], ...]:
    """Where PEFT puts a LoRA adapter, by an adapter of rank 1: for some architectures on experts in one tensor too. Changes `model`."""
    from peft import LoraConfig, get_peft_model

    made = get_peft_model(model, LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM"))
    found: dict[str, list[int]] = {}
    for name, parameter in made.named_parameters():
        if parameter.requires_grad:
            module, _, side = name.partition(".lora_")
            found.setdefault(module, [0, 0])[side[0] == "B"] += parameter.numel()
    return tuple((module.rpartition(".")[2], ins, outs) for module, (ins, outs) in found.items())
