"""Names that changed: recipes, flags and stores of the version before are read under today's, with a note.

What other tools call an option (`also` of an Options class) is read too, without a note.

Declared where the thing is: `renamed` of an Options class (options and ports), `FORMERLY` of a stage's or a filter's file,
`formerly` of a verb. An old name is kept for one version. A name of today may have a dot: `lora.r` is the option `r` of the group `lora`.
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
    the same, which stay. A group that is called as an option was (`rl: grpo`, now `rl: {algorithm: grpo}`) is told from it by its values."""
    if not isinstance(given, dict) or not renamed.keys() & given.keys():
        return given
    found: dict[str, Any] = {}
    for name, value in given.items():
        new = renamed.get(name, name)
        if new.partition(".")[0] == name and not isinstance(value, (bool, int, float, str)):
            new = name
        if new in found or (new != name and new in given):
            raise ValueError(f"{name!r} and {new!r} are one option: give {new!r} alone")
        if new != name and noted:
            note(f"{who}: option", name, new)
        found[new] = value
    return found


def nested(given: Any) -> Any:
    """`given` with the options of a group inside it; ValueError where one is given twice.

    >>> nested({"lora.r": 8, "lora": {"lora_alpha": 16}, "seed": 1})
    {'lora': {'lora_alpha': 16, 'r': 8}, 'seed': 1}
    """
    if not isinstance(given, dict) or not any("." in str(name) for name in given):
        return given
    found = {
        name: dict(value) if isinstance(value, dict) else value for name, value in given.items() if "." not in str(name)
    }
    for name in given:
        group, dot, rest = str(name).partition(".")
        if not dot:
            continue
        inner = found.setdefault(group, {})
        if not isinstance(inner, dict) or rest in inner:
            raise ValueError(f"{name!r} is given twice, by itself and in {group!r}: give it once")
        inner[rest] = given[name]
    return found
