"""What a page says of itself in its head, as hashed words: its title, its descriptions, and the texts of its JSON-LD.

Blocks are compared with it: text that a page repeats for machines is seldom furniture. Out of fold it gains .0034 of word F1 on 840 articles, with a
standard error of .0011 over pages, and nothing that can be told from none on the other kinds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.ingest.extractor.hashing import OFFSET, mix, step
from stages.ingest.flat.names import ATTRIBUTE, TAG, TEXT
from stages.ingest.flat.tree import TREE
from stages.text.compiled import kernel, part, tuple_of, uncounted, writes

MOST_TITLE = 32
"""Distinct words of a page's title that blocks are compared with."""
MOST_WORDS = 1 << 16
"""Words of the descriptions, and of JSON-LD's texts, that are read."""
DESCRIPTION, ITEM = 1, 2
"""Bits of a word, or of three in a row: it stands in a description, or in a text of JSON-LD."""
LONGEST_TAG, LONGEST_REFERENCE = 200, 10
"""Bytes of markup inside a stated text that are passed over."""

TITLE, META, SCRIPT = TAG["title"], TAG["meta"], TAG["script"]
NAME, PROPERTY, CONTENT = ATTRIBUTE["name"], ATTRIBUTE["property"], ATTRIBUTE["content"]
DESCRIBED = np.frombuffer(b"description", np.uint8)
KEYS = tuple(np.frombuffer(key, np.uint8) for key in (b"description", b"articleBody", b"text"))
QUOTE, ESCAPE, COLON, LESS, AMPERSAND, SEMICOLON, BLANK = 34, 92, 58, 60, 38, 59, np.uint8(32)


class Stated(NamedTuple):
    """Kernels take the tuple as it is."""

    title: np.ndarray
    """uint32: hashes of the distinct words of the first `title`."""
    keys: np.ndarray
    """uint32: an open table for `hashing.find`, of words and of each three words in a row (`run_of`); one slot where nothing is stated."""
    values: np.ndarray
    """int8 per slot: DESCRIPTION and ITEM."""
    runs: np.ndarray
    """int64 (2): distinct runs of three words in descriptions, and in texts of JSON-LD."""


STATED = tuple_of(Stated, writes(np.uint32), writes(np.uint32), writes(np.int8), writes(np.int64))


@uncounted
def run_of(first, second, third):
    """Key of three words in a row; never 0."""
    return np.uint32(mix(mix(np.uint64(first), np.uint64(second)), np.uint64(third))) | np.uint32(1)


@uncounted
def _is(data, start, stop, word):
    """Do these bytes end with the word, in small letters or capitals?"""
    start = max(start, stop - len(word))
    if stop - start != len(word):
        return False
    for k in range(len(word)):
        if data[start + k] | np.uint8(32) != word[k] | np.uint8(32):
            return False
    return True


@uncounted
def _hex(data, start):
    """The number of four hexadecimal digits; -1 where one is none."""
    number = 0
    for k in range(start, start + 4):
        byte = data[k] | np.uint8(32)
        digit = byte - 48 if 48 <= byte <= 57 else byte - 87 if 97 <= byte <= 102 else -1
        if digit < 0:
            return -1
        number = number * 16 + digit
    return number


@uncounted
def _unescaped(data, start, stop, out, at):
    """Appends a JSON string without its escapes, and a blank; returns where the next one begins. Controls and halves of pairs are blanks."""
    i = start
    while i < stop:
        byte = data[i]
        i += 1
        if byte == ESCAPE and i < stop:
            byte = data[i]
            i += 1
            if byte == 117 and i + 4 <= stop:  # u and four digits
                code = _hex(data, i)
                i += 4
                if code >= 0x800 and not 0xD800 <= code < 0xE000:
                    out[at] = 0xE0 | code >> 12
                    out[at + 1] = 0x80 | code >> 6 & 63
                    at += 2
                    byte = np.uint8(0x80 | code & 63)
                elif 0x80 <= code < 0x800:
                    out[at] = 0xC0 | code >> 6
                    at += 1
                    byte = np.uint8(0x80 | code & 63)
                else:
                    byte = np.uint8(code) if 32 < code < 0x80 else BLANK
            elif byte in (98, 102, 110, 114, 116):  # \b \f \n \r \t
                byte = BLANK
        out[at] = byte
        at += 1
    out[at] = BLANK
    return at + 1


@uncounted
def _json_texts(data, start, stop, out, at):
    """Appends the strings that stand under KEYS in a JSON text, read byte by byte, so that broken JSON gives what it can."""
    wanted = False
    i = start
    while i < stop:
        if data[i] != QUOTE:
            i += 1
            continue
        begin = i + 1
        i = begin
        while i < stop and data[i] != QUOTE:
            i += 2 if data[i] == ESCAPE else 1
        end = min(i, stop)
        i = end + 1
        if wanted:
            at = _unescaped(data, begin, end, out, at)
            wanted = False
            continue
        k = i
        while k < stop and data[k] <= 32:
            k += 1
        if k < stop and data[k] == COLON:
            k += 1
            while k < stop and data[k] <= 32:
                k += 1
            if k < stop and data[k] == QUOTE:
                for key in KEYS:
                    wanted |= end - begin == len(key) and _is(data, begin, end, key)
    return at


