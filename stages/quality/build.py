"""From the words of a recipe to filter objects: a filter is a file in `filters/`, its name the word."""

from __future__ import annotations

from typing import Any

from pipeline.engine import catalog
from pipeline.errors import OptionError
from pipeline.filter import Filter


def build(entries: Any) -> tuple[Filter, ...]:
    """Filters of a list of names and one-key mappings. OptionError or RecipeError names the entry and the hint."""
    if isinstance(entries, (str, dict)) or not hasattr(entries, "__iter__"):
        raise OptionError("filters must be a list", "write `filters: [language, {word_count: {min: 50}}]`")
    return tuple(_one(entry) for entry in entries)


def _one(entry: Any) -> Filter:
    if isinstance(entry, Filter):
        return entry
    if isinstance(entry, str):
        name, options = entry, {}
    elif isinstance(entry, dict) and len(entry) == 1:
        name, options = next(iter(entry.items()))
    else:
        raise OptionError(f"a filter is a name or `{{name: {{options}}}}`, not {entry!r}", "one filter per list entry")
    cls = catalog.member("quality", "filters", str(name), Filter)
    if options is not None and not isinstance(options, dict):
        raise OptionError(f"{name}: options must be a mapping", f"write `- {name}: {{option: value}}`")
    return cls.build(options or {}, str(name))  # type: ignore[return-value]
