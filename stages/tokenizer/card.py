"""The card: what a tokenizer is, what it was trained on, and what it costs per language.

Fertility is tokens per word, a word being what stands between blanks (an eojeol in Korean). Bytes per token is what a
model reads with one step; both are measured on documents the tokenizer was not trained on, where the corpus holds any.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stages.models.encoder import FORMAT, Encoder
from stages.tokenizer import byte_level
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
    part_tokens: int = 0
    """Tokens that begin or end inside a character, single bytes included."""
    exact: int = 0
    """Documents that come back from their tokens letter by letter."""

    def add(self, text: str, ids: np.ndarray, is_byte: np.ndarray, is_part: np.ndarray, back: str) -> None:
        self.documents += 1
        self.bytes += len(text.encode())
        self.characters += len(text)
        self.words += len(text.split())
        self.tokens += len(ids)
        self.byte_tokens += int(is_byte[ids].sum())
        self.part_tokens += int(is_part[ids].sum())
        self.exact += back == text

    def facts(self) -> dict[str, Any]:
        """The counts and their ratios, rounded to 1/1000; null where nothing was counted."""
        ratio = {
            "fertility": _ratio(self.tokens, self.words),
            "bytes_per_token": _ratio(self.bytes, self.tokens),
            "characters_per_token": _ratio(self.characters, self.tokens),
            "byte_share": _ratio(self.byte_tokens, self.tokens),
            "part_share": _ratio(self.part_tokens, self.tokens),
        }
        return {**asdict(self), **ratio}


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None


def measure(encoder: Encoder, texts: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Costs per language of (language, text) pairs, and over all of them under `all`."""
    is_byte, is_part = encoder.byte_pieces(), encoder.part_pieces()
    costs: dict[str, Cost] = {ALL: Cost()}
    for lang, text in texts:
        ids = encoder.encode([text])[0]
        back = encoder.decode(ids)
        for name in (lang, ALL):
            costs.setdefault(name, Cost()).add(text, ids, is_byte, is_part, back)
    return {name: costs[name].facts() for name in sorted(costs)}


def speed(encoder: Encoder, texts: Iterable[tuple[str, str]]) -> float:
    """MB of text encoded in a CPU second, as `pack` does it: in batches of 16 MiB, one core."""
    column = pa.array([text for _, text in texts], pa.large_string())
    encoder.encode_column(column.slice(0, 1))
    began = time.process_time()
    encoder.encode_column(column)
    spent = time.process_time() - began
    return round(column.nbytes / 1e6 / spent, 1) if spent else 0.0


def card(
    *,
    requested_size: int,
    encoder: Encoder,
    options: dict[str, Any],
    sample: dict[str, Any],
    costs: dict[str, Any],
    beside: dict[str, Any],
    libraries: dict[str, str],
) -> dict[str, Any]:
    """card.json: everything above as plain values; nothing in it depends on time, path or run."""
    return {
        "format": FORMAT,
        "vocab_size": encoder.size,
        "asked": requested_size,
        "limited_by_corpus": encoder.size < requested_size,
        "base": list(byte_level.BASE if encoder.byte_level else BASE),
        "options": options,
        "ids": {"unk": None if encoder.byte_level else 0, "bos": encoder.bos, "eos": encoder.eos, "pad": encoder.pad},
        "sample": sample,
        "measured": costs,
        **({"beside": beside} if beside else {}),
        "libraries": libraries,
    }


