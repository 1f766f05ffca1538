"""What a reader hands over and what becomes of it: raw records, documents, and reasons for what is not kept."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, TypeVar

from pipeline.errors import MaetdolError

Made = TypeVar("Made")

SET_APART = {
    "pdf": "a PDF document", "office": "a document of an office program (Word, HWP, ODF, RTF)", "image": "an image", "audio": "sound", "video": "film", "font": "a font",
    "archive": "an archive or packed file", "program": "a program", "script": "a script", "style": "a style sheet", "data": "data of a program (JSON, SQLite, a table)",
    "binary": "bytes of a kind not known here",
}  # fmt: skip
"""Kinds of payload and file that are no text (`kinds.apart`), each a reason of its own."""

REASONS = {
    "ingest.open_failed": "the file could not be opened or read",
    "ingest.not_a_file": "no regular file of the folder: a pipe, socket or device, or a link that leads out of it (`follow_links`)",
    "ingest.unknown_kind": "the file is of no kind that holds text (an image, a style sheet, a binary)",
    "ingest.broken_file": "the file is damaged and nothing after that place could be read",
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
    **{f"ingest.{kind}": f"no text but {what}; set apart, and found again by its source and locator" for kind, what in SET_APART.items()},
    "ingest.too_complex": "a page of more elements than a worker can hold",
    "ingest.no_main_text": "a page without main text and without questions of its own",
    "ingest.label_false": "a labelled answer marked undesirable, which is no example to follow",
    "ingest.unpaired": "a labelled or ranked answer that found no counterpart to the same prompt",
    "ingest.equal_pair": "a preference pair whose two answers are the same",
    "ingest.failed": "a record that no reader foresaw; the note names the kind of fault",
}
"""The closed vocabulary of why an input gave no row."""


@dataclass
class Raw:
    """One input record, not looked into yet.

    `kind` says what reads it: `page` (bytes of HTML), `text`, `markdown`, `rst`, `python` (bytes of such a file), `plain`
    (text already decoded), `row` (a dict of a structured file), or `fault` (nothing to read; `reason` says why).
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


def clean(text: str) -> str:
    """NFC, and lone surrogates (which no file can hold) as U+FFFD: the one normalisation of the corpus."""
    if not text.isascii():
        if not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


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
        if word is not None and (text or word != "null"):
            entries.append({"key": clean(str(key)), "value": clean(word), "type": None if text else "json"})
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
