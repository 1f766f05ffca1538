"""Kernels of `fasttext_apply`: the vectors of texts, each word worked out once.

A word's vector is the sum of its own row and of the rows of its n-grams. Texts share most of their words, so the sums are
remembered by the word's 64-bit hash; the memory is small enough for a processor's cache, and a later word takes an earlier
one's index, which changes no number.
"""

from __future__ import annotations

import numpy as np

from stages.text.characters import CJK, HANGUL, LATIN, OTHER_LETTER
from stages.text.compiled import int64, kernel, part, reads, writes
from stages.text.minhash.tokens import mix64
from stages.text.utf8 import point

_APOSTROPHE, _HYPHEN = 0x27, 0x2D
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0xCBF29CE484222325)
_FNV, _PRIME = np.uint32(2166136261), np.uint32(16777619)
_PAIR = np.uint64(116049371)
LETTERS = 4
"""Kinds of letters counted: Hangul, Latin, Han and kana, other."""
SMALLEST = 1e-5
"""What fastText adds to a probability before it takes the logarithm."""
HELD = 1 << 12
"""Words summed in 32 bits before they are added up in 64."""


@part
def _mixed(state):
    """`mix64`, never 0 or 1."""
    state = mix64(state)
    return state if state > np.uint64(1) else np.uint64(2)


@part
def _identity(data, start, end):
    """64-bit hash of a word's bytes."""
    state = np.uint64(_SEED)
    for at in range(start, end):
        state = (state ^ np.uint64(data[at])) * _STEP
    return _mixed(state)


@part
def _hashed(state, byte):
    """One step of FNV-1a as fastText has it: bytes count as signed."""
    return np.uint32((state ^ np.uint32(np.int8(byte))) * _PRIME)


@kernel(reads(np.uint8), reads(np.int64), writes(np.uint64), writes(np.int32))
def fill_words(arena, ends, keys, numbers):
    """Put every word's hash and number into an open-addressing table (`keys` 0: free)."""
    mask = np.uint64(len(keys) - 1)
    for word in range(len(ends) - 1):
        key = _identity(arena, ends[word], ends[word + 1])
        slot = key & mask
        while keys[slot]:
            slot = (slot + np.uint64(1)) & mask
        keys[slot], numbers[slot] = key, word


@part
def _number(key, keys, numbers):
    mask = np.uint64(len(keys) - 1)
    slot = key & mask
    while keys[slot]:
        if keys[slot] == key:
            return numbers[slot]
        slot = (slot + np.uint64(1)) & mask
    return -1


@part
def _row_of(at_slot, words, alive, slots):
    """The input row of an n-gram bucket, -1 where it was pruned. `alive` has a bit per bucket: few were kept, and it is small."""
    if len(slots) == 0:
        return words + at_slot
    if not alive[at_slot >> 3] & (1 << (at_slot & 7)):
        return np.int64(-1)
    return np.int64(words + slots[at_slot])


@part
def _rest(value, by, inverse):
    """`value % by` of numbers below 2**32 without a division: it is asked of every n-gram."""
    left = value - np.int64(np.float64(value) * inverse) * by
    if left < 0:
        return left + by
    return left - by if left >= by else left


@part
def _add_ngrams(data, start, end, scratch, words, minn, maxn, bucket, alive, slots, rows, vector):
    """Add the rows of the character n-grams of `<word>` to `vector`; how many there were. `scratch` has room for the word and two."""
    added = 0
    size = end - start + 2
    scratch[0], scratch[size - 1] = 0x3C, 0x3E
    for at in range(start, end):
        scratch[at - start + 1] = data[at]
    inverse = 1.0 / bucket
    for i in range(size):
        if (scratch[i] & 0xC0) == 0x80:
            continue
        state = _FNV
        j, n = i, 1
        while j < size and n <= maxn:
            state = _hashed(state, scratch[j])
            j += 1
            while j < size and (scratch[j] & 0xC0) == 0x80:
                state = _hashed(state, scratch[j])
                j += 1
            if n >= minn and not (n == 1 and (i == 0 or j == size)):
                row = _row_of(_rest(np.int64(state), bucket, inverse), words, alive, slots)
                if row >= 0:
                    for d in range(rows.shape[1]):
                        vector[d] += rows[row, d]
                    added += 1
            n += 1
    return added


@part
def _is_mark(byte):
    """ASCII punctuation and control characters."""
    return byte < 0x80 and not (0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A)


@part
def _is_word(data, start, end):
    """Letters, marks around them, apostrophes and hyphens inside: no code, no number."""
    while start < end and _is_mark(data[start]):
        start += 1
    while start < end and _is_mark(data[end - 1]):
        end -= 1
    for at in range(start, end):
        byte = data[at]
        if byte < 0x80 and byte != _APOSTROPHE and byte != _HYPHEN and (_is_mark(byte) or 0x30 <= byte <= 0x39):
            return False
    return end > start


