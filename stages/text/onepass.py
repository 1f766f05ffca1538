"""One walk over the bytes of a text: every count the published rules of words and lines need, and the words' hashes.

A word is what `str.split()` gives. No Python string is made: a word is folded into a 64-bit hash while it is decoded, and
a line or paragraph is hashed from the hashes of its words and its blanks, so that telling repeated lines costs nothing
per byte. Tables are stamped per document and never cleared. Two different strings taken for equal need a collision of 64
bits: not seen, and harmless at these rates.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.text.characters import ALPHA, BREAK, PUNCT, SPACE, TERMINAL
from stages.text.utf8 import point

COUNTS = (
    "chars words plain plain_chars alpha sharps ellipses longest lines bullets trailing pieces repeated_pieces "
    "repeated_piece_chars paragraphs repeated_paragraphs repeated_paragraph_chars full_lines ended short "
    "repeated_full_chars newlines word_chars"
).split()
"""Columns of the count matrix; `stages/text/words.py` and `lines.py` say what each means."""
(
    CHARS, WORDS, PLAIN, PLAIN_CHARS, ALPHAS, SHARPS, ELLIPSES, LONGEST, LINES, BULLETS, TRAILING, PIECES, DUP_PIECES,
    DUP_PIECE_CHARS, PARAGRAPHS, DUP_PARAGRAPHS, DUP_PARAGRAPH_CHARS, FULL, ENDED, SHORT, DUP_FULL_CHARS, NEWLINES,
    WORD_CHARS,
) = range(len(COUNTS))  # fmt: skip

MAX_TOKENS = 1 << 22
"""Words of one text whose hashes are kept (4,194,304). Counts are of the whole text; repetition is measured on these."""

MIX = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio, odd: the usual multiplier of multiplicative hashing."""
SEED = np.uint64(0x2545F4914F6CDD1D)
_S29 = np.uint64(29)
_S32 = np.uint64(32)
_DOT, _HASH, _MINUS, _BULLET, _ELLIPSIS, _LF, _CR = 0x2E, 0x23, 0x2D, 0x2022, 0x2026, 0x0A, 0x0D


@njit(inline="always", nogil=True)
def finished(value):
    """Spread the bits of a running hash over all 64."""
    value ^= value >> _S32
    value *= MIX
    return value ^ (value >> _S29)


@njit(inline="always", nogil=True)
def fold(value, part):
    """Running hash with one more part."""
    return (value ^ part) * MIX


@njit(nogil=True)
def seen(keys, stamps, stamp, value):
    """True when `value` was put into this generation of the table before; puts it there."""
    mask = len(keys) - 1
    slot = np.int64(value >> _S32) & mask
    while stamps[slot] == stamp:
        if keys[slot] == value:
            return True
        slot = (slot + 1) & mask
    stamps[slot] = stamp
    keys[slot] = value
    return False


@njit(nogil=True)
def table_size(wanted):
    """Power of two at least twice `wanted`."""
    size = 64
    while size < 2 * wanted:
        size *= 2
    return size


