"""Verb of the pairs: write instruction rows and pairs in the formats of other trainers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.deletion.forgotten import Reading
from pipeline.errors import SourceError, UsageError
from pipeline.options import Options
from pipeline.storage.files import Local
from pipeline.storage.store import Store
from stages.models.holdout import SHARE


class DpoExport(Options):
    """Write a CHAT or PAIR store as JSONL for OpenAI's fine-tuning, TRL, LLaMA-Factory or axolotl, and print the line that loads it."""

    verb: ClassVar[str] = "dpo-export"
    arguments: ClassVar[tuple[str, ...]] = ("store", "folder")
    writes: ClassVar[str] = "folder"

    store: str
    "A store of conversations or preference pairs."
    folder: str
    "Where to write; files of the same name are replaced."
    to: Literal[
        "openai",
        "trl",
        "trl-completion",
        "trl-kto",
        "trl-reward",
        "llamafactory-alpaca",
        "llamafactory-sharegpt",
        "axolotl",
        "axolotl-chatml",
    ] = "trl"
    "Format. trl-completion is for conversations; trl-kto, trl-reward and axolotl-chatml are for pairs; the rest take both."
    part: Literal["all", "train", "heldout"] = "all"
    "All rows, or those whose prompts are (not) held out by train and evaluate."
    holdout: float = Field(SHARE, ge=0.0, lt=1.0)
    "The share train holds out."

    def run(self) -> int:
        from stages.dpo.formats import FORMATS

        source = Store(self.store)
        shape = source.shape
        if shape not in ("CHAT", "PAIR"):
            raise SourceError(f"{self.store} holds {shape or 'no known rows'}", "give the store of an sft or dpo step")
        chosen = FORMATS[self.to]
        write = chosen.chat if shape == "CHAT" else chosen.pair
        if write is None:
            fitting = ", ".join(name for name, one in FORMATS.items() if (one.chat if shape == "CHAT" else one.pair))
            raise UsageError(f"{self.to} has no form for {shape} rows", f"choose one of {fitting}")
        name = source.name
        written, left_out = self._write(source, shape, write, Path(self.folder), name)
        if chosen.beside is not None:
            beside, text = chosen.beside(shape, f"{self.folder}/{name}.jsonl")
            Local(Path(self.folder)).write(beside, text.encode())
        print(f"{written:,} rows  {self.folder}/{name}.jsonl")
        if left_out:
            told = ", ".join(f"{reason} {count:,}" for reason, count in sorted(left_out.items()))
            print(f"left out: {told}; see {self.folder}/{name}.left-out.jsonl")
        print(f"load with: {chosen.load(shape, f'{self.folder}/{name}.jsonl')}")
        return 0

    def _write(self, source: Store, shape: str, write: Any, folder: Path, name: str) -> tuple[int, Counter[str]]:
        from stages.dpo.formats import NoForm

        target, reading = Local(folder), Reading(self.store)
        left_out: Counter[str] = Counter()
        written = 0
        with target.create(f"{name}.jsonl") as data, target.create(f"{name}.left-out.jsonl") as rest:
            for row, reason in self._rows(source, shape):
                try:
                    lines = [] if reason else list(write(row))
                except NoForm as fault:
                    lines, reason = [], str(fault)
                if reason:
                    left_out[reason] += 1
                    rest.write(_line({"id": row["id"], "reason": reason}))
                for line in lines:
                    data.write(_line(line))
                    written += 1
            reading.check()
        if not left_out:
            target.delete(f"{name}.left-out.jsonl")
        return written, left_out

    def _rows(self, source: Store, shape: str) -> Iterator[tuple[dict[str, Any], str | None]]:
        """Every row, and why it is not wanted."""
        from stages.models.holdout import held_out, prompt_key

        for shard in source.shards():
            for batch in source.batches(shard):
                rows = batch.to_pylist()
                held = held_out(
                    [prompt_key(row["messages" if shape == "CHAT" else "prompt"]) for row in rows], self.holdout
                )
                for row, out in zip(rows, held.tolist()):
                    wanted = self.part == "all" or (self.part == "heldout") == out
                    yield row, None if wanted else ("export.held_out" if out else "export.not_held_out")


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
