"""How fast ingest reads, and how well: MB/s of one core, and the quality of extraction beside it.

    python tests/bench/ingest/speed_and_quality.py [--repeats N] [--pages N]

Real pages (WCXB development sample, AEB) and archives come from `../shared/data` beside the checkout. Times are processor
seconds of this process; readings take turns, and the median of the repeats is shown. `trafilatura` and `resiliparse`
stand for themselves with their own rendering; `maetdol` rows include charset, tree, items, blocks and their positions.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import logging
import re
import statistics
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SHARED = REPO.parent / "shared" / "data"
WORD = re.compile(r"\w+")


def word_f1(found: str, gold: str) -> float:
    a, b = Counter(WORD.findall(found.lower())), Counter(WORD.findall(gold.lower()))
    return 2 * sum((a & b).values()) / max(1, sum(a.values()) + sum(b.values()))


def share(snippets: list[str], text: str) -> float:
    words = " ".join(text.split())
    return sum(" ".join(s.split()) in words for s in snippets) / len(snippets) if snippets else 0.0


def readers() -> dict[str, Callable[[bytes], str]]:
    """Bytes of a page to text, by each extractor."""
    from resiliparse.extract.html2text import extract_plain_text
    from trafilatura import extract

    from stages.ingest.html import page
    from stages.ingest.row import Raw

    def ours(mode: str) -> Callable[[bytes], str]:
        return lambda data: page.read(Raw("page", "", data), mode).values.get("text", "")

    def text(data: bytes) -> str:
        return data.decode("utf-8", "replace")

    return {
        "maetdol main": ours("main"),
        "maetdol trafilatura": ours("trafilatura"),
        "maetdol resiliparse": ours("resiliparse"),
        "maetdol all": ours("all"),
        "trafilatura fast": lambda data: extract(text(data), fast=True) or "",
        "trafilatura full": lambda data: extract(text(data)) or "",
        "resiliparse main content": lambda data: extract_plain_text(text(data), main_content=True),
    }


def extraction(pages: list[tuple[bytes, dict]], repeats: int) -> None:
    extractors = readers()
    for read in extractors.values():
        read(pages[0][0])
    seconds: dict[str, list[float]] = {name: [] for name in extractors}
    texts: dict[str, list[str]] = {}
    for _ in range(repeats):
        for name, read in extractors.items():
            began = time.process_time()
            texts[name] = [read(data) for data, _ in pages]
            seconds[name].append(time.process_time() - began)
    size = sum(len(data) for data, _ in pages) / 1e6
    print(
        f"\nextraction, {len(pages)} annotated pages, {size:.1f} MB of HTML\n{'':26} MB/s   word F1   must   must not"
    )
    for name in extractors:
        golds = [note for _, note in pages]
        f1 = statistics.mean(word_f1(t, g["main_content"]) for t, g in zip(texts[name], golds))
        must = statistics.mean(share(g["with"], t) for t, g in zip(texts[name], golds))
        must_not = statistics.mean(share(g["without"], t) for t, g in zip(texts[name], golds))
        print(f"{name:26} {size / statistics.median(seconds[name]):5.1f}   {f1:.3f}     {must:.3f}  {must_not:.3f}")


def reading(repeats: int, folder: Path) -> None:
    """Framing of archives and reading of JSON Lines, from memory."""
    from stages.ingest.readers.lines import read_jsonl
    from stages.ingest.readers.warc import read_warc
    from stages.ingest.unpack import Unpacked

    archive = b"".join(gzip.decompress(path.read_bytes()) for path in sorted(folder.rglob("sample-000*.warc.gz"))) * 12
    lines = b"".join(
        json.dumps({"id": n, "text": "맷돌이 돈다. " * 200}, ensure_ascii=False).encode() + b"\n" for n in range(8000)
    )
    cases = {
        "WARC records": (archive, lambda data: read_warc(Unpacked(io.BytesIO(data)), 1 << 26)),
        "WARC records in gzip": (
            gzip.compress(archive, 6),
            lambda data: read_warc(Unpacked(io.BytesIO(data)), 1 << 26),
        ),
        "JSON Lines": (lines, lambda data: read_jsonl(Unpacked(io.BytesIO(data)), 1 << 26)),
    }
    print(f"\n{'reading':26} MB/s (unpacked)   records")
    for name, (data, read) in cases.items():
        size = len(archive if "WARC" in name else lines) / 1e6
        seconds = []
        for _ in range(repeats):
            began = time.process_time()
            count = sum(1 for _ in read(data))
            seconds.append(time.process_time() - began)
        print(f"{name:26} {size / statistics.median(seconds):6.0f}            {count}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pages", type=int, default=228)
    given = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("the real pages (../shared/data) are not beside this checkout")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("B-wcxb-dev-sample", "A-warc-open"):
            with tarfile.open(SHARED / f"{name}.tar.xz") as archive:
                archive.extractall(scratch, filter="data")
        notes = sorted(Path(scratch).rglob("dev/*.json"))[: given.pages]
        pages = [
            (path.with_suffix(".html").read_bytes(), json.loads(path.read_text("utf-8"))["ground_truth"])
            for path in notes
        ]
        extraction(pages, given.repeats)
        reading(given.repeats, Path(scratch))


if __name__ == "__main__":
    main()
