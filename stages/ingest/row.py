"""What a reader hands over and what becomes of it: raw records, documents, and reasons for what is not kept."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest
from typing import Any, TypeVar

from pipeline.errors import MaetdolError
from pipeline.schema import Edit
from pipeline.unicode import normalised

Made = TypeVar("Made")

SET_APART = {
    "pdf": "a PDF document", "office": "a document of an office program (Word, HWP, ODF, RTF, PostScript)", "image": "an image", "audio": "sound", "video": "film", "font": "a font",
    "archive": "an archive or packed file", "program": "a program", "script": "a script", "style": "a style sheet", "data": "data of a program (JSON, SQLite, a table)",
    "binary": "bytes of a kind not known here",
}  # fmt: skip
"""Kinds of payload and file that are no text (`kinds.apart`), each a reason of its own."""

REASONS = {
    "ingest.open_failed": "the file could not be opened or read",
    "ingest.not_a_file": "no regular file of the folder: a pipe, socket or device, or a link that leads out of it (`follow_links`)",
    "ingest.unknown_kind": "the file is of no kind that holds text (an image, a style sheet, a binary)",
    "ingest.broken_file": "the file is damaged and nothing after that position could be read",
    "ingest.truncated_gzip": "the compressed file ends before its end; the records before that are kept",
    "ingest.broken_record": "a record whose header, length or encoding does not hold; reading went on behind it",
    "ingest.empty": "a file, record or text without a character",
    "ingest.null_text": "a row whose text is null",
    "ingest.wrong_columns": "a row without the text column, or one that is no text",
    "ingest.too_large": "a record or text over max_bytes",
    "ingest.record_type": "a WARC record that holds no page: warcinfo, request, metadata, dns, the crawler's own files",
    "ingest.revisit": "a WARC revisit: the page is in another record",
    "ingest.http_status": "a response that is not 200",
    "ingest.not_html": "a response that is neither a page nor plain text",
    "ingest.content_coding": "a response whose content coding cannot be undone: damaged, cut before its first byte, or of a kind not known here",
    **{
        f"ingest.{kind}": f"no text but {what}; set apart, and found again by its source and locator"
        for kind, what in SET_APART.items()
    },
    "ingest.too_complex": "a page of more elements than a worker can hold",
    "ingest.no_main_text": "a page without main text and without questions of its own",
    "ingest.label_false": "a labelled answer marked undesirable, which is no example to follow",
    "ingest.unpaired": "a labelled or ranked answer that found no counterpart to the same prompt",
    "ingest.equal_pair": "a preference pair whose two answers are the same",
    "ingest.failed": "a record that no reader foresaw; the note names the kind of fault",
    "ingest.process_ended": "a record at which worker processes ended again and again: out of memory, or a fault in a native library",
}
"""The closed vocabulary of why an input gave no row."""


@dataclass
class Raw:
    """One input record, not looked into yet.

    `kind` says what reads it: `page` (bytes of HTML), `text`, `markdown`, `rst`, `python` (such a file, as bytes or
    text), `row` (a dict of a structured file), or `fault` (nothing to read; `reason` says why).
    """

    kind: str
    locator: str
    body: Any = b""
    reason: str | None = None
    note: str | None = None
    source: str | None = None
    """What the id hashes beside the locator; default: the file's name below the root."""
    url: str | None = None
    date: str | None = None
    charset: str | None = None
    """Charset label of the HTTP header."""
    headers: tuple[tuple[str, str], ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """Measures of the record beside those of its text, `<reader>.<measure>`: they stand in the ledger."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Columns known from outside the body: title, licence, lang, meta."""


@dataclass
class Document:
    """A DOCUMENT row without its id, and what was measured while it was made; `reason` set: it is dropped."""

    values: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    note: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)


STOPS = (MaetdolError, MemoryError, ImportError)
"""What is no record's fault: storage, the machine, the installation."""


def guarded(make: Callable[..., Made], *given: Any) -> Made | Raw:
    """`make(*given)`; a fault that nobody foresaw is this record's alone, named by its type, since a message may quote the text."""
    try:
        return make(*given)
    except STOPS:
        raise
    except Exception as fault:
        return Raw("fault", "", reason="ingest.failed", note=f"unforeseen {type(fault).__name__}")


def dropped(reason: str, note: str | None = None, metrics: Mapping[str, float] | None = None) -> Document:
    return Document({}, reason, note, dict(metrics or {}))


