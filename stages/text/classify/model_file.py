"""A supervised fastText model as arrays: what stands in a `.bin` or `.ftz` file, read without the library.

The library gives a label per text and nothing of how it comes about, so that every text is hashed from its first letter to
its last although texts share nearly all of their words. With the arrays at hand a word is worked out once per process
(`fasttext_walk`). The format is that of version 12: arguments, dictionary with the labels, which of the hashed n-grams
survived pruning, input matrix, output matrix; both may be product-quantised (16 bytes of codes for a row of 32 numbers, ...).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.errors import OptionError

MAGIC, VERSION = 793712314, 12
ARGUMENTS = ("dim", "ws", "epoch", "min_count", "neg", "word_ngrams", "loss", "model", "bucket", "minn", "maxn", "rate")
SUPERVISED = 3
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
CENTROIDS = 256
END = b"</s>"


@dataclass(frozen=True)
class ClassifierModel:
    """A model's arrays. `arena[ends[i]:ends[i + 1]]` are the bytes of word i."""

    dim: int
    word_ngrams: int
    loss: int
    bucket: int
    minn: int
    maxn: int
    arena: np.ndarray
    ends: np.ndarray
    """int64, words + 1."""
    labels: list[str]
    counts: np.ndarray
    """int64 per label: how often it was met in training; the tree of hierarchical softmax is made of them."""
    slots: np.ndarray
    """int32 per n-gram bucket: its row in `rows` less the number of words, -1 where it was pruned; empty: the bucket itself."""
    ngrams: bool
    """Are there n-grams at all."""
    rows: np.ndarray
    """float32, (words + n-grams) x dim."""
    out: np.ndarray
    """float32, labels x dim (hierarchical: inner nodes and one unused row)."""

    @property
    def words(self) -> int:
        return len(self.ends) - 1

    @cached_property
    def tree(self) -> np.ndarray:
        """int32, (labels - 1) x 2: left and right child of every inner node; leaves come first, the root is last.

        Huffman's tree over the label counts as fastText makes it: equal weights take the inner node first.
        """
        n = len(self.labels)
        weight = np.full(2 * n - 1, 10**15, np.int64)
        weight[:n] = self.counts
        children = np.zeros((max(n - 1, 0), 2), np.int32)
        leaf, node = n - 1, n
        for i in range(n - 1):
            for side in (0, 1):
                if leaf >= 0 and weight[leaf] < weight[node]:
                    children[i, side], leaf = leaf, leaf - 1
                else:
                    children[i, side], node = node, node + 1
            weight[n + i] = weight[children[i]].sum()
        return children