@part
def _letters(data, start, end, classes, counts):
    """Count the letters of a word by kind."""
    at = start
    while at < end:
        char, at = point(data, at, end)
        kind = classes[char]
        if kind & HANGUL:
            counts[0] += 1
        elif kind & LATIN:
            counts[1] += 1
        elif kind & CJK:
            counts[2] += 1
        elif kind & OTHER_LETTER:
            counts[3] += 1


@part
def _is_label(data, start, end, prefix):
    if end - start < len(prefix):
        return False
    for at in range(len(prefix)):
        if data[start + at] != prefix[at]:
            return False
    return True


@part
def _is_end(data, start, end):
    """`</s>`: fastText reads no further; here it is passed over, for a tag in a page is not its end."""
    return (
        end - start == 4
        and data[start] == 0x3C
        and data[start + 1] == 0x2F
        and data[start + 2] == 0x73
        and data[start + 3] == 0x3E
    )


@part
def _is_gap(byte):
    """What fastText splits words at: blank, tab, line breaks of ASCII, NUL."""
    return byte == 0x20 or byte <= 0x0D and (byte >= 0x09 or byte == 0)


@part
def _worked_out(
    data, start, end, key, scratch, classes, keys, numbers, words, minn, maxn, bucket, alive, slots, rows, note
):
    """Write what is known of a word to `note`: its vector, then how many rows that is, then its letters by kind."""
    dim = rows.shape[1]
    for at in range(note.size):
        note[at] = 0
    number = _number(key, keys, numbers)
    if number >= 0:
        for d in range(dim):
            note[d] = rows[number, d]
        note[dim] = 1
    if maxn > 0:
        note[dim] += _add_ngrams(data, start, end, scratch, words, minn, maxn, bucket, alive, slots, rows, note)
    _letters(data, start, end, classes, note[dim + 1 :])


@part
def _hand_over(part, sums, text):
    """Add `part` to the text's sums and empty it. Loops: a sum of arrays compiles five times as long, for its messages alone."""
    for side in range(part.shape[0]):
        for d in range(part.shape[1]):
            sums[text, side, d] += part[side, d]
            part[side, d] = 0


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.int64),
    reads(np.uint16),
    reads(np.uint8),
    reads(np.uint64),
    reads(np.int32),
    int64,
    int64,
    int64,
    int64,
    reads(np.uint8),
    reads(np.int32),
    reads(np.float32, 2),
    int64,
    int64,
    writes(np.uint64),
    writes(np.float32, 2),
    writes(np.float64, 3),
)
def gather(
    data, starts, ends, classes, prefix, keys, numbers, words, minn, maxn, bucket, alive, slots, rows, closing, pairs, memory, notes, sums
):  # fmt: skip
    """Sum the notes of the words of every stretch `data[starts[i]:ends[i]]` into `sums` (n x 2 x width, float64).

    First of all that stands there, as fastText reads it, the end of the line (`closing`: its row, -1 for none) included; then of
    the words alone. `pairs`: the longest word n-gram that counts (in the first sum alone); 1: none do. `memory` holds the hash
    and the kind (lowest bit: is a word) of what is in `notes` at the same index.
    """
    dim, width = rows.shape[1], notes.shape[1]
    mask = np.uint64(len(memory) - 1)
    recent = np.zeros(max(pairs, 1), np.uint32)
    part = np.zeros((2, width), np.float32)
    longest = 0
    for text in range(len(starts)):
        longest = max(longest, ends[text] - starts[text])
    scratch = np.empty(longest + 2, np.uint8)
    for text in range(len(starts)):
        at, end = starts[text], ends[text]
        seen = held = 0
        while at < end:
            if _is_gap(data[at]):
                at += 1
                continue
            start = at
            state = np.uint64(_SEED)
            while at < end and not _is_gap(data[at]):
                state = (state ^ np.uint64(data[at])) * _STEP
                at += 1
            if _is_end(data, start, at) or (data[start] == prefix[0] and _is_label(data, start, at, prefix)):
                continue
            key = _mixed(state)
            slot = (key >> np.uint64(1)) & mask
            if memory[slot] | np.uint64(1) != key | np.uint64(1):
                _worked_out(
                    data,
                    start,
                    at,
                    key,
                    scratch,
                    classes,
                    keys,
                    numbers,
                    words,
                    minn,
                    maxn,
                    bucket,
                    alive,
                    slots,
                    rows,
                    notes[slot],
                )
                memory[slot] = (key | np.uint64(1)) ^ np.uint64(not _is_word(data, start, at))
            for d in range(width):
                part[0, d] += notes[slot, d]
            if memory[slot] & np.uint64(1):
                for d in range(width):
                    part[1, d] += notes[slot, d]
            if pairs > 1:
                seen = _add_pairs(data, start, at, seen, pairs, recent, words, bucket, alive, slots, rows, part[0])
            held += 1
            if held == HELD:
                _hand_over(part, sums, text)
                held = 0
        for side in range(2 if closing >= 0 else 0):
            for d in range(dim):
                part[side, d] += rows[closing, d]
            part[side, dim] += 1
        if pairs > 1:
            _add_end(seen, pairs, recent, words, bucket, alive, slots, rows, part[0])
        _hand_over(part, sums, text)


