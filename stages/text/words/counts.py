"""What is counted of the words and lines of a text: one walk over the bytes, shared by every rule that asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.docs import Docs
from stages.text.characters import classes


@dataclass(frozen=True)
class WordCounts:
    """Counts per text (int64 arrays of length n) and the words themselves as hashes.

    Words are what `str.split()` gives; lengths are in code points. `lines` are those of `str.splitlines`, `pieces` those of
    `re.split(r"\\n+")`, paragraphs those of `re.split(r"\\n{2,}")` of the stripped text, and `full_lines` the pieces
    that hold a word: each published rule family splits in its own way, and its decisions depend on it. `bullets` are the
    lines that begin with `•` or `-` (Gopher), `items` those that begin with any mark of `onepass.opens_item`.
    """

    counts: np.ndarray
    hashes: np.ndarray
    """uint64, one per kept word."""
    lens: np.ndarray
    """int32, code points of each kept word."""
    bounds: np.ndarray
    """int64, n + 1: text i's words are `hashes[bounds[i]:bounds[i + 1]]`, at most `onepass.MAX_TOKENS` of them."""

    def __getattr__(self, name: str) -> np.ndarray:
        from stages.text.words.walk import COUNTS

        if name not in COUNTS:
            raise AttributeError(name)
        return self.counts[:, COUNTS.index(name)]

    @cached_property
    def mean_length(self) -> np.ndarray:
        """Mean length of the words that are not only punctuation; NaN where there is none."""
        return share(self.plain_chars, self.plain)


@dataclass(frozen=True)
class Read:
    """The measure: `docs.cached(Read())`. `short` is the length in code points up to which a line counts as short."""

    short: int = 30

    def __call__(self, docs: Docs) -> WordCounts:
        from stages.text.words import walk as onepass

        sizes = np.diff(docs.offsets)
        room = int(np.minimum(sizes // 2 + 1, onepass.MAX_TOKENS).sum())
        counts = np.zeros((docs.n, len(onepass.COUNTS)), np.int64)
        hashes, lens = np.empty(room, np.uint64), np.empty(room, np.int32)
        bounds = np.zeros(docs.n + 1, np.int64)
        onepass.walk(docs.data, docs.offsets, classes(), self.short, onepass.MAX_TOKENS, hashes, lens, counts, bounds)
        return WordCounts(counts, hashes[: bounds[-1]], lens[: bounds[-1]], bounds)


read = Read()


@dataclass(frozen=True)
class Repeats:
    """Characters covered by repeated n-grams (int64): `top` n x 3 for n = 2, 3, 4; `dup` n x 6 for n = 5 to 10."""

    top: np.ndarray
    dup: np.ndarray


def repeats(docs: Docs) -> Repeats:
    """The measure of repeated word n-grams: `docs.cached(repeats)`."""
    from stages.text.words.ngrams import repeated

    reading = docs.cached(read)
    top, dup = np.zeros((docs.n, 3), np.int64), np.zeros((docs.n, 6), np.int64)
    repeated(reading.hashes, reading.lens, reading.bounds, top, dup)
    return Repeats(top, dup)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole` as float64, NaN where `whole` is zero: a rule must say what it makes of nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, np.true_divide(part, whole), np.nan)
