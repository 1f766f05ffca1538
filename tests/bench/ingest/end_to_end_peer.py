"""One part of datatrove's chain from a warc.gz to tokens; `end_to_end.py` starts it in an environment of its own.

    python end_to_end_peer.py read|filter|dedup|tokens ARCHIVES FOLDER LID TOKENIZER

Its own classes with FineWeb's settings (datatrove's `examples/fineweb.py`), its list of bad addresses left out since ours has none in this
chain. Words are those between blanks (`Blanks` of the quality bench): its default, spaCy, takes longer. The extractor may take as
long as it likes, so that no page is lost to a busy machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "quality"))

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils import word_tokenizers
from peer_datatrove import Blanks

PATIENCE = 3600
"""Seconds for one page."""


def run(steps: list, folder: Path, name: str, tasks: int = 1) -> None:
    LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(folder / "logs" / name)).run()


def read(archives: str, folder: Path) -> None:
    from datatrove.pipeline.extractors import Trafilatura

    run(
        [WarcReader(archives, glob_pattern="*.warc.gz"), Trafilatura(favour_precision=True, timeout=PATIENCE), writer(folder / "read")],
        folder, "read",
    )  # fmt: skip


def filter_(folder: Path, lid: str) -> None:
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        LanguageFilter,
    )
    from datatrove.utils import lid as models

    models.cached_asset_path_or_download = lambda *_, **__: lid  # in place of the larger lid.176.bin from the net
    language = LanguageFilter(["en", "ko"])
    rules = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    run([reader(folder / "read"), language, *rules, writer(folder / "filter")], folder, "filter")


def dedup(folder: Path) -> None:
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    signatures, buckets, remove = (str(folder / name) for name in ("signatures", "buckets", "remove"))
    run([reader(folder / "filter"), MinhashDedupSignature(signatures, config)], folder, "sign")
    run([MinhashDedupBuckets(signatures, buckets, config=config)], folder, "buckets", tasks=config.num_buckets)
    run([MinhashDedupCluster(buckets, remove, config=config)], folder, "cluster")
    run([reader(folder / "filter"), MinhashDedupFilter(remove), writer(folder / "dedup")], folder, "drop")


def tokens(folder: Path, tokenizer: str) -> None:
    from datatrove.pipeline.tokens import DocumentTokenizer

    run([reader(folder / "dedup"), DocumentTokenizer(str(folder / "tokens"), tokenizer, eos_token="</s>", seed=17)], folder, "tokens")  # fmt: skip
    counts = {name: sum(1 for file in (folder / name).glob("*.jsonl") for _ in open(file)) for name in ("read", "filter", "dedup")}  # fmt: skip
    counts["tokens"] = sum(file.stat().st_size for file in (folder / "tokens").glob("*.ds")) // 2
    (folder / "counts.json").write_text(json.dumps(counts))


def reader(folder: Path) -> JsonlReader:
    return JsonlReader(str(folder))


def writer(folder: Path) -> JsonlWriter:
    return JsonlWriter(str(folder), compression=None)


def main() -> None:
    part, archives, at, lid, tokenizer = sys.argv[1:]
    blanks, folder = Blanks(), Path(at)
    word_tokenizers.load_word_tokenizer = lambda language: blanks
    if part == "read":
        read(archives, folder)
    elif part == "filter":
        filter_(folder, lid)
    elif part == "dedup":
        dedup(folder)
    else:
        tokens(folder, tokenizer)


if __name__ == "__main__":
    main()
