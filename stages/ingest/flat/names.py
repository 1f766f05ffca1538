"""Ids of the element and attribute names that the flat tree knows, as compiled code looks them up.

A name's slot is a multiplicative hash of its bytes; the multiplier is the first under which no two names share a slot, so that
one comparison of bytes decides. Names are compared without regard to the case of ASCII letters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.text.compiled import int64, tuple_of, uncounted, writes

TEXT, UNKNOWN = 0, 1
"""Tags of a text node and of an element whose name is not in `ELEMENTS`."""
ELEMENTS = tuple(
    "html head body title base link meta style script noscript template "
    "article section nav aside h1 h2 h3 h4 h5 h6 hgroup header footer main address search "
    "p hr pre listing xmp plaintext blockquote ol ul menu dir li dl dt dd figure figcaption div center "
    "a abbr acronym b bdi bdo big br cite code data del dfn em font i ins kbd mark nobr q rb rp rt rtc ruby s samp small "
    "span strike strong sub sup time tt u var wbr blink marquee "
    "area audio canvas embed frame frameset iframe img image map noembed noframes object param picture source track video "
    "table caption col colgroup tbody td tfoot th thead tr "
    "button datalist fieldset form input keygen label legend meter optgroup option output progress select selectedcontent textarea "
    "details dialog summary slot svg math annotation annotation-xml semantics mrow mi mo mn ms mtext mspace mstyle merror mpadded "
    "mphantom msup msub msubsup mfrac msqrt mroot mover munder munderover mtable mtr mtd mfenced menclose mmultiscripts mprescripts "
    "mjx-container mjx-assistive-mml applet basefont bgsound path g use desc foreignobject amp-img".split()
)
ATTRIBUTES = tuple(
    "class id href src rel style role hidden aria-hidden aria-label alt title lang xml:lang dir name property content http-equiv "
    "charset type value datetime cite itemscope itemtype itemprop itemref itemid typeof resource about vocab prefix colspan rowspan "
    "start reversed open encoding alttext display data-tex data-formula data-author data-time data-timestamp data-date data-lang "
    "data-language for target width height data-src checked selected label summary scope data-testid data-role media hreflang rev "
    "data-post-id data-id data-username shadowrootmode slot data-content data-type data-mw".split()
)

BITS = 13
_MASK = (1 << 32) - 1


class Names(NamedTuple):
    """Names in small letters, each known by a number; kernels take the tuple as it is."""

    table: np.ndarray
    """int16 by slot: a name's number; -1 where the slot is free."""
    starts: np.ndarray
    """int32 by number: where its name begins in `letters`; one more at the end."""
    letters: np.ndarray
    """uint8: all names one behind the other."""
    multiplier: int


NAMES = tuple_of(Names, writes(np.int16), writes(np.int32), writes(np.uint8), int64)


def names_of(names: tuple[str, ...], first: int = 0) -> Names:
    """The table of these names, numbered from `first` on."""
    for multiplier in range(0x9E3779B1, 0x9E3779B1 + 200_000, 2):
        taken: dict[int, int] = {}
        for place, name in enumerate(names, first):
            taken.setdefault(_hash(name.encode(), multiplier) >> (32 - BITS), place)
        if len(taken) == len(names):
            break
    else:
        raise ValueError(f"no multiplier parts {len(names)} names in {BITS} bits")
    table = np.full(1 << BITS, -1, np.int16)
    for slot, place in taken.items():
        table[slot] = place
    starts = np.cumsum([0] * (first + 1) + [len(name) for name in names]).astype(np.int32)
    return Names(table, starts, np.array(bytearray("".join(names).encode()), np.uint8), multiplier)


def _hash(name: bytes, multiplier: int) -> int:
    value = 0
    for byte in name:
        value = ((value ^ byte) * multiplier) & _MASK
    return value


_TAGS, _NAMED = names_of(ELEMENTS, 2), names_of(ATTRIBUTES)
TAG = {name: place for place, name in enumerate(ELEMENTS, 2)}
"""Tag of an element's name."""
ATTRIBUTE = {name: place for place, name in enumerate(ATTRIBUTES)}
"""Id of an attribute's name; attributes of other names are not kept."""


@uncounted
def find_name(data, start, stop, names):
    """The number of the name `data[start:stop]`; -1 where it is none of `names`."""
    table, starts, multiplier = names.table, names.starts, names.multiplier
    value = np.uint32(0)
    for place in range(start, stop):
        byte = data[place]
        if 65 <= byte <= 90:
            byte |= 32
        value = np.uint32(np.uint32(value ^ np.uint32(byte)) * np.uint32(multiplier))
    found = table[value >> np.uint32(32 - BITS)]
    if found < 0 or starts[found + 1] - starts[found] != stop - start:
        return -1
    for place in range(start, stop):
        byte = data[place]
        if 65 <= byte <= 90:
            byte |= 32
        if names.letters[starts[found] + place - start] != byte:
            return -1
    return found


@uncounted
def tag_of(data, start, stop):
    """The tag of the element name `data[start:stop]`; UNKNOWN where it is in no table."""
    found = find_name(data, start, stop, _TAGS)
    return found if found >= 0 else UNKNOWN


@uncounted
def attribute_of(data, start, stop):
    """The id of the attribute name `data[start:stop]`; -1 where it is in no table."""
    return find_name(data, start, stop, _NAMED)


def table_of(names: str) -> np.ndarray:
    """Booleans by tag: is the element one of these (parted by blanks)?

    >>> table_of("p div")[TAG["p"]], table_of("p div")[TEXT]
    (np.True_, np.False_)
    """
    table = np.zeros(len(ELEMENTS) + 2, np.bool_)
    for name in names.split():
        table[TAG[name]] = True
    return table
