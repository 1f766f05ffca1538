"""One walk over the bytes of a text: every count the published rules of words and lines need, and the words' hashes.

A word is what `str.split()` gives. No Python string is made: a word is folded into a 64-bit hash while it is decoded, and
a line or paragraph is hashed from the hashes of its words and its blanks, so that telling repeated lines costs nothing
per byte. The parts of the walk are inlined by name: called, they cost a third of its speed. Tables are stamped per document and never cleared. Two different strings taken for equal need a collision of 64
bits: not seen, and harmless at these rates.
"""

from __future__ import annotations

import numpy as np

from stages.text.characters import ALPHA, BREAK, PUNCT, SPACE, TERMINAL
from stages.text.compiled import inlined, int64, kernel, part, reads, writes
from stages.text.utf8 import point

COUNTS = (
    "chars words plain plain_chars alpha sharps ellipses longest lines bullets trailing pieces repeated_pieces "
    "repeated_piece_chars paragraphs repeated_paragraphs repeated_paragraph_chars full_lines ended short "
    "repeated_full_chars newlines items"
).split()
"""Columns of the count matrix; `stages/text/words/counts.py` and `lines.py` say what each means."""
(
    CHARS, WORDS, PLAIN, PLAIN_CHARS, ALPHAS, SHARPS, ELLIPSES, LONGEST, LINES, BULLETS, TRAILING, PIECES, DUP_PIECES,
    DUP_PIECE_CHARS, PARAGRAPHS, DUP_PARAGRAPHS, DUP_PARAGRAPH_CHARS, FULL, ENDED, SHORT, DUP_FULL_CHARS, NEWLINES, ITEMS,
) = range(len(COUNTS))  # fmt: skip

MAX_TOKENS = 1 << 22
"""Words of one text whose hashes are kept (4,194,304). Counts are of the whole text; repetition is measured on these."""

