"""Models made smaller after training, each with its distance from what was trained measured before anything is written.

4 bits is NF4 with double quantisation, 8 bits is LLM.int8 (Dettmers et al. 2022, 2023), both as bitsandbytes folders in safetensors
that transformers loads as they are. Pruning sets the smallest weights of every linear layer to zero (Han et al. 2015): the file
keeps its size, and what it costs is known before anyone builds on it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.errors import UsageError
from stages.models.chat.rows import Row
from stages.models.chat.templates import Chat, copy_tokenizer, load_tokenizer, write_stops
from stages.models.inference.chain import CARD, ChainLink, assemble, load_model, open_link
from stages.train.merge import divergence


class Shrunk(NamedTuple):
    """A smaller model, and its divergence from the trained one (nats per token asked for)."""

    model: Any
    divergence: float
    note: dict[str, Any]


def quantised(chain: Sequence[ChainLink], bits: int, rows: Sequence[Row], pad: int, device: Any) -> Shrunk:
    """The chain as one model (adapters merged) in 4 or 8 bits."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    whole = assemble(chain, dtype=torch.float32, device=device, merge=len(chain) > 1)
    with tempfile.TemporaryDirectory(prefix="maetdol-shrink-") as folder:
        whole.save_pretrained(folder)
        if bits == 4:
            # Through the house's loader, which keeps bitsandbytes from repacking weights for one kind of processor.
            made = load_model(Path(folder), dtype=torch.float32, device=device, four_bit=True).eval()
        else:
            options = {
                "quantization_config": BitsAndBytesConfig(load_in_8bit=True),
                "dtype": torch.float32,
                "device_map": {"": device},
            }
            made = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **options
            ).eval()
    return Shrunk(made, divergence(whole, made, rows, pad, device, 8), {"bits": bits})


def pruned(chain: Sequence[ChainLink], share: float, rows: Sequence[Row], pad: int, device: Any) -> Shrunk:
    """The chain as one model whose linear layers (all but the head) have the smallest `share` of their weights at zero."""
    whole = assemble(chain, dtype=torch.float32, device=device, merge=len(chain) > 1)
    made = assemble(chain, dtype=torch.float32, device=device, merge=len(chain) > 1)
    head = made.get_output_embeddings()
    with torch.no_grad():
        for layer in made.modules():
            if isinstance(layer, torch.nn.Linear) and layer is not head:
                zeros = int(share * layer.weight.numel())
                if zeros:
                    smallest = layer.weight.abs().flatten().topk(zeros, largest=False).indices
                    layer.weight.view(-1)[smallest] = 0.0
    return Shrunk(made, divergence(whole, made, rows, pad, device, 8), {"pruned": share})


def save(shrunk: Shrunk, chain: Sequence[ChainLink], tokenizer_folder: Path, out: Path, most: float) -> int:
    """The smaller model as a folder with tokenizer and card; its bytes. UsageError, and nothing written, where it is too far off."""
    if not shrunk.divergence <= most:
        raise UsageError(
            f"the smaller model is {shrunk.divergence:.4f} nats per token away from the trained one",
            "shrink less, or raise `most`",
        )
    out.mkdir(parents=True, exist_ok=True)
    shrunk.model.save_pretrained(out)
    tokenizer = load_tokenizer(tokenizer_folder)
    copy_tokenizer(tokenizer_folder, tokenizer, out)
    write_stops(Chat(tokenizer), out)
    card = {
        **chain[-1].card, **shrunk.note, "kind": "model", "method": "full", "base": [], "made_from": [link.hash for link in chain],
        "document_bos": chain[0].card.get("document_bos", True), "shrink_divergence": shrunk.divergence,
    }  # fmt: skip
    (out / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    open_link(out)
    return sum(path.stat().st_size for path in out.glob("*.safetensors"))
