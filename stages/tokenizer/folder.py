"""A trained SentencePiece model as a Hugging Face tokenizer folder with the same ids.

    tokenizer.model            SentencePiece's own file
    tokenizer.json             the same vocabulary for the `tokenizers` library, written here as plain JSON
    tokenizer_config.json      what `AutoTokenizer` reads; `LlamaTokenizer` for BPE

Equal ids need three things that the stock conversion does not give. Merges are made of ordinary pieces only: otherwise a
page that spells `<s>` or `<0x0A>` can be merged into that control or byte token. For unigram the entries that no text may
match get a score no path can afford, since the library matches every entry of the vocabulary. And the chat symbols
are control tokens, which SentencePiece never matches in text: `split_special_tokens=True` makes the other side do the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

NEVER = -1.0e5
"""Score of an entry that text must not match: far below any sum of real pieces over the same characters."""


class Piece(NamedTuple):
    text: str
    score: float
    ordinary: bool
    special: bool


def write(model: bytes, folder: Path, model_type: str, extra: tuple[str, ...], template: str | None = None) -> None:
    """Fill `folder` (created) from the model's bytes; `extra` are the chat symbols, `template` a chat template to ship."""
    folder.mkdir(parents=True, exist_ok=True)
    found = pieces(model)
    (folder / "tokenizer.model").write_bytes(model)
    _json(folder / "tokenizer.json", library(found, model_type))
    _json(folder / "tokenizer_config.json", config(model_type, extra))
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def pieces(model: bytes) -> list[Piece]:
    """Every entry of the vocabulary by id."""
    import sentencepiece

    known = sentencepiece.SentencePieceProcessor(model_proto=model)
    found = []
    for number in range(known.get_piece_size()):
        special = known.is_control(number) or known.is_unknown(number)
        ordinary = not (special or known.is_byte(number) or known.is_unused(number))
        found.append(Piece(known.id_to_piece(number), known.get_score(number), ordinary, special))
    return found


def merges(found: list[Piece]) -> list[list[str]]:
    """BPE merges: every way to make an ordinary piece of two others, best piece first, then the shorter left part."""
    ids = {piece.text: number for number, piece in enumerate(found) if piece.ordinary}
    pairs = [
        (number, cut, text[:cut], text[cut:])
        for text, number in ids.items()
        for cut in range(1, len(text))
        if text[:cut] in ids and text[cut:] in ids
    ]
    return [[left, right] for *_, left, right in sorted(pairs)]


def library(found: list[Piece], model_type: str) -> dict[str, Any]:
    """The `tokenizer.json` of the `tokenizers` library."""
    blank = {"String": " "}
    added = [
        {
            "id": number,
            "content": piece.text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, piece in enumerate(found)
        if piece.special
    ]
    if model_type == "bpe":
        model = {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
            "vocab": {piece.text: number for number, piece in enumerate(found)}, "merges": merges(found),
        }  # fmt: skip
        normalizer, splitter = (
            None,
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False},
        )
    else:
        scores = [[piece.text, piece.score if piece.ordinary else NEVER] for piece in found]
        model = {"type": "Unigram", "unk_id": 0, "vocab": scores, "byte_fallback": True}
        normalizer, splitter = {"type": "Replace", "pattern": blank, "content": "▁"}, None
    decoders = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": splitter, "post_processor": None, "decoder": {"type": "Sequence", "decoders": decoders}, "model": model,
    }  # fmt: skip


def config(model_type: str, extra: tuple[str, ...]) -> dict[str, Any]:
    """The `tokenizer_config.json`. BPE is a LlamaTokenizer; that class knows no unigram, which is read from the JSON alone."""
    return {
        "tokenizer_class": "LlamaTokenizer" if model_type == "bpe" else "PreTrainedTokenizerFast",
        "legacy": False,
        "add_prefix_space": False,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "extra_special_tokens": list(extra),
        "model_max_length": 1 << 30,
    }


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
