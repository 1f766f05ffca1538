"""A row of a labelled set under reading: its columns by name, and what is to be said of the parts that were left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from stages.ingest.row import clean

Messages = list[dict[str, Any]]
"""Turns: role and content, and of reasoning, tool_calls, name, tool_call_id and train those that the row gives."""
NAMED = 12
"""Keys that a note names; further ones are counted."""


class Misfit(ValueError):
    """A row that is not what was asked for; `reason` of the closed vocabulary, and a note without the row's text."""

    def __init__(self, reason: str, note: str):
        super().__init__(note)
        self.reason, self.note = reason, note


def wrong(note: str) -> Misfit:
    return Misfit("ingest.wrong_columns", note)


class Notes:
    """What a row says that no column holds, for its ledger row: in order, once each."""

    def __init__(self) -> None:
        self.lines: dict[str, None] = {}
        self.keys: dict[str, None] = {}

    def say(self, note: str) -> None:
        self.lines[note] = None

    def unplaced(self, keys: Iterable[Any]) -> None:
        """Keys of turns, parts or calls that a conversation does not have."""
        self.keys |= dict.fromkeys(clean(str(key))[:40] for key in keys)

    def merge(self, other: Notes) -> None:
        self.lines |= other.lines
        self.keys |= other.keys

    def note(self) -> str | None:
        notes = list(self.lines)
        if self.keys:
            named = list(self.keys)
            more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
            notes.append(f"keys of turns without a place: {', '.join(named[:NAMED])}{more}")
        return "; ".join(notes) or None


def absent(value: Any) -> bool:
    """A value that says nothing: null, an empty string, list or record."""
    return value is None or (isinstance(value, (str, list, tuple, dict)) and not value)


def without_absent(record: Mapping[Any, Any]) -> dict[str, Any]:
    """The keys of a record that say something: a table gives every record the keys of all, as nulls."""
    return {str(key): value for key, value in record.items() if not absent(value)}


def first_of(record: dict[str, Any], names: Iterable[str]) -> Any:
    """The first of `names` that the record has, taken out of it; None where it has none."""
    return next((record.pop(name) for name in names if name in record), None)


def json_text(value: Any) -> str:
    """`value` as JSON text. Misfit for what JSON has no form for: NaN, numbers of thousands of digits, nesting without end."""
    try:
        return clean(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str))
    except (ValueError, TypeError, RecursionError):
        raise wrong("a value that JSON has no form for") from None


def parsed(text: Any) -> Any:
    """What a JSON text says; None where it is none."""
    if not isinstance(text, str) or not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class Given:
    """A row by its column names, whatever their capitals."""

    def __init__(self, row: Mapping[str, Any]):
        self.row = row
        self._names = {str(name).strip().lower(): name for name in reversed(list(row))} | {name: name for name in row}

    def get(self, name: str) -> Any:
        """The value of a column, None where there is none or it says nothing."""
        value = self.row.get(self._names.get(name))
        return None if absent(value) else value

    def own(self, name: str) -> str:
        """The column's name as the file has it."""
        return self._names.get(name, name)

    def first(self, names: Iterable[str]) -> str | None:
        """The first of `names` that says something."""
        return next((name for name in names if self.get(name) is not None), None)

    def seen(self) -> str:
        """The row's columns, for a note."""
        return ", ".join(sorted(map(str, self.row))[:12])[:200]


def text_of(value: Any, name: str) -> str:
    """A column's text. Misfit for other values."""
    if not isinstance(value, str):
        raise wrong(f"{name} is a {type(value).__name__}")
    return clean(value)