@njit(nogil=True, cache=True)
def walk(data, offsets, classes, short_length, max_tokens, hashes, lens, counts, bounds):
    """Fill `counts` (n x len(COUNTS)), `hashes`, `lens` (per word) and `bounds` (n + 1, into the two)."""
    keys = np.zeros(1 << 10, np.uint64)
    stamps = np.zeros(1 << 10, np.int32)
    para_keys = np.zeros(1 << 10, np.uint64)
    para_stamps = np.zeros(1 << 10, np.int32)
    token = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        newlines = 0
        for i in range(at, end):
            newlines += data[i] == _LF
        if 2 * (newlines + 2) > len(keys):
            size = table_size(newlines + 2)
            keys, stamps = np.zeros(size, np.uint64), np.zeros(size, np.int32)
            para_keys, para_stamps = np.zeros(size, np.uint64), np.zeros(size, np.int32)
        stamp = np.int32(row + 1)
        bounds[row] = token
        last_token = token + max_tokens
        chars = words = plain = plain_chars = alpha = sharps = ellipses = longest = word_chars = 0
        lines = bullets = trailing = 0
        pieces = dup_pieces = dup_piece_chars = full = ended = short = dup_full_chars = 0
        paragraphs = dup_paragraphs = dup_paragraph_chars = 0
        line_hash, line_len, line_full, line_ended = SEED, 0, False, False
        para_hash, para_len, run = SEED, 0, 0
        first_word, dotted = True, False
        gap_start = at
        line_open = False  # str.splitlines' line holds a character
        after_cr = False
        while at < end:
            char, after = point(data, at, end)
            kind = classes[char]
            if not kind & SPACE:
                # what the gap means to paragraphs is known now: a word follows (the text's edges are stripped)
                if words > 0:
                    gap = gap_start
                    while gap < at:
                        blank, gap = point(data, gap, end)
                        if blank == _LF:
                            run += 1
                            continue
                        if run >= 2:
                            paragraphs += 1
                            if seen(para_keys, para_stamps, stamp, finished(para_hash)):
                                dup_paragraphs += 1
                                dup_paragraph_chars += para_len
                            para_hash, para_len = SEED, 0
                        elif run == 1:
                            para_hash = fold(para_hash, np.uint64(_LF))
                            para_len += 1
                        run = 0
                        para_hash = fold(para_hash, np.uint64(blank))
                        para_len += 1
                    if run >= 2:
                        paragraphs += 1
                        if seen(para_keys, para_stamps, stamp, finished(para_hash)):
                            dup_paragraphs += 1
                            dup_paragraph_chars += para_len
                        para_hash, para_len = SEED, 0
                    elif run == 1:
                        para_hash = fold(para_hash, np.uint64(_LF))
                        para_len += 1
                    run = 0
                if first_word:
                    bullets += (char == _MINUS) | (char == _BULLET)
                    first_word = False
                size = 0
                dots = 0
                all_kinds = kind
                no_plain = kind
                word = SEED
                while True:
                    size += 1
                    word = fold(word, np.uint64(char))
                    all_kinds |= kind
                    no_plain &= kind
                    if char == _DOT:
                        dots += 1
                        if dots % 3 == 0:
                            ellipses += 1
                    else:
                        dots = 0
                        sharps += char == _HASH
                        ellipses += char == _ELLIPSIS
                    at = after
                    if at >= end:
                        break
                    last_char, last_kind = char, kind
                    char, after = point(data, at, end)
                    kind = classes[char]
                    if kind & SPACE:
                        char, kind = last_char, last_kind
                        break
                word = finished(word)
                words += 1
                word_chars += size
                chars += size
                if size > longest:
                    longest = size
                if not no_plain & PUNCT:
                    plain += 1
                    plain_chars += size
                alpha += (all_kinds & ALPHA) != 0
                dotted = dots >= 3 or char == _ELLIPSIS
                line_hash = fold(line_hash, word)
                line_len += size
                line_full = True
                line_ended = (kind & TERMINAL) != 0
                line_open = True
                after_cr = False
                para_hash = fold(para_hash, word)
                para_len += size
                if token < last_token:
                    hashes[token] = word
                    lens[token] = size
                    token += 1
                gap_start = at
                continue
            chars += 1
            at = after
            if char == _LF:
                if line_len > 0:
                    pieces += 1
                    dup = seen(keys, stamps, stamp, finished(line_hash))
                    if dup:
                        dup_pieces += 1
                        dup_piece_chars += line_len
                    if line_full:
                        full += 1
                        ended += line_ended
                        short += line_len <= short_length
                        if dup:
                            dup_full_chars += line_len
                line_hash, line_len, line_full, line_ended = SEED, 0, False, False
            else:
                line_hash = fold(line_hash, np.uint64(char))
                line_len += 1
                line_ended = False
            if kind & BREAK:
                if not (char == _LF and after_cr):
                    lines += 1
                    trailing += dotted
                after_cr = char == _CR
                line_open, first_word, dotted = False, True, False
            else:
                line_open = True
                after_cr = False
        if line_open:
            lines += 1
            trailing += dotted
        if line_len > 0:
            pieces += 1
            dup = seen(keys, stamps, stamp, finished(line_hash))
            if dup:
                dup_pieces += 1
                dup_piece_chars += line_len
            if line_full:
                full += 1
                ended += line_ended
                short += line_len <= short_length
                if dup:
                    dup_full_chars += line_len
        begin = offsets[row]
        if end > begin:  # re.split("\n+") gives an empty piece at an edge that is a line feed
            edges = np.int64(data[begin] == _LF) + np.int64(data[end - 1] == _LF)
            pieces += edges
            dup_pieces += edges == 2
        paragraphs += 1
        if words > 0 and seen(para_keys, para_stamps, stamp, finished(para_hash)):
            dup_paragraphs += 1
            dup_paragraph_chars += para_len
        out = counts[row]
        out[CHARS], out[WORDS], out[PLAIN], out[PLAIN_CHARS] = chars, words, plain, plain_chars
        out[ALPHAS], out[SHARPS], out[ELLIPSES], out[LONGEST] = alpha, sharps, ellipses, longest
        out[LINES], out[BULLETS], out[TRAILING] = lines, bullets, trailing
        out[PIECES], out[DUP_PIECES], out[DUP_PIECE_CHARS] = pieces, dup_pieces, dup_piece_chars
        out[PARAGRAPHS], out[DUP_PARAGRAPHS], out[DUP_PARAGRAPH_CHARS] = paragraphs, dup_paragraphs, dup_paragraph_chars
        out[FULL], out[ENDED], out[SHORT], out[DUP_FULL_CHARS] = full, ended, short, dup_full_chars
        out[NEWLINES], out[WORD_CHARS] = newlines, word_chars
    bounds[len(offsets) - 1] = token
