"""Exports opened by their consumers' own readers, and held against their own writers byte by byte.

    python tests/bench/export/readers.py DOCUMENTS TOKENS
    python tests/bench/export/readers.py --axolotl CHATS TOKENIZER

In an environment of its own with webdataset, mosaicml-streaming, litdata and datatrove beside this project. DOCUMENTS and TOKENS are
stores, such as runs/quickstart/pii and runs/quickstart/pack; CHATS is one of conversations with calls of tools, TOKENIZER the store of a
tokenizer. axolotl needs no CUDA for this: `pip install --no-deps axolotl colorama addict` beside torch, transformers and datasets. Prints per
format what was compared; an AssertionError where it differs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np

from pipeline.storage.store import Store
from stages.export.commands import StoreExport


def export(store: Store, out: Path, **options) -> list[Path]:
    StoreExport(store=store.path, out=str(out), **options).run()
    page = json.loads((out / "export.json").read_text())
    return [out / name for part in page["parts"] for name in part["files"]]


def rows_of(store: Store) -> list[dict]:
    return [row for shard in store.shards() for row in store.read(shard).to_pylist()]


def webdataset(store: Store, folder: Path) -> str:
    import webdataset as wds

    files = export(store, folder, to="webdataset", size=400_000)
    rows = rows_of(store)
    found = list(wds.WebDataset([str(path) for path in files], shardshuffle=False).decode())
    assert [sample["__key__"] for sample in found] == [row["id"] for row in rows]
    for sample, row in zip(found, rows):
        assert {**sample["json"], "text": sample.get("txt")} == row
    return f"{len(found)} samples of {len(files)} tar files through WebDataset(...).decode(): every column equal"


def mds(store: Store, folder: Path, dtype: str) -> str:
    from streaming import LocalDataset, MDSWriter

    files = export(store, folder / "ours", to="mds", size=400_000)
    rows = rows_of(store)
    data = LocalDataset(str(folder / "ours"))
    assert len(data) == len(rows)
    for at, row in enumerate(rows):
        assert data[at]["id"] == row["id"] and data[at]["tokens"].tolist() == row["input_ids"]
    counts = [shard["samples"] for shard in json.loads((folder / "ours/index.json").read_text())["shards"]]
    for number, (path, count) in enumerate(zip(files, counts)):
        first = sum(counts[:number])
        with MDSWriter(
            columns={"id": "str", "tokens": f"ndarray:{dtype}"}, out=str(folder / f"t{number}"), size_limit=None
        ) as out:
            for row in rows[first : first + count]:
                out.write({"id": row["id"], "tokens": np.array(row["input_ids"], dtype)})
        assert (folder / f"t{number}/shard.00000.mds").read_bytes() == path.read_bytes()
    return f"{len(rows)} samples of {len(files)} shards through LocalDataset; each shard is the bytes of MDSWriter"


def litdata(store: Store, folder: Path, dtype: str) -> str:
    import torch
    from litdata import StreamingDataset, TokensLoader
    from litdata.streaming.writer import BinaryWriter

    files = export(store, folder / "ours", to="litdata", size=400_000)
    rows = rows_of(store)
    chunks = json.loads((folder / "ours/index.json").read_text())["chunks"]
    block, wanted, first = 64, [], 0
    for chunk, path in zip(chunks, files):
        own = rows[first : first + chunk["chunk_size"]]
        first += len(own)
        flat = [token for row in own for token in row["input_ids"]]
        wanted += [flat[at : at + block] for at in range(0, len(flat) // block * block, block)]
        theirs = BinaryWriter(str(folder / f"t{first}"), chunk_bytes="4GB", item_loader=TokensLoader())
        for at, row in enumerate(own):
            theirs.add_item(at, torch.tensor(np.array(row["input_ids"], dtype)))
        theirs.done()
        assert (folder / f"t{first}/chunk-0-0.bin").read_bytes() == path.read_bytes()
    data = StreamingDataset(str(folder / "ours"), item_loader=TokensLoader(block_size=block), shuffle=False)
    assert len(data) == len(wanted)
    assert [data[at].tolist() for at in range(len(data))] == wanted
    return f"{len(wanted)} blocks of {block} through StreamingDataset and TokensLoader; each of {len(files)} chunks is the bytes of BinaryWriter"


def datatrove(store: Store, folder: Path, dtype: str) -> str:
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile
    from datatrove.utils.dataset import DatatroveFileDataset

    width = np.dtype(dtype).itemsize
    files = [path for path in export(store, folder, to="nanotron", size=400_000) if path.suffix == ".ds"]
    rows, first = rows_of(store), 0
    for path in files:
        count = path.with_name(f"{path.name}.index").stat().st_size // 8
        own = rows[first : first + count]
        first += count
        theirs = TokenizedFile(str(folder / "theirs"), path.name, save_final_metadata=True, token_size=width)
        for row in own:
            theirs.write(row["input_ids"], None)
        theirs.close()
        for ending in ("", ".index"):
            name = path.name + ending
            assert (folder / "theirs" / name).read_bytes() == (folder / name).read_bytes(), name
        said, own_words = (
            (where / f"{path.name}.metadata").read_text().split("\n") for where in (folder / "theirs", folder)
        )
        assert said[1:] == own_words[1:] and said[0].split("|")[-1] == own_words[0].split("|")[-1]
        flat = [token for row in own for token in row["input_ids"]]
        data = DatatroveFileDataset(str(path), seq_len=127, token_size=width)
        for at in range(len(data)):
            assert data[at]["input_ids"].tolist() == flat[at * 128 : (at + 1) * 128]
    assert first == len(rows)
    return f"{first} sequences of {len(files)} files through DatatroveFileDataset; .ds and .index are the bytes of TokenizedFile"


def megatron(store: Store, folder: Path, dtype: str) -> str:
    from datatrove.pipeline.tokens.megatron_tokenizer import MegatronTokenizedFile

    rows = rows_of(store)
    export(store, folder, to="megatron")
    name = f"{store.name}-00000-of-00001"
    theirs = MegatronTokenizedFile(str(folder / "theirs"), name, token_size=np.dtype(dtype).itemsize)
    for row in rows:
        theirs.write(row["input_ids"])
    theirs.close()
    for ending in (".bin", ".idx"):
        assert (folder / "theirs" / (name + ending)).read_bytes() == (folder / (name + ending)).read_bytes()
    return f"{len(rows)} sequences; .bin and .idx are the bytes of datatrove's MegatronTokenizedFile"


def axolotl(store: Store, tokenizer: Store, folder: Path, template: str) -> str:
    """Each row as the `chat_template` strategy makes token ids and labels of it: its text is what the tokenizer renders of the store's
    row, and the calls in it are learnt, those of turns with `train: false` not."""
    import yaml
    from axolotl.prompt_strategies.chat_template import StrategyLoader
    from axolotl.utils.dict import DictDefault
    from datasets import load_dataset
    from transformers import AutoTokenizer

    from stages.export.trainers import openai

    export(store, folder, to="axolotl")
    (data,) = yaml.safe_load((folder / "axolotl.yaml").read_text())["datasets"]
    library = AutoTokenizer.from_pretrained(str(tokenizer.artefact()))
    config = DictDefault(sequence_len=1 << 20, train_on_inputs=False)
    strategy = StrategyLoader()(library, config, {**data, "chat_template": template})
    read, rows, calls = load_dataset("json", data_files=data["path"], split="train"), rows_of(store), 0
    for row, given in zip(rows, read, strict=True):
        made = strategy.tokenize_prompt(dict(given))
        tools = json.loads(row["tools"]) if row["tools"] else None
        rendered = library.apply_chat_template(
            openai(row["messages"], objects=True), tools=tools, chat_template=strategy.prompter.chat_template, tokenize=False
        )  # fmt: skip
        assert made["input_ids"] == library(rendered, add_special_tokens=False)["input_ids"]
        learnt = library.decode([number for number in made["labels"] if number != -100])
        for turn in row["messages"]:
            for call in turn["tool_calls"] or ():
                calls += 1
                assert (f'{{"name": "{call["name"]}", "arguments": ' in learnt) == (turn["train"] is not False)
    return f"{len(rows)} conversations under {template}: token ids equal, {calls} calls rendered and learnt as they should be"


def main(documents: str, tokens: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("webdataset:", webdataset(Store(documents), Path(folder, "wds")))
        source = Store(tokens)
        greatest = max(max(row["input_ids"], default=0) for row in rows_of(source))
        dtype = "uint16" if greatest < 65_500 else "int32"
        for form in (megatron, datatrove, mds, litdata):
            print(f"{form.__name__} ({dtype}):", form(source, Path(folder, form.__name__), dtype))


if __name__ == "__main__":
    if sys.argv[1] == "--axolotl":
        with tempfile.TemporaryDirectory() as scratch:
            for name in ("qwen3", "qwen_25"):
                print("axolotl:", axolotl(Store(sys.argv[2]), Store(sys.argv[3]), Path(scratch, name), name))
    else:
        main(*sys.argv[1:3])