@part
def _add_pairs(data, start, end, seen, pairs, recent, words, bucket, alive, slots, rows, into):
    """Add the word n-grams that end with this word; how many words have been seen."""
    state = _FNV
    for at in range(start, end):
        state = _hashed(state, data[at])
    return _push(state, seen, pairs, recent, words, bucket, alive, slots, rows, into)


@part
def _add_end(seen, pairs, recent, words, bucket, alive, slots, rows, into):
    """The end of the line is a word of the last n-grams too."""
    state = _FNV
    for byte in (0x3C, 0x2F, 0x73, 0x3E):
        state = _hashed(state, np.uint8(byte))
    _push(state, seen, pairs, recent, words, bucket, alive, slots, rows, into)


@part
def _push(state, seen, pairs, recent, words, bucket, alive, slots, rows, into):
    recent[seen % pairs] = state
    for length in range(2, min(pairs, seen + 1) + 1):
        value = _wide(recent[(seen + 1 - length) % pairs])
        for n in range(seen + 2 - length, seen + 1):
            value = value * _PAIR + _wide(recent[n % pairs])
        row = _row_of(np.int64(value % np.uint64(bucket)), words, alive, slots)
        if row >= 0:
            for d in range(rows.shape[1]):
                into[d] += rows[row, d]
            into[rows.shape[1]] += 1
    return seen + 1


@part
def _wide(state):
    """A word's hash as fastText widens it: through a signed 32-bit number."""
    return np.uint64(np.int64(np.int32(state)))


@kernel(reads(np.float32, 2), reads(np.int32, 2), writes(np.int64, 2), writes(np.float64, 2))
def best_leaves(dots, tree, best, scores):
    """The labels of greatest probability per row, best first, and their scores: down the tree, no further than the last of them.

    `dots` (rows x inner nodes and one) turn right where they are great; `best` and `scores` come filled with 0.
    """
    labels, count = len(tree) + 1, best.shape[1]
    nodes, chances = np.empty(2 * labels, np.int64), np.empty(2 * labels)
    for row in range(len(dots)):
        nodes[0], chances[0] = 2 * labels - 2, 1.0
        waiting = 1
        while waiting:
            waiting -= 1
            node, chance = nodes[waiting], chances[waiting]
            if chance <= scores[row, count - 1]:
                continue
            if node < labels:
                at_slot = count - 1
                while at_slot > 0 and scores[row, at_slot - 1] < chance:
                    best[row, at_slot], scores[row, at_slot] = best[row, at_slot - 1], scores[row, at_slot - 1]
                    at_slot -= 1
                best[row, at_slot], scores[row, at_slot] = node, chance
                continue
            right = 1.0 / (1.0 + np.exp(-np.float64(dots[row, node - labels])))
            low, high = chance * (1.0 - right + SMALLEST), chance * (right + SMALLEST)
            # the likelier side is looked at first, so that the other is seldom worth a look
            first = 0 if low > high else 1
            nodes[waiting], chances[waiting] = tree[node - labels, 1 - first], min(low, high)
            nodes[waiting + 1], chances[waiting + 1] = tree[node - labels, first], max(low, high)
            waiting += 2


@kernel(reads(np.uint8), reads(np.int64), reads(np.int64), writes(np.float64))
def hangul_shares(data, starts, ends, shares):
    """Syllables of Hangul among all that may be letters, per stretch; a rough count: every other non-ASCII character is one."""
    for text in range(len(starts)):
        at, end = starts[text], ends[text]
        hangul = others = 0
        while at < end:
            lead = data[at]
            if lead < 0x80:
                others += 0x41 <= (lead & 0xDF) <= 0x5A
                at += 1
            elif 0xEA <= lead <= 0xED and at + 2 < end:
                second = data[at + 1]
                syllable = (
                    lead == 0xEB
                    or lead == 0xEC
                    or (lead == 0xEA and second >= 0xB0)
                    or (lead == 0xED and second < 0x9E)
                )
                hangul += syllable
                others += not syllable
                at += 3
            else:
                others += lead >= 0xC0
                at += 1
        shares[text] = hangul / max(hangul + others, 1)
