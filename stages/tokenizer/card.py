"""The card: what a tokenizer is, what it was trained on, and what it costs per language.

Fertility is tokens per word, a word being what stands between blanks (an eojeol in Korean). Bytes per token is what a
model reads with one step; both are measured on documents the tokenizer was not trained on, where the corpus holds any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stages.models.encoder import FORMAT, Encoder
from stages.tokenizer.fit import BASE

ALL = "all"


@dataclass
class Cost:
    """Counts over the texts of one language."""

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    words: int = 0
    tokens: int = 0
    byte_tokens: int = 0
    """Tokens that are single bytes of characters the vocabulary does not hold; line breaks, always a byte, not counted."""

    def add(self, text: str, ids: np.ndarray, is_byte: np.ndarray) -> None:
        self.documents += 1
        self.bytes += len(text.encode())
        self.characters += len(text)
        self.words += len(text.split())
        self.tokens += len(ids)
        self.byte_tokens += max(0, int(is_byte[ids].sum()) - text.count("\n"))

    def facts(self) -> dict[str, Any]:
        """The counts and their ratios, rounded to 1/1000; null where nothing was counted."""
        ratio = {
            "fertility": _ratio(self.tokens, self.words),
            "bytes_per_token": _ratio(self.bytes, self.tokens),
            "characters_per_token": _ratio(self.characters, self.tokens),
            "byte_share": _ratio(self.byte_tokens, self.tokens),
        }
        return {**asdict(self), **ratio}


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None


def measure(encoder: Encoder, texts: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Costs per language of (language, text) pairs, and over all of them under `all`."""
    is_byte = encoder.byte_pieces()
    costs: dict[str, Cost] = {ALL: Cost()}
    for lang, text in texts:
        ids = encoder.encode([text])[0]
        for name in (lang, ALL):
            costs.setdefault(name, Cost()).add(text, ids, is_byte)
    return {name: costs[name].facts() for name in sorted(costs)}


def card(
    *,
    requested_size: int,
    encoder: Encoder,
    options: dict[str, Any],
    sample: dict[str, Any],
    costs: dict[str, Any],
    libraries: dict[str, str],
) -> dict[str, Any]:
    """card.json: everything above as plain values; nothing in it depends on time, path or run."""
    return {
        "format": FORMAT,
        "vocab_size": encoder.size,
        "asked": requested_size,
        "limited_by_corpus": encoder.size < requested_size,
        "base": list(BASE),
        "options": options,
        "ids": {"unk": 0, "bos": encoder.bos, "eos": encoder.eos, "pad": encoder.pad},
        "sample": sample,
        "measured": costs,
        "libraries": libraries,
    }


def page(facts: dict[str, Any]) -> str:
    """README.md of the folder, for a reader."""
    options, sample, measured = facts["options"], facts["sample"], facts["measured"]
    limited = (
        f"\n{facts['asked']:,} were asked for; the sample supports no more.\n" if facts["limited_by_corpus"] else ""
    )
    rows = [
        f"| {lang} | {cost['documents']:,} | {cost['bytes']:,} | {_number(cost['fertility'])} | {_number(cost['bytes_per_token'])} "
        f"| {_number(cost['characters_per_token'])} | {_number(cost['byte_share'])} |"
        for lang, cost in measured["by_language"].items()
    ]
    trained = [
        f"| {lang} | {part['documents']:,} | {part['bytes']:,} |" for lang, part in sample["by_language"].items()
    ]
    licences = ", ".join(f"{name} ({number:,})" for name, number in sample["licences"].items())
    return f"""# Tokenizer of {facts["vocab_size"]:,} pieces ({options["model_type"]}, byte fallback)
{limited}
Loads with `transformers.AutoTokenizer.from_pretrained(folder)` and with `sentencepiece`; both give the same ids. Text is taken as
it is: no normalisation, no blank in front, runs of blanks and line breaks kept. Nothing is added before or after a text.
Symbols: {", ".join(f"`{symbol}`" for symbol in (*facts["base"], *options["symbols"]))}. Plain text that spells one is not one:
encode it with `split_special_tokens=True`.

## Cost

Measured on {measured["on"]}. Fertility is tokens per word between blanks; byte share is the share of tokens that
are single bytes of characters outside the vocabulary.

| language | documents | bytes | fertility | bytes per token | characters per token | byte share |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

## Trained on

A sample by hash of document id, {sample["documents"]:,} of {sample["of_documents"]:,} documents, {sample["bytes"]:,} bytes.
Licences as the sources state them: {licences or "none stated"}.

| language | documents | bytes |
|---|---|---|
{chr(10).join(trained)}
"""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
