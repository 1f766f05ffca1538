"""Regular expressions without backtracking: patterns over code points become one table-driven automaton over UTF-8 bytes.

A scanner that walks a table does one look-up per byte, whatever the patterns are, so no input can make it slow. The
language is the part of Python's syntax that has this property and means the same in every engine, so that one pattern
string is both this automaton and a pattern of presidio's: literals, `[...]` classes with ranges (ASCII or any code
point), `(?:...)`, `|`, `?`, `*`, `+`, `{m}`, `{m,n}` and backslash escapes of single signs. No look-around, no captures,
no anchors, no Unicode classes: what must stand beside a match is said by the rule, not by the pattern.

Construction: position automaton (Glushkov), then subsets. A set of positions is one Python integer, so that a subset
step is a few wide ANDs; the whole rule book builds in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

Ranges = tuple[tuple[int, int], ...]
DEAD = 0
ROOT = 1


class Automaton(NamedTuple):
    """A deterministic automaton. State 0 is dead, state 1 is the start.

    `classes` uint8[256]: byte to its class. `moves` int32[states * width]: `moves[state * width + class]` is the next
    state. `first` int32[states + 1] and `rules` int32: the patterns a state accepts are `rules[first[s]:first[s + 1]]`.
    """

    classes: np.ndarray
    moves: np.ndarray
    width: int
    first: np.ndarray
    rules: np.ndarray

    def ends(self, data: bytes, start: int = 0) -> list[tuple[int, int]]:
        """(pattern, end) of every match that begins at `start`; plain Python, for tests and tables."""
        state, found = ROOT, []
        for at in range(start, len(data)):
            state = int(self.moves[state * self.width + int(self.classes[data[at]])])
            if state == DEAD:
                break
            found += [(int(rule), at + 1) for rule in self.rules[self.first[state] : self.first[state + 1]]]
        return found


class _Positions(NamedTuple):
    """A sub-pattern's sets of positions (bit masks): can be empty, begins with, ends with."""

    nullable: bool
    first: int
    last: int


class _Builder:
    """Collects positions (one per byte range in a pattern) and what may follow each."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.follow: list[int] = []

    def position(self, low: int, high: int) -> _Positions:
        self.ranges.append((low, high))
        self.follow.append(0)
        bit = 1 << (len(self.ranges) - 1)
        return _Positions(False, bit, bit)

    def then(self, left: _Positions, right: _Positions) -> _Positions:
        for position in bits(left.last):
            self.follow[position] |= right.first
        return _Positions(
            left.nullable and right.nullable,
            left.first | (right.first if left.nullable else 0),
            right.last | (left.last if right.nullable else 0),
        )

    def loop(self, part: _Positions) -> _Positions:
        for position in bits(part.last):
            self.follow[position] |= part.first
        return part

    @staticmethod
    def either(left: _Positions, right: _Positions) -> _Positions:
        return _Positions(left.nullable or right.nullable, left.first | right.first, left.last | right.last)


EMPTY = _Positions(True, 0, 0)


def bits(mask: int) -> list[int]:
    """Indices of the set bits, ascending."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


# -- syntax --------------------------------------------------------------------------------------------------------------


