"""Tables of words learnt from labelled pages: how often text under a class name, or a short block with a word, is main text.

A page's own site never speaks in the tables its features are made with while training: each site is left out in its turn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.ingest.extractor.blocks import BLOCK0, BLOCK1, WORD0, WORD1, Blocks
from stages.ingest.extractor.scan import BYTES
from stages.ingest.extractor.training.labels import Labels

SHORT = 300
"""Bytes under which a block's words are looked up."""
SHRINK = 4
"""Pages of no opinion that every word is averaged with."""


class Votes(NamedTuple):
    """What one page says of each of its words: log odds that the text there is main text."""

    words: np.ndarray
    odds: np.ndarray


def _votes(words: np.ndarray, good: np.ndarray, size: np.ndarray) -> Votes:
    found, place = np.unique(words, return_inverse=True)
    good, size = np.bincount(place, good, len(found)), np.bincount(place, size, len(found))
    share = (good + 0.5) / (size + 1.0)
    odds = np.log((share + 0.02) / (1 - share + 0.02))
    keep = (size > 0) & (found > 0)
    return Votes(found[keep], odds[keep])


def class_votes(blocks: Blocks, labels: Labels) -> Votes:
    """Of the class words of every container with text."""
    good, size = (np.concatenate([[0], np.cumsum(column)]) for column in (labels.matched, labels.words))
    a, z = blocks.container[:, BLOCK0], blocks.container[:, BLOCK1]
    counts = blocks.container[:, WORD1] - blocks.container[:, WORD0]
    return _votes(blocks.class_words, np.repeat(good[z] - good[a], counts), np.repeat(size[z] - size[a], counts))


def text_votes(blocks: Blocks, labels: Labels) -> Votes:
    """Of the first words of every short block."""
    short = blocks.block[:, BYTES] < SHORT
    words = blocks.words[short]
    width = words.shape[1]
    return _votes(
        words.ravel(), np.repeat(labels.matched[short], width), np.repeat(labels.words[short].astype(float), width)
    )


class Odds:
    """Log odds by word over many pages, in hundredths, with any site left out."""

    def __init__(self, votes: list[Votes], sites: list[str], fewest: int, least: float) -> None:
        found, place = np.unique(np.concatenate([vote.words for vote in votes]), return_inverse=True)
        odds = np.concatenate([vote.odds for vote in votes])
        counts = np.bincount(place, minlength=len(found))
        common = counts >= fewest
        self.words, self.counts = found[common], counts[common]
        self.sums = np.bincount(place, odds, len(found))[common]
        self.fewest, self.least = fewest, least
        self.by_site: dict[str, list[Votes]] = {}
        for vote, site in zip(votes, sites):
            known = np.isin(vote.words, self.words)
            self.by_site.setdefault(site, []).append(Votes(vote.words[known], vote.odds[known]))

    def without(self, site: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(uint32 words, int16 log odds) of words that enough pages of other sites have and that say something."""
        sums, counts = self.sums, self.counts
        if own := self.by_site.get(site or ""):
            sums, counts = sums.copy(), counts.copy()
            for vote in own:
                place = np.searchsorted(self.words, vote.words)
                sums[place] -= vote.odds
                counts[place] -= 1
        value = np.round(100 * sums / (counts + SHRINK)).astype(np.int64)
        keep = (counts >= self.fewest) & (np.abs(value) >= 100 * self.least)
        return self.words[keep].astype(np.uint32), np.clip(value[keep], -32000, 32000).astype(np.int16)
