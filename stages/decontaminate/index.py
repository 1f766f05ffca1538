"""The index of evaluation items: every window of every part, and which windows say nothing.

A part is an item's question, passage or worked solution. Short parts are indexed by windows of half the weight, or one edit
would hide them. A window that stands in many different texts (instructions, "which of the following") is
a template window: it proves nothing and is only counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stages.decontaminate.benchmarks import Item, items
from stages.decontaminate.windows import WEIGHT, all_windows, marks, normal, weight, weights

QUESTION, PASSAGE, SOLUTION = range(3)
SMALL = WEIGHT // 2
LONG = 5 * WEIGHT
"""Parts of this weight on (120 letters, 40 syllables) are found by whole windows, lighter ones by half windows."""
FEWEST = 0.2
"""Share of a part's windows that must stand in a text before the text is looked at closely, ..."""
ENOUGH = 30
"""... or so many of them: a long quotation from a longer part."""


class Hits(NamedTuple):
    """Windows of items found in texts; arrays of equal length, sorted by text and part."""

    row: np.ndarray
    part: np.ndarray
    first: np.ndarray
    """Counted characters of the part before the window."""
    length: np.ndarray
    start: np.ndarray
    """Code point in the text of the window's first character."""
    end: np.ndarray
    at: np.ndarray
    """Counted characters of the text before the window."""


class Templates(NamedTuple):
    """Template windows of texts: how many (int64 per text), and the longest run of them per text (int64, n x 2: code points)."""

    count: np.ndarray
    run: np.ndarray
    length: np.ndarray
    """int64 per text: windows in that run; 0: none."""


@dataclass(frozen=True)
class Layer:
    """All windows of one weight: a table from hash to entry, and the postings of every entry."""

    size: int
    bitmap: np.ndarray
    keys: np.ndarray
    slots: np.ndarray
    bounds: np.ndarray
    part: np.ndarray
    first: np.ndarray
    length: np.ndarray
    template: np.ndarray

    def lookup(self, data: np.ndarray, offsets: np.ndarray) -> tuple[Hits, np.ndarray]:
        """Windows of the texts that stand in this layer; and the template windows among them (int64, m x 4: text, start, end, at)."""
        from stages.decontaminate.windowscan import lookup

        room = 1 << 14
        while True:
            raw = np.empty((room, 5), np.int64)
            found = lookup(data, offsets, normal(), weights(), self.size, self.bitmap, self.keys, self.slots, raw, room)
            if found <= room:
                break
            room = found
        raw = raw[:found]
        common = self.template[raw[:, 1]]
        templates = raw[common][:, [0, 2, 3, 4]]
        raw = raw[~common]
        times = self.bounds[raw[:, 1] + 1] - self.bounds[raw[:, 1]]
        which = np.repeat(np.arange(len(raw)), times)
        posting = np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times) + self.bounds[raw[which, 1]]
        hits = Hits(
            raw[which, 0],
            self.part[posting],
            self.first[posting],
            self.length[posting],
            raw[which, 2],
            raw[which, 3],
            raw[which, 4],
        )
        return hits, templates


@dataclass(frozen=True)
class Index:
    """Windows of all parts. Parts are numbered; `owner` says whose item each is, `kind` what it is."""

    items: list[Item]
    owner: np.ndarray
    """int32 per part."""
    kind: np.ndarray
    """int8 per part."""
    marks: list[np.ndarray]
    """Per part, its counted characters (uint32)."""
    weight: np.ndarray
    """int64 per part."""
    needed: np.ndarray
    """int64 per part: windows that must be found before a text is looked at closely."""
    layers: tuple[Layer, ...]
    too_short: int
    """Items whose question is too light to be found: fewer than a dozen letters or four syllables."""

    def lookup(self, data: np.ndarray, offsets: np.ndarray) -> tuple[Hits, Templates]:
        """Windows of parts of which enough stand in a text, and what of the texts is template."""
        pairs = [layer.lookup(data, offsets) for layer in self.layers]
        hits = Hits(*(np.concatenate(columns) for columns in zip(*(hits for hits, _ in pairs))))
        templates = _templates([found for _, found in pairs], len(offsets) - 1)
        order = np.lexsort((hits.first, hits.start, hits.part, hits.row))
        hits = Hits(*(column[order] for column in hits))
        if not len(hits.row):
            return hits, templates
        fresh = np.ones(len(hits.row), bool)
        fresh[1:] = (hits.row[1:] != hits.row[:-1]) | (hits.part[1:] != hits.part[:-1])
        group = np.cumsum(fresh) - 1
        enough = (np.bincount(group) >= self.needed[hits.part[fresh]])[group]
        return Hits(*(column[enough] for column in hits)), templates


