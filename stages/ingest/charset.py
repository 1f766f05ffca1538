"""Bytes to text: UTF-8 where they are that; byte order mark, HTTP header, the page's own meta tag, a detector.

Three habits decide what Korean and Western pages read like. Every Korean label (`euc-kr`, `ks_c_5601-1987`, ...) means
CP949, because that is what pages so labelled hold and a strict EUC-KR decoder loses 8,822 syllables. A Western
single-byte label decodes *any* bytes, so it proves nothing: it gives way to valid UTF-8, to a contradicting label
that decodes cleanly, and to what is surely Chinese or Japanese (`east_asian`). And whatever is not taken at its first word is counted, so that a crawl's ledger shows it.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from stages.ingest.east_asian import east_asian
from stages.ingest.html import tags

KOREAN = frozenset(
    "euc-kr euckr euc_kr cseuckr ks_c_5601-1987 ks_c_5601-1989 ks_c_5601_1987 ks_c_5601 ksc5601 ksc_5601 ks_x_1001 ksx1001 "
    "korean iso-ir-149 csksc56011987 cp949 949 ms949 uhc windows-949 x-windows-949 x-cp949 windows-949-2000".split()
)
"""Labels that mean CP949 (the WHATWG registry's Korean labels and the spellings met on Korean pages)."""

WIDER = {
    "ascii": "cp1252", "us-ascii": "cp1252", "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "latin1": "cp1252",
    "latin-1": "cp1252", "l1": "cp1252", "iso-8859-9": "cp1254", "latin5": "cp1254", "iso-8859-11": "cp874",
    "tis-620": "cp874", "gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932",
    "big5": "big5hkscs", "big5-hkscs": "big5hkscs", "x-x-big5": "big5hkscs", "unicode-1-1-utf-8": "utf-8",
    "utf8": "utf-8", "unicode": "utf-8", "x-mac-cyrillic": "mac_cyrillic", "macintosh": "mac_roman",
}  # fmt: skip
"""A label's code page is the wider one that browsers use for it (WHATWG Encoding, section 4.2)."""

_NO_MAC_CAPITALS = bytes(set(range(256)) - set(range(0x80, 0xA0)))
"""All bytes but the capitals of Mac Cyrillic."""
WESTERN = frozenset({"cp1252", "cp1254", "cp1250", "iso8859-15", "mac_roman"})
"""Single-byte code pages that accept nearly any bytes."""

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
         (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip

HEAD = 8192
"""Bytes looked at for how a file is coded."""
META_HEAD = 131_072
"""Bytes searched for a declaration. The standard says 1,024; real pages put scripts before it."""
NEAR = 4096
"""Bytes whose tags are read before it is looked up where the last declaration may stand."""
TOLERATED = 0.2
"""Unreadable positions for each character beyond ASCII from which a declared charset is given up: what is ASCII proves nothing."""
FEW = 2
"""Unreadable positions that speak against no label: so little evidence would let the detector guess."""
SURE = 8
"""Characters beyond ASCII that must read as Korean before a label of another script is not believed."""
DETECT = 131_072
"""Bytes shown to the detector."""

COMMON = frozenset(
    "이다는화영지고의가하에한도아만나기은을어보리로게서인시그스재니있라미들정대무요데작면사수를말전감해음적없진었장마자으"
)
"""The sixty-four commonest syllables of 100,000 Korean film reviews, 56% of their Hangul (measured on the NSMC set)."""

_LABEL = re.compile(r"\s*([A-Za-z0-9_:.\-]+)")
_XML = re.compile(rb"""<\?xml[^>]{0,256}?encoding\s*=\s*["']([A-Za-z0-9_:.\-]+)""", re.I)
_CDATA = re.compile(r"<!\[CDATA\[.*?(?:\]\]>|\Z)", re.S)
_META = re.compile(f"<meta{tags.ATTRIBUTES}", re.I)
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9_:.\-]+)""", re.I)


_ISO_2022 = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$B", "iso2022_jp_ext"), (b"\x1b$@", "iso2022_jp_ext"))
"""Escapes that turn seven-bit text to Korean or Japanese, and the codec."""
_HZ = re.compile(rb"~\{((?:[!-w][!-~])+)~\}")
UNREADABLE = "\udcff"
"""What the error handler `maetdol.unreadable` puts for each position that cannot be decoded: no text decodes to it, so it can be
counted, and told from a U+FFFD that stood there."""
codecs.register_error("maetdol.unreadable", lambda fault: (UNREADABLE, fault.end))  # type: ignore[attr-defined]


class Decoded(NamedTuple):
    """`text`; the codec and where it was learnt (`bom`, `header`, `meta`, `detector`); how many words were not taken."""

    text: str
    encoding: str
    learnt: str
    fallbacks: int
    """Declarations that were passed over: unknown label, bytes that do not fit, Western label on other bytes."""
    replaced: int
    """Characters that could not be read and stand as U+FFFD."""
    utf8: bytes | None = None
    """The bytes given, where they are the text in UTF-8 as they stand."""


def codec(label: str | None) -> str | None:
    """Python codec of a charset label, or None where there is none. Every Korean label is `cp949`.

    >>> codec("KS_C_5601-1987"), codec("latin1"), codec("no-such")
    ('cp949', 'cp1252', None)
    """
    if not label:
        return None
    word = label.strip().strip("\"'").lower()
    if word in KOREAN:
        return "cp949"
    word = WIDER.get(word, word)
    try:
        found = codecs.lookup(word)
    except (LookupError, ValueError):
        return None
    if not getattr(found, "_is_text_encoding", True) or found.name in (
        "idna",
        "punycode",
        "unicode_escape",
        "raw_unicode_escape",
        "undefined",
    ):
        return None
    return {"iso8859-1": "cp1252", "ascii": "cp1252", "euc_kr": "cp949"}.get(found.name, found.name)


def header_label(content_type: str | None) -> str | None:
    """The charset parameter of a Content-Type value.

    >>> header_label('text/html; charset="EUC-KR"')
    'EUC-KR'
    """
    match = _HEADER.search(content_type or "")
    return match.group(1) if match else None


def meta_label(data: bytes) -> str | None:
    """The charset an HTML page declares: XML declaration or meta tag, none inside comments, scripts, CDATA and other raw text."""
    head = data[:META_HEAD]
    declared = _XML.match(head.lstrip())
    label = declared.group(1).decode("ascii") if declared else _meta_outside(head.decode("latin-1"))
    # A page whose tag can be read as ASCII is not UTF-16, whatever the tag says.
    return "utf-8" if label and label.lower().replace("_", "-").startswith(("utf-16", "utf-32")) else label


def _meta_outside(head: str) -> str | None:
    """The label of the first meta tag that gives one, outside CDATA."""
    at = head.find("<![CDATA[")
    return _meta(head) if at < 0 else _meta(head[:at]) or _meta(_CDATA.sub("", head))


def _meta(head: str) -> str | None:
    unseen = last = None
    for token in tags.TOKEN.finditer(head):
        if token.start() >= NEAR:  # most pages have said it by now: the rest is read as far as it may be said at all
            last = _last_meta(head) if last is None else last
            if token.start() > last:
                return None
        name = (token["name"] or "").lower()
        if unseen is not None:
            unseen = None if token["close"] and name == unseen else unseen
        elif name in ("noscript", "template") and not token["close"]:
            unseen = name
        elif name == "meta" and not token["close"]:
            given: dict[str, str] = {}
            for key, value in tags.attributes(token["attributes"]):
                given.setdefault(key, value)
            label = given.get("charset") or header_label(given.get("content"))
            if label and (match := _LABEL.match(label)):
                return match.group(1)
    return None


def _last_meta(head: str) -> int:
    """Where the last meta tag with a charset begins, those in comments and scripts among them; -1 where there is none."""
    small, last, at = head.encode("latin-1").lower(), -1, -1
    while (at := small.find(b"<meta", at + 1)) >= 0:
        if (tag := _META.match(head, at)) and "charset" in tag[0].lower():
            last = at
    return last


def decode(data: bytes, header: str | None = None, *, html: bool = True) -> Decoded:
    """`data` as text. `header` is the charset label of the HTTP header; `html=False` leaves meta tags unread.

    The order is that of the WHATWG: mark, header, meta tag, detector. But bytes that are UTF-8 with characters of several
    bytes are UTF-8 whatever is declared, and a label under which much of what is not ASCII cannot be read is given up; so is a mark.
    """
    false = 0
    for mark, name in MARKS:
        if data.startswith(mark):
            if _marked(data[len(mark) :], name):
                text, replaced = _read(data[len(mark) :], name)
                return Decoded(text, name, "bom", 0, replaced)
            false = false or len(mark)
    if false:
        found = decode(data[false:], header, html=html)
        return found._replace(fallbacks=found.fallbacks + 1)
    if (name := wide(data[:HEAD]) or escaped(data)) is not None:
        text, replaced = _read(data, name)
        return Decoded(text, name, "detector", 0, replaced)
    if not data.isascii() and ((strict := _strict(data, "utf-8")) is not None or mostly_utf8(data)):
        text, replaced = (strict, 0) if strict is not None else _read(data, "utf-8")
        learnt, passed = _as_declared(data, header, html)
        return Decoded(text, "utf-8", learnt, passed, replaced, None if strict is None else data)
    passed = 0
    fallback: tuple[int, Decoded] | None = None
    for learnt, label in _declared(data, header, html):
        name = codec(label)
        if name is None or not _possible(data, name):
            passed += 1
            continue
        text, replaced = _read(data, name)
        found = Decoded(text, name, learnt, passed, replaced)
        if replaced <= max(FEW, TOLERATED * _beyond_ascii(text)) and not _contradicted(data, name, learnt, html):
            return found
        passed += 1
        if fallback is None or replaced < fallback[0]:
            fallback = (replaced, found)
    name = detect(data)
    text, replaced = _read(data, name)
    if fallback is not None and fallback[0] < replaced:
        return fallback[1]._replace(fallbacks=passed)
    return Decoded(text, name, "detector", passed, replaced)


def _marked(data: bytes, name: str) -> bool:
    """Are the bytes behind a byte order mark what it says?

    A mark of UTF-16 or UTF-32 is false before bytes that read as no text so, and before UTF-8 without a NUL, which a tag, a blank
    or a line end in either has. Bytes of ASCII may be Han in UTF-16: only where blanks part them as they do words are they ASCII.
    """
    head = data[:HEAD]
    if name == "utf-8":
        return wide(head) is None and mostly_utf8(data)
    if not _reads(head.decode(name, "replace")):
        return False
    if 0 in head:
        return wide(head) in (None, name)  # NULs tell the order of the bytes
    return not mostly_utf8(head) or (head.isascii() and 20 * sum(map(head.count, b" \n")) <= len(head))


def _as_declared(data: bytes, header: str | None, html: bool) -> tuple[str, int]:
    """Where it stands that bytes which are UTF-8 are that, and how many labels said something else."""
    passed = 0
    for learnt, label in _declared(data, header, html):
        if codec(label) == "utf-8":
            return learnt, passed
        passed += 1
    return "detector", passed


def _beyond_ascii(text: str) -> int:
    """Characters that are not ASCII, those that could not be read among them."""
    return len(text) - len(text.encode("ascii", "ignore"))


def file_codec(head: bytes) -> tuple[str, int] | None:
    """Codec and length of the mark of a file in which a quote or a line end is no single byte (UTF-16, UTF-32, ISO-2022), or which
    has the mark of such a one before UTF-8."""
    for mark, name in MARKS[1:]:
        if head.startswith(mark) and _marked(head[len(mark) : HEAD], name):
            return name, len(mark)
    false = next((len(mark) for mark, _ in MARKS[1:] if head.startswith(mark)), 0)
    if false and mostly_utf8(head[false:]):
        return "utf-8", false
    name = wide(head[:HEAD]) or escaped(head[:HEAD])
    return (name, 0) if name else None


def as_utf8(head: bytes) -> bytes:
    """The first bytes of a file as they would be in UTF-8, where it is of those codecs; else as they are."""
    found = file_codec(head)
    return head if found is None else head[found[1] :].decode(found[0], "replace").encode()


def wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, by where NUL bytes stand in the first of its bytes and by what they read as.

    >>> wide("맷돌은 돈다\\n".encode("utf-16-le")), wide("맷돌은 돈다".encode()), wide(bytes(range(64)))
    ('utf-16-le', None, None)
    """
    head = head[: len(head) - len(head) % 4]
    if not head.count(0):
        return None
    units = len(head) // 4
    fourth = [head[i::4].count(0) for i in range(4)]
    even, odd = fourth[0] + fourth[2], fourth[1] + fourth[3]
    # Bytes that are UTF-8 with a few NUL among them are that; where they are not, blanks and line ends have the only NUL.
    least = (0.8 if mostly_utf8(head) else 0.02) * 2 * units
    for name, likely in (
        ("utf-32-le", min(fourth[3], fourth[2]) >= 0.9 * units),
        ("utf-32-be", min(fourth[0], fourth[1]) >= 0.9 * units),
        ("utf-16-le", odd > even and odd >= least),
        ("utf-16-be", even > odd and even >= least),
    ):
        if likely and _reads(head.decode(name, "replace")):
            return name
    return None


