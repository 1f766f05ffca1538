"""LLaMA-Factory's and axolotl's own code reads the exports of a finished quickstart, and what it reads is compared with the store.

    python tests/bench/dpo/consumers.py runs/quickstart LLAMAFACTORY/src AXOLOTL/src

The two are checkouts, not installed: of LLaMA-Factory `data/parser.py` and `data/converter.py` run, of axolotl the strategies
`dpo.chat_template.default` and `dpo.chatml.prompt_pairs` (its logger is replaced: it wants packages that have no say here).
Prints per format how many rows went in, how many came out as they stand in the store, and how many have no form in it.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import tempfile
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from pipeline.storage.store import Store
from stages.export.commands import StoreExport
from stages.models.chat.templates import load_tokenizer


def opened(source: str, *packages: str) -> None:
    """Make packages of a checkout importable without running their __init__ (which import everything they have)."""
    for name in packages:
        module = types.ModuleType(name)
        module.__path__ = [str(Path(source, *name.split(".")))]  # type: ignore[attr-defined]
        sys.modules[name] = module


def export(store: Store, folder: str, to: str) -> list[dict]:
    StoreExport(store=store.path, out=folder, to=to).run()
    return [json.loads(line) for line in Path(folder, f"{store.name}.jsonl").read_text("utf-8").splitlines()]


def parts(row: dict) -> tuple[list, list[str]]:
    """(messages before the answer, answers) as the store has them."""

    def said(messages):
        return [{"role": m["role"], "content": m["content"]} for m in messages]

    if "prompt" in row:
        return said(row["prompt"]), [row[side][0]["content"] for side in ("chosen", "rejected")]
    return said(row["messages"][:-1]), [row["messages"][-1]["content"]]


def factory(source: str, stores: list[Store]) -> None:
    opened(source, "llamafactory", "llamafactory.data", "llamafactory.extras")
    parser = importlib.import_module("llamafactory.data.parser")
    converter = importlib.import_module("llamafactory.data.converter")
    forms = {"alpaca": converter.AlpacaDatasetConverter, "sharegpt": converter.SharegptDatasetConverter}
    for store in stores:
        held = {row["id"]: parts(row) for shard in store.shards() for row in store.read(shard).to_pylist()}
        for form, made in forms.items():
            with tempfile.TemporaryDirectory() as folder:
                rows = export(store, folder, f"llamafactory-{form}")
                [about] = parser.get_dataset_list([store.name], folder)
                read = made(about, None)
                same = 0
                for row, (prompt, answers) in zip(rows, held.values(), strict=True):
                    got = read(row)
                    led = [{"role": "system", "content": got["_system"]}] if got["_system"] else []
                    same += led + got["_prompt"] == prompt and [m["content"] for m in got["_response"]] == answers
            print(
                f"RESULT LLaMA-Factory {form}, {store.name}: {len(held)} rows, {len(rows)} written, {same} read back as they stand",
                flush=True,
            )


def axolotl(source: str, stores: list[Store], tokenizer: object) -> None:
    opened(
        source,
        "axolotl",
        "axolotl.utils",
        "axolotl.utils.schemas",
        "axolotl.prompt_strategies",
        "axolotl.prompt_strategies.dpo",
    )
    logger = types.ModuleType("axolotl.utils.logging")
    logger.get_logger = lambda name=None, **_: logging.getLogger(name)  # type: ignore[attr-defined]
    sys.modules["axolotl.utils.logging"] = logger
    import yaml

    for to in ("axolotl", "axolotl-chatml"):
        for store in stores:
            held = [parts(row) for shard in store.shards() for row in store.read(shard).to_pylist()]
            with tempfile.TemporaryDirectory() as folder:
                rows = export(store, folder, to)
                config = yaml.safe_load(Path(folder, "axolotl.yaml").read_text()) | {
                    "chat_template": "tokenizer_default"
                }
            module, _, function = config["datasets"][0]["type"].rpartition(".")
            strategy = getattr(importlib.import_module(f"axolotl.prompt_strategies.dpo.{module}"), function)(config)
            transform = strategy[0] if isinstance(strategy, tuple) else strategy
            same = 0
            for row, (prompt, answers) in zip(rows, held, strict=True):
                got = transform(dict(row), tokenizer=tokenizer) if module == "chat_template" else transform(dict(row))
                whole = [
                    tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": a}], tokenize=False)
                    for a in answers
                ]
                if module == "chat_template":
                    same += all(
                        text.replace("\n", "") == (got["prompt"] + got[side]).replace("\n", "")
                        for text, side in zip(whole, ("chosen", "rejected"))
                    )
                else:
                    same += prompt[-1]["content"] in got["prompt"] and [got["chosen"], got["rejected"]] == [
                        f"{a}<|im_end|>" for a in answers
                    ]
            print(
                f"RESULT axolotl {config['datasets'][0]['type']}, {store.name}: {len(held)} rows, {len(rows)} written, {same} read back as they stand",
                flush=True,
            )


def main(root: str, llamafactory: str, axolotl_source: str) -> None:
    chats, pairs = Store(f"{root}/sft-unique"), Store(f"{root}/dpo")
    factory(llamafactory, [chats, pairs])
    axolotl(axolotl_source, [pairs], load_tokenizer(Store(f"{root}/sft-model").artefact()))


if __name__ == "__main__":
    main(*sys.argv[1:4])
