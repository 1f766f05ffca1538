"""From texts to findings: fold, scan, verify, resolve overlaps, count code points."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stages.pii.entities import BY_NAME
from stages.pii.kernels.book import book, switched_on
from stages.pii.kernels.fold import fold, foldable
from stages.pii.kernels.rules import PatternRule, rule_book
from stages.pii.kernels.scan import BEGIN, END, ITEM, RULE, SCORE, code_points, scan

BASE58_SIGNS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Finding(NamedTuple):
    """One span of one text: `text[start:end]` (code points) is a value of `entity`, found by `rule`, `score` in 0..1.

    `item` is the text's index; `low` and `high` are the same span as bytes of the buffer that was scanned.
    """

    item: int
    start: int
    end: int
    entity: str
    rule: str
    score: float
    low: int = 0
    high: int = 0


def buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(data uint8, offsets int64[n + 1]) of a large_string array without a copy; null texts must have been filled."""
    if not len(texts):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return _read_only(bytes_), _read_only(bounds)


def _read_only(array: np.ndarray) -> np.ndarray:
    """Read-only, so that kernels are compiled for one type of array."""
    array = array.view()
    array.flags.writeable = False
    return array


def raw_hits(data: np.ndarray, offsets: np.ndarray, entities: frozenset[str], floor: float) -> np.ndarray:
    """int64[k, 5] (item, begin, end, rule, score) of every rule's matches, overlaps included; begin, end in bytes of `data`.

    `floor` is the least score in 0..1.
    """
    odd = foldable(data, offsets)
    hits = _scan(data, offsets, entities, floor)
    if not odd.size:
        return hits
    out, bounds, begins, ends = fold(data, offsets, odd)
    more = _scan(_read_only(out), _read_only(bounds), entities, floor)
    more[:, BEGIN] = begins[more[:, BEGIN]]
    more[:, END] = ends[more[:, END] - 1]
    more[:, ITEM] = odd[more[:, ITEM]]
    hits = hits[~np.isin(hits[:, ITEM], odd)]
    hits = np.concatenate([hits, more])
    return hits[np.argsort(hits[:, ITEM], kind="stable")]


def _scan(data: np.ndarray, offsets: np.ndarray, entities: frozenset[str], floor: float) -> np.ndarray:
    room = 1024 + len(data) // 256
    while True:
        hits = np.zeros((room, 5), np.int64)
        n = scan(book(), switched_on(entities), data, offsets, np.int64(round(floor * 100)), hits)
        if n >= 0:
            return hits[:n]
        room *= 4


def detect(texts: pa.Array, entities: frozenset[str], floor: float = 0.5) -> list[Finding]:
    """Findings of a large_string array, by text and position, free of overlaps."""
    data, offsets = buffers(texts)
    return located(data, offsets, without_overlaps(data, offsets, raw_hits(data, offsets, entities, floor)))


def without_overlaps(data: np.ndarray, offsets: np.ndarray, hits: np.ndarray) -> list[np.ndarray]:
    """Hits that stand, ascending by item and position. Of hits that overlap the longest stands, then the best scored.

    Hits whose proof needs more than the kernels have (the hash of a base58 address) are verified here.
    """
    proofs = _proofs()
    chosen: list[np.ndarray] = []
    group: list[np.ndarray] = []
    for hit in hits:
        if hit[RULE] in proofs and not proofs[int(hit[RULE])](bytes(data[hit[BEGIN] : hit[END]])):
            continue
        if group and group[-1][ITEM] != hit[ITEM]:
            chosen += _apart(group)
            group = []
        group.append(hit)
    return chosen + _apart(group)


def _apart(hits: list[np.ndarray]) -> list[np.ndarray]:
    if len(hits) < 2:
        return hits
    rank, taken = _ranks(), Taken()
    ranked = sorted(hits, key=lambda h: (h[BEGIN] - h[END], -h[SCORE], h[BEGIN], rank[h[RULE]], h[RULE]))
    return sorted((hit for hit in ranked if taken.take(int(hit[BEGIN]), int(hit[END]))), key=lambda h: h[BEGIN])


class Taken:
    """Spans that are taken, apart from each other; asking for one costs a search, so that a text may hold any number."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def take(self, start: int, end: int) -> bool:
        """Take `start:end` unless something taken overlaps it."""
        at = bisect_right(self.starts, start)
        if (at and self.ends[at - 1] > start) or (at < len(self.starts) and self.starts[at] < end):
            return False
        self.starts.insert(at, start)
        self.ends.insert(at, end)
        return True


def apart(found: list[Finding]) -> list[Finding]:
    """Findings of one text without overlaps, by position."""
    taken = Taken()
    ranked = sorted(found, key=lambda f: (f.start - f.end, -f.score, f.start))
    return sorted((finding for finding in ranked if taken.take(finding.start, finding.end)), key=lambda f: f.start)


def located(data: np.ndarray, offsets: np.ndarray, hits: list[np.ndarray]) -> list[Finding]:
    """Hits with code points for bytes; ascending hits cost one pass over the texts that have any."""
    rules: tuple[PatternRule, ...] = rule_book()
    found = []
    item, byte, points = -1, 0, 0
    for hit in hits:
        if hit[ITEM] != item:
            item, byte, points = int(hit[ITEM]), int(offsets[hit[ITEM]]), 0
        low, high = int(hit[BEGIN]), int(hit[END])
        start = points + int(code_points(data, byte, low))
        end = start + int(code_points(data, low, high))
        byte, points = high, end
        rule = rules[hit[RULE]]
        found.append(Finding(item, start, end, rule.entity, rule.name, int(hit[SCORE]) / 100, low, high))
    return found


@cache
def _ranks() -> list[int]:
    """Position of each rule's kind among the kinds: decides between equals."""
    order = list(BY_NAME)
    return [order.index(rule.entity) for rule in rule_book()]


@cache
def _proofs() -> dict[int, object]:
    return {index: base58check for index, rule in enumerate(rule_book()) if rule.check == "base58"}


def base58check(value: bytes) -> bool:
    """Does the address end in the first four bytes of the double SHA-256 of what precedes them?"""
    number = 0
    for sign in value.decode():
        digit = BASE58_SIGNS.find(sign)
        if digit < 0:
            return False
        number = number * 58 + digit
    if number >> 200:
        return False
    whole = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(whole[:21]).digest()).digest()[:4] == whole[21:]