def page(facts: dict[str, Any]) -> str:
    """README.md of the folder, for a reader."""
    options, sample, measured = facts["options"], facts["sample"], facts["measured"]
    level = options["model_type"] == "byte_bpe"
    limited = (
        f"\n{facts['asked']:,} were asked for; the sample supports no more.\n" if facts["limited_by_corpus"] else ""
    )
    others = {name: other["by_language"] for name, other in facts.get("beside", {}).items()}
    beside = "" if not others else BESIDE.format(rows="\n".join(_rows({"this one": measured["by_language"], **others})))
    trained = [
        f"| {lang} | {part['documents']:,} | {part['bytes']:,} |" for lang, part in sample["by_language"].items()
    ]
    licences = ", ".join(f"{name} ({number:,})" for name, number in sample["licences"].items())
    return f"""# Tokenizer of {facts["vocab_size"]:,} {"tokens (byte-level BPE)" if level else f"pieces ({options['model_type']}, byte fallback)"}
{limited}
{LOADS[level]}
Symbols: {", ".join(f"`{symbol}`" for symbol in (*facts["base"], *options["symbols"]))}. Plain text that spells one is not one:
encode it with `split_special_tokens=True`.

## Cost

Measured on {measured["on"]}. Fertility is tokens per word between blanks (an eojeol in Korean); byte share is the share of tokens that
are single bytes of characters outside the vocabulary, part share of those that begin or end inside a character; exact is the share
of documents that come back from their tokens letter by letter.

{HEAD}
{chr(10).join(row.replace("|  |", "|", 1) for row in _rows({"": measured["by_language"]}))}
{beside}
## Trained on

A sample by hash of document id, {sample["documents"]:,} of {sample["of_documents"]:,} documents, {sample["bytes"]:,} bytes.
Licences as the sources state them: {licences or "none stated"}.

| language | documents | bytes |
|---|---|---|
{chr(10).join(trained)}
"""


def extension_page(facts: dict[str, Any]) -> str:
    """README.md of an extended tokenizer."""
    found = facts["extension"]
    rows = _rows({"before": facts["before"]["by_language"], "after": facts["measured"]["by_language"]})
    limited = (
        "" if found["added"] == found["asked"] else f" {found['asked']:,} were asked for; the sample supports no more."
    )
    return f"""# Tokenizer of {facts["vocab_size"]:,} tokens, {found["added"]:,} of them added

The first {found["base_size"]:,} ids are those of the base.{limited} {found["characters"]:,} of the new tokens are characters the base has no
piece for. {found["left_out"]:,} pairs were left out because the base has their token; {found["steps"]:,} of the new tokens are only
merged on the way to others, every other one is what a text is cut into. Held-out text has {found["words"]:,} distinct words without a
new token; {found["moved"]:,} of all its distinct words are cut where the base does not cut.
`{MAP}` says which tokens of the base each new one was written with; `maetdol train` begins its embedding with their mean.

Measured on {facts["measured"]["on"]}.

| tokenizer {HEAD.replace(chr(10) + "|", chr(10) + "|---|", 1)}
{chr(10).join(rows)}
"""


MAP = "extension.json"
COLUMNS = ("documents", "bytes", "fertility", "bytes_per_token", "characters_per_token", "byte_share", "part_share")
HEAD = """| language | documents | bytes | fertility | bytes per token | characters per token | byte share | part share | exact |
|---|---|---|---|---|---|---|---|---|"""
BESIDE = (
    "\n## Beside others\n\nOn the same documents.\n\n| tokenizer " + HEAD.replace("\n|", "\n|---|", 1) + "\n{rows}\n"
)
LOADS = {
    False: """Loads with `transformers.AutoTokenizer.from_pretrained(folder)` and with `sentencepiece`; both give the same ids. Text is taken as
it is: no normalisation, no blank in front, runs of blanks and line breaks kept. Nothing is added before or after a text.""",
    True: """Loads with `transformers.AutoTokenizer.from_pretrained(folder)`, and with `tiktoken` from `ranks.tiktoken` and `tiktoken.json`; both give
the same ids. Text is taken as it is: no normalisation, no blank in front. Nothing is added before or after a text.""",
}
"""How it is opened, by whether it is byte-level."""


def _rows(tokenizers: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Lines of a table: one of each tokenizer and language, languages together."""
    languages = list(next(iter(tokenizers.values())))
    found = []
    for lang in languages:
        for name, costs in tokenizers.items():
            cost = costs[lang]
            exact = _number(_ratio(cost["exact"], cost["documents"]))
            found.append("| " + " | ".join([name, lang, *(_number(cost[key]) for key in COLUMNS), exact]) + " |")
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
