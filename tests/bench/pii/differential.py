"""The kernels against presidio's AnalyzerEngine over the same rule book, on every text of the shared data.

    python tests/bench/pii/differential.py --part 0/2 --out /tmp/part0.json

Texts are all strings of all files in ../shared/data: the values of every JSON and CSV file, whole pages, the bodies of web
archives; equal strings once, none cut. Strings below `--least` characters are left out: no rule matches fewer than seven
signs. A part takes every n-th string by the hash of its text, so that parts weigh the same. The report holds counts,
and of a text that differs its file, its hash and the positions, never the text.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
import lzma
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SHARED = REPO.parent / "shared" / "data"
csv.field_size_limit(1 << 30)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file, those in archives too."""
    for path in sorted(folder.rglob("*.xz")):
        name = str(path.relative_to(folder))
        if name.endswith(".tar.xz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile():
                        data = archive.extractfile(member).read()  # type: ignore[union-attr]
                        yield f"{name}:{member.name}", data
        else:
            with lzma.open(path) as handle:
                yield name, handle.read()


def texts(name: str, data: bytes) -> Iterator[str]:
    """The strings of one file."""
    if name.endswith(".gz"):
        try:
            data, name = gzip.decompress(data), name[:-3]
        except (OSError, EOFError):
            return
    text = data.decode("utf-8", "replace")
    if ".jsonl" in name or name.endswith(".json"):
        try:
            pages = (
                [json.loads(line) for line in text.splitlines() if line.strip()]
                if ".jsonl" in name
                else [json.loads(text)]
            )
        except ValueError:
            pages = [text]
        for page in pages:
            yield from strings(page)
    elif name.endswith((".csv", ".tsv")):
        for row in csv.reader(
            io.StringIO(text.replace("\0", "")),
            delimiter="\t" if name.endswith(".tsv") else ",",
            quoting=csv.QUOTE_NONE if name.endswith(".tsv") else csv.QUOTE_MINIMAL,
        ):
            yield from row
    else:
        yield text


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def own(part: int, parts: int, least: int) -> Iterator[tuple[str, str, str]]:
    """(file, hash, text) of this part's distinct texts."""
    seen: set[bytes] = set()
    for name, data in files(SHARED):
        for text in texts(name, data):
            if len(text) < least:
                continue
            digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=10).digest()
            if digest[0] % parts == part and digest not in seen:
                seen.add(digest)
                yield name, digest.hex(), text.encode("utf-8", "replace").decode()


def compared(batch: list[tuple[str, str, str]], engine: Any, report: dict[str, Any]) -> None:
    from stages.pii.detect import detect
    from stages.pii.engines.presidio import without_overlaps
    from stages.pii.entities import BY_NAME, PATTERNED

    ours: list[list[tuple[int, int, str]]] = [[] for _ in batch]
    for f in detect(pa.array([text for _, _, text in batch], pa.large_string()), frozenset(PATTERNED)):
        ours[f.item].append((f.start, f.end, BY_NAME[f.entity].presidio))
    for (name, digest, text), mine in zip(batch, ours):
        theirs = [
            (r.start, r.end, r.entity_type)
            for r in without_overlaps(text, engine.analyze(text, "en", score_threshold=0.5))
        ]
        corpus = report["corpora"].setdefault(name.split(":")[0], Counter(texts=0, bytes=0, spans=0, differing=0))
        corpus.update(texts=1, bytes=len(text.encode()), spans=len(mine), differing=mine != theirs)
        report["kinds"].update(kind for _, _, kind in mine)
        if mine != theirs:
            report["differences"].append(
                {
                    "file": name,
                    "hash": digest,
                    "kernel": sorted(set(mine) - set(theirs)),
                    "presidio": sorted(set(theirs) - set(mine)),
                }
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="0/1", help="which part of how many, e.g. 0/2")
    parser.add_argument("--least", type=int, default=7, help="texts of fewer characters are left out")
    parser.add_argument(
        "--out", type=Path, required=True, help="where the report goes, written anew every few hundred texts"
    )
    options = parser.parse_args()
    from stages.pii.engines.presidio import analyzer

    part, parts = map(int, options.part.split("/"))
    engine = analyzer("regex", languages=["en"])
    report: dict[str, Any] = {"part": options.part, "done": False, "corpora": {}, "kinds": Counter(), "differences": []}
    began, batch = time.process_time(), []
    for row in own(part, parts, options.least):
        batch.append(row)
        if len(batch) == 256:
            compared(batch, engine, report)
            batch = []
            options.out.write_text(
                json.dumps(report | {"seconds": time.process_time() - began}, ensure_ascii=False, indent=1)
            )
    compared(batch, engine, report)
    report |= {"done": True, "seconds": round(time.process_time() - began, 1)}
    options.out.write_text(json.dumps(report, ensure_ascii=False, indent=1))
    total = sum(report["corpora"].values(), Counter())
    print(f"part {options.part}: {dict(total)}, {report['seconds']} processor seconds")


if __name__ == "__main__":
    main()
