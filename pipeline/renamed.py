"""Names that changed: recipes, flags and stores of the version before are read under today's, with a note.

What other tools call an option (`also` of an Options class) is read too, without a note.

Declared where the thing is: `renamed` of an Options class (options and ports), `FORMERLY` of a stage's or a filter's file,
`formerly` of a verb. An old name is kept for one version.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

log = logging.getLogger("maetdol.renamed")


@cache
def note(what: str, old: str, new: str) -> None:
    """Warn, once a process, that `old` is now called `new`."""
    log.warning("%s %r is now called %r; the old name works in this version and not in the next", what, old, new)


def current(given: Any, renamed: Mapping[str, str], who: str, noted: bool = True) -> Any:
    """`given` with its keys under today's names; ValueError where both names of one option are given. Not `noted`: other words for
    the same, which stay."""
    if not isinstance(given, dict) or not renamed.keys() & given.keys():
        return given
    found: dict[str, Any] = {}
    for name, value in given.items():
        new = renamed.get(name, name)
        if new in found or (new != name and new in given):
            raise ValueError(f"{name!r} and {new!r} are one option: give {new!r} alone")
        if new != name and noted:
            note(f"{who}: option", name, new)
        found[new] = value
    return found
