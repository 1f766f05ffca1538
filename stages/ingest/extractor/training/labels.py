"""Gold for blocks: how much of each stands in the gold text, by the longest common subsequence of their words."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from stages.ingest.extractor.blocks import Blocks
from stages.ingest.flat.names import TAG
from stages.ingest.flat.tree import Flat

TOKEN = re.compile("[\u3040-\u30ff\u4e00-\u9fff]|[^\\W\u3040-\u30ff\u4e00-\u9fff]+")
"""A word; of Chinese and Japanese each character."""
BR = TAG["br"]
MOST = 4_000_000_000
"""Words of page times words of gold from which a page is not aligned."""


class Labels(NamedTuple):
    matched: np.ndarray
    """float64 per block: words that stand in the gold."""
    words: np.ndarray
    """int64 per block: words."""
    gold: int
    """Words of the gold."""


def block_texts(tree: Flat, blocks: Blocks) -> list[str]:
    """Each block's text, white space in a row as one blank."""
    parts: list[list[bytes]] = [[] for _ in blocks.block]
    last = -1
    for node in np.flatnonzero((blocks.home >= 0) | (tree.tag == BR)):
        if (place := blocks.home[node]) >= 0:
            parts[place].append(tree.data[tree.first[node] : tree.last[node]].tobytes())
            last = place
        elif last >= 0:
            parts[last].append(b" ")
    return [" ".join(b"".join(some).decode("utf-8", "replace").split()) for some in parts]


def align(texts: list[str], gold: str) -> Labels | None:
    """The labels of a page's blocks; None where page and gold are too long to align."""
    from rapidfuzz.distance import LCSseq

    ids: dict[str, int] = {}
    wanted = [ids.setdefault(word, len(ids)) for word in TOKEN.findall(gold.lower())]
    found: list[int] = []
    owner: list[int] = []
    counts = np.zeros(len(texts), np.int64)
    for place, text in enumerate(texts):
        words = TOKEN.findall(text.lower())
        counts[place] = len(words)
        found += [ids.get(word, -1) for word in words]
        owner += [place] * len(words)
    if len(found) * len(wanted) > MOST:
        return None
    hit = np.zeros(len(found))
    for step in LCSseq.opcodes(found, wanted):
        if step.tag == "equal":
            hit[step.src_start : step.src_end] = 1.0
    return Labels(np.bincount(owner, hit, minlength=len(texts)) if owner else np.zeros(len(texts)), counts, len(wanted))
