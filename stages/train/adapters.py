"""A registry of named adapters: a folder whose folders are adapters, each with its card. Train one module, use it again elsewhere.

Every adapter is bound to the base it was trained on by content hash, and to its template by the lock; nothing here puts it anywhere else.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import UsageError, did_you_mean
from pipeline.storage.files import Local
from pipeline.storage.store import Store
from stages.models.inference.chain import CARD, ChainLink, open_link
from stages.models.inference.folder import ModelFolder
from stages.train.model import TrainableModel

HOWS = ("cat", "linear", "svd", "ties", "dare_ties", "dare_linear", "magnitude_prune")


class Entry(NamedTuple):
    """One adapter of a registry."""

    name: str
    link: ChainLink
    size: int
    """Bytes of its weights."""

    @property
    def config(self) -> dict[str, Any]:
        return json.loads((self.link.path / "adapter_config.json").read_text(encoding="utf-8"))

    def row(self) -> tuple[str, ...]:
        """As `adapters list` shows it."""
        card = self.link.card
        base = card.get("base") or []
        trained = card.get("trained_parameters")
        return (
            self.name, str(card.get("method", "?")), str(card.get("objective", "?")), f"{trained:,}" if trained else "?",
            f"{self.size / 1e6:.2f} MB", base[0][:8] if base else "any", self.link.hash[:8],
        )  # fmt: skip


HEAD = ("name", "method", "objective", "weights", "size", "base", "hash")


class Registry:
    """The adapters in a folder."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if (path / "adapter_config.json").is_file())

    def entry(self, name: str) -> Entry:
        """UsageError with the nearest name where there is none."""
        if name not in self.names():
            raise UsageError(
                f"no adapter is called {name!r} in {self.folder}",
                did_you_mean(name, self.names()) or "add one: maetdol adapters add STORE NAME",
            )
        path = self.folder / name
        return Entry(name, open_link(path), sum(file.stat().st_size for file in path.glob("*.safetensors")))

    def entries(self) -> list[Entry]:
        return [self.entry(name) for name in self.names()]

    def path_of(self, name: str) -> Path:
        """Where a new adapter goes. UsageError for a name that is taken or is none."""
        if not re.fullmatch(r"[\w][\w.\-]*", name):
            raise UsageError(f"{name!r} is no name of an adapter", "use letters, digits, `-`, `_`, `.`")
        if (self.folder / name).exists():
            raise UsageError(
                f"{self.folder} has an adapter {name!r} already", "choose another name, or delete its folder"
            )
        return self.folder / name

    def add(self, source: Path, name: str) -> Entry:
        """Copy an adapter folder in. UsageError where it is none; a copy half made is never seen."""
        if not open_link(source).is_adapter:
            raise UsageError(
                f"{source} holds a whole model, not an adapter", "train with an adapter method (lora, qlora, ia3, ...)"
            )
        with self.writing(name) as part:
            shutil.copytree(source, part, dirs_exist_ok=True)
        return self.entry(name)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A folder for the files of a new adapter; it is seen under `name` once the block has ended well, and never before."""
        target = self.path_of(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self.folder) as folder:
            part = Path(folder) / name
            part.mkdir()
            yield part
            part.rename(target)


def one_base(entries: Sequence[Entry]) -> list[str] | None:
    """The base all entries were trained on (content hashes from the bottom). UsageError where they differ."""
    bases = {tuple(entry.link.card.get("base") or ()) for entry in entries}
    if len(bases) > 1:
        named_bases = ", ".join(
            f"{entry.name} on {'+'.join(h[:8] for h in entry.link.card.get('base') or []) or 'any'}"
            for entry in entries
        )
        raise UsageError(
            f"these adapters were trained on different bases: {named_bases}",
            "compose adapters of one base, or train them again on one",
        )
    return list(next(iter(bases))) or None


def loaded(base: Sequence[ChainLink], entries: Sequence[Entry], dtype: Any, device: Any) -> Any:
    """The base with every entry's adapter on it, under their own names; none active yet. UsageError for another base."""
    from peft import PeftModel

    from stages.models.inference.chain import assemble, learnt_rows_of

    wanted = one_base(entries)
    if wanted is not None and wanted != [link.hash for link in base]:
        raise UsageError(
            f"the adapters were trained on {'+'.join(h[:8] for h in wanted)}, the base given is {'+'.join(link.hash[:8] for link in base)}",
            "give the base they were trained on",
        )
    model = assemble(base, dtype=dtype, device=device, merge=len(base) > 1)
    if own := [entry.name for entry in entries if learnt_rows_of(entry.link.path)]:
        raise UsageError(
            f"the adapter {own[0]} has tokens of its own, which cannot take turns with others on one base",
            "merge it into its base (`maetdol merge`)",
        )
    first, *rest = entries
    model = PeftModel.from_pretrained(model, str(first.link.path), adapter_name=first.name, is_trainable=False)
    for entry in rest:
        model.load_adapter(str(entry.link.path), adapter_name=entry.name, is_trainable=False)
    return model.eval()


