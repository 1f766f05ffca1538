"""Models from elsewhere as stores: a Hugging Face model or PEFT adapter folder, or a repository on the Hub, read where it lies.

Such a folder is keyed by the bytes of what a model is made of (`is_part`), so that it is the same wherever it lies, and the same
as the store that `maetdol model adopt` makes of it: an adapter trained on one of them fits all.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError, UsageError
from pipeline.options import digest, known_hash
from pipeline.storage.ledger import COLUMNS, Receipt
from pipeline.storage.store import ARTEFACT, Store

CARD = "maetdol.json"
PARTS = ("*.safetensors", "*.json", "*.jsonl", "*.jinja", "*.model", "*.txt", "*.tiktoken", "LICEN[CS]E*", "NOTICE*")
"""Files of a model folder that are read: weights in safetensors, configurations, tokenizers, templates, licences. No code, nothing pickled."""
PAGE = "README.md"
"""What a model is and under which licence; no part of its content."""
HUB = re.compile(r"hf://([\w.\-]+/[\w.\-]+)(?:@([\w.\-/]+))?/?")


def parts(folder: Path) -> list[Path]:
    """The files of `folder` that make the model, sorted by name; subfolders are not read."""
    return sorted(
        {path for pattern in PARTS for path in folder.glob(pattern) if path.is_file() and path.name[0] != "."}
    )


def hashes(folder: Path) -> dict[str, str]:
    """Content hash per file that makes the model; read once while none of them changes."""
    return {path.name: known_hash(path) for path in parts(folder)}


def hash_of(folder: Path) -> str:
    """The identity of a model folder: that of a store holding the same files."""
    return digest(hashes(folder))


class ModelFolder(Store):
    """A model or adapter folder as the store that `model adopt` would make of it; nothing is written. `source` is its address on the Hub."""

    def __init__(self, folder: str | os.PathLike, source: str = ""):
        super().__init__(folder)
        self.folder, self.source = Path(folder), source
        self.path = source or self.path

    def __reduce__(self) -> Any:
        return (ModelFolder, (str(self.folder), self.source))

    @property
    def shape(self) -> str:
        return shape_of(self.folder)

    def manifest(self) -> dict[str, Any]:
        return {
            "stage": "",
            "shape": self.shape,
            "artefact": {"content_hash": hash_of(self.folder)},
            "shards": [],
            "rows": 0,
            "reasons": {},
        }

    def receipt(self, shard: int | str) -> Receipt | None:
        if shard != ARTEFACT:
            return None
        found = hashes(self.folder)
        return Receipt("", -1, digest(found), digest(found), "", files=found)

    def artefact(self) -> Path:
        return self.folder


def shape_of(folder: Path) -> str:
    """`artefact:model`, `adapter`, `encoder` or `reward`, by its card or its configuration. UsageError where the folder is no model."""
    card = _json(folder / CARD) if (folder / CARD).is_file() else {}
    if card.get("objective") in ("mlm", "reward") and card.get("kind") != "adapter":
        return "artefact:encoder" if card["objective"] == "mlm" else "artefact:reward"
    if (folder / "adapter_config.json").is_file():
        return "artefact:adapter"
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder} is neither a store nor a model folder",
            "give a store (it holds manifest.json), a Hugging Face model or PEFT adapter folder, or hf://org/name@revision",
        )
    made = (_json(folder / "config.json").get("architectures") or [""])[0]
    return "artefact:reward" if str(made).endswith("ForSequenceClassification") else "artefact:model"


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise SourceError(f"{path} cannot be read: {fault}", "fetch the folder again") from None
    return found if isinstance(found, dict) else {}


def opened(ref: str) -> Store | None:
    """What a port that takes models makes of a reference: a folder that is no store, or `hf://org/name@revision`; None for a store."""
    if ref.startswith("hf://"):
        return fetched(ref)
    folder = Path(ref)
    if "://" in ref or not folder.is_dir() or (folder / "manifest.json").exists() or (folder / "receipts").is_dir():
        return None
    return (
        ModelFolder(folder)
        if any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
        else None
    )


def store_of(ref: str) -> Store:
    """The store behind a path or address, a model folder among them."""
    return opened(ref) or Store(ref)


@lru_cache
def fetched(address: str) -> ModelFolder:
    """The snapshot of a Hub repository, from huggingface_hub's cache where it is there, else over the network. SourceError with the
    hint where it cannot be had; its `source` names the commit."""
    match = HUB.fullmatch(address)
    if match is None or not match[2]:
        raise UsageError(
            f"{address} names no {'repository' if match is None else 'revision'}",
            "write hf://org/name@revision, best with the commit's hash: a branch may move",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RevisionResolutionError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        folder = Path(snapshot_download(match[1], revision=match[2], allow_patterns=[*PARTS, PAGE]))
    except (OSError, ValueError, RevisionResolutionError) as fault:
        raise SourceError(
            f"{address} cannot be fetched: {type(fault).__name__}: {str(fault).strip().splitlines()[0][:200]}",
            "check name and revision, and the network (HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN for gated ones); without a network, fetch it "
            f"where there is one (`hf download {match[1]} --revision {match[2]}`) and give the folder",
        ) from None
    return ModelFolder(folder, f"hf://{match[1]}@{folder.name}")


def page_of(ref: str) -> Path | None:
    """The README.md beside a model from elsewhere (a folder, or `hf://org/name@revision` as it lies in the cache); None where none is there."""
    folder = Path(ref)
    if match := HUB.fullmatch(ref):
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(match[1], PAGE, revision=match[2])
        return Path(found) if isinstance(found, str) else None
    return folder / PAGE if (folder / PAGE).is_file() else None


def adopt(ref: str, sink: Store) -> str:
    """Copy the model behind `ref` into `sink`; says what it is. UsageError where it is none or something stands there."""
    found = opened(ref)
    if not isinstance(found, ModelFolder):
        raise UsageError(
            f"{ref} is no model folder", "give a Hugging Face model or PEFT adapter folder, or hf://org/name@revision"
        )
    if sink.manifest() is not None:
        raise UsageError(f"{sink.path} is there already", "choose another path, or remove it")
    if not any(path.suffix == ".safetensors" for path in parts(found.folder)):
        raise UsageError(
            f"{ref} has no weights in safetensors", "convert them with safetensors; pickled weights are not read"
        )
    key, shape = hash_of(found.folder), found.shape
    with tempfile.TemporaryDirectory(prefix="maetdol-adopt-") as passing:
        for path in parts(found.folder):
            (Path(passing) / path.name).symlink_to(path.resolve())
        notes = {"adopted": found.source or found.folder.name}
        receipt = sink.put_artefact(Path(passing), COLUMNS.empty_table(), key=key, stage="train", notes=notes)
    page = {"recipe": "", "step": sink.name, "stage": "train", "shape": shape, "key": key}
    sink.commit_manifest(page, [])
    return f"{shape.removeprefix('artefact:')} {sink.path}: {receipt.bytes:,} bytes, {receipt.content_hash}"