@part
def _gathered(tree):
    """(descriptions, texts of JSON-LD): UTF-8 bytes, one text behind the other with blanks between."""
    meta, script = 0, 0
    for i in range(len(tree.tag)):
        if tree.tag[i] == META:
            for k in range(tree.first[i], tree.last[i]):
                meta += tree.stop[k] - tree.begin[k] + 1
        elif tree.tag[i] == SCRIPT:
            for k in range(i + 1, tree.end[i]):
                script += tree.last[k] - tree.first[k] + 1
    descriptions, items = np.empty(meta, np.uint8), np.empty(script, np.uint8)
    meta, script = 0, 0
    for i in range(len(tree.tag)):
        if tree.tag[i] == META:
            described, content = False, -1
            for k in range(tree.first[i], tree.last[i]):
                if tree.attribute[k] == NAME or tree.attribute[k] == PROPERTY:
                    described |= _is(tree.data, tree.begin[k], tree.stop[k], DESCRIBED)
                elif tree.attribute[k] == CONTENT:
                    content = k
            if described and content >= 0:
                for k in range(tree.begin[content], tree.stop[content]):
                    descriptions[meta] = tree.data[k]
                    meta += 1
                descriptions[meta] = BLANK
                meta += 1
        elif tree.tag[i] == SCRIPT:
            for k in range(i + 1, tree.end[i]):
                if tree.tag[k] == TEXT:
                    script = _json_texts(tree.data, tree.first[k], tree.last[k], items, script)
    return descriptions[:meta], items[:script]


@uncounted
def _past_markup(text, i):
    """Where a tag or character reference that begins at `i` ends; `i` where there is none."""
    if text[i] == LESS and i + 1 < len(text) and (text[i + 1] == 47 or 97 <= text[i + 1] | 32 <= 122):
        close, most = 62, LONGEST_TAG
    elif text[i] == AMPERSAND:
        close, most = SEMICOLON, LONGEST_REFERENCE
    else:
        return i
    for k in range(i + 1, min(i + most, len(text))):
        if text[k] == close:
            return k
    return i


@part
def _words(text, out, most):
    """Writes the hashes of a text's words, in order, to `out[:most]`; returns how many. Words are those of blocks (`scan.scan`)."""
    state, length, count, i = OFFSET, 0, 0, 0
    while i <= len(text) and count < most:
        byte = text[i] if i < len(text) else BLANK
        letter = 97 <= byte <= 122 or 65 <= byte <= 90
        space = byte == 0xC2 and i + 1 < len(text) and text[i + 1] == 0xA0
        if not space and (byte >= 128 or 48 <= byte <= 57 or letter):
            state = step(state, byte | np.uint8(32) if letter else byte)
            length += 1
        else:
            if length:
                out[count] = state
                count += 1
            state, length = OFFSET, 0
            i = i + 1 if space else _past_markup(text, i) if i < len(text) else i
        i += 1
    return count


@uncounted
def _add(keys, values, key, bit):
    """Sets a bit of a key in an open table; returns whether it was not set."""
    mask = len(keys) - 1
    slot = np.int64(key) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    keys[slot] = key
    new = values[slot] & bit == 0
    values[slot] |= bit
    return new


@part
def _title(tree):
    """Hashes of the distinct words of the first `title` element."""
    found, out = np.zeros(4 * MOST_TITLE, np.uint32), np.zeros(MOST_TITLE, np.uint32)
    count = 0
    for i in range(len(tree.tag)):
        if tree.tag[i] == TITLE:
            for k in range(i + 1, tree.end[i]):
                for word in range(_words(tree.data[tree.first[k] : tree.last[k]], found, len(found))):
                    seen = False
                    for n in range(count):
                        seen |= out[n] == found[word]
                    if not seen and count < MOST_TITLE:
                        out[count] = found[word]
                        count += 1
            break
    return out[:count]


@kernel(TREE)
def stated_of(tree):
    """The arrays of `Stated`. Time grows with the page; at most MOST_WORDS words a source are read."""
    descriptions, items = _gathered(tree)
    first = np.empty(min(len(descriptions) // 2 + 1, MOST_WORDS), np.uint32)
    second = np.empty(min(len(items) // 2 + 1, MOST_WORDS), np.uint32)
    first, second = first[: _words(descriptions, first, len(first))], second[: _words(items, second, len(second))]
    size = 1
    while 0 < len(first) + len(second) and size < 4 * (len(first) + len(second)):
        size *= 2
    keys, values, runs = np.zeros(size, np.uint32), np.zeros(size, np.int8), np.zeros(2, np.int64)
    for source, words in enumerate((first, second)):
        for i in range(len(words)):
            _add(keys, values, words[i], DESCRIPTION << source)
            if i > 1:
                runs[source] += _add(keys, values, run_of(words[i - 2], words[i - 1], words[i]), DESCRIPTION << source)
    return _title(tree), keys, values, runs
