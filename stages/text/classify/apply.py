"""A fastText model on many texts: the same labels and scores as the library's, at many times its speed.

`scorer(path)` is kept per process with what it has worked out of the words it met. Labels and scores are those of
`model.predict` on the text with its line breaks as blanks, up to the last digits of 32-bit sums (tests/stages/text/test_fasttext.py).
Only where `</s>` stands in a text does the library stop reading; here it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np

from stages.text.characters import classes
from stages.text.classify.model_file import END, HIERARCHICAL, SOFTMAX, ClassifierModel, read

LABEL = b"__label__"
MEMORY = 8 << 20
"""Bytes of word vectors kept per model: 65,000 words of 16 numbers, 8,000 of 256. More of them miss the processor's cache."""
CELLS = 1 << 20
"""Probabilities held at a time."""
SMALLEST = 1e-5
"""What fastText adds to a probability before it takes the logarithm; also in `fasttext_walk`."""


@dataclass(frozen=True)
class Sums:
    """Of every text: the mean vector of all it holds and of its words alone (float32, n x 2 x dim), and how much that is."""

    means: np.ndarray
    features: np.ndarray
    """int64, n x 2: rows summed; 0: nothing there that the model knows."""
    letters: np.ndarray
    """int64, n x 2 x 4: letters of Hangul, Latin, Han and kana, other scripts; in all of the text and in its words."""


class Scorer:
    """A model ready to be asked. Safe to share between threads: one asks at a time."""

    def __init__(self, model: ClassifierModel):
        from stages.text.classify.kernels import LETTERS, fill_words

        self.model = model
        self.labels = model.labels
        room = 1 << max(4, int(2 * model.words).bit_length())
        self._keys, self._numbers = np.zeros(room, np.uint64), np.zeros(room, np.int32)
        fill_words(model.arena, model.ends, self._keys, self._numbers)
        self._width = -(-(model.dim + 1 + LETTERS) // 8) * 8  # whole vector registers
        slots = 1 << (MEMORY // (4 * self._width + 8)).bit_length() - 1
        self._memory, self._notes = np.zeros(slots, np.uint64), np.zeros((slots, self._width), np.float32)
        self._alive = np.packbits(model.slots >= 0, bitorder="little")
        words = [
            model.arena[a:b].tobytes()
            for a, b in zip(model.ends[:-1].tolist(), model.ends[1:].tolist())
            if b - a == len(END)
        ]
        self._closing = self._number_of(END) if END in words else -1
        self._lock = Lock()

    def _number_of(self, word: bytes) -> int:
        model = self.model
        sizes = np.flatnonzero(np.diff(model.ends) == len(word)).tolist()
        return next(n for n in sizes if model.arena[model.ends[n] : model.ends[n + 1]].tobytes() == word)

    def sums(self, data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Sums:
        """Mean vectors of the stretches `data[starts[i]:ends[i]]` (UTF-8)."""
        from stages.text.classify.kernels import LETTERS, gather

        model, n = self.model, len(starts)
        sums = np.zeros((n, 2, self._width))
        minn, maxn = (model.minn, model.maxn) if model.ngrams else (0, 0)
        with self._lock:
            gather(
                data, starts.astype(np.int64), ends.astype(np.int64), classes(), np.frombuffer(LABEL, np.uint8), self._keys, self._numbers, model.words, minn, maxn,
                model.bucket, self._alive, model.slots, model.rows, self._closing, model.word_ngrams if model.ngrams else 1, self._memory, self._notes, sums,
            )  # fmt: skip
        features, letters = sums[:, :, model.dim], sums[:, :, model.dim + 1 : model.dim + 1 + LETTERS]
        means = (sums[:, :, : model.dim] / np.maximum(features, 1)[:, :, None]).astype(np.float32)
        return Sums(means, features.astype(np.int64), letters.astype(np.int64))

    def probabilities(self, means: np.ndarray) -> np.ndarray:
        """Score of every label (float64, n x labels), as `predict` gives them, from mean vectors (n x dim)."""
        out = np.empty((len(means), len(self.labels)))
        rows = max(1, CELLS // max(2 * len(self.labels), 1))
        for at in range(0, len(means), rows):
            out[at : at + rows] = self._scores(means[at : at + rows])
        return out

    def _scores(self, means: np.ndarray) -> np.ndarray:
        dots = (means @ self.model.out.T).astype(np.float64)
        if self.model.loss == HIERARCHICAL:
            return self._down_the_tree(dots)
        if self.model.loss == SOFTMAX:
            raised = np.exp(dots - dots.max(axis=1, keepdims=True))
            return raised / raised.sum(axis=1, keepdims=True) + SMALLEST
        # one against all: fastText looks the sigmoid up in steps of 1/32 and ends it at 8
        steps = np.floor((np.clip(dots, -8, 8) + 8) * 32) / 32 - 8
        return np.select([dots < -8, dots > 8], [0.0, 1.0], 1 / (1 + np.exp(-steps))) + SMALLEST

    def _down_the_tree(self, dots: np.ndarray) -> np.ndarray:
        """Every label's probability is the product of the turns on the way to it."""
        n = len(self.labels)
        scores = np.ones((2 * n - 1, len(dots)))
        right = 1 / (1 + np.exp(-dots.T))
        for i in range(n - 2, -1, -1):
            low, high = self.model.tree[i]
            scores[low] = scores[n + i] * (1 - right[i] + SMALLEST)
            scores[high] = scores[n + i] * (right[i] + SMALLEST)
        return scores[:n].T

    def top(self, means: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The best `count` labels per row (numbers, best first) and their scores, at most 1."""
        from stages.text.classify.kernels import best_leaves

        count = min(count, len(self.labels))
        best, scores = np.zeros((len(means), count), np.int64), np.zeros((len(means), count))
        if self.model.loss == HIERARCHICAL:
            best_leaves(np.ascontiguousarray(means @ self.model.out.T), self.model.tree, best, scores)
            return best, np.minimum(scores, 1.0)
        rows = max(1, CELLS // max(2 * len(self.labels), 1))
        for at in range(0, len(means), rows):
            found = self._scores(means[at : at + rows])
            first = (
                np.argpartition(-found, count - 1, axis=1)[:, :count]
                if count < found.shape[1]
                else np.tile(np.arange(count), (len(found), 1))
            )
            own = np.take_along_axis(found, first, axis=1)
            order = np.lexsort((first, -own), axis=1)
            best[at : at + rows] = np.take_along_axis(first, order, axis=1)
            scores[at : at + rows] = np.take_along_axis(own, order, axis=1)
        return best, np.minimum(scores, 1.0)


@cache
def scorer(path: str) -> Scorer:
    """The model at `path`, once per process."""
    return Scorer(read(path))
