"""Adapters into weights, checked: how far is the merged model from the one that was trained?

An adapter trained on a 4-bit base has learned around that base's rounding. Merged into the full-precision weights it meets
others; merged into the 4-bit weights written out again it meets the same. Which is nearer is measured, not assumed: the
divergence of the next-token distributions on held-out conversations decides, and stands in the card.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.errors import SourceError, UsageError
from pipeline.storage.store import Store
from stages.models.chat.answers import encode_chat
from stages.models.chat.rows import Row, collate, join
from stages.models.chat.templates import Chat, copy_tokenizer, load_tokenizer, write_stops
from stages.models.inference.chain import CARD, ChainLink, assemble, four_bit_of, load_model, open_link
from stages.models.inference.score import divergences
from stages.train.model import TrainableModel
from stages.train.model_card import merged_page

BASES = ("full precision", "4 bits written out")


class Conversation(NamedTuple):
    """Messages, and the schemas of the tools that stand beside them (JSON text)."""

    messages: list[dict]
    tools: str | None


def held_conversations(path: str, share: float, most: int) -> list[Conversation]:
    """The first `most` held-out conversations of a CHAT store. SourceError for another store."""
    from stages.models.holdout import held_out, prompt_key

    store = Store(path)
    if store.shape != "CHAT":
        raise SourceError(f"{path} holds {store.shape or 'no known rows'}", "give a store of conversations")
    found: list[Conversation] = []
    for shard in store.shards():
        for batch in store.batches(shard):
            messages = [row or [] for row in batch.column("messages").to_pylist()]
            tools = batch.column("tools").to_pylist() if "tools" in batch.schema.names else [None] * len(batch)
            chosen = held_out([prompt_key(row) for row in messages], share) if share < 1 else [True] * len(messages)
            found += [Conversation(*row) for *row, out in zip(messages, tools, chosen) if out]
            if len(found) >= most:
                return found[:most]
    return found


class Merged(NamedTuple):
    """A merged model and its divergence from the stacked one, nats per token asked for, by the base it was merged into."""

    model: Any
    base: str
    divergence: dict[str, float]


def rows_of(conversations: Sequence[Conversation], chat: Chat, width: int) -> list[Row]:
    """Conversations as rows. UsageError where none can be rendered."""
    parts = [encode_chat(chat, one.messages, width, None, one.tools)[0] for one in conversations]
    rows = [join([part]) for part in parts if part is not None]
    if not rows:
        raise UsageError(
            "no conversation to measure the merge on", "give a CHAT store whose rows fit the model's context"
        )
    return rows


def merge(
    chain: Sequence[ChainLink], rows: Sequence[Row], pad: int, device: Any, dtype: Any = torch.float32, batch: int = 8
) -> Merged:
    """The chain as one model, merged into whichever base leaves it nearer to the chain as it was trained.

    Its weights are those that `dtype` can say, held and measured in fp32, so that what was measured is what is written.
    """
    trained = assemble(chain, dtype=torch.float32, device=device, four_bit=four_bit_of(chain))
    found: dict[str, float] = {}
    best: tuple[Any, str] | None = None
    for base in BASES if four_bit_of(chain) else BASES[:1]:
        model = _merged(chain, base, device)
        for weight in model.parameters():
            weight.data = weight.data.to(dtype).to(torch.float32)
        found[base] = divergence(trained, model, rows, pad, device, batch)
        if best is None or found[base] < found[best[1]]:
            best = (model, base)
    return Merged(*best, found)  # type: ignore[misc]


def _merged(chain: Sequence[ChainLink], base: str, device: Any) -> Any:
    if base == BASES[0]:
        return assemble(chain, dtype=torch.float32, device=device, merge=True)
    with tempfile.TemporaryDirectory(prefix="maetdol-merge-") as folder:
        load_model(chain[0].path, dtype=torch.float32, device=device, four_bit=True).dequantize().save_pretrained(
            folder
        )
        return assemble(
            [ChainLink(Path(folder), chain[0].card, chain[0].hash), *chain[1:]],
            dtype=torch.float32,
            device=device,
            merge=True,
        )


def folded(built: TrainableModel) -> TrainableModel:
    """A trained adapter merged into its base, for what is written whole (an encoder, a reward model). A base in 4 bits is written
    out first, so that what is saved computes what was trained, and needs no library for 4 bits."""
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    if built.adapter is None:
        return built
    model = built.model
    if getattr(model.get_base_model(), "is_loaded_in_4bit", False):
        state = {
            name: tensor.clone()
            for name, tensor in get_peft_model_state_dict(model, adapter_name=built.adapter).items()
        }
        config = model.peft_config[built.adapter]
        model = get_peft_model(model.unload().dequantize(), config, adapter_name=built.adapter)
        set_peft_model_state_dict(model, state, adapter_name=built.adapter)
    return TrainableModel(model.merge_and_unload(), None, [])


@torch.no_grad()
def divergence(trained: Any, model: Any, rows: Sequence[Row], pad: int, device: Any, batch: int) -> float:
    """KL(trained || model) over the tokens asked for, nats per token."""
    total, count = 0.0, 0
    for at in range(0, len(rows), batch):
        some = collate(rows[at : at + batch], pad, device)
        total += float(divergences(model, trained, some, 1.0).double().sum())
        count += int((some.labels != -100).sum())
    return total / count


def save(merged: Merged, chain: Sequence[ChainLink], tokenizer_folder: Path, out: Path) -> None:
    """A whole model folder with the tokenizer of the chain and a card that says what it was merged from."""
    out.mkdir(parents=True, exist_ok=True)
    merged.model.save_pretrained(out)
    tokenizer = load_tokenizer(tokenizer_folder)
    copy_tokenizer(tokenizer_folder, tokenizer, out)
    write_stops(Chat(tokenizer), out)
    bottom = chain[0].card
    card = {
        **chain[-1].card, "kind": "model", "method": "full", "base": [], "made_from": [link.hash for link in chain],
        "document_bos": bottom.get("document_bos", True), "merged_into": merged.base, "merge_divergence": merged.divergence,
    }  # fmt: skip
    (out / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (out / "README.md").write_text(merged_page(out.name, chain, card), encoding="utf-8")
    open_link(out)
