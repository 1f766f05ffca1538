"""CPU time of the learnt extractor by part, beside trafilatura and Resiliparse on the same pages in the same run.

    python tests/bench/ingest/extractor_parts.py [--pages N] [--repeats N] [--peers N]

Pages are every k-th of WCXB's development split (`../shared/data/B-wcxb-dev.tar.xz` beside the checkout), decoded beforehand; MB are
bytes of HTML, seconds are of this process's processor. The peers are slow and read every tenth of those pages.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
ARCHIVE = REPO.parent / "shared" / "data" / "B-wcxb-dev.tar.xz"


def sources(count: int) -> tuple[list[str], float]:
    """(decoded pages, MB of their bytes): about `count`, evenly spread over the archive."""
    from stages.ingest import charset

    found, size = [], 0
    with tarfile.open(ARCHIVE) as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".html"))
        wanted = set(names[:: max(1, len(names) // count)])
        for entry in archive:
            if entry.name in wanted:
                data = archive.extractfile(entry).read()  # type: ignore[union-attr]
                size += len(data)
                found.append(charset.decode(data, None).text)
    return found, size / 1e6


def parts() -> list[tuple[str, Callable[[dict[str, Any]], None]]]:
    """Steps from source to text in order; each reads what the ones before it left."""
    from resiliparse.parse.html import HTMLTree

    from stages.ingest.extractor import model as m
    from stages.ingest.extractor.blocks import blocks_of
    from stages.ingest.extractor.choice import most_expected, with_whole_lists
    from stages.ingest.extractor.features import COLUMNS
    from stages.ingest.extractor.scan import BYTES
    from stages.ingest.extractor.second import SECOND_COLUMNS, fill_second
    from stages.ingest.flat.bound import bound
    from stages.ingest.flat.build import from_serialised
    from stages.ingest.flat.render import render

    model = m.load()

    def limit(page):
        page["within"] = bound(page["source"].encode("utf-8", "replace")).source.decode()

    def parse(page):
        page["parsed"] = HTMLTree.parse(page.pop("within"))

    def serialise(page):
        page["written"] = str(page.pop("parsed")).encode()

    def cut(page):
        page["tree"] = from_serialised(page.pop("written")).tree

    def blocks(page):
        page["blocks"] = blocks_of(page["tree"])

    def features(page):
        page["known"] = m.known_of(page["blocks"], model.classes)
        page["features"] = np.empty((len(page["blocks"].block), COLUMNS + SECOND_COLUMNS), np.int32)
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
        b = page["blocks"]
        kept = with_whole_lists(most_expected(page["p"], b.block[:, BYTES]), b.block, b.container)
        page["chosen"] = np.append(kept, False)[b.home]

    def write(page):
        page["text"] = render(page["tree"], page["chosen"]).text

    steps = [limit, parse, serialise, cut, blocks, features, first, around, second, choose, write]
    names = [
        "source within limits", "lexbor's parse", "its serialisation", "cut into the flat tree", "blocks and containers", "features", "trees, first stage",
        "features of the second", "trees, second stage", "choice", "rendering",
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, default=300, help="pages read by ours")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of ours; the fastest of each part counts")
    parser.add_argument("--peers", type=int, default=10, help="the peers read every so many-th of them")
    given = parser.parse_args()
    if not ARCHIVE.is_file():
        sys.exit("the real pages (../shared/data) are not beside this checkout")
    logging.disable(logging.CRITICAL)
    texts, size = sources(given.pages)
    steps = parts()
    best = dict.fromkeys((name for name, _ in steps), float("inf"))
    warm = {"source": texts[0]}
    for _, step in steps:
        step(warm)
    for _ in range(given.repeats):
        spent = dict.fromkeys(best, 0.0)
        for source in texts:
            page: dict[str, Any] = {"source": source}
            for name, step in steps:
                began = time.process_time()
                step(page)
                spent[name] += time.process_time() - began
        best = {name: min(best[name], spent[name]) for name in best}
    total = sum(best.values())
    print(f"{len(texts)} pages, {size:.1f} MB\n{'part':28}   MB/s   share")
    for name, seconds in best.items():
        print(f"{name:28} {size / seconds:6.0f}   {seconds / total:5.1%}")
    tree = sum(best[name] for name, _ in steps[:4])
    print(f"{'source to text':28} {size / total:6.1f}\n{'tree to text':28} {size / (total - tree):6.1f}")
    some = texts[:: given.peers]
    share = sum(map(len, some)) / max(1, sum(map(len, texts)))
    for name, read in peers():
        read(some[0])
        began = time.process_time()
        for source in some:
            read(source)
        print(f"{name:28} {share * size / (time.process_time() - began):6.1f}")


if __name__ == "__main__":
    main()
