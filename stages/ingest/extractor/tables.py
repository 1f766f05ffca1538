"""What each element and attribute is to the extractor: tables by the flat tree's ids."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.ingest.extractor.hashing import first_word
from stages.ingest.flat.names import ATTRIBUTE, ELEMENTS, TAG, TEXT

TEXTUAL, SKIPPED, INLINE, LEVEL = 0, 1, 2, 3
"""What a node is to blocks: text, left out with all in it, part of a run of text, or a container."""
PLAIN, LINK, BOLD, PRESSED, TYPED, BREAK, IMAGE, CONTROL = range(8)
"""Kinds of element counted apart; CONTROL are form fields, which are left out of the text."""
NO_ATTRIBUTE, CLASS, ID, ROLE, STYLE, HIDDEN, ARIA_HIDDEN, HREF, ITEMPROP, TEST_ID = range(10)
"""Attributes that are read."""

_SKIPPED = "script style noscript template head svg math iframe object embed canvas audio video map source track link meta datalist textarea select option optgroup input progress meter slot applet frameset noembed noframes area param basefont bgsound"
_INLINE = "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark nobr q rb rp rt rtc ruby s samp small span strike strong sub sup time tt u var wbr br picture button blink marquee output"
_KINDS = {
    "a": LINK, "strong": BOLD, "b": BOLD, "em": BOLD, "button": PRESSED, "label": PRESSED, "code": TYPED, "kbd": TYPED, "samp": TYPED, "tt": TYPED,
    "br": BREAK, "img": IMAGE, "picture": PLAIN, "input": CONTROL, "select": CONTROL, "textarea": CONTROL,
}  # fmt: skip
_CODES = "p div li td th dd dt h1 h2 h3 h4 h5 h6 pre blockquote article section main body header footer nav aside form ul ol table tr figure figcaption fieldset details summary address dl tbody center legend hgroup caption dialog"
_FLAGS = "nav header footer aside form article main section table ul ol figure blockquote pre dl details dialog address li h1"
_ROLES = {
    "navigation": 20, "banner": 21, "contentinfo": 22, "main": 23, "complementary": 24, "dialog": 25, "article": 26, "search": 20, "menu": 20,
    "tablist": 20,
}  # fmt: skip
HIDDEN_BIT = 27
FLAG_BITS = 28
FLAG = {name: place for place, name in enumerate(_FLAGS.split())}
CODE = {name: place for place, name in enumerate(_CODES.split(), 1)}


class Tables(NamedTuple):
    """Arrays that kernels look up: `role`, `kind`, `code` and `flag` by tag, `read` by attribute, roles by the hash of their word."""

    role: np.ndarray
    kind: np.ndarray
    code: np.ndarray
    flag: np.ndarray
    read: np.ndarray
    role_words: np.ndarray
    role_bits: np.ndarray


def _tables(more: int | None = None) -> Tables:
    size = len(ELEMENTS) + 2
    role = np.full(size, LEVEL, np.int8)
    role[TEXT] = TEXTUAL
    for names, what in ((_SKIPPED, SKIPPED), (_INLINE, INLINE)):
        for name in names.split():
            role[TAG[name]] = what
    if more is not None:
        role[more] = LEVEL
    kind, code, flag = np.zeros(size, np.int8), np.zeros(size, np.int8), np.zeros(size, np.int32)
    for name, what in _KINDS.items():
        kind[TAG[name]] = what
    for name, what in CODE.items():
        code[TAG[name]] = what
    for name, place in FLAG.items():
        flag[TAG[name]] = 1 << place
    read = np.zeros(len(ATTRIBUTE), np.int8)
    for name, what in (("class", CLASS), ("id", ID), ("role", ROLE), ("style", STYLE), ("hidden", HIDDEN), ("aria-hidden", ARIA_HIDDEN), ("href", HREF), ("itemprop", ITEMPROP), ("data-testid", TEST_ID)):  # fmt: skip
        read[ATTRIBUTE[name]] = what
    hashes = np.empty(len(_ROLES), np.uint32)
    for place, name in enumerate(_ROLES):
        hashes[place] = first_word(np.frombuffer(name.encode(), np.uint8), 0)
    bits = np.array([1 << bit for bit in _ROLES.values()], np.int32)
    return Tables(role, kind, code, flag, read, hashes, bits)


TABLES = _tables()
WITH_NOSCRIPT = _tables(TAG["noscript"])
"""The same, and `noscript` a container."""
