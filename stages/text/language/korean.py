"""What is measured of Korean text: Hangul among the letters, loose jamo, spacing, and signs of broken decoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.docs import Docs
from stages.text.characters import classes
from stages.text.language.script import Scripts
from stages.text.lines.edits import EditLists
from stages.text.words.counts import read, share

LONG_RUN = 14
"""Hangul without a blank for more syllables than this is missing spacing; the longest usual compounds have a dozen."""


def hangul_words(docs: Docs) -> np.ndarray:
    """Words with a Hangul syllable among all words. float64; NaN where there is no word."""
    return share(docs.cached(spacing).words, docs.cached(read).words)


def jamo_share(docs: Docs) -> np.ndarray:
    """Loose jamo (ㅋㅋㅋ, ㅠㅠ, decomposed syllables) among all Hangul. float64; NaN where there is no Hangul."""
    makeup = docs.cached(Scripts())
    return share(makeup.jamo, makeup.hangul)


def broken(docs: Docs) -> np.ndarray:
    """Share of code points that show broken decoding: replacement characters, C1 controls, private use, mojibake. float64."""
    from stages.text.language.koreanscan import mojibake

    makeup = docs.cached(Scripts())
    count = np.zeros(docs.n, np.int64)
    mojibake(docs.data, docs.offsets, count)
    return share(np.minimum(makeup.suspect + count, makeup.chars), makeup.chars)


def controls(docs: Docs) -> np.ndarray:
    """Share of code points that are control characters other than tab and line breaks, or invisible ones. float64."""
    makeup = docs.cached(Scripts())
    return share(makeup.control, makeup.chars)


@dataclass(frozen=True)
class SpacingShares:
    """Per text: `single` = share of Hangul words of one syllable; `long` = share of syllables in runs without a blank."""

    single: np.ndarray
    long: np.ndarray
    words: np.ndarray
    """int64: words with a Hangul syllable."""


def spacing(docs: Docs) -> SpacingShares:
    """The measure of spacing: `docs.cached(spacing)`. NaN where there is no Hangul."""
    from stages.text.language.koreanscan import eojeol

    counts = np.zeros((docs.n, 4), np.int64)
    eojeol(docs.data, docs.offsets, classes(), LONG_RUN, counts)
    return SpacingShares(share(counts[:, 1], counts[:, 0]), share(counts[:, 3], counts[:, 2]), counts[:, 0])


@dataclass(frozen=True)
class Runs:
    """The measure of emoticon runs longer than `keep`: (what to delete, code points in runs per text)."""

    keep: int = 2
    by: str = "emoticon_runs"

    def __call__(self, docs: Docs) -> tuple[EditLists, np.ndarray]:
        from stages.text.language.koreanscan import runs

        totals = np.zeros(docs.n, np.int64)
        room = 1024
        while True:
            spans, owners = np.empty((room, 2), np.int64), np.empty(room, np.int64)
            totals[:] = 0
            found = runs(docs.data, docs.offsets, classes(), self.keep, spans, owners, room, totals)
            if found <= room:
                break
            room = found
        spans, owners = spans[:found], owners[:found]
        return EditLists(docs.n, owners, spans[:, 0], spans[:, 1], np.zeros(found, bool), self.by), totals
