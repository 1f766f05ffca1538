"""A model and the adapters on it, as a chain of artefact folders, each bound to what it was trained on.

An adapter is worth nothing on another base, and nothing in the weights says which base is the right one. So every artefact
made here carries a card (`maetdol.json`) with the content hashes of the chain below it, and a chain is put together only
where they agree. LoRA adapters of a chain are stacked, not merged: each acts beside the base as it did when it was trained,
on a 4-bit base too, and the model before the last adapter stays there to be asked (the DPO reference). They are merged only
where a step trains all weights, and then into a base in full precision.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import UsageError
from pipeline.storage.store import ARTEFACT
from stages.models.inference.folder import CARD, hash_of, store_of


class ChainLink(NamedTuple):
    """One artefact of a chain: its folder, its card, and the content hash that adapters above it are bound to."""

    path: Path
    card: dict[str, Any]
    hash: str

    @property
    def is_adapter(self) -> bool:
        return self.card["kind"] == "adapter"


def open_link(folder: Path, known_hash: str | None = None) -> ChainLink:
    """The artefact in `folder`: made here (it has a card), or any Hugging Face model or PEFT adapter folder in safetensors.

    UsageError where the folder is neither, or holds only pickled weights.
    """
    folder = Path(folder)
    if (folder / CARD).exists():
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    elif (folder / "adapter_config.json").exists():
        card = {"kind": "adapter", "base": None, "method": "lora"}
    elif (folder / "config.json").exists():
        card = {"kind": "model", "base": [], "method": "full"}
    else:
        raise UsageError(
            f"{folder} holds neither a model nor an adapter",
            "give a store made by `maetdol train` or a Hugging Face model folder",
        )
    if not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"{folder} has no weights in safetensors", "convert them with safetensors; pickled weights are not read"
        )
    return ChainLink(folder, card, known_hash or hash_of(folder))


def chain_of(links: Sequence[ChainLink]) -> list[ChainLink]:
    """`links` in order, the model first and each adapter on what it was trained on.

    UsageError for no or two models, for an adapter whose card names another base, and for gaps.
    """
    models = [link for link in links if not link.is_adapter]
    if links and not models:
        raise UsageError(
            f"there is no model under the adapter in {links[0].path}",
            "give the model it was trained on too, and every adapter between the two",
        )
    if len(models) != 1:
        raise UsageError(
            f"a chain needs exactly one model under its adapters, {len(models)} given",
            "give base: [model, adapter, ...]",
        )
    chain = [models[0]]
    left = [link for link in links if link.is_adapter]
    while left:
        below = [link.hash for link in chain]
        fitting = next((link for link in left if link.card["base"] in (below, None)), None)
        if fitting is None:
            raise UsageError(
                f"the adapter in {left[0].path} was trained on another base",
                f"give the chain it was trained on (content hashes {left[0].card['base']}), or train it again on this one",
            )
        chain.append(fitting)
        left.remove(fitting)
    return chain


def chain_in(refs: Sequence[str]) -> list[ChainLink]:
    """Stores, model and adapter folders, or addresses on the Hub, as a chain. Adapters alone bring the base that one of them names."""
    links = [link_in(ref) for ref in refs]
    if all(link.is_adapter for link in links):
        links += [link_in(base) for base in list(filter(None, map(base_of, links)))[:1]]
    return chain_of(links)


def link_in(ref: str) -> ChainLink:
    """The artefact behind a path or an address."""
    store = store_of(ref)
    receipt = store.receipt(ARTEFACT)
    return open_link(store.artefact(), receipt.content_hash) if receipt is not None else open_link(Path(ref))


def base_of(link: ChainLink) -> str | None:
    """Where an adapter's configuration says its base is: a folder that is there, or a repository at a revision; None otherwise."""
    file = link.path / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not name or Path(name).is_dir():
        return name or None
    return f"hf://{name}@{revision}" if revision else None


def prefixes(links: Sequence[ChainLink]) -> list[list[ChainLink]]:
    """For every link the chain that ends in it: what evaluation compares, each model with the one before.

    Links may hold several models; an adapter goes on the chain its card names.
    """
    by_hash = {link.hash: link for link in links}
    chains = []
    for link in links:
        if not link.is_adapter:
            chains.append([link])
            continue
        base = link.card["base"]
        if base is None:
            base = [other.hash for other in links[: links.index(link)]]
        missing = [value for value in base if value not in by_hash]
        if missing:
            raise UsageError(
                f"the base of the adapter in {link.path} is not given",
                f"add the artefact with content hash {missing[0]} to `model`",
            )
        chains.append([*(by_hash[value] for value in base), link])
    return chains


def four_bit_of(chain: Sequence[ChainLink]) -> bool:
    """Is the last link an adapter that was trained on a 4-bit base? What was written whole after it is in full precision."""
    return chain[-1].is_adapter and chain[-1].card.get("method") == "qlora"