class _Bytes:
    """A file read from the front; every size is checked before anything is made of it."""

    def __init__(self, path: Path):
        self.data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        self.at = 0

    def numbers(self, form: str) -> tuple:
        size = struct.calcsize("<" + form)
        return struct.unpack("<" + form, self.take(size).tobytes())

    def take(self, size: int) -> np.ndarray:
        if not 0 <= size <= len(self.data) - self.at:
            raise ValueError("it ends too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def array(self, dtype: str, count: int) -> np.ndarray:
        return self.take(int(count) * np.dtype(dtype).itemsize).view(dtype)

    def word(self) -> bytes:
        size = 256
        while True:  # words are short, but nothing says so
            found = self.data[self.at : self.at + size].tobytes()
            if (end := found.find(b"\0")) >= 0:
                self.at += end + 1
                return found[:end]
            if len(found) < size:
                raise ValueError("it ends inside a word")
            size *= 4


def read(path: str) -> ClassifierModel:
    """The model in a file. OptionError where it is none, is of another version or was not trained to tell labels apart."""
    source = _Bytes(Path(path))
    try:
        return _trained(source)
    except (ValueError, struct.error) as fault:
        raise OptionError(
            f"{path} is no fastText model: {fault}", "give a .bin or .ftz file of a supervised fastText model"
        ) from None


def _trained(source: _Bytes) -> ClassifierModel:
    magic, version = source.numbers("2i")
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"it opens with {magic} and {version}, not with {MAGIC} and {VERSION}")
    options = dict(zip(ARGUMENTS, source.numbers("12id")))
    if options["model"] != SUPERVISED:
        raise ValueError("it was not trained to tell labels apart")
    size, _, labelled, _, pruned = source.numbers("3i2q")
    words, labels, counts = [], [], []
    for _ in range(size):
        word = source.word()
        count, is_label = source.numbers("qb")
        if is_label:
            labels.append(word.decode("utf-8", "replace"))
            counts.append(count)
        else:
            words.append(word)
    if len(labels) != labelled:
        raise ValueError(f"it names {len(labels)} labels and says {labelled}")
    slots = np.zeros(0, np.int32)
    if pruned > 0:
        pairs = source.array("<i4", 2 * pruned).reshape(-1, 2)
        slots = np.full(options["bucket"], -1, np.int32)
        slots[pairs[:, 0]] = pairs[:, 1]
    rows = _matrix(source, bool(source.numbers("?")[0]), options["dim"])
    out = _matrix(source, bool(source.numbers("?")[0]), options["dim"])
    ngrams = pruned if pruned >= 0 else options["bucket"] if options["maxn"] > 0 or options["word_ngrams"] > 1 else 0
    if len(rows) < len(words) + (ngrams if pruned >= 0 else 0) or len(out) != len(labels):
        raise ValueError(
            f"{len(rows)} input rows for {len(words)} words and {ngrams} n-grams, {len(out)} output rows for {len(labels)} labels"
        )
    ends = np.cumsum([0, *map(len, words)]).astype(np.int64)
    fixed = {name: int(options[name]) for name in ("dim", "word_ngrams", "loss", "bucket", "minn", "maxn")}
    return ClassifierModel(
        **fixed,
        arena=np.frombuffer(b"".join(words) or b"\0", np.uint8),
        ends=ends,
        labels=labels,
        counts=np.array(counts, np.int64),
        slots=slots,
        ngrams=len(rows) > len(words) and pruned != 0,
        rows=rows,
        out=out,
    )


def _matrix(source: _Bytes, quantised: bool, dim: int) -> np.ndarray:
    if not quantised:
        rows, columns = source.numbers("2q")
        if columns != dim:
            raise ValueError(f"rows of {columns} numbers where {dim} are due")
        return source.array("<f4", rows * columns).reshape(rows, columns)
    with_norms, rows, columns, size = source.numbers("?2qi")
    if columns != dim:
        raise ValueError(f"rows of {columns} numbers where {dim} are due")
    codes = source.array("u1", size)
    table = _opened(codes, rows, *_centroids(source))
    if with_norms:
        norms = source.array("u1", rows)
        table *= _opened(norms, rows, *_centroids(source))
    return table


def _centroids(source: _Bytes) -> tuple[int, int, int, np.ndarray]:
    dim, parts, width, last = source.numbers("4i")
    if dim < 1 or parts < 1 or (parts - 1) * width + last != dim:
        raise ValueError(f"{parts} parts of {width} numbers and a last of {last} do not make {dim}")
    return parts, width, last, source.array("<f4", dim * CENTROIDS)


def _opened(codes: np.ndarray, rows: int, parts: int, width: int, last: int, centroids: np.ndarray) -> np.ndarray:
    """Rows of numbers from rows of codes: each code names a centroid of its part. float32, rows x dim."""
    if len(codes) != rows * parts:
        raise ValueError(f"{len(codes)} codes for {rows} rows of {parts}")
    codes = codes.reshape(rows, parts)
    pieces = []
    for part in range(parts):
        own = last if part == parts - 1 else width
        start = part * CENTROIDS * width
        pieces.append(centroids[start : start + CENTROIDS * own].reshape(CENTROIDS, own)[codes[:, part]])
    return np.ascontiguousarray(np.concatenate(pieces, axis=1))