MIX = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio, odd: the usual multiplier of multiplicative hashing."""
SEED = np.uint64(0x2545F4914F6CDD1D)
_S29 = np.uint64(29)
_S32 = np.uint64(32)
_DOT, _HASH, _MINUS, _BULLET, _ELLIPSIS, _LF, _CR = 0x2E, 0x23, 0x2D, 0x2022, 0x2026, 0x0A, 0x0D
_STAR, _EN_DASH, _EM_DASH, _BAR = 0x2A, 0x2013, 0x2014, 0x2015


@inlined
def finished(value):
    """Spread the bits of a running hash over all 64."""
    value ^= value >> _S32
    value *= MIX
    return value ^ (value >> _S29)


@inlined
def fold(value, part):
    """Running hash with one more part."""
    return (value ^ part) * MIX


@part
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


@part
def table_size(wanted):
    """Power of two at least twice `wanted`."""
    size = 64
    while size < 2 * wanted:
        size *= 2
    return size


@inlined
def _close_piece(out, keys, stamps, stamp, value, size, full, ended, short_length):
    """Count a piece between line feeds: `size` code points, `full` when it holds a word, `ended` when a terminal ends it."""
    out[PIECES] += 1
    again = seen(keys, stamps, stamp, finished(value))
    if again:
        out[DUP_PIECES] += 1
        out[DUP_PIECE_CHARS] += size
    if full:
        out[FULL] += 1
        out[ENDED] += ended
        out[SHORT] += size <= short_length
        out[DUP_FULL_CHARS] += size * again


@inlined
def _close_paragraph(out, keys, stamps, stamp, value, size):
    out[PARAGRAPHS] += 1
    if seen(keys, stamps, stamp, finished(value)):
        out[DUP_PARAGRAPHS] += 1
        out[DUP_PARAGRAPH_CHARS] += size


@part
def opens_item(char, blank_follows):
    """Does a line that begins with `char` look like an item of a list, as Korean pages set them?

    Middle dots (`·`, `ㆍ`, `・` and their like), bullets, squares, lozenges, triangles, circles, stars, pointing hands, ticks,
    `※` and numbers in circles or brackets. A star or a dash is one only before a blank: `**word**`, `-5` and dialogue begin so too;
    a hyphen always, as Gopher counts it.
    """
    if char < 0x80:
        return char == _MINUS or (char == _STAR and blank_follows)
    if char in (_EN_DASH, _EM_DASH, _BAR):
        return blank_follows
    if 0x2460 <= char <= 0x249B or 0x24EB <= char <= 0x24FF or 0x25A0 <= char <= 0x25FF or 0x2776 <= char <= 0x2793:
        return True  # enclosed numbers, geometric shapes, numbers in black circles
    if 0x3200 <= char <= 0x321E or 0x3260 <= char <= 0x327F:
        return True  # Hangul in brackets and circles: ㈀ ㉮
    return (
        char in (0xB7, 0x318D, 0x30FB, 0xFF65, 0x2219, 0x22C5, 0x2027, 0x2981)  # middle dots
        or char in (_BULLET, 0x2023, 0x2043, 0x204C, 0x204D, 0x203B, 0x2212, 0x2BC8, 0x2B25, 0x2B1B, 0x2B1C, 0x29BF)
        or char
        in (
            0x2605,
            0x2606,
            0x2611,
            0x2713,
            0x2714,
            0x261E,
            0x261B,
            0x2756,
            0x2794,
            0x2799,
            0x279C,
            0x27A1,
            0x27A2,
            0x27A4,
        )
    )


@inlined
def _through_gap(data, at, end, out, keys, stamps, stamp, value, size):
    """What the blanks `data[at:end]` between two words mean to paragraphs; the hash and length of the paragraph under way.

    Two line feeds and more part paragraphs; a single one belongs to its paragraph, as other blanks do.
    """
    run = 0
    while True:
        blank = np.int64(-1)
        if at < end:
            blank, at = point(data, at, end)
        if blank == _LF:
            run += 1
            continue
        if run >= 2:
            _close_paragraph(out, keys, stamps, stamp, value, size)
            value, size = SEED, 0
        elif run == 1:
            value = fold(value, np.uint64(_LF))
            size += 1
        run = 0
        if blank < 0:
            return value, size
        value = fold(value, np.uint64(blank))
        size += 1


@inlined
def _through_word(data, at, after, end, char, kind, classes):
    """Read the word that begins with `char` at `at`.

    The byte after it, its length, hash, last class, whether it ends in an ellipsis, is more than punctuation, holds a letter,
    and its hash signs and ellipses.
    """
    size = dots = sharps = ellipses = 0
    some, every = kind, kind
    value = SEED
    while True:
        size += 1
        value = fold(value, np.uint64(char))
        some |= kind
        every &= kind
        if char == _DOT:
            dots += 1
            ellipses += dots % 3 == 0
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
    plain, alpha = (every & PUNCT) == 0, (some & ALPHA) != 0
    return at, size, finished(value), kind, dots >= 3 or char == _ELLIPSIS, plain, alpha, sharps, ellipses


@part
def _grown(keys, stamps, stamp, wanted):
    """Tables with room for `wanted` entries, holding this generation's."""
    size = table_size(wanted)
    fresh_keys, fresh_stamps = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    for slot in range(len(keys)):
        if stamps[slot] == stamp:
            seen(fresh_keys, fresh_stamps, stamp, keys[slot])
    return fresh_keys, fresh_stamps


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.uint16),
    int64,
    int64,
    writes(np.uint64),
    writes(np.int32),
    writes(np.int64, 2),
    writes(np.int64),
)
def walk(data, offsets, classes, short_length, max_tokens, hashes, lens, counts, bounds):
    """Fill `counts` (n x len(COUNTS)), `hashes`, `lens` (per word) and `bounds` (n + 1, into the two)."""
    keys, stamps = np.zeros(1 << 10, np.uint64), np.zeros(1 << 10, np.int32)
    para_keys, para_stamps = np.zeros(1 << 10, np.uint64), np.zeros(1 << 10, np.int32)
    token = 0
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        out = counts[row]
        stamp = np.int32(row + 1)
        bounds[row] = token
        last_token = token + max_tokens
        chars = words = longest = lines = newlines = plain = plain_chars = alpha = sharps = ellipses = 0
        line_hash, line_len, line_full, line_ended = SEED, 0, False, False
        para_hash, para_len = SEED, 0
        # str.splitlines' line under way: does it hold anything, no word yet, does its last word end in an ellipsis
        line_open, first_word, dotted = False, True, False
        after_cr = False
        at = gap = begin
        while at < end:
            char, after = point(data, at, end)
            kind = classes[char]
            if not kind & SPACE:
                if words and at == gap + 1 and data[gap] != _LF:  # one blank, as nearly always
                    para_hash, para_len = fold(para_hash, np.uint64(data[gap])), para_len + 1
                elif words:
                    room = out[PARAGRAPHS] - out[DUP_PARAGRAPHS] + (at - gap)
                    if 2 * room > len(para_keys):
                        para_keys, para_stamps = _grown(para_keys, para_stamps, stamp, 2 * room)
                    para_hash, para_len = _through_gap(
                        data, gap, at, out, para_keys, para_stamps, stamp, para_hash, para_len
                    )
                if first_word:
                    out[BULLETS] += (char == _MINUS) | (char == _BULLET)
                    out[ITEMS] += opens_item(
                        char, after < end and classes[point(data, after, end)[0]] & (SPACE | BREAK) == SPACE
                    )
                    first_word = False
                at, size, word, kind, dotted, is_plain, has_alpha, new_sharps, new_ellipses = _through_word(
                    data, at, after, end, char, kind, classes
                )
                words += 1
                plain += is_plain
                plain_chars += size * is_plain
                alpha += has_alpha
                sharps += new_sharps
                ellipses += new_ellipses
                chars += size
                longest = max(longest, size)
                line_hash, line_len, line_full = fold(line_hash, word), line_len + size, True
                line_ended = (kind & TERMINAL) != 0
                para_hash, para_len = fold(para_hash, word), para_len + size
                line_open, after_cr = True, False
                if token < last_token:
                    hashes[token], lens[token] = word, size
                    token += 1
                gap = at
                continue
            chars += 1
            at = after
            if char == _LF:
                newlines += 1
                if 2 * (out[PIECES] - out[DUP_PIECES] + 2) > len(keys):
                    keys, stamps = _grown(keys, stamps, stamp, len(keys))
                if line_len:
                    _close_piece(out, keys, stamps, stamp, line_hash, line_len, line_full, line_ended, short_length)
                line_hash, line_len, line_full, line_ended = SEED, 0, False, False
            else:
                line_hash, line_len, line_ended = fold(line_hash, np.uint64(char)), line_len + 1, False
            if kind & BREAK:
                if not (char == _LF and after_cr):
                    lines += 1
                    out[TRAILING] += dotted
                line_open, first_word, dotted, after_cr = False, True, False, char == _CR
            else:
                line_open, after_cr = True, False
        if line_open:
            lines += 1
            out[TRAILING] += dotted
        if line_len:
            _close_piece(out, keys, stamps, stamp, line_hash, line_len, line_full, line_ended, short_length)
        if end > begin:  # re.split("\n+") gives an empty piece at an edge that is a line feed
            edges = np.int64(data[begin] == _LF) + np.int64(data[end - 1] == _LF)
            out[PIECES] += edges
            out[DUP_PIECES] += edges == 2
        _close_paragraph(out, para_keys, para_stamps, stamp, para_hash, para_len)
        out[CHARS], out[WORDS], out[LONGEST], out[LINES], out[NEWLINES] = chars, words, longest, lines, newlines
        out[PLAIN], out[PLAIN_CHARS], out[ALPHAS], out[SHARPS], out[ELLIPSES] = (
            plain,
            plain_chars,
            alpha,
            sharps,
            ellipses,
        )
    bounds[len(offsets) - 1] = token
