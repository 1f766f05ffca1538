"""A row of a structured file to a document: its text as it is, known columns in their fields, all others in `meta`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from stages.ingest.metadata.card import tag
from stages.ingest.metadata.licence import spdx
from stages.ingest.row import Document, Raw, clean, dropped, meta_list

KNOWN = {
    "title": ("title",),
    "url": ("url",),
    "lang": ("lang", "language"),
    "date": ("date", "timestamp"),
    "licence": ("licence", "license"),
}
"""Columns of a document and the names under which files commonly hold them."""


_NAMES = frozenset(name for names in KNOWN.values() for name in names)
TALK = frozenset(("messages", "conversations", "instruction", "prompt", "completion", "response", "chosen"))
"""Columns that rows of labelled sets have."""


def renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row with its columns under our names; `columns` maps ours to the file's."""
    if not columns:
        return dict(row)
    named = {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}
    taken = set(columns.values()) | set(named)
    return {**{name: value for name, value in row.items() if name not in taken}, **named}


def own_id(row: Mapping[str, Any], columns: Mapping[str, str]) -> str | None:
    """The row's identity in its own file, where it gives one."""
    value = row.get(columns.get("id", "id"))
    if type(value) is str:
        return value or None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value) else None


def read(raw: Raw, columns: Mapping[str, str]) -> Document:
    """The document of a row. Nothing is dropped for being short; `row.clean` is the only change to the text."""
    row = renamed(raw.body, columns)
    name = columns.get("text", "text")
    if raw.facts and name in raw.facts.get("lost", ()):
        return dropped("ingest.broken_record", raw.note)
    if raw.facts and (kind := raw.facts.get("apart", {}).get(name)) is not None and raw.body.get(name) is None:
        return dropped(f"ingest.{kind}", raw.note)
    if "text" not in row:
        names = ", ".join(sorted(map(str, raw.body))[:12])
        more = (
            "; rows of conversations or answers are read with `as: chat` (--as chat)"
            if TALK & set(map(str, raw.body))
            else ""
        )
        return dropped("ingest.wrong_columns", f"no column {name!r} among: {names[:200]}{more}")
    text = row.pop("text")
    if text is None:
        return dropped("ingest.null_text")
    if not isinstance(text, str):
        return dropped("ingest.wrong_columns", f"text is a {type(text).__name__}")
    text = clean(text)
    if not text or text.isspace():
        return dropped("ingest.empty")
    values: dict[str, Any] = {"text": text, "signals": [], "blocks": []}
    if not _NAMES.isdisjoint(row):
        for ours, names in KNOWN.items():
            values[ours] = word(row, names)
        if values["lang"] is not None and (primary := tag(values["lang"])):
            values["lang"] = primary
        if values["licence"] is not None:
            values["licence"] = spdx(values["licence"])
    values["meta"] = meta_list(row)
    return Document(values, None, raw.note)


def word(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of `names` that holds a string or a date, taken out of the row; other values stay there."""
    for name in names:
        value = row.get(name)
        if isinstance(value, (datetime, date)):
            value = value.isoformat()
        if isinstance(value, str) and value.strip():
            del row[name]
            return clean(value.strip())
    return None
