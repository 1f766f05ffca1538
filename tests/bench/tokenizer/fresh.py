"""MB/s of `pack` as a corpus sees it: shard after shard in one worker process, each of text that was not met before.

    python tests/bench/tokenizer/fresh.py [--folder DIR] [--shard-megabytes 8] [--rounds 3]

Text: all of `../shared/data` that is prose (pages through `ingest`) and the modules of the Python that runs this, each text once, cut
into shards of one source, sources in turn. The tokenizer (32,768 tokens, gpt4o) is trained on a sample of it. A round is two processes: one
calls gigatoken alone on the texts of every shard, one packs every shard. What a process does once is counted apart: it packs a small shard
first (256 KiB of every source, which no later shard has).
Times are CPU seconds, the least of all rounds. `--folder` keeps the corpus and the tokenizer. Printed as Markdown, with a hash of all
rows and ledgers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from encode import REPO, SOURCES, documents, store_of

DATA = REPO.parent / "shared" / "data"
PAGES = ("C-starter/libreoffice-help-7.4-ko", "C-starter/libreoffice-help-7.4-en", "C-starter/gnome-help-ko", "C-starter/gnome-help-en",
         "C-starter/debian-faq-ko", "C-starter/debian-faq-en", "C-starter/installation-guide-amd64-12-ko",
         "C-starter/installation-guide-amd64-12-en", "B-wcxb-dev")  # fmt: skip
"""Archives of pages, read by `ingest`."""


def corpus(folder: Path, size: int) -> None:
    """A DOCUMENT store a shard, `folder/docs/NNN`, and `folder/shards.json`: source, bytes and documents of each. The first is the small one."""
    parts = [(name, list(_shards(_distinct(documents(rows)), size))) for name, rows in SOURCES.items()]
    pages = (text for archive in PAGES for text in _ingested(folder, archive))
    parts.append(("Pages", list(_shards(_distinct(pages), size))))
    small = [text for _, shards in parts for text in _first(shards[0])]
    store_of(small, f"{folder}/docs/000")
    known = [["All", sum(len(text.encode()) for text in small), len(small)]]
    longest = max(len(shards) for _, shards in parts)
    for turn in range(longest):
        for name, shards in parts:
            if turn < len(shards):
                store_of(shards[turn], f"{folder}/docs/{len(known):03d}")
                known.append([name, sum(len(text.encode()) for text in shards[turn]), len(shards[turn])])
    (folder / "shards.json").write_text(json.dumps(known))


def _first(texts: list[str]) -> list[str]:
    """Take the first texts of 256 KiB out of `texts`."""
    ends = list(accumulate(len(text.encode()) for text in texts))
    count = bisect_left(ends, 1 << 18) + 1
    taken, texts[:] = texts[:count], texts[count:]
    return taken


def _distinct(texts: Iterator[str]) -> Iterator[str]:
    seen = set[str]()
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text


def _shards(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    """Shards of about `size` bytes; the rest at the end goes to the last."""
    made, held = list[list[str]](), 0
    for text in texts:
        if not made or held >= size:
            made.append([])
            held = 0
        made[-1].append(text)
        held += len(text.encode())
    if len(made) > 1 and held < size // 2:
        rest = made.pop()
        made[-1] += rest
    return iter(made)


def _ingested(folder: Path, archive: str) -> Iterator[str]:
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.ingest import Ingest

    name = Path(archive).name
    raw, sink = folder / "raw" / name, Store(f"{folder}/ingested/{name}")
    if not raw.exists():
        with tarfile.open(DATA / f"{archive}.tar.xz") as packed:
            packed.extractall(raw, [one for one in packed if not one.name.endswith(".json")], filter="data")
    Ingest(**{"from": [str(raw)]}).run(Inputs({}), sink, Inline())
    for shard in sink.shards():
        yield from sink.read(shard)["text"].to_pylist()


def tokenizer(folder: Path, shards: int) -> None:
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.tokenizer import Tokenizer

    of = [Store(f"{folder}/docs/{number:03d}") for number in range(shards)]
    stage = Tokenizer(vocab_size=32768, model_type="byte_bpe", probe_mb=0.2)
    stage.run(Inputs({"of": of}), Store(f"{folder}/tokenizer"), Inline())


class Lap:
    """CPU seconds of this process since the last look; the first counts from its start."""

    def __init__(self) -> None:
        self.last = 0.0

    def lap(self) -> float:
        last, self.last = self.last, time.process_time()
        return self.last - last


def worker(folder: Path, what: str) -> None:
    """One process: the costs before the first shard and of every shard, and the hashes of what was packed, as JSON."""
    watch, shards = Lap(), json.loads((folder / "shards.json").read_text())
    before = {"Python": watch.lap()}
    from pipeline.storage.store import Store
    from stages.models.encoder import opened
    from stages.pack import Pack, PackTask, pack_shard

    stage, sink = Pack(), Store(f"{folder}/tokenizer")
    before["imports"] = watch.lap()
    encoder = opened(sink.artefact(), sink.content_hash)
    before["tokenizer opened"] = watch.lap()
    hashes, spent = [], []
    with tempfile.TemporaryDirectory(dir=folder) as made:

        def pack(number: int) -> None:
            source, rows = Store(f"{folder}/docs/{number:03d}"), Store(f"{made}/{number:03d}")
            receipt = pack_shard(PackTask(stage, source, 0, sink, rows, 0, "bench"))
            hashes.append([receipt.content_hash, receipt.ledger_hash, receipt.index_hash])

        def alone(number: int) -> None:
            text = Store(f"{folder}/docs/{number:03d}").read(0)["text"].combine_chunks()
            watch.lap()
            encoder._fast._fast(text)

        for number in range(len(shards)):
            watch.lap()
            (pack if what == "pack" else alone)(number)
            spent.append(watch.lap())
    before["first shard"] = spent[0]
    print(json.dumps([before, spent, hashes]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--shard-megabytes", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=("pack", "alone"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(asked.folder, asked.worker)
        return
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="maetdol-fresh-"))
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "shards.json").exists():
        corpus(folder, int(asked.shard_megabytes * 1e6))
    shards = json.loads((folder / "shards.json").read_text())
    tokenizer(folder, len(shards))
    found: dict[str, list] = {"alone": [], "pack": []}
    for _ in range(asked.rounds):
        for what, runs in found.items():
            command = [sys.executable, __file__, "--folder", str(folder), "--worker", what]
            runs.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    report(shards, found)


def report(shards: list, found: dict[str, list]) -> None:
    from pipeline.options import digest

    least = {what: [min(run[1][n] for run in runs) for n in range(len(shards))] for what, runs in found.items()}
    print(
        "| shard | text | MB | documents | gigatoken alone, MB/s | pack, MB/s | pack without it, ns a byte | µs a document |"
    )
    print("|---|---|---|---|---|---|---|---|")
    rows = [(str(n), name, size, count, *(least[w][n] for w in least)) for n, (name, size, count) in enumerate(shards)]
    each = rows[1:]
    for name in (*dict.fromkeys(row[1] for row in each), "all"):
        own = [row for row in each if name in (row[1], "all")]
        rows.append((f"{len(own)} together", name, *(sum(row[at] for row in own) for at in (2, 3, 4, 5))))
    for number, name, size, count, fast, whole in rows:
        rest = whole - fast
        print(
            f"| {number} | {name} | {size / 1e6:.1f} | {count:,} | {size / fast / 1e6:.1f} | {size / whole / 1e6:.1f} | {rest / size * 1e9:.2f} | {rest / count * 1e6:.2f} |"
        )
    for part in found["pack"][0][0]:
        print(f"\n{part}: {min(run[0][part] for run in found['pack']):.2f} s", end="")
    print("\n\nrows and ledgers: " + " ".join(sorted({digest(run[2]) for run in found["pack"]})))


if __name__ == "__main__":
    main()
