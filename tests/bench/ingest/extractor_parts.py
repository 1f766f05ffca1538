"""User CPU time of `extract: learned` by part, and of all of it, beside trafilatura and Resiliparse on the same pages in the same run.

    python tests/bench/ingest/extractor_parts.py [--set wcxb|aeb] [--every N] [--repeats N] [--peers N]

Pages are each N-th of WCXB's development split, or of AEB (`../shared/data` beside the checkout); MB are bytes of HTML, seconds those of
user time of this process. `page` is a page's bytes to its row (`page.read`), `ingest` a warc.gz of all those pages to a store on disk.
The peers get decoded text and are slow: they read every tenth of those pages.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SHARED = REPO.parent / "shared" / "data"
SETS = {"wcxb": "B-wcxb-dev.tar.xz", "aeb": "B-aeb-61.tar.xz"}


def sources(name: str, every: int) -> list[bytes]:
    """Each N-th page of a set."""
    with tarfile.open(SHARED / SETS[name]) as archive:
        wanted = set(sorted(name for name in archive.getnames() if name.endswith(".html"))[::every])
        return [archive.extractfile(entry).read() for entry in archive if entry.name in wanted]  # type: ignore[union-attr]


def spent(work: Callable[[], Any]) -> float:
    """Seconds of user time."""
    began = os.times().user
    work()
    return os.times().user - began


def parts() -> list[tuple[str, Callable[[dict[str, Any]], None]]]:
    """Steps from source to text in order; each reads what the ones before it left."""
    from resiliparse.parse.html import HTMLTree

    from stages.ingest import charset
    from stages.ingest.extractor import model as m
    from stages.ingest.extractor.blocks import blocks_of
    from stages.ingest.extractor.features import COLUMNS
    from stages.ingest.extractor.second import SECOND_COLUMNS, fill_second
    from stages.ingest.flat.bound import bound
    from stages.ingest.flat.build import from_serialised
    from stages.ingest.flat.element import Element
    from stages.ingest.flat.formulas import settled
    from stages.ingest.flat.render import render
    from stages.ingest.html import structure
    from stages.ingest.metadata import attach, card, items, licence, schema_org, signals
    from stages.ingest.metadata.facts import number

    model = m.load()

    def decode(page):
        page["source"] = charset.decode(page["bytes"], None).text

    def limit(page):
        data = page["source"].encode()
        found = bound(data).source
        page["within"] = page["source"] if found is data else found.decode()

    def parse(page):
        page["parsed"] = HTMLTree.parse(page.pop("within"))

    def serialise(page):
        page["written"] = str(page.pop("parsed")).encode()

    def cut(page):
        page["tree"] = from_serialised(page.pop("written")).tree

    def formulas(page):
        page["tree"] = settled(page["tree"])

    def blocks(page):
        page["blocks"] = blocks_of(page["tree"])

    def features(page):
        page["known"] = m.known_of(page["blocks"], model.classes)
        page["features"] = np.zeros((len(page["blocks"].block), COLUMNS + SECOND_COLUMNS), np.int32)
        m.features_of(page["blocks"], page["known"], model.texts, page["features"])

    def first(page):
        page["first"] = m.odds_of(model.first, page["features"])
        page["p"] = m.thousandths(page["first"])

    def around(page):
        b = page["blocks"]
        fill_second(b.block, b.container, page["known"], b.signature, page["p"], page["features"], COLUMNS)

    def second(page):
        page["p"] = m.mixed(page["first"], m.odds_of(model.second, page["features"]))

    def choose(page):
        kept = m.taken(page["tree"], page["blocks"], page["p"], True)
        page["chosen"] = np.append(kept, False)[page["blocks"].home]

    def write(page):
        page["rendered"] = render(page["tree"], page["chosen"])

    def read_items(page):
        page["root"] = Element(page["tree"])
        page["items"] = items.read_items(page["root"])
        page["groups"] = schema_org.groups(page["items"])

    def shape(page):
        page["groups"] += structure.groups(page["root"].find("body") or page["root"])

    def declared(page):
        head, stated = card.Head(page["root"]), schema_org.card(page["items"])
        card.title(head, stated.get("title")), card.address(head, None), card.language(head, None), card.published(head)
        licence.of_page(head, stated), signals.read(head)

    def place(page):
        attach.blocks(page["rendered"], number(page["groups"]))

    steps = [
        decode, limit, parse, serialise, cut, formulas, blocks, features, first, around, second, choose, write, read_items, shape, declared, place,
    ]  # fmt: skip
    names = [
        "charset", "source within limits", "lexbor's parse", "its serialisation", "cut into the flat tree", "formulas", "blocks and containers",
        "features", "trees, first stage", "features of the second", "trees, second stage", "choice", "rendering",
        "items", "definitions, details, posts", "card, licence, signals", "blocks in their places",
    ]  # fmt: skip
    return list(zip(names, steps))


def peers() -> list[tuple[str, Callable[[str], Any]]]:
    from resiliparse.extract.html2text import extract_plain_text
    from trafilatura import extract

    return [
        ("trafilatura", extract),
        ("trafilatura fast", lambda source: extract(source, fast=True)),
        ("Resiliparse main content", lambda source: extract_plain_text(source, main_content=True)),
    ]


def by_part(pages: list[bytes], repeats: int) -> dict[str, float]:
    """Seconds of each part; the fastest round of each counts."""
    steps = parts()
    best = dict.fromkeys((name for name, _ in steps), float("inf"))
    for _ in range(repeats):
        now = dict.fromkeys(best, 0.0)
        for data in pages:
            page: dict[str, Any] = {"bytes": data}
            for name, step in steps:
                began = time.process_time()  # os.times counts hundredths
                step(page)
                now[name] += time.process_time() - began
        best = {name: min(best[name], now[name]) for name in best}
    return best


def archive_of(pages: list[bytes], file: Path) -> None:
    """A warc.gz of them, a member a record."""
    with open(file, "wb") as out:
        for number, data in enumerate(pages):
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + data
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
                f"WARC-Target-URI: https://example.org/{number}\r\nContent-Type: application/http\r\nContent-Length: {len(http)}\r\n\r\n"
            )
            out.write(gzip.compress(head.encode() + http + b"\r\n\r\n", 6))


def ingested(file: Path, folder: Path, extract: str) -> None:
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.ingest import Ingest

    stage = Ingest.build({"from": str(file), "extract": extract}, "ingest")
    stage.run(Inputs(), Store(folder), Inline())


def main() -> None:
    from stages.ingest import charset
    from stages.ingest.html import page
    from stages.ingest.row import Raw

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--set", choices=list(SETS), default="wcxb")
    parser.add_argument("--every", type=int, default=6, help="each N-th page of the set")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of ours; the fastest counts")
    parser.add_argument("--peers", type=int, default=10, help="the peers read every so many-th of them")
    given = parser.parse_args()
    if not (SHARED / SETS[given.set]).is_file():
        sys.exit("the real pages (../shared/data) are not beside this checkout")
    logging.disable(logging.CRITICAL)
    pages = sources(given.set, given.every)
    size = sum(map(len, pages)) / 1e6
    for mode in ("learned", "trafilatura", "resiliparse"):
        page.read(Raw("page", "", pages[0]), mode)  # imports and kernels are no part of the figures
    by_part(pages[:1], 1)
    best = by_part(pages, given.repeats)
    total = sum(best.values())
    print(f"{given.set}: {len(pages)} pages, {size:.1f} MB\n{'part':28}   MB/s   share")
    for name, seconds in best.items():
        print(f"{name:28} {size / seconds:6.0f}   {seconds / total:5.1%}")

    def whole(mode: str, some: list[bytes]) -> None:
        for data in some:
            page.read(Raw("page", "", data), mode)

    some = pages[:: given.peers]
    share = sum(map(len, some)) / 1e6
    print(
        f"{'page, learned':28} {size / min(spent(lambda: whole('learned', pages)) for _ in range(given.repeats)):6.1f}"
    )
    print(f"{'page, all':28} {size / min(spent(lambda: whole('all', pages)) for _ in range(given.repeats)):6.1f}")
    for mode in ("trafilatura", "resiliparse"):
        print(f"{'page, ' + mode:28} {share / spent(lambda: whole(mode, some)):6.1f}")
    with tempfile.TemporaryDirectory() as place:
        archive_of(pages, Path(place) / "pages.warc.gz")
        rounds = [
            spent(lambda: ingested(Path(place) / "pages.warc.gz", Path(place) / f"out{at}", "learned"))
            for at in range(given.repeats)
        ]
        print(f"{'ingest of warc.gz, learned':28} {size / min(rounds):6.1f}")
    texts = [charset.decode(data, None).text for data in some]
    for name, read in peers():
        read(texts[0])
        print(f"{name:28} {share / spent(lambda: [read(text) for text in texts]):6.1f}")


if __name__ == "__main__":
    main()