def compose(
    registry: Registry,
    base: Sequence[ChainLink],
    names: Sequence[str],
    weights: Sequence[float],
    how: str,
    name: str,
    density: float,
) -> Entry:
    """A new LoRA adapter out of several of one base, weighted. `cat` is their exact sum (its rank is the sum of theirs)."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    registry.path_of(name)
    entries = [registry.entry(one) for one in names]
    kinds = {entry.config["peft_type"] for entry in entries}
    if kinds != {"LORA"} or any(entry.config.get("use_dora") for entry in entries):
        raise UsageError(
            f"only plain LoRA adapters can be composed, these are {', '.join(sorted(kinds))}",
            "merge the others into the base one after the other",
        )
    model = loaded(base, entries, torch.float32, torch.device("cpu"))
    more = {"density": density} if how in ("ties", "dare_ties", "dare_linear", "magnitude_prune") else {}
    try:
        model.base_model.add_weighted_adapter(list(names), list(weights), name, combination_type=how, **more)
    except ValueError as fault:
        raise UsageError(
            f"{how} cannot compose these: {str(fault).splitlines()[0]}", "use cat or svd, which take any ranks"
        ) from None
    state = get_peft_model_state_dict(model, adapter_name=name)
    with registry.writing(name) as part:
        for file in entries[0].link.path.iterdir():
            if file.name not in ("adapter_model.safetensors", "adapter_config.json", CARD, "history.jsonl"):
                shutil.copyfile(file, part / file.name)
        save_file(
            {key: tensor.detach().cpu().contiguous() for key, tensor in sorted(state.items())},
            part / "adapter_model.safetensors",
            {"format": "pt"},
        )
        named = {key: entries[0].config.get(key) for key in ("base_model_name_or_path", "revision")}
        config = model.peft_config[name].to_dict() | named | {"inference_mode": True}
        plain = {key: sorted(value) if isinstance(value, (set, frozenset)) else value for key, value in config.items()}
        (part / "adapter_config.json").write_text(
            json.dumps(plain, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8"
        )
        card = {
            **entries[0].link.card, "composed_of": {entry.name: {"hash": entry.link.hash, "weight": weight} for entry, weight in zip(entries, weights)},
            "composed_by": how, "made_from": [*(entries[0].link.card.get("base") or []), *(entry.link.hash for entry in entries)],
            "trained_parameters": sum(tensor.numel() for tensor in state.values()),
        }  # fmt: skip
        (part / CARD).write_text(
            json.dumps(card, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
    return registry.entry(name)


def swapped(
    base: Sequence[ChainLink], entries: Sequence[Entry], questions: Sequence[str], max_new_tokens: int, threads: int
) -> list[list[str]]:
    """What the base says under each adapter in turn (the base alone first), loaded once: texts per adapter and question."""
    import torch

    from stages.models.inference.device import arithmetic
    from stages.models.inference.generate import Generator, SamplingParams

    conversations = [[{"role": "user", "content": question}] for question in questions]
    generated = []
    with arithmetic(threads) as device:
        model = loaded(base, entries, torch.float32, device)
        generator = Generator.around(model, [*base, entries[0].link], threads=threads)
        with model.disable_adapter():
            generated.append([made[0].text for made in generator.chat(conversations, SamplingParams(max_new_tokens))])
        for entry in entries:
            model.set_adapter(entry.name)
            generated.append([made[0].text for made in generator.chat(conversations, SamplingParams(max_new_tokens))])
    return generated


def base_name(stores: Sequence[Store]) -> dict[str, str | None]:
    """Where PEFT finds the base of an adapter by itself: the path as the recipe says it, or a repository and its commit. None where PEFT
    cannot: on a base that is adapters itself, or that lies remote."""
    if len(stores) != 1 or not isinstance(stores[0].fs, Local):
        return {"base_model_name_or_path": None, "revision": None}
    [store] = stores
    if isinstance(store, ModelFolder) and store.source:
        name, _, commit = store.source.removeprefix("hf://").partition("@")
        return {"base_model_name_or_path": name, "revision": commit}
    return {"base_model_name_or_path": str(store.artefact()), "revision": None}


def save_adapter(built: TrainableModel, folder: Path, base: dict[str, str | None]) -> None:
    """The new adapter as a PEFT folder that names its base (`base_name`); its configuration in one order."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    # Rows of added tokens are the adapter's own; the matrices they stand in are the base's.
    state = get_peft_model_state_dict(built.model, adapter_name=built.adapter, save_embedding_layers=False)
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())},
        folder / "adapter_model.safetensors",
        {"format": "pt"},
    )
    config = built.model.peft_config[built.adapter].to_dict()
    config |= {**base, "inference_mode": True}
    plain = {name: sorted(value) if isinstance(value, (set, frozenset)) else value for name, value in config.items()}
    (folder / "adapter_config.json").write_text(json.dumps(plain, indent=1, sort_keys=True) + "\n", encoding="utf-8")