BREAKS = "\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
"""What ends a line beside the line feed (`str.splitlines`)."""
BLANKS = " \t\x1f\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u205f\u2060\u3000\ufeff"
"""White space and its zero-width kinds: nothing at the end of a line."""
UNSEEN = (
    BLANKS
    + "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2061\u2062\u2063\u2064"
    "\u2066\u2067\u2068\u2069\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))
)
"""Also joiners, marks of direction, fillers and variation selectors, which mean something beside a letter: a line of nothing else is empty."""
_LAST = frozenset(UNSEEN)
_ENDS = _LAST | frozenset(BREAKS + "\n")
_SHORT = 256
"""Code points up to which one pass over a text costs less than to look for each of nine characters."""
_PIECE = 1 << 20
"""Code points whose lines are in memory at once."""


def clean(text: str) -> str:
    """The one normalisation of the corpus: lone surrogates (which no file can hold) as U+FFFD, NFC, and every line ended by a line feed.

    CRLF and what else ends a line (`BREAKS`) is a line feed, a line of blanks is empty, and blanks end no line, but for the two of a
    hard break of Markdown, kept where words and another line stand beside them. What a line begins with (indentation) stays. Doing it
    again changes nothing.
    """
    if not text.isascii():
        try:
            text.encode("utf-16-le")  # the quickest that refuses lone surrogates
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if not unicodedata.is_normalized("NFC", text):
            text = normalised("NFC", text)
    return _plain_lines(text)


@lru_cache(maxsize=1 << 10)
def _clean_name(name: str) -> str:
    return clean(name)


def clean_name(name: str) -> str:
    """`clean` of what many rows have in common: the name of their file or of a column."""
    return _clean_name(name) if len(name) < _SHORT else clean(name)


def _plain_lines(text: str) -> str:
    if len(text) < _SHORT and len(text.splitlines()) == 1 and text[-1] not in _ENDS:
        return text  # one line, as most fields are
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    for mark in BREAKS if not text.isascii() else BREAKS[:6]:
        if mark in text:
            text = text.replace(mark, "\n")
    if len(text) <= _PIECE:
        text = _lines(text)
    else:
        text = "".join(_lines(text[first:last]) for first, last in _at_breaks(text))
    if "  \n" in text:  # blanks before an empty line, or at the end, break nothing
        text = text.replace("  \n\n", "\n\n").removesuffix("  \n") + ("\n" if text.endswith("  \n") else "")
    return text


def _at_breaks(text: str) -> Iterator[tuple[int, int]]:
    """The text in pieces of a million code points and more that end behind line feeds."""
    first = 0
    while (last := text.find("\n", first + _PIECE)) >= 0:
        yield first, last + 1
        first = last + 1
    yield first, len(text)


def _lines(text: str) -> str:
    """The text with the ends of its lines as they stay."""
    lines = text.split("\n")
    odd = [i for i, line in enumerate(lines) if line and line[-1] in _LAST]
    for i in odd:
        line = lines[i]
        kept = "" if line.isspace() else line.rstrip(BLANKS)
        if kept and kept[-1] in _LAST and not kept.strip(UNSEEN):
            kept = ""
        lines[i] = kept + "  " if kept and line.endswith("  ") and i < len(lines) - 1 else kept
    return "\n".join(lines) if odd else text


def line_edits(text: str) -> list[Edit]:
    """What `clean` does to the lines of a text, as edits: for a text in NFC whose blocks stand at offsets."""
    cleaned = _plain_lines(text)
    if cleaned == text:
        return []
    edits, at = [], 0
    for line, fresh in zip_longest(
        text.splitlines(keepends=True), cleaned.splitlines(keepends=True), fillvalue=""
    ):  # a last line of blanks is none
        if line != fresh:
            shared = len(fresh.rstrip(BLANKS + "\n"))
            edits.append(Edit(at + shared, at + len(line), fresh[shared:], "ingest.lines"))
        at += len(line)
    return edits


def apart(names: list[str]) -> list[str]:
    """Names of columns told apart: the second `a` is `a_2`.

    >>> apart(["a", "b", "a"])
    ['a', 'b', 'a_2']
    """
    seen: Counter = Counter()
    found: list[str] = []
    for name in names:
        seen[name] += 1
        while seen[name] > 1 and (f"{name}_{seen[name]}" in found or f"{name}_{seen[name]}" in names):
            seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found


def meta_list(meta: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """`meta` as the schema keeps it: text as it is, everything else as canonical JSON, marked as such; nulls and NaN left out."""
    entries = []
    for key, value in meta.items():
        text = isinstance(value, str)
        word = value if text else canonical(value)
        if text or word != "null":
            entries.append({"key": clean_name(str(key)), "value": clean(word), "type": None if text else "json"})
    return entries


def canonical(value: Any) -> str:
    """Canonical JSON of a value: keys sorted; a number that JSON cannot say (NaN, infinity) is null, what it does not know is text."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str, sort_keys=True, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=str, sort_keys=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
