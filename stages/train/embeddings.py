"""A base under an extended tokenizer: rows of the embeddings (and of the head) for the tokens that were added. They are learnt with all
weights (full), alone (embeddings: the way to begin), or beside an adapter that keeps them (lora, qlora).

An added token begins as the mean of the tokens the base wrote it with, in what reads and in what writes: the model then says about the
same of it as of its parts, where random rows would first have to be learnt (Hewitt 2021; Mosin et al. 2023 for continual pretraining).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.errors import UsageError
from stages.models.chat.templates import load_tokenizer
from stages.models.inference.chain import ChainLink
from stages.models.inference.generate import tokenizer_of


class Added(NamedTuple):
    """Tokens a tokenizer has and its base has not."""

    ids: list[int]
    parts: list[list[int]]
    """Of each, the base's tokens it is made of; empty where the base cannot write it."""
    known: int
    """How many tokens the base's tokenizer has."""


def own_tokenizer(chain: Sequence[ChainLink]) -> Any:
    """The tokenizer a base brings; None where it brings none."""
    try:
        return load_tokenizer(tokenizer_of(chain)) if chain else None
    except UsageError:
        return None


def added(tokenizer: Any, base: Any) -> Added | None:
    """What `tokenizer` has beyond `base`; None where that is nothing. UsageError where it is no extension: an id stands for another token."""
    mine, theirs = tokenizer.get_vocab(), base.get_vocab()
    by_id = {number: token for token, number in theirs.items()}
    other = sorted(number for token, number in mine.items() if by_id.get(number, token) != token)
    if other:
        written = tokenizer.convert_ids_to_tokens(other[0])
        raise UsageError(
            f"the tokenizer is another one than the base's: {len(other):,} ids stand for other tokens (id {other[0]}: {by_id[other[0]]!r} in the "
            f"base, {written!r} in it)",
            "give the tokenizer the base was trained with, or one that extends it and keeps its ids",
        )
    new = sorted((number, token) for token, number in mine.items() if number not in by_id)
    if not new:
        return None
    special = set(tokenizer.get_added_vocab())
    mapped = _mapped(tokenizer, len(base))
    parts = [
        mapped[str(number)] if str(number) in mapped else _parts(token, token in special, base) for number, token in new
    ]
    return Added([number for number, _ in new], parts, len(base))


def _mapped(tokenizer: Any, known: int) -> dict[str, list[int]]:
    """What `tokenizer extend` wrote beside its tokenizer of the tokens each new id was written with, where it was made of a base of as
    many tokens; else nothing."""
    path = Path(tokenizer.name_or_path) / "extension.json"
    page = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return page.get("tokens", {}) if page.get("base") == known else {}


def _parts(token: str, special: bool, base: Any) -> list[int]:
    """Ids of the base's tokens that a token is made of: an entry of the vocabulary by the base's own model, as it stands there (bytes as
    letters, `▁` for a blank); an added token by its text."""
    if special:
        found = base(token, add_special_tokens=False)["input_ids"]
    else:
        found = [piece.id for piece in base.backend_tokenizer.model.tokenize(token)]
    return [number for number in found if number != base.unk_token_id]


def check_learnt(stage: Any, chain: Sequence[ChainLink], found: Added | None) -> None:
    """UsageError where `stage` (a `Train`) cannot learn the tokens its tokenizer adds, or is to learn rows that there are none of."""
    if stage.method == "embeddings":
        if found is None:
            raise UsageError(
                "method embeddings trains the rows of the tokens that its tokenizer adds to the base's, and it adds none",
                "give `tokenizer` one that extends the base's, or use method full or lora",
            )
        return
    if found is None:
        return
    if stage.objective not in BY or stage.method not in BY[stage.objective]:
        ways = "; ".join(f"{objective}: {', '.join(methods)}" for objective, methods in BY.items())
        raise UsageError(
            f"the tokenizer has {len(found.ids):,} tokens that the base has not; they are learnt by {ways}",
            "train one of these first, and everything else on what comes out",
        )
    if stage.method != "full" and len(chain) > 1:
        raise UsageError(
            f"the tokenizer has {len(found.ids):,} tokens that the base has not, and the base is a model with adapters",
            "merge them into it first (`maetdol merge`), or use method full",
        )


BY = {
    "clm": ("full", "embeddings", "lora", "qlora"),
    "sft": ("full", "embeddings", "lora", "qlora"),
    "dpo": ("full",),
    "kto": ("full",),
    "orpo": ("full",),
}
"""Objectives and methods that learn added tokens. A preference is compared with the base alone, which knows nothing of them."""


def learnt_rows(model: Any, found: Added) -> dict[str, list[int]]:
    """For PEFT's `trainable_token_indices`: the matrix that reads and, where it is another one, the matrix that writes, by name, and the
    rows of the added tokens. UsageError where the head has a bias, which PEFT leaves out."""
    reads, writes = model.get_input_embeddings(), model.get_output_embeddings()
    if getattr(writes, "bias", None) is not None:
        raise UsageError(
            f"the head of {model.config.model_type} has a bias, whose rows for added tokens an adapter does not keep",
            "use method full",
        )
    modules = [reads] if writes is None or writes.weight is reads.weight else [reads, writes]
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    return {names[id(module)]: found.ids for module in modules}


@torch.no_grad()
def grow(model: Any, found: Added, size: int) -> None:
    """Give `model` a row for each of `size` tokens, in what reads and in what writes, tied or not, and set those of the added ones."""
    if size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(size, mean_resizing=False)
    head = model.get_output_embeddings()
    tensors = [model.get_input_embeddings().weight, head.weight, getattr(head, "bias", None)]
    for tensor in {id(one): one for one in tensors if one is not None}.values():
        usual = tensor[: found.known].float().mean(0)
        rows = [tensor[parts].float().mean(0) if parts else usual for parts in found.parts]
        tensor[found.ids] = torch.stack(rows).to(tensor.dtype)