def _templates(layers: list[np.ndarray], texts: int) -> Templates:
    """Runs of template windows, each one counted character behind the one before. Layers are told apart: their windows differ in size."""
    count, run, length = np.zeros(texts, np.int64), np.zeros((texts, 2), np.int64), np.zeros(texts, np.int64)
    for found in layers:
        row, start, end, at = found.T
        count += np.bincount(row, minlength=texts)
        fresh = np.ones(len(row), bool)
        fresh[1:] = (row[1:] != row[:-1]) | (at[1:] != at[:-1] + 1)
        first = np.flatnonzero(fresh)
        sizes = np.diff(np.append(first, len(row)))
        for i, size in zip(first.tolist(), sizes.tolist()):
            if size > length[row[i]]:
                length[row[i]], run[row[i]] = size, (start[i], end[i + size - 1])
    return Templates(count, run, length)


@lru_cache(maxsize=2)
def load(paths: tuple[str, ...], template_items: int) -> Index:
    """The index of the evaluation sets at `paths`; built once per process."""
    return build([item for path in paths for item in items(path)], template_items)


def build(found: list[Item], template_items: int) -> Index:
    """The index of items. A window in more than `template_items` different texts is a template window."""
    texts, owner, kind = [], [], []
    for number, item in enumerate(found):
        for which, text in ((QUESTION, item.question), (PASSAGE, item.passage), (SOLUTION, item.solution)):
            if text and weight(text) >= SMALL:
                texts.append(text)
                owner.append(number)
                kind.append(which)
    loads = np.array([weight(text) for text in texts], np.int64)
    owners, kinds = np.array(owner, np.int32), np.array(kind, np.int8)
    alike: dict[bytes, int] = {}  # one question asked of several choices is one question, not a template
    wordings = np.array([alike.setdefault(marks(text).tobytes(), len(alike)) for text in texts], np.int32)
    layers = tuple(
        _layer(texts, np.flatnonzero(which), size, wordings, template_items)
        for size, which in ((WEIGHT, loads >= LONG), (SMALL, loads < LONG))
        if which.any()
    )
    windows = np.zeros(len(texts), np.int64)
    for layer in layers:
        windows += np.bincount(layer.part[np.repeat(~layer.template, np.diff(layer.bounds))], minlength=len(texts))
    needed = np.maximum(1, np.minimum(np.ceil(FEWEST * windows), ENOUGH)).astype(np.int64)
    needed[loads < 2 * WEIGHT] = 1  # one edit may leave no more of a short part
    with_question = len(set(owners[(kinds == QUESTION) & (windows > 0)].tolist()))
    return Index(
        found, owners, kinds, [marks(text) for text in texts], loads, needed, layers, len(found) - with_question
    )


def _layer(texts: list[str], numbers: np.ndarray, size: int, wordings: np.ndarray, template_items: int) -> Layer:
    from stages.decontaminate.windowscan import fill

    column = pa.array([texts[number] for number in numbers.tolist()], pa.large_string())
    offsets = np.frombuffer(column.buffers()[1], np.int64)[: len(numbers) + 1]
    part, first, length, hashes = all_windows(np.frombuffer(column.buffers()[2], np.uint8), offsets, size)
    part = numbers[part].astype(np.int32)
    order = np.lexsort((first, part, hashes))
    part, first, length, hashes = part[order], first[order], length[order], hashes[order]
    distinct, starts = np.unique(hashes, return_index=True)
    bounds = np.append(starts, len(hashes)).astype(np.int64)
    room = 1 << max(10, int(2 * len(distinct)).bit_length())
    bitmap, keys, slots = np.zeros(2 * room, np.uint8), np.zeros(room, np.uint64), np.full(room, -1, np.int32)
    fill(distinct, bitmap, keys, slots)
    return Layer(
        size, bitmap, keys, slots, bounds, part, first, length, _shared(wordings[part], bounds) > template_items
    )


def _shared(wording: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """In how many different wordings each window stands: `wording` per posting. int64 per entry."""
    entry = np.repeat(np.arange(len(bounds) - 1, dtype=np.int64), np.diff(bounds))
    pairs = np.unique(entry * (int(wording.max()) + 1) + wording) // (int(wording.max()) + 1)
    return np.bincount(pairs, minlength=len(bounds) - 1)
