"""How near a text is to a page's gold: words, snippets, shingles, and what is left of the gold's structure."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

WORD = re.compile(r"\w+")
_LINK, _MARKS = re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), re.compile(r"[*_`\\]+")
_HEADING, _ITEM = re.compile(r"#{1,6}\s+(.*)"), re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(.*)")
_RULE, _OWN = re.compile(r"[\s|:-]+"), re.compile(r"^\s*(?:[-*•·+]|\d+[.)]|#{1,6}|>)\s+")
FEWEST = 3
"""Characters of a heading, item, cell or line of code below which it says nothing."""


class Score(NamedTuple):
    f1: float
    precision: float
    recall: float


def words(found: str, gold: str) -> Score:
    """Words as a bag; 1 where both are empty."""
    return _score(Counter(WORD.findall(found.lower())), Counter(WORD.findall(gold.lower())))


def shingles(found: str, gold: str, size: int = 4) -> Score:
    """Runs of four words as a bag, the measure of the article extraction benchmark."""
    return _score(_runs(found, size), _runs(gold, size))


def _runs(text: str, size: int) -> Counter:
    tokens = WORD.findall(text.lower())
    return Counter(tuple(tokens[at : at + size]) for at in range(max(1, len(tokens) - size + 1)) if tokens)


def _score(found: Counter, gold: Counter) -> Score:
    if not found and not gold:
        return Score(1.0, 1.0, 1.0)
    both = (found & gold).total()
    return Score(
        2 * both / max(1, found.total() + gold.total()), both / max(1, found.total()), both / max(1, gold.total())
    )


def share(snippets: list[str], text: str) -> float | None:
    """Share of the snippets that stand in the text, white space aside; None where there are none."""
    plain = " ".join(text.split())
    return sum(" ".join(each.split()) in plain for each in snippets) / len(snippets) if snippets else None


class Structure(Counter):
    """Counts by name: `headings`, `headings kept`, `headings on a line` and so on for `items`, `cells`, `code`."""


def structure(markdown: str, found: str) -> Structure:
    """What the gold's Markdown has by way of headings, list items, table cells and lines of code, and what of it stands in `found`.

    A heading and an item are on a line where a line is that text, marks of lists and headings aside; a cell where its row's cells stand on
    one line in order and nothing else does; a line of code where it is a line unchanged, blanks at its end aside.
    """
    counts, plain = Structure(), " ".join(found.split())
    lines = {_plain(_OWN.sub("", line)) for line in found.split("\n")}
    rows = {" ".join(WORD.findall(line)) for line in found.split("\n")}
    exact = {line.rstrip() for line in found.split("\n")}
    code = False
    for line in markdown.split("\n"):
        if line.lstrip().startswith("```"):
            code = not code
        elif code:
            if len(line.strip()) >= FEWEST:
                _count(counts, "code", " ".join(line.split()) in plain, line.rstrip() in exact)
        elif line.lstrip().startswith("|"):
            cells = [_plain(cell) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            if not _RULE.fullmatch(line):
                is_row = " ".join(WORD.findall(" ".join(cells))) in rows
                for cell in cells:
                    if len(cell) >= FEWEST:
                        _count(counts, "cells", cell in plain, is_row)
        elif heading := _HEADING.fullmatch(line.strip()):
            _text(counts, "headings", heading[1], plain, lines)
        elif item := _ITEM.fullmatch(line):
            _text(counts, "items", item[1], plain, lines)
    return counts


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub("", _LINK.sub(r"\1", text)).split())


def _text(counts: Structure, what: str, text: str, plain: str, lines: set[str]) -> None:
    text = _plain(text)
    if len(text) >= FEWEST:
        _count(counts, what, text in plain or text in _plain(plain), text in lines)


def _count(counts: Structure, what: str, is_kept: bool, is_line: bool) -> None:
    counts[what] += 1
    counts[f"{what} kept"] += is_kept
    counts[f"{what} on a line"] += is_line
