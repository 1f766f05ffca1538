"""An extended tokenizer as a folder: the base's files with the new tokens, the map for training, and a card of before and after.

extension.json    the base's tokens that each new one was written with: what `train` gives its embedding the mean of
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs, input_shards
from pipeline.errors import UsageError, WorkError
from pipeline.storage.store import Store
from stages.tokenizer import card, extend, passes, sample
from stages.tokenizer.card import MAP

STALE = {"vocab.json", "merges.txt", "ranks.tiktoken", "tiktoken.json", "card.json", "README.md", "origin.json", MAP}
"""Files of the base that hold its vocabulary in other forms, or say what it was; tokenizer.json is the one that is read."""
COPIED = {".json", ".jinja", ".txt"}


class Made(NamedTuple):
    """The card, and the ledgers of which documents of the corpus were learnt from: of those gathered; how many others there
    are, by reason."""

    ledger: pa.Table
    left_out: dict[str, int]
    card: dict[str, Any]

    def summary(self, path: str) -> str:
        """What the command prints: sizes, what moved, tokens per word of before and after."""
        found = self.card["extension"]
        short = (
            "" if found["added"] == found["asked"] else f" of {found['asked']:,} asked for; the sample supports no more"
        )
        lines = [
            f"tokenizer {path}: {self.card['vocab_size']:,} ids, {found['added']:,} added{short}",
            f"held-out words without a new token: {found['words']:,}; words cut in positions where the base does not cut: {found['moved']:,}",
        ]
        after = self.card["measured"]["by_language"]
        for lang, cost in self.card["before"]["by_language"].items():
            lines.append(
                f"  {lang}: tokens per word {cost['fertility']} -> {after[lang]['fertility']}, "
                f"bytes per token {cost['bytes_per_token']} -> {after[lang]['bytes_per_token']}"
            )
        return "\n".join(lines)


def build(options: Any, folder: Path, stores: list[Store], sink: Store, out: Path) -> Made:
    """Learn, check and write into `out`, sampling in passes of `sink`; `options` is the command. WorkError where nothing is learnt; UsageError where the base cannot be extended or
    its two files would no longer agree."""
    from stages.models.encoder import FORMAT, Encoder, ours

    base = extend.opened(folder)
    shards = input_shards(Inputs({"of": stores}))
    gathered = passes.gather(shards, options.balance, options.sample_mb, options.probe_mb, sink, Inline())
    roll = sample.roll(gathered.store)
    verdict = sample.choose(roll, gathered.shares)
    taken = verdict == sample.TAKEN
    probed, on = sample.probe(roll, taken, int(options.probe_mb * passes.MIB))

    def held_out() -> Iterator[str]:
        return (text for _, text in sample.texts(gathered.store, probed))

    found = extend.learn(base, (text for _, text in sample.texts(gathered.store, taken)), options.tokens)
    if not found.tokens:
        raise WorkError(
            "tokenizer: nothing to add", "give a corpus in which words are written with several tokens, twice each"
        )
    page = extend.page_of(base, found.tokens, found.merges)
    write(base, folder, page, found, out)
    words, moved = extend.moved(base, page, held_out())
    own = ours(folder)
    (out / "card.json").write_text(json.dumps({"format": FORMAT if own else "extended"}), encoding="utf-8")
    new = Encoder(out)
    if (out / "tokenizer.model").is_file():
        agree(base, folder, out, page, held_out())
    before, after = (card.measure(one, sample.texts(gathered.store, probed)) for one in (Encoder(folder), new))
    facts = {
        "format": FORMAT if own else "extended",
        "vocab_size": new.size,
        "extension": {
            "base_size": base.size, "asked": options.tokens, "added": len(found.tokens), "characters": found.characters,
            "left_out": found.left_out, "steps": found.steps, "words": words, "moved": moved,
        },
        "options": options.model_dump(mode="json", include={"tokens", "sample_mb", "balance"}),
        "sample": sample.account(gathered, roll, taken),
        "before": {"on": on, "by_language": before},
        "measured": {"on": on, "by_language": after},
    }  # fmt: skip
    (out / "card.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card.extension_page(facts), encoding="utf-8")
    return Made(sample.ledger(roll.ids, verdict), gathered.left_out, facts)


def write(base: extend.Base, folder: Path, page: dict[str, Any], found: extend.Extension, out: Path) -> None:
    """The files of the extended tokenizer, but for its card."""
    out.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in COPIED and path.name not in STALE:
            shutil.copyfile(path, out / path.name)
    (out / "tokenizer.json").write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if not base.byte_level and (folder / "tokenizer.model").is_file():
        (out / "tokenizer.model").write_bytes(extend.model_of((folder / "tokenizer.model").read_bytes(), found))
    parts = {str(base.size + number): ids for number, ids in enumerate(extend.parts(base, found.tokens))}
    known = base.library.get_vocab_size(with_added_tokens=True)
    (out / MAP).write_text(json.dumps({"base": known, "tokens": parts}, indent=1) + "\n", encoding="utf-8")


def agree(base: extend.Base, folder: Path, out: Path, page: dict[str, Any], texts: Iterator[str]) -> None:
    """UsageError where SentencePiece's file cuts a text otherwise than tokenizer.json, and those of the base cut it alike."""
    import sentencepiece

    before, after = (
        sentencepiece.SentencePieceProcessor(model_file=str(one / "tokenizer.model")) for one in (folder, out)
    )
    library = extend.plain(page)
    for text in texts:
        alike = before.encode(text) == base.library.encode(text, add_special_tokens=False).ids
        if alike and after.encode(text) != library.encode(text, add_special_tokens=False).ids:
            raise UsageError(
                "tokenizer.model and tokenizer.json of the base, once extended, would not give the same ids",
                "remove tokenizer.model from a copy of the base's folder: tokenizer.json is what is read",
            )