def _reads(text: str) -> bool:
    """Is at most one character in twenty none that text is written in?"""
    odd = sum(
        1
        for c in text
        if c == "\ufffd" or (c not in "\t\n\r\f" and unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs"))
    )
    return 20 * odd <= len(text)


def escaped(head: bytes) -> str | None:
    """The codec of seven-bit text with the escapes of ISO-2022 or HZ, or None."""
    if not head.isascii() or not (b"\x1b" in head or b"~{" in head):
        return None
    return next((name for mark, name in _ISO_2022 if mark in head), None) or ("hz" if _is_hz(head) else None)


def _is_hz(head: bytes) -> bool:
    """Is every stretch between ~{ and ~} one of pairs, most of them common hanzi (level 1 of GB 2312)?"""
    pairs = [stretch[i] for stretch in _HZ.findall(head) for i in range(0, len(stretch), 2)]
    common = sum(0x30 <= first <= 0x57 for first in pairs)
    return len(pairs) >= 4 and 5 * common >= 4 * len(pairs) and len(_HZ.findall(head)) == head.count(b"~{")


def _declared(data: bytes, header: str | None, html: bool) -> Iterator[tuple[str, str]]:
    if header:
        yield "header", header
    if html and (label := meta_label(data)):
        yield "meta", label


def _possible(data: bytes, name: str) -> bool:
    """Can these bytes be of this codec? One in which ASCII is not ASCII must give text, and UTF-7 and EBCDIC are none of the web."""
    if b"<Az09+-".decode(name, "replace") == "<Az09+-":
        return True
    return name.startswith(("utf-16", "utf-32")) and not data.isascii() and _reads(data[:HEAD].decode(name, "replace"))


def _contradicted(data: bytes, name: str, learnt: str, html: bool) -> bool:
    """Does a label stand against better evidence: a Western one against a meta tag that fits or against Chinese and Japanese text,
    any against Korean text?"""
    if data.isascii():
        return False
    if name in WESTERN and learnt == "header" and html:
        other = codec(meta_label(data))
        if other is not None and other not in WESTERN and _strict(data, other) is not None:
            return True
    return name != "cp949" and (_korean(data, SURE) or (name in WESTERN and east_asian(data) is not None))


def _strict(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except (UnicodeDecodeError, UnicodeError):
        return None


def _read(data: bytes, name: str) -> tuple[str, int]:
    """The text and how many characters of it were unreadable."""
    text = _strict(data, name)
    if text is not None:
        return text, 0
    text = data.decode(name, errors="replace")
    lost = text.count("\ufffd")
    # A UTF-8 page may hold U+FFFD of its own; those were readable.
    return text, max(1, lost - (data.count(b"\xef\xbf\xbd") if name == "utf-8" else 0))


def detect(data: bytes) -> str:
    """The codec of undeclared bytes: valid UTF-8 if they are, else Resiliparse's detector, with CP949 for every Korean guess.

    The detector is asked without its HTML5 mapping, which does not know the label `cp949` and answers `utf-8` for it.
    """
    if (name := escaped(data[:HEAD])) is not None:
        return name
    if mostly_utf8(data):
        return "utf-8"
    from resiliparse.parse.encoding import detect_encoding

    if _korean(data):
        return "cp949"
    if (name := east_asian(data)) is not None:
        return name
    guess = codec(detect_encoding(data[:DETECT], html5_compatible=False))
    if guess == "mac-cyrillic" and not data[:DETECT].translate(None, _NO_MAC_CAPITALS):
        guess = "cp1251"  # a text in it would have no capital letter
    return guess if guess not in (None, "utf-8") else "cp1252"


def mostly_utf8(data: bytes) -> bool:
    """Valid UTF-8, or UTF-8 with a damaged or cut position: three readable multi-byte characters for each that is not.

    Text in any other charset decodes as UTF-8 into next to no readable multi-byte characters.
    """
    if _strict(data, "utf-8") is not None:
        return True
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return sum(c > "\x7f" for c in text) - bad >= 3 * bad


def _korean(data: bytes, least: int = 1) -> bool:
    """Does it read as Korean in CP949? Frequency detectors need a paragraph to tell; a title and a line are enough here.

    At least four fifths of what is not ASCII must be syllables of KS X 1001 (2,350 of CP949's 11,172, and nearly all of
    running text), and a fifth of them among the sixty commonest, which carry half of Korean prose. Chinese and Japanese
    bytes read as CP949 give Hanja and rare syllables.
    """
    text = _strict(data[:DETECT], "cp949") or _strict(data[: DETECT - 1], "cp949")
    if text is None:
        return False
    other = [c for c in text if c > "\x7f"]
    plain = sum(1 for c in other if "\uac00" <= c <= "\ud7a3" and _in_ksx1001(c))
    common = sum(1 for c in other if c in COMMON)
    return len(other) >= least and plain >= 0.8 * len(other) and common >= 0.2 * len(other)


def _in_ksx1001(syllable: str) -> bool:
    coded = syllable.encode("cp949")
    return coded[0] >= 0xB0 and coded[1] >= 0xA1
