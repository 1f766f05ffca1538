"""Which scripts a text is written in: letters counted by class over its first code points or all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.docs import Docs
from stages.text.characters import (
    ALPHA,
    CJK,
    CONTROL,
    DIGIT,
    HANGUL,
    JAMO,
    LATIN,
    OTHER_LETTER,
    PUNCT,
    SPACE,
    SUSPECT,
    UPPER,
    classes,
)  # fmt: skip

FLAGS = (ALPHA, HANGUL, JAMO, LATIN, CJK, OTHER_LETTER, DIGIT, UPPER, PUNCT, SPACE, SUSPECT, CONTROL)
NAMES = (
    "letters",
    "hangul",
    "jamo",
    "latin",
    "cjk",
    "other",
    "digits",
    "upper",
    "punctuation",
    "blanks",
    "suspect",
    "control",
)


@dataclass(frozen=True)
class Makeup:
    """Code points per class and text (int64, n): letters, hangul, jamo, latin, cjk, other, digits, upper, ..."""

    counts: np.ndarray
    """int64, n x len(NAMES)."""
    chars: np.ndarray
    """int64, n: code points looked at."""
    ends: np.ndarray
    """int64, n: byte (in the batch's buffer) after the last code point looked at."""

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in NAMES:
            raise AttributeError(name)
        return self.counts[:, NAMES.index(name)]


@dataclass(frozen=True)
class Scripts:
    """The measure: `docs.cached(Scripts(500))` looks at the first 500 code points of each text, `Scripts()` at all."""

    head: int | None = None

    def __call__(self, docs: Docs) -> Makeup:
        from stages.text.language.scriptscan import count

        counts = np.zeros((docs.n, len(FLAGS)), np.int64)
        chars, ends = np.zeros(docs.n, np.int64), np.zeros(docs.n, np.int64)
        limit = self.head if self.head is not None else np.iinfo(np.int64).max
        count(docs.data, docs.offsets, classes(), np.array(FLAGS, np.int64), limit, counts, chars, ends)
        return Makeup(counts, chars, ends)
