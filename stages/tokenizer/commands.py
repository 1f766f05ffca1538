"""Verbs of the tokenizer: put a trained one where a project keeps it, take one in from elsewhere, add tokens to one."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.errors import SourceError, UsageError
from pipeline.options import Options, digest
from pipeline.storage.files import sync_folder
from pipeline.storage.store import Store


class Export(Options):
    """Copy a trained tokenizer into tokenizers/NAME/, with its card and the recipe that makes it."""

    verb: ClassVar[str] = "tokenizer export"
    arguments: ClassVar[tuple[str, ...]] = ("store", "name")
    writes: ClassVar[str] = "into"

    store: str
    "Store of a tokenizer step, such as runs/web-ko/tokenizer."
    name: str
    "Folder below `into` to fill; an older tokenizer of that name is replaced whole."
    into: str = "tokenizers"
    "Where tokenizers are kept."
    recipe: str | None = None
    "Recipe file to put beside it as recipe.yaml, so that it can be made again; default: the one that stands there already."

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError("a name is letters, digits, `.`, `-`, `_`")
        return name

    def run(self) -> int:
        source = Store(self.store)
        if source.shape != "artefact:tokenizer":
            raise SourceError(f"{self.store} holds no tokenizer", "give the store of a tokenizer step")
        target = Path(self.into) / self.name
        if target.exists() and not (target / "card.json").is_file():
            raise UsageError(f"{target} is there and is no exported tokenizer", "choose another name, or move it away")
        recipe = Path(self.recipe) if self.recipe else None
        if recipe is not None and not recipe.is_file():
            raise SourceError(f"no recipe at {recipe}", "give the path of the YAML file the store was made with")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as folder:
            made = Path(folder) / self.name
            shutil.copytree(source.artefact(), made)
            before = target / "recipe.yaml"
            if recipe is not None or before.is_file():
                shutil.copyfile(recipe or before, made / "recipe.yaml")
            (made / "origin.json").write_text(
                json.dumps(origin(source), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
            )
            if target.exists():
                shutil.rmtree(target)
            made.rename(target)
        sync_folder(target.parent)
        print(f"tokenizer {target}")
        return 0


def origin(store: Store) -> dict[str, Any]:
    """What an exported tokenizer is: hashes and options, nothing of the run, so that the same tokenizer gives the same folder."""
    manifest = store.require()
    receipt = store.receipt("artefact")
    return {
        "content_hash": receipt.content_hash,  # type: ignore[union-attr]
        "files": receipt.files,  # type: ignore[union-attr]
        "options": manifest.get("options", {}),
    }


class Adopt(Options):
    """Take a Hugging Face tokenizer folder in as a tokenizer store, for pack and train."""

    verb: ClassVar[str] = "tokenizer adopt"
    arguments: ClassVar[tuple[str, ...]] = ("folder", "store")
    writes: ClassVar[str] = "store"

    folder: str
    "A folder with tokenizer.json and tokenizer_config.json (local; nothing is fetched, no code in it is run)."
    store: str
    "The store to make."

    def run(self) -> int:
        from pipeline.options import content_hash
        from pipeline.storage.ledger import COLUMNS
        from stages.models.encoder import Encoder

        folder, sink = Path(self.folder), Store(self.store)
        if not folder.is_dir():
            raise SourceError(f"no folder at {folder}", "give the folder of a Hugging Face tokenizer")
        if sink.manifest() is not None:
            raise UsageError(f"{self.store} is there already", "choose another path, or remove it")
        encoder = Encoder(folder)
        key = content_hash(folder)
        with tempfile.TemporaryDirectory(prefix="maetdol-adopt-") as passing:
            kept = Path(passing) / "tokenizer"
            kept.mkdir()
            for path in sorted(folder.iterdir()):
                if path.is_file() and path.suffix in KEPT:
                    shutil.copyfile(path, kept / path.name)
            sink.put_artefact(
                kept,
                COLUMNS.empty_table(),
                key=key,
                stage="tokenizer",
                notes={"vocab_size": encoder.size, "adopted": True},
            )
        page = {"recipe": "", "step": sink.name, "stage": "tokenizer", "shape": "artefact:tokenizer", "key": key}
        sink.commit_manifest(page, [])
        print(f"tokenizer {sink.path}: {encoder.size:,} ids")
        return 0


class Extend(Options):
    """Add tokens learnt on a corpus to a byte-level or SentencePiece BPE tokenizer; every id of before stays what it is."""

    verb: ClassVar[str] = "tokenizer extend"
    arguments: ClassVar[tuple[str, ...]] = ("base", "store")
    writes: ClassVar[str] = "store"

    base: str
    "The tokenizer to extend: a store, or a Hugging Face folder (local; no code in it is run)."
    store: str
    "The store to make."
    corpus: list[str] = Field(min_length=1)
    "Stores of documents to learn from."
    tokens: int = Field(8192, ge=1, le=1 << 20)
    "Tokens to add. Where the sample supports fewer, as many as it does, and the card says so."
    sample_mb: float = Field(64.0, gt=0)
    "Text to learn from, MiB: documents by hash of their id until it is reached. It is held in memory, as its ids are."
    balance: Literal["corpus", "even"] | dict[str, float] = "corpus"
    "Languages in the sample: as in the corpus, the same for each, or weights such as `{ko: 2, en: 1}` (others are left out)."
    probe_mb: float = Field(4.0, gt=0)
    "Text for the figures of before and after, MiB, of documents outside the sample where there are any."

    def run(self) -> int:
        from pipeline.options import content_hash
        from stages.tokenizer.extended import build
        from stages.tokenizer.passes import forget_texts

        sink = Store(self.store)
        if sink.manifest() is not None:
            raise UsageError(f"{self.store} is there already", "choose another path, or remove it")
        base = Store(self.base) if Store(self.base).manifest() is not None else None
        folder = base.artefact() if base else Path(self.base)
        if not folder.is_dir():
            raise SourceError(f"no tokenizer at {self.base}", "give a store or the folder of a Hugging Face tokenizer")
        stores = [Store(path) for path in self.corpus]
        key = digest([content_hash(folder), [store.content_hash for store in stores], self.fingerprint()])
        with tempfile.TemporaryDirectory(prefix="maetdol-extend-") as passing:
            made = build(self, folder, stores, sink, Path(passing) / "made")
            sink.put_artefact(
                Path(passing) / "made",
                made.ledger,
                key=key,
                stage="tokenizer",
                left_out=made.left_out,
                notes={"vocab_size": made.card["vocab_size"], "extension": made.card["extension"]},
            )
        forget_texts(sink)
        root = f"{sink.path.rpartition('/')[0]}/"
        lineage = {
            port: [{"store": store.path.removeprefix(root), "content_hash": store.content_hash} for store in made_of]
            for port, made_of in (("of", stores), ("base", [base] if base else []))
        }
        page = {
            "recipe": "", "step": sink.name, "stage": "tokenizer", "shape": "artefact:tokenizer", "key": key, "lineage": lineage,
        }  # fmt: skip
        sink.commit_manifest(page, [])
        print(made.summary(sink.path))
        return 0


KEPT = {".json", ".model", ".jinja", ".txt", ".md"}
"""What a tokenizer folder may bring: vocabularies, templates, cards; no weights and no code."""