class _Parser:
    """Recursive descent over one pattern; repeated parts are parsed again per copy, so that positions stay distinct."""

    def __init__(self, pattern: str, builder: _Builder):
        self.pattern, self.at, self.builder = pattern, 0, builder

    def fail(self, what: str) -> ValueError:
        return ValueError(f"{what} at {self.at} in pattern {self.pattern!r}")

    def peek(self) -> str:
        return self.pattern[self.at] if self.at < len(self.pattern) else ""

    def take(self, wanted: str = "") -> str:
        sign = self.peek()
        if not sign or (wanted and sign != wanted):
            raise self.fail(f"expected {wanted or 'a sign'}")
        self.at += 1
        return sign

    def whole(self) -> _Positions:
        part = self.choice()
        if self.at != len(self.pattern):
            raise self.fail("unexpected sign")
        return part

    def choice(self) -> _Positions:
        part = self.sequence()
        while self.peek() == "|":
            self.take()
            part = _Builder.either(part, self.sequence())
        return part

    def sequence(self) -> _Positions:
        part = EMPTY
        while self.peek() not in ("", "|", ")"):
            part = self.builder.then(part, self.piece())
        return part

    def piece(self) -> _Positions:
        begin = self.at
        part = self.atom()
        low, high = self.count()
        if (low, high) == (1, 1):
            return part
        after = self.at
        copies = [part]
        for _ in range((high if high is not None else max(low, 1)) - 1):
            self.at = begin
            copies.append(self.atom())
        self.at = after
        return self.repeated(copies, low, high)

    def repeated(self, copies: list[_Positions], low: int, high: int | None) -> _Positions:
        if high is None:
            copies[-1] = self.builder.loop(copies[-1])
        tail = EMPTY
        for index in range(len(copies) - 1, -1, -1):
            tail = self.builder.then(copies[index], tail)
            if index >= low:
                tail = tail._replace(nullable=True)
        return tail

    def count(self) -> tuple[int, int | None]:
        sign = self.peek()
        if sign in ("?", "*", "+"):
            self.take()
            return {"?": (0, 1), "*": (0, None), "+": (1, None)}[sign]
        if sign != "{":
            return 1, 1
        close = self.pattern.index("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : close].partition(",")
        self.at = close + 1
        least = int(low)
        most = int(high) if high else (None if comma else least)
        if most is not None and (most < least or most == 0):
            raise self.fail("bad count")
        return least, most

    def atom(self) -> _Positions:
        sign = self.take()
        if sign == "(":
            self.take("?")
            self.take(":")
            part = self.choice()
            self.take(")")
            return part
        if sign == "[":
            return self.one_of(self.members())
        if sign in ".^$*+?{}":
            raise self.fail(f"{sign!r} is not of this language")
        code = ord(self.escaped() if sign == "\\" else sign)
        return self.one_of(((code, code),))

    def escaped(self) -> str:
        sign = self.take()
        if sign.isalnum():
            raise self.fail("only signs may be escaped")
        return sign

    def members(self) -> Ranges:
        negated = self.peek() == "^"
        if negated:
            self.take()
        found = []
        while self.peek() != "]":
            low = self.member()
            high = low
            if self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] != "]":
                self.take()
                high = self.member()
            found.append((ord(low), ord(high)))
        self.take("]")
        return _complement(found) if negated else _merged(found)

    def member(self) -> str:
        sign = self.take()
        return self.escaped() if sign == "\\" else sign

    def one_of(self, ranges: Ranges) -> _Positions:
        part: _Positions | None = None
        for low, high in ranges:
            for sequence in utf8_sequences(low, high):
                branch = EMPTY
                for first, last in sequence:
                    branch = self.builder.then(branch, self.builder.position(first, last))
                part = branch if part is None else _Builder.either(part, branch)
        if part is None:
            raise self.fail("empty class")
        return part


