"""One run of inline text counted byte by byte: the numbers of a block."""

from __future__ import annotations

import numpy as np

from stages.ingest.extractor.hashing import OFFSET, find, mix, step
from stages.ingest.extractor.stated import DESCRIPTION, ITEM, run_of
from stages.text.compiled import uncounted

# Columns of a block.
OWNER, NODE0, NODE1, BYTES, LINKED, LINKS, STRONG, BUTTON, CODE, PUNCT, WORDS, DIGITS, ENDING, UPPER, IMAGES, YEARS, TIMES, MONEY, MARKS, CAPITALS, FRAGMENT, OUTWARD, TITLED, DESCRIBED, DESCRIBED_RUNS, STATED_WORDS, STATED_RUNS = range(27)  # fmt: skip
BLOCK_COLUMNS = 27
# Behind them, in an open run: what the next byte is read with.
WAITING, RUN, NUMBER, COLON, STATE, LENGTH, IN_LINK, IN_BOLD, IN_BUTTON, IN_CODE, HASH, BEFORE, LAST = range(27, 40)
RUN_COLUMNS = 40
FIRST_WORDS = 12
"""Words of a block that are kept as hashes."""
SENTENCE, COMMA, CLOSING, DIGIT, LETTER, OTHER_LETTER, OTHER = 1, 2, 3, 4, 5, 6, 7
"""Kinds of a block's last character."""


@uncounted
def _wide(data, i, stop):
    """Punctuation of three bytes at `i`: SENTENCE, COMMA or CLOSING, 8 for a currency sign, 9 for a bullet or arrow, 0 for none."""
    if i + 2 >= stop:
        return 0
    a, b, c = data[i], data[i + 1], data[i + 2]
    if a == 0xE3 and b == 0x80:
        return SENTENCE if c == 0x82 else COMMA if c == 0x81 else 0
    if a == 0xEF and b == 0xBC:
        return SENTENCE if c == 0x81 or c == 0x9F else COMMA if c == 0x8C or c == 0x9A or c == 0x9B else 0
    if a == 0xE2 and b == 0x80:
        return SENTENCE if c == 0xA6 else CLOSING if c == 0x9D or c == 0x99 else 9 if c == 0xA2 or c == 0xBA else 0
    if a == 0xE2 and b == 0x82:
        return 8
    return 0


@uncounted
def end_word(run, state, length, words, row, stated):
    """A word is over: its hash is kept, and looked for in what the page says of itself, alone and with the two words before."""
    if length == 0:
        return
    run[HASH] = np.int64(mix(np.uint64(run[HASH]), np.uint64(state)))
    if run[WORDS] < FIRST_WORDS:
        words[row, run[WORDS]] = state
    for k in range(len(stated.title)):
        if stated.title[k] == state:
            run[TITLED] += 1
    if len(stated.keys) > 1:
        bits = find(stated.keys, stated.values, state)
        run[DESCRIBED] += bits & DESCRIPTION
        run[STATED_WORDS] += bits // ITEM
        if bits and run[WORDS] > 1:
            bits = find(stated.keys, stated.values, run_of(run[BEFORE], run[LAST], state))
            run[DESCRIBED_RUNS] += bits & DESCRIPTION
            run[STATED_RUNS] += bits // ITEM
        run[BEFORE], run[LAST] = run[LAST], np.int64(state)
    run[WORDS] += 1


@uncounted
def scan(data, start, stop, node, run, words, row, stated):
    """Adds a text node to the open run; white space in a row counts one byte, none at either end of the run."""
    size, waiting, digit_run, number = run[BYTES], run[WAITING], run[RUN], run[NUMBER]
    colon, length, ending = run[COLON], run[LENGTH], run[ENDING]
    state = np.uint32(run[STATE])
    before = size
    punct = digits = capitals = marks = 0
    for p in range(start, stop):
        byte = data[p]
        if (
            byte <= 32
            or (byte == 0xC2 and p + 1 < stop and data[p + 1] == 0xA0)
            or (byte == 0xA0 and p > start and data[p - 1] == 0xC2)
        ):
            waiting = 1 if size else 0
            continue
        if waiting:
            size += 1
            waiting = 0
            end_word(run, state, length, words, row, stated)
            length, state = 0, OFFSET
        if size == 0:
            run[NODE0] = node
            run[UPPER] = (
                1
                if 65 <= byte <= 90
                else 2
                if 97 <= byte <= 122
                else 3
                if byte >= 128
                else 4
                if 48 <= byte <= 57
                else 5
            )
        size += 1
        if 48 <= byte <= 57:
            if digit_run == 0 and colon:
                run[TIMES] += 1
            digits += 1
            digit_run += 1
            number = number * 10 + (byte - 48) if digit_run <= 4 else 0
            state = step(state, byte)
            length += 1
            ending, colon = DIGIT, 0
            continue
        colon = 1 if byte == 58 and digit_run else 0
        if digit_run == 4 and 1900 <= number < 2100:
            run[YEARS] += 1
        digit_run = number = 0
        if byte >= 128:
            state = step(state, byte)
            length += 1
            if byte >= 192:
                mark = _wide(data, p, stop)
                ending = OTHER_LETTER if mark == 0 else mark if mark <= 3 else OTHER
                punct += mark in (SENTENCE, COMMA)
                marks += mark == 9
                if mark == 8:
                    run[MONEY] += 1
        elif 97 <= byte <= 122 or 65 <= byte <= 90:
            state = step(state, byte | np.uint8(32))
            length += 1
            capitals += byte <= 90
            ending = LETTER
        else:
            end_word(run, state, length, words, row, stated)
            length, state = 0, OFFSET
            if byte == 46 or byte == 33 or byte == 63:
                punct += 1
                ending = SENTENCE
            elif byte == 44 or byte == 58 or byte == 59:
                punct += 1
                ending = COMMA
            elif byte == 34 or byte == 41 or byte == 39 or byte == 93:
                ending = CLOSING
            else:
                ending = OTHER
                marks += byte == 124 or byte == 47 or byte == 62
                if byte == 36:
                    run[MONEY] += 1
    if size > before:
        run[NODE1] = node + 1
        for where, what in ((IN_LINK, LINKED), (IN_BOLD, STRONG), (IN_BUTTON, BUTTON), (IN_CODE, CODE)):
            if run[where] > 0:
                run[what] += size - before
    run[BYTES], run[WAITING], run[RUN], run[NUMBER] = size, waiting, digit_run, number
    run[COLON], run[LENGTH], run[STATE], run[ENDING] = colon, length, state, ending
    run[PUNCT] += punct
    run[DIGITS] += digits
    run[CAPITALS] += capitals
    run[MARKS] += marks