def assemble(
    chain: Sequence[ChainLink],
    *,
    dtype: Any,
    device: Any,
    four_bit: bool = False,
    merge: bool = False,
    stored: Any = None,
) -> Any:
    """The model of a chain on `device`, nothing trainable, adapters stacked and active (or merged into full weights).

    `four_bit` quantises the base to NF4 with double quantisation (QLoRA, Dettmers et al. 2023). `merge` with `four_bit`
    merges in full precision first and quantises what comes out. `stored`: the number type that 4-bit weights are packed in (bytes);
    shards need a floating one.
    """
    import torch

    with tempfile.TemporaryDirectory(prefix="maetdol-merge-") as merged:
        base = chain[0].path
        if merge and len(chain) > 1 and four_bit:
            assemble(chain, dtype=torch.float32, device=torch.device("cpu"), merge=True).save_pretrained(merged)
            base = Path(merged)
        model = load_model(base, dtype=dtype, device=device, four_bit=four_bit, stored=stored)
    if len(chain) > 1 and not (merge and four_bit):
        model = _stack(model, chain[1:])
        model = model.merge_and_unload() if merge else model
    model.requires_grad_(False)
    return model.eval()


def load_model(
    folder: Path, *, dtype: Any, device: Any, four_bit: bool = False, classes: bool = False, stored: Any = None
) -> Any:
    """A causal language model (`classes`: a sequence classifier) from a folder of safetensors; never runs the folder's code, never
    asks the network."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig

    options: dict[str, Any] = {
        "dtype": dtype,
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
    }
    if four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=["score"] if classes else None, bnb_4bit_quant_storage=stored,
        )  # fmt: skip
        options["device_map"] = {"": device}
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        if config.get_text_config() is not config:
            raise ValueError(f"{config.model_type} reads more than text")
        model = (AutoModelForSequenceClassification if classes else AutoModelForCausalLM).from_pretrained(
            str(folder), **options
        )
    except (OSError, ValueError, KeyError) as fault:
        raise UsageError(
            f"cannot load the model in {folder}: {str(fault).splitlines()[0]}",
            "give a Hugging Face causal language model folder in safetensors",
        ) from None
    model = _plain_layout(model)  # a folder may hold 4-bit weights already
    return model if four_bit else model.to(device)


def _plain_layout(model: Any) -> Any:
    """Keep bitsandbytes from repacking 4-bit weights for CPUs with AVX512-BF16.

    It does so at the first forward pass in evaluation mode and does not undo it: from then on the layer computes in bf16, so
    that a machine decides the numbers, and has no backward pass, so that training after an evaluation goes wrong silently.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def _stack(model: Any, adapters: Sequence[ChainLink]) -> Any:
    from peft import PeftConfig, PeftModel

    for link in adapters:
        put_rows(model, link.path)
    for index, link in enumerate(adapters):
        name, config = f"a{index}", PeftConfig.from_pretrained(str(link.path))
        if learnt_rows_of(link.path):
            config.trainable_token_indices = None  # they stand in the base by now
        if index == 0:
            model = PeftModel.from_pretrained(
                model, str(link.path), adapter_name=name, is_trainable=False, config=config
            )
        else:
            model.load_adapter(str(link.path), adapter_name=name, is_trainable=False, peft_config=config)
    if len(adapters) > 1:
        check_stackable(model)
        activate(model, [f"a{index}" for index in range(len(adapters))])
    return model


def learnt_rows_of(adapter: Path) -> dict[str, list[int]]:
    """Of which matrices an adapter brings which rows: those of tokens it has learnt beside it (PEFT's `trainable_token_indices`)."""
    found = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("trainable_token_indices")
    return found if isinstance(found, dict) else {"": found} if found else {}


def put_rows(model: Any, adapter: Path) -> None:
    """Write the rows that an adapter brings into the base's matrices, which get as many rows as that takes.

    PEFT itself (0.21) keeps them beside the base, and then neither saves nor loads another adapter on top."""
    import torch
    from safetensors import safe_open

    rows = learnt_rows_of(adapter)
    if not rows:
        return
    size = 1 + max(number for ids in rows.values() for number in ids)
    if size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(size, mean_resizing=False)
    modules = {name.rpartition(".")[2]: module for name, module in model.named_modules()}
    modules[""] = model.get_input_embeddings()
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as state, torch.no_grad():
        kept = {name.split(".")[-3]: name for name in state.keys() if name.endswith(".trainable_tokens_delta")}  # noqa: SIM118
        for name, ids in rows.items():
            weight = modules[name].weight
            found = state.get_tensor(kept[name] if name else next(iter(kept.values())))
            weight[torch.tensor(ids, device=weight.device)] = found.to(weight)


def check_stackable(model: Any) -> None:
    """UsageError where adapters of this model cannot act side by side."""
    kinds = {name: config.peft_type.value for name, config in model.peft_config.items()}
    if set(kinds.values()) != {"LORA"} or any(getattr(c, "use_dora", False) for c in model.peft_config.values()):
        raise UsageError(
            f"adapters of kinds {sorted(set(kinds.values()))} cannot be stacked",
            "merge the lower ones into the base first",
        )


def activate(model: Any, names: Sequence[str]) -> None:
    """Let exactly the adapters `names` act (all summed); none is trainable after."""
    model.base_model.set_adapter(list(names))
    for _name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
