"""A fact: a piece of structure that stands beside the main text, before its position in that text is looked up."""

from __future__ import annotations

from typing import NamedTuple

MAX_FACTS = 20_000
"""Facts kept of one page; a glossary of ten thousand terms fits, a page of a million tags does not grow the row for ever."""


class Fact(NamedTuple):
    """`kind` is a block kind of the schema; facts with one `group` belong together (a question and its answers)."""

    kind: str
    text: str
    level: int | None = None
    group: int | None = None


class Group(NamedTuple):
    """Facts that belong together, before the page numbers its groups."""

    facts: tuple[Fact, ...]


def number(groups: list[Group]) -> list[Fact]:
    """All facts with their group's number, from 0 in the order given; exact repeats of a whole group are taken once."""
    seen: set[tuple] = set()
    facts: list[Fact] = []
    for group in groups:
        if not group.facts or (group.facts in seen):
            continue
        seen.add(group.facts)
        group_number = len(seen) - 1
        facts += [fact._replace(group=group_number) for fact in group.facts]
        if len(facts) >= MAX_FACTS:
            break
    return facts