def _merged(ranges: Sequence[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Sequence[tuple[int, int]]) -> Ranges:
    """Every other code point; surrogates are none."""
    found, at = [], 0
    for low, high in [*_merged([*ranges, (0xD800, 0xDFFF)]), (0x110000, 0x110000)]:
        if low > at:
            found.append((at, low - 1))
        at = high + 1
    return tuple(found)


def utf8_sequences(low: int, high: int) -> list[list[tuple[int, int]]]:
    """Sequences of byte ranges that together spell exactly the code points `low..high` in UTF-8."""
    for limit in (0x7F, 0x7FF, 0xFFFF):
        if low <= limit < high:
            return utf8_sequences(low, limit) + utf8_sequences(limit + 1, high)
    size = 1 if high <= 0x7F else 2 if high <= 0x7FF else 3 if high <= 0xFFFF else 4
    for level in range(1, size):
        mask = (1 << (6 * level)) - 1
        if (low & ~mask) != (high & ~mask):
            if low & mask:
                return utf8_sequences(low, low | mask) + utf8_sequences((low | mask) + 1, high)
            if (high & mask) != mask:
                return utf8_sequences(low, (high & ~mask) - 1) + utf8_sequences(high & ~mask, high)
    first, last = _utf8(low, size), _utf8(high, size)
    return [list(zip(first, last))]


def _utf8(code: int, size: int) -> list[int]:
    if size == 1:
        return [code]
    lead = {2: 0xC0, 3: 0xE0, 4: 0xF0}[size]
    tail = [0x80 | (code >> (6 * k) & 0x3F) for k in range(size - 1)]
    return [lead | code >> (6 * (size - 1))] + tail[::-1]


# -- subsets -------------------------------------------------------------------------------------------------------------


def compile_patterns(patterns: Sequence[str], limit: int = 60_000) -> Automaton:
    """One automaton for all `patterns`; accepting states name the patterns by index.

    ValueError for a pattern outside the language, one that matches the empty string, or more than `limit` states.
    """
    builder = _Builder()
    parts = [_Parser(pattern, builder).whole() for pattern in patterns]
    for pattern, part in zip(patterns, parts):
        if part.nullable:
            raise ValueError(f"pattern {pattern!r} matches the empty string")
    classes, masks = _byte_classes(builder.ranges)
    root = 0
    for part in parts:
        root |= part.first
    rows, states, pending = [[DEAD] * len(masks)], {}, []
    numbers: dict[int, int] = {}
    rows.append([])
    pending.append((ROOT, root))
    while pending:
        number, reach = pending.pop()
        row = [DEAD] * len(masks)
        for index, mask in enumerate(masks):
            target = reach & mask
            if not target:
                continue
            known = numbers.get(target)
            if known is None:
                known = numbers[target] = len(rows)
                if known > limit:
                    raise ValueError(f"more than {limit} states: bound the patterns more tightly")
                rows.append([])
                states[known] = target
                following = 0
                for position in bits(target):
                    following |= builder.follow[position]
                pending.append((known, following))
            row[index] = known
        rows[number] = row
    lasts = [part.last for part in parts]
    union = 0
    for last in lasts:
        union |= last
    first, rules = [0, 0], []
    for number in range(1, len(rows)):
        held = states.get(number, 0) & union
        if held:
            rules += [index for index, last in enumerate(lasts) if held & last]
        first.append(len(rules))
    return Automaton(
        classes,
        np.asarray(rows, np.int32).reshape(-1),
        len(masks),
        np.asarray(first, np.int32),
        np.asarray(rules, np.int32),
    )


def _byte_classes(ranges: Sequence[tuple[int, int]]) -> tuple[np.ndarray, list[int]]:
    """Bytes that no position tells apart share a class; per class the mask of the positions that take it."""
    masks = [0] * 256
    by_range: dict[tuple[int, int], int] = {}
    for index, span in enumerate(ranges):
        by_range[span] = by_range.get(span, 0) | 1 << index
    for (low, high), mask in by_range.items():
        for byte in range(low, high + 1):
            masks[byte] |= mask
    order: dict[int, int] = {}
    classes = np.array([order.setdefault(mask, len(order)) for mask in masks], np.uint8)
    return classes, list(order)


def kept(build: Callable[[Sequence[str]], Automaton], words: Sequence[str]) -> Automaton:
    """`build(words)`, made once per machine: a second of CPU that every process, each of a report too, would spend again.

    It is kept beside machine code, under a name that is a hash of this file's source and of `words`.
    """
    from stages.text.compiled import stored

    source = Path(__file__).read_bytes()
    arrays = stored(
        f"automaton.{build.__name__}", [source, *(word.encode() for word in words)], lambda: build(words)._asdict()
    )
    return Automaton(**arrays | {"width": int(arrays["width"])})


def find_words(words: Sequence[str]) -> Automaton:
    """An automaton that reports, while walking any text, the words that end at each byte (Aho-Corasick).

    ASCII letters match in either case. Its `moves` never die: state 1 is "no word begun".
    """
    children: list[dict[int, int]] = [{}, {}]
    ends: list[list[int]] = [[], []]
    for index, word in enumerate(words):
        node = ROOT
        for byte in word.lower().encode():
            if byte not in children[node]:
                children.append({})
                ends.append([])
                children[node][byte] = len(children) - 1
            node = children[node][byte]
        ends[node].append(index)
    alphabet = sorted({byte for node in children for byte in node})
    classes = np.zeros(256, np.uint8)
    for number, byte in enumerate(alphabet, 1):
        classes[byte] = number
        if 97 <= byte <= 122:
            classes[byte - 32] = number
    width = len(alphabet) + 1
    moves = np.full((len(children), width), ROOT, np.int32)
    fail = [ROOT] * len(children)
    queue = [ROOT]
    for node in queue:
        for number, byte in enumerate(alphabet, 1):
            child = children[node].get(byte)
            back = ROOT if node == ROOT else int(moves[fail[node], number])
            if child is None:
                moves[node, number] = back
            else:
                moves[node, number] = child
                fail[child] = back
                ends[child] = ends[child] + ends[back]
                queue.append(child)
    first = np.zeros(len(children) + 1, np.int32)
    first[1:] = np.cumsum([len(held) for held in ends])
    rules = np.array([index for held in ends for index in held], np.int32)
    return Automaton(classes, moves.reshape(-1), width, first, rules)
