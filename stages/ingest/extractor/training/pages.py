"""Pages with gold text: what the extractor learns from and is measured on.

A source is a folder in the layout of WCXB (`html/NAME.html` beside `ground-truth/NAME.json`, whose `ground_truth.main_content` is
the gold) or a table file (JSONL, Parquet, ...; `pipeline.table_files`) of rows with `html`, `text` (the gold; empty where a page
has no main text), and perhaps `url` and `kind`. A page without gold is left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import NamedTuple

import numpy as np

from pipeline.errors import SourceError
from pipeline.table_files import rows_in
from pipeline.urls import host_of
from stages.ingest import charset
from stages.ingest.extractor.blocks import Blocks, blocks_of
from stages.ingest.extractor.comments import are_answers
from stages.ingest.extractor.training.labels import Labels, align, block_texts
from stages.ingest.flat.build import build
from stages.ingest.flat.tree import value

WORD = re.compile(r"\w+")
LANGUAGE = re.compile("[A-Za-z]{2,3}(?![A-Za-z])")
FOLDS = 5


class LabelledPage(NamedTuple):
    name: str
    html: bytes
    gold: str
    url: str
    kind: str


class Example(NamedTuple):
    """A page as it is learnt from; `blocks` without `home`."""

    blocks: Blocks
    labels: Labels
    site: str
    kind: str
    language: str
    """What the page's `html` element says, without region; empty where it says nothing."""
    answers: np.ndarray
    """Booleans by block: readers' comments and posts."""
    words: list[np.ndarray]
    """int64 per block: the gold's number of each of its words, -1 where the gold has it not."""
    gold: np.ndarray
    """int64 per distinct word of the gold: how often it stands there."""


def read_pages(source: str) -> Iterator[LabelledPage]:
    """The pages of a source in order of name or line. SourceError where it is none."""
    path = Path(source)
    found = _folder(path) if path.is_dir() else _lines(path) if path.is_file() else None
    if found is None:
        raise SourceError(f"there is nothing at {path}", "give a folder in WCXB's layout or a JSONL or Parquet file")
    yield from found


def _folder(path: Path) -> Iterator[LabelledPage]:
    notes = sorted((path / "ground-truth").glob("*.json"))
    if not notes:
        raise SourceError(
            f"{path} has no ground-truth/*.json", "give a folder in WCXB's layout or a JSONL or Parquet file"
        )
    for note in notes:
        try:
            row = json.loads(note.read_text("utf-8"))
            gold = row["ground_truth"].get("main_content")
            kind = (row.get("_internal") or {}).get("page_type", {}).get("primary") or ""
            html = (path / "html" / f"{note.stem}.html").read_bytes() if gold is not None else b""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            raise SourceError(
                f"{note} is no page with gold text: {fault}",
                "a JSON object with ground_truth.main_content, beside html/NAME.html",
            ) from None
        if gold is not None:
            yield LabelledPage(note.stem, html, gold, row.get("url") or "", kind)


def _lines(path: Path) -> Iterator[LabelledPage]:
    for number, row in enumerate(rows_in(path)):
        html, gold, *others = (row.get(name) for name in ("html", "text", "url", "kind"))
        if not isinstance(html, str) or not all(isinstance(each, (str, NoneType)) for each in (gold, *others)):
            raise SourceError(f"row {number + 1} of {path} is no page", "each row has `html` and `text`")
        if gold is not None:
            url, kind = (each or "" for each in others)
            yield LabelledPage(f"{path.stem}:{number}", html.encode("utf-8", "surrogatepass"), gold, url, kind)


def site_of(page: LabelledPage) -> str:
    """The page's host without `www.`; its name where it has no address."""
    return (host_of(page.url) or "").removeprefix("www.") or page.name


def fold_of(site: str) -> int:
    """The fold all pages of a site are in."""
    return int.from_bytes(hashlib.blake2b(site.encode(), digest_size=4).digest(), "big") % FOLDS


def example_of(page: LabelledPage) -> Example | None:
    """The page with its labels; None where page and gold are too long to align."""
    tree = build(charset.decode(page.html, None).text).tree
    blocks = blocks_of(tree)
    texts = block_texts(tree, blocks)
    labels = align(texts, page.gold)
    if labels is None:
        return None
    ids: dict[str, int] = {}
    gold = np.array([ids.setdefault(word, len(ids)) for word in WORD.findall(page.gold.lower())], np.int64)
    words = [np.array([ids.get(word, -1) for word in WORD.findall(text.lower())], np.int64) for text in texts]
    language = LANGUAGE.match(value(tree, 0, "lang") or "")
    return Example(
        blocks._replace(home=np.zeros(0, np.int32)), labels, site_of(page), page.kind, language[0].lower() if language else "",
        are_answers(tree, blocks), words, np.bincount(gold, minlength=len(ids)),
    )  # fmt: skip


def word_f1(example: Example, chosen: np.ndarray) -> float:
    """Word F1 of the chosen blocks (booleans) against the gold: words as a bag, 1 where both are empty."""
    found = [example.words[place] for place in np.flatnonzero(chosen)]
    total = sum(map(len, found)) + int(example.gold.sum())
    if not total:
        return 1.0
    known = np.concatenate(found) if found else np.zeros(0, np.int64)
    counts = np.bincount(known[known >= 0], minlength=len(example.gold))
    return 2 * float(np.minimum(counts, example.gold).sum()) / total
